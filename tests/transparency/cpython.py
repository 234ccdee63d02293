"""CPython's own test suite, test by test: bare twice, then under the shim in each mode.

    python -m tests.transparency.cpython [--modes idle,armed] [--match PATTERN] [MODULE...]

A test whose two bare outcomes differ is not compared. A test whose outcome under the shim differs from the bare one is
run again, alone, bare and under the shim: only what differs every time is a difference, the rest is listed as unsteady.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.transparency.known import VISIBLE
from tests.transparency.modes import MODES, Bare, Shimmed, environment, mode

MODULES = (
    "test_os", "test_io", "test_fileio", "test_posix", "test_fcntl", "test_subprocess", "test_signal", "test_time",
    "test_select", "test_asyncio", "test_tempfile", "test_shutil", "test_sqlite3", "test_dbm", "test_mailbox",
    "test_threading",
)  # fmt: skip
HANGS_SECONDS = 240
"""A single test that takes longer is taken to hang; nothing is judged by time."""
WHOLE_SECONDS = 1200
REPEATS = 3

Outcomes = dict[str, str]


def python() -> str:
    """The interpreter whose suite is run: FAULTLIB_TRANSPARENCY_PYTHON, or the one behind this environment."""
    base = os.environ.get("FAULTLIB_TRANSPARENCY_PYTHON") or str(getattr(sys, "_base_executable", sys.executable))
    found = subprocess.run([base, "-c", "import test.libregrtest, test.test_os"], capture_output=True)
    if found.returncode:
        raise FileNotFoundError(f"{base} has no test package; on Debian: apt install libpython3.11-testsuite")
    return str(Path(base).resolve())


def has(module: str) -> bool:
    """Whether the interpreter's test package has that module: Debian's leaves out a few."""
    name = module if module.startswith("test.") else f"test.{module}"
    code = f"import importlib.util, sys; sys.exit(not importlib.util.find_spec({name!r}))"
    return subprocess.run([python(), "-c", code]).returncode == 0


def read_outcomes(report: Path) -> Outcomes:
    """One word for each test of a JUnit file; skipped tests with their reason."""
    found: Outcomes = {}
    for case in xml.parse(report).getroot().iter("testcase"):
        parts = {part.tag: part for part in case}
        if "error" in parts or "failure" in parts:
            word = "error" if "error" in parts else "failure"
        elif "skipped" in parts:
            word = f"skipped: {parts['skipped'].text}"
        else:
            word = str(case.get("result"))
        name = str(case.get("name"))
        found[name] = f"{found[name]} and {word}" if name in found else word
    return found


@dataclass
class Suite:
    """One module of the suite, run in a fresh directory each time. `log` keeps the last output for who asks why."""

    module: str
    matches: tuple[str, ...] = ()
    log: str = ""

    def run(self, runner: Bare | Shimmed) -> Outcomes:
        """Runs the module; a run that ends without a report is one outcome for the whole module."""
        folder = Path(tempfile.mkdtemp(prefix="suite-"))
        try:
            report = folder / "report.xml"
            command = [python(), "-m", "test", "--timeout", str(HANGS_SECONDS), "--junit-xml", str(report)]
            for match in self.matches:
                command += ["-m", match]
            command.append(self.module)
            env = environment(folder / "home")
            done = runner.run(command, env, cwd=folder, stderr=subprocess.STDOUT, timeout=WHOLE_SECONDS)
            self.log = done.stdout.decode(errors="replace")
            if not report.exists():
                return {self.module: f"no report, status {done.returncode}"}
            return read_outcomes(report)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Comparison:
    """What became of one module in one mode. Names map to (bare, shimmed)."""

    module: str
    mode: str
    compared: int = 0
    flaky: list[str] = field(default_factory=list)
    visible: dict[str, tuple[str, str]] = field(default_factory=dict)
    unsteady: dict[str, tuple[str, str]] = field(default_factory=dict)
    different: dict[str, tuple[str, str]] = field(default_factory=dict)
    log: str = ""

    def line(self) -> str:
        """One line of figures."""
        return (
            f"{self.module:16} {self.mode:10} compared {self.compared:4}  different {len(self.different)}"
            f"  visible {len(self.visible)}  unsteady {len(self.unsteady)}  flaky bare {len(self.flaky)}"
        )


def compare(suite: Suite, bare: Sequence[Outcomes], name: str, runner: Bare | Shimmed) -> Comparison:
    """Runs the module in one mode and judges each test against the bare runs."""
    result = Comparison(suite.module, name)
    got = suite.run(runner)
    result.log = suite.log
    for test in sorted(set().union(got, *bare)):
        words = {run.get(test, "absent") for run in bare}
        if len(words) > 1:
            result.flaky.append(test)
            continue
        result.compared += 1
        before, after = words.pop(), got.get(test, "absent")
        if before != after:
            confirm(result, suite, test, (before, after), runner)
    return result


def confirm(result: Comparison, suite: Suite, test: str, words: tuple[str, str], runner: Bare | Shimmed) -> None:
    """Puts a difference where it belongs: expected, gone when repeated, or real."""
    if test in VISIBLE:
        result.visible[test] = words
        return
    alone = Suite(suite.module, (test.rsplit(".", 1)[-1].split(" ")[0],))
    if test == suite.module:  # the whole module died
        alone = suite
    for _ in range(REPEATS):
        if alone.run(Bare()).get(test, "absent") != words[0] or alone.run(runner).get(test, "absent") == words[0]:
            result.unsteady[test] = words
            return
    result.different[test] = words


def examine(
    module: str, modes: Sequence[str] = MODES, matches: tuple[str, ...] = (), bare_runs: int = 2
) -> list[Comparison]:
    """Bare first, then each mode."""
    suite = Suite(module, matches)
    bare = [suite.run(Bare()) for _ in range(bare_runs)]
    found = []
    for name in modes:
        with mode(name) as runner:
            found.append(compare(suite, bare, name, runner))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--match", action="append", default=[], help="as python -m test -m")
    parser.add_argument("--logs", type=Path, help="a directory for the output of runs with differences")
    parser.add_argument("module", nargs="*", default=MODULES)
    chosen = parser.parse_args()
    failed = 0
    for module in chosen.module:
        if not has(module):
            print(f"{module:16} is not in the test package of {python()}")
            continue
        for one in examine(module, chosen.modes.split(","), tuple(chosen.match)):
            print(one.line(), flush=True)
            for kind in ("different", "unsteady"):
                for test, (before, after) in getattr(one, kind).items():
                    print(f"    {kind}: {test}: bare {before}, {one.mode} {after}", flush=True)
            if chosen.logs and (one.different or one.unsteady):
                (chosen.logs / f"{one.module}.{one.mode}.log").write_text(one.log)
            failed |= bool(one.different)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
