"""Standard streams and reports that are closed, full or broken: the command runs, and its status is not lost."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

FAULTLIB = shlex.join([sys.executable, "-m", "faultlib"])
RULE = "-e write:error=EIO:path=f"
CMD = "-- sh -c 'echo x > f; exit 5'"


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("closed", ["2>&-", "1>&-", "0<&-", "0<&- 1>&- 2>&-", "1>&- 2>&-"])
@pytest.mark.parametrize("options", ["", "-v", "-q"])
def test_closed_streams_change_nothing(tmp_path: Path, closed: str, options: str) -> None:
    done = shell(f"{FAULTLIB} run {options} --json r.json {RULE} {CMD} {closed}", tmp_path)
    assert done.returncode == 5, done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["status"], report["rules"][0]["fired"]) == (5, 1)


def test_a_closed_stream_is_closed_for_the_command_too(tmp_path: Path) -> None:
    """And none of our own files has its number."""
    probe = "-c 'import os,sys; open(sys.argv[1], \"w\").write(repr([s is None for s in (sys.stdin, sys.stdout, sys.stderr)]))'"
    command = f"{shlex.quote(sys.executable)} {probe}"
    shell(f"{command} bare <&- >&- 2>&-; {FAULTLIB} run -- {command} under <&- >&- 2>&-", tmp_path)
    assert (tmp_path / "bare").read_text() == (tmp_path / "under").read_text() == "[True, True, True]"


@pytest.mark.parametrize("options", ["", "-v"])
def test_a_full_stderr_loses_the_table_but_not_the_status(tmp_path: Path, options: str) -> None:
    done = shell(f"{FAULTLIB} run {options} --json r.json {RULE} {CMD} 2>/dev/full", tmp_path)
    assert done.returncode == 5
    assert json.loads((tmp_path / "r.json").read_text())["rules"][0]["fired"] == 1


@pytest.mark.parametrize("options", ["", "-v"])
def test_nobody_reads_stderr(tmp_path: Path, options: str) -> None:
    done = shell(f"{FAULTLIB} run {options} {RULE} -- sh -c 'exec 2>/dev/null; sleep 0.2; echo x > f; exit 5' 2> >(exec true); echo $?", tmp_path)
    assert done.stdout == "5\n"


@pytest.mark.parametrize(("file", "stdout"), [("/dev/full", ""), ("-", "> /dev/full")])
def test_a_report_that_cannot_be_written_is_one_line_and_125(tmp_path: Path, file: str, stdout: str) -> None:
    done = shell(f"{FAULTLIB} run -q --json {file} -- sh -c 'exit 5' {stdout}", tmp_path)
    reason = "No space left on device; the command's exit status was 5"
    assert done.stderr == f"faultlib: the report could not be written to {file}: {reason}\n"
    assert done.returncode == 125


@pytest.mark.parametrize("options", ["", "-c", "--format jsonl", "-c --format jsonl"])
def test_a_trace_that_cannot_be_written_is_one_line_and_125(tmp_path: Path, options: str) -> None:
    done = shell(f"{FAULTLIB} trace {options} -o /dev/full -- sh -c 'exit 5'", tmp_path)
    reason = "No space left on device; the command's exit status was 5"
    assert done.stderr == f"faultlib: the trace could not be written: {reason}\n"
    assert done.returncode == 125


def test_nobody_reads_the_trace(tmp_path: Path) -> None:
    assert shell(f"{FAULTLIB} trace -o - -- sh -c 'exit 5' | true; exit ${{PIPESTATUS[0]}}", tmp_path).returncode == 5


@pytest.mark.parametrize("command", ["ops", "explain write:error=EIO", "doctor", "ctl sessions", "--help"])
def test_a_full_stdout_is_one_line_and_125(tmp_path: Path, command: str) -> None:
    done = shell(f"{FAULTLIB} {command} > /dev/full", tmp_path)
    assert (done.returncode, done.stderr) == (125, "faultlib: No space left on device\n")


def test_errors_are_not_lost_for_a_closed_stderr(tmp_path: Path) -> None:
    assert shell(f"{FAULTLIB} explain write:eror=EIO 2>&-", tmp_path).returncode == 2
    assert shell(f"{FAULTLIB} run -- no-such-command 2>&-", tmp_path).returncode == 127
    assert shell(f"{FAULTLIB} run --no-such-option 2>&-", tmp_path).returncode == 2


def test_no_memory_for_a_session_is_one_line_and_125(tmp_path: Path) -> None:
    done = shell(f"ulimit -f 100; {FAULTLIB} run -- touch ran", tmp_path)
    assert (done.returncode, done.stderr) == (125, "faultlib: no memory for the session (9 MiB): File too large\n")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("limit", range(5, 20))
def test_no_descriptors_for_a_session_is_one_line_and_125(tmp_path: Path, limit: int) -> None:
    """And nothing stays behind, see conftest."""
    done = shell(f"ulimit -n {limit}; {FAULTLIB} run -- touch ran", tmp_path)
    if done.returncode:
        assert (done.returncode, done.stderr.count("\n"), "Too many open files" in done.stderr) == (125, 1, True), done.stderr
        assert (tmp_path / "ran").exists() == ("the command's exit status was 0" in done.stderr)
    else:
        assert (tmp_path / "ran").exists()


def test_a_working_directory_that_is_gone_before(tmp_path: Path) -> None:
    script = f"mkdir gone; cd gone; rmdir ../gone; {FAULTLIB} run {RULE.replace('=f', '=*/f')} -- sh -c 'echo x > {tmp_path}/f'"
    done = shell(script, tmp_path)
    assert done.returncode == 1, done.stderr
    assert f"write #1, {tmp_path}/f, process 1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_working_directory_that_is_gone_after(tmp_path: Path) -> None:
    code = f"import os; os.rmdir('{tmp_path}/gone'); os.write(os.open('{tmp_path}/f', os.O_CREAT | os.O_WRONLY), b'x')"
    (tmp_path / "t.py").write_text(code)
    for verb, expected in (("run -v", "write #1"), ("trace", "t.py:1")):
        done = shell(f"mkdir gone; cd gone; {FAULTLIB} {verb} -e write:error=EIO:path=*/f -- '{sys.executable}' ../t.py", tmp_path)
        assert done.returncode == 1
        assert expected in done.stderr
        assert done.stderr.count("Traceback") == 1, "the program's own"
