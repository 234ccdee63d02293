"""The journal of a session, from the controller: spilled from shared memory to a file, and read from there in order."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator

from faultlib._core import ffi, lib
from faultlib.inject import background
from faultlib.inject.events import RECORD, Decoder, Joiner, Raw, records
from faultlib.inject.session import Session

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
        self._file = tempfile.TemporaryFile(prefix="faultlib-trace-")  # noqa: SIM115 - closed by close()
        self._stop = ffi.new("uint64_t *")
        self._ended = threading.Event()
        self._error = 0
        self._at = 0
        self._joiner = Joiner(self.decoder)
        self._thread = background.start(self._spill, "faultlib-journal")

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _spill(self) -> None:
        self._error = lib.fl_spill(self._ctl, ffi.addressof(self._ctl.journal), self._file.fileno(), self._stop)
        self._ended.set()

    def batches(self) -> Iterator[list[Raw]]:
        """Yields raw records in the order in which the calls ended, in batches as they come, an empty one when there are none.

        Ends when `finish` was called and all were read.
        """
        while True:
            ended = self._ended.is_set()
            data = os.pread(self._file.fileno(), READ_RECORDS * RECORD.size, self._at)
            whole = len(data) - len(data) % RECORD.size
            self._at += whole
            if not whole and ended:
                yield self._joiner.rest()
                return
            yield list(self._joiner.joined(records(data[:whole])))
            if not whole:
                self._ended.wait(NAP_S)

    @property
    def progress(self) -> float:
        """How much of what was recorded has been read, from 0 to 1."""
        recorded = os.fstat(self._file.fileno()).st_size
        return self._at / recorded if recorded else 1.0

    def finish(self) -> None:
        """The targets have ended: takes what is left in the ring and stops."""
        lib.fl_store(self._stop, 1)
        self._thread.join()

    def complaints(self) -> list[str]:
        """What the trace does not tell, in sentences; empty if it is complete."""
        found, ctl = [], self._ctl
        if ctl.journal.lost:
            found.append(f"LOST {ctl.journal.lost} records: the trace is incomplete")
        if ctl.journal.cut:
            found.append(f"{ctl.journal.cut} calls are missing: their processes were killed while they wrote them down")
        if self._error:
            found.append(f"the temporary file in {tempfile.gettempdir()} could not be written: {os.strerror(-self._error)}")
        if ctl.paths_full:
            found.append(f"{ctl.paths_full} paths are missing: there was only room for {lib.FL_MAX_PATHS} distinct ones")
        if ctl.texts_full:
            found.append(f"{ctl.texts_full} stacks or names are missing: there was no room for more distinct ones")
        if ctl.stacks_missed:
            found.append(f"{ctl.stacks_missed} calls of Python programs have no source line")
        return found

    def close(self) -> None:
        """Stops, if it has not finished, and lets go of the file."""
        if not self._ended.is_set():
            self.finish()
        self._file.close()
