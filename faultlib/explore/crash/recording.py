"""One run of the target: the tree before it, each call that changed it, the data, and the source lines."""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from faultlib.errors import UsageError
from faultlib.explore.crash import changes as kinds
from faultlib.explore.crash.changes import Change, DirChange, DirEntry, Write
from faultlib.explore.crash.content import Content
from faultlib.explore.crash.model import Initial, Model
from faultlib.explore.crash.tree import FileSource, Node, Tree
from faultlib.inject.stacks import Frame

FILE, LOG, OUTPUT = "recording.json", "log", "output"
_KINDS = {kind.__name__: kind for kind in (*Change.__args__,)}


class Op(NamedTuple):
    """One call of the run, as a person would name it. `stack` is innermost first, `where` the program's own line, if known.

    `status` are the open flags of a descriptor that was written to (fcntl's F_GETFL).
    """

    name: str
    process: str
    thread: str
    comm: str
    paths: tuple[str, ...]
    fd: int | None
    size: int
    offset: int | None
    flags: int
    result: int
    stack: tuple[Frame, ...]
    where: Frame | None
    status: int = 0

    @property
    def place(self) -> str:
        """Where it was made: the source line, or else the program."""
        return str(self.where) if self.where else f"{self.comm} (process {self.process})"

    @property
    def caller(self) -> str:
        """The line from which the function was called in which it was made; empty if that is not known."""
        at = self.stack.index(self.where) + 1 if self.where in self.stack else 1
        return str(self.stack[at]) if at < len(self.stack) else ""


class Roots(NamedTuple):
    """The directories that are looked at: each path with the number of its copy."""

    paths: tuple[str, ...]

    def copies(self, folder: Path) -> dict[Path, Path]:
        """Returns where the tree before the run is kept, for each root."""
        return {Path(path): folder / "initial" / str(number) for number, path in enumerate(self.paths)}


class Recording(NamedTuple):
    """A run. `status` is that of the command, `outside` are the files beyond the roots that it changed, `outlived`
    the processes that it left behind, and which did not end soon, `unfired` the rules that did nothing to it, `remarks`
    are sentences on what is not covered.
    """

    command: tuple[str, ...]
    cwd: str
    roots: Roots
    status: int
    ops: tuple[Op, ...]
    model: Model
    log: Log
    incomplete: tuple[str, ...]
    outside: tuple[str, ...]
    outlived: tuple[str, ...] = ()
    unfired: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


class Log:
    """The data that were written, in a file of the campaign."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            self.size = size
            self._map = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) if size else b""

    def read(self, position: int, length: int) -> bytes:
        """Returns exactly so many bytes from there."""
        return self._map[position : position + length]


def save(folder: Path, head: dict[str, Any], tree: Tree, initial: Initial, changes: Sequence[Change], ops: Sequence[Op]) -> None:
    """Writes a recording into a folder in which the data and the first tree are already."""
    stacks: dict[tuple[Frame, ...], int] = {}
    data = {
        **head,
        "nodes": {number: _node_to_json(node) for number, node in tree.nodes.items()},
        "roots_at": {os.fsdecode(path): number for path, number in tree.roots.items()},
        "entries": {n: {os.fsdecode(name): child for name, child in d.items()} for n, d in initial.entries.items()},
        "sizes": {number: content.size for number, content in initial.contents.items()},
        "changes": [_change_to_json(change) for change in changes],
        "ops": [[*op[:-3], stacks.setdefault(op.stack, len(stacks)), op.where, op.status] for op in ops],
        "stacks": list(stacks),
    }
    path = folder / FILE
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(json.dumps(data))
    unfinished.replace(path)


def load(folder: Path) -> Recording:
    """Reads a recording. Raises UsageError for one that is not whole, or not of this version."""
    try:
        return _load(folder)
    except (ValueError, KeyError, TypeError, IndexError, OSError) as error:
        why = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        raise UsageError(
            f"{folder}: the recording of this campaign cannot be read, it was cut off or is of another version ({why}); "
            "a new campaign needs a folder of its own"
        ) from error


def check_place(recorded: Recording, folder: Path, *, isolated: bool) -> None:
    """Without namespaces states are written over the roots: never over the real ones. Raises UsageError."""
    if not isolated and not all(Path(root).is_relative_to(folder.resolve()) for root in recorded.roots.paths):
        raise UsageError(
            f"{folder}: this was recorded in the place of the real files; without namespaces states cannot be put there"
        )


def _load(folder: Path) -> Recording:
    data = json.loads((folder / FILE).read_text())
    log = Log(folder / LOG)
    tree = Tree()
    tree.nodes = {int(number): _node_of(node) for number, node in data["nodes"].items()}
    tree.roots = {os.fsencode(path): number for path, number in data["roots_at"].items()}
    entries = {int(n): {os.fsencode(name): child for name, child in d.items()} for n, d in data["entries"].items()}
    roots = Roots(tuple(data["roots"]))
    places, held = _first_files(roots, tree, entries), os.open(folder, os.O_PATH)
    for n, size in data["sizes"].items():
        if os.stat(places[int(n)], dir_fd=held).st_size != size:
            raise ValueError(f"{places[int(n)]} is not what it was")
    contents = {int(n): Content.of(FileSource(places[int(n)], held), size) for n, size in data["sizes"].items()}
    initial = Initial(entries, contents)
    changes = [_change_of(change, log) for change in data["changes"]]
    if any(isinstance(change, Write) and change.at + change.length > log.size for change in changes):
        raise ValueError(f"{LOG} is cut off")
    stacks = [tuple(Frame(*line) for line in stack) for stack in data["stacks"]]
    ops = tuple(_op_of(op, stacks) for op in data["ops"])
    return Recording(
        tuple(data["command"]), data["cwd"], roots, data["status"], ops, Model(tree, initial, changes),
        log, tuple(data["incomplete"]), tuple(data["outside"]), tuple(data["outlived"]),
        tuple(data["unfired"]), tuple(data["remarks"]),
    )  # fmt: skip


def _op_of(data: list[Any], stacks: list[tuple[Frame, ...]]) -> Op:
    *plain, stack, where, status = data
    plain[4] = tuple(plain[4])
    return Op(*plain, stacks[stack], Frame(*where) if where else None, status)  # type: ignore[call-arg]


def _node_to_json(node: Node) -> list[Any]:
    return [node.kind, os.fsdecode(node.target), node.mode]


def _node_of(data: list[Any]) -> Node:
    return Node(data[0], target=os.fsencode(data[1]), mode=data[2])


def _first_files(roots: Roots, tree: Tree, entries: dict[int, dict[bytes, int]]) -> dict[int, Path]:
    """Where in the campaign's folder the content of each file of the first tree is kept."""
    found: dict[int, Path] = {}
    for path, copy in roots.copies(Path()).items():
        waiting = [(copy, tree.roots[os.fsencode(path)])]
        while waiting:
            here, number = waiting.pop()
            found.setdefault(number, here)
            waiting += [(here / os.fsdecode(name), child) for name, child in entries.get(number, {}).items()]
    return found


def _change_to_json(change: Change) -> list[Any]:
    match change:
        case Write(entry, node, position, _, at, length, since):
            return ["Write", entry, node, position, at, length, since]
        case DirChange(number, entries, made):
            return ["DirChange", number, [[e.directory, os.fsdecode(e.name), e.before, e.after] for e in entries], made]
    return [type(change).__name__, *change]


def _change_of(data: list[Any], log: Log) -> Change:
    match data:
        case ["Write", entry, node, position, at, length, since]:
            return Write(entry, node, position, log, at, length, since)
        case ["DirChange", number, entries, made]:
            return DirChange(number, tuple(DirEntry(d, os.fsencode(name), b, a) for d, name, b, a in entries), made)
        case ["Ack", entry, fd, status, pieces]:
            return kinds.Ack(entry, fd, status, tuple((at, length) for at, length in pieces))
    change: Change = _KINDS[data[0]](*data[1:])
    return change
