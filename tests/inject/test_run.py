"""One write error with a path, on programs nobody here wrote, with proof."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import faultlib as api
from faultlib.inject import folder
from tests.conftest import Run


def test_python_write_fails_and_is_proved(faultlib: Run) -> None:
    code = "open('tasks.json', 'w').write('x' * 9000)"
    done = faultlib("run", "-e", "write:error=ENOSPC:path=*/tasks.json", "--json", "r.json", "--", sys.executable, "-c", code)
    assert done.returncode == 1
    assert "OSError: [Errno 28] No space left on device" in done.stderr
    assert "write #1" in done.stderr


def test_bash_redirection_fails(faultlib: Run) -> None:
    done = faultlib("run", "-e", "write:error=EIO:path=out", "--", "bash", "-c", "echo hi > out")
    assert done.returncode == 1
    assert "Input/output error" in done.stderr


def test_git_add_fails(faultlib: Run, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "a").write_text("a")
    done = faultlib("run", "-e", "write:error=ENOSPC:path=*/objects/*", "--", "git", "add", "a")
    assert done.returncode == 128
    assert "No space left on device" in done.stderr


def test_report_as_json(faultlib: Run, tmp_path: Path) -> None:
    faultlib("run", "-e", "write:error=EIO:path=out", "--json", "r.json", "-q", "--", "bash", "-c", "echo hi > out")
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["rules"][0]["fired"] == 1
    assert report["events"][0]["path"] == str(tmp_path / "out")
    assert report["status"] == 1


def test_exit_status_of_a_signal(faultlib: Run) -> None:
    assert faultlib("run", "--", "bash", "-c", "kill -TERM $$").returncode == 128 + signal.SIGTERM


def test_torn_write_leaves_the_first_bytes(faultlib: Run, tmp_path: Path) -> None:
    done = faultlib("run", "-e", "write:torn=3:path=out", "--", "bash", "-c", "echo hello > out; echo after")
    assert done.returncode == 128 + signal.SIGKILL
    assert (tmp_path / "out").read_text() == "hel"
    assert "after" not in done.stdout


def test_a_rule_that_never_fired_is_said_and_required(faultlib: Run) -> None:
    done = faultlib("run", "-e", "write:error=EIO:path=nothing", "--require-fired", "--", "true")
    assert done.returncode == 3
    assert "never fired: write:error=EIO:path=nothing" in done.stderr


def test_rules_change_while_the_target_runs(tmp_path: Path) -> None:
    code = "import os, sys\nfor line in sys.stdin:\n try:\n  os.write(os.open('f', os.O_WRONLY | os.O_CREAT), b'x'); print('ok', flush=True)\n except OSError as e: print(e.errno, flush=True)"
    with api.Session() as session:
        child = session.popen([sys.executable, "-c", code], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert child.stdin and child.stdout

        def attempt() -> str:
            child.stdin.write("\n")
            child.stdin.flush()
            return child.stdout.readline().strip()

        assert attempt() == "ok"
        (slot,) = session.add(f"write:error=ENOSPC:path={tmp_path}/f")
        assert attempt() == "28"
        session.remove(slot)
        assert attempt() == "ok"
        assert session.report()[0].count == api.inject.control.Count(1, 1)
        child.stdin.close()
        assert child.wait() == 0


def test_killed_controller_leaves_targets_running_and_disarmed(tmp_path: Path) -> None:
    """The guard shuts the gate and removes the session's folder after the last target."""
    script = "while :; do if echo x > out; then echo ok; else echo failed; fi; sleep 0.05; [ -e stop ] && exit; done > log 2>/dev/null"
    controller = subprocess.Popen(
        [sys.executable, "-m", "faultlib", "run", "-e", "write:error=EIO:path=out", "--", "bash", "-c", script], cwd=tmp_path
    )
    deadline = time.monotonic() + 20
    while not ((tmp_path / "log").exists() and "failed" in (tmp_path / "log").read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    controller.kill()
    controller.wait()
    while (tmp_path / "log").read_text().splitlines()[-3:] != ["ok"] * 3:
        assert time.monotonic() < deadline, "still armed"
        time.sleep(0.05)
    (tmp_path / "stop").touch()
    while list(Path(folder.base()).glob(f"faultlib.{controller.pid}.*")):
        assert time.monotonic() < deadline, "the folder was left behind"
        time.sleep(0.05)


@pytest.mark.parametrize("command", [["no-such-command-here"], ["./missing"]])
def test_missing_command(faultlib: Run, command: list[str]) -> None:
    done = faultlib("run", "--", *command)
    assert done.returncode == 127
    assert "was not found" in done.stderr


def test_seed_repeats_random_faults(tmp_path: Path) -> None:
    code = "import os\nfor i in range(200):\n try: os.close(os.open('f', os.O_RDWR | os.O_CREAT)); print('.', end='')\n except OSError: print('x', end='')"
    outputs = set()
    for _ in range(3):
        with api.Session([f"open:error=EMFILE:p=0.2:path={tmp_path}/f"], seed=7) as session:
            outputs.add(session.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True).stdout)
    (only,) = outputs
    assert 10 < only.count("x") < 80




def test_the_end_of_the_target_is_never_missed(faultlib: Run) -> None:
    """A thread of the controller must not take the SIGCHLD that the main thread waits for."""
    for _ in range(30):
        assert faultlib("run", "--", "true", timeout=20).returncode == 0


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_address_sanitizer_targets(faultlib: Run, tmp_path: Path, compiler: str) -> None:
    """Its runtime interposes string functions and calls us before our constructor."""
    source = tmp_path / "a.c"
    source.write_text("#include <stdio.h>\nint main(void){FILE *f=fopen(\"out\",\"w\");fputs(\"x\",f);return fclose(f)?7:0;}\n")
    subprocess.run([compiler, "-fsanitize=address", source, "-o", tmp_path / "a"], check=True)
    done = faultlib("run", "-e", "write:error=EIO:path=out", "--", "./a", timeout=30)
    assert done.returncode == 7
    assert "write #1" in done.stderr


def test_a_script_is_started_by_the_name_that_was_given(faultlib: Run, tmp_path: Path) -> None:
    script = tmp_path / "show"
    script.write_text("#!/bin/sh\necho $0\n")
    script.chmod(0o755)
    assert faultlib("run", "--", "./show").stdout == "./show\n"


def test_faults_that_are_not_listed_are_said(faultlib: Run, tmp_path: Path) -> None:
    code = "import os\nfd = os.open('f', os.O_CREAT | os.O_WRONLY)\nfor i in range(6000):\n try: os.write(fd, b'x')\n except OSError: pass"
    done = faultlib("run", "--json", "r.json", "-e", "write:error=EIO:path=*/f", "--", sys.executable, "-c", code)
    report = json.loads((tmp_path / "r.json").read_text())
    (rule,) = report["rules"]
    missing = 6000 - len(report["events"])
    assert rule["fired"] == 6000
    assert missing > 0
    assert f"{missing} of 6000 faults are counted but not listed" in done.stderr
