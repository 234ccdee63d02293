"""What a program calls once is recorded once, counted once and acted on once, whatever libc makes of it inside."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from faultlib._core import ffi, lib

from faultlib.inject.events import Event
from faultlib.inject.ops import ALL_OPERATIONS, OPERATIONS, Operation
from faultlib.inject.recording import Recording
from faultlib.inject.session import Session
from faultlib.inject.trace import Journal
from tests.targets.conftest import Compile, Under

MOST_RULES = 64
OF_NO_OPERATION = {"deadline", "syscall"}
SOURCES = ("copy_file_range", "sendfile", "splice", "ficlone")
"""Recorded as the writes that they are; counted as reads of their sources too."""
INSIDE = {
    "popen": ["close", "popen"],
    "mkstemp": ["open"], "mkostemp64": ["open"], "mkdtemp": ["mkdir"], "tmpfile": ["open"], "opendir": ["open", "fstat"],
    "fdopendir": ["fstat"], "closedir": ["close"], "fopen": ["open"], "fopen64": ["open"], "fclose": ["close"], "fdopen": [],
    "fgetc": ["fstat", "read"], "fflush": ["write"], "realpath": ["readlink", "readlink"],
    "aio_read": ["pread"], "aio_read64": ["pread"], "aio_write": ["pwrite"], "aio_write64": ["pwrite"],
    "aio_fsync": ["fsync"], "aio_fsync64": ["fsync"], "lio_listio": ["pwrite"], "lio_listio64": ["pwrite"],
}  # fmt: skip
"""What these functions of libc are made of."""
FORTIFIED = """
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    volatile int flags = O_RDWR;
    volatile size_t room = 8;
    char byte[8];
    for (int i = 0; i < 4; i++) {
        int fd = i & 1 ? openat(AT_FDCWD, "f", flags) : open("f", flags);
        printf("%d\\n", fd < 0 ? -1 : read(fd, byte, room) < 0 ? -2 : pread(fd, byte, room, 0) < 0 ? -3 : 0);
    }
}
"""


def symbols() -> dict[str, str]:
    """The symbols of the shim and the operation of each."""
    found: dict[str, str] = {}
    number = ffi.new("int *")
    while (symbol := lib.fl_symbol(len(found), number)) != ffi.NULL:
        found[ffi.string(symbol).decode()] = ALL_OPERATIONS[number[0]].name
    return {symbol: operation for symbol, operation in found.items() if operation not in OF_NO_OPERATION}


def by_symbol(events: list[Event]) -> dict[str, list[str]]:
    """What was called between each symbol's mark and the end, by the process that made the mark."""
    found: dict[str, list[str]] = {}
    open_: dict[str, list[str] | None] = {}
    for event in events:
        name = Path(event.path or "").name
        if event.operation == "access" and name.startswith("mark:"):
            symbol = name.removeprefix("mark:")
            open_[event.lineage] = found.setdefault(symbol, []) if symbol else None
        elif (calls := open_.get(event.lineage)) is not None:
            calls.append(event.operation)
    return found


def never(operation: Operation) -> str:
    """A rule that counts every call of an operation and acts on none."""
    return f"{operation.family}:call={operation.name}:{'fdkind=any:' if operation.has_fd else ''}delay=1ms:when=1000000000"


def run(folder: Path, command: list[str], operations: tuple[Operation, ...], *, record: bool) -> tuple[list[Event], Counter[str]]:
    """Returns what was recorded, and what rules for these operations counted."""
    folder.mkdir()
    rules = [never(operation) for operation in operations]
    with Session(rules, cwd=folder, recording=Recording() if record else None, stacks=False) as session:
        done = session.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and not done.stdout, done
        counted = Counter({op.title: row.count.matched for op, row in zip(operations, session.report(), strict=True)})
        if not record:
            return [], counted
        with Journal(session) as journal:
            journal.finish()
            return [journal.decoder.event(raw) for batch in journal.batches() for raw in batch], counted


def test_every_symbol_is_recorded_once(compiled: Compile, tmp_path: Path) -> None:
    events, _ = run(tmp_path / "w", [compiled("once")], (), record=True)
    expected = {symbol: [operation] for symbol, operation in symbols().items()} | INSIDE
    del expected["__libc_start_main"]  # once it was, before all others
    assert by_symbol(events) == expected


@pytest.mark.parametrize("half", [0, 1])
def test_every_symbol_is_counted_once(half: int, compiled: Compile, tmp_path: Path) -> None:
    """By rules with and without the journal beside them, whose ways through the shim differ."""
    operations = OPERATIONS[half::2]
    assert len(operations) <= MOST_RULES
    events, counted = run(tmp_path / "recorded", [compiled("once")], operations, record=True)
    recorded = Counter(op.title for event in events if (op := ALL_OPERATIONS[event.op]) in OPERATIONS)
    recorded += Counter({f"{name} (source)": sum(event.operation == name for event in events) for name in SOURCES})
    assert counted == Counter({op.title: recorded[op.title] for op in operations})
    assert len(+counted) > 40
    assert run(tmp_path / "counted", [compiled("once")], operations, record=False)[1] == counted


@pytest.mark.parametrize("level", [0, 2, 3])
def test_a_rule_acts_on_the_call_that_it_names(level: int, under: Under, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x" * 100)
    program = tmp_path / "program"
    build = ["gcc", "-O2", "-U_FORTIFY_SOURCE", f"-D_FORTIFY_SOURCE={level}", "-Wall", "-Werror", "-x", "c", "-", "-o", program]
    subprocess.run(build, input=FORTIFIED, text=True, check=True)
    done = under(
        ["open:error=EACCES:path=f:when=2", "read:call=read:error=EIO:path=f:when=2", "read:call=pread:error=EIO:path=f:when=2"],
        str(program),
    )
    assert done.out == "0\n-1\n-2\n-3\n"
    assert done.counts == [(4, 1), (3, 1), (2, 1)]


@pytest.mark.parametrize("rule", ["open,read,stat:delay=1ms:path=other", "open,read,stat:delay=1ms"])
@pytest.mark.parametrize(
    ("symbol", "arguments", "said"),
    [
        ("__open_2", '"f", O_RDWR|O_CREAT', "invalid open call"), ("__open64_2", '"f", __O_TMPFILE|O_RDWR', "invalid open64 call"),
        ("__openat_2", 'AT_FDCWD, "f", O_CREAT', "invalid openat call"), ("__openat64_2", 'AT_FDCWD, "f", O_CREAT', "invalid openat64 call"),
        ("__read_chk", "0, b, 9L, 8L", "buffer overflow detected"), ("__pread_chk", "0, b, 9L, 0L, 8L", "buffer overflow detected"),
        ("__pread64_chk", "0, b, 9L, 0L, 8L", "buffer overflow detected"), ("__readlink_chk", '"f", b, 9L, 8L', "buffer overflow detected"),
        ("__readlinkat_chk", 'AT_FDCWD, "f", b, 9L, 8L', "buffer overflow detected"),
    ],
)  # fmt: skip
def test_what_fortified_functions_check_is_checked(
    rule: str, symbol: str, arguments: str, said: str, under: Under, tmp_path: Path
) -> None:
    program = tmp_path / "program"
    code = f"#define _GNU_SOURCE\n#include <fcntl.h>\nlong {symbol}();\nint main(void) {{ char b[8]; {symbol}({arguments}); return *b; }}"
    subprocess.run(["gcc", "-x", "c", "-", "-o", program], input=code, text=True, check=True)
    done = under(rule, str(program))
    assert (done.status, done.counts) == (-signal.SIGABRT, [(0, 0)])
    assert said in done.err and not (tmp_path / "f").exists()
