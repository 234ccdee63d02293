"""The end of a program is an operation, also when its main just returns; and stands in nobody's way."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

import faultlib as api
from tests.conftest import Run
from tests.targets.conftest import Compile, Under

RETURNS = """
#include <execinfo.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static void last(void) { printf("last\\n"); }
static void *thread(void *none) { pthread_join(*(pthread_t *)none, NULL); printf("thread\\n"); return none; }
int main(int argc, char **argv, char **envp)
{
    atexit(last);
    if (argc > 1 && !strcmp(argv[1], "pthread_exit")) {
        static pthread_t self;
        pthread_t other;
        self = pthread_self();
        pthread_create(&other, NULL, thread, &self);
        pthread_exit(NULL);
    }
    if (argc > 1 && !strcmp(argv[1], "backtrace")) {
        void *frames[20];
        backtrace_symbols_fd(frames, backtrace(frames, 20), 1);
    }
    printf("%s", envp && envp[0] ? "main\\n" : "no environment\\n"); /* flushed at the very end */
    return 300 + argc;
}
"""


@pytest.fixture(scope="module")
def returns(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("returns") / "returns"
    subprocess.run(["gcc", "-g", "-pthread", "-x", "c", "-", "-o", out], input=RETURNS, text=True, check=True)
    return str(out)


@pytest.mark.parametrize("effect", ["delay=1ns", "signal=SIGCHLD"])
def test_returning_from_main_is_an_exit(effect: str, under: Under, returns: str) -> None:
    done = under(f"exit:{effect}", returns)
    assert (done.status, done.out) == (301 - 256, "main\nlast\n")
    assert done.counts == [(1, 1)], "a fault at a call that does not come back is booked before it"


def test_what_is_buffered_is_lost_with_a_program_that_is_killed_there(under: Under, returns: str) -> None:
    done = under("exit:kill=before", returns)
    assert (done.status, done.out) == (-signal.SIGKILL, "")


@pytest.mark.parametrize("command", [["true"], ["cat", "/dev/null"], ["/usr/bin/python3", "-c", ""], ["node", "-e", ""], ["perl", "-e", "1"], ["git", "version"], ["dash", "-c", ":"]])
def test_real_programs_meet_it(command: list[str], under: Under) -> None:
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    done = under("exit:kill=before", *command)
    assert (done.status, done.counts) == (-signal.SIGKILL, [(1, 1)])


def test_a_trace_has_the_end(faultlib: Run, returns: str) -> None:
    done = faultlib("trace", "--op", "exit", "--", returns)
    assert "exit(301) = ?" in done.stderr


def test_main_may_end_as_a_thread(under: Under, returns: str) -> None:
    done = under("exit:delay=1ns", returns, "pthread_exit")
    assert (done.status, done.out) == (0, "thread\nlast\n")


def test_a_backtrace_ends_where_it_did(returns: str, under: Under) -> None:
    """There is one frame more between main and libc."""
    bare = re.findall(r"/([^/]*)\(", subprocess.run([returns, "backtrace"], capture_output=True, text=True, check=False).stdout)
    seen = re.findall(r"/([^/]*)\(", under([], returns, "backtrace").out)
    assert bare[0] == bare[-1] == "returns", "main and _start"
    assert len(seen) == len(bare) + 1 and seen[1].endswith(".so")
    assert [name for name in seen if name != seen[1]] == bare


@pytest.mark.skipif(not shutil.which("gdb"), reason="gdb is not installed")
def test_a_debugger_finds_its_way(returns: str, tmp_path: Path) -> None:
    commands = ["break last", "run", "backtrace", "continue"]
    with api.Session(["exit:delay=1ns"], cwd=tmp_path) as session:
        gdb = ["gdb", "-batch", "-nx", *(word for command in commands for word in ("-ex", command)), returns]
        done = session.run(gdb, capture_output=True, text=True, timeout=120)
    assert "#0  last ()" in done.stdout
    assert "exited with code 055" in done.stdout


@pytest.mark.parametrize("sanitizer", ["address", "undefined", "thread", "leak"])
def test_sanitizers_report_at_the_end(sanitizer: str, under: Under, tmp_path: Path, compiled: Compile) -> None:
    code = "#include <stdlib.h>\nint main(int n, char **v) { volatile char *p = malloc(n + 9); p[0] = *v[0]; p = 0; return 7; }"
    subprocess.run(["gcc", f"-fsanitize={sanitizer}", "-x", "c", "-", "-o", tmp_path / "p"], input=code, text=True, check=True)
    bare = subprocess.run([tmp_path / "p"], capture_output=True, text=True)
    done = under("exit:delay=1ns", str(tmp_path / "p"))
    assert done.status == bare.returncode
    assert ("LeakSanitizer" in done.err) == ("LeakSanitizer" in bare.stderr) == (sanitizer in ("address", "leak"))
