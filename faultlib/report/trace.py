"""A trace on its way out: which calls are wanted, in which form, written while the target runs."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from faultlib._core import lib
from faultlib.errors import UsageError
from faultlib.inject import background, grammar, ops, values
from faultlib.inject.directory import WorkingDirectory
from faultlib.inject.events import Event
from faultlib.inject.frozen import Frozen
from faultlib.inject.ops import Operation
from faultlib.inject.session import Session
from faultlib.inject.trace import Journal
from faultlib.report import trace_count
from faultlib.report.streams import mute, say
from faultlib.report.trace_json import JsonTrace
from faultlib.report.trace_text import TextTrace

PATIENCE_S, PROGRESS_S = 2.0, 0.2
LOW_PRIORITY = 10


class Choice(Frozen):
    """Which calls a trace shows: those of `operations` whose path fits one of `globs` (without globs, any), none of `never`."""

    operations: tuple[Operation, ...]
    globs: tuple[bytes, ...] = ()
    never: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, names: Sequence[str], paths: Sequence[str]) -> Choice:
        """Reads `--op` and `--path`. Raises UsageError for a name that is none, RuleError for a path that cannot be."""
        wanted: set[Operation] = set()
        unwanted: set[Operation] = set()
        for name in ",".join(names).split(",") if names else ():
            (unwanted if name.startswith("!") else wanted).update(_operations(name.removeprefix("!").strip()))
        chosen = wanted or set(ops.ALL_OPERATIONS)
        here = WorkingDirectory.current()
        globs: dict[bool, list[bytes]] = {False: [], True: []}
        for path in paths:
            found = grammar.path_globs(path)
            globs[found.negate] += [os.fsencode(name) for pattern in found.patterns for name in here.below(pattern)]
        members = tuple(op for op in ops.ALL_OPERATIONS if op in chosen and op not in unwanted)
        return cls(members, tuple(globs[False]), tuple(globs[True]))

    def fits(self, event: Event) -> bool:
        """Whether the trace shows this call; one without a path only if no path is asked for."""
        if not (self.globs or self.never):
            return True
        names = [os.fsencode(path) for path in (event.path, event.path2) if path]
        wanted = not self.globs or any(lib.fl_glob(pattern, name) for pattern in self.globs for name in names)
        return bool(names) and wanted and not any(lib.fl_glob(pattern, name) for pattern in self.never for name in names)


def _operations(name: str) -> tuple[Operation, ...]:
    found = ops.named(name) or tuple(op for op in ops.ALL_OPERATIONS if op.name == name)
    if not found:
        near = values.nearest(name, ops.all_names())
        raise UsageError(f"--op: {name!r} is no operation" + (f"; did you mean {near}?" if near else ""))
    return found


@contextlib.contextmanager
def opened(output: str | None) -> Iterator[IO[str]]:
    """Opens where the trace goes: stderr, stdout for `-`, or a file. Raises UsageError if it cannot be written."""
    if output is None or output == "-":
        yield sys.stdout if output else sys.stderr
        return
    try:
        stream = Path(output).open("w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
    except OSError as error:
        raise UsageError(f"cannot write to {output}: {error.strerror}") from error
    with stream:
        yield stream


class Summary(Frozen):
    """What a summary shows: the `top` rows (None: a screenful, in JSON all of them; 0: all), by `by`, "time" or "calls"."""

    top: int | None = None
    by: str = "time"


class Writer:
    """Writes a journal out until it has ended: each call, or their `summary`.

    While the targets run a thread does so that leaves them the processor where there is only one; `finish` does the rest.
    """

    def __init__(
        self, session: Session, journal: Journal, choice: Choice, stream: IO[str], *, summary: Summary | None, form: str
    ) -> None:
        self._journal = journal
        self._stream = stream
        self._form = form
        self._summary = summary
        self._counting = trace_count.Counting(journal.decoder, choice.fits) if summary else None
        self._trace = self._counting or self._lines(session, choice)
        self._failure: OSError | None = None
        self._steps = self._write()
        self._handed_over = False
        self._thread = background.start(self._follow, "faultlib-trace")

    def _lines(self, session: Session, choice: Choice) -> JsonTrace | TextTrace:
        rules: dict[int, str] = {}

        def text(slot: int) -> str:
            if slot not in rules:  # it may have been added meanwhile
                rules.update((row.slot, str(row.rule.text)) for row in session.report())
            return rules.get(slot, f"rule {slot}")

        trace = JsonTrace if self._form == "jsonl" else TextTrace
        return trace(self._stream, self._journal.decoder, text, choice.fits)

    def _write(self) -> Iterator[None]:
        """Writes a batch at each step."""
        try:
            for batch in self._journal.batches():
                if batch:
                    self._trace.add(batch)
                else:
                    self._stream.flush()
                yield
        except OSError as error:
            self._failure = error

    def _follow(self) -> None:
        with contextlib.suppress(OSError):  # a sandbox forbids it: so be it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOW_PRIORITY)  # of this thread alone
        for _ in self._steps:
            if self._handed_over:
                return

    def _hand_over(self) -> None:
        self._journal.finish()
        self._handed_over = True
        self._thread.join()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._hand_over()

    def _write_the_rest(self) -> None:
        """A person who sees nothing of it for long is told how far it has come."""
        shown, due = False, time.monotonic() + PATIENCE_S
        for _ in self._steps:
            if time.monotonic() >= due and sys.stderr.isatty() and not self._stream.isatty():
                shown, due = True, time.monotonic() + PROGRESS_S
                say(f"\rfaultlib: writing the trace: {self._journal.progress:.0%} ", sys.stderr)
        if shown:
            say("\r\x1b[K", sys.stderr)

    def finish(self) -> OSError | None:
        """The targets have ended: writes what is left.

        Returns why the output could not be written; that nobody reads a pipe is no failure.
        """
        self._hand_over()
        try:
            self._write_the_rest()
            if self._counting and self._summary and not self._failure:
                render = trace_count.render_jsonl if self._form == "jsonl" else trace_count.render
                render(self._counting.rows(self._summary.by), self._stream, self._summary.top)
            self._stream.flush()
        except OSError as error:
            self._failure = self._failure or error
        if self._failure:
            mute(self._stream)
        return None if isinstance(self._failure, BrokenPipeError) else self._failure
