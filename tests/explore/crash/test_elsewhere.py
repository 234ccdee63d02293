"""Where namespaces are forbidden, states are put elsewhere: nothing gets at the real files, and no verdict is on them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from faultlib.errors import UsageError
from faultlib.explore import cell
from faultlib.explore.crash import fenced
from faultlib.explore.crash.campaign import Spec, explore
from faultlib.explore.crash.elsewhere import Elsewhere, Trespass
from faultlib.explore.crash.replay import replay
from faultlib.explore.finding import Campaign
from faultlib.testing.crash import assert_fixed

APP = "import json, os\njson.dump({'a': 2}, open('s.json', 'w'))\n"
PARSES = "python3 -m json.tool s.json"
Explore = Callable[..., Campaign]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cell, "why_not", lambda: "forbidden by a test")
    root = tmp_path / "here"
    root.mkdir()
    (root / "s.json").write_text('{"a": 1}')
    (root / "app.py").write_text(APP)
    return root


@pytest.fixture
def crash(here: Path) -> Explore:
    """Explores; `folder` is the campaign's, below the root's own if it is the usual one."""

    def run(check: str | None = PARSES, program: str = APP, folder: str = ".faultlib/crash-1", **more: object) -> Campaign:
        (here / "app.py").write_text(program)
        return explore(Spec((sys.executable, "app.py"), here, here / folder, check=check, profiles=("kill",), **more))  # type: ignore[arg-type]

    return run


def test_its_own_files_are_judged_in_a_folder_that_is_in_the_root_too(crash: Explore, here: Path) -> None:
    for folder in (".faultlib/crash-1", "../c"):
        assert [finding.kind for finding in crash(folder=folder).findings] == ["truncate-then-write"]
        _, verdict, _ = replay(here / folder / "findings" / "crash_1.json")
        assert verdict.failed
        with pytest.raises(AssertionError, match="can be left empty"):
            assert_fixed(here / folder / "findings" / "crash_1.json")


@pytest.mark.parametrize("option", ["check", "recover"])
@pytest.mark.parametrize("text", ["rm -f {}/s.json; true", "cat {}/s.json", "cd '{}'; cat s.json", "cat LINK/s.json"])
def test_a_text_that_names_a_root_is_refused(option: str, text: str, here: Path, crash: Explore) -> None:
    link = here.parent / "link"
    link.symlink_to(here)
    with pytest.raises(UsageError, match=f"--{option} .* names .*here"):
        crash(**{"check": PARSES, option: text.format(here).replace("LINK", str(link))})
    assert (here / "s.json").read_text() == '{"a": 1}'
    assert not (here / ".faultlib").exists()


def test_a_text_that_only_looks_so_is_not(here: Path, crash: Explore) -> None:
    assert crash(f"test ! -e {here}-too; {PARSES}").findings


def test_variables_name_the_copy(here: Path, crash: Explore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_DIR", str(here))
    monkeypatch.setenv("APP_PATHS", f"/usr/bin:{here}/bin")
    found = crash('python3 -m json.tool "$APP_DIR/s.json"', APP.replace("'s.json'", "os.environ['APP_DIR'] + '/s.json'"))
    assert [finding.kind for finding in found.findings] == ["truncate-then-write"]
    assert any("; APP_DIR, APP_PATHS named a path below a root, and named that of the copy" in note for note in found.not_covered)
    assert (here / "s.json").read_text() == '{"a": 1}'


def test_paths_in_variables(tmp_path: Path) -> None:
    root, copy = tmp_path / "a b", tmp_path / "a b" / ".faultlib" / "place"
    root.mkdir()
    (tmp_path / "link").symlink_to(root)
    given = {
        "WHOLE": f"{root}", "LIST": f"/usr:{root}/x:{root}", "FLAG": f"-I{root}/x", "URL": f"file://{root}/x", "LINK": f"{tmp_path}/link/x",
        "OTHER": f"{root}-2", "BELOW": f"/mnt{root}/x", "COPY": f"{root}/.faultlib/place/x",
    }  # fmt: skip
    expected = {
        "WHOLE": f"{copy}", "LIST": f"/usr:{copy}/x:{copy}", "FLAG": f"-I{copy}/x", "URL": f"file://{copy}/x", "LINK": f"{copy}/x"
    }  # fmt: skip
    assert Elsewhere({root: copy}).environment(given) == expected


HIDDEN = "chr(47).join([*os.environ['ABOVE'].split('/'), 'here', 's.json'])"
"""The path of a real file as no text has it."""


@pytest.mark.parametrize("folder", [".faultlib/crash-1", "../c"])
@pytest.mark.parametrize(
    "how", ["open({})", "open({}, 'w')", "os.unlink({})", "os.stat({})", "os.rename('app.py', {})", "os.system('cat ' + {})"]
)
def test_a_command_that_gets_at_the_real_files(how: str, folder: str, here: Path, crash: Explore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABOVE", str(here.parent))
    with pytest.raises(Trespass, match=r"the command opens or looks at .*/here/s\.json"):
        crash(program=f"{APP}{how.format(HIDDEN)}\n", folder=folder)
    assert (here / "s.json").read_text() == '{"a": 1}'


@pytest.mark.parametrize("option", ["check", "recover"])
@pytest.mark.parametrize(
    "text",
    [
        'python3 -m json.tool "$ABOVE/here/s.json"', 'test -s "$ABOVE/here/s.json"', 'rm -f "$ABOVE/here/s.json"; true', 'ls "$ABOVE/here"',
        'echo {} > "$ABOVE/here/s.json"', 'cd "$ABOVE/here" && cat s.json', 'test -s s.json || cat "$ABOVE/here/s.json"',
    ],
)  # fmt: skip
def test_a_check_that_gets_at_the_real_files(option: str, text: str, here: Path, crash: Explore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABOVE", str(here.parent))
    with pytest.raises(Trespass, match=r"what states are judged by opens or looks at .*/here"):
        crash(**{"check": PARSES, option: text})
    assert (here / "s.json").read_text() == '{"a": 1}'


@pytest.mark.parametrize(
    "body",
    [
        "open(path)", "open(path, 'w')", "os.unlink(path)", "assert path.exists()", "assert path.stat().st_size", "os.listdir(path.parent)",
        "os.rename('app.py', path)", "assert not os.system(f'cat {path}')", "import sqlite3; sqlite3.connect(path)",
        "open(os.path.relpath(path))",
    ],
)  # fmt: skip
def test_a_function_that_gets_at_the_real_files(body: str, here: Path, crash: Explore) -> None:
    (here / "checks.py").write_text(f"import os, pathlib\npath = pathlib.Path(r'{here}') / 's.json'\ndef check(d):\n    {body}\n")
    with pytest.raises(Trespass, match=r"what states are judged by opens or looks at .*/here"):
        crash("checks.py:check")
    assert (here / "s.json").read_text() == '{"a": 1}'


def test_a_function_may_import_and_ask_for_real_names(here: Path, crash: Explore) -> None:
    """Its program is not what is judged."""
    (here / "later.py").write_text("import json\n")
    (here / "checks.py").write_text(
        "import os, traceback\ndef check(d):\n    import later\n    try:\n        later.json.loads((d / 's.json').resolve().read_text())\n"
        "    except ValueError:\n        raise AssertionError(traceback.format_exc())\n"
    )
    assert [finding.kind for finding in crash("checks.py:check").findings] == ["truncate-then-write"]


def test_a_link_that_leads_back_is_refused(here: Path, crash: Explore) -> None:
    (here / "current").symlink_to(here / "s.json")
    with pytest.raises(UsageError, match=r"here/current is a link to .*s\.json: without namespaces"):
        crash()
    (here / "current").unlink()
    (here / "current").symlink_to("s.json")
    (here / "other").symlink_to("/usr")
    assert crash().findings


def test_a_program_that_cannot_be_instrumented_tells_nothing(here: Path, crash: Explore) -> None:
    for number, check in enumerate(("/sbin/ldconfig -p", "/sbin/ldconfig -p; true", "cd /sbin; ./ldconfig -p; true")):
        with pytest.raises(UsageError, match=r"ldconfig (cannot|could not) be instrumented.*statically linked.*: without namespaces"):
            crash(check, folder=f"../c{number}")


def test_a_command_that_is_in_the_root_by_a_relative_name(here: Path) -> None:
    (here / "run").write_text(f"#!/bin/sh\nexec '{sys.executable}' app.py\n")
    (here / "run").chmod(0o755)
    found = explore(Spec(("./run",), here, here / ".faultlib" / "c", check=PARSES, profiles=("kill",)))
    assert [finding.kind for finding in found.findings] == ["truncate-then-write"]


def test_names_of_any_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell, "why_not", lambda: "forbidden by a test")
    monkeypatch.setenv("ABOVE", str(tmp_path))
    for number, name in enumerate((b"a b", b"[x]*?", b"a:b,c'd\"e", b"\xff\n", b"-", b"a\\b")):
        here = tmp_path / os.fsdecode(name)
        here.mkdir()
        (here / "s.json").write_text('{"a": 1}')
        (here / "app.py").write_text(APP)
        spec = Spec((sys.executable, "app.py"), here, here / ".faultlib" / "c", check="test -s s.json", profiles=("kill",))
        assert explore(spec).findings
        monkeypatch.setenv("NAME", os.fsdecode(name))
        with pytest.raises(Trespass):
            explore(spec._replace(check='test -s "$ABOVE/$NAME/s.json"', folder=tmp_path / f"c{number}"))


def test_several_sessions(crash: Explore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fenced, "PER_SESSION", 2)
    assert crash().findings


def test_a_root_that_is_not_around_the_command(here: Path, tmp_path: Path) -> None:
    """Its relative names lead to the real files."""
    (here / "data").mkdir()
    (here / "data" / "s.json").write_text('{"a": 1}')
    (here / "app.py").write_text(APP.replace("s.json", "data/s.json"))
    with pytest.raises(Trespass, match=r"the command opens or looks at .*data/s\.json"):
        explore(Spec((sys.executable, "app.py"), here, tmp_path / "c", (here / "data",), check="true", profiles=("kill",)))
    assert (here / "data" / "s.json").read_text() == '{"a": 1}'


def test_what_a_recording_that_was_killed_has_left_is_gone(here: Path, crash: Explore) -> None:
    crash()
    (here / ".faultlib" / "crash-1" / "recording.json").unlink()
    (here / ".faultlib" / "crash-1" / "place" / "0" / "left").write_text("over")
    assert crash().findings
