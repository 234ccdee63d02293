"""A second crash, during recovery: it is run in states that a first crash has left, and what crashes of it leave is judged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator

from faultlib.errors import UsageError
from faultlib.explore.crash import recording
from faultlib.explore.crash.campaign import Spec, explore
from faultlib.explore.crash.disk import Disk
from faultlib.explore.crash.explorer import Budget, Counts
from faultlib.explore.crash.further import Further
from faultlib.explore.crash.image import Image
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.record import Run

MOST_FIRST, MOST_SECOND = 40, 200
"""So many states of a first crash are recovered from, and so many of a second one are judged for each."""
_OF_SHELLS = set("|&;<>()$`\\\"'\n*?[#~=%{!")


def check_nested(spec: Spec) -> None:
    """Raises UsageError if there is no recovery that could crash."""
    if spec.recover is None:
        raise UsageError("--nested: a second crash comes during recovery: give --recover")


def second_crashes(spec: Spec, passed: list[State], tell: Callable[[Counts], None]) -> Iterator[Further]:
    """Yields a campaign on the recovery from each of these states of a campaign."""
    recorded = recording.load(spec.folder)
    image, roots = Image(Disk(recorded.model)), recorded.roots
    for number, state in enumerate(passed[:MOST_FIRST], 1):

        def put(run: Run, state: State = state) -> None:
            shutil.rmtree(run.folder / "initial", ignore_errors=True)
            image.whole(state, {os.fsencode(path): copy for path, copy in roots.copies(run.folder).items()})

        second = _second(spec, number)
        yield Further("a second crash, during recovery", lambda second=second, put=put: explore(second, tell, first=put))  # type: ignore[misc]


def _second(spec: Spec, number: int) -> Spec:
    recover = spec.recover or ""
    command = ("/bin/sh", "-c", recover if set(recover) & _OF_SHELLS else f"exec {recover}")
    return spec._replace(
        command=command, folder=spec.folder / f"nested-{number}", budget=Budget(states=MOST_SECOND), status=0, acks=()
    )
