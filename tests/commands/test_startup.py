"""The start of `faultlib run`: what it imports, counted, as every import is paid by every run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import _cffi_backend
import click
import pytest

import faultlib

PLACES = [str(Path(file or "").parent) for file in (Path(faultlib.__file__).parent, _cffi_backend.__file__, Path(click.__file__).parent)]
RULE = "write:error=EIO:path=*/x"
MAIN = "from faultlib.__main__ import main; main()"
MOST, MOST_WITH_A_RULE = 60, 75
HEAVY = {
    "ast", "asyncio", "click", "dataclasses", "difflib", "elftools", "gettext", "inspect", "jinja2", "json", "pathlib", "platform", "psutil", "pydantic",
    "random", "rich", "selectors", "shutil", "socket", "subprocess", "tempfile", "typing", "urllib", "uuid", "yaml",
}  # fmt: skip
OF_RULES = {f"faultlib.inject.{name}" for name in ("grammar", "rules", "check", "effects", "ops", "live", "clock", "events")}


def imported(*arguments: str) -> set[str]:
    """The modules that a Python program imports, those of site-packages' own start aside; it must end well."""
    command = [sys.executable, "-S", "-X", "importtime", *arguments]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(PLACES)}
    done = subprocess.run(command, stdin=subprocess.DEVNULL, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = [line.split("|") for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {fields[2].strip() for fields in lines[1:]}


def for_a_run(*arguments: str) -> set[str]:
    """The modules that a run of `true` imports beyond those of Python itself."""
    return imported("-c", MAIN, "run", *arguments, "--", "true") - imported("-c", "pass")


@pytest.mark.parametrize("arguments", [[], ["-q"], ["--seed", "7", "--label", "a"]])
def test_without_rules_nothing_of_them_is_imported(arguments: list[str]) -> None:
    found = for_a_run(*arguments)
    assert not found & (HEAVY | OF_RULES | {"decimal", "datetime"})
    assert len(found) <= MOST, sorted(found)


def test_with_a_rule_nothing_heavy_is_imported() -> None:
    found = for_a_run("-e", RULE)
    assert not found & (HEAVY | {"decimal", "datetime", "faultlib.inject.events"})
    assert len(found) <= MOST_WITH_A_RULE, sorted(found)


def test_a_line_that_click_reads_does_the_same(tmp_path: Path) -> None:
    """The modules are counted rightly: here are those that the tests above must not see."""
    found = for_a_run("--json", str(tmp_path / "report.json"))
    assert {"click", "json"} <= found
    assert (tmp_path / "report.json").exists()
