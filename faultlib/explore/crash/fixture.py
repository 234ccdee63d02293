"""What a regression test needs: the files that the run changed, as they were before it. All others are as they are now."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from faultlib.explore.crash.disk import Disk
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.record import copy_files
from faultlib.explore.crash.recording import Recording
from faultlib.explore.finding import Finding

FOLDER, LIST = "before", "paths.json"


def save(recorded: Recording, folder: Path) -> None:
    """Writes the files that the run changed or removed, and the names of those that it made."""
    if folder.exists():
        return
    disk, model = Disk(recorded.model), recorded.model
    first, last = disk.names(State(0)), disk.names(State(len(model.changes)))
    changed = {path for path, number in first.paths.items() if number in model.of_node or last.paths.get(path) != number}
    made = sorted(os.fsdecode(path) for path in last.paths.keys() - first.paths.keys())
    whole, folder = folder, folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(folder, ignore_errors=True)  # of a campaign that was killed meanwhile
    folder.mkdir(parents=True)
    kept = list[str]()
    for number, (root, copy) in enumerate(recorded.roots.copies(folder.parent.parent).items()):
        below = os.fsencode(root) + b"/"
        for path in sorted(path for path in changed if path.startswith(below)):
            name = os.fsdecode(path[len(below) :])
            place = folder / str(number) / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if not (copy / name).is_dir() or (copy / name).is_symlink():
                copy_files("-T", "--", copy / name, place, cwd=Path.cwd())
            kept.append(str(root / name))
    (folder / LIST).write_text(json.dumps({"roots": recorded.roots.paths, "made": made, "kept": kept}, indent=1))
    folder.replace(whole)


def restore(folder: Path, copies: dict[Path, Path]) -> None:
    """Puts the files of a fixture into copies of the roots; what the run had made is removed."""
    data = json.loads((folder / LIST).read_text())
    for number, (root, copy) in enumerate(copies.items()):
        for text in sorted(data["made"], reverse=True):
            if Path(text).is_relative_to(data["roots"][number]):
                place = copy / Path(text).relative_to(data["roots"][number])
                if place.is_dir() and not place.is_symlink():
                    shutil.rmtree(place)
                else:
                    place.unlink(missing_ok=True)
        if (folder / str(number)).exists():
            copy_files("--", f"{folder / str(number)}/.", copy, cwd=Path.cwd())
        del root


def test_path(path: Path) -> Path:
    """Returns where the test of a finding is."""
    return path.with_name(f"test_{path.stem}.py")


def _marks(finding: Finding, command: Sequence[str], cwd: Path) -> set[str]:
    """The files of the program by which the command's directory can be told, from there."""
    named = [*command, *(one.file for one in (finding.lost, finding.kept) if one)]
    below = (os.path.relpath(cwd / name, cwd) for name in named if name and (cwd / name).is_file())
    return {name for name in below if not name.startswith("..")}


def write_test(path: Path, finding: Finding, command: Sequence[str], cwd: Path) -> None:
    """Writes a test that fails as long as the finding is there."""
    marks = sorted(_marks(finding, command, cwd))
    root = f"find_root(__file__, {', '.join(map(repr, marks))})" if marks else f"Path({str(cwd)!r})"
    imported = "assert_fixed, find_root" if marks else "assert_fixed"
    name = re.sub(r"\W+", "_", f"{finding.kind} {finding.files[0] if finding.files else ''}").strip("_").lower()
    title = finding.title.encode("ascii", "backslashreplace").decode().replace("\\", "\\\\").replace('"', "'")
    test_path(path).write_text(
        f'"""Fails as long as this is so: {title}."""\n\n'
        "from pathlib import Path\n\n"
        f"from faultlib.testing.crash import {imported}\n\n"
        f"ROOT = {root}\n\n\n"
        f"def test_{name}() -> None:\n"
        f'    assert_fixed(Path(__file__).with_name("{path.name}"), cwd=ROOT)\n'
    )
