"""What a report says beside its table: what was not covered, what never fired, who is still running."""

from __future__ import annotations

from faultlib.inject import liveness

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from faultlib.inject.control import ProcessView
    from faultlib.inject.snapshot import Snapshot

NAMED = 5
"""So many processes of one kind are named, of more how many there are."""


def remarks(snapshot: Snapshot, silent: Sequence[str], launch: int | None) -> list[str]:
    """Returns the sentences; `silent` are the rules that never fired. With `launch`, processes are those of that command."""
    found = []
    processes = [process for process in snapshot.processes if launch in (None, process.launch)]
    if not snapshot.attached:
        found.append("the shim never woke up in the target: nothing could be injected")
    found += _uncovered([process for process in processes if process.state == "exec-pending"])
    if snapshot.forgotten:
        found.append(f"not covered: {snapshot.forgotten} more processes went on to programs in which the shim did not wake up")
    if any(process.io_uring for process in processes):
        found.append("not covered: a process uses io_uring, whose operations no rule sees")
    if any(process.native_aio for process in processes):
        found.append("not covered: a process uses native AIO (io_submit), whose operations no rule sees")
    blind = [process.lineage for process in processes if process.no_stacks]
    if blind:
        found.append(f"no source lines: the Python of process {', '.join(blind[:3])} has no faulthandler that could be asked")
    if snapshot.refused:
        found.append(f"not covered: {snapshot.refused} processes found no free slot")
    if snapshot.uncounted:
        found.append(f"{snapshot.uncounted} matching calls could not be counted: the tables are full")
    if snapshot.deep:
        compared = "path= was compared with /.../ and the end"
        found.append(f"{snapshot.deep} times a file's name was too long to be known whole: {compared}")
    if snapshot.unnamed:
        found.append(f"{snapshot.unnamed} times a name found no room in the table: path= does not match descriptors of that file")
    if snapshot.nameless:
        found.append(f"{snapshot.nameless} times /proc did not say which file a descriptor is of: path= does not match it")
    found += _left_behind(snapshot, launch)
    if silent:
        found.append("never fired: " + ", ".join(silent))
    return found


def _uncovered(pending: Sequence[ProcessView]) -> list[str]:
    """What processes went on to that the shim is not in, once for each program and reason."""
    if not pending:
        return []
    from faultlib.inject import uncovered  # seldom needed

    groups: dict[tuple[str, str], list[ProcessView]] = {}
    for process in pending:
        groups.setdefault((process.exe, uncovered.why(process)), []).append(process)
    return [f"not covered: {_who(members)} went on to {exe}: {why}" for (exe, why), members in groups.items()]


def _who(members: Sequence[ProcessView]) -> str:
    if len(members) == 1:
        return f"process {members[0].lineage}" + (f" (pid {members[0].pid})" if members[0].pid else "")
    rest = " ..." if len(members) > NAMED else ""
    return f"{len(members)} processes ({', '.join(process.lineage for process in members[:NAMED])}{rest})"


def _left_behind(snapshot: Snapshot, launch: int | None) -> list[str]:
    """The processes that outlive the command, and what becomes of them."""
    left = [process for process in liveness.running(snapshot.processes, launch) if process.state == "live"]
    if not left:
        return []
    names = ", ".join(f"{process.lineage} {process.comm} (pid {process.pid})" for process in left[:NAMED])
    names += f", and {len(left) - NAMED} more" if len(left) > NAMED else ""
    who = f"{len(left)} process{'es are' if len(left) > 1 else ' is'} still running"
    if len(snapshot.members) > 1:
        return [f"{who}, under the rules until session {snapshot.name} ends: {names}"]
    return [f"{who}, disarmed from now on (--wait stays for them): {names}"]
