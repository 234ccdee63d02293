"""Slots: what stands for a number in a line of a trace, until the numbers of a call are filled in."""

from __future__ import annotations

import re
from collections.abc import Callable

NUMBER, TIME_NS, DURATION_NS, SIZE, OFFSET, RESULT, NTH = "\0n", "\0t", "\0d", "\0s", "\0o", "\0r", "\0k"
SECONDS, DURATION, ADDRESS = "\0T", "\0D", "\0x"
"""The times in seconds, and the result as an address."""
_FIELDS = {
    NUMBER: "{0}", TIME_NS: "{1}", DURATION_NS: "{2}", SIZE: "{3}", OFFSET: "{4}", RESULT: "{5}", NTH: "{6}",
    ADDRESS: "{5:#x}", SECONDS: "{7:.6f}", DURATION: "{8:.6f}",
}  # fmt: skip
_SLOT = re.compile("(\0[a-zA-Z])")
_SLOT_IN_JSON = re.compile(r'"\\u0000([a-zA-Z])"')

Format = Callable[[int, int, int, int, int, int, int, float, float], str]
"""Makes a line of a call's number, time_ns, duration_ns, size, offset, result, nth, and the two times in seconds."""


def slotted(words: str, escape: Callable[[str], str] = str) -> str:
    """Returns words as str.format wants them, its fields for their slots. What is between those, without a NUL, goes through
    `escape`."""
    parts = _SLOT.split(words)
    parts[::2] = [escape(part).replace("{", "{{").replace("}", "}}") for part in parts[::2]]
    parts[1::2] = [_FIELDS[slot] for slot in parts[1::2]]
    return "".join(parts)


def slotted_json(encoded: str) -> str:
    """The same for JSON in which slots are strings."""
    return slotted(_SLOT_IN_JSON.sub("\0\\1", encoded))
