"""Shows a finding again: its state in a directory, and what the check says to it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from faultlib.errors import UsageError
from faultlib.explore import cell
from faultlib.explore.crash import recording
from faultlib.explore.crash.campaign import Spec, wanted
from faultlib.explore.crash.image import Image
from faultlib.explore.crash.judge import Case, Judge, Judges
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.restart import Restart
from faultlib.explore.crash.versions import Disk
from faultlib.explore.finding import Finding
from faultlib.explore.oracle import Verdict


def read(path: Path) -> tuple[Finding, Spec]:
    """Returns a finding from its file, and the spec of its campaign. Raises UsageError for what is no such file."""
    try:
        data = json.loads(path.read_text())
        finding, plain = Finding.from_json(data["finding"]), data["spec"]
        spec = Spec(
            tuple(plain["command"]), Path(plain["cwd"]), path.parent.parent, tuple(map(Path, plain["roots"])), plain["check"],
            plain["recover"], tuple(plain["acks"]), tuple(plain["profiles"]), plain["sector"], timeout_s=plain["timeout"],
        )  # fmt: skip
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: this is no finding of faultlib crash ({type(error).__name__}: {error})") from error
    return finding, spec


def replay(path: Path) -> tuple[Finding, Verdict, Path]:
    """Builds the state of a finding beside its file, judges it in its place, and returns what is said and where it is.

    Raises UsageError for a file that is no finding, or whose campaign is gone.
    """
    finding, spec = read(path)
    if not (spec.folder / recording.FILE).exists():
        raise UsageError(f"{path}: the recording of its campaign is not in {spec.folder} any more")
    recorded = recording.load(spec.folder)
    disk = Disk(recorded.model)
    case = Case(State.from_json(finding.plan["state"]), finding.plan["promised"])
    place = path.with_suffix(".state")
    if place.exists():
        shutil.rmtree(place)
    Image(disk).whole(case.state, _folders(recorded.roots.paths, place))
    restart = Restart(recorded, spec.timeout_s) if finding.plan["restart"] else None
    judge = wanted(spec).prepare().checks(recorded, disk, restart=restart, forks=False)
    isolated = cell.why_not() is None
    with Judges(lambda: Judge(recorded, disk, spec.folder, judge, isolated=isolated), 1) as judges:
        return finding, judges.judge(case), place


def _folders(roots: tuple[str, ...], place: Path) -> dict[bytes, Path]:
    """One root is the directory itself; several have one each."""
    if len(roots) == 1:
        return {os.fsencode(roots[0]): place}
    return {os.fsencode(root): place / f"{number}-{Path(root).name}" for number, root in enumerate(roots)}
