"""A trace as text, one line per call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import IO

from faultlib.inject import stacks
from faultlib.inject.events import Actor, Decoder, Event, Raw
from faultlib.inject.stacks import Frame
from faultlib.inject.visible import visible
from faultlib.report import trace_call
from faultlib.report.trace_shapes import Fits, Shapes
from faultlib.report.trace_slots import DURATION, SECONDS, slotted


class TextTrace:
    """Writes lines like

        0.012345 1 python3[4242] write(3</x/tasks.json>, 812) = 812 <0.000021> coordination.py:212

    : session time, process (its place in the tree, name, pid; its thread where that is not the main one), call, result,
    duration in seconds, `(INJECTED: rule)` for a call that a rule acted on, and the source line.
    """

    def __init__(self, stream: IO[str], decoder: Decoder, rule_text: Callable[[int], str], fits: Fits) -> None:
        self._stream = stream
        self._rule_text = rule_text
        self._shapes = Shapes(decoder, self, fits)

    def add(self, raws: Iterable[Raw]) -> None:
        """Writes these calls."""
        self._stream.write(self._shapes.lines(raws))

    def who(self, actor: Actor, ended: bool) -> str:
        """The time, and the process."""
        thread = "" if actor.thread == "1" else f"/{actor.thread}"
        return slotted(f"{SECONDS} {actor.lineage} {actor.comm}[{actor.pid}]{thread} ", visible)

    def call(self, event: Event) -> str:
        """The call and its result."""
        call = f"{event.operation}({', '.join(trace_call.arguments(event))}) = {trace_call.result(event)}"
        duration = f" <{DURATION}>" if event.ended else ""
        injected = "" if event.rule is None else f" (INJECTED: {visible(self._rule_text(event.rule))})"
        return slotted(f"{call}{duration}{injected}", visible)

    def where(self, frames: tuple[Frame, ...]) -> str:
        """The program's own line."""
        frame = stacks.own_frame(frames)
        return slotted(f" {visible(stacks.short(frame))}") if frame else ""
