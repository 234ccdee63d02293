"""A ring of shared memory on its way to a file, while its writers run."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from typing import Any

from faultlib._core import ffi, lib
from faultlib.inject import background


class Spill:
    """A thread in C that moves what comes into a ring to an unlinked temporary file; memory stays bounded.

    `move` gets the file's descriptor and the word that tells it to stop, and returns 0 or a negative errno.
    """

    def __init__(self, name: str, move: Callable[[int, Any], int], folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = folder or tempfile.gettempdir()
        self._file = tempfile.TemporaryFile(prefix=f"faultlib-{name}-", dir=folder)  # noqa: SIM115 - closed by close()
        self._stop = ffi.new("uint64_t *")
        self._ended = threading.Event()
        self._error = 0
        self._thread = background.start(lambda: self._run(move), f"faultlib-{name}")

    def _run(self, move: Callable[[int, Any], int]) -> None:
        self._error = move(self._file.fileno(), self._stop)
        self._ended.set()

    def fileno(self) -> int:
        """Returns the file's descriptor."""
        return self._file.fileno()

    @property
    def size(self) -> int:
        """Bytes that have come so far."""
        return os.fstat(self._file.fileno()).st_size

    @property
    def has_ended(self) -> bool:
        """Whether no more will come."""
        return self._ended.is_set()

    def wait(self, seconds: float) -> None:
        """Waits until no more will come, or so long."""
        self._ended.wait(seconds)

    def finish(self) -> None:
        """The writers have ended: takes what is left in the ring and stops."""
        lib.fl_store(self._stop, 1)
        self._thread.join()

    def close(self) -> None:
        """Stops, if it has not finished, and lets go of the file."""
        if not self.has_ended:
            self.finish()
        self._file.close()

    def complaints(self) -> list[str]:
        """What went wrong, in sentences."""
        return [f"the temporary file in {self.folder} could not be written: {os.strerror(-self._error)}"] if self._error else []
