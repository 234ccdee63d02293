"""Compiled programs: C by libc's calls, by streams, fortified and by syscall(); C++; Rust."""

from __future__ import annotations

from tests.matrix.model import Fails, Program, row

DENIED, SPACE, IO = "Permission denied", "No space left on device", "Input/output error"


def one(program: str, rule: str, operation: str, reaction: str | None, files: str = "f", ignored: str = "") -> Fails:
    return Fails(rule, [f"{{{program}}}", operation, *files.split()], reaction, "", ignored)


def calls(name: str, program: str) -> Program:
    """Every libc call of `calls.c` or `raw.c`."""
    return row(
        name,
        needs=("gcc",),
        open=one(program, "open:error=EACCES:path=f", "open", "open failed: " + DENIED),
        read=one(program, "read:error=EIO:path=f", "read", "read failed: " + IO),
        write=one(program, "write:error=ENOSPC:path=f", "write", "write failed: " + SPACE),
        fsync=one(program, "fsync:error=EIO:path=f", "fsync", "fsync failed: " + IO),
        rename=one(program, "rename:error=EACCES:to=g", "rename", "rename failed: " + DENIED, "f g"),
        unlink=one(program, "unlink:error=EACCES:path=f", "unlink", "unlink failed: " + DENIED),
        mkdir=one(program, "mkdir:error=ENOSPC:path=e", "mkdir", "mkdir failed: " + SPACE, "e"),
        stat=one(program, "stat:error=EIO:path=f", "stat", "stat failed: " + IO),
        readdir=one(program, "readdir:error=EIO:path=d", "readdir", "readdir failed: " + IO, "d"),
        truncate=one(program, "truncate:error=EIO:path=f", "truncate", "truncate failed: " + IO),
        lock=one(program, "lock:error=EAGAIN:path=f", "fcntl", "fcntl failed: Resource temporarily unavailable"),
        close=one(program, "close:error=EIO:path=f", "close", "close failed: " + IO),
    )


def streams(name: str, program: str) -> Program:
    return row(
        name,
        needs=("gcc",),
        open=one(program, "open:error=EACCES:path=f", "open", "fopen failed: " + DENIED),
        read=one(program, "read:error=EIO:path=f", "read", "fgets failed: " + IO),
        write=one(program, "write:error=ENOSPC:path=f", "write", "fflush failed: " + SPACE),
        fsync=one(program, "fsync:error=EIO:path=f", "sync", "fsync failed: " + IO),
        rename=one(program, "rename:error=EACCES:to=g", "rename", "rename failed: " + DENIED, "f g"),
        unlink=one(program, "unlink:error=EACCES:path=f", "remove", "remove failed: " + DENIED),
        mkdir="streams make no directories",
        stat=one(program, "stat:error=EIO:path=f", "read", None, ignored="it asks for the size of a block, and takes 4096 without an answer"),
        readdir="streams list no directories",
        truncate=one(program, "truncate:error=EIO:path=f", "truncate", "truncate failed: " + IO),
        lock="streams do not lock files",
        close=one(program, "close:error=EIO:path=f", "close", "fclose failed: " + IO),
    )


CPP = row(
    "C++ iostreams, filesystem",
    needs=("g++",),
    open=one("streams", "open:error=EACCES:path=f", "read", "open failed"),
    read=one("streams", "read:error=EIO:path=f", "read", "read failed"),
    write=one("streams", "write:error=ENOSPC:path=f", "write", "write failed"),
    fsync="C++ has no sync",
    rename=one("streams", "rename:error=EACCES:to=g", "rename", DENIED, "f g"),
    unlink=one("streams", "unlink:error=EACCES:path=f", "unlink", DENIED),
    mkdir=one("streams", "mkdir:error=ENOSPC:path=e", "mkdir", SPACE, "e"),
    stat=one("streams", "stat:error=EIO:path=f", "stat", IO),
    readdir=one("streams", "readdir:error=EIO:path=d", "readdir", IO, "d"),
    truncate=one("streams", "truncate:error=EIO:path=f", "truncate", IO),
    lock="C++ has no file locks",
    close=one("streams", "close:error=EIO:path=f", "close", "close failed"),
)
RUST = row(
    "Rust std::fs",
    needs=("rustc",),
    open=one("rust", "open:error=EACCES:path=f", "read", DENIED),
    read=one("rust", "read:error=EIO:path=f", "read", IO),
    write=one("rust", "write:error=ENOSPC:path=f", "write", SPACE),
    fsync=one("rust", "fsync:error=EIO:path=f", "fsync", IO),
    rename=one("rust", "rename:error=EACCES:to=g", "rename", DENIED, "f g"),
    unlink=one("rust", "unlink:error=EACCES:path=f", "unlink", DENIED),
    mkdir=one("rust", "mkdir:error=ENOSPC:path=e", "mkdir", SPACE, "e"),
    stat=one("rust", "stat:error=EIO:path=f", "stat", IO),
    readdir=one("rust", "readdir:error=EIO:path=d", "readdir", IO, "d"),
    truncate=one("rust", "truncate:error=EIO:path=f", "truncate", IO),
    lock="std::fs of Debian 12's Rust has no locks",
    close=one("rust", "close:error=EIO:path=f", "write", None, ignored="dropping a File throws the result of close away"),
)

NATIVE = [
    calls("C", "calls"),
    calls("C, _FORTIFY_SOURCE=2", "calls_fortified_2"),
    calls("C, _FORTIFY_SOURCE=3", "calls_fortified_3"),
    streams("C stdio", "stdio"),
    streams("C stdio, _FORTIFY_SOURCE=2", "stdio_fortified_2"),
    calls("C, syscall()", "raw"),
    CPP,
    RUST,
]
