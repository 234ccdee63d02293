"""A second crash, during recovery: it is run in states that a first crash has left, and what crashes of it leave is judged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from faultlib.errors import FaultlibError, UsageError
from faultlib.explore.crash import recording
from faultlib.explore.crash.campaign import Spec, check_spec, explore
from faultlib.explore.crash.explorer import Budget, Counts
from faultlib.explore.crash.image import Image
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.record import Run
from faultlib.explore.crash.versions import Disk
from faultlib.explore.finding import Campaign, Finding

MOST_FIRST, MOST_SECOND = 40, 200
"""So many states of a first crash are recovered from, and so many of a second one are judged for each."""


def explore_nested(spec: Spec, tell: Callable[[Counts], None] = lambda _: None) -> Campaign:
    """Runs a campaign, and then one on the recovery from each kind of state that passed. Raises as `explore` does."""
    check_spec(spec)
    if spec.recover is None:
        raise UsageError("--nested: a second crash comes during recovery: give --recover")
    passed = list[State]()
    campaign = explore(spec, tell, passed=passed)
    recorded = recording.load(spec.folder)
    image, roots = Image(Disk(recorded.model)), recorded.roots
    found, notes, counts = list(campaign.findings), set[str](), [campaign.judged, campaign.failing]
    for number, state in enumerate(passed[:MOST_FIRST], 1):
        folder = spec.folder / f"nested-{number}"

        def put(run: Run, state: State = state) -> None:
            shutil.rmtree(run.folder / "initial", ignore_errors=True)
            image.whole(state, {os.fsencode(path): copy for path, copy in roots.copies(run.folder).items()})

        try:
            second = explore(_second(spec, folder), tell, first=put)
        except FaultlibError as error:
            if error.slug != "inconclusive":  # recovery had nothing to do
                notes.add(f"after some first crashes the recovery was not explored: {str(error).splitlines()[0]}")
            continue
        counts = [counts[0] + second.judged, counts[1] + second.failing]
        found += [_as_nested(finding, len(found) + 1) for finding in second.findings if not _is_known(finding, found)]
    if len(passed) > MOST_FIRST:
        notes.add(f"second crashes were explored after {MOST_FIRST} of {len(passed)} kinds of first ones")
    return campaign._replace(
        findings=tuple(found), judged=counts[0], failing=counts[1], not_covered=(*campaign.not_covered, *sorted(notes))
    )


def _second(spec: Spec, folder: Path) -> Spec:
    recover = spec.recover or ""
    command = ("/bin/sh", "-c", f"exec {recover}" if _is_simple(recover) else recover)
    return spec._replace(command=command, folder=folder, budget=Budget(states=MOST_SECOND), status=0, acks=())


def _is_simple(command: str) -> bool:
    return not set(command) & set("|&;<>()$`\\\"'\n*?[#~=%{!")


def _is_known(finding: Finding, found: list[Finding]) -> bool:
    lines = (finding.kind, finding.lost and finding.lost.place, finding.kept and finding.kept.place)
    return any(lines == (one.kind, one.lost and one.lost.place, one.kept and one.kept.place) for one in found)


def _as_nested(finding: Finding, number: int) -> Finding:
    return finding._replace(number=number, title=f"{finding.title} (a second crash, during recovery)")
