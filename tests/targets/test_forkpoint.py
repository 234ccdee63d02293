"""The fork point, in programs of every kind: what a run does is what the program does, and what cannot be forked says so."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from faultlib.errors import RuleError
from faultlib.explore.forkserver import ForkServer
from faultlib.inject import grammar
from faultlib.inject.forkpoint import Points, quoted
from tests.targets.conftest import Compile

TIMEOUT_S = 20.0


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root [1]"
    root.mkdir()
    (root / "data").write_text("first")
    (root / "beside").write_text("always the same")
    return root


@contextmanager
def server(tree: Path, *words: str, listings: tuple[str, ...] = (), env: dict[str, str] | None = None) -> Iterator[ForkServer]:
    folder = tree.parent / "out"
    folder.mkdir(exist_ok=True)
    points = Points((quoted(str(tree / "data")),), listings, (str(tree),))
    one = ForkServer(words, tree, points, folder, env=env, timeout_s=TIMEOUT_S)
    try:
        yield one
    finally:
        one.close()


def expected(program: str, tree: Path, what: str) -> tuple[int, str]:
    done = subprocess.run([program, what, "data", "beside"], cwd=tree, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.strip().replace("leader 0", "leader 1")


@pytest.mark.parametrize("what", ["plain", "ignores", "handler", "alarm", "thread-ended", "mapped-closed", "mapped", "recursive", "errorcheck"])
def test_each_run_is_what_the_program_does(compiled: Compile, tree: Path, what: str) -> None:
    program = compiled("forkpoint")
    with server(tree, program, what, "data", "beside") as one:
        assert one.why_not is None
        for data in ("first", "second", "x", "first"):
            (tree / "data").write_text(data)
            verdict = one.run(TIMEOUT_S)
            status, text = expected(program, tree, what)
            # the fork that makes the run is seen by the program's own handler
            text = text.replace("forked 0", "forked 0" if what == "mapped" else "forked 1")
            assert verdict is not None
            assert verdict.text == (text if not status else f"status {status}\n{text}")


@pytest.mark.parametrize(
    ("what", "why"),
    [("thread", "threads"), ("child", "children"), ("child-looks", "another process")],
)
def test_what_ties_runs_together_is_refused(compiled: Compile, tree: Path, what: str, why: str) -> None:
    beside = "data" if what == "child-looks" else "beside"
    with server(tree, compiled("forkpoint"), what, "data", beside) as one:
        assert one.why_not is not None
        assert why in one.why_not


def test_a_program_that_goes_on_after_a_refusal_is_undisturbed(compiled: Compile, tree: Path) -> None:
    import faultlib as api
    from faultlib.inject.forkpoint import ForkPoint

    with api.Session(cwd=tree) as session:
        ForkPoint(session, Points((quoted(str(tree / "data")),), (), (str(tree),)))
        done = session.run([compiled("forkpoint"), "thread", "data", "beside"], cwd=tree, capture_output=True, text=True)
        assert done.returncode == 0
        assert done.stdout.startswith("before first|")


def test_the_fork_is_no_operation_of_the_target(compiled: Compile, tree: Path) -> None:
    with server(tree, compiled("forkpoint"), "plain", "data", "beside") as one:
        for _ in range(5):
            assert one.run(TIMEOUT_S) is not None
        assert one._session is not None
        assert [(p.lineage, p.children) for p in one._session.processes()] == [("1", 0)]


def test_the_directory_is_entered_anew_for_each_run(tree: Path) -> None:
    with server(tree, "sh", "-c", 'read x < "data"; pwd; cat data beside') as one:
        assert one.why_not is None
        assert one.run(TIMEOUT_S) is not None
        tree.rename(tree.parent / "elsewhere")
        assert one.run(TIMEOUT_S) is None
        tree.mkdir()
        (tree / "data").write_text("new\n")
        (tree / "beside").write_text("new, too")
        verdict = one.run(TIMEOUT_S)
        assert verdict is not None
        assert verdict.text == f"{tree}\nnew\nnew, too"


@pytest.mark.parametrize("call", ["open", "stat", "unlink", "rename", "chmod", "truncate", "mkdir"])
def test_every_call_that_names_it_is_the_point(tree: Path, call: str) -> None:
    calls = {
        "open": "open('data').close()", "stat": "os.stat('data')", "unlink": "os.unlink('data')", "chmod": "os.chmod('data', 0o600)",
        "rename": "os.rename('beside', 'data')", "truncate": "os.truncate('data', 1)", "mkdir": "os.mkdir('data')",
    }  # fmt: skip
    code = f"import os\nprint(1)\ntry:\n    {calls[call]}\nexcept OSError as error:\n    print(error)"
    with server(tree, "python3", "-c", code) as one:
        assert one.why_not is None
        before = {path.name: path.read_bytes() for path in tree.iterdir()}
        assert before == {"data": b"first", "beside": b"always the same"}
        assert one.run(TIMEOUT_S) is not None


@pytest.mark.parametrize("change", ["open('new', 'w')", "os.mkdir('new')", "os.remove('beside')", "os.utime('beside')"])
def test_nothing_is_changed_before_the_point(tree: Path, change: str) -> None:
    code = f"import os, json\nopen('beside').close()\n{change}\nprint(sorted(os.listdir('.')))"
    with server(tree, "python3", "-c", code) as one:
        assert one.why_not is None
        assert sorted(path.name for path in tree.iterdir()) == ["beside", "data"]
        verdict = one.run(TIMEOUT_S)
        assert verdict is not None
        assert verdict.text == str(sorted(path.name for path in tree.iterdir()))


def test_imports_do_not_list_the_directory_for_the_program(tree: Path) -> None:
    (tree / "helper.py").write_text("import json\nVALUE = 5\n")
    program = tree / "app.py"
    program.write_text("import os, sys, argparse, helper\nprint('argparse' in sys.modules, sorted(os.listdir('.')), helper.VALUE)\n")
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    with server(tree, "python3", "app.py", listings=(quoted(str(tree)),), env=env) as one:
        assert one.why_not is None
        # what it has imported is not looked for again: it is in the server already
        helper = (tree / "helper.py").rename(tree.parent / "away.py")
        (tree / "new").write_text("")
        verdict = one.run(TIMEOUT_S)
        assert verdict is not None
        assert verdict.text == "True ['app.py', 'beside', 'data', 'new'] 5"
        assert helper.exists()


@pytest.mark.parametrize("name", ["link", "../alias/data", "above/root [1]/data"])
def test_a_file_by_the_name_of_a_link_is_refused(tree: Path, name: str) -> None:
    (tree / "link").symlink_to("data")
    (tree.parent / "alias").symlink_to(tree)
    (tree / "above").symlink_to(tree.parent)
    with server(tree, "cat", name, "data") as one:
        assert one.why_not == "it opens a file by the name of a link"


def test_the_grammar_does_not_know_it() -> None:
    with pytest.raises(RuleError):
        grammar.parse_rule("open:forkpoint:path=*")


def test_there_is_room_for_all_patterns(tree: Path) -> None:
    folder = tree.parent / "out"
    folder.mkdir()
    paths = (*(quoted(str(tree / f"f{n}")) for n in range(159)), quoted(str(tree / "data")))
    listings = tuple(quoted(str(tree / f"d{n}")) for n in range(40))
    one = ForkServer(["cat", "beside", "data"], tree, Points(paths, listings, (str(tree),)), folder)
    try:
        assert one.why_not is None
        verdict = one.run(TIMEOUT_S)
        assert verdict is not None
        assert verdict.text == "always the samefirst"
    finally:
        one.close()


def test_a_server_ends_with_its_session(tree: Path) -> None:
    with server(tree, "cat", "data") as one:
        pids = one.pids
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
