"""A crash campaign from end to end: record, explore, explain, and write down what was found."""

from __future__ import annotations

import fnmatch
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from faultlib.errors import FaultlibError, UsageError
from faultlib.explore.crash import around, fenced, fixture, place, record, recording, unchanged
from faultlib.explore.crash.checks import Checks
from faultlib.explore.crash.disk import Disk
from faultlib.explore.crash.elsewhere import Elsewhere
from faultlib.explore.crash.explorer import Budget, Counts, Explorer
from faultlib.explore.crash.judge import Distrust, Judge, Judges
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.oracles import Prepared, Wanted
from faultlib.explore.crash.profiles import PROFILES
from faultlib.explore.crash.record import Incomplete, Run
from faultlib.explore.crash.recording import Recording
from faultlib.explore.crash.restart import NOT_TRIED, Restart
from faultlib.explore.crash.store import Store
from faultlib.explore.crash.undamaged import Undamaged, first_line
from faultlib.explore.crash.verdicts import Verdicts
from faultlib.explore.crash.words import Narrator
from faultlib.explore.finding import NOTE, SUSPICION, VIOLATION, Campaign, Finding
from faultlib.explore.oracle import Function, Verdict

FINDINGS = "findings"
SECTORS = (512, 4096)
MOST_JOBS = max(64, 4 * (os.cpu_count() or 1))
MOST_TIMEOUT_S = 1_000_000


class Spec(NamedTuple):
    """What to explore. `check` is a command for the shell or `module:function`, `recover` a command run before it. Without a
    check, states are judged by the recording. `acks` tell what output acknowledges (regular expressions, module:function).

    `folder` is the campaign's: a new one, or one that was begun with the same spec, which goes on. `timeout_s` is for one check.
    `status` is what the command ends with when nothing fails, None: anything. `rules` act on it while it is recorded, with
    `seed` for what they leave to chance. `fixture` is a folder whose files replace those of the roots. `outside` are patterns for
    files beyond them that do not matter.
    """

    command: tuple[str, ...]
    cwd: Path
    folder: Path
    roots: tuple[Path, ...] = ()
    check: str | None = None
    recover: str | None = None
    acks: tuple[str, ...] = ()
    profiles: tuple[str, ...] = tuple(PROFILES)
    sector: int = 512
    budget: Budget = Budget()
    jobs: int = 2
    timeout_s: float = 10.0
    status: int | None = 0
    rules: tuple[str, ...] = ()
    seed: int | None = None
    fixture: Path | None = None
    outside: tuple[str, ...] = ()


class Nothing(FaultlibError):
    """There was nothing to explore: the answer is no answer."""

    slug = "inconclusive"
    exit_code = 3


def explore(
    spec: Spec, tell: Callable[[Counts], None] = lambda _: None, *, first: Callable[[Run], None] = record.keep_first,
    passed: list[State] | None = None,
) -> Campaign:  # fmt: skip
    """Runs a campaign, or goes on with one. `first` keeps the tree before the run; `passed` gets states that pass.

    Raises UsageError, Incomplete, Nothing, and what a target can be refused for.
    """
    check_spec(spec)
    run = Run(spec.command, spec.cwd, record.check_roots(spec.roots or (spec.cwd,)), spec.folder)
    prepared = wanted(spec).prepare()
    elsewhere = fenced.elsewhere(run.roots, spec.folder, spec.cwd, spec.command, spec.check, spec.recover)
    with place.taken(spec.folder, run.roots):
        return _explore(spec, run, prepared, elsewhere, tell, first, passed)


def _explore(
    spec: Spec, run: Run, prepared: Prepared, elsewhere: Elsewhere | None, tell: Callable[[Counts], None],
    first: Callable[[Run], None], passed: list[State] | None,
) -> Campaign:  # fmt: skip
    began = time.monotonic()
    with Store(spec.folder) as store:
        store.settle(**_settings(spec, run))
        programs = unchanged.programs(spec.command, (spec.check, spec.recover), spec.cwd)
        known = store.first("programs", programs)
        if (run.folder / recording.FILE).exists() and first is record.keep_first and not spec.fixture:
            unchanged.check(run.copies, spec.folder, known, programs)
        recorded = _recorded(run, spec, first, elsewhere)
        scene = _Scene(spec, recorded, Disk(recorded.model), elsewhere)
        restart, notes = scene.restart()
        notes += elsewhere.told(os.environ) if elsewhere else []
        started = time.monotonic()
        try:
            checks = prepared.checks(recorded, scene.disk, restart=restart, forks=elsewhere is None)
            verdicts = Verdicts(scene.disk, store, needs_promises=prepared.needs_promises)
            explorer = scene.explore(checks, verdicts, notes, tell)
        except Distrust as error:
            store.forget()
            notes.append(f"every state was judged twice: {error}")
            checks = prepared.checks(recorded, scene.disk, restart=restart, forks=False)
            verdicts = Verdicts(scene.disk, store, needs_promises=prepared.needs_promises)
            rest = spec._replace(budget=spec.budget.left_after(time.monotonic() - started))
            explorer = scene._replace(spec=rest).explore(checks, verdicts, notes, tell)
    if passed is not None:
        passed += explorer.passed
    narrator = Narrator(recorded, scene.disk, spec.sector)
    told = _told_apart(sorted((narrator.finding(0, failure) for failure in explorer.explanations.failures), key=_gravity))
    findings = [
        _write(spec, run, recorded, finding._replace(number=number, plan={**finding.plan, "restart": restart is not None}))
        for number, finding in enumerate(told, 1)
    ]
    counts = explorer.counts
    return Campaign(
        spec.command, spec.check or "", tuple(map(str, run.roots)), spec.profiles, counts.by_strategy, len(recorded.ops),
        counts.looked_at, counts.unique, counts.judged, counts.failing, time.monotonic() - began, counts.complete,
        tuple(notes + _not_covered(spec, recorded, counts)), tuple(findings), outside=tuple(_outside(spec, recorded)),
        unstable=len(explorer.tester.unstable), outlived=recorded.outlived, unfired=recorded.unfired,
    )  # fmt: skip


def _told_apart(findings: list[Finding]) -> list[Finding]:
    """Those of the same functions and files are numbered: a baseline that knows the one does not know the other."""
    seen, found = Counter[str](), list[Finding]()
    for finding in findings:
        seen[finding.fingerprint] += 1
        nth = seen[finding.fingerprint]
        found.append(finding._replace(fingerprint=f"{finding.fingerprint}-{nth}") if nth > 1 else finding)
    return found


def _gravity(finding: Finding) -> tuple[int, int]:
    """The worst first: by severity, then by the strongest profile on which it happens."""
    severities, strengths = (VIOLATION, SUSPICION, NOTE), list(PROFILES)
    return severities.index(finding.severity), min(map(strengths.index, finding.profiles), default=len(strengths))


def check_spec(spec: Spec) -> None:
    """Raises UsageError for what makes no sense."""
    import difflib

    if not spec.command:
        raise UsageError("the command is empty: give a program and its arguments behind --")
    for option, text in (("--check", spec.check), ("--recover", spec.recover)):
        if text is not None and not text.strip():
            raise UsageError(f"{option} {text!r}: this is empty; leave the option out if there is none")
    for name in spec.profiles:
        if name not in PROFILES:
            near = difflib.get_close_matches(name, PROFILES, 1)
            raise UsageError(f"--profile {name}: " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(PROFILES)}"))
    if spec.sector not in SECTORS:
        raise UsageError(f"--sector {spec.sector}: a sector has 512 or 4096 bytes")
    if spec.jobs < 1:
        raise UsageError(f"--jobs {spec.jobs}: at least 1")
    if spec.jobs > MOST_JOBS:
        raise UsageError(f"--jobs {spec.jobs}: at most {MOST_JOBS}: there are {os.cpu_count()} processors, more are no quicker")
    if not 0 < spec.timeout_s <= MOST_TIMEOUT_S:
        raise UsageError(f"--timeout {spec.timeout_s:g}: more than 0 seconds, and at most {MOST_TIMEOUT_S:,}")
    if spec.recover and Function.is_one(spec.recover):
        raise UsageError(f"--recover {spec.recover}: a recovery is a command for the shell; only a check can be a function")


def _settings(spec: Spec, run: Run) -> dict[str, Any]:
    return {
        "command": list(spec.command), "cwd": str(spec.cwd), "roots": [str(root) for root in run.roots], "check": spec.check,
        "recover": spec.recover, "acks": list(spec.acks), "rules": list(spec.rules), "timeout": spec.timeout_s,
        "seed": spec.seed, "status": spec.status,
    }  # fmt: skip


def _recorded(run: Run, spec: Spec, first: Callable[[Run], None], elsewhere: Elsewhere | None = None) -> Recording:
    """The recording of a campaign, which is made if there is none yet."""
    if not (run.folder / recording.FILE).exists():
        first(run)
        if spec.fixture:
            fixture.restore(spec.fixture, run.copies)
        record.record(run, spec.rules, spec.seed, elsewhere)
    recorded = recording.load(run.folder)
    recording.check_place(recorded, run.folder, isolated=elsewhere is None)
    output = (run.folder / recording.OUTPUT).read_text(errors="backslashreplace")[-2000:].strip()
    if spec.status not in (None, recorded.status):
        hint = f"\n  --status {recorded.status} says that this is right" if recorded.status > 0 else ""
        raise UsageError(f"the command fails without any crash, {_ended(recorded.status)}: {output or 'it said nothing'}{hint}")
    if recorded.incomplete:
        raise Incomplete("the recording is incomplete, exploring it would tell lies:\n  " + "\n  ".join(recorded.incomplete))
    if not any(recorded.model.owner(i) is not None for i in range(len(recorded.model.changes))):
        where = ", ".join(recorded.roots.paths)
        instead = f" It wrote to {', '.join(recorded.outside[:5])}" if recorded.outside else ""
        raise Nothing(f"the command changed nothing under {where}: is this the right --root?{instead}")
    return recorded


def _ended(status: int) -> str:
    if status >= 0:
        return f"with status {status}"
    try:
        return f"by signal {-status}, {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal
        return f"by signal {-status}"


def wanted(spec: Spec) -> Wanted:
    """Returns what the states are judged by."""
    return Wanted(spec.check, spec.recover, spec.acks, spec.cwd, spec.timeout_s)


class _Scene(NamedTuple):
    """Where the states of a recording are judged: in cells, or on copies elsewhere."""

    spec: Spec
    recorded: Recording
    disk: Disk
    elsewhere: Elsewhere | None

    def judges(self, checks: Checks, jobs: int) -> Judges:
        """Starts judges."""
        if self.elsewhere:
            return fenced.judges(self.recorded, self.disk, self.spec.folder, checks, self.elsewhere)
        return Judges(lambda: Judge(self.recorded, self.disk, self.spec.folder, checks), jobs)

    def restart(self) -> tuple[Restart | None, list[str]]:
        """Whether the command can serve as its own recovery, and why not."""
        spec = self.spec
        if spec.check is not None:
            return None, []
        undone = around.places(map(Path, self.recorded.roots.paths)) if self.elsewhere is None else []
        stay = [path for path in _outside(spec, self.recorded) if not any(Path(path).is_relative_to(place) for place in undone)]
        if stay:
            return None, [f"{NOT_TRIED}: it would change {stay[0]}, which lies outside the roots, again for each state"]
        restart = Restart(self.recorded, spec.timeout_s)
        with self.judges(Checks(None, None, spec.cwd, spec.timeout_s, forks=False, also=(restart,)), 1) as judges:
            can = restart.can_restart(judges.judge, self.recorded.model)
        return (restart, []) if can else (None, [restart.reason])

    def explore(self, checks: Checks, verdicts: Verdicts, notes: list[str], tell: Callable[[Counts], None]) -> Explorer:
        """Explores with these checks. Raises Distrust."""
        spec = self.spec
        with self.judges(checks, spec.jobs) as judges:
            before = Undamaged(self.recorded, self.disk, judges)
            explorer = Explorer(
                self.recorded, judges, verdicts, profiles=spec.profiles, sector=spec.sector, budget=spec.budget,
                is_no_worse=before.is_no_worse, tell=tell,
            )  # fmt: skip
            explorer.run()
            notes += before.notes + judges.notes + _doubts(explorer.tester.unstable)
        return explorer


def _doubts(unstable: list[Verdict]) -> list[str]:
    """What is to be said of states that have passed and failed."""
    if not unstable:
        return []
    several = f"{len(unstable)} states have" if len(unstable) > 1 else "1 state has"
    said = next((f" ({first_line(verdict)})" for verdict in unstable if verdict.text), "")
    return [f"{several} passed and failed{said}: what is judged by does not say the same each time, and that is no finding"]


def _outside(spec: Spec, recorded: Recording) -> list[str]:
    return [path for path in recorded.outside if not any(fnmatch.fnmatchcase(path, glob) for glob in spec.outside)]


def _not_covered(spec: Spec, recorded: Recording, counts: Counts) -> list[str]:
    why = "lies outside the roots, what crashes leave of it was not looked at: add --root, or --outside if it does not matter"
    notes = [f"{path} {why}" for path in _outside(spec, recorded)]
    notes += [f"{one} went on when the command had ended: what it did later was not recorded" for one in recorded.outlived]
    notes += [f"{rule} never fired: what was explored is a run without it" for rule in recorded.unfired]
    notes += recorded.remarks
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
    fixture.write_test(path, finding, spec.command, spec.cwd)
    return finding
