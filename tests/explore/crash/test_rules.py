"""What holds for any history, against what is slow and obvious."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from faultlib.explore.crash.losses import State, runs, state
from faultlib.explore.crash.profiles import KILL, POSIX, PROFILES, Rules
from faultlib.explore.crash.strategies import STRATEGIES
from tests.explore.crash.histories import is_less, losses, owned, plain_tree, programs
from tests.explore.crash.litmus import LITMUS

SETTINGS = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
MOST = 150
PROFILE = st.sampled_from([*PROFILES.values()])
SECTORS = st.sampled_from([512, 4096])


def contents(disk, plan: State) -> dict[bytes, bytes | None]:
    nodes = disk.model.nodes
    return {p: None if nodes[n].kind == "dir" else disk.content(plan, n).read() for p, n in disk.names(plan).paths.items()}


@SETTINGS
@given(st.data(), programs())
def test_a_state_is_what_is_left_byte_by_byte(data, program) -> None:
    crash = data.draw(st.integers(0, len(program.changes)))
    plan = state(crash, data.draw(losses(program, crash)))
    assert contents(program.disk, plan) == plain_tree(program, plan)


@SETTINGS
@given(st.data(), programs())
def test_digests_are_equal_where_trees_are(data, program) -> None:
    seen: dict[bytes, dict] = {}
    for _ in range(8):
        crash = data.draw(st.integers(0, len(program.changes)))
        plan = state(crash, data.draw(losses(program, crash)))
        tree, digest = plain_tree(program, plan), program.disk.digest(plan)
        assert seen.setdefault(digest, tree) == tree
        assert [d for d, t in seen.items() if t == tree] == [digest]


@SETTINGS
@given(st.data(), programs(), PROFILE, SECTORS)
def test_closing(data, program, profile, sector) -> None:
    rules = Rules(profile, program.model, sector)
    crash = data.draw(st.integers(0, len(program.changes)))
    plan = state(crash, data.draw(losses(program, crash)))
    closed = rules.close(plan)
    if closed is None:
        assert not rules.allows(plan)
        return
    assert rules.close(closed) == closed and rules.allows(closed)
    assert closed == rules.canonical(closed) == state(crash, closed.items())
    assert rules.allows(plan) == (closed == rules.canonical(plan))
    assert is_less(program, plan, closed)
    more = rules.close(state(crash, [*plan.items(), *data.draw(losses(program, crash))]))
    if more is not None and profile is not KILL:
        assert is_less(program, closed, more)


@SETTINGS
@given(st.data(), programs(), PROFILE, SECTORS)
def test_what_a_stronger_profile_allows_the_weakest_does(data, program, profile, sector) -> None:
    rules = Rules(profile, program.model, sector)
    crash = data.draw(st.integers(0, len(program.changes)))
    closed = rules.close(state(crash, data.draw(losses(program, crash))))
    if closed and profile is not KILL:
        assert Rules(POSIX, program.model, sector).allows(closed)


@SETTINGS
@given(programs(), SECTORS)
def test_what_a_killed_process_leaves_the_weakest_profile_allows(program, sector) -> None:
    posix, kill = Rules(POSIX, program.model, sector), Rules(KILL, program.model, sector)
    for strategy in STRATEGIES["A"]:
        for candidate in strategy(kill):
            assert kill.allows(candidate.state)
            assert posix.allows(candidate.state)


@SETTINGS
@given(st.data(), programs(), PROFILE, SECTORS)
def test_the_latest_moment_leaves_the_same(data, program, profile, sector) -> None:
    rules = Rules(profile, program.model, sector)
    crash = data.draw(st.integers(0, len(program.changes)))
    closed = rules.close(state(crash, data.draw(losses(program, crash))))
    assume(closed is not None)
    latest = rules.latest(closed)
    assert latest >= rules.until(closed)
    if latest < crash:  # all that is behind it has not happened, but for pages that were written back early
        assert rules.until(closed) < crash
        return
    rest = [(node, one) for i, node in owned(program, latest) if i >= crash for one in runs([i], program.model.of_node[node])]
    later = rules.canonical(state(latest, [*closed.items(), *rest]))
    assert rules.allows(later)
    assert program.disk.digest(later) == program.disk.digest(closed)
    if latest < len(program.changes) and profile is not KILL:
        node = program.model.owner(latest)
        again = rules.close(state(latest + 1, [*later.items(), *([(node, runs([latest], [latest])[0])] if node is not None else [])]))
        assert again is None, "a later one leaves the same"


@SETTINGS
@given(st.data(), programs())
def test_a_state_is_spelt_in_one_way(data, program) -> None:
    crash = data.draw(st.integers(0, len(program.changes)))
    items = data.draw(losses(program, crash, 6))
    plan = state(crash, items)
    assert state(crash, data.draw(st.permutations(items))) == plan == state(crash, plan.items()) == state(crash, [*items, *plan.items()])
    assert State.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    for _, several in plan.losses:
        assert list(several) == sorted(several)
        assert all(a.last <= b.first if a.whole or b.whole else (a.first, a.hi) <= (b.first, b.lo + 1e9) for a, b in pairwise(several))


@SETTINGS
@given(programs(8), PROFILE, SECTORS)
def test_what_is_looked_at_is_allowed(program, profile, sector) -> None:
    rules = Rules(profile, program.model, sector)
    for name, several in STRATEGIES.items():
        for strategy in several:
            for number, candidate in enumerate(strategy(rules)):
                assert rules.allows(candidate.state), (name, strategy.__name__, candidate)
                if number > MOST:
                    break


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", LITMUS)
def test_closing_loses_the_least(name: str, profile: str) -> None:
    """Of all that is allowed and has lost something, what closing gives has lost no more than any other.

    But for a write that is cut off where the file once ended: only the loss of a size can do that, alone it takes the sector along.
    """
    litmus = LITMUS[name]
    program = litmus.program()
    rules = Rules(PROFILES[profile], program.model, litmus.sector)
    allowed = set(program.states(rules, [len(program.changes)]))
    for plan in allowed:
        for item in plan.items():
            alone = State(plan.crash, ((item[0], (item[1],)),))
            closed = rules.close(alone)
            assert closed is not None
            if item[1].lo and item[1].lo == program.model.old[item[1].first] < program.model.over[item[1].first]:
                continue
            assert is_less(program, closed, plan)
