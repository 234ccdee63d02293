"""Baselines: what is accepted, what is new, what is no longer there, and files that are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from faultlib.errors import UsageError
from faultlib.report import baseline, core
from tests.conftest import Run
from tests.report.campaigns import CAMPAIGN, CLEAN, RENAMED, STRANGE, TRUNCATED

FRESH = CAMPAIGN._replace(accepted=())


def saved(folder: Path, data: object) -> str:
    file = folder / "baseline.json"
    file.write_text(json.dumps(data))
    return str(file)


def test_a_list_of_fingerprints(tmp_path: Path) -> None:
    campaign, remarks = baseline.compare(FRESH, baseline.read(saved(tmp_path, [RENAMED.fingerprint, STRANGE.fingerprint])))
    assert campaign.findings == (TRUNCATED,)
    assert (campaign.accepted, remarks) == ((RENAMED, STRANGE), ())


def test_an_earlier_report(tmp_path: Path) -> None:
    core.write(FRESH._replace(findings=(RENAMED,)), str(tmp_path / "old.json"))
    campaign, remarks = baseline.compare(FRESH, baseline.read(str(tmp_path / "old.json")))
    assert (campaign.findings, campaign.accepted, remarks) == ((STRANGE, TRUNCATED), (RENAMED,), ())


def test_all_of_it_is_accepted(tmp_path: Path) -> None:
    core.write(FRESH, str(tmp_path / "old.json"))
    campaign, _ = baseline.compare(FRESH, baseline.read(str(tmp_path / "old.json")))
    assert (campaign.findings, campaign.accepted) == ((), FRESH.findings)
    assert "accepted    3 findings of the baseline" in core.render(campaign, "text")


def test_what_no_longer_occurs_is_said(tmp_path: Path) -> None:
    core.write(FRESH, str(tmp_path / "old.json"))
    known = baseline.read(str(tmp_path / "old.json"))
    campaign, (remark,) = baseline.compare(CLEAN, known)
    assert campaign.accepted == ()
    assert "old.json: 3 entries not there any more: " in remark
    assert f"{RENAMED.fingerprint} ({RENAMED.title})" in remark
    assert remark.isprintable(), "titles hold names of files"


def test_what_was_not_found_in_time_may_still_be_there(tmp_path: Path) -> None:
    known = baseline.read(saved(tmp_path, ["gone"]))
    (remark,) = baseline.compare(CLEAN._replace(complete=False), known).remarks
    assert remark.endswith("1 entry not seen, but not every state was looked at: gone")


def test_what_is_accepted_is_in_the_json_report_but_not_among_its_findings(tmp_path: Path) -> None:
    campaign, _ = baseline.compare(FRESH, baseline.read(saved(tmp_path, [STRANGE.fingerprint, TRUNCATED.fingerprint])))
    data = json.loads(core.render(campaign, "json"))
    assert [one["fingerprint"] for one in data["findings"]] == [RENAMED.fingerprint]
    assert [one["title"] for one in data["accepted"]] == [TRUNCATED.title, STRANGE.title], "in the order of all reports"
    assert data["severities"] == {"violation": 0, "suspicion": 1, "note": 0}, "they are not counted"


def test_such_a_report_is_a_baseline_for_all_of_it(tmp_path: Path) -> None:
    first, _ = baseline.compare(FRESH, baseline.read(saved(tmp_path, [STRANGE.fingerprint])))
    core.write(first, str(tmp_path / "new.json"))
    second, remarks = baseline.compare(FRESH, baseline.read(str(tmp_path / "new.json")))
    assert (second.findings, len(second.accepted), remarks) == ((), 3, ())


def test_crash_accepts_what_its_own_report_accepted(faultlib: Run, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("old")
    command = ("--check", "test -s data", "--profile", "kill", "--", "sh", "-c", "echo new > data")
    first = faultlib("crash", "--report", "1.json", *command)
    second = faultlib("crash", "--baseline", "1.json", "--report", "2.json", *command)
    third = faultlib("crash", "--baseline", "2.json", *command)
    assert (first.returncode, second.returncode, third.returncode) == (1, 0, 0), second.stderr
    before, after = (json.loads((tmp_path / name).read_text()) for name in ("1.json", "2.json"))
    assert len(before["findings"]) == 1
    assert after["findings"] == []
    assert [one["fingerprint"] for one in after["accepted"]] == [before["findings"][0]["fingerprint"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is no JSON: Expecting value, line 1, column 1"),
        (b'["a",\n b]', "it is no JSON: Expecting value, line 2, column 2"),
        (b"\xff\xfe\xff", "it is no JSON: not a text in UTF-8, at byte"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b"7", "it holds a number, and not a list of fingerprints or a report of `faultlib crash` in JSON"),
        (b"null", "it holds null, and"), (b'"abc"', "it holds a text, and"), (b"{}", "it holds an object, and"),
        (b'{"findings": 3}', "it holds an object, and"),
        (b'["a", 7]', "entry 1 is a number, and not a fingerprint"), (b'[""]', "entry 0 is an empty text, and not"),
        (b'["a", null]', "entry 1 is null, and not"), (b"[[]]", "entry 0 is a list, and not"),
        (b'{"findings": [{"title": "x"}]}', "entry 0 is a finding without its fingerprint, and not"),
        (b'{"findings": [], "accepted": [null]}', "entry 0 is null, and not"),
        (b'{"findings": [], "accepted": 2}', "what it accepted is a number, and not a list of findings"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_baseline(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "bad.json"
    file.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        baseline.read(str(file))
    assert str(caught.value).startswith(f"--baseline {file}: {message}")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="it cannot be read: No such file or directory"):
        baseline.read(str(tmp_path / "missing.json"))
    with pytest.raises(UsageError, match="it cannot be read: Is a directory"):
        baseline.read(str(tmp_path))
