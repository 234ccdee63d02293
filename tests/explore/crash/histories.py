"""Histories made at random, and what is slow and obvious to compare with."""

from __future__ import annotations

from hypothesis import strategies as st

from faultlib.explore.crash.changes import DirChange, Resize, Write, ZeroRange
from faultlib.explore.crash.content import Garbage
from faultlib.explore.crash.losses import ALL, GARBAGE, NOTHING, ZEROS, Lost, State
from faultlib.explore.crash.model import NAMES
from tests.explore.crash.small import Program, Step

FILES = ["a", "b", "d/c"]
AT = st.integers(0, 9)
DATA = st.integers(1, 6).map(lambda n: "xyzuvw"[:n])
FILE = st.sampled_from(FILES)
ANY = st.sampled_from([".", "d", *FILES])
STEPS = st.one_of(
    st.tuples(st.just("append"), FILE, DATA),
    st.tuples(st.just("pwrite"), FILE, AT, DATA),
    st.tuples(st.just("truncate"), FILE, AT),
    st.tuples(st.just("zero"), FILE, AT, AT),
    st.tuples(st.sampled_from(["fsync", "fdatasync", "failing_fsync"]), ANY),
    st.tuples(st.just("msync"), FILE, AT, AT),
    st.tuples(st.just("dsync_write"), FILE, AT, DATA),
    st.tuples(st.just("store"), FILE, AT, DATA, st.integers(0, 5)),
    st.tuples(st.just("replace"), FILE, DATA),
    st.tuples(st.just("rename"), FILE, FILE),
    st.tuples(st.just("unlink"), FILE),
    st.tuples(st.just("link"), FILE, FILE),
    st.tuples(st.sampled_from(["sync", "say"])),
)
UNITS = st.sampled_from([100, 512, 700, 2048, 4096])


@st.composite
def programs(draw: st.DrawFn, most: int = 10) -> Program:
    """A program whose steps fit its tree."""
    names, steps = set(FILES), list[Step]()
    for step in draw(st.lists(STEPS, max_size=most)):
        steps += _fitting(step, names)
    return Program(steps, {"d/": "", **dict.fromkeys(FILES, "oo")}, draw(UNITS))


def _fitting(step: Step, names: set[str]) -> list[Step]:
    """The step, with what it needs."""
    kind, *rest = step
    made: list[Step] = [("create", rest[0])] if rest and rest[0] in FILES and rest[0] not in names else []
    names.update(path for _, path in made)
    if kind == "replace":
        return [*made, ("create", "tmp"), ("append", "tmp", rest[1]), ("rename", "tmp", rest[0])]
    if kind in ("rename", "link"):
        if rest[0] == rest[1] or (kind == "link" and rest[1] in names):
            return made
        names.add(rest[1])
        names.difference_update(rest[:1] if kind == "rename" else [])
    elif kind == "unlink":
        names.discard(rest[0])
    return [*made, step]


def owned(program: Program, crash: int) -> list[tuple[int, int]]:
    """The changes of the tree up to a crash, with what each belongs to."""
    found = ((i, program.model.owner(i)) for i in range(crash))
    return [(i, node) for i, node in found if node is not None]


@st.composite
def losses(draw: st.DrawFn, program: Program, crash: int, most: int = 3) -> list[tuple[int, Lost]]:
    """Something that is lost, whether it can be or not."""
    items, changes = list[tuple[int, Lost]](), owned(program, crash)
    for index, node in draw(st.lists(st.sampled_from(changes), max_size=most)) if changes else []:
        change = program.changes[index]
        if isinstance(change, Write) and draw(st.booleans()):
            lo = draw(st.integers(0, 4)) * 512 % change.length
            hi = draw(st.sampled_from([ALL, change.length, min(change.length, lo + 512), (lo + change.length + 1) // 2]))
            items.append((node, Lost(index, index + 1, lo, hi, draw(st.sampled_from([NOTHING, ZEROS, GARBAGE])))))
        else:
            items.append((node, Lost(index, draw(st.integers(index + 1, crash)))))
    return items


def remains(program: Program, plan: State) -> dict[int, list[int]]:
    """For each change what is left of it, byte by byte: 0 it is there, 1 garbage, 2 zeros, 3 nothing. A change of names is one byte."""
    found = {}
    for index, node in owned(program, plan.crash):
        change = program.changes[index]
        length = change.length if isinstance(change, Write) else 1
        found[index] = left = [0] * length
        for lost in plan.lost(node):
            if lost.first <= index < lost.last:
                hi = length if lost.hi == ALL else lost.hi
                left[lost.lo : hi] = [max(3 - lost.left, old) for old in left[lost.lo : hi]]
    return found


def plain_tree(program: Program, plan: State) -> dict[bytes, bytes | None]:
    """What a state has under each path, done byte by byte: None is a directory."""
    files = {number: bytearray(content.read()) for number, content in program.initial.contents.items()}
    names = {number: dict(entries) for number, entries in program.initial.entries.items()}
    for index, left in remains(program, plan).items():
        change = program.changes[index]
        match change:
            case Write(_, node, position, source, at, length, _):
                _write(files.setdefault(node, bytearray()), position, source.read(at, length), left)
            case Resize(_, node, size) if not left[0]:
                data = files.setdefault(node, bytearray())
                data[:] = data[:size].ljust(size, b"\0")
            case ZeroRange(_, node, position, length) if not left[0]:
                data = files.setdefault(node, bytearray())
                data[position : position + length] = bytes(len(data[position : position + length]))
            case DirChange(_, entries, _) if not left[0]:
                for entry in entries:
                    here = names.setdefault(entry.directory, {})
                    here.pop(entry.name, None)
                    here.update({} if entry.after is None else {entry.name: entry.after})
    return dict(_paths(program, names, files))


def _write(data: bytearray, position: int, new: bytes, left: list[int]) -> None:
    for i, fate in enumerate(left):
        if fate == 1 and position + i >= len(data):
            data.extend(bytes(position + i - len(data)) + Garbage().read(position + i, 1))
        if fate < 3:
            data.extend(bytes(max(0, position + i + 1 - len(data))))
        if fate == 0:
            data[position + i] = new[i]


def _paths(program: Program, names: dict, files: dict) -> list[tuple[bytes, bytes | None]]:
    found, waiting = [], [(b"/r", program.model.roots[b"/r"])]
    while waiting:
        path, number = waiting.pop()
        is_dir = program.model.nodes[number].kind == "dir"
        found.append((path, None if is_dir else bytes(files.get(number, b""))))
        waiting += [(path + b"/" + name, child) for name, child in names.get(number, {}).items()] if is_dir else []
    return found


def is_less(program: Program, one: State, other: State) -> bool:
    """Whether all that has not reached the disk in one state has not in the other."""
    ours, theirs = remains(program, one), remains(program, other)
    return one.crash == other.crash and all(
        not a or b for index, left in ours.items() for a, b in zip(left, theirs[index], strict=True)
    )


assert NAMES == 0
