"""Every example in the README and in docs/ does what it says."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import examples
from tests.examples import ROOT, Section

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SECTIONS = [section for file in DOCUMENTS for section in examples.sections(file)]


def command_lines() -> list[examples.Example]:
    """The README's first two command lines: they begin in a checkout."""
    return [one for section in SECTIONS for one in section.examples if one.marker == "checkout"]


@pytest.mark.parametrize("section", SECTIONS, ids=str)
def test_section(section: Section, tmp_path: Path) -> None:
    examples.run_section(section, tmp_path)


def checkout(folder: Path) -> Path:
    """A copy of what git would check out, as it is now."""
    copy = folder / "faultlib"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("this is no git checkout")
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    return copy


def test_first_command_line_installs_and_tears_a_write(tmp_path: Path) -> None:
    """Word for word, but for apt-get, which on this machine has nothing left to do."""
    first = command_lines()[0]
    stub = tmp_path / "bin" / "apt-get"
    stub.parent.mkdir()
    stub.write_text("#!/bin/sh\nexit 0\n")
    stub.chmod(0o755)
    env = examples.environment()
    env["PATH"] = f"{stub.parent}:{os.defpath}:{env['PATH']}"
    done = subprocess.run(
        ["bash", "-c", first.text], cwd=checkout(tmp_path), env=env, capture_output=True, text=True, timeout=examples.DEADLINE_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1      1  write #1" in done.stderr, "the proof"
    assert done.stdout.rstrip().endswith("leader: -"), "the damage: no task is left"
    torn = done.stdout.partition('{\n  "seq"')[2]
    assert '"fetch"' not in torn and torn.count("}") == 0, "the file ends in the middle"


def test_second_command_line_is_what_ci_runs() -> None:
    second = command_lines()[1].text.strip()
    assert second in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize(
    ("promised", "printed", "same"),
    [
        ("a\n", "a\n", True), ("a\n", "b\n", False), ("a\n...\nb\n", "a\nx\ny\nb\n", True), ("a ... c\n", "a b c\n", True),
        ("a ... c\n", "a b\nc\n", False), ("", "", True), ("", "x\n", False), ("a\n", "a", True), ("a\nb\n", "a\n", False),
    ],
)  # fmt: skip
def test_promises_are_compared(promised: str, printed: str, same: bool) -> None:
    assert examples.matches(promised, printed) is same


def test_a_block_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("## A\n\n```\nx\n```\n")
    with pytest.raises(ValueError, match=r"page.md:3: a block says what it is"):
        list(examples.sections(tmp_path / "page.md"))


def test_a_broken_promise_fails(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("## A\n\n```console\n$ echo one\none\n$ echo two\nthree\n```\n")
    (section,) = examples.sections(tmp_path / "page.md")
    with pytest.raises(AssertionError, match="two"):
        examples.run_section(section, tmp_path)
