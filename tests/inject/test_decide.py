"""The decision core against an obvious reference, call by call: what counts and acts, and with which draw."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from faultlib._core import ffi, lib
from hypothesis import given, settings
from hypothesis import strategies as st

from faultlib.inject.grammar import parse_rule
from faultlib.inject.rules import Rule
from tests.inject.test_decide_match import M64, STRINGS, compiled, fnv, mix, slow_glob

# Streams of calls.


@dataclass(frozen=True)
class Call:
    """One call; process, thread and path are small numbers."""

    process: int
    thread: int
    path: int
    size: int | None
    offset: int | None
    flags: int | None
    now: int


@dataclass
class Count:
    matched: int = 0
    fired: int = 0


@dataclass
class Reference:
    """Decides as the documentation says, with dictionaries."""

    rules: list[Rule]
    seed: int
    counts: dict[tuple[Any, ...], Count] = field(default_factory=dict)
    draws: dict[tuple[int, ...], int] = field(default_factory=dict)
    fired: set[str] = field(default_factory=set)

    def count(self, *key: Any) -> Count:
        return self.counts.setdefault(key, Count())

    def decide(self, call: Call) -> tuple[int, int, int] | None:
        """Returns (rule, its counter, its draw) of what acts."""
        acts: tuple[int, int, int] | None = None
        for number, rule in enumerate(self.rules):
            if not self.matches(rule, call):
                continue
            own = self.count(number, "process", call.process)
            own.matched += 1
            key = {"process": call.process, "session": 0, "thread": (call.process, call.thread), "path": call.path}
            scope = rule.scope or "process"
            counter = own
            if scope != "process":
                counter = self.count(number, scope, key[scope])
                counter.matched += 1
            draw = self.draw(number, rule, call)
            if acts is None and self.is_open(rule, counter, draw):
                acts = (number, counter.matched, mix(draw, 1))
                if rule.times is not None:
                    counter.fired += 1
                if rule.times is None or scope != "process":
                    own.fired += 1
        if acts is not None and self.rules[acts[0]].name:
            self.fired.add(str(self.rules[acts[0]].name))
        return acts

    def draw(self, number: int, rule: Rule, call: Call) -> int:
        jitter = rule.delay is not None and rule.delay.jitter_ns > 0
        if rule.p is None and str(rule.effect) != "corrupt=1" and not jitter:
            return 0
        stream = (number, call.process, call.thread)
        self.draws[stream] = self.draws.get(stream, 0) + 1
        who = mix(fnv(b"%d" % call.process), fnv(b"%d" % call.thread))
        return mix(mix(self.seed, number), mix(who, self.draws[stream]))

    def matches(self, rule: Rule, call: Call) -> bool:
        for span, value in ((rule.size, call.size), (rule.offset, call.offset)):
            if span is not None:
                if value is None or (span.low is not None and value < span.low):
                    return False
                if span.high is not None and value > span.high:
                    return False
        if rule.flags and (call.flags is None or call.flags & 0o101 != 0o101):
            return False
        if rule.thread is not None and not slow_glob(rule.thread, f"1.{call.thread}"):
            return False
        if rule.after is not None and rule.after not in self.fired:
            return False
        begin = rule.at_ns or 0
        if call.now < begin or (rule.for_ns is not None and call.now >= begin + rule.for_ns):
            return False
        return call.size is None or call.size >= LEAST[str(rule.effect)]

    @staticmethod
    def is_open(rule: Rule, counter: Count, draw: int) -> bool:
        if rule.when is not None:
            n, window = counter.matched, rule.when
            last = M64 if window.last is None else window.last
            if n not in range(window.first, last + 1, window.step):
                return False
        if rule.p is not None and draw >> 32 >= int(rule.p * (1 << 32)):
            return False
        return rule.times is None or counter.fired < rule.times


# The effects of the streams, and the least size that each needs.
LEAST = {
    "error=EIO": 0, "short=100": 101, "torn=50%": 2, "return=200": 200, "corrupt=1": 1, "skip": 0, "stop": 0, "None": 0,
    "error=ENOENT": 0,
}  # fmt: skip


@st.composite
def stream_rules(draw: st.DrawFn) -> list[Rule]:
    effects = ["error=EIO", "short=100", "torn=50%", "return=200", "corrupt=1", "skip", "delay=1s+-1s", "stop:delay=1s"]
    found = []
    for number in range(draw(st.integers(1, 5))):
        is_open = draw(st.integers(0, 3)) == 0
        fields = ["open", "error=ENOENT"] if is_open else ["pwrite", draw(st.sampled_from(effects))]
        windows = ["when=1", "when=2..3", "when=3+", "when=2..9+3", "when=1+2", "times=1", "times=3"]
        some = draw(st.lists(st.sampled_from(windows), max_size=2, unique_by=lambda w: w[:4]))
        fields += some
        if some:
            fields.append("scope=" + draw(st.sampled_from(["process", "session", "thread", "path"])))
        more = ["p=0.5", "p=0.9", "at=3ns", "for=20ns", "thread=1.[01]", "thread=*1"]
        more += (
            ["flags=O_WRONLY|O_CREAT"] if is_open else ["size=100..300", "size=..200", "offset=0..50", "offset=-9..7"]
        )
        fields += draw(st.lists(st.sampled_from(more), max_size=3, unique_by=lambda f: f.partition("=")[0]))
        if number and draw(st.booleans()):
            fields.append(f"after=r{draw(st.integers(0, number - 1))}")
        found.append(parse_rule(":".join([*fields, f"name=r{number}"])))
    return found


def maybe(strategy: st.SearchStrategy[int]) -> st.SearchStrategy[int | None]:
    return st.none() | strategy


calls = st.builds(
    Call, st.integers(0, 2), st.integers(0, 2), st.integers(0, 2),
    maybe(st.sampled_from([0, 1, 2, 99, 100, 101, 200, 999])), maybe(st.integers(-12, 60)),
    maybe(st.sampled_from([0, 0o100, 0o101, 0o1101])), st.integers(0, 40),
)  # fmt: skip


class Core:
    """The real decision, with its counters laid out as the shim does."""

    def __init__(self, rules: list[Rule], seed: int) -> None:
        self.seed = seed
        slots = {str(rule.name): number for number, rule in enumerate(rules)}
        self.rules = [compiled(rule, number, slots)[0] for number, rule in enumerate(rules)]
        for seat, rule in enumerate(self.rules):
            rule.seat = seat
        self.strings = ffi.new("char[]", bytes(STRINGS))
        self.process = ffi.new("struct fl_counter[3][64]")
        self.thread = ffi.new("struct fl_thread_counter[9][64]")
        self.tallies = ffi.new("struct fl_tally[64]")
        self.paths = ffi.new("struct fl_path_counter[]", lib.FL_MAX_PATH_COUNTERS)
        self.full = ffi.new("uint32_t *")
        self.disk = ffi.new("struct fl_choice *")

    def decide(self, call: Call, alone: bool) -> tuple[int, int, int] | None:
        look = ffi.new("struct fl_look *")
        text = ffi.new("char[]", b"1.%d" % call.thread)
        look.seed, look.now_ns, look.thread_path, look.path_key = self.seed, call.now, text, 1000 + call.path
        look.identity, look.thread = fnv(b"%d" % call.process), fnv(b"%d" % call.thread)
        for bit, name in enumerate(("size", "offset", "flags")):
            value = getattr(call, name)
            if value is not None:
                setattr(look, name, value)
                look.have |= 1 << bit
        counters = ffi.new("struct fl_counters *")
        counters.process, counters.thread = self.process[call.process], self.thread[call.process * 3 + call.thread]
        counters.tallies, counters.paths, counters.paths_full = self.tallies, self.paths, self.full
        counters.alone, counters.disk = alone, self.disk
        choice, found = ffi.new("struct fl_choice *"), None
        for number, rule in enumerate(self.rules):
            look.op = next(i for i in range(128) if rule.ops[i // 64] >> i % 64 & 1)
            now = ffi.new("struct fl_choice *")
            if lib.fl_consider(rule, self.strings, look, counters, found is None, now):
                assert found is None
                choice, found = now, number
        if found is None:
            return None
        assert choice.rule == self.rules[found]
        lib.fl_fired(choice.rule, counters)
        return found, choice.nth, choice.draw


@settings(max_examples=300)
@given(stream_rules(), st.lists(calls, max_size=40), st.integers(0, M64), st.booleans())
def test_decides_as_the_reference(rules: list[Rule], stream: list[Call], seed: int, alone: bool) -> None:
    reference, core = Reference(rules, seed), Core(rules, seed)
    for call in stream:
        assert core.decide(call, alone) == reference.decide(call)
    for number in range(len(rules)):
        for process in range(3):
            counter, expected = core.process[process][number], reference.count(number, "process", process)
            assert (counter.matched, counter.fired) == (expected.matched, expected.fired)
        assert core.tallies[number].session.matched == reference.count(number, "session", 0).matched


def test_probability_is_what_was_asked_for() -> None:
    rules = [parse_rule("pwrite:error=EIO:p=0.05:name=a")]
    core, call = Core(rules, 7), Call(0, 0, 0, 5, None, None, 0)
    fired = sum(core.decide(call, True) is not None for _ in range(20_000))
    assert 900 < fired < 1100


def test_draws_do_not_depend_on_other_threads() -> None:
    rules = [parse_rule("pwrite:error=EIO:p=0.5:name=a")]
    alone, crowded = Core(rules, 3), Core(rules, 3)
    mine, other = Call(0, 0, 0, 5, None, None, 0), Call(0, 1, 0, 5, None, None, 0)
    first = [alone.decide(mine, False) is not None for _ in range(64)]
    second = []
    for i in range(64):
        for _ in range(i % 3):
            crowded.decide(other, False)
        second.append(crowded.decide(mine, False) is not None)
    assert first == second
    assert 10 < sum(first) < 54


def test_counters_are_64_bits_wide() -> None:
    rules = [parse_rule("pwrite:error=EIO:when=4294967300:name=a")]
    core, call = Core(rules, 0), Call(0, 0, 0, 5, None, None, 0)
    core.process[0][0].matched = 4294967298
    assert [core.decide(call, alone) is not None for alone in (True, False, True)] == [False, True, False]


@pytest.mark.parametrize("scope", ["process", "session", "thread", "path"])
def test_times_is_a_limit(scope: str) -> None:
    core = Core([parse_rule(f"pwrite:error=EIO:times=2:scope={scope}:name=a")], 0)
    fired = [core.decide(Call(0, 0, 0, 5, None, None, 0), True) is not None for _ in range(4)]
    assert fired == [True, True, False, False]
    assert core.process[0][0].fired == 2


def test_another_rule_in_the_same_seat_counts_anew() -> None:
    rules = [parse_rule(f"pwrite:error=EIO:when=2:scope=thread:name={name}") for name in "ab"]
    core, call = Core(rules, 0), Call(0, 0, 0, 5, None, None, 0)
    both = core.rules
    both[1].seat = both[0].seat
    core.rules = both[:1]
    assert core.decide(call, True) is None
    core.rules = both[1:]
    assert [core.decide(call, True) is not None for _ in range(2)] == [False, True]


@pytest.mark.parametrize(("effect", "least"), list(LEAST.items()))
def test_calls_that_an_effect_cannot_change_do_not_match(effect: str, least: int) -> None:
    if effect in ("None", "error=ENOENT"):
        return
    core = Core([parse_rule(f"pwrite:{effect}:name=a")], 0)
    matching = [size for size in range(300) if core.decide(Call(0, 0, 0, size, None, None, 0), True)]
    assert matching == list(range(least, 300))


def test_a_path_that_finds_no_counter_is_told_and_does_not_act() -> None:
    rules = [parse_rule("pwrite:error=EIO:times=1:scope=path:name=a")]
    core = Core(rules, 0)
    for i in range(lib.FL_MAX_PATH_COUNTERS):
        core.paths[i].key = 2
    assert core.decide(Call(0, 0, 0, 5, None, None, 0), True) is None
    assert core.full[0] == 1
