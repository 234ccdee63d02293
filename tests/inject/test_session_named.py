"""`faultlib run --session NAME`: programs that were started apart share one session."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import faultlib as api
from faultlib.inject import client, folder
from tests.conftest import Run
from tests.inject.test_ctl import Target, out

TOUCH = "for i in $(seq {n}); do : > f$i; done"


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def no_session() -> bool:
    return not folder.places()


def host() -> int:
    return client.find("shared").pid


def test_members_share_counters(faultlib: Run, tmp_path: Path) -> None:
    """The rule fires at the tenth open of all of them, though none of them makes ten."""
    rule = ["-e", "open:error=EIO:path=f*:when=10:scope=session"]
    holder = Target(tmp_path, "--session", "shared", *rule)  # opens f once
    for expected in (0, 0, 1):
        done = faultlib("run", "--session", "shared", *rule, "--json", "r.json", "--", "bash", "-c", TOUCH.format(n=4))
        report = json.loads((tmp_path / "r.json").read_text())
        assert len(report["rules"]) == 1
        assert report["rules"][0]["fired"] == expected, done.stderr
    assert "open #10" in holder.end()
    until(no_session, "the session does not end")


def test_after_a_rule_of_another_program(faultlib: Run, tmp_path: Path) -> None:
    holder = Target(tmp_path, "--session", "shared", "-e", "unlink:skip:path=*/g:name=gone", "-e", "mkdir:error=EIO:after=gone")
    assert faultlib("run", "-q", "--session", "shared", "--", "mkdir", "a").returncode == 0
    assert faultlib("run", "-q", "--session", "shared", "--", "rm", "-f", "g").returncode == 0
    assert faultlib("run", "-q", "--session", "shared", "--", "mkdir", "b").returncode == 1
    holder.end()


def test_rules_stay_until_the_session_ends(faultlib: Run, tmp_path: Path) -> None:
    holder = Target(tmp_path, "--session", "shared")
    faultlib("run", "-q", "--session", "shared", "-e", "write:error=EIO:path=f", "--", "true")
    assert holder.attempt() == "5"
    assert out(faultlib("ctl", "shared", "reset")) == "removed 0\n"
    assert holder.attempt() == "ok"
    holder.end()
    until(no_session, "the session does not end")


def test_relative_patterns_are_below_the_members_own_directory(faultlib: Run, tmp_path: Path) -> None:
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
    holder = Target(tmp_path / "a", "--session", "shared", "-e", "write:error=EIO:path=f")
    done = faultlib("run", "--session", "shared", "-e", "write:error=EIO:path=f", "--", "bash", "-c", "echo > f", cwd=tmp_path / "b")
    assert done.returncode == 1
    rows = json.loads(out(faultlib("ctl", "list", "--json")))
    assert [(row["rule"], row["below"]) for row in rows] == [("write:error=EIO:path=f", str(tmp_path / name)) for name in "ab"]
    listed = out(faultlib("ctl", "list"))
    for name in "ab":
        title = f"write:error=EIO:path=f (below {tmp_path / name})"
        assert title in listed
        assert title in done.stderr
    holder.end()


def test_require_fired_is_about_ones_own_rules(faultlib: Run, tmp_path: Path) -> None:
    holder = Target(tmp_path, "--session", "shared", "-e", "rmdir:error=EIO")
    mine = ["run", "-q", "--session", "shared", "--require-fired", "-e", "mkdir:error=EIO:path=d", "-e", "unlink:error=EIO:path=d"]
    assert faultlib(*mine, "--", "mkdir", "d").returncode == 3
    assert faultlib(*mine, "--", "rm", "-f", "d").returncode == 1
    holder.end()


def test_verbose_shows_ones_own_faults(faultlib: Run, tmp_path: Path) -> None:
    holder = Target(tmp_path, "--session", "shared", "-v", "-e", "mkdir:error=EIO")
    mine = faultlib("run", "-v", "-q", "--session", "shared", "--", "mkdir", "d")
    assert mine.stderr.count("(INJECTED)") == 1
    assert "(INJECTED)" not in holder.end()


def test_seeds_must_agree(faultlib: Run, tmp_path: Path) -> None:
    holder = Target(tmp_path, "--session", "shared", "--seed", "7")
    done = faultlib("run", "--session", "shared", "--seed", "8", "--", "true")
    assert (done.returncode, done.stderr) == (2, "faultlib: the session shared has the seed 7, not 8\n")
    assert faultlib("run", "--session", "shared", "--seed", "7", "--", "true").returncode == 0
    holder.end()


def test_a_bad_rule_of_a_first_member_leaves_nothing(faultlib: Run) -> None:
    done = faultlib("run", "--session", "shared", "-e", "write:error=EIO:after=nobody", "--", "true")
    assert done.returncode == 2
    until(no_session, "a session is left")


def test_a_killed_member_leaves(faultlib: Run, tmp_path: Path) -> None:
    first, second = Target(tmp_path, "--session", "shared"), Target(tmp_path, "--session", "shared")
    first.process.kill()
    first.end()
    out(faultlib("ctl", "shared", "add", "write:error=EIO:path=f"))
    assert second.attempt() == "5"
    second.end()
    until(no_session, "the session does not end")


def test_all_members_killed_at_once(tmp_path: Path) -> None:
    members = [Target(tmp_path, "--session", "shared") for _ in range(3)]
    owner = host()
    for member in members:
        member.process.kill()
    for member in members:
        member.end()
    until(no_session, "the session does not end")
    until(lambda: not Path(f"/proc/{owner}/exe").exists(), "the host is left")


def test_a_killed_host_disarms_and_is_said(faultlib: Run, tmp_path: Path) -> None:
    member = Target(tmp_path, "--session", "shared", "-e", "write:error=EIO:path=f")
    assert member.attempt() == "5"
    os.kill(host(), signal.SIGKILL)
    until(lambda: member.attempt() == "ok", "still armed")
    assert "the session shared has ended: what its rules did is not known" in member.end()
    assert member.process.returncode == 0
    until(no_session, "the folder is left")
    assert faultlib("run", "--session", "shared", "--", "true").returncode == 0


def test_a_stopped_starter_keeps_nobody_waiting(faultlib: Run, tmp_path: Path) -> None:
    first = Target(tmp_path, "--session", "shared")
    first.process.send_signal(signal.SIGSTOP)
    assert faultlib("run", "-q", "--session", "shared", "--", "true", timeout=30).returncode == 0
    first.process.send_signal(signal.SIGCONT)
    first.end()


def test_a_session_of_a_program_can_be_joined(faultlib: Run, tmp_path: Path) -> None:
    with api.Session(["mkdir:error=EIO"], name="shared") as session:
        assert faultlib("run", "-q", "--session", "shared", "--", "mkdir", "d").returncode == 1
        assert session.report()[0].count.fired == 1
    assert faultlib("run", "-q", "--session", "shared", "--", "mkdir", "d").returncode == 0


def test_many_start_and_end_at_once(tmp_path: Path) -> None:
    """Starting, joining and ending race for the name: everybody gets in, nothing is left."""
    command = [sys.executable, "-m", "faultlib", "run", "-q", "--session", "shared", "-e", "mkdir:error=EIO", "--", "mkdir", "d"]
    for _ in range(3):
        crowd = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) for _ in range(6)]
        for one in crowd:
            _, complaint = one.communicate(timeout=100)
            assert (one.returncode, "Input/output error" in complaint) == (1, True), complaint
    until(no_session, "a session is left")


@pytest.mark.parametrize("name", ["", "1", "list", "a b", "a/b", "x" * 33])
def test_names_are_checked(faultlib: Run, name: str) -> None:
    done = faultlib("run", "--session", name, "--", "true")
    assert done.returncode == 2
    assert "session" in done.stderr
