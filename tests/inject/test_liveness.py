"""Which processes of a session still run: slots alone do not say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import faultlib as api
from faultlib.inject import liveness
from tests.conftest import Run

AS_NOBODY = "import os, sys; os.setgid(65534); os.setuid(65534); print('up', flush=True); sys.stdin.read()"


def test_a_process_runs_until_it_is_a_zombie() -> None:
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    assert liveness.runs(child.pid, liveness.boot_ns())
    assert child.stdin
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{child.pid}").exists(), "a zombie is still in /proc"
    assert not liveness.runs(child.pid, liveness.boot_ns())
    child.wait()
    assert not liveness.runs(child.pid, liveness.boot_ns())


def test_a_number_that_was_given_again_is_another_process() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        assert liveness.runs(child.pid, liveness.boot_ns())
        assert not liveness.runs(child.pid, liveness.boot_ns() - 3600 * 10**9)


def test_a_process_whose_first_thread_has_ended_runs() -> None:
    code = "import ctypes, threading, sys; threading.Thread(target=sys.stdin.read).start(); ctypes.CDLL(None).pthread_exit(None)"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child:
        deadline = time.monotonic() + 30
        while Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert liveness.runs(child.pid, liveness.boot_ns())
        child.kill()


def test_what_proc_hides_is_asked_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden(*arguments: object) -> object:
        raise FileNotFoundError

    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        monkeypatch.setattr("builtins.open", hidden)
        assert liveness.runs(child.pid, liveness.boot_ns())
        child.kill()
        child.wait()
        assert not liveness.runs(child.pid, liveness.boot_ns())


LOOP = "for i in $(seq 30); do /bin/true; done; (: > x) & echo up; read line"


def test_stats_shows_those_that_run(faultlib: Run, tmp_path: Path) -> None:
    with api.Session(name="mine") as session:
        child = session.popen(["bash", "-c", LOOP], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert child.stdout and child.stdout.readline() == "up\n"
        deadline = time.monotonic() + 30
        while sum(process.alive for process in session.processes()) > 1:  # the one in the background
            assert time.monotonic() < deadline, session.processes()
            time.sleep(0.01)
        processes = json.loads(faultlib("ctl", "mine", "stats", "--json").stdout)["processes"]
        assert len(processes) > 30
        assert [one["pid"] for one in processes if one["alive"]] == [child.pid]
        assert {one["state"] for one in processes if not one["alive"]} == {"exited"}
        shown = faultlib("ctl", "mine", "stats").stdout
        assert len(shown.partition("lineage")[2].splitlines()) == 2, shown
        assert json.loads(faultlib("ctl", "sessions", "--json").stdout)[0]["processes"] == 1
        child.communicate()
        assert not any(process.alive for process in session.processes())


def test_a_zombie_of_the_session_does_not_run(tmp_path: Path) -> None:
    code = "import os, sys; os.fork() or os._exit(0); print('up', flush=True); sys.stdin.read()"
    with api.Session() as session:
        child = session.popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert child.stdout and child.stdout.readline() == "up\n"
        deadline = time.monotonic() + 30
        while [process.pid for process in session.processes() if process.alive] != [child.pid]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        child.communicate()


def test_a_child_of_another_user_runs() -> None:
    if os.getuid():
        pytest.skip("only root can be two users")
    with api.Session() as session:
        child = session.popen([sys.executable, "-c", AS_NOBODY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert child.stdout and child.stdout.readline() == "up\n"
        assert [process.alive for process in session.processes()] == [True]
        child.communicate()


def test_one_in_an_image_without_the_shim_runs_too(tmp_path: Path) -> None:
    (tmp_path / "s.c").write_text("#include <unistd.h>\nint main(void) { char c; return (int)read(0, &c, 1); }")
    if subprocess.run(["cc", "-static", "-o", "s", "s.c"], cwd=tmp_path, capture_output=True).returncode:
        pytest.skip("no static libc here")
    with api.Session() as session:
        child = session.popen(["sh", "-c", "exec ./s"], cwd=tmp_path, stdin=subprocess.PIPE)
        deadline = time.monotonic() + 30
        while not session.uncovered():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert [process.alive for process in session.uncovered()] == [True]
        child.communicate()
        assert [process.alive for process in session.uncovered()] == [False]
