"""Shells: redirections, tests, globs and cd."""

from __future__ import annotations

from tests.matrix.model import Fails, Program, row


def sh(shell: str, rule: str, code: str, reaction: str | None, *, prepare: str = "", ignored: str = "") -> Fails:
    return Fails(rule, (shell, "-c", code), reaction, prepare, ignored)


def shell(name: str, error: str, read: Fails | str) -> Program:
    return row(
        name,
        open=sh(name, "open:error=EACCES:path=out", "echo hi > out", "Permission denied"),
        read=read,
        write=sh(name, "write:error=ENOSPC:path=out", "echo hi > out", error),
        fsync="a shell does not sync",
        rename="a shell runs mv for that",
        unlink="a shell runs rm for that",
        mkdir="a shell runs mkdir for that",
        stat=sh(name, "stat:error=EIO:path=f", "if [ -f f ]; then echo there; else echo not there; fi", "not there"),
        readdir=sh(name, "readdir:error=EIO:path=d", "echo d/*", r"d/\*"),
        truncate="`>` opens with O_TRUNC",
        lock="a shell runs flock for that",
        close=sh(name, "close:error=EIO:path=out", "echo hi > out; echo status $?", None, ignored="shells do not look at close"),
    )


BASH = shell("bash", "write error: No space left on device", sh("bash", "read:error=EIO:path=f", "read x < f; echo got $x", "Input/output error"))
DASH = shell("dash", "write error|I/O error|No space left", sh("dash", "read:error=EIO:path=f", "read x < f && echo got $x; true", "got$|^$"))

SHELLS = [BASH, DASH]
