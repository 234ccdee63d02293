"""What a session writes down beside the firings."""

from __future__ import annotations

from faultlib.inject.frozen import Frozen
from faultlib.inject.ops import ALL_OPERATIONS, Operation


class Recording(Frozen):
    """What the journal of a session takes down: every call of `operations`.

    `capacity` is the size of the ring in records (96 bytes each), `text_bytes` the room for distinct stacks. With `wait` a
    program whose records are not read quickly enough waits for the reader, so that none is lost.
    """

    operations: tuple[Operation, ...] = ALL_OPERATIONS
    capacity: int = 1 << 16
    times: bool = True
    wait: bool = True
    text_bytes: int = 32 << 20
    datalog_bytes: int = 0
