"""An fsync that fails: the kernel says so once, counts the pages as clean, and the next fsync succeeds without them.

The command is run again for each, and that run is explored. fsync(2); Rebello et al., "Can Applications Recover from fsync
Failures?" (ATC 2020).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from faultlib.explore.crash import recording
from faultlib.explore.crash.campaign import Spec, explore
from faultlib.explore.crash.changes import Sync
from faultlib.explore.crash.explorer import Budget, Counts
from faultlib.explore.crash.further import Further
from faultlib.inject.lexer import quote

MOST_SYNCS, MOST_STATES = 20, 300
"""So many fsyncs are made to fail, each of another source line, and so many states of each run are judged."""


def failed_syncs(spec: Spec, tell: Callable[[Counts], None]) -> Iterator[Further]:
    """Yields a campaign for the first fsync of each source line of a campaign's recording, in which it fails with EIO."""
    recorded = recording.load(spec.folder)
    seen, calls = set[str](), Counter[tuple[str, str]]()
    for change in recorded.model.changes:
        op = recorded.ops[change.entry]
        if not isinstance(change, Sync) or op.name not in ("fsync", "fdatasync") or not op.paths:
            continue
        calls[op.name, op.paths[0]] += 1
        if op.place in seen or len(seen) >= MOST_SYNCS:
            continue
        seen.add(op.place)
        path, nth = quote(_literal(op.paths[0])), calls[op.name, op.paths[0]]
        rule = f"{op.name}:error=EIO:call={op.name}:path={path}:when={nth}:scope=session"
        folder = spec.folder / f"fsync-{len(seen)}"
        again = spec._replace(folder=folder, budget=Budget(states=MOST_STATES), rules=(rule,), status=None)
        place = op.place.removeprefix(f"{spec.cwd}/")
        label = f"after {op.name} has failed at {place}"
        missing = f"{label}, the data have to be written again, or given up: trying it again is no use"
        yield Further(label, lambda again=again: explore(again, tell), missing)  # type: ignore[misc]


def _literal(path: str) -> str:
    """A pattern that matches nothing but this path."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in path)
