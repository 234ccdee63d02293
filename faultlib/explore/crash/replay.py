"""Shows a finding again: its state in a directory, and what the check says to it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from faultlib.errors import FaultlibError, UsageError
from faultlib.explore.crash import fenced, recording
from faultlib.explore.crash.campaign import Spec, wanted
from faultlib.explore.crash.checks import Checks
from faultlib.explore.crash.disk import Disk
from faultlib.explore.crash.elsewhere import Elsewhere
from faultlib.explore.crash.image import Image
from faultlib.explore.crash.judge import Case, Judge, Judges
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.restart import Restart
from faultlib.explore.crash.tester import TWICE
from faultlib.explore.finding import Finding
from faultlib.explore.oracle import UNSTABLE, Verdict
from faultlib.inject import target


def read(path: Path) -> tuple[Finding, Spec]:
    """Returns a finding from its file, and the spec of its campaign. Raises UsageError for what is no such file."""
    try:
        data = json.loads(path.read_text())
        finding, plain = Finding.from_json(data["finding"]), data["spec"]
        spec = Spec(
            tuple(plain["command"]), Path(plain["cwd"]), path.parent.parent, tuple(map(Path, plain["roots"])), plain["check"],
            plain["recover"], tuple(plain["acks"]), tuple(plain["profiles"]), plain["sector"], timeout_s=plain["timeout"],
            status=plain["status"], rules=tuple(plain["rules"]), seed=plain["seed"],
        )  # fmt: skip
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: this is no finding of faultlib crash ({type(error).__name__}: {error})") from error
    return finding, spec


def replay(path: Path) -> tuple[Finding, Verdict, Path]:
    """Builds the state of a finding beside its file, judges it in its place, and returns what is said and where it is.

    It is UNSTABLE if it is not the same each time. Raises UsageError for a file that is no finding, or whose campaign, program or
    place is gone, and for a check that fails on undamaged files by now.
    """
    finding, spec = read(path)
    if not (spec.folder / recording.FILE).exists():
        raise UsageError(f"{path}: the recording of its campaign is not in {spec.folder} any more")
    recorded = recording.load(spec.folder)
    elsewhere = fenced.elsewhere(spec.roots, spec.folder, spec.cwd, spec.command, spec.check, spec.recover)
    recording.check_place(recorded, spec.folder, isolated=elsewhere is None)
    _check_there(path, finding, recorded)
    disk = Disk(recorded.model)
    case = Case(State.from_json(finding.plan["state"]), finding.plan["promised"])
    place = path.with_suffix(".state")
    if place.is_dir():
        shutil.rmtree(place)
    elif place.exists():
        raise UsageError(f"{place}: the state is to be put there, and there is something else: move it away")
    Image(disk).whole(case.state, _folders(recorded.roots.paths, place))
    restart = Restart(recorded, spec.timeout_s) if finding.plan["restart"] else None
    judge = wanted(spec).prepare().checks(recorded, disk, restart=restart, forks=False)
    with _judges(recorded, disk, spec.folder, judge, elsewhere) as judges:
        end = len(recorded.model.changes)
        last = judges.judge(Case(State(end), end))
        if last.failed:
            raise UsageError(f"{path}: what is judged by fails on undamaged files by now, and can tell nothing: {last.text}")
        return finding, _judged(judges, case), place


def _judges(recorded: recording.Recording, disk: Disk, folder: Path, oracle: Checks, elsewhere: Elsewhere | None) -> Judges:
    if elsewhere:
        return fenced.judges(recorded, disk, folder, oracle, elsewhere)
    return Judges(lambda: Judge(recorded, disk, folder, oracle), 1)


def _judged(judges: Judges, case: Case) -> Verdict:
    first = judges.judge(case)
    again = judges.judge(case._replace(again=TWICE) if first.failed else case)
    return first if first.failed == again.failed and again.what != UNSTABLE else first._replace(what=UNSTABLE)


def _check_there(path: Path, finding: Finding, recorded: recording.Recording) -> None:
    for root in recorded.roots.paths:
        if not Path(root).is_dir():
            raise UsageError(f"{path}: {root} is not there any more, and the state has to be put in its place")
    if finding.plan["restart"]:
        try:
            target.check(recorded.command[0], os.environ.get("PATH"), recorded.cwd)
        except FaultlibError as error:
            raise UsageError(f"{path}: the command cannot be started again: {error}") from error


def _folders(roots: tuple[str, ...], place: Path) -> dict[bytes, Path]:
    """One root is the directory itself; several have one each."""
    if len(roots) == 1:
        return {os.fsencode(roots[0]): place}
    return {os.fsencode(root): place / f"{number}-{Path(root).name}" for number, root in enumerate(roots)}
