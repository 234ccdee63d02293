"""What differs between states is what a fork point stops at; and layers that are brought up to date are those made at once."""

from __future__ import annotations

import fnmatch
import itertools
import json
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from faultlib.explore import cell
from faultlib.explore.crash import campaign, profiles, record, strategies, volatile
from faultlib.explore.crash.campaign import Spec
from faultlib.explore.crash.disk import Disk
from faultlib.explore.crash.image import Image
from faultlib.explore.crash.layers import Layers
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.model import Model
from faultlib.explore.crash.record import Run
from faultlib.explore.crash.recording import Recording

PROGRAMS = {
    "replace": "open('t', 'w').write('new')\nos.rename('t', 'a')\n",
    "directories": "os.mkdir('n')\nopen('n/x', 'w').write('1')\nos.rename('n', 'm')\nos.rename('d', 'm/d')\nopen('m/d/in', 'a').write('2')\n",
    "links": "os.link('a', 'b')\nopen('b', 'a').write('more')\nos.unlink('a')\nos.symlink('b', 'c')\n",
    "back and forth": "os.rename('d', 'e')\nos.rename('e', 'd')\nos.remove('d/in')\nos.rmdir('d')\nopen('d', 'w').write('file')\n",
    "code": "open('mod.py', 'w').write('x = 1')\nos.mkdir('data')\nopen('data/rows', 'w').write('3')\n",
    "odd names": "open('[x]*?', 'w').write('1')\nos.mkdir('p q')\nopen('p q/\\\\\\\\', 'w').write('2')\n",
}


def recorded(tmp_path: Path, code: str) -> Recording:
    root = tmp_path / "tree"
    (root / "d").mkdir(parents=True)
    (root / "a").write_text("first")
    (root / "d" / "in").write_text("inside")
    (root / "same").write_text("always")
    spec = Spec((sys.executable, "-c", "import os\n" + code), root, tmp_path / "campaign", (root,))
    spec.folder.mkdir()
    run = Run(spec.command, root, record.check_roots(spec.roots), spec.folder)
    return campaign._recorded(run, spec, record.keep_first)


def states(model: Model, most: int = 150) -> list[State]:
    found: dict[bytes, State] = {}
    disk = Disk(model)
    for several in strategies.STRATEGIES.values():
        for profile in ("posix", "ext4"):
            for strategy in several:
                for candidate in itertools.islice(strategy(profiles.Rules(profiles.PROFILES[profile], model, 512)), 60):
                    found.setdefault(disk.digest(candidate.state), candidate.state)
    return list(found.values())[:most]


def matches(path: bytes, globs: tuple[str, ...]) -> bool:
    from faultlib._core import lib

    return any(lib.fl_glob(glob.encode(), path) for glob in globs)


@pytest.mark.parametrize("name", PROGRAMS)
def test_all_that_differs_is_stopped_at(tmp_path: Path, name: str) -> None:
    model = recorded(tmp_path, PROGRAMS[name]).model
    disk, points = Disk(model), volatile.points(model)
    seen: dict[bytes, set[object]] = {}
    listed: dict[bytes, set[object]] = {}
    every = states(model)
    for state in every:
        names = disk.names(state)
        for path, number in names.paths.items():
            node = model.nodes[number]
            content = disk.content(state, number).digest() if node.kind == "file" else b""
            seen.setdefault(path, set()).add((node.kind, node.target, content))
            if node.kind == "dir":
                inside = frozenset(other for other in names.paths if other.rpartition(b"/")[0] == path)
                listed.setdefault(path, set()).add(inside)
    counts = {path: sum(path in disk.names(state).paths for state in every) for path in seen}
    assert len(every) > 2
    for path, kinds in seen.items():
        if len(kinds) > 1 or counts[path] < len(every):
            assert matches(path, points.paths), path
        elif len(listed.get(path, ())) > 1:
            assert matches(path, points.paths + points.listings), path
    root = os.fsencode(points.roots[0])
    assert not matches(root + b"/same", points.paths)
    assert matches(root, points.paths) == (name == "code")


def test_many_names_become_directories(tmp_path: Path) -> None:
    code = "os.mkdir('many')\nfor n in range(300):\n    open(f'many/{n}', 'w').write('x')\n    open(f'd/{n}', 'w').write('x')\n"
    points = volatile.points(recorded(tmp_path, code).model)
    root = points.roots[0]
    assert len(points.paths) <= volatile.MOST_PATHS
    assert matches(f"{root}/many/7".encode(), points.paths)
    assert matches(f"{root}/d/7".encode(), points.paths)
    assert not matches(f"{root}/same".encode(), points.paths)
    assert not fnmatch.filter(points.paths, "*/tree/[*]")


def snapshot(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    inodes: dict[int, str] = {}
    for here, directories, names in os.walk(folder):
        for name in sorted(directories + names):
            path = Path(here, name)
            status = path.lstat()
            data: object = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else status.st_rdev
            attributes = {key: os.getxattr(path, key) for key in os.listxattr(path, follow_symlinks=False)}
            linked = inodes.setdefault(status.st_ino, str(path.relative_to(folder))) if not stat.S_ISDIR(status.st_mode) else ""
            found[str(path.relative_to(folder))] = (status.st_mode, data, sorted(attributes), linked)
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_layer_brought_up_to_date_is_one_made_at_once(tmp_path: Path, name: str) -> None:
    model = recorded(tmp_path, PROGRAMS[name]).model
    every = states(model, 60)

    def work() -> str:
        place = tmp_path / "layers"
        place.mkdir()
        cell.mount("faultlib", place, "tmpfs")
        disk = Disk(model)
        (root,) = model.roots
        kept = Image(disk)
        (place / "kept").mkdir()
        wrong = []
        for number, state in enumerate([*every, *every[::-7], *every[::5]]):
            kept.update(state, {root: place / "kept"})
            (place / "new").mkdir()
            Image(disk).update(state, {root: place / "new"})
            if snapshot(place / "kept") != snapshot(place / "new"):
                wrong.append((number, str(state)))
            shutil.rmtree(place / "new")
        return json.dumps(wrong)

    assert json.loads(cell.call(work)) == []


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_mounted_is_the_state(tmp_path: Path, name: str) -> None:
    recording = recorded(tmp_path, PROGRAMS[name])
    every = states(recording.model, 60)

    def work() -> str:
        place = tmp_path / "place"
        place.mkdir()
        cell.mount("faultlib", place, "tmpfs")
        disk = Disk(recording.model)
        ((root, first),) = recording.roots.copies(tmp_path / "campaign").items()
        layers = Layers(Image(disk), {root: first}, place)
        wrong = []
        for number, state in enumerate([*every, *every[::-3]]):
            Image(disk).whole(state, {os.fsencode(root): place / "whole"})
            with layers.mounted(state):
                (root / "left behind").write_text("gone with the next")
                (root / "left behind").unlink()
                there, wanted = snapshot(root), snapshot(place / "whole")
                (root / "left behind").write_text("gone with the next")
            if there != wanted:
                wrong.append((number, str(state)))
            shutil.rmtree(place / "whole")
        return json.dumps(wrong)

    assert json.loads(cell.call(work)) == []
