"""The faults of a run, as they happen."""

from __future__ import annotations

import threading
from typing import IO, TYPE_CHECKING

from faultlib.errors import SessionGone
from faultlib.inject import background
from faultlib.inject.visible import visible
from faultlib.report.streams import say
from faultlib.report.summary import place

if TYPE_CHECKING:
    from faultlib.report.summary import Source

POLL_S = 0.05


class Live:
    """Prints each fault while the target runs."""

    def __init__(self, session: Source, stream: IO[str], launch: int | None = None) -> None:
        """Of a shared session, only the faults of that launched command."""
        self._session = session
        self._tree = None if launch is None else str(launch)
        self._stream = stream
        self._printed = 0
        self._stop = threading.Event()
        self._thread = background.start(self._loop, "faultlib-live")

    def _loop(self) -> None:
        while not self._stop.wait(POLL_S):
            self._print()

    def _print(self) -> None:
        try:
            events = self._session.events()
        except SessionGone:  # said at the end
            return
        for event in events[self._printed :]:
            if self._tree not in (None, event.lineage.split(".")[0]):
                continue
            line = visible(f"[{event.time_ns / 1e9:10.6f}] {event.effect} {place(event)} = {event.outcome} (INJECTED)")
            say(f"{line}\n", self._stream)
        self._printed = len(events)

    def stop(self) -> None:
        """Prints what is left and ends."""
        self._stop.set()
        self._thread.join()
        self._print()
