"""How many states of a crash are enumerated in a second of CPU time, without judging them: `python -m bench.crash_states`."""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from itertools import chain

from bench.budgets import at_least
from faultlib.explore.crash.changes import Change, DirChange, DirEntry, Sync, Write
from faultlib.explore.crash.content import Bytes, Content
from faultlib.explore.crash.disk import Disk
from faultlib.explore.crash.model import Initial, Model
from faultlib.explore.crash.profiles import KILL, PROFILES, Rules
from faultlib.explore.crash.strategies import STRATEGIES, Candidate
from faultlib.explore.crash.tree import Node, Tree

SECTOR = 512
BUDGET = 5_000
"""So many unique states have to come in a second."""
DATA = random.Random(1).randbytes(1 << 20)


def empty() -> Tree:
    """A tree with nothing but its root."""
    tree = Tree()
    tree.nodes[1] = Node("dir")
    tree.roots[b"/r"] = 1
    return tree


def database(writes: int = 300, syncs: int = 20) -> Model:
    """A database of 64 KiB and its log: frames are appended to the log, synced, and at times copied into the database."""
    chance, tree = random.Random(2), empty()
    for number, name, size in ((2, b"db", 65536), (3, b"db-wal", 0)):
        tree.nodes[number] = Node("file", content=Content.of(Bytes(DATA), size))
        tree.nodes[1].children[name] = number
    initial, changes, at = Initial.of(tree), list[Change](), 0
    for i in range(writes):
        if i % 5 == 4:
            changes.append(Write(i, 2, chance.randrange(16) * 4096, Bytes(DATA), chance.randrange(1 << 19), 4096))
        else:
            length = chance.choice([24, 512, 1024])
            changes.append(Write(i, 3, at % 65536, Bytes(DATA), chance.randrange(1 << 19), length))
            at += length
        if i % (writes // syncs) == writes // syncs - 1:
            changes.append(Sync(i, 2 + i % 2, i, False, False))
    return Model(tree, initial, changes)


def files(count: int = 100, steps: int = 300) -> Model:
    """A tree of files in ten directories: written to, made anew, moved, removed, at times synced."""
    chance, tree = random.Random(3), empty()
    for d in range(10):
        tree.nodes[2 + d] = Node("dir")
        tree.nodes[1].children[b"d%d" % d] = 2 + d
    for i in range(count):
        tree.nodes[100 + i] = Node("file", content=Content.of(Bytes(DATA[i:]), 2000))
        tree.nodes[2 + i % 10].children[b"f%d" % i] = 100 + i
    initial, changes = Initial.of(tree), list[Change]()
    for i in range(steps):
        for change in _step(tree, chance, i, 1000 + i):
            tree.apply(change)
            changes.append(change)
    return Model(tree, initial, changes)


def _step(tree: Tree, chance: random.Random, entry: int, new: int) -> Iterator[Change]:
    here = 2 + chance.randrange(10)
    names = tree.nodes[here].children
    name = chance.choice([*names])
    match chance.randrange(6):
        case 0:
            tree.nodes[new] = Node("file")
            yield DirChange(entry, (DirEntry(here, b"n%d" % entry, None, new),), new)
        case 1:
            there = 2 + chance.randrange(10)
            yield DirChange(entry, (DirEntry(here, name, names[name], None), DirEntry(there, b"m%d" % entry, None, names[name])))
        case 2 if len(names) > 5 and chance.randrange(2):
            yield DirChange(entry, (DirEntry(here, name, names[name], None),))
        case 3 if chance.randrange(3) == 0:
            yield Sync(entry, chance.choice([here, names[name]]), entry, False, False)
        case _:
            at = chance.choice([0, tree.nodes[names[name]].content.size])
            yield Write(entry, names[name], at, Bytes(DATA), chance.randrange(1 << 19), chance.choice([100, 4096, 6000]))


def candidates(rules: Rules) -> Iterator[Candidate]:
    """All states, strategy by strategy; for a kill there is but the first, as in a campaign."""
    names = [name for name in STRATEGIES if name == "A" or rules.profile is not KILL]
    return chain.from_iterable(strategy(rules) for name in names for strategy in STRATEGIES[name])


def rate(name: str, model: Model, profile: str, seconds: float) -> None:
    """Prints how fast unique states come, and when the first did."""
    begin = time.process_time()
    rules, disk = Rules(PROFILES[profile], model, SECTOR), Disk(model)
    seen, by, number, first = set[bytes](), dict[str, int](), 0, 0.0
    for candidate in candidates(rules):
        number += 1
        digest = disk.digest(candidate.state)
        if digest not in seen:
            seen.add(digest)
            by[candidate.strategy] = by.get(candidate.strategy, 0) + 1
        first = first or time.process_time() - begin
        if time.process_time() - begin > seconds:
            break
    took = time.process_time() - begin
    parts = ", ".join(f"{strategy} {count}" for strategy, count in by.items())
    print(
        f"{name:<26} {profile:<6} {len(seen) / took:>9,.0f} unique/s {number / took:>9,.0f} tried/s"
        f" {first * 1000:>7.1f} ms to the first  {took:5.2f} s  {at_least(len(seen) / took, BUDGET)} ({parts})"
    )


def main() -> None:
    """Measures what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", choices=PROFILES, action="append")
    parser.add_argument("--seconds", type=float, default=3, help="at most, for each line")
    parser.add_argument("--only", default="", help="part of a name")
    options = parser.parse_args()
    subjects = {
        "database, 300 writes": database,
        "100 files, 300 steps": files,
        "database, 20,000 writes": lambda: database(20_000, 1_000),
        "1,000 files, 20,000 steps": lambda: files(1_000, 20_000),
        "log, 20,000 unsynced": lambda: database(20_000, 1),
    }
    for name, make in subjects.items():
        if options.only in name:
            model = make()
            for profile in options.profile or PROFILES:
                rate(name, model, profile, options.seconds)


if __name__ == "__main__":
    main()
