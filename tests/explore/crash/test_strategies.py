"""What the strategies look at: every kind of damage that is possible, in their order, and without reading all before the first state."""

from __future__ import annotations

from itertools import groupby, islice

import pytest

from bench.crash_states import candidates, database, files
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.profiles import PROFILES, Rules
from faultlib.explore.crash.strategies import STRATEGIES
from tests.explore.crash.litmus import LITMUS, Litmus


def kinds(litmus: Litmus, outcome: str) -> set[tuple[str, str]]:
    """What has become of each file: missing, old, new, empty, or which sorts of data follow each other in it."""
    program = litmus.program()
    last = dict(part.split(":") for part in program.look(State(len(program.changes))).split() if ":" in part)
    found = dict(part.split(":") for part in outcome.split() if ":" in part)
    return {(path, _kind(found.get(path), litmus.first.get(path), last.get(path))) for path in {*litmus.first, *last, *found}}


def _kind(data: str | None, old: str | None, new: str | None) -> str:
    if data in (None, old, new, ""):
        return "missing" if data is None else "empty" if not data else "old" if data == old else "new"
    sorts = [{".": "zero", "#": "garbage"}.get(letter) or ("old" if letter in (old or "") else "new") for letter in data or ""]
    return " ".join(sort for sort, _ in groupby(sorts))


BEYOND = {
    ("prefix append", "posix"): {("f", "old zero new zero"), ("f", "old garbage new garbage")},
    ("replace by truncate", "posix"): {("f", "new old"), ("f", "old new")},
}
"""Kinds that no strategy looks for; nor any with zeros and garbage in one file."""


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", LITMUS)
def test_every_kind_of_damage_is_looked_at(name: str, profile: str) -> None:
    litmus = LITMUS[name]
    program = litmus.program()
    rules = Rules(PROFILES[profile], program.model, litmus.sector)
    seen = {program.look(candidate.state) for several in STRATEGIES.values() for strategy in several for candidate in strategy(rules)}
    assert seen <= litmus.expected(profile)
    wanted = {kind for outcome in litmus.expected(profile) for kind in kinds(litmus, outcome)}
    wanted = {(path, kind) for path, kind in wanted if not {"zero", "garbage"} <= {*kind.split()}}
    missed = wanted - {kind for outcome in seen for kind in kinds(litmus, outcome)}
    assert missed == BEYOND.get((name, profile), set())


@pytest.mark.parametrize("profile", ["ext4", "xfs", "btrfs", "posix"])
def test_pages_that_may_have_been_written_back_before_they_were_found_are_looked_at(profile: str) -> None:
    name = "two pages stored before another's fsync"
    program = LITMUS[name].program()
    seen = {program.look(candidate.state) for candidate in candidates(Rules(PROFILES[profile], program.model, 4096))}
    assert seen <= LITMUS[name].expected(profile)
    assert {"f:ac j:a", "f:ba j:a", "f:ac j:b", "f:ba j:b"} <= seen


@pytest.mark.parametrize("profile", PROFILES)
def test_the_order_is_that_of_their_yield(profile: str) -> None:
    program = LITMUS["replace by rename"].program()
    names = [candidate.strategy for candidate in candidates(Rules(PROFILES[profile], program.model, 512))]
    assert [name for name, _ in groupby(names)] == [name for name in STRATEGIES if name in names]
    assert list(STRATEGIES) == ["A", "B", "C", "C2", "E", "D"]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("make", [database, lambda writes, _: files(100, writes)])
def test_first_states_come_without_trying_all(make, profile: str) -> None:
    """The calls until the first states are as many for each change of a long history as of a short one."""
    few, many = (_calls(make(count, count // 20), profile) for count in (1000, 8000))
    assert many < 16 * few


def _calls(model, profile: str) -> int:
    """How often anything of the model is asked for, until each strategy has yielded its first states."""
    changes = model.changes
    counted = _Counted(changes)
    model.changes = counted
    rules = Rules(PROFILES[profile], model, 512)
    for several in STRATEGIES.values():
        for strategy in several:
            assert all(candidate.strategy for candidate in islice(strategy(rules), 5))
    model.changes = changes
    return counted.asked


class _Counted(list):
    """Changes that count how often they are looked at."""

    asked = 0

    def __getitem__(self, index):
        self.asked += 1
        return super().__getitem__(index)

    def __iter__(self):
        for item in super().__iter__():
            self.asked += 1
            yield item
