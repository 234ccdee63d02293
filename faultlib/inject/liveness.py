"""Whether a process of the session still runs. Its slot does not say: most processes end without passing by the shim."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from faultlib.inject.control import ProcessView

TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")
SLACK_NS = 5 * TICK_NS
"""The kernel notes a process' beginning in whole ticks."""


def boot_ns() -> int:
    """The kernel's own time, by which it says when a process began."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def runs(pid: int, since_ns: int) -> bool:
    """Whether the process that had this number at `since_ns` (see `boot_ns`) still runs: a zombie does not.

    True for number 0, which stands for a process whose number is not known here.
    """
    if pid <= 0:
        return True
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:  # gone, hidden (hidepid=), or no descriptor to be had
        return _exists(pid)
    state, threads, began_ns = fields[0], int(fields[17]), int(fields[19]) * TICK_NS
    if state in (b"Z", b"X") and threads <= 1:  # with more, it is the first thread alone that has ended
        return False
    return began_ns <= since_ns + SLACK_NS  # else the number has been given to another one


def running(processes: Iterable[ProcessView], launch: int | None = None) -> list[ProcessView]:
    """Returns those that still run and can be named by a number here; with `launch`, those of that launched command."""
    return [process for process in processes if process.alive and process.pid and launch in (None, process.launch)]


def one_is_coming(processes: Sequence[ProcessView]) -> bool:
    """Whether a process that was forked has not got as far as its slot: whoever forked it may have ended already."""
    known = {process.lineage for process in processes}
    return any(process.children and f"{process.lineage}.{process.children}" not in known for process in processes)


def _exists(pid: int) -> bool:
    """What can be said without /proc: a zombie exists."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    return True
