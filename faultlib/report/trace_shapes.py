"""Lines of a trace. What calls have in common is put into words once; then only their numbers are filled in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from faultlib.inject.events import Actor, Decoder, Event, Raw, has_ended, take_apart
from faultlib.inject.stacks import Frame
from faultlib.report import trace_call
from faultlib.report.trace_slots import Format

MOST_SHAPES = 1 << 16
Fits = Callable[[Event], bool]
"""Whether a trace shows a call."""


class Words(Protocol):
    """How a form of a trace says things, each with slots for the numbers: who calls, what, and from where."""

    def who(self, actor: Actor, ended: bool) -> str:
        """The beginning of a line."""

    def call(self, event: Event) -> str:
        """What follows it; of the event only what is neither a number nor the other two's."""

    def where(self, frames: tuple[Frame, ...]) -> str:
        """The end."""


class Shapes:
    """Lines for raw records. All positive results make the same words, each other one its own."""

    def __init__(self, decoder: Decoder, words: Words, fits: Fits) -> None:
        self._decoder = decoder
        self._words = words
        self._fits = fits
        self._positive: dict[bytes, Format] = {}
        self._others: dict[tuple[bytes, int], Format] = {}
        self._who: dict[tuple[int, bool], str] = {}
        self._where: dict[int, str] = {}
        self._calls: dict[tuple[bytes, bytes, int], str] = {}

    def lines(self, raws: Iterable[Raw]) -> str:
        """Returns the lines of these calls."""
        positive, others, found = self._positive.get, self._others.get, []
        for raw in raws:
            sequence, time_ns, duration_ns, result, size, offset, nth, shape = raw
            line = positive(shape) if result > 0 else others((shape, result))
            if line is None:
                line = self._make(raw)
            found.append(line(sequence - 1, time_ns, duration_ns, size, offset, result, nth, time_ns / 1e9, duration_ns / 1e9))
        return "".join(found)

    def _make(self, raw: Raw) -> Format:
        if len(self._positive) + len(self._others) + len(self._calls) >= MOST_SHAPES:
            for known in (self._positive, self._others, self._calls, self._who, self._where):
                known.clear()
        names, _, _, rest = take_apart(raw[-1])
        key = names, rest, min(raw[3], 1)
        call = self._calls.get(key)
        if call is None:
            event = self._decoder.event(raw)
            call = self._words.call(event) if self._fits(event) else ""
            if trace_call.tells_a_time(event):
                return self._format(call, raw[-1])
            self._calls[key] = call
        line = self._format(call, raw[-1])
        if raw[3] > 0:
            self._positive[raw[-1]] = line
        else:
            self._others[raw[-1], raw[3]] = line
        return line

    def _format(self, call: str, shape: bytes) -> Format:
        """Puts the parts together; there is nothing to say of a call without words."""
        if not call:
            return "".format
        _, actor, stack, _ = take_apart(shape)
        ended = has_ended(shape)
        who, where = self._who.get((actor, ended)), self._where.get(stack)
        if who is None:
            who = self._who[actor, ended] = self._words.who(self._decoder.actor(actor), ended)
        if where is None:
            where = self._where[stack] = self._words.where(self._decoder.frames(stack))
        return f"{who}{call}{where}\n".format
