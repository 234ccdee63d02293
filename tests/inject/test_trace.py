"""`faultlib trace` on programs nobody here wrote: every call, none twice, with what it was asked and what came of it."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run


@pytest.fixture
def calls(faultlib: Run, tmp_path: Path) -> Any:
    """Traces a command in the test's directory and returns its calls; the command must succeed."""

    def trace(*arguments: str, status: int = 0) -> list[dict[str, Any]]:
        done = faultlib("trace", "--format", "jsonl", "-o", "trace.jsonl", *arguments)
        assert done.returncode == status, done.stderr
        return [json.loads(line) for line in (tmp_path / "trace.jsonl").read_text().splitlines()]

    return trace


def on(calls: list[dict[str, Any]], path: Path) -> list[str]:
    """The operations on one file, in order."""
    return [call["operation"] for call in calls if call["path"] == str(path)]


def test_bash_redirection(calls: Any, tmp_path: Path) -> None:
    found = calls("--", "bash", "-c", "echo hello > out")
    assert [name for name in on(found, tmp_path / "out") if name not in ("dup", "fcntl", "fstat", "stat")] == ["open", "close", "write"]
    (write,) = [call for call in found if call["operation"] == "write"]
    assert (write["fd"], write["size"], write["result"], write["errno"]) == (1, 6, 6, None)
    assert write["process"]["lineage"] == "1"
    assert write["process"]["comm"] == "bash"
    (opened,) = [call for call in found if call["operation"] == "open" and call["path"] == str(tmp_path / "out")]
    assert opened["flags"] == ["O_WRONLY", "O_CREAT", "O_TRUNC"]


def test_children_have_their_lineage_and_exec_its_place(calls: Any, tmp_path: Path) -> None:
    found = calls("--", "bash", "-c", "cat /dev/null > a; (echo b > b); :")
    ((fork, execed),) = [
        (call["result"], following["process"])
        for call in found if call["operation"] == "fork"
        for following in found if following["operation"] == "execve" and following["process"]["pid"] == call["result"]
    ]  # fmt: skip
    assert fork == execed["pid"]
    assert execed["lineage"] == "1.1"
    assert {call["process"]["lineage"] for call in found if call["path"] == str(tmp_path / "b")} == {"1.2"}


def test_an_exec_that_fails_is_one_call(calls: Any) -> None:
    code = "import os\ntry: os.execv('/no/such', ['x'])\nexcept OSError: pass"
    found = calls("--op", "exec", "--", sys.executable, "-c", code)
    assert [(call["path"], call["errno"]) for call in found] == [("/no/such", "ENOENT")]


def test_exit_is_written_down(calls: Any) -> None:
    (call,) = calls("--op", "exit", "--", "bash", "-c", "exit 3", status=3)
    assert (call["operation"], call["argument"], call["result"]) in (("exit", "3", None), ("_exit", "3", None))


def test_error_and_injection_are_marked(calls: Any, faultlib: Run, tmp_path: Path) -> None:
    command = ["--", "bash", "-c", "echo one > out; echo two > out"]
    found = calls("-e", "write:error=ENOSPC:path=out:when=2", *command, status=1)
    writes = [call for call in found if call["operation"] == "write" and call["path"] == str(tmp_path / "out")]
    assert [(call["errno"], call["injected"] and call["injected"]["effect"]) for call in writes][:2] == [
        (None, None), ("ENOSPC", "error"),
    ]  # fmt: skip
    done = faultlib("trace", "-e", "write:error=ENOSPC:path=out:when=2", *command)
    (line,) = [line for line in done.stderr.splitlines() if "(INJECTED" in line]
    assert re.search(r"write\(1<.*/out>, 4\) = -1 ENOSPC <0\.\d+> \(INJECTED: write:error=ENOSPC:path=out:when=2\)", line)


SURVIVED = "(sleep 0.2; kill -KILL $$) & echo hi > f"


@pytest.mark.parametrize(
    ("rule", "script", "status", "result"),
    [
        ("write:kill=before", "echo hi > f", 137, None), ("write:kill=after", "echo hi > f", 137, 3),
        ("write:torn=1", "echo hi > f", 137, 1), ("write:signal=SIGTERM", "echo hi > f", 143, None),
        ("write:hang", SURVIVED, 137, None), ("write:delay=1h", SURVIVED, 137, None), ("write:delay_after=1h", SURVIVED, 137, None),
        ("write:kill=before:delay=10ms", "echo hi > f", 137, None), ("write:signal=SIGWINCH", "echo hi > f", 0, 3),
        ("write:delay=10ms", "echo hi > f", 0, 3),
    ],
)  # fmt: skip
def test_a_call_that_does_not_come_back_is_told_once(rule: str, script: str, status: int, result: int | None, calls: Any) -> None:
    found = calls("-e", f"{rule}:path=f", "--", "bash", "-c", script, status=status)
    (write,) = [call for call in found if call["operation"] == "write" and call["path"].endswith("/f")]
    assert write["result"] == result
    assert write["injected"]["rule"] == f"{rule}:path=f"
    assert (write["duration_ns"] is None) == (result is None)


def test_a_fault_of_a_copy_s_source_is_told_of_the_copy(calls: Any, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("hi\n")
    for effect, status in (("kill=before", 137), ("delay=1ms", 0)):
        code = "import os; os.sendfile(os.open('g', 66), os.open('f', 0), 0, 3)"
        found = calls("-e", f"read:{effect}:path=f", "--", sys.executable, "-c", code, status=status)
        (copy,) = [call for call in found if call["injected"]]
        assert (copy["operation"], copy["path"], copy["path2"]) == ("sendfile", str(tmp_path / "g"), str(tmp_path / "f"))


def test_an_exec_and_an_exit_that_do_not_come_back(calls: Any) -> None:
    found = calls("-e", "execve:kill=before", "--", "bash", "-c", "exec true", status=137)
    assert [call["injected"]["effect"] for call in found if call["operation"] == "execve"] == ["kill"]
    found = calls("-e", "execve:delay=1ms", "-e", "exit:delay=1ms", "--", "bash", "-c", "exec true")
    assert [(call["operation"], call["injected"]["effect"]) for call in found if call["injected"]] == [("execve", "delay"), ("exit", "delay")]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (("a,c",), "ac"), (("a", "*/c"), "ac"), (("!a",), "bc"), (("!a,b",), "c"), (("*", "!b"), "ac"), (("'b'",), "b"),
        (("[ab]", "!a"), "b"),
    ],
)  # fmt: skip
def test_paths_are_written_as_in_rules(paths: tuple[str, ...], expected: str, calls: Any) -> None:
    given = [word for path in paths for word in ("--path", path)]
    found = calls("--op", "write", *given, "--", "bash", "-c", "for n in a b c; do echo > $n; done")
    assert "".join(Path(call["path"]).name for call in found) == expected


def test_only_some_operations_and_paths(calls: Any, tmp_path: Path) -> None:
    script = "echo a > a.json; echo b > b.txt; mv a.json c.json"
    assert {call["family"] for call in calls("--op", "write,rename", "--", "bash", "-c", script)} == {"write", "rename"}
    found = calls("--path", "*.json", "--op", "!stat", "--", "bash", "-c", script)
    assert found
    assert all(".json" in f"{call['path']} {call['path2']}" for call in found)
    assert "stat" not in {call["family"] for call in found}
    rename = next(call for call in found if call["family"] == "rename" and not call["errno"])
    assert (rename["path"], rename["path2"]) == (str(tmp_path / "a.json"), str(tmp_path / "c.json"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--op", "wrote"], "'wrote' is no operation; did you mean write?"),
        (["--format", "xml"], "xml"),
        (["-o", "no/such/place"], "cannot write to no/such/place: No such file or directory"),
        (["-e", "write:eror=EIO"], "did you mean error"),
    ],
)
def test_refusals(faultlib: Run, tmp_path: Path, arguments: list[str], message: str) -> None:
    done = faultlib("trace", *arguments, "--", "touch", "started")
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "started").exists()


C_PROGRAM = r"""
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void)
{
    for (int i = 0; i < 7; i++) {
        int fd = open("data", O_RDWR | O_CREAT, 0600);
        flock(fd, LOCK_EX);
        for (int j = 0; j < 11; j++)
            if (write(fd, "0123456789", 10) != 10)
                return 1;
        fsync(fd);
        ftruncate(fd, 5);
        close(fd);
        rename("data", "other");
        unlink("other");
        mkdir("folder", 0700);
        rmdir("folder");
    }
    unlink("not there");
    if (!fork()) {
        unlink("not there");
        _exit(0);
    }
    wait(0);
    return 0;
}
"""


def compiled(source: str, folder: Path, *flags: str) -> str:
    """Compiles a C program and returns its name."""
    (folder / "program.c").write_text(source)
    subprocess.run(["cc", *flags, "-o", folder / "program", folder / "program.c"], check=True, stderr=subprocess.DEVNULL)
    return str(folder / "program")


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_counts_are_those_of_strace(calls: Any, tmp_path: Path) -> None:
    program = compiled(C_PROGRAM, tmp_path)
    names = ("write", "flock", "fsync", "ftruncate", "rename", "unlink", "mkdir", "rmdir")
    subprocess.run(["strace", "-f", "-c", "-o", "counts", "-e", f"trace={','.join(names)}", program], cwd=tmp_path, check=True)
    expected = {}
    for line in (tmp_path / "counts").read_text().splitlines():
        words = line.split()
        if words and words[-1] in names:
            expected[words[-1]] = (int(words[3]), int(words[4]) if len(words) == 6 else 0)
    assert expected["write"] == (77, 0)
    found = calls("--", program)
    counts, errors = Counter(c["operation"] for c in found), Counter(c["operation"] for c in found if c["errno"])
    assert {name: (counts[name], errors[name]) for name in names} == expected


def test_summary_adds_up(faultlib: Run, tmp_path: Path) -> None:
    done = faultlib("trace", "-c", "--format", "jsonl", "-o", "sums", "--", compiled(C_PROGRAM, tmp_path))
    assert done.returncode == 0
    rows = [json.loads(line) for line in (tmp_path / "sums").read_text().splitlines()]
    (writes,) = [row for row in rows if row["operation"] == "write"]
    assert (writes["calls"], writes["errors"], writes["bytes"], writes["path"]) == (77, 0, 770, str(tmp_path / "data"))
    assert sum(row["errors"] for row in rows if row["operation"] == "unlink") == 2
    table = faultlib("trace", "-c", "--", str(tmp_path / "program")).stderr.splitlines()
    assert table[0].split() == ["calls", "errors", "seconds", "bytes", "operation", "where", "file"]
    assert any(line.split()[0] == "77" and "write" in line for line in table)
    assert table[-1].endswith("total")


FILES = "for i in {1..40}; do echo $i > file$i; done; for i in {1..9}; do echo x >> often; done"


@pytest.mark.parametrize(("options", "shown"), [((), 20), (("--top", "3"), 3), (("--top", "41"), 41), (("--top", "0"), 41), (("--top", "99"), 41)])
def test_a_summary_shows_the_rows_that_matter_most(options: tuple[str, ...], shown: int, faultlib: Run) -> None:
    done = faultlib("trace", "-c", *options, "--op", "write", "-e", "write:delay_after=1s:path=file7", "--", "bash", "-c", FILES)
    _, *rows, total = done.stderr[: done.stderr.index("rule  ")].splitlines()
    rest = rows.pop() if shown < 41 else ""
    assert len(rows) == shown
    assert rows[0].endswith("file7  (1 INJECTED)"), "sorted by time"
    assert [int(row.split()[0]) for row in rows if row.endswith("often")] in ([], [9])
    assert total.split()[0] == "49"
    if rest:
        assert rest.split()[0] == str(49 - sum(int(row.split()[0]) for row in rows))
        assert rest.endswith(f"… and {41 - shown} more (--top 0 shows all)")


def test_a_summary_by_the_number_of_calls(faultlib: Run) -> None:
    done = faultlib("trace", "-c", "--sort", "calls", "--top", "1", "--op", "write", "-e", "write:delay=1s:path=file7", "--", "bash", "-c", FILES)
    _, first, rest, total, *_ = done.stderr.splitlines()
    assert first.split()[0] == "9" and first.endswith("often")
    assert rest.endswith("… and 40 more (--top 0 shows all)  (1 INJECTED)")
    assert total.endswith("total")


def test_a_summary_in_json_has_every_row_unless_told(faultlib: Run, tmp_path: Path) -> None:
    for options, rows in ((), 41), (("--top", "2"), 2):
        faultlib("trace", "-c", "--format", "jsonl", "-o", "sums", *options, "--op", "write", "--", "bash", "-c", FILES)
        assert len((tmp_path / "sums").read_text().splitlines()) == rows


@pytest.mark.parametrize("options", [("--top", "3"), ("--sort", "calls")])
def test_options_of_the_summary_need_one(options: tuple[str, ...], faultlib: Run) -> None:
    done = faultlib("trace", *options, "--", "true")
    assert (done.returncode, done.stderr) == (2, f"faultlib: {options[0]} is for the summary: give -c too\n")


@pytest.mark.parametrize("options", [(), ("-c",), ("--format", "jsonl")])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_name_that_standard_output_cannot_spell(options: tuple[str, ...], encoding: str, faultlib: Run) -> None:
    env = os.environ | {"PYTHONIOENCODING": f"{encoding}:strict"}
    done = faultlib("trace", "-o", "-", *options, "--op", "write", "--", "bash", "-c", r"echo x > $'a\xff'; echo y > b", env=env, encoding=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("\\udcff" if "jsonl" in options else "\\xff") in done.stdout


MANY = 300_000


def test_nothing_is_lost_of_many_calls(faultlib: Run, tmp_path: Path) -> None:
    done = faultlib(
        "trace", "-c", "--format", "jsonl", "-o", "sums", "--", "dd", "if=/dev/zero", "of=out", "bs=1", f"count={MANY}",
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "LOST" not in done.stderr
    rows = [json.loads(line) for line in (tmp_path / "sums").read_text().splitlines()]
    totals = Counter({(row["operation"], row["path"]): row["calls"] for row in rows})
    assert totals["write", str(tmp_path / "out")] == MANY
    assert totals["read", "/dev/zero"] == MANY


def test_git_and_sqlite(calls: Any, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "a").write_text("a")
    found = calls("--", "git", "add", "a")
    assert ("rename", str(tmp_path / ".git/index")) in {(c["operation"], c["path2"]) for c in found}
    found = calls("--", "sqlite3", "db", "create table t(x); insert into t values(1);")
    locks = [c for c in found if c["operation"] == "fcntl" and c["path"] == str(tmp_path / "db")]
    assert {tuple(c["flags"]) for c in locks} >= {("LOCK_SH", "LOCK_NB"), ("LOCK_EX", "LOCK_NB"), ("LOCK_NB", "LOCK_UN")}
    assert any(c["operation"] in ("fsync", "fdatasync") and c["path"] == str(tmp_path / "db") for c in found)


def test_the_child_s_status_and_signals_are_its_own(faultlib: Run) -> None:
    assert faultlib("trace", "--op", "write", "--", "bash", "-c", "exit 7").returncode == 7
    assert faultlib("trace", "--op", "write", "--", "bash", "-c", "kill -KILL $$").returncode == 128 + signal.SIGKILL


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    """Starts a trace of a shell that writes for ever, and waits until it does."""
    script = "while :; do echo x > out; : > started; done"
    tracer = subprocess.Popen(
        [sys.executable, "-m", "faultlib", "trace", "-o", "trace", *arguments, "--", "bash", "-c", script],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (tmp_path / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return tracer


def test_interrupt_ends_target_and_trace_and_keeps_what_was_seen(tmp_path: Path) -> None:
    tracer = start(tmp_path)
    os.killpg(tracer.pid, signal.SIGINT)
    _, err = tracer.communicate(timeout=60)
    assert tracer.returncode == 128 + signal.SIGINT
    assert "Traceback" not in err
    assert "write(1<" in (tmp_path / "trace").read_text()


def test_a_killed_tracer_leaves_the_target_running(tmp_path: Path) -> None:
    tracer = start(tmp_path)
    tracer.kill()
    tracer.wait(60)
    try:
        for _ in range(2):
            (tmp_path / "started").unlink(missing_ok=True)
            deadline = time.monotonic() + 60
            while not (tmp_path / "started").exists():
                assert time.monotonic() < deadline, "the target hangs"
                time.sleep(0.02)
    finally:
        os.killpg(tracer.pid, signal.SIGKILL)
    while list(Path("/dev/shm").glob(f"faultlib.{tracer.pid}.*")):
        assert time.monotonic() < deadline, "the folder was left behind"
        time.sleep(0.05)


def test_a_reader_that_goes_away_does_not_disturb_the_target(tmp_path: Path) -> None:
    command = f"'{sys.executable}' -m faultlib trace -o - -- bash -c 'for i in {{1..3000}}; do echo x > out; done; : > ended' | head -1"
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, timeout=120, capture_output=True)
    assert (tmp_path / "ended").exists()


ARGUMENTS = """
import ctypes, os
class Time(ctypes.Structure): _fields_ = [("s", ctypes.c_long), ("ns", ctypes.c_long)]
libc = ctypes.CDLL(None)
source, target = os.open("source", 66, 0o644), os.open("target", 66, 0o644)
os.write(source, b"x" * 100)
os.lseek(source, -60, os.SEEK_END)
os.copy_file_range(source, target, 5, 0, 0)
os.sendfile(target, source, 0, 7)
libc.splice(source, None, target, None, 3, 0)
os.symlink("some/where", "link")
os.symlink("../else", "link2", dir_fd=os.open(".", 0))
libc.nanosleep(ctypes.byref(Time(0, 1500000)), None)
libc.clock_nanosleep(1, 1, ctypes.byref(Time(1, 5)), None)
libc.nanosleep(None, None)
libc.symlink(None, b"link3")
"""


def test_what_calls_were_asked_is_told(faultlib: Run, calls: Any, tmp_path: Path) -> None:
    command = ["--op", "seek,copy_file_range,sendfile,splice,link,sleep", "--path", f"{tmp_path}/*", "--", sys.executable, "-c", ARGUMENTS]
    text = faultlib("trace", *[word for word in command if word not in ("--path", f"{tmp_path}/*")]).stderr
    a, b = f"<{tmp_path}/source>", f"<{tmp_path}/target>"
    told = [
        f"lseek(3{a}, -60, SEEK_END) = 40", f"copy_file_range(3{a}, 4{b}, 5) = 5", f"sendfile(4{b}, 3{a}, 7) = 7",
        f"splice(3{a}, 4{b}, 3) = -1 EINVAL", f'symlink("some/where", "{tmp_path}/link") = 0',
        f'symlinkat("../else", "{tmp_path}/link2") = 0', "nanosleep(0.0015s) = 0",
        "clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, 1.000000005s) = 0", "nanosleep(0s) = -1 EFAULT",
        f'symlink(?, "{tmp_path}/link3") = -1 EFAULT',
    ]  # fmt: skip
    assert [line for line in told if line not in text] == []
    for name in ("link", "link2", "source", "target"):
        (tmp_path / name).unlink()
    found = {call["operation"]: call for call in calls(*command)}
    for copy in ("copy_file_range", "sendfile", "splice"):
        call = found[copy]
        assert (call["path"], call["fd"], call["path2"], call["fd2"]) == (f"{tmp_path}/target", 4, f"{tmp_path}/source", 3)
    assert found["symlinkat"]["path"] == "../else"
    sleeps = [call["asked_ns"] for call in calls("--op", "sleep", "--", sys.executable, "-c", ARGUMENTS.replace('"link', '"link5'))]
    assert sleeps == [1500000, 1000000005, 0]


def test_a_copy_is_summed_up_from_source_to_target(faultlib: Run, tmp_path: Path) -> None:
    done = faultlib("trace", "-c", "--op", "sendfile", "--", sys.executable, "-c", ARGUMENTS)
    assert f"{tmp_path}/source -> {tmp_path}/target" in done.stderr


def test_a_call_may_take_longer_than_32_bits_of_nanoseconds(calls: Any, tmp_path: Path) -> None:
    found = calls("--op", "write", "-e", "write:delay=4400ms:path=out", "--", "bash", "-c", "echo a > out")
    (write,) = [call for call in found if call["path"] == str(tmp_path / "out")]
    assert write["duration_ns"] >= 4_400_000_000


PATIENCELESS = """
import sys
from faultlib.report import trace
trace.PATIENCE_S = trace.PROGRESS_S = 0
from faultlib.__main__ import main
sys.argv = ["faultlib", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize("output", ["file", "-"])
def test_a_terminal_shows_how_far_the_writing_has_come(tmp_path: Path, output: str) -> None:
    """Unless the trace itself goes there."""
    ours, theirs = pty.openpty()
    command = ["trace", "-o", output, "--", "dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=20000", "status=none"]
    child = subprocess.Popen([sys.executable, "-c", PATIENCELESS, *command], cwd=tmp_path, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError), os.fdopen(ours, "rb", buffering=0) as terminal:  # a terminal ends with an error
        while data := terminal.read(65536):
            said += data
    assert child.wait(60) == 0
    shown = re.findall(rb"faultlib: writing the trace: \d+% ", said)
    if output == "file":
        assert shown
        assert said.endswith(b"\r\x1b[K")
        assert (tmp_path / "file").read_text().count("write(1</dev/null>") == 20000
    else:
        assert not shown
        assert said.count(b"write(1</dev/null>") == 20000
