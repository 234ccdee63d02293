"""A program under a seccomp filter: the documentation names every system call that the shim may make of its own."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest

import faultlib
from faultlib.report import summary

ROOT = Path(__file__).parents[2]
STANDS_FOR_THE_PROGRAM = {"syscall.c", "timed_syscall.c", "x86_64_patch.c", "aarch64_patch.c"}
"""What these call, the program asked for."""
OF_THE_CONTROLLER = {"control.c", "follow.c", "guard.c", "lend.c", "names.c", "spill.c"}
SECTION = "## Under a seccomp filter"
PROGRAM = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const int allowed[] = {SYS_write, SYS_close, SYS_openat, SYS_exit_group, SYS_getpid /* at _exit */, @ALLOWED@};
#define N (sizeof allowed / sizeof *allowed)

int main(int inherited, char **unused)
{
    struct sock_filter code[2 * N + 2] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
    for (size_t i = 0; i < N; i++) {
        code[1 + 2 * i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], 0, 1);
        code[2 + 2 * i] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    code[2 * N + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, @OTHERWISE@);
    struct sock_fprog program = {2 * N + 2, code};
    int before = inherited > 1 ? 5 : open("before", O_WRONLY | O_CREAT, 0644);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        return 99;
    int failed = write(before, "x", 1) < 0;
    int fd = open("f", O_WRONLY | O_CREAT, 0644);
    failed += 2 * (write(fd, "x", 1) < 0);
    close(fd);
    _exit(failed);
}
"""


def documented() -> dict[str, set[str]]:
    section = (ROOT / "docs" / "transparency.md").read_text().split(SECTION)[1]
    rows = re.findall(r"^\| ([^|]*) \| ([^|]*) \|$", section, re.MULTILINE)
    return {when: set(re.findall(r"`(\w+)`", calls)) for when, calls in rows}


def test_every_call_of_the_shim_is_documented() -> None:
    files = [*(ROOT / "csrc").glob("*.c"), *(ROOT / "csrc/wrap").glob("*.c"), *(ROOT / "csrc/effects").glob("*.c"), *(ROOT / "csrc/arch").glob("*.c")]
    shim = [file for file in files if file.name not in STANDS_FOR_THE_PROGRAM | OF_THE_CONTROLLER]
    assert len(shim) > 20
    text = "".join(file.read_text().replace("FL_SYS_FSTATAT", "SYS_newfstatat") for file in shim)
    used = set(re.findall(r"\bSYS_(\w+)", text)) | {"mprotect"}
    assert used == set.union(*documented().values())


def build(folder: Path, allowed: set[str], otherwise: str) -> str:
    names = ", ".join(f"SYS_{name}" for name in sorted(allowed)) or "SYS_write"
    text = PROGRAM.replace("@ALLOWED@", names).replace("@OTHERWISE@", otherwise)
    subprocess.run(["gcc", "-x", "c", "-", "-o", folder / "program"], input=text, text=True, check=True)
    return str(folder / "program")


RULES = ["write:error=EIO:path=f", "write:error=EIO:path=before"]


@pytest.mark.parametrize("rules", [[], RULES])
def test_a_filter_that_permits_what_is_documented_changes_nothing(rules: list[str], tmp_path: Path) -> None:
    rows = documented()
    allowed = rows["rules or the journal are on: a call on a file"] | rows["the journal is on, or a rule fires"] if rules else set()
    program = build(tmp_path, allowed, "SECCOMP_RET_KILL_PROCESS")
    with faultlib.Session(rules, cwd=tmp_path) as session:
        done = session.run([program], cwd=tmp_path)
        assert done.returncode == (3 if rules else 0)


def test_one_that_permits_only_the_programs_own_calls_kills_it(tmp_path: Path) -> None:
    with faultlib.Session(RULES, cwd=tmp_path) as session:
        assert session.run([build(tmp_path, set(), "SECCOMP_RET_KILL_PROCESS")], cwd=tmp_path).returncode == -signal.SIGSYS


def test_what_cannot_be_asked_is_said(tmp_path: Path) -> None:
    build(tmp_path, {"fstat"}, "SECCOMP_RET_ERRNO | EPERM")
    with faultlib.Session(["write:error=EIO:path=before"], cwd=tmp_path) as session:
        assert session.run(["bash", "-c", "exec 5> before; exec ./program inherited"], cwd=tmp_path).returncode == 0
        warnings = summary.collect(session, ["bash"], 0).warnings
    assert any("did not say which file" in warning for warning in warnings), warnings


FORKS_UNTOLD = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int fails(int fd) { return write(fd, "x", 1) < 0; }

int main(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    int status;
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        return 99;
    int fd = open("f", O_WRONLY | O_CREAT, 0644), before = fails(fd);
    if (!fork())
        _exit(fails(fd));
    wait(&status);
    printf("%d %d %d\n", before, WEXITSTATUS(status), fails(fd));
}
"""


@pytest.mark.parametrize(("who", "fail"), [("1", "1 0 1"), ("1.1", "0 1 0"), ("1*", "1 1 1")])
def test_a_fork_is_a_process_of_its_own_where_the_kernel_may_not_tell(who: str, fail: str, tmp_path: Path) -> None:
    subprocess.run(["gcc", "-x", "c", "-", "-o", tmp_path / "p"], input=FORKS_UNTOLD, text=True, check=True)
    with faultlib.Session([f"write:error=EIO:path=f:proc=lineage:{who}"], cwd=tmp_path) as session:
        assert session.run([str(tmp_path / "p")], cwd=tmp_path, capture_output=True, text=True).stdout == fail + "\n"
