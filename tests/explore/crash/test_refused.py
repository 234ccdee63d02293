"""Bad input and faults: each has a clear message and status 2 or 3, is no finding, and leaves nothing behind."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from faultlib.explore import cell
from faultlib.explore.cell import NoRoom
from faultlib.explore.crash import layers, place
from faultlib.explore.crash.around import places
from faultlib.explore.crash.campaign import MOST_JOBS, Spec, explore

SYNCED = """import os
with open('data.tmp', 'w') as file:
    file.write('new')
    file.flush()
    os.fsync(file.fileno())
os.replace('data.tmp', 'data')
"""
TORN = "with open('data', 'w') as file:\n    file.write('new')\n"
Faultlib = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    tree = tmp_path / "here"
    tree.mkdir()
    (tree / "data").write_text("old")
    (tree / "program.py").write_text(SYNCED)
    (tree / "torn.py").write_text(TORN)
    return tree


@pytest.fixture
def crash(here: Path) -> Iterator[Faultlib]:
    """`faultlib crash` of a program, by words after the options."""

    def run(*words: str, command: tuple[str, ...] = (sys.executable, "program.py"), cwd: Path = here, **env: str) -> subprocess.CompletedProcess[str]:
        whole = [sys.executable, "-m", "faultlib", "crash", "--profile", "kill", "--profile", "ext4", *words, "--", *command]
        return subprocess.run(whole, cwd=cwd, env=os.environ | env, capture_output=True, text=True, timeout=120)

    mounts = Path("/proc/mounts").read_text()
    yield run
    assert [line for line in Path("/proc/mounts").read_text().splitlines() if line not in mounts.splitlines() and str(here.parent) in line] == []


def said(done: subprocess.CompletedProcess[str], status: int, *sentences: str) -> None:
    assert done.returncode == status, done
    assert "Traceback" not in done.stderr, done
    for sentence in sentences:
        assert sentence in done.stdout + done.stderr, done


# the command


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        (("sh", "-c", "echo a > x; echo why; exit 4"), 2, "fails without any crash, with status 4: why\n  --status 4 says that this is right"),
        (("sh", "-c", "echo a > x; kill -9 $$"), 2, "fails without any crash, by signal 9, SIGKILL: it said nothing"),
        (("not-to-be-found",), 2, "not-to-be-found: the command was not found"),
        (("./data",), 2, "data is not executable"),
        (("./",), 2, "is a directory"),
        (("/sbin/ldconfig",), 3, "nothing that it does to files would be seen: /sbin/ldconfig cannot be instrumented: it is statically linked"),
        (("sh", "-c", "echo a > x; /sbin/ldconfig -p > y"), 3, "/sbin/ldconfig (process 1.1) could not be instrumented"),
        (("true",), 3, "changed nothing under"),
        (("sh", "-c", "echo a > x; echo b > /var/tmp/faultlib-outside; rm /var/tmp/faultlib-outside"), 3, "inconclusive: nothing found"),
    ],
)
def test_a_command_that_cannot_be_explored(command: tuple[str, ...], status: int, message: str, crash: Faultlib) -> None:
    done = crash("--check", "true", command=command)
    said(done, status, message)
    assert "violation" not in done.stdout


def test_a_script_of_a_static_program(here: Path, crash: Faultlib) -> None:
    script = here / "script"
    script.write_text("#!/sbin/ldconfig\n")
    script.chmod(0o755)
    said(crash("--check", "true", command=("./script",)), 3, "statically linked")


# the check


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ("not-to-be-found", "the check fails although nothing has crashed"),
        ("nowhere:check", "nowhere could not be imported: ModuleNotFoundError"),
        ("checks:chekc", "there is no function chekc in checks; did you mean check?"),
        ("checks:exists", "there is no function exists in checks"),
        ("false", "the check fails although nothing has crashed"),
    ],
)
def test_a_check_that_cannot_be(check: str, message: str, here: Path, crash: Faultlib) -> None:
    (here / "checks.py").write_text("def check(): pass\nexists = 3\n")
    said(crash("--check", check), 2, message)


@pytest.mark.parametrize(
    "check",
    [
        "rm -f data; echo gone > other",  # writes into the tree
        "cat; read line || test -s data",  # reads its standard input, which is empty
        "setsid sleep 86398 & test -s data",  # leaves a daemon
        "yes | head -c 100000000; test -s data",  # prints 100 MB
    ],
)
def test_what_a_check_does_is_undone(check: str, here: Path, crash: Faultlib) -> None:
    said(crash("--check", check), 0, "nothing found")
    assert (here / "data").read_text() == "old" and not (here / "other").exists()
    assert subprocess.run(["pgrep", "-f", "sleep 86398"], capture_output=True, text=True).stdout == ""


@pytest.mark.skipif(cell.why_not() is not None, reason="namespaces are forbidden here")
def test_what_a_check_writes_around_is_undone_for_each_state(here: Path, tmp_path: Path, crash: Faultlib) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "known").write_text("settings")
    check = "set -e; test -s data; grep -q settings $HOME/known\nfor p in $TMPDIR $HOME; do test ! -e $p/faultlib-check; touch $p/faultlib-check; done"
    aside = tmp_path / "aside"
    aside.mkdir()
    done = crash("--check", check, HOME=str(home), TMPDIR=str(aside))
    said(done, 0, "nothing found")
    assert not (home / "faultlib-check").exists() and not (aside / "faultlib-check").exists()


def test_places_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tmp_path not in places([tmp_path]) and tmp_path not in places([tmp_path.parent])
    assert any(tmp_path.is_relative_to(place) for place in places([]))
    monkeypatch.setenv("HOME", "/")
    assert Path("/") not in places([])


def test_a_command_that_changes_files_elsewhere_is_not_started_again(here: Path, tmp_path: Path, crash: Faultlib, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would do so for each state."""
    elsewhere = Path("/opt") if os.access("/opt", os.W_OK) else None
    if elsewhere is None:
        pytest.skip("nowhere else to write to")
    log = elsewhere / f"faultlib-test-{os.getpid()}"
    try:
        done = crash(command=("sh", "-c", f"echo run >> {log}; python3 program.py"))
        said(done, 3, f"not tried whether it starts again: it would change {log}")
        assert log.read_text() == "run\n"
    finally:
        log.unlink(missing_ok=True)


# the campaign's folder


def test_a_folder_that_is_something_else(here: Path, tmp_path: Path, crash: Faultlib) -> None:
    other = tmp_path / "other"
    (other / "initial").mkdir(parents=True)
    (other / "initial" / "precious").write_text("mine")
    said(crash("--check", "true", "--campaign", str(other)), 2, "there is something else in it already")
    assert (other / "initial" / "precious").read_text() == "mine"
    for folder, message in ((".", "a root is in it"), ("sub", "it lies in a root"), ("data", "this is no directory"), ("/proc/x", "--campaign /proc/x: ")):
        said(crash("--check", "true", "--campaign", folder), 2, message)
    assert sorted(entry.name for entry in here.iterdir()) == ["data", "program.py", "torn.py"]


@pytest.mark.parametrize(
    ("file", "message"), [("campaign.sqlite", "this is not what faultlib has kept there"), ("recording.json", "cannot be read")]
)
def test_a_campaign_that_is_broken(file: str, message: str, tmp_path: Path, crash: Faultlib) -> None:
    words = ("--check", "true", "--campaign", str(tmp_path / "c"))
    said(crash(*words), 0)
    (tmp_path / "c" / file).write_text("no such thing" * 100)
    said(crash(*words), 2, message)
    (tmp_path / "c" / file).write_text("{}" if file == "recording.json" else "")
    said(crash(*words), 2 if file == "recording.json" else 0)


def test_two_at_once(here: Path, tmp_path: Path, crash: Faultlib) -> None:
    def again() -> int:
        done = crash("--check", "true", "--campaign", str(tmp_path / "c"))
        assert "another faultlib is at work there" in done.stderr, done
        return done.returncode

    with place.taken(tmp_path / "c", [here]):
        assert again() == 2
    assert crash("--check", "true", "--campaign", str(tmp_path / "c")).returncode == 0


@pytest.mark.parametrize("report", ["nowhere/r.md", "/proc/r.md", "r"])
def test_a_report_that_cannot_be_written_is_refused_first(report: str, here: Path, crash: Faultlib) -> None:
    said(crash("--check", "true", "--report", report), 2)
    assert not (here / ".faultlib").exists()


def test_the_folder_is_its_owners_alone(here: Path, tmp_path: Path, crash: Faultlib) -> None:
    """In its log is what was written, to secret files, too."""
    (tmp_path / "given").mkdir(mode=0o755)
    for folder in ("new", "given"):
        old = os.umask(0)
        try:
            said(crash("--check", "true", "--campaign", str(tmp_path / folder)), 0)
        finally:
            os.umask(old)
        assert (tmp_path / folder).stat().st_mode & 0o777 == 0o700
    said(crash("--check", "true"), 0)
    assert (here / ".faultlib" / "crash-1").stat().st_mode & 0o777 == 0o700


# options that make no sense


@pytest.mark.parametrize("seconds", ["nan", "inf", "-inf", "1e300", "0", "-1"])
def test_no_such_time(seconds: str, here: Path, crash: Faultlib) -> None:
    said(crash("--timeout", seconds), 2, "--timeout", "more than 0 seconds, and at most 1,000,000")
    assert not (here / ".faultlib").exists()


def test_too_many_judges(here: Path, crash: Faultlib) -> None:
    said(crash("--jobs", "100000"), 2, f"--jobs 100000: at most {MOST_JOBS}")
    assert not (here / ".faultlib").exists()


def test_no_more_judges_than_states(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = list[int]()
    start = cell.start

    def counted(*arguments: Any, **options: Any) -> int:
        made.append(start(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(cell, "start", counted)
    found = explore(Spec((sys.executable, "torn.py"), here, here.parent / "c", check="true", profiles=("kill",), jobs=64))
    assert found.judged < 10 and len(made) <= found.judged + 3  # the recording, and whether there are namespaces


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--recover", "exit 3"), "the recovery fails although nothing has crashed, on the state that the command leaves: status 3"),
        (("--recover", "sleep 9", "--timeout", "0.5"), "the recovery fails although nothing has crashed"),
        (("--recover", "checks.py:ok"), "--recover checks.py:ok: a recovery is a command for the shell"),
        (("--ack", "nowhere:function"), "--ack nowhere:function: nowhere could not be imported"),
        (("--root", ""), "'--root': this is empty"),
    ],
)
def test_it_is_said_which_option_it_is(words: tuple[str, ...], message: str, here: Path, crash: Faultlib) -> None:
    (here / "checks.py").write_text("def ok(): pass\n")
    said(crash("--check", "true", *words), 2, message)


@pytest.mark.parametrize("name", [".", ".."])
def test_a_directory_is_no_command(name: str, crash: Faultlib) -> None:
    said(crash(command=(name,)), 2, f"{name}: is a directory")


# reports that cannot be written


def test_a_report_that_cannot_be_written_stops_no_other(here: Path, small: Callable[[str], Path], crash: Faultlib) -> None:
    full = small("64k") / "r.md"
    (small("64k") / "fill").write_bytes(b"x" * 65536)
    reports = ("--report", str(full), "--report", "r.json", "--report", "r.html")
    why = f"the report could not be written to {full}: No space left on device"
    said(crash("--check", "test -s data", *reports, command=(sys.executable, "torn.py")), 1, why, "truncate-then-write")
    assert (here / "r.json").stat().st_size and (here / "r.html").stat().st_size
    said(crash("--check", "test -s data", *reports), 3, why, "nothing found")
    small("64M")


@pytest.mark.parametrize("option", ["--strict", "--json"])
def test_a_full_stdout_is_said(option: str, here: Path) -> None:
    for program, status in (("torn.py", 1), ("program.py", 3)):
        whole = f"'{sys.executable}' -m faultlib crash --profile kill {option} --check 'test -s data' -- '{sys.executable}' {program} > /dev/full"
        done = subprocess.run(whole, shell=True, cwd=here, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stderr) == (status, "faultlib: the report could not be written to standard output: No space left on device\n")


def test_who_has_read_enough_is_not_told(here: Path) -> None:
    whole = f"'{sys.executable}' -m faultlib crash --profile kill --check 'test -s data' -- '{sys.executable}' torn.py | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", whole], cwd=here, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (1, "")


# full disks


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A file system with so much room."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64M", "faultlib", folder], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")

    def sized(size: str) -> Path:
        subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)
        return folder

    yield sized
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("program", ["import os\nopen('data', 'wb').write(os.urandom(3_000_000))\n", SYNCED])
def test_a_full_disk(program: str, here: Path, small: Callable[[str], Path], crash: Faultlib) -> None:
    """While recording, and while the first tree is copied."""
    (here / "program.py").write_text(program)
    if program == SYNCED:
        (here / "much").write_bytes(os.urandom(3_000_000))
    words = ("--check", "test -s data", "--profile", "kill", "--budget", "20", "--campaign", str(small("2M") / "c"))
    said(crash(*words), 3, "when there is room, --campaign")
    small("64M")
    done = crash(*words)
    assert "states of" in done.stdout and done.returncode in (0, 1), done


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), NoRoom("No space left on device")])
def test_it_is_said_where_there_is_no_room(error: Exception, here: Path, tmp_path: Path) -> None:
    with pytest.raises(NoRoom, match=rf"^{tmp_path / 'c'}: No space left on device\n"), place.taken(tmp_path / "c", [here]):
        raise error


def test_a_disk_that_is_full_when_findings_are_written(here: Path, small: Callable[[str], Path], crash: Faultlib) -> None:
    folder = small("64M") / "c"
    words = ("--check", "test -s data", "--campaign", str(folder))
    command = (sys.executable, "torn.py")
    said(crash(*words, command=command), 1)
    shutil.rmtree(folder / "findings")
    blocks = os.statvfs(folder)
    small(f"{(blocks.f_blocks - blocks.f_bfree) * blocks.f_frsize // 1024}k")
    said(crash(*words, command=command), 3, "when there is room, --campaign")
    small("64M")
    said(crash(*words, command=command), 1, "truncate-then-write")
    assert {path.name for path in (folder / "findings").iterdir()} == {"before", "crash_1.json", "test_crash_1.py"}


@pytest.mark.skipif(cell.why_not() is not None, reason="namespaces are forbidden here")
@pytest.mark.parametrize("place", [".", "/tmp"])
def test_a_check_without_room_is_no_finding(place: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that it may write to is full."""
    if place != "." and Path(place) not in places([here]):
        pytest.skip("something is mounted in it: it stays as it is")
    monkeypatch.setattr(layers, "ROOM", "size=2m")
    check = f"test ! -e data.tmp || head -c 4000000 /dev/zero > {place}/faultlib-check"
    spec = Spec((sys.executable, "program.py"), here, here.parent / "c", check=check, profiles=("kill",))
    with pytest.raises(NoRoom, match="there was no room for a state, or for what a check writes"):
        explore(spec)
    assert not Path("/tmp/faultlib-check").exists()
    monkeypatch.undo()
    assert explore(spec).findings == ()


# the explorer is killed


def begun(here: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "faultlib", "crash", "--campaign", str(here.parent / "c"), "--check", "sleep 0.1; test -s data", *words]
    return subprocess.Popen([*command, "--", sys.executable, "program.py"], cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def marked(mark: str) -> list[str]:
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                if mark.encode() in (process / "environ").read_bytes():
                    found.append((process / "cmdline").read_text())
            except OSError:  # ended meanwhile
                continue
    return found


@pytest.mark.parametrize("which", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", ["recording", "judging"])
def test_killed(which: signal.Signals, moment: str, here: Path, crash: Faultlib, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = f"FAULTLIB_TEST_KILLED={here}"
    monkeypatch.setenv(*mark.split("=", 1))
    if moment == "recording":
        (here / "program.py").write_text(SYNCED + "import subprocess, time\nopen('ready', 'w').close()\nsubprocess.run(['sleep', '600'])\n")
    running = begun(here)
    sign = "log" if moment == "judging" else "scratch"
    deadline = time.monotonic() + 60
    while not (here.parent / "c" / sign).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.4)
    monkeypatch.delenv(mark.split("=", 1)[0])
    running.send_signal(which)
    _, told = running.communicate(timeout=60)
    assert running.returncode == (130 if which == signal.SIGINT else -which), told
    words = {signal.SIGINT: "interrupted", signal.SIGTERM: "ended"}
    assert told == (f"faultlib: {words[which]}; --campaign ../c goes on where it was\n" if which in words else "")
    while marked(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert marked(mark) == []
    assert list((here.parent / "c" / "scratch").iterdir()) == []
    (here / "program.py").write_text(SYNCED)
    if moment == "recording":
        shutil.rmtree(here.parent / "c" / "initial")
    said(crash("--campaign", str(here.parent / "c"), "--check", "sleep 0.1; test -s data"), 0, "nothing found")
