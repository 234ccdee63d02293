"""Tests that a crash campaign has written: whether what it found is gone."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

from faultlib.explore.crash import fixture
from faultlib.explore.crash.campaign import explore
from faultlib.explore.crash.replay import read


def find_root(test: str, *names: str) -> Path:
    """Returns the directory above a test in which all these files are. Raises FileNotFoundError if there is none."""
    for directory in Path(test).resolve().parents:
        if all((directory / name).exists() for name in names):
            return directory
    raise FileNotFoundError(f"no directory above {test} has {', '.join(names)}: ROOT has to be where the command is to run")


def assert_fixed(path: Path, *, cwd: Path | None = None) -> None:
    """Runs the command of a finding again, as the program is now, on the files as they were, and explores what crashes leave.

    `cwd` is the directory of the command, if it is no longer where it was. Raises AssertionError if there is still a finding of
    that kind on the same files. Warns if what is judged by does not say the same each time, or a rule never fired.
    """
    finding, spec = read(path)
    if cwd is not None:
        moved = {root: cwd / root.relative_to(spec.cwd) for root in spec.roots if root.is_relative_to(spec.cwd)}
        spec = spec._replace(cwd=cwd, roots=tuple(moved.get(root, root) for root in spec.roots))
    with tempfile.TemporaryDirectory(prefix="faultlib-crash-") as folder:
        campaign = explore(spec._replace(folder=Path(folder), fixture=path.parent / fixture.FOLDER))
    same = [found for found in campaign.findings if found.kind == finding.kind and set(found.files) & set(finding.files)]
    if same:
        one = same[0]
        places = f"lost: {one.lost and one.lost.place}, kept: {one.kept and one.kept.place}"
        raise AssertionError(f"{one.title} ({', '.join(one.profiles)}); {places}; missing: {one.missing}")
    if campaign.unfired:
        warnings.warn(f"{finding.title}: not found again, but {', '.join(campaign.unfired)} never fired", stacklevel=2)
    if campaign.unstable:
        warnings.warn(f"{finding.title}: not found again, but {campaign.unstable} states have passed and failed", stacklevel=2)
