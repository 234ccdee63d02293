"""What holds for every format: nothing is left out, nothing of a program's text is obeyed."""

from __future__ import annotations

import html
import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faultlib.errors import FaultlibError, UsageError
from faultlib.explore import oracle
from faultlib.explore.crash import causes
from faultlib.explore.finding import Finding
from faultlib.inject.visible import visible
from faultlib.report import core, terminal, text, timeline, words
from tests.report.campaigns import ACCEPTED, CAMPAIGN, CLEAN, HOSTILE, RENAMED, STRANGE, TRUNCATED

FORMATS = list(core.FORMATS)
NOT_IN_TEXT = {"timeline", "plan", "symptom", "kind"}
"""For `replay --explain` and for programs; of what the check said the gist is shown."""


def leaves(value: Any) -> Iterator[str]:
    """The texts and numbers of a structure."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from leaves(inner)
    else:
        yield value if isinstance(value, str) else str(value)


def strings(data: Any) -> str:
    """All that a JSON document says, one below the other."""
    return "\n".join(leaves(data))


def spoken(form: str, campaign: core.Campaign) -> str:
    """What a reader of a report reads: without the escapes of its format."""
    made = core.render(campaign, form)
    match form:
        case "html":
            return html.unescape(made)
        case "md":
            made = re.sub(r"\\([\\`*\[\]~#$!_|])", r"\1", made.replace("@<!-- -->", "@"))
            return html.unescape(made)
        case "json" | "sarif":
            said = strings(json.loads(made))
            return re.sub(r"\\([\\\[\]])", r"\1", said).replace("{{", "{").replace("}}", "}") + said
    return made


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("finding", CAMPAIGN.findings, ids=lambda one: str(one.number))
@pytest.mark.parametrize("field", [name for name in Finding._fields if name not in ("timeline", "plan")])
def test_every_field_is_shown(form: str, finding: Finding, field: str) -> None:
    if form == "text" and field in NOT_IN_TEXT:
        return
    said = spoken(form, CAMPAIGN)
    value = getattr(finding if form == "json" else words.shown_finding(finding), field)
    if field in ("lost", "kept") and value:
        value = (value.text, value.place, value.function) if form == "text" else (value.text, str(value.line), value.function, value.stack)
    for leaf in leaves(value):
        wanted = "None" if leaf == "None" else re.sub(r"\\([\\\[\]])", r"\1", leaf) if form == "md" else leaf
        assert leaf == "None" or wanted in said or leaf.rpartition("/")[2] in said, leaf


@pytest.mark.parametrize("form", ["md", "html", "json", "sarif"])
def test_operations_and_plan_are_shown(form: str) -> None:
    said = spoken(form, CAMPAIGN)
    for step in (*RENAMED.timeline[:3], *TRUNCATED.timeline[-3:]):
        place = step.place.rpartition(":")[2] if form == "sarif" else step.place
        assert step.text in said and place in said and (step.fate in said or step.mark)
    assert "4096" in said and "promised" in core.render(CAMPAIGN, form)


@pytest.mark.parametrize("form", FORMATS)
def test_the_head_and_the_end_say_what_was_done(form: str) -> None:
    said = spoken(form, CAMPAIGN)
    numbers = [f"{CAMPAIGN.states:,}", f"{CAMPAIGN.unique}", f"{CAMPAIGN.judged}", f"{CAMPAIGN.failing}", "1.6", "803"]
    assert all(number in said or number.replace(",", "") in said for number in numbers)
    assert "cache.db" in said and CAMPAIGN.check in said and "/srv/other" in said
    if form not in ("json", "sarif"):
        assert "not every" in said or "before every state was looked at" in said
        assert "faultlib replay .faultlib/crash/2 --explain" in said
        assert "2 findings of the baseline" in said


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("campaign", [CAMPAIGN, CLEAN])
def test_nothing_that_a_terminal_obeys(form: str, campaign: core.Campaign) -> None:
    made = core.render(campaign, form)
    assert not [c for c in made if c != "\n" and not c.isprintable()]
    made.encode("utf-8")  # no half of a pair


def test_timeline_has_nothing_that_a_terminal_obeys() -> None:
    made = timeline.render(STRANGE)
    assert not [c for c in made if c != "\n" and not c.isprintable()]


@pytest.mark.parametrize("form", FORMATS)
def test_worst_findings_come_first(form: str) -> None:
    made = spoken(form, CAMPAIGN)
    places = [made.index(one.title) for one in (TRUNCATED, RENAMED)] + [made.rindex(STRANGE.fingerprint)]
    assert places == sorted(places)


def test_order_within_a_severity_is_that_of_the_profiles() -> None:
    several = [RENAMED._replace(number=n, profiles=p) for n, p in enumerate([("posix",), ("btrfs", "posix"), (), ("xfs",), ("ext4",), ("kill",)])]
    assert [one.profiles[:1] for one in words.ordered(tuple(several))] == [("kill",), ("ext4",), ("xfs",), ("btrfs",), ("posix",), ()]


def test_json_report_is_read_back() -> None:
    data = json.loads(core.json_report(CAMPAIGN))
    assert {Finding.from_json(one) for one in map(_hashable, data["findings"])} == {_hashed(one) for one in CAMPAIGN.findings}
    assert data["severities"] == {"violation": 1, "suspicion": 1, "note": 1}
    assert HOSTILE in data["findings"][2]["files"], "as it is, not as it is shown"


def _hashable(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "plan": json.dumps(one["plan"])}


def _hashed(one: Finding) -> Finding:
    return one._replace(plan=json.dumps(one.plan))  # type: ignore[arg-type]


# colours


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_where_it_is_no_terminal() -> None:
    pipe = io.StringIO()
    text.show(CAMPAIGN, pipe)
    timeline.show(TRUNCATED, pipe)
    assert "\x1b" not in pipe.getvalue()
    assert pipe.getvalue() == core.render(CAMPAIGN, "text") + timeline.render(TRUNCATED)


def test_coloured_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    timeline.show(TRUNCATED, stream)
    assert "\x1b[31m\x1b[1m\x1b[9mwrite(" in stream.getvalue(), "the lost one is struck out"
    assert re.sub(r"\x1b\[[\d;]*m", "", stream.getvalue()) == timeline.render(TRUNCATED, width=80)


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_without_colours(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    stream = Terminal()
    text.show(CAMPAIGN, stream)
    assert "\x1b" not in stream.getvalue()


def test_a_real_terminal_and_a_real_pipe() -> None:
    code = "import sys; from faultlib.report import text; from tests.report.campaigns import CAMPAIGN; text.show(CAMPAIGN, sys.stdout)"
    env = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm", "COLUMNS": "80"}
    command = [sys.executable, "-c", code]
    root = Path(__file__).parents[2]
    piped = subprocess.run(command, cwd=root, env=env, capture_output=True, timeout=60, check=True).stdout
    leader, follower = pty.openpty()
    child = subprocess.Popen(command, cwd=root, env=env, stdout=follower)
    os.close(follower)
    with os.fdopen(leader, "rb", buffering=0) as stream:
        shown = b"".join(_all_of(stream))
    assert child.wait(60) == 0
    assert b"\x1b[" in shown and b"\x1b" not in piped
    plain = re.sub(r"\x1b\[[\d;]*m", "", shown.decode()).replace("\r\n", "\n")
    assert plain == text.render(CAMPAIGN, width=80)


def _all_of(stream: io.FileIO) -> Iterator[bytes]:
    """A terminal whose other side is gone ends with an error."""
    while True:
        try:
            data = stream.read(65536)
        except OSError:
            return
        if not data:
            return
        yield data


def test_an_encoding_that_lacks_the_dots() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    terminal.put("… 3 more\n", stream)
    assert raw.getvalue() == b"\\u2026 3 more\n"


# files


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.txt", "text"), ("a.md", "md"), ("a.markdown", "md"), ("a.HTML", "html"), ("a.htm", "html"), ("a.json", "json"),
     ("a.sarif", "sarif"), ("a.sarif.json", "sarif"), ("x.md/a.json", "json")],
)  # fmt: skip
def test_suffix_says_the_format(name: str, form: str) -> None:
    assert core.format_of(name) == form


@pytest.mark.parametrize("name", ["a.pdf", "a", "json", ".", "a.md.bak"])
def test_a_suffix_that_says_none_is_refused_with_those_that_do(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        core.write(CAMPAIGN, str(tmp_path / name))
    assert all(one in str(caught.value) for one in (".txt for text", ".md or .markdown for md", ".html or .htm for html", ".sarif"))
    assert not list(tmp_path.iterdir())


def test_a_format_that_is_not_known_is_refused() -> None:
    with pytest.raises(UsageError, match="no report format 'pdf'; there are text, md, html, sarif, json"):
        core.render(CAMPAIGN, "pdf")


def test_written_in_one_step(tmp_path: Path) -> None:
    file, link = tmp_path / "r.html", tmp_path / "link.html"
    file.write_text("old")
    file.chmod(0o640)
    link.symlink_to(file)
    with file.open() as old:
        core.write(CAMPAIGN, str(link))
        assert old.read() == "old", "whoever had it open has the old one"
    assert link.is_symlink() and file.read_text().startswith("<!doctype html>")
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(tmp_path.iterdir()) == [link, file]


def test_a_new_file_has_the_rights_of_any_other(tmp_path: Path) -> None:
    core.write(CLEAN, str(tmp_path / "r.md"))
    (tmp_path / "other").write_text("")
    assert (tmp_path / "r.md").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("path", ["/dev/full", "no/such/r.json", "/proc/r.json"])
def test_a_report_that_cannot_be_written(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FaultlibError, match=f"the report could not be written to {path}: "):
        core.write(CAMPAIGN, path, "json")
    assert not list(tmp_path.iterdir())


def test_dash_is_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    core.write(CLEAN, "-")
    core.write(CLEAN, "-", "json")
    shown = capsys.readouterr().out
    assert shown == core.render(CLEAN, "text") + core.render(CLEAN, "json")


def test_only_the_html_report_imports_jinja() -> None:
    code = (
        "import sys; from faultlib.report import baseline, core, timeline; from tests.report.campaigns import CAMPAIGN\n"
        "for form in ('text', 'md', 'json', 'sarif'): core.render(CAMPAIGN, form)\n"
        "assert not {'jinja2', 'markupsafe'} & set(sys.modules); core.render(CAMPAIGN, 'html'); assert 'jinja2' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], timeout=60, check=True)


# words


def test_the_kinds_of_the_explorer_are_those_of_the_reports_and_of_the_manual() -> None:
    """`report` knows nothing of the explorers, so the names are written down twice."""
    manual = (Path(__file__).parents[2] / "docs" / "crash.md").read_text()
    table = manual[manual.index("| kind | what it means |") :].partition("\n\n")[0]
    named = [line.split("|")[1].strip() for line in table.splitlines()[2:]]
    assert sorted([*causes.KINDS, oracle.RECOVERY]) == sorted(words.KINDS) == sorted(named)


@pytest.mark.parametrize(
    ("symptom", "gist"),
    [("", ""), ("status 1", "status 1"), ("status 1\nboom\n", "status 1: boom"), ("status 1\n\nTraceback\n  x\nE: boom", "status 1 … E: boom")],
)
def test_gist_of_what_a_check_said(symptom: str, gist: str) -> None:
    assert words.gist(symptom) == gist


def test_nothing_found_is_not_said_of_more_than_was_looked_at() -> None:
    assert (words.result(CLEAN), words.tone(CLEAN)) == ("nothing found", "clean")
    unfinished = CLEAN._replace(complete=False)
    assert (words.result(unfinished), words.tone(unfinished)) == ("nothing found so far", "open")
    assert words.result(CLEAN._replace(accepted=(ACCEPTED,))) == "nothing new found"


def test_what_to_type_next() -> None:
    assert words.next_command(CLEAN) == "faultlib run -e write:error=ENOSPC -- true"
    assert words.next_command(CLEAN._replace(complete=False, check="")) == "faultlib crash --budget 3248 -- true"
    explained = CAMPAIGN._replace(findings=(RENAMED._replace(replay="faultlib replay 1 --explain"),))
    assert words.next_command(explained) == "faultlib replay 1 --explain"


def test_callers_are_those_behind_the_source_line() -> None:
    assert TRUNCATED.lost and words.callers(TRUNCATED.lost) == TRUNCATED.lost.stack[2:], "not those of a library in front of it"
    assert words.callers(TRUNCATED.lost._replace(place="unknown")) == TRUNCATED.lost.stack[1:]


def test_a_source_line_that_is_not_known() -> None:
    assert TRUNCATED.lost
    assert words.where(TRUNCATED.lost._replace(place="", file="", line=0, function="")) == "source line not known"
    assert words.where(TRUNCATED.lost._replace(place="", file="/bin/tar", line=0)) == "/bin/tar"


@pytest.mark.parametrize("form", FORMATS)
def test_a_finding_of_which_little_is_known(form: str) -> None:
    bare = RENAMED._replace(lost=None, kept=None, timeline=(), files=(), profiles=(), symptom="", impact="", missing="", replay="", test_file="",
                            severity="unheard of", kind="of no kind that we know", plan={})  # fmt: skip
    campaign = CAMPAIGN._replace(findings=(bare,), strategies={}, seconds=0.0, profiles=(), roots=())
    assert visible(bare.title) in spoken(form, campaign)
