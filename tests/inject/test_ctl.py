"""`faultlib ctl` and Session.attach: a running session looked at and changed from another process."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import faultlib as api
from faultlib.inject import client, folder
from tests.conftest import Run

ATTEMPTS = """
import os, sys
for line in sys.stdin:
    try:
        os.write(os.open("f", os.O_WRONLY | os.O_CREAT), b"x")
        print("ok", flush=True)
    except OSError as error:
        print(error.errno, flush=True)
"""


class Target:
    """`faultlib run` over a program that tries one write for each line it gets."""

    def __init__(self, cwd: Path, *options: str) -> None:
        command = [sys.executable, "-m", "faultlib", "run", *options, "--", sys.executable, "-c", ATTEMPTS]
        self.process = subprocess.Popen(
            command, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.attempt() in ("ok", "5")

    def attempt(self) -> str:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self) -> str:
        return self.process.communicate(timeout=60)[1]


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    made = Target(tmp_path)
    yield made
    made.end()


def out(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_add_list_remove(faultlib: Run, target: Target) -> None:
    assert out(faultlib("ctl", "list")) == "no rules\n"
    assert out(faultlib("ctl", "add", "write:error=ENOSPC:path=f:name=full")) == "0: write:error=ENOSPC:path=f:name=full\n"
    assert target.attempt() == "28"
    (row,) = json.loads(out(faultlib("ctl", "list", "--json")))
    assert (row["number"], row["name"], row["matched"], row["fired"], row["live"]) == (0, "full", 1, 1, True)
    assert row["first"]["path"].endswith("/f")
    assert out(faultlib("ctl", "remove", "full")) == "removed 0\n"
    assert target.attempt() == "ok"
    assert out(faultlib("ctl", "list")) == "no rules\n"
    assert "(removed)" in out(faultlib("ctl", "list", "--all"))


def test_the_owners_summary_knows_rules_from_outside(faultlib: Run, tmp_path: Path) -> None:
    target = Target(tmp_path)
    out(faultlib("ctl", "add", "write:error=EIO:path=f"))
    assert target.attempt() == "5"
    out(faultlib("ctl", "reset"))
    assert "write:error=EIO:path=f        1      1  write #1" in target.end()


def test_several_rules_at_once_or_none(faultlib: Run, target: Target, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("- write:error=EIO:path=f\n- fsync:error=EIO:name=s\n")
    assert out(faultlib("ctl", "add", "--rules", "r.yaml", "open:delay=1ms:after=s")).count("\n") == 3
    assert target.attempt() == "5"
    assert out(faultlib("ctl", "reset")) == "removed 0, 1, 2\n"
    assert faultlib("ctl", "add", "write:error=EIO:path=f:name=a", "open:error=EIO:name=a").returncode == 2
    assert out(faultlib("ctl", "list")) == "no rules\n"
    assert out(faultlib("ctl", "reset")) == "there were no rules\n"


def test_an_error_of_a_rule_has_position_and_suggestion(faultlib: Run, target: Target) -> None:
    done = faultlib("ctl", "add", "write:eror=EIO")
    assert done.returncode == 2
    assert "did you mean error?" in done.stderr
    assert "\n        ^" in done.stderr
    done = faultlib("ctl", "add", "write:error=EIO:after=nobody")
    assert done.returncode == 2
    assert "no rule is named nobody" in done.stderr


def test_find_by_pid_of_run_or_of_a_target(faultlib: Run, target: Target) -> None:
    stats = json.loads(out(faultlib("ctl", str(target.process.pid), "stats", "--json")))
    assert stats["pid"] == target.process.pid
    assert stats["attached"] == 1
    (process,) = stats["processes"]
    assert process["lineage"] == "1"
    assert json.loads(out(faultlib("ctl", str(process["pid"]), "stats", "--json")))["pid"] == target.process.pid


def test_unknown_and_several_sessions_are_named(faultlib: Run, target: Target) -> None:
    done = faultlib("ctl", "nightly", "list")
    assert (done.returncode, done.stderr) == (
        2, f"faultlib: no session is called nightly; there are {target.process.pid}\n"
    )  # fmt: skip
    with api.Session(name="nightly"):
        done = faultlib("ctl", "list")
        assert done.returncode == 2
        assert "several sessions are running, say which: " in done.stderr
        assert "nightly" in done.stderr
        assert "did you mean nightly?" in faultlib("ctl", "nightli", "list").stderr
        assert out(faultlib("ctl", "nightly", "list")) == "no rules\n"


def test_no_session(faultlib: Run) -> None:
    done = faultlib("ctl", "list")
    assert (done.returncode, done.stderr) == (2, "faultlib: no session is running\n")
    assert out(faultlib("ctl", "sessions")) == "no session is running\n"


def test_sessions(faultlib: Run, target: Target) -> None:
    with api.Session(["write:error=EIO:path=/nowhere"], name="mine"):
        rows = {row["pid"]: row for row in json.loads(out(faultlib("ctl", "sessions", "--json")))}
        assert rows[os.getpid()] == {
            "name": "mine", "pid": os.getpid(), "user": os.getuid(), "answers": True, "rules": 1, "processes": 0, "fired": 0
        }  # fmt: skip
        assert rows[target.process.pid]["processes"] == 1
        assert "mine" in out(faultlib("ctl", "sessions"))


def test_clock(faultlib: Run, target: Target) -> None:
    assert out(faultlib("ctl", "clock")) == "the clocks are untouched\n"
    assert out(faultlib("ctl", "clock", "offset=+1h")) == "0: clock:offset=+1h\n"
    assert out(faultlib("ctl", "clock")) == "0: clock:offset=+1h\n"
    assert faultlib("ctl", "clock", "offset=soon").returncode == 2


def test_the_same_from_python(tmp_path: Path, target: Target) -> None:
    with api.Session.attach() as session:
        (number,) = session.add("write:error=EDQUOT:path=f")
        assert target.attempt() == "122"
        (row,) = session.report()
        assert (row.slot, row.live, row.count.fired) == (number, True, 1)
        assert row.first and row.first.path == str(tmp_path / "f")
        assert [event.outcome for event in session.events()] == ["EDQUOT"]
        assert session.remove(number) == [number]
        assert target.attempt() == "ok"
        with pytest.raises(api.UsageError, match="no live rule is number 0; live: none"):
            session.remove(number)
        with pytest.raises(api.RuleError) as caught:
            session.add("write:error=EIOO")
        assert caught.value.position == 12
        with pytest.warns(api.LateChange, match="waits and timers on REALTIME"):
            assert session.clock("offset", "+1h") == 1
        target.end()
        with pytest.raises(api.SessionGone):
            session.report()


def as_nobody(what: Callable[[], str]) -> str:
    """Runs a function in a child that is another user, and returns what it says."""
    read, write = os.pipe()
    if not (pid := os.fork()):
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            said = what()
        except Exception as error:  # told to the parent, whatever it is
            said = f"{type(error).__name__}: {error}"
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with os.fdopen(read) as stream:
        return stream.read()


def test_another_users_session_is_refused() -> None:
    if os.getuid():
        pytest.skip("only root can be two users")
    with api.Session(name="mine") as session:
        assert stat.S_IMODE((session.folder / folder.SOCKET).stat().st_mode) == 0o600
        refused, pid = "UsageError: the session mine is another user's", os.getpid()
        assert as_nobody(lambda: str(client.attach("mine"))) == refused
        assert as_nobody(lambda: str(client.attach(pid))) == refused.replace("mine", str(pid))
        assert as_nobody(lambda: str(client.attach())) == "UsageError: no session is running"
        assert as_nobody(lambda: str(client.Connection.to(folder.places()[0]))) == refused
        assert as_nobody(lambda: str([(one.name, one.snapshot) for one in client.sessions()])) == "[('mine', None)]"


def test_a_name_is_one_s_own_also_for_root(tmp_path: Path) -> None:
    """Whoever owns a session decides what is loaded into its programs."""
    if os.getuid():
        pytest.skip("only root can be two users")
    Path(folder.base()).chmod(0o1777)
    read, write = os.pipe()

    def owns() -> str:
        with api.Session("mkdir:error=EIO", name="mine"):
            os.write(write, b"!")
            signal.pause()
        return ""

    thread = threading.Thread(target=as_nobody, args=(owns,))
    thread.start()
    os.read(read, 1)
    (place,) = folder.places()
    try:
        with api.Session.attach("mine") as theirs:
            assert len(theirs.report()) == 1
        done = subprocess.run(
            [sys.executable, "-m", "faultlib", "run", "--session", "mine", "--", "mkdir", tmp_path / "d"],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        with api.Session(name="mine"), api.Session.attach("mine") as ours:
            assert ours.report() == []
    finally:
        os.kill(place.pid, signal.SIGKILL)
        thread.join()


BAD_LINES = [b"\n", b"nonsense\n", b"[]\n", b'"x"\n', b'{"do": "dance"}\n', b'{"do": "add"}\n', b'{"do": "add", "rules": 7}\n',
             b'{"do": "remove", "rules": [1.5]}\n', b"\xff\xfe\n", b'{"do": "hello", "more": 1}\n']  # fmt: skip


@pytest.mark.parametrize("line", BAD_LINES)
def test_nonsense_on_the_socket_is_answered(line: bytes) -> None:
    with api.Session(["write:error=EIO:path=/nowhere"], name="mine") as session:
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(20)
            stream.connect(str(session.folder / folder.SOCKET))
            stream.sendall(line)
            assert json.loads(stream.makefile().readline())["error"] == "usage"
        with api.Session.attach("mine") as other:
            assert len(other.report()) == 1


def test_an_endless_line_is_cut_off() -> None:
    with api.Session(name="mine") as session, socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(20)
        stream.connect(str(session.folder / folder.SOCKET))
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            for _ in range(100):
                stream.sendall(b"x" * 65536)
            stream.recv(1)


@pytest.mark.parametrize("name", ["", "1", "list", "a b", "a/b", "x" * 33, "ä", "-a"])
def test_names_are_checked(name: str) -> None:
    with pytest.raises(api.UsageError, match="session"):
        api.Session(name=name)


def test_a_name_is_taken_once() -> None:
    with api.Session(name="mine"), pytest.raises(api.UsageError, match="a session named mine is running already"):
        api.Session(name="mine")
    with api.Session(name="mine"):
        assert client.find("mine").pid == os.getpid()


def test_a_stopped_session_is_reported_not_waited_for(monkeypatch: pytest.MonkeyPatch, target: Target) -> None:
    monkeypatch.setattr(client, "ANSWER_S", 0.3)
    target.process.send_signal(19)
    try:
        with api.Session.attach(target.process.pid) as session, pytest.raises(api.SessionGone, match="has not answered"):
            session.report()
    finally:
        target.process.send_signal(18)


def test_clock_says_what_it_does_not_reach(faultlib: Run, tmp_path: Path) -> None:
    """Waits that began while their clock was real; once it is faked, those that begin are under control."""
    target = Target(tmp_path)
    done = faultlib("ctl", "clock", "offset=+1h:clock=monotonic")
    assert done.stdout == "0: clock:offset=+1h:clock=monotonic\n"
    assert "note: waits and timers on MONOTONIC that began while it was real stay so until they end" in done.stderr
    assert faultlib("ctl", "clock", "rate=2:clock=monotonic").stderr == ""
    done = faultlib("ctl", "add", "--json", "write:error=EIO:path=f", "clock:freeze")
    assert json.loads(done.stdout) == {"numbers": [2, 3]}
    assert "REALTIME" in done.stderr
    target.end()


def test_who_joins_with_a_clock_is_told_too(faultlib: Run, tmp_path: Path) -> None:
    target = Target(tmp_path, "--session", "late")
    assert "note: waits and timers on REALTIME" in faultlib("run", "-q", "--session", "late", "-e", "clock:offset=1h", "--", "true").stderr
    assert "note:" not in faultlib("run", "-q", "--session", "late", "-e", "clock:rate=2", "--", "true").stderr
    target.end()
