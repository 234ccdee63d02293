"""Source lines of Python programs: the right one, in every version, and no program notices that it was asked."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import faultlib as api
from faultlib.inject.stacks import Frame, own_frame, parse, short
from tests.conftest import Run

PYTHONS = sorted(
    {Path(sys.executable), *(p for p in [Path("/usr/bin/python3")] if p.exists())}
    | set(Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python3"))
)
OLDEST = (3, 7)
Calls = Callable[..., list[dict[str, Any]]]


def version(python: Path) -> tuple[int, ...]:
    out = subprocess.run([python, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True, check=True)
    return tuple(map(int, out.stdout.split()))


def with_stacks() -> list[Path]:
    return [python for python in PYTHONS if version(python) >= OLDEST]


@pytest.fixture
def calls(faultlib: Run, tmp_path: Path) -> Calls:
    """Writes a program, traces it and returns its calls on files in the test's directory."""

    def trace(program: str, *before: str, python: Path = Path(sys.executable), status: int = 0) -> list[dict[str, Any]]:
        (tmp_path / "program.py").write_text(program)
        done = faultlib(
            "trace", "--format", "jsonl", "-o", "trace", "--path", f"{tmp_path}/*", "--", str(python), *before, "program.py"
        )
        assert done.returncode == status, done.stderr
        assert not re.sub("faultlib: . calls are missing: their processes were killed .*\n", "", done.stderr)
        return [json.loads(line) for line in (tmp_path / "trace").read_text().splitlines()]

    return trace


def lines(found: list[dict[str, Any]], operation: str, path: Path) -> list[str]:
    """Where the operation on the file was called."""
    names = [(call["where"], call) for call in found if call["operation"] == operation and str(path) in (call["path"], call["path2"])]
    return [f"{Path(where['file']).name}:{where['line']}:{where['function']}" if where else "-" for where, _ in names]


PROGRAM = """\
import json, os, pathlib

def save(value):
    with open("state", "w") as f:
        json.dump(value, f)
    os.rename("state", "state.json")

for i in range(3):
    save({"i": i})
pathlib.Path("other").write_text(
    "x")
"""


@pytest.mark.parametrize("python", with_stacks(), ids=str)
@pytest.mark.parametrize("options", [(), ("-I", "-S", "-E")], ids=["plain", "isolated"])
def test_each_call_has_the_program_s_line(calls: Calls, tmp_path: Path, python: Path, options: tuple[str, ...]) -> None:
    found = calls(PROGRAM, *options, python=python)
    assert lines(found, "rename", tmp_path / "state") == ["program.py:6:save"] * 3
    assert lines(found, "open", tmp_path / "state") == ["program.py:4:save"] * 3
    (other,) = lines(found, "open", tmp_path / "other")
    assert other in ("program.py:10:<module>", "program.py:11:<module>")  # 3.7 names the last line of a call
    renames = [call for call in found if call["operation"] == "rename"]
    assert [frame["function"] for frame in renames[0]["stack"]] == ["save", "<module>"]


def test_library_frames_are_shown_but_are_not_where(calls: Calls, tmp_path: Path) -> None:
    found = calls("import shutil\nopen('a', 'w').close()\nshutil.copyfile('a', 'b')\n")
    opened = next(call for call in found if call["path"] == str(tmp_path / "b"))
    assert (opened["where"]["file"], opened["where"]["line"]) == (str(tmp_path / "program.py"), 3)
    assert "shutil.py" in [Path(frame["file"]).name for frame in opened["stack"]]


def test_all_signals_blocked(calls: Calls, tmp_path: Path) -> None:
    found = calls("import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\nopen('a', 'w')\n")
    assert lines(found, "open", tmp_path / "a") == ["program.py:3:<module>"]


THREADS = """\
import os, threading
def work(n):
    fd = os.open(f"t{n}", os.O_WRONLY | os.O_CREAT)
    for _ in range(500):
        os.write(fd, b"x")
    os.close(fd)
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
"""


def test_threads_have_each_their_own(calls: Calls, tmp_path: Path) -> None:
    found = [call for call in calls(THREADS) if call["operation"] == "write"]
    assert Counter((call["path"], call["where"] and call["where"]["line"]) for call in found) == {
        (str(tmp_path / f"t{n}"), 5): 500 for n in range(4)
    }
    assert {call["thread"]["path"] for call in found} == {f"1.{n}" for n in range(1, 5)}


FORKS = """\
import os, threading
stop = False
def busy():
    while not stop:
        os.stat("program.py")
threads = [threading.Thread(target=busy) for _ in range(2)]
[t.start() for t in threads]
for i in range(30):
    pid = os.fork()
    if not pid:
        os.close(os.open(f"child", os.O_WRONLY | os.O_CREAT))
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
stop = True
[t.join() for t in threads]
"""


def test_forked_children_of_a_busy_threaded_parent(calls: Calls, tmp_path: Path) -> None:
    assert lines(calls(FORKS), "open", tmp_path / "child") == ["program.py:11:<module>"] * 30


SIGNALS = """\
import os, signal
seen = 0
def handler(*_):
    global seen
    seen += 1
    os.close(os.open("handled", os.O_WRONLY | os.O_CREAT))
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
while seen < 200:
    os.close(os.open("main", os.O_WRONLY | os.O_CREAT))
signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_signal_handlers(calls: Calls, tmp_path: Path) -> None:
    found = calls(SIGNALS)
    assert set(lines(found, "open", tmp_path / "handled")) == {"program.py:6:handler"}
    assert set(lines(found, "open", tmp_path / "main")) == {"program.py:10:<module>"}


DAEMON = """\
import os, threading
def for_ever():
    while True:
        os.stat("program.py")
for _ in range(2):
    threading.Thread(target=for_ever, daemon=True).start()
open("a", "w").close()
"""


def test_exit_while_daemon_threads_call(calls: Calls, tmp_path: Path) -> None:
    for _ in range(10):
        assert lines(calls(DAEMON), "open", tmp_path / "a") == ["program.py:7:<module>"]


OWN_FAULTHANDLER = """\
import faulthandler, os, signal, sys
assert faulthandler.is_enabled() is ("enabled" in sys.argv)
out = open("dump", "w")
faulthandler.register(signal.SIGUSR1, file=out, all_threads=True)
def inside():
    os.kill(os.getpid(), signal.SIGUSR1)
inside()
faulthandler.dump_traceback(file=out, all_threads=False)
faulthandler.dump_traceback_later(100, file=out)
faulthandler.cancel_dump_traceback_later()
assert faulthandler.unregister(signal.SIGUSR1)
print([signal.getsignal(n) is signal.SIG_DFL for n in range(signal.SIGRTMIN, signal.SIGRTMAX + 1)].count(False))
print(open("dump").read().count("line"))
"""


@pytest.mark.parametrize("python", with_stacks(), ids=str)
def test_a_program_that_uses_faulthandler_itself(tmp_path: Path, faultlib: Run, python: Path) -> None:
    (tmp_path / "program.py").write_text(OWN_FAULTHANDLER)
    bare = subprocess.run([python, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    done = faultlib("trace", "-o", "trace", "--", str(python), "program.py")
    assert (done.returncode, done.stdout, done.stderr) == (0, bare.stdout, bare.stderr)
    assert " program.py:8\n" in (tmp_path / "trace").read_text()


STATE = """\
import signal, sys, os, threading
print(sorted(set(sys.modules) - {"atexit"}), sorted(vars()), threading.active_count())
print([str(signal.getsignal(n)) for n in sorted(signal.valid_signals())], sorted(os.listdir("/proc/self/fd")))
print([line for line in open("/proc/self/status") if line.startswith(("SigPnd", "SigBlk", "SigIgn", "SigCgt"))])
"""


def test_nothing_of_it_can_be_seen_from_inside(tmp_path: Path, faultlib: Run) -> None:
    (tmp_path / "program.py").write_text(STATE)
    command = ["-o", "trace", "--", sys.executable, "program.py"]
    without = faultlib("trace", "--no-stacks", *command, stdin=subprocess.DEVNULL)
    assert "program.py:" not in (tmp_path / "trace").read_text()
    assert faultlib("trace", *command, stdin=subprocess.DEVNULL).stdout == without.stdout
    assert "program.py:4" in (tmp_path / "trace").read_text()


def test_subinterpreters(calls: Calls, tmp_path: Path) -> None:
    program = "import _xxsubinterpreters as s\ni = s.create()\ns.run_string(i, \"open('inner', 'w').close()\")\nopen('a', 'w')\n"
    if sys.version_info >= (3, 13):
        program = program.replace("_xxsubinterpreters", "_interpreters")
    found = calls(program)
    assert lines(found, "open", tmp_path / "a") == ["program.py:4:<module>"]
    assert lines(found, "open", tmp_path / "inner")


def test_multiprocessing_and_subprocess(calls: Calls, tmp_path: Path) -> None:
    program = (
        "import multiprocessing, subprocess\n"
        "def work(n):\n    open(f'm{n}', 'w').close()\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.Pool(2) as pool:\n        pool.map(work, range(8))\n"
        "    subprocess.run(['touch', 'touched'], check=True)\n"
    )
    found = calls(program)
    assert [lines(found, "open", tmp_path / f"m{n}") for n in range(8)] == [["program.py:3:work"]] * 8
    touched = [call for call in found if call["path"] == str(tmp_path / "touched")]
    assert touched
    assert {call["process"]["comm"] for call in touched} == {"touch"}


def test_where_first_of_a_run_names_the_line(faultlib: Run, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = faultlib("run", "-v", "-e", "rename:error=EACCES:path=*", "--json", "r.json", "--", sys.executable, "program.py")
    assert done.returncode == 1
    (live,) = [line for line in done.stderr.splitlines() if "(INJECTED)" in line]
    assert "at program.py:6" in live
    assert any(line.startswith("rename:error=EACCES") and line.endswith("at program.py:6") for line in done.stderr.splitlines())
    (event,) = json.loads((tmp_path / "r.json").read_text())["events"]
    assert event["where"] == {"file": str(tmp_path / "program.py"), "line": 6, "function": "save"}


def test_a_fault_that_kills_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    with api.Session([f"rename:kill=before:when=2:path={tmp_path}/*"]) as session:
        session.run([sys.executable, "program.py"], cwd=tmp_path)
        (event,) = session.events()
    assert (event.where and event.where.line, event.nth) == (6, 2)


def test_a_python_that_cannot_be_asked_is_named_once(faultlib: Run, tmp_path: Path) -> None:
    """Here: every real-time signal is ignored from the start, so that none can be borrowed for a moment."""
    (tmp_path / "program.py").write_text("open('a', 'w')\nopen('b', 'w')\n")
    script = f"trap '' $(seq {signal.SIGRTMIN} {signal.SIGRTMAX}); exec '{sys.executable}' program.py"
    done = faultlib("trace", "-o", "trace", "--", "bash", "-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("no source lines: the Python of process 1 ") == 1
    assert re.search(r'open\(".*/b", O_WRONLY.* <0\.\d+>\n', (tmp_path / "trace").read_text())


C_PROGRAM = r"""
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static void __attribute__((noinline)) save(void)
{
    FILE *f = fopen("saved", "w");
    fprintf(f, "x");
    fclose(f);
    __asm__("");
}
static void __attribute__((noinline)) replace(void)
{
    rename("saved", "other");
    __asm__("");
}
static void *work(void *x)
{
    unlink("none");
    return x;
}
int main(void)
{
    pthread_t thread;
    save();
    replace();
    pthread_create(&thread, 0, work, 0);
    pthread_join(thread, 0);
    return 0;
}
"""


@pytest.mark.parametrize("flags", [(), ("-O2",), ("-no-pie", "-O2")], ids=" ".join)
def test_other_programs_name_the_function(faultlib: Run, tmp_path: Path, flags: tuple[str, ...]) -> None:
    (tmp_path / "program.c").write_text(C_PROGRAM)
    subprocess.run(["cc", *flags, "-pthread", "-o", "program", "program.c"], cwd=tmp_path, check=True, capture_output=True)
    done = faultlib("trace", "--op", "open,write,rename,unlink", "--format", "jsonl", "-o", "trace", "--", "./program")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in (tmp_path / "trace").read_text().splitlines()]
    functions = {call["operation"]: call["where"]["function"].partition("+")[0] for call in found}
    assert functions == {"open": "save", "write": "save", "rename": "replace", "unlink": "work"}
    assert {call["where"]["file"] for call in found} == {str(tmp_path / "program")}


def test_parse_and_choose() -> None:
    text = (
        b'Stack (most recent call first):\n  File "/usr/lib/python3.11/json/__init__.py", line 179 in dump\n'
        b'  File "/app/caf\\xe9/s\\u20acve.py", line 12 in save\n  File "<string>", line ??? in <module>\n  ...\n'
    )
    frames = parse(text)
    assert frames == (
        Frame("/usr/lib/python3.11/json/__init__.py", 179, "dump"), Frame("/app/café/s€ve.py", 12, "save"), Frame("<string>", 0, "<module>"),
    )  # fmt: skip
    assert own_frame(frames) == frames[1]
    assert own_frame(frames[:1]) == frames[0]
    assert own_frame(()) is None
    assert short(frames[1]) == "s€ve.py:12"
    venv = Frame("/home/me/.venv/lib/python3.12/site-packages/click/core.py", 5, "main")
    assert own_frame((venv, frames[1])) == frames[1]
