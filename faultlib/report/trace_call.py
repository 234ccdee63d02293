"""One traced call in words: its arguments by name, its result, as a C programmer would write them."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import lru_cache

from faultlib.inject import flags as flag_tables
from faultlib.inject.events import Event
from faultlib.inject.ops import ALL_OPERATIONS, Operation
from faultlib.report.trace_slots import ADDRESS, OFFSET, RESULT, SIZE

_CLOCKS = ("REALTIME", "MONOTONIC", "PROCESS_CPUTIME_ID", "THREAD_CPUTIME_ID", "MONOTONIC_RAW", "REALTIME_COARSE",
           "MONOTONIC_COARSE", "BOOTTIME", "REALTIME_ALARM", "BOOTTIME_ALARM", "SGI_CYCLE", "TAI")  # fmt: skip
_O_LARGEFILE = 0o100000
_CREATES = 0o100 | 0o20000000


@lru_cache(maxsize=1024)
def flag_names(op: int, value: int) -> tuple[str, ...]:
    """Returns the names of an operation's flags; what has no name comes last, as a number."""
    operation = ALL_OPERATIONS[op]
    words = flag_tables.vocabulary(operation)
    if operation.name in ("open", "openat"):
        value &= ~_O_LARGEFILE
    found, left = [], value
    for name, (mask, wanted) in sorted(words.items(), key=lambda word: -word[1][0]):
        is_field = mask != wanted
        if (is_field and value & mask == wanted) or (not is_field and left & wanted == wanted):
            found.append((wanted, name))
            left &= ~mask
    names = [name for _, name in sorted(found)]
    return tuple([*names, hex(left)] if left or (not names and operation.has_flags and value) else names)


def _flags(event: Event) -> str:
    return "|".join(flag_names(event.op, event.flags)) or "0"


def _protection(event: Event) -> str:
    names = [name for bit, name in ((1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC")) if event.extra & bit]
    return "|".join(names) or "PROT_NONE"


def _access(event: Event) -> str:
    return "|".join(name for bit, name in ((4, "R_OK"), (2, "W_OK"), (1, "X_OK")) if event.extra & bit) or "F_OK"


def _clock(event: Event) -> str:
    return f"CLOCK_{_CLOCKS[event.extra]}" if 0 <= event.extra < len(_CLOCKS) else str(event.extra)


def _octal(event: Event) -> str:
    return f"0{event.extra & 0o7777:o}"


def _number(event: Event) -> str:
    return str(event.extra)


EXTRA: dict[str, Callable[[Event], str]] = {
    "creat": _octal, "mkdir": _octal, "mkdirat": _octal, "chmod": _octal, "fchmod": _octal, "fchmodat": _octal,
    "access": _access, "faccessat": _access, "mmap": _protection, "clock_gettime": _clock, "clock_nanosleep": _clock,
    "sleep": _number, "usleep": _number, "exit": _number, "_exit": _number,
}  # fmt: skip


TARGET_FIRST = ("sendfile", "ficlone")
"""Copies whose target is their first argument."""
_NS = {"nanosleep": 1, "clock_nanosleep": 1, "usleep": 1_000, "sleep": 1_000_000_000}
_TIMER_ABSTIME = 1
LEAST_ERROR = -4095


def tells_a_time(event: Event) -> bool:
    """Whether the offset is one of the words: it is a time to be shown in its own way."""
    return _NS.get(event.operation) == 1


def asked_ns(event: Event) -> int | None:
    """How long a sleep was to be, or until when; None for what is no sleep."""
    unit = _NS.get(event.operation)
    return unit and (event.offset if unit == 1 else event.extra * unit)


def _time(event: Event) -> list[str]:
    seconds = f"{event.offset / 1e9:.9f}".rstrip("0").rstrip(".") + "s"
    return ["TIMER_ABSTIME", seconds] if event.flags & _TIMER_ABSTIME else [seconds]


def quoted(path: str | None) -> str:
    """A path as a C string; what cannot be printed is escaped with the rest of its line."""
    return "?" if path is None else '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _descriptor(fd: int | None, path: str | None) -> str:
    return "-1" if fd is None else f"{fd}<{path}>" if path else str(fd)


def _subject(operation: Operation, event: Event) -> list[str]:
    if operation.has_fd:
        found = [_descriptor(event.fd, event.path)]
        if "source" in operation.arguments:
            found.insert(operation.name in TARGET_FIRST, _descriptor(event.extra, event.path2))
        return found
    paths = []
    if "path" in operation.arguments or operation.name in ("symlink", "symlinkat"):
        paths.append(quoted(event.path))
    if "path2" in operation.arguments:
        paths.append(quoted(event.path2))
    return paths


def argument(event: Event) -> str | None:
    """Returns the one more argument that some have, decoded: a mode, a protection, a clock, an exit status; None: it has none."""
    if event.operation in ("open", "openat"):
        return _octal(event) if event.flags & _CREATES else None
    found = EXTRA.get(event.operation)
    return found(event) if found else None


def arguments(event: Event) -> list[str]:
    """Returns the arguments that are worth knowing, decoded; SIZE and OFFSET stand for those numbers."""
    operation = ALL_OPERATIONS[event.op]
    found = _subject(operation, event)
    if operation.name in EXTRA:
        found.append(EXTRA[operation.name](event))
    if tells_a_time(event):
        found += _time(event)
    if operation.name == "lseek":
        found.append(OFFSET)
    if operation.has_flags:
        found.append(_flags(event))
    if operation.name in ("open", "openat") and event.flags & _CREATES:
        found.append(_octal(event))
    if operation.has_size:
        found.append(SIZE)
    if operation.family == "lock":
        if operation.name != "flock":
            found.append(f"start={OFFSET}, length={SIZE}")
    elif "offset" in operation.arguments and operation.name != "lseek" and event.fd is not None:
        found.append(f"offset={OFFSET}")
    return found


def result(event: Event) -> str:
    """Returns the result: a number, an address, or the errno with its meaning; RESULT or ADDRESS if it is positive."""
    kind = ALL_OPERATIONS[event.op].result
    if not event.ended:
        return "?"
    if kind == "object":
        return "NULL" if not event.result else "object" if event.result > 0 else f"NULL {_name(event)}"
    if event.result < 0 and -event.result in errno.errorcode:
        return f"-1 {_name(event)}"
    if event.result > 0:
        return ADDRESS if kind == "pointer" else RESULT
    return hex(event.result & (1 << 64) - 1) if kind == "pointer" else str(event.result)


def _name(event: Event) -> str:
    return errno.errorcode.get(-event.result, str(-event.result))


def is_error(op: int, value: int) -> bool:
    """Whether a result of this operation says that it failed."""
    return can_fail(ALL_OPERATIONS[op]) and LEAST_ERROR <= value < 0


def can_fail(operation: Operation) -> bool:
    """Whether small negative results are errors."""
    return operation.result != "none"


def moves_bytes(operation: Operation) -> bool:
    """Whether a positive result says how many bytes were moved."""
    return operation.family in ("read", "write") and operation.result == "count"
