"""How many states it takes to find what real programs do wrong: `python -m bench.crash_findings`.

The programs are those of tests/explore/crash/programs, broken ones and their clean twins: `pip install '.[test]'`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.budgets import at_most
from faultlib.bench.report import machine
from faultlib.commands.crash import VIOLATED, read_budget
from faultlib.explore.crash.campaign import Spec, explore
from faultlib.explore.crash.explorer import Counts
from tests.explore.crash.programs import test_coordination as coordination
from tests.explore.crash.programs import test_git as git
from tests.explore.crash.programs import test_json_files as files
from tests.explore.crash.programs import test_lmdb as lmdb
from tests.explore.crash.programs import test_logs as logs
from tests.explore.crash.programs import test_moves as moves
from tests.explore.crash.programs import test_sqlite as sqlite
from tests.explore.crash.programs.lab import Lab, Outcome


class Program(NamedTuple):
    """A program, what explores it, whether it is broken, and the most seconds that a finding may take."""

    title: str
    explore: Callable[[Lab], Outcome]
    broken: bool = False
    most_s: float | None = None


PROGRAMS = (
    Program("pickledb 0.9.2, dump", files.pickledb_dump, True),
    Program("tinydb 4.8.2, update", files.tinydb_update, True),
    Program("gzip", moves.gzip, True),
    Program("sqlite3, rollback journal, FULL", lambda lab: sqlite.explored(lab, "delete", "full"), True),
    Program("git add, commit", lambda lab: git.add_and_commit(lab, "git"), True),
    Program("coordination, claim", coordination.claim, True, 2.0),
    Program("python-atomicwrites 1.4.1", files.atomicwrites),
    Program("gzip --synchronous", lambda lab: moves.gzip(lab, "--synchronous")),
    Program("sqlite3, rollback journal, EXTRA", lambda lab: sqlite.explored(lab, "delete", "extra")),
    Program("sqlite3, WAL, FULL", lambda lab: sqlite.explored(lab, "wal", "full")),
    Program("git, core.fsync=all", lambda lab: git.add_and_commit(lab, git.SYNCED)),
    Program("LMDB", lambda lab: lmdb.explored(lab, "")),
    Program("a log, synced, acknowledged", lambda lab: logs.appended(lab, logs.WRITER + logs.SYNCED + logs.SAID)),
    Program("coordination hardened, claim", lambda lab: coordination.hardened(lab, coordination.CLAIM)),
)  # fmt: skip


class Row(NamedTuple):
    """What it took. `first` is how many states had been judged when one had failed, and `first_s` the seconds until then,
    recording included; None if none did. `states` are all that differ, `seconds` those until all was explained and written."""

    program: str
    broken: bool
    first: int | None
    first_s: float | None
    states: int
    seconds: float
    violations: int
    complete: bool

    @property
    def as_wanted(self) -> bool:
        """Whether broken and clean programs are told apart."""
        return bool(self.violations) if self.broken else not self.violations and self.complete


class Watch(Lab):
    """A directory to work in, in which `crash` looks for the first failing state."""

    def __init__(self, path: Path, budget: str) -> None:
        super().__init__(path)
        self._budget = budget
        self._began = 0.0
        self.first: int | None = None
        self.first_s: float | None = None
        self.seconds = 0.0

    def crash(
        self, *command: str, check: str, roots: Sequence[Path] = (), patience_s: float = 0, recover: str | None = None
    ) -> Outcome:
        """Explores a command in this process, up to the budget of the benchmark."""
        folder, check = self.begin(check)
        self._began = time.monotonic()
        spec = Spec(
            command, self.here, folder, tuple(roots), check, recover, budget=read_budget(self._budget),
            jobs=os.cpu_count() or 1,
        )  # fmt: skip
        campaign = explore(spec, self._tell)
        self.seconds = time.monotonic() - self._began
        outcome = Outcome(0, json.dumps(campaign.to_json()), "")
        outcome.status = VIOLATED if outcome.violations else 0
        return outcome

    def _tell(self, counts: Counts) -> None:
        """Is called for each judged state before that is counted as failing, if it is."""
        if counts.failing and self.first is None:
            self.first, self.first_s = counts.judged - 1, time.monotonic() - self._began


def measure(program: Program, budget: str) -> Row:
    """Explores a program in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="faultlib-bench-") as name:
        watch = Watch(Path(name), budget)
        outcome = program.explore(watch)
    campaign, number = outcome.campaign, len(outcome.violations)
    first = (watch.first, watch.first_s) if number else (None, None)
    return Row(program.title, program.broken, *first, campaign["unique"], watch.seconds, number, campaign["complete"])


def line(row: Row, most_s: float | None) -> str:
    """One line of the table."""
    first = f"{row.first:>8,} {row.first_s:>8.2f} s" if row.first is not None else f"{'-':>8} {'-':>8}  "
    states = f"{row.states:,}{'' if row.complete else '+'}"
    wrong = "" if row.as_wanted else f"  WRONG: {'nothing found' if row.broken else 'should be clean, and looked at to its end'}"
    budget = f"  {at_most(row.seconds, most_s, 's')}" if most_s is not None else ""
    return f"{row.program:<34}{first}{states:>9} {row.seconds:>8.2f} s {row.violations:>11}{budget}{wrong}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what is asked for. Returns 1 if a broken program was taken for a clean one, or the other way round."""
    parser = argparse.ArgumentParser(prog="python -m bench.crash_findings", description=__doc__)
    parser.add_argument("--json", action="store_true", help="the rows as JSON instead of a table")
    parser.add_argument("--only", action="append", metavar="TEXT", help="only programs with this in their title; several times")
    parser.add_argument("--budget", default="60s", metavar="N|TIME", help="for each program, as of faultlib crash (60s)")
    options = parser.parse_args(arguments)
    chosen = [one for one in PROGRAMS if any(text in one.title for text in options.only or [""])]
    if not chosen:
        parser.error(f"--only {options.only[0]}: there are {', '.join(one.title for one in PROGRAMS)}")
    read_budget(options.budget)
    rows = list[Row]()
    if not options.json:
        print(f"{'':34}{'first failing state':>19}{'all':>11}{'':>18}violations")
        print(f"{'':34}{'states':>8} {'time':>10}{'states':>9} {'time':>10}")
    for program in chosen:
        rows.append(measure(program, options.budget))
        if not options.json:
            print(line(rows[-1], program.most_s), flush=True)
    if options.json:
        print(json.dumps({"machine": machine(), "rows": [row._asdict() for row in rows]}, indent=2))
    return 0 if all(row.as_wanted for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
