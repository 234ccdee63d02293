"""A trace as text, one line per call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import IO

from faultlib.inject import stacks
from faultlib.inject.events import Event
from faultlib.inject.visible import visible
from faultlib.report import trace_call


class TextTrace:
    """Writes lines like

        0.012345 1 python3[4242] write(3</x/tasks.json>, 812) = 812 <0.000021> coordination.py:212

    : session time, process (its place in the tree, name, pid; its thread where that is not the main one), call, result,
    duration in seconds, `(INJECTED: rule)` for a call that a rule acted on, and the source line.
    """

    def __init__(self, stream: IO[str], rule_text: Callable[[int], str]) -> None:
        self._stream = stream
        self._rule_text = rule_text

    def write(self, events: Iterable[Event]) -> None:
        """Writes these calls."""
        self._stream.write("".join(self._line(event) for event in events))

    def _line(self, event: Event) -> str:
        actor = event.actor
        who = f"{actor.lineage} {actor.comm}[{actor.pid}]" + ("" if actor.thread == "1" else f"/{actor.thread}")
        call = f"{event.operation}({', '.join(trace_call.arguments(event))}) = {trace_call.result(event)}"
        duration = f" <{event.duration_ns / 1e9:.6f}>" if event.ended else ""
        injected = "" if event.rule is None else f" (INJECTED: {self._rule_text(event.rule)})"
        where = f" {stacks.short(event.where)}" if event.where else ""
        return visible(f"{event.time_ns / 1e9:.6f} {who} {call}{duration}{injected}{where}") + "\n"

    def finish(self) -> None:
        """Nothing is left to write."""
