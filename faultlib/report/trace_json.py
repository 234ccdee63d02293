"""A trace as JSON lines, one object per call. Times are in nanoseconds of session time."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterable
from typing import IO, Any

from faultlib.inject import stacks
from faultlib.inject.events import Actor, Decoder, Event, Raw
from faultlib.inject.ops import ALL_OPERATIONS
from faultlib.inject.stacks import Frame
from faultlib.report import trace_call
from faultlib.report.trace_shapes import Fits, Shapes
from faultlib.report.trace_slots import DURATION_NS, NTH, NUMBER, OFFSET, RESULT, SIZE, TIME_NS, slotted_json


class JsonTrace:
    """Writes one object per line; docs/trace.md names its fields."""

    def __init__(self, stream: IO[str], decoder: Decoder, rule_text: Callable[[int], str], fits: Fits) -> None:
        self._stream = stream
        self._rule_text = rule_text
        self._encode = json.JSONEncoder(separators=(",", ":")).encode
        self._frames: dict[Frame, str] = {}
        self._shapes = Shapes(decoder, self, fits)

    def add(self, raws: Iterable[Raw]) -> None:
        """Writes these calls."""
        self._stream.write(self._shapes.lines(raws))

    def _members(self, plain: dict[str, Any]) -> str:
        return slotted_json(self._encode(plain)[1:-1])

    def who(self, actor: Actor, ended: bool) -> str:
        """The number and the times, and the process."""
        plain = {
            "number": NUMBER, "time_ns": TIME_NS, "duration_ns": DURATION_NS if ended else None,
            "process": {"lineage": actor.lineage, "pid": actor.pid, "comm": actor.comm, "label": actor.label},
            "thread": {"path": actor.thread, "tid": actor.tid},
        }  # fmt: skip
        return f"{{{{{self._members(plain)},"

    def call(self, event: Event) -> str:
        """The call and its result."""
        operation = ALL_OPERATIONS[event.op]
        plain: dict[str, Any] = {
            "operation": operation.name, "family": operation.family, "path": event.path, "path2": event.path2, "fd": event.fd
        }  # fmt: skip
        if operation.has_flags:
            plain["flags"] = list(trace_call.flag_names(event.op, event.flags))
        if operation.has_size or operation.name in ("fcntl", "lockf"):
            plain["size"] = SIZE
        if "offset" in operation.arguments or operation.name == "fcntl":
            plain["offset"] = OFFSET
        if "source" in operation.arguments:
            plain["fd2"] = event.extra
        if (asked_ns := trace_call.asked_ns(event)) is not None:
            plain["asked_ns"] = asked_ns
        if (argument := trace_call.argument(event)) is not None:
            plain["argument"] = argument
        failed = event.ended and trace_call.is_error(event.op, event.result)
        plain["result"] = None if not event.ended else -1 if failed else RESULT
        plain["errno"] = errno.errorcode.get(-event.result, str(-event.result)) if failed else None
        plain["injected"] = (
            None if event.rule is None else {"rule": self._rule_text(event.rule), "effect": event.effect, "nth": NTH}
        )
        return self._members(plain)

    def where(self, frames: tuple[Frame, ...]) -> str:
        """The stack."""
        own = stacks.own_frame(frames)
        stack = ",".join(map(self._frame, frames))
        return f',"where":{self._frame(own) if own else "null"},"stack":[{stack}]}}}}'

    def _frame(self, frame: Frame) -> str:
        found = self._frames.get(frame)
        if found is None:
            found = self._frames[frame] = slotted_json(self._encode(frame._asdict()))
        return found
