"""`faultlib crash`: every state that a crash can leave, and the source line to blame."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import stat
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from faultlib.commands import declared, options
from faultlib.commands.options import say_notes
from faultlib.errors import UsageError
from faultlib.inject.visible import visible
from faultlib.report.streams import say

if TYPE_CHECKING:
    from faultlib.explore.crash.explorer import Budget
    from faultlib.explore.finding import Campaign
    from faultlib.report.core import Unwritten

HELD, VIOLATED, INCONCLUSIVE, INTERRUPTED = 0, 1, 3, 128 + signal.SIGINT


@click.command("crash", context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@click.option("--check", metavar="CMD", help="Tells good states from bad ones: a command (status 0 is good) or module:function.")
@click.option("--recover", metavar="CMD", help="Run in each state before the check, as the program would after a crash.")
@click.option("--ack", "acks", multiple=True, metavar="REGEX", help="Output by which CMD promises that all is durable.")
@click.option("--root", "roots", multiple=True, type=declared.Directory(), help="A directory to look at, not this one.")
@click.option("--outside", multiple=True, metavar="GLOB", help="Files beyond the roots whose changes do not matter.")
@click.option("--profile", "profiles", multiple=True, metavar="NAME", help="kill, ext4, xfs, btrfs, posix; default: all.")
@click.option("--sector", type=int, default=512, show_default=True, metavar="N", help="Bytes a disk writes at once: 512 or 4096.")
@click.option("--budget", metavar="N|TIME", help="Stop after so many states (5000) or so long (30s, 5m).")
@click.option("--jobs", type=int, metavar="N", help="Judges at work side by side; default: one for each processor.")
@click.option("--timeout", type=float, default=10.0, show_default=True, metavar="S", help="For one check.")
@click.option("--status", type=int, default=0, show_default=True, metavar="N", help="What CMD ends with when nothing fails.")
@declared.takes(*options.RULES)
@click.option("--campaign", "folder", type=click.Path(path_type=Path), help="The campaign's folder; one begun before goes on.")
@click.option("--report", "reports", multiple=True, type=declared.ReportFile(), help="Write it: .html .md .json .sarif")
@click.option("--baseline", "known", type=click.Path(path_type=Path), help="Known findings, accepted: a report in JSON.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON on stdout.")
@click.option("--nested", is_flag=True, help="Crash the recovery, too.")
@click.option("--failing-fsync", is_flag=True, help="Run CMD again with each fsync failing, and crash that.")
@click.option("--strict", is_flag=True, help="Exit 1 for suspicions and notes, too.")
@declared.takes_command
def command(
    check: str | None, recover: str | None, acks: Sequence[str], roots: Sequence[Path], outside: Sequence[str],
    profiles: Sequence[str], sector: int, budget: str | None, jobs: int | None, timeout: float, status: int,
    rule: Sequence[str], rules_file: Sequence[str], seed: int | None,
    folder: Path | None, reports: Sequence[str], known: Path | None, as_json: bool, nested: bool, failing_fsync: bool,
    strict: bool, cmd: Sequence[str],
) -> None:  # fmt: skip
    """Run CMD once on a copy, then look at every state that a kill or a power cut can leave of its files.

    \b
      faultlib crash --check 'python -m json.tool tasks.json' -- python app.py
      faultlib crash --check checks:consistent --recover 'python app.py recover' -- python app.py
      faultlib crash --profile ext4 --budget 30s --check ./verify.sh -- ./app

    The exit status is 0 if all states hold, 1 for violations, 2 for what makes no sense, 3 if nothing can be said.
    """
    from faultlib.commands.progress import Progress
    from faultlib.explore.crash.campaign import Spec, explore
    from faultlib.explore.crash.further import joined
    from faultlib.explore.crash.losses import State
    from faultlib.explore.crash.nested import check_nested, second_crashes
    from faultlib.explore.crash.place import Busy
    from faultlib.explore.crash.profiles import PROFILES
    from faultlib.explore.crash.syncs import failed_syncs
    from faultlib.explore.finding import VIOLATION
    from faultlib.report import baseline, core

    try:
        cwd = Path.cwd()
    except FileNotFoundError:
        raise UsageError("the current directory does not exist any more") from None
    spec = Spec(
        tuple(cmd), cwd, folder or new_folder(cwd), tuple(roots), check, recover, tuple(acks),
        tuple(profiles) or tuple(PROFILES), sector,
        read_budget(budget), jobs if jobs is not None else os.cpu_count() or 1, timeout, status=status, outside=tuple(outside),
        rules=tuple(one.text for one in options.read_rules(rule, rules_file)), seed=seed,
    )  # fmt: skip
    for path in reports:
        core.format_of(path)
    if _has_input():
        say_notes(["standard input is not passed on, CMD gets an empty one: make it part of CMD, as in sh -c 'app < file'"])
    if nested:
        check_nested(spec)
    passed = list[State]()
    accepted = baseline.read(str(known)) if known else None
    with _interruptible(spec.folder), Progress(sys.stderr) as progress:
        try:
            campaign = explore(spec, progress.tell, passed=passed)
        except Busy:  # somebody else has found the same number to be free
            if folder:
                raise
            spec = spec._replace(folder=new_folder(cwd))
            campaign = explore(spec, progress.tell, passed=passed)
        if nested:
            campaign = joined(campaign, second_crashes(spec, passed, progress.tell))
        if failing_fsync:
            campaign = joined(campaign, failed_syncs(spec, progress.tell))
    if accepted:
        campaign, remarks = baseline.compare(campaign, accepted)
        say_notes(remarks)
    failures = list(_report(campaign, as_json, reports))
    for failure in failures:
        say(f"faultlib: {visible(str(failure))}\n", sys.stderr)
    wanted = [finding for finding in campaign.findings if strict or finding.severity == VIOLATION]
    worst = max((INCONCLUSIVE if failure.is_full else failure.exit_code for failure in failures), default=HELD)
    sys.exit(VIOLATED if wanted else worst or (INCONCLUSIVE if campaign.is_inconclusive else HELD))


def _report(campaign: Campaign, as_json: bool, reports: Sequence[str]) -> Iterator[Unwritten]:
    """Writes all reports; yields those that could not be. What was found counts whether anybody can read of it or not."""
    from faultlib.report import core, text

    if not as_json:
        error = text.show(campaign, sys.stdout)
        if error and error.errno != errno.EPIPE:  # who has read enough knows
            yield core.Unwritten("-", error)
    for path, form in [*([("-", "json")] if as_json else []), *((path, None) for path in reports)]:
        try:
            core.write(campaign, path, form)
        except core.Unwritten as failure:
            yield failure


def _has_input() -> bool:
    """Whether somebody wants the command to read something: there is some in a pipe or file."""
    try:
        status = os.fstat(0)
        waiting = fcntl.ioctl(0, termios.FIONREAD, b"\0" * 4) if stat.S_ISFIFO(status.st_mode) else b"\0"
        return any(waiting) or (stat.S_ISREG(status.st_mode) and os.lseek(0, 0, os.SEEK_CUR) < status.st_size)
    except OSError:  # it is closed
        return False


@contextmanager
def _interruptible(folder: Path) -> Iterator[None]:
    """1, which click ends with, would mean that something was found. Who is told to end says the same, and ends as told."""
    goes_on, owner = f"--campaign {os.path.relpath(folder)} goes on where it was", os.getpid()

    def end(number: int, _: object) -> None:
        if os.getpid() == owner:  # judges are forks
            os.write(2, os.fsencode(f"faultlib: ended; {goes_on}\n"))
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    before = signal.signal(signal.SIGTERM, end) if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL else None
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"faultlib: interrupted; {goes_on}", err=True)
        sys.exit(INTERRUPTED)
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def new_folder(cwd: Path) -> Path:
    """Returns a folder for a new campaign."""
    number = 1
    while (cwd / ".faultlib" / f"crash-{number}").exists():
        number += 1
    return cwd / ".faultlib" / f"crash-{number}"


def read_budget(text: str | None) -> Budget:
    """Returns a budget: a number of states, or a time. Raises UsageError."""
    from faultlib.explore.crash.explorer import Budget

    if text is None:
        return Budget()
    found = re.fullmatch(r"(\d+(?:\.\d*)?)([smh]?)", text)
    if found and float(found[1]):
        if found[2]:
            return Budget(seconds=float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]])
        if found[1].isdigit():
            return Budget(states=int(found[1]))
    raise UsageError(f"--budget {text}: a number of states, as 5000, or a time, as 30s, 5m or 1h")
