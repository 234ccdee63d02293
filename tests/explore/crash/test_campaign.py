"""Campaigns from end to end: what they find, what they refuse, and that nothing is lost when they are killed."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from faultlib.commands.crash import read_budget
from faultlib.errors import FaultlibError, UsageError
from faultlib.explore import cell
from faultlib.explore.crash.campaign import Nothing
from faultlib.explore.crash.explorer import Budget
from faultlib.explore.crash.replay import replay
from faultlib.explore.crash.store import Store
from faultlib.testing.crash import assert_fixed
from tests.explore.crash.conftest import Explore

OLD, NEW = '{"n": 1}', '{"n": 2}'
IN_PLACE = "import json\nwith open('data.json', 'w') as file:\n    json.dump({'n': 2}, file)\n"
BY_RENAME = """import json, os
with open('data.json.tmp', 'w') as file:
    json.dump({'n': 2}, file)
os.replace('data.json.tmp', 'data.json')
"""
SYNCED = """import json, os
with open('data.json.tmp', 'w') as file:
    json.dump({'n': 2}, file)
    file.flush()
    os.fsync(file.fileno())
os.replace('data.json.tmp', 'data.json')
"""
CHECKS = """import json
from pathlib import Path

def parses():
    json.loads(Path('data.json').read_text())

def acknowledged(directory, output):
    if b'saved' in output:
        assert json.loads((directory / 'data.json').read_text())['n'] == 2

def hangs():
    import time
    if not Path('data.json').read_text():
        time.sleep(600)
"""
FILES = {"data.json": OLD, "checks.py": CHECKS}
PARSES = f"'{sys.executable}' -c \"import json; json.load(open('data.json'))\""


@pytest.mark.parametrize("check", [PARSES, "checks.py:parses", "checks:parses"])
def test_a_file_written_in_place(check: str, campaign: Explore) -> None:
    found = campaign(IN_PLACE, FILES, check=check)
    (finding,) = found.findings
    assert finding.kind == "truncate-then-write" and finding.severity == "violation"
    assert finding.profiles == ("kill", "ext4", "xfs", "btrfs", "posix")
    assert finding.kept and finding.kept.place == "program.py:2" and finding.kept.text == "open(data.json, O_TRUNC)"
    assert finding.lost and finding.lost.place.startswith("program.py:") and "write(data.json" in finding.lost.text
    assert finding.impact == "data.json has 0 bytes then (8 bytes before the run, 8 at its end)"
    assert found.complete and found.failing >= finding.states > 0


def test_a_rename_before_the_data(campaign: Explore) -> None:
    (finding,) = campaign(BY_RENAME, FILES, check="checks:parses").findings
    assert finding.kind == "rename before data" and finding.profiles == ("ext4", "xfs", "btrfs", "posix")
    assert finding.kept and finding.kept.place == "program.py:4"
    assert finding.missing == "fsync of data.json after program.py:3 and before program.py:4" or "program.py:2" in finding.missing


def test_what_is_synced_before_is_sound(campaign: Explore) -> None:
    found = campaign(SYNCED, FILES, check="checks:parses")
    assert found.findings == () and found.failing == 0 and found.unique > 5


def test_what_was_promised(campaign: Explore) -> None:
    """The data are durable, the name is not."""
    (finding,) = campaign(SYNCED + "print('saved', flush=True)\n", FILES, check="checks:acknowledged").findings
    assert finding.kind == "name not durable" and "kill" not in finding.profiles
    assert finding.lost and finding.lost.place == "program.py:6" and finding.kept and finding.kept.place == "program.py:7"
    durable = SYNCED + "os.fsync(os.open('.', os.O_RDONLY))\nprint('saved', flush=True)\n"
    assert campaign(durable, FILES, folder="d", check="checks:acknowledged").findings == ()


def test_recovery_comes_first(campaign: Explore) -> None:
    mends = f"test -s data.json || echo '{OLD}' > data.json"
    assert campaign(IN_PLACE, FILES, check="checks:parses", recover=mends, profiles=("kill",)).findings == ()
    (finding,) = campaign(IN_PLACE, FILES, folder="d", check="true", recover="test -s data.json").findings
    assert finding.kind == "failed recovery"


def test_a_check_that_hangs_is_a_failure_of_its_own(campaign: Explore) -> None:
    (finding,) = campaign(IN_PLACE, FILES, check="checks:hangs", timeout_s=0.3, profiles=("kill",)).findings
    assert finding.symptom == "still running after 0.3 s"


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ({"check": "true", "acks": ("saved",)}, UsageError, "--ack saved: the command said nothing of that kind"),
        ({"check": "true", "acks": ("(",)}, UsageError, "--ack \\(: this is no regular expression"),
        ({"check": "nowhere:f"}, UsageError, "nowhere could not be imported: ModuleNotFoundError"),
        ({"check": "checks:nothing"}, UsageError, "there is no function nothing in checks"),
        ({"check": "false"}, UsageError, "the check fails although nothing has crashed"),
        ({"check": "true", "profiles": ("ext3",)}, UsageError, "--profile ext3: did you mean ext4?"),
        ({"check": "true", "sector": 100}, UsageError, "a sector has 512 or 4096 bytes"),
        ({"check": "true", "jobs": 0}, UsageError, "--jobs 0: at least 1"),
        ({"check": "true", "timeout_s": 0}, UsageError, "more than 0 seconds"),
        ({"check": "true", "status": 3}, UsageError, "fails without any crash, with status 0"),
        ({"check": "true", "roots": (Path("/nowhere"),)}, UsageError, "there is no such directory"),
        ({"check": "true", "roots": (Path("/etc/passwd"),)}, UsageError, "this is no directory"),
        ({"check": "true", "roots": (Path("/"),)}, UsageError, "a copy is made of each root"),
        ({"check": "true", "roots": (Path("/usr/include"),)}, Nothing, "changed nothing under /usr/include"),
    ],
)
def test_what_is_refused(spec: dict[str, object], error: type[FaultlibError], message: str, campaign: Explore) -> None:
    with pytest.raises(error, match=message.replace("?", r"\?")):
        campaign(IN_PLACE, FILES, **spec)


def test_a_command_that_fails_by_itself(campaign: Explore) -> None:
    with pytest.raises(UsageError, match=r"fails without any crash, with status 1: (?s:.*)ZeroDivisionError"):
        campaign(IN_PLACE + "1 / 0\n", FILES, check="true")


def test_the_real_files_are_not_touched(campaign: Explore, tmp_path: Path) -> None:
    campaign(IN_PLACE, FILES, check="rm -f data.json; true")
    assert (tmp_path / "here" / "data.json").read_text() == OLD
    assert sorted(path.name for path in (tmp_path / "here").iterdir() if path.name != "__pycache__") == ["checks.py", "data.json", "program.py"]


def test_a_budget_ends_it(campaign: Explore) -> None:
    found = campaign(BY_RENAME, FILES, check="checks:parses", budget=Budget(states=3))
    assert not found.complete and found.unique == 3
    assert any("the budget ended" in note for note in found.not_covered)


def test_without_namespaces_states_are_copied(campaign: Explore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell, "why_not", lambda: "forbidden by a test")
    found = campaign(IN_PLACE, FILES, check="checks.py:parses")
    assert [finding.kind for finding in found.findings] == ["truncate-then-write"]
    assert any("forbidden by a test" in note for note in found.not_covered)


def test_a_finding_can_be_replayed(campaign: Explore, tmp_path: Path) -> None:
    campaign(IN_PLACE, FILES, check=PARSES)
    finding, verdict, place = replay(tmp_path / "c" / "findings" / "crash_1.json")
    assert verdict.failed and finding.kind == "truncate-then-write"
    assert (place / "data.json").read_bytes() == b"" and (place / "program.py").read_text() == IN_PLACE


@pytest.mark.parametrize("content", ["", "{}", '{"finding": {}, "spec": {}}', "[]"])
def test_what_is_no_finding_cannot(content: str, tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text(content)
    with pytest.raises(UsageError, match="this is no finding"):
        replay(tmp_path / "f.json")


def test_a_campaign_of_another_version_is_refused(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.settle(command=["true"])
    with Store(tmp_path) as again:
        again.settle(command=["true"])
    with contextlib.closing(sqlite3.connect(tmp_path / "campaign.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 1")
    with pytest.raises(UsageError, match="another version of faultlib"):
        Store(tmp_path)


def test_its_regression_test_fails_until_it_is_mended(campaign: Explore, tmp_path: Path) -> None:
    campaign(IN_PLACE, FILES, check=PARSES)
    here = tmp_path / "here"
    shutil.copytree(tmp_path / "c" / "findings", here / "findings")
    (test,) = (here / "findings").glob("test_*.py")
    assert "find_root(__file__, 'program.py')" in test.read_text()

    def pytest_says() -> str:
        run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)]
        return subprocess.run(run, cwd=here, capture_output=True, text=True, timeout=120).stdout

    (here / "data.json").write_text("something else that is no JSON by now")
    said = pytest_says()
    assert "1 failed" in said and "data.json can be left empty" in said
    (here / "program.py").write_text(SYNCED)
    assert "1 passed" in pytest_says()


MANY = "import os\nfor i in range(80):\n    with open('data.json.tmp', 'w') as f:\n        f.write(str(i))\n    os.replace('data.json.tmp', 'data.json')\n"


def test_a_killed_campaign_goes_on_where_it_was(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "program.py").write_text(MANY)
    (here / "data.json").write_text(OLD)
    command = [sys.executable, "-m", "faultlib", "crash", "--check", "sleep 0.05; test -e data.json", "--profile", "kill", "--campaign", str(tmp_path / "c")]
    command += ["--json", "--", sys.executable, "program.py"]
    running = subprocess.Popen(command, cwd=here, stdout=subprocess.DEVNULL)
    store = tmp_path / "c" / "campaign.sqlite"
    deadline = time.monotonic() + 60
    judged = 0
    while judged < 20 and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.02)
        if store.exists():
            try:
                (judged,) = sqlite3.connect(store).execute("SELECT count(*) FROM verdict").fetchone()
            except sqlite3.OperationalError:
                continue
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert judged >= 20
    again = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stderr
    report = json.loads(again.stdout)
    (known,) = sqlite3.connect(store).execute("SELECT count(*) FROM verdict").fetchone()
    assert report["complete"] and report["judged"] <= known - judged + 2 and report["unique"] > 80
    assert not any("faultlib" in line and str(tmp_path) in line for line in Path("/proc/mounts").read_text().splitlines())
    other = [*command[:-3], "--recover", "true", *command[-3:]]
    refused = subprocess.run(other, cwd=here, capture_output=True, text=True, timeout=120)
    assert refused.returncode == 2 and "begun with another recover" in refused.stderr
    assert list((tmp_path / "c" / "scratch").iterdir()) == []


RETRIES = """import json, os
with open('data.json.tmp', 'w') as file:
    json.dump({'n': 2}, file)
    file.flush()
    for attempt in range(3):
        try:
            os.fsync(file.fileno())
            break
        except OSError:
            pass
os.replace('data.json.tmp', 'data.json')
"""
GIVES_UP = RETRIES.replace("            pass", "            os.unlink('data.json.tmp')\n            raise SystemExit(1)")


@pytest.mark.parametrize(("program", "titles"), [(RETRIES, ["rename before data"]), (GIVES_UP, [])])
def test_an_fsync_that_fails_is_not_tried_again(program: str, titles: list[str], tmp_path: Path) -> None:
    """The pages count as clean then: a second fsync that succeeds has not written them."""
    (tmp_path / "program.py").write_text(program)
    (tmp_path / "data.json").write_text(OLD)
    command = [sys.executable, "-m", "faultlib", "crash", "--failing-fsync", "--json", "--check", PARSES]
    done = subprocess.run([*command, "--", sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    findings = json.loads(done.stdout)["findings"]
    assert [finding["kind"] for finding in findings] == titles and done.returncode == bool(titles), done
    assert all(finding["title"].endswith("(after fsync has failed at program.py:7)") for finding in findings)


JOURNALED = """import json, os, sys
if sys.argv[1:] == ['recover']:
    if os.path.exists('journal'):
        new = json.load(open('journal'))
        FIRST
        with open('data.json', 'w') as file:
            json.dump(new, file)
            file.flush()
            os.fsync(file.fileno())
        SECOND
else:
    with open('journal.tmp', 'w') as file:
        json.dump({'n': 2}, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename('journal.tmp', 'journal')
    os.fsync(os.open('.', os.O_RDONLY))
    with open('data.json', 'w') as file:
        json.dump({'n': 2}, file)
        file.flush()
        os.fsync(file.fileno())
    os.unlink('journal')
"""


@pytest.mark.parametrize(("first", "second", "held"), [("pass", "os.unlink('journal')", True), ("os.unlink('journal')", "pass", False)])
def test_a_second_crash_comes_during_recovery(first: str, second: str, held: bool, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(JOURNALED.replace("FIRST", first).replace("SECOND", second))
    (tmp_path / "data.json").write_text(OLD)
    command = [sys.executable, "-m", "faultlib", "crash", "--nested", "--json", "--profile", "kill", "--check", PARSES]
    command += ["--recover", f"'{sys.executable}' program.py recover", "--", sys.executable, "program.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == (0 if held else 1), done.stderr
    titles = [finding["title"] for finding in json.loads(done.stdout)["findings"]]
    assert bool(titles) is not held and all("during recovery" in title for title in titles)


def test_a_second_crash_needs_a_recovery(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "faultlib", "crash", "--nested", "--check", "true", "--", "true"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "give --recover" in done.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "budget"),
    [(None, Budget()), ("5000", Budget(states=5000)), ("30s", Budget(seconds=30)), ("1.5m", Budget(seconds=90)), ("2h", Budget(seconds=7200))],
)
def test_a_budget_is_states_or_a_time(text: str | None, budget: Budget) -> None:
    assert read_budget(text) == budget


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "0s", "s", "5x", "5 m", "inf", "nan"])
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(UsageError, match="a number of states, as 5000, or a time"):
        read_budget(text)


FALLS_BACK = """import os, shutil
with open('data.json.tmp', 'w') as file:
    file.write('{"n": 2}')
try:
    os.replace('data.json.tmp', 'data.json')
except OSError:
    shutil.copyfile('data.json.tmp', 'data.json')
"""


def test_a_fault_can_act_while_it_is_recorded(campaign: Explore, tmp_path: Path) -> None:
    rule = "rename:error=EBUSY:to=*/data.json"
    found = campaign(FALLS_BACK, FILES, check="checks:parses", rules=(rule,), profiles=("kill",))
    (finding,) = found.findings
    assert (finding.kind, finding.kept and finding.kept.place) == ("truncate-then-write", "program.py:7") and not found.unfired
    with pytest.raises(AssertionError, match=r"truncate-then-write|can be left empty"):
        assert_fixed(tmp_path / "c" / "findings" / "crash_1.json")
    (tmp_path / "here" / "program.py").write_text(FALLS_BACK.replace("shutil.copyfile('data.json.tmp', 'data.json')", "raise SystemExit"))
    assert_fixed(tmp_path / "c" / "findings" / "crash_1.json")


def test_a_fault_that_did_nothing_is_said(campaign: Explore) -> None:
    found = campaign(SYNCED, FILES, check="checks:parses", rules=("rename:error=EBUSY:to=*/other",), profiles=("kill",))
    assert not found.findings and found.is_inconclusive
    assert "rename:error=EBUSY:to=*/other never fired: what was explored is a run without it" in found.not_covered
