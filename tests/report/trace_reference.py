"""A trace put into words call by call, slowly and plainly: what the templates of the real one must come to."""

from __future__ import annotations

import errno
import json
from typing import Any

from faultlib.inject import stacks
from faultlib.inject.events import Event
from faultlib.inject.ops import ALL_OPERATIONS
from faultlib.inject.visible import visible
from faultlib.report import trace_call

CREATES = 0o100 | 0o20000000
ABSOLUTE = 1


def rule_text(slot: int) -> str:
    """What the tests' rules are called."""
    return f"rule {{{slot}}}"


def _failed(event: Event) -> bool:
    return event.ended and -4096 < event.result < 0 and ALL_OPERATIONS[event.op].result != "none"


def _descriptor(fd: int | None, path: str | None) -> str:
    return "-1" if fd is None else f"{fd}<{path}>" if path else str(fd)


def _subject(event: Event) -> list[str]:
    operation = ALL_OPERATIONS[event.op]
    if operation.has_fd:
        found = [_descriptor(event.fd, event.path)]
        if "source" in operation.arguments:
            found.insert(operation.name in ("sendfile", "ficlone"), _descriptor(event.extra, event.path2))
        return found
    has_first = "path" in operation.arguments or operation.name.startswith("symlink")
    return [trace_call.quoted(event.path)] * has_first + [trace_call.quoted(event.path2)] * ("path2" in operation.arguments)


def _arguments(event: Event) -> list[str]:
    operation = ALL_OPERATIONS[event.op]
    found = _subject(event)
    if operation.name in trace_call.EXTRA:
        found.append(trace_call.EXTRA[operation.name](event))
    if operation.name in ("nanosleep", "clock_nanosleep"):
        if event.flags & ABSOLUTE:
            found.append("TIMER_ABSTIME")
        found.append(f"{event.offset / 1e9:.9f}".rstrip("0").rstrip(".") + "s")
    if operation.name == "lseek":
        found.append(str(event.offset))
    if operation.has_flags:
        found.append("|".join(trace_call.flag_names(event.op, event.flags)) or "0")
    if operation.name in ("open", "openat") and event.flags & CREATES:
        found.append(f"0{event.extra & 0o7777:o}")
    if operation.has_size:
        found.append(str(event.size))
    if operation.family == "lock" and operation.name != "flock":
        found.append(f"start={event.offset}, length={event.size}")
    if operation.family != "lock" and "offset" in operation.arguments and operation.name != "lseek" and event.fd is not None:
        found.append(f"offset={event.offset}")
    return found


def _result(event: Event) -> str:
    kind = ALL_OPERATIONS[event.op].result
    if not event.ended:
        return "?"
    if kind == "object":
        return "object" if event.result > 0 else f"NULL {errno.errorcode.get(-event.result, -event.result)}" if event.result else "NULL"
    if -event.result in errno.errorcode:
        return f"-1 {errno.errorcode[-event.result]}"
    return hex(event.result & (1 << 64) - 1) if kind == "pointer" else str(event.result)


def text(event: Event) -> str:
    """The line of a call."""
    actor = event.actor
    words = f"{event.time_ns / 1e9:.6f} {actor.lineage} {actor.comm}[{actor.pid}]"
    words += "" if actor.thread == "1" else f"/{actor.thread}"
    words += f" {event.operation}({', '.join(_arguments(event))}) = {_result(event)}"
    words += f" <{event.duration_ns / 1e9:.6f}>" if event.ended else ""
    words += "" if event.rule is None else f" (INJECTED: {rule_text(event.rule)})"
    words += f" {stacks.short(event.where)}" if event.where else ""
    return visible(words) + "\n"


def _numbers(event: Event) -> dict[str, Any]:
    """Those that only some operations have."""
    operation, found = ALL_OPERATIONS[event.op], {}
    if operation.has_flags:
        found["flags"] = list(trace_call.flag_names(event.op, event.flags))
    if operation.has_size or operation.name in ("fcntl", "lockf"):
        found["size"] = event.size
    if "offset" in operation.arguments or operation.name == "fcntl":
        found["offset"] = event.offset
    if "source" in operation.arguments:
        found["fd2"] = event.extra
    if operation.name in ("nanosleep", "clock_nanosleep"):
        found["asked_ns"] = event.offset
    elif operation.name in ("sleep", "usleep"):
        found["asked_ns"] = event.extra * {"sleep": 10**9, "usleep": 1000}[operation.name]
    if operation.name in trace_call.EXTRA:
        found["argument"] = trace_call.EXTRA[operation.name](event)
    if operation.name in ("open", "openat") and event.flags & 0o20000100:  # O_CREAT, O_TMPFILE
        found["argument"] = f"0{event.extra & 0o7777:o}"
    return found


def jsonl(event: Event) -> str:
    """The same as JSON."""
    actor, failed = event.actor, _failed(event)
    plain = {
        "number": event.number, "time_ns": event.time_ns, "duration_ns": event.duration_ns if event.ended else None,
        "process": {"lineage": actor.lineage, "pid": actor.pid, "comm": actor.comm, "label": actor.label},
        "thread": {"path": actor.thread, "tid": actor.tid}, "operation": event.operation,
        "family": ALL_OPERATIONS[event.op].family, "path": event.path, "path2": event.path2, "fd": event.fd,
        **_numbers(event), "result": None if not event.ended else -1 if failed else event.result,
        "errno": errno.errorcode.get(-event.result, str(-event.result)) if failed else None,
        "injected": None if event.rule is None else {"rule": rule_text(event.rule), "effect": event.effect, "nth": event.nth},
        "where": event.where._asdict() if event.where else None, "stack": [frame._asdict() for frame in event.frames],
    }  # fmt: skip
    return json.dumps(plain, separators=(",", ":")) + "\n"


def sums(events: list[Event]) -> dict[tuple[str, str, str], tuple[int, int, int, int, int]]:
    """Calls, errors, injected, nanoseconds and bytes by operation, path and source line."""
    found: dict[tuple[str, str, str], tuple[int, int, int, int, int]] = {}
    for event in events:
        operation = ALL_OPERATIONS[event.op]
        moves = operation.family in ("read", "write") and operation.result == "count"
        key = (event.operation, event.route, stacks.short(event.where) if event.where else "")
        one = (1, int(_failed(event)), int(event.rule is not None), event.duration_ns, max(event.result, 0) if moves else 0)
        found[key] = tuple(map(sum, zip(found.get(key, (0,) * 5), one, strict=True)))  # type: ignore[assignment]
    return found
