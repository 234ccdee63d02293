"""Processes that outlive the command: named at its end, or waited for (--wait)."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from faultlib.inject import folder
from tests.conftest import Run
from tests.inject.test_ctl import Target
from tests.inject.test_session_signals import Screen, screen, until

__all__ = ["screen"]  # a fixture

DAEMON = "setsid sh -c 'until [ -e go ]; do sleep 0.05; done; echo hi > pub' > /dev/null 2>&1 & echo begun; exit 5"
RULE = ["-e", "write:error=EIO:path=pub"]
STILL = re.compile(r"faultlib: (\d+) process(?:es are| is) still running, disarmed from now on \(--wait stays for them\): (.*)")


def release(tmp_path: Path) -> None:
    """Lets the daemon end, and waits for that: nothing may stay behind."""
    (tmp_path / "go").touch()
    until(lambda: (tmp_path / "pub").exists(), "the daemon is gone")


def test_who_is_left_is_said(faultlib: Run, tmp_path: Path) -> None:
    done = faultlib("run", *RULE, "--json", "r.json", "--", "sh", "-c", DAEMON)
    release(tmp_path)
    assert done.returncode == 5
    (said,) = STILL.findall(done.stderr)
    assert re.match(r"1\.1 (sh|setsid) \(pid \d+\)", said[1])
    assert int(said[0]) == said[1].count("pid")
    assert [text for text in json.loads((tmp_path / "r.json").read_text())["warnings"] if "still running" in text]
    until(lambda: (tmp_path / "pub").read_text() == "hi\n", "disarmed, so it can write")


def test_a_child_of_the_last_moment_is_seen(faultlib: Run, tmp_path: Path) -> None:
    """It may not have got as far as its slot when the command has ended already."""
    code = "import os, time\nif os.fork(): os._exit(0)\nos.closerange(0, 3)\nwhile not os.path.exists('go'): time.sleep(0.01)"
    for _ in range(10):
        done = faultlib("run", "--", sys.executable, "-S", "-c", code)
        assert STILL.search(done.stderr), done.stderr
    (tmp_path / "go").touch()


@pytest.mark.parametrize("script", ["true & wait", "(true) | cat; ls > /dev/null", "sleep 0.1", "exec true"])
def test_nothing_is_said_when_all_have_ended(faultlib: Run, script: str) -> None:
    done = faultlib("run", "--", "bash", "-c", script)
    assert (done.returncode, done.stderr) == (0, "")


def test_many_are_counted(faultlib: Run, tmp_path: Path) -> None:
    loop = "exec > /dev/null 2>&1; for i in 1 2 3 4 5 6 7; do (until [ -e go ]; do sleep 0.1; done) & done"
    done = faultlib("run", "--", "bash", "-c", loop)
    (tmp_path / "go").touch()
    (said,) = STILL.findall(done.stderr)
    assert 7 <= int(said[0]) <= 14, "each of them may have a sleep"
    assert said[1].endswith(f", and {int(said[0]) - 5} more")


def test_wait_stays_for_a_daemon(faultlib: Run, tmp_path: Path) -> None:
    script = DAEMON.replace("until [ -e go ]; do sleep 0.05; done", "sleep 0.5")
    done = faultlib("run", "--wait", *RULE, "--json", "r.json", "--", "sh", "-c", script)
    assert done.returncode == 5
    assert "still running" not in done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["status"], report["rules"][0]["fired"]) == (5, 1)
    assert (tmp_path / "pub").read_text() == ""


def test_wait_stays_for_grandchildren_of_daemons(faultlib: Run, tmp_path: Path) -> None:
    code = """
import os, sys, time
depth = int(sys.argv[1])
if os.fork():
    os._exit(3 if depth == 6 else 0)
os.setsid()
time.sleep(0.05)
if depth:
    os.execv(sys.executable, [sys.executable, "-S", __file__, str(depth - 1)])
open("end", "w").close()
"""
    (tmp_path / "t.py").write_text(code)
    done = faultlib("run", "--wait", "-e", "creat,open:error=EIO:path=end", "--", sys.executable, "-S", "t.py", "6")
    assert done.returncode == 3
    assert "open #1" in done.stderr
    assert "process 1.1.1.1.1.1.1.1" in done.stderr


def test_wait_without_anybody_left_takes_no_time(faultlib: Run) -> None:
    assert faultlib("run", "--wait", "--", "sh", "-c", "exit 4").returncode == 4


def test_trace_waits_too(faultlib: Run, tmp_path: Path) -> None:
    script = DAEMON.replace("until [ -e go ]; do sleep 0.05; done", "sleep 0.5")
    done = faultlib("trace", "--wait", "--op", "write", "--path", "pub", "--", "sh", "-c", script)
    assert done.returncode == 5
    assert done.stderr.count("/pub>") == 1, done.stderr


LISTENER = """
import os, signal, sys, time
if os.fork():
    os._exit(5)
os.setsid()
def note(number, frame):
    open("got", "a").write(signal.Signals(number).name + "\\n")
    if number == signal.SIGTERM:
        os._exit(0)
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
    signal.signal(number, note)
open("up", "w").close()
while True:
    time.sleep(0.01)
"""


def test_signals_go_on_to_who_is_left(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "faultlib", "run", "--wait", "-q", "--", sys.executable, "-S", "-c", LISTENER]
    with subprocess.Popen(command, cwd=tmp_path) as runner:
        until((tmp_path / "up").exists, "it does not begin")
        time.sleep(0.3)  # the command itself has ended by now, or soon will have
        runner.send_signal(signal.SIGUSR1)
        until(lambda: (tmp_path / "got").exists() and "SIGUSR1" in (tmp_path / "got").read_text(), "no SIGUSR1")
        assert runner.poll() is None
        runner.send_signal(signal.SIGTERM)
        assert runner.wait(30) == 5
    assert (tmp_path / "got").read_text().split() == ["SIGUSR1", "SIGTERM"]


def test_control_c_reaches_a_daemon_once(screen: Screen, tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text(LISTENER)
    screen.type(f"faultlib run --wait -q -- '{sys.executable}' -S t.py; echo status $?", "Enter")
    until((tmp_path / "up").exists, "it does not begin")
    time.sleep(0.3)
    screen.type("C-c")
    until(lambda: (tmp_path / "got").exists() and "SIGINT" in (tmp_path / "got").read_text(), "no SIGINT")
    assert "status" not in screen.text().replace("echo status", "")
    (pid,) = pgrep("t.py", tmp_path)
    os.kill(int(pid), signal.SIGTERM)
    screen.wait("status 5")
    assert (tmp_path / "got").read_text().split() == ["SIGINT", "SIGTERM"]


def pgrep(name: str, cwd: Path) -> list[str]:
    """Processes with that word on their command line, below a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words, here = (process / "cmdline").read_bytes().split(b"\0"), (process / "cwd").readlink()
        except OSError:
            continue
        if name.encode() in words and here == cwd and b"faultlib" not in b" ".join(words):
            found.append(process.name)
    return found


def test_a_shared_session_keeps_them(faultlib: Run, tmp_path: Path) -> None:
    holder = Target(tmp_path, "--session", "shared")
    done = faultlib("run", "--session", "shared", *RULE, "--", "sh", "-c", DAEMON)
    assert "process is still running" in done.stderr or "processes are still running" in done.stderr
    assert "under the rules until session shared ends: 2.1 s" in done.stderr
    release(tmp_path)
    until(lambda: not pgrep("sh", tmp_path), "the daemon does not end")
    assert (tmp_path / "pub").read_text() == ""
    holder.end()
    until(lambda: not folder.places(), "the session does not end")


def test_a_member_waits_for_its_own(faultlib: Run, tmp_path: Path) -> None:
    holder = Target(tmp_path, "--session", "shared")
    script = DAEMON.replace("until [ -e go ]; do sleep 0.05; done", "sleep 0.5")
    done = faultlib("run", "--wait", "--session", "shared", *RULE, "--", "sh", "-c", script)
    assert done.returncode == 5
    assert "write #1" in done.stderr
    assert "still running" not in done.stderr
    holder.end()
    until(lambda: not folder.places(), "the session does not end")


def test_a_member_whose_session_is_killed_does_not_wait_for_ever(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "faultlib", "run", "--wait", "--session", "shared", "--", "sh", "-c", DAEMON]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as runner:
        assert runner.stdout and runner.stdout.readline() == "begun\n"
        (place,) = folder.places()
        os.kill(place.pid, signal.SIGKILL)
        assert "what its rules did is not known" in runner.communicate(timeout=60)[1]
        assert runner.returncode == 5
    release(tmp_path)
    until(lambda: not folder.places(), "the session does not end")


def test_many_uncovered_programs_are_one_line(faultlib: Run, tmp_path: Path) -> None:
    (tmp_path / "s.c").write_text("int main(void) { return 0; }")
    if subprocess.run(["cc", "-static", "-o", "s", "s.c"], cwd=tmp_path, capture_output=True).returncode:
        pytest.skip("no static libc here")
    done = faultlib("run", "--", "sh", "-c", "for i in 1 2 3 4 5 6 7; do ./s; done; ./s")
    (said,) = [line for line in done.stderr.splitlines() if "not covered" in line]
    assert "8 processes (1.1, 1.2, 1.3, 1.4, 1.5 ...) went on to ./s: " in said or f"went on to {tmp_path}/s: " in said, said
