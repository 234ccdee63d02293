"""A trace as JSON lines, one object per call. Times are in nanoseconds of session time."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterable
from typing import IO, Any

from faultlib.inject.events import Event
from faultlib.inject.ops import ALL_OPERATIONS
from faultlib.report import trace_call


class JsonTrace:
    """Writes one object per line; docs/trace.md names its fields."""

    def __init__(self, stream: IO[str], rule_text: Callable[[int], str]) -> None:
        self._stream = stream
        self._rule_text = rule_text
        self._encode = json.JSONEncoder(separators=(",", ":")).encode

    def write(self, events: Iterable[Event]) -> None:
        """Writes these calls."""
        self._stream.write("".join(f"{self._encode(self._plain(event))}\n" for event in events))

    def _plain(self, event: Event) -> dict[str, Any]:
        operation = ALL_OPERATIONS[event.op]
        actor = event.actor
        plain: dict[str, Any] = {
            "number": event.number, "time_ns": event.time_ns, "duration_ns": event.duration_ns if event.ended else None,
            "process": {"lineage": actor.lineage, "pid": actor.pid, "comm": actor.comm, "label": actor.label},
            "thread": {"path": actor.thread, "tid": actor.tid}, "operation": operation.name, "family": operation.family,
            "path": event.path, "path2": event.path2, "fd": event.fd,
        }  # fmt: skip
        if operation.has_flags:
            plain["flags"] = list(trace_call.flag_names(event.op, event.flags))
        if operation.has_size or operation.name in ("fcntl", "lockf"):
            plain["size"] = event.size
        if "offset" in operation.arguments or operation.name == "fcntl":
            plain["offset"] = event.offset
        if "source" in operation.arguments:
            plain["fd2"] = event.extra
        if (asked_ns := trace_call.asked_ns(event)) is not None:
            plain["asked_ns"] = asked_ns
        if operation.name in trace_call.EXTRA:
            plain["argument"] = trace_call.EXTRA[operation.name](event)
        failed = event.ended and trace_call.is_error(event.op, event.result)
        plain["result"] = None if not event.ended else -1 if failed else event.result
        plain["errno"] = errno.errorcode.get(-event.result, str(-event.result)) if failed else None
        plain["injected"] = (
            None if event.rule is None else {"rule": self._rule_text(event.rule), "effect": event.effect, "nth": event.nth}
        )
        plain["where"] = event.where._asdict() if event.where else None
        plain["stack"] = [frame._asdict() for frame in event.frames]
        return plain

    def finish(self) -> None:
        """Nothing is left to write."""
