"""Tests that a crash campaign has written: whether what it found is gone."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from faultlib.errors import UsageError
from faultlib.explore.crash import fixture
from faultlib.explore.crash.campaign import Spec, explore
from faultlib.explore.finding import Finding


def read(path: Path) -> tuple[Finding, Spec]:
    """Returns a finding from its file, and the spec of its campaign. Raises UsageError for what is no such file."""
    try:
        data = json.loads(path.read_text())
        finding, plain = Finding.from_json(data["finding"]), data["spec"]
        spec = Spec(
            tuple(plain["command"]), Path(plain["cwd"]), path.parent.parent, tuple(map(Path, plain["roots"])), plain["check"],
            plain["recover"], tuple(plain["profiles"]), plain["sector"], timeout_s=plain["timeout"],
        )  # fmt: skip
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: this is no finding of faultlib crash ({type(error).__name__}: {error})") from error
    return finding, spec


def assert_fixed(path: Path, *, cwd: Path | None = None) -> None:
    """Runs the command of a finding again, as the program is now, on the files as they were, and explores what crashes leave.

    `cwd` is the directory of the command, if it is no longer where it was. Raises AssertionError if there is still a finding of that
    kind on the same files.
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
