"""The journal of a session, from the controller: spilled from shared memory to a file, and read from there in order."""

from __future__ import annotations

import os
from collections.abc import Iterator

from faultlib._core import ffi, lib
from faultlib.inject.events import RECORD, Decoder, Joiner, Raw, records
from faultlib.inject.session import Session
from faultlib.inject.spill import Spill

READ_RECORDS = 16384
NAP_S = 0.02


class Journal:
    """Follows the journal of one session, which must have been made with a `recording`.

        with Session(recording=Recording()) as session, Journal(session) as journal:
            session.run(command)
            journal.finish()
            events = [journal.decoder.event(record) for batch in journal.batches() for record in batch]

    A thread in C moves the records to an unlinked temporary file (in $TMPDIR) as they come; memory stays bounded.
    """

    def __init__(self, session: Session) -> None:
        self._ctl = session.block.ctl
        self.decoder = Decoder(session.block)
        self._at = 0
        self._joiner = Joiner(self.decoder)
        self._spill = Spill("trace", lambda fd, stop: lib.fl_spill(self._ctl, ffi.addressof(self._ctl.journal), fd, stop))

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def batches(self) -> Iterator[list[Raw]]:
        """Yields raw records in the order in which the calls ended, in batches as they come, an empty one when there are none.

        Ends when `finish` was called and all were read.
        """
        while True:
            ended = self._spill.has_ended
            data = os.pread(self._spill.fileno(), READ_RECORDS * RECORD.size, self._at)
            whole = len(data) - len(data) % RECORD.size
            self._at += whole
            if not whole and ended:
                yield self._joiner.rest()
                return
            yield list(self._joiner.joined(records(data[:whole])))
            if not whole:
                self._spill.wait(NAP_S)

    @property
    def progress(self) -> float:
        """How much of what was recorded has been read, from 0 to 1."""
        recorded = self._spill.size
        return self._at / recorded if recorded else 1.0

    def finish(self) -> None:
        """The targets have ended: takes what is left in the ring and stops."""
        self._spill.finish()

    def complaints(self) -> list[str]:
        """What the trace does not tell, in sentences; empty if it is complete."""
        found, ctl = [], self._ctl
        if ctl.journal.lost:
            found.append(f"LOST {ctl.journal.lost} records: the trace is incomplete")
        if ctl.journal.cut:
            found.append(f"{ctl.journal.cut} calls are missing: their processes were killed while they wrote them down")
        found += self._spill.complaints()
        if ctl.paths_full:
            found.append(f"{ctl.paths_full} paths are missing: there was only room for {lib.FL_MAX_PATHS} distinct ones")
        if ctl.texts_full:
            found.append(f"{ctl.texts_full} stacks or names are missing: there was no room for more distinct ones")
        if ctl.stacks_missed:
            found.append(f"{ctl.stacks_missed} calls of Python programs have no source line")
        return found

    def close(self) -> None:
        """Stops, if it has not finished, and lets go of the file."""
        self._spill.close()
