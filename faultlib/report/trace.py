"""A trace on its way out: which calls are wanted, in which form, written while the target runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from faultlib.report.streams import mute
from faultlib.report.trace_json import JsonTrace
from faultlib.report.trace_text import TextTrace


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

    @property
    def is_by_path(self) -> bool:
        """Whether the path of a call has to be looked at."""
        return bool(self.globs or self.never)

    def fits(self, event: Event) -> bool:
        """Whether the trace shows this call; one without a path only if no path is asked for."""
        if not self.is_by_path:
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


@contextmanager
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
    """Writes a journal out in a thread of its own, until it has ended: each call, or their `summary`."""

    def __init__(
        self, session: Session, journal: Journal, choice: Choice, stream: IO[str], *, summary: Summary | None, form: str
    ) -> None:
        self._journal = journal
        self._choice = choice
        self._stream = stream
        self._form = form
        rules = {row.slot: str(row.rule.text) for row in session.report()}
        trace = JsonTrace if form == "jsonl" else TextTrace
        self._trace = trace(stream, lambda slot: rules.get(slot, f"rule {slot}"))
        self._summary = summary
        self._counting = trace_count.Counting(journal.decoder) if summary else None
        self._failure: OSError | None = None
        self._thread = background.start(self._follow, "faultlib-trace")

    def _follow(self) -> None:
        try:
            for batch in self._journal.batches():
                if self._counting:
                    self._counting.add(batch if not self._choice.is_by_path else filter(self._fits, batch))
                elif batch:
                    self._trace.write(filter(self._choice.fits, map(self._journal.decoder.event, batch)))
                else:
                    self._stream.flush()
        except OSError as error:
            self._failure = error

    def _fits(self, record: object) -> bool:
        return self._choice.fits(self._journal.decoder.event(record))

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.finish()
        self._thread.join()

    def finish(self) -> OSError | None:
        """The targets have ended: waits until everything is written.

        Returns why the output could not be; that nobody reads a pipe is no failure.
        """
        self._journal.finish()
        self._thread.join()
        try:
            if self._counting and self._summary and not self._failure:
                render = trace_count.render_jsonl if self._form == "jsonl" else trace_count.render
                render(self._counting.rows(self._summary.by), self._stream, self._summary.top)
            self._stream.flush()
        except OSError as error:
            self._failure = self._failure or error
        if self._failure:
            mute(self._stream)
        return None if isinstance(self._failure, BrokenPipeError) else self._failure
