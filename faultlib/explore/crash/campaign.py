"""A crash campaign from end to end: record, explore, explain, and write down what was found."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from faultlib.errors import FaultlibError, UsageError
from faultlib.explore import oracle
from faultlib.explore.crash import fixture, record, recording
from faultlib.explore.crash.checks import Checks
from faultlib.explore.crash.explorer import Budget, Counts, Explorer, Failure
from faultlib.explore.crash.judge import Case, Distrust, Judge, Judges
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.profiles import PROFILES
from faultlib.explore.crash.record import Incomplete, Run
from faultlib.explore.crash.recording import Recording
from faultlib.explore.crash.store import Store
from faultlib.explore.crash.versions import Disk
from faultlib.explore.crash.words import Narrator
from faultlib.explore.finding import Campaign, Finding

FINDINGS = "findings"
SECTORS = (512, 4096)


class Spec(NamedTuple):
    """What to explore. `check` is a command for the shell or `module:function`, `recover` a command that is run before it.

    `folder` is the campaign's: a new one, or one that was begun with the same spec, which goes on. `timeout_s` is for one check.
    `status` is what the command ends with when nothing fails. `fixture` is a folder whose files replace those of the roots.
    """

    command: tuple[str, ...]
    cwd: Path
    folder: Path
    roots: tuple[Path, ...] = ()
    check: str | None = None
    recover: str | None = None
    profiles: tuple[str, ...] = tuple(PROFILES)
    sector: int = 512
    budget: Budget = Budget()
    jobs: int = 2
    timeout_s: float = 10.0
    seed: int = 0
    status: int = 0
    fixture: Path | None = None


class Nothing(FaultlibError):
    """There was nothing to explore: the answer is no answer."""

    slug = "inconclusive"
    exit_code = 3


def explore(spec: Spec, tell: Callable[[Counts], None] = lambda _: None) -> Campaign:
    """Runs a campaign, or goes on with one. Raises UsageError, Incomplete, Nothing, and what a target can be refused for."""
    began = time.monotonic()
    check_spec(spec)
    run = Run(spec.command, spec.cwd, record.check_roots(spec.roots or (spec.cwd,)), spec.folder)
    spec.folder.mkdir(parents=True, exist_ok=True)
    with Store(spec.folder) as store:
        store.settle(**_settings(spec, run))
        recorded = _recorded(run, spec)
        disk = Disk(recorded.model)
        try:
            notes, explorer, failures = _explored(spec, recorded, disk, store, _checks(spec), tell)
        except Distrust as error:
            store.forget()
            notes, explorer, failures = _explored(spec, recorded, disk, store, _checks(spec, forks=False), tell)
            notes.append(f"every state was judged twice: {error}")
    narrator = Narrator(recorded, disk, spec.sector)
    findings = [narrator.finding(number, failure) for number, failure in enumerate(failures, 1)]
    findings = [_write(spec, run, recorded, finding) for finding in findings]
    counts = explorer.counts
    return Campaign(
        spec.command, spec.check or "", tuple(map(str, run.roots)), spec.profiles, counts.by_strategy, len(recorded.ops),
        counts.looked_at, counts.unique, counts.judged, counts.failing, time.monotonic() - began, spec.seed, counts.complete,
        tuple(notes + _not_covered(recorded, counts)), tuple(findings),
    )  # fmt: skip


def _explored(
    spec: Spec, recorded: Recording, disk: Disk, store: Store, checks: Checks, tell: Callable[[Counts], None]
) -> tuple[list[str], Explorer, list[Failure]]:
    """Explores with these checks. Raises Distrust."""
    with Judges(lambda: Judge(recorded, disk, spec.folder, checks), spec.jobs) as judges:
        notes = _try_undamaged(recorded, judges)
        explorer = Explorer(
            recorded, disk, judges, store, profiles=spec.profiles, sector=spec.sector, budget=spec.budget,
            needs_promises=spec.check is not None and oracle.Function.is_one(spec.check), tell=tell,
        )  # fmt: skip
        failures = explorer.run()
        return notes + judges.notes, explorer, failures


def check_spec(spec: Spec) -> None:
    """Raises UsageError for what makes no sense."""
    import difflib

    if not spec.command:
        raise UsageError("the command is empty: give a program and its arguments behind --")
    for name in spec.profiles:
        if name not in PROFILES:
            near = difflib.get_close_matches(name, PROFILES, 1)
            raise UsageError(f"--profile {name}: " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(PROFILES)}"))
    if spec.sector not in SECTORS:
        raise UsageError(f"--sector {spec.sector}: a sector has 512 or 4096 bytes")
    if spec.jobs < 1:
        raise UsageError(f"--jobs {spec.jobs}: at least 1")
    if spec.timeout_s <= 0:
        raise UsageError(f"--timeout {spec.timeout_s:g}: more than 0 seconds")


def _settings(spec: Spec, run: Run) -> dict[str, Any]:
    return {
        "command": list(spec.command), "cwd": str(spec.cwd), "roots": [str(root) for root in run.roots], "check": spec.check,
        "recover": spec.recover, "timeout": spec.timeout_s,
    }  # fmt: skip


def _recorded(run: Run, spec: Spec) -> Recording:
    """The recording of a campaign, which is made if there is none yet."""
    if not (run.folder / recording.FILE).exists():
        record.keep_first(run)
        if spec.fixture:
            fixture.restore(spec.fixture, recording.Roots(tuple(map(str, run.roots))).copies(run.folder))
        record.record(run)
    recorded = recording.load(run.folder)
    output = (run.folder / recording.OUTPUT).read_text(errors="backslashreplace")[-2000:].strip()
    if recorded.status != spec.status:
        raise UsageError(f"the command fails without any crash, with status {recorded.status}: {output or 'it said nothing'}")
    if recorded.incomplete:
        raise Incomplete("the recording is incomplete, exploring it would tell lies:\n  " + "\n  ".join(recorded.incomplete))
    if not any(recorded.model.owner(i) is not None for i in range(len(recorded.model.changes))):
        where = ", ".join(recorded.roots.paths)
        raise Nothing(f"the command changed nothing under {where}: is this the right --root? {_outside(recorded)}".strip())
    return recorded


def _outside(recorded: Recording) -> str:
    return f"it wrote to {', '.join(recorded.outside[:5])}" if recorded.outside else ""


def _checks(spec: Spec, forks: bool = True) -> Checks:
    if spec.check is None:
        raise UsageError("--check is missing: a command, or module:function, that tells a good state from a bad one")
    return Checks(spec.check, spec.recover, spec.cwd, spec.timeout_s, forks)


def _try_undamaged(recorded: Recording, judges: Judges) -> list[str]:
    """The check has to pass where nothing is wrong. Returns what is to be said otherwise."""
    end = len(recorded.model.changes)
    last = judges.judge(Case(State(end), end))
    if last.failed:
        raise UsageError(f"the check fails although nothing has crashed, on the state that the command leaves: {last.text}")
    first = judges.judge(Case(State(0), 0))
    return [f"the check fails on the state before the run already: {first.text.splitlines()[0]}"] if first.failed else []


def _not_covered(recorded: Recording, counts: Counts) -> list[str]:
    notes = [f"{path} lies outside the roots: what crashes leave of it was not looked at" for path in recorded.outside]
    if not counts.complete:
        notes.append(f"the budget ended in strategy {counts.strategy}: there are more states")
    return notes


def _write(spec: Spec, run: Run, recorded: Recording, finding: Finding) -> Finding:
    """Writes a finding, what its test needs, and the test."""
    folder = spec.folder / FINDINGS
    folder.mkdir(exist_ok=True)
    path = folder / f"crash_{finding.number}.json"
    shown = os.path.relpath(path, spec.cwd)
    finding = finding._replace(replay=f"faultlib replay {shown}", test_file=os.path.relpath(fixture.test_path(path), spec.cwd))
    data = {"finding": finding.to_json(), "spec": _settings(spec, run) | {"profiles": spec.profiles, "sector": spec.sector}}
    path.write_text(json.dumps(data, indent=1))
    fixture.save(recorded, folder / fixture.FOLDER)
    fixture.write_test(path, finding, spec.cwd)
    return finding
