"""The faked clocks of a session: from the live clock rules to the courses that the targets read (csrc/abi.h, `fl_clock`).

A domain is a set of clocks that some processes share. The session has one; each different `proc=` of a clock rule has one
more, in which the rules without `proc=` hold as well. A clock's course is a list of steps; within one it runs evenly. The times
at which rules begin and end (`at=`, `for=`) are steps known in advance, so nobody has to be awake then.

What a rate or a freeze made of the clock stays when it ends, as nothing sets a clock right that went wrong; an offset ends
with its rule. Without any rule left in a domain its clocks are real again.
"""

from __future__ import annotations

import time

from faultlib._core import ffi, lib
from faultlib.errors import FaultlibError
from faultlib.inject import compile as compiler
from faultlib.inject import effects
from faultlib.inject.frozen import Frozen
from faultlib.inject.rules import Rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from faultlib.inject.control import ControlBlock

SECOND_NS = 1_000_000_000
RATE_ONE = 1 << 32
REAL_CLOCKS = (time.CLOCK_REALTIME, time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME)
"""By FL_CLOCK_*."""
MOST_STEPS: int = lib.FL_CLOCK_STEPS
MOST_DOMAINS: int = lib.FL_MAX_CLOCKS


class ClockRule(Frozen):
    """A live clock rule with the session times between which it holds; `end_ns` None is for ever."""

    slot: int
    rule: Rule
    change: effects.ClockChange
    start_ns: int
    end_ns: int | None

    def is_on(self, now_ns: int) -> bool:
        """Whether it makes the clock what it is at that session time. A jump does so ever after."""
        return self.start_ns <= now_ns and (self.end_ns is None or now_ns < self.end_ns)

    def moments(self) -> Iterator[int]:
        """The session times at which it changes the clock."""
        if compiler.happens_at_a_call(self.rule):
            return
        yield self.start_ns
        if self.end_ns is not None:
            yield self.end_ns


class Step(Frozen):
    """A clock's even course from a session time on: drift from the rates, shift from offsets and jumps."""

    session_ns: int
    real_ns: int
    drift_ns: int
    rate: int
    shift_ns: int
    rules: int
    lasting: int

    def drift_at(self, real_ns: int) -> int:
        return self.drift_ns + ((real_ns - self.real_ns) * self.rate >> 32)


class Course:
    """One clock of a domain: its steps as published last, and the jumps that have happened, by slot."""

    def __init__(self, steps: Iterable[Step] = (), jumps: Mapping[int, int] | None = None) -> None:
        self.steps = list(steps)
        self.jumps = dict(jumps or {})

    def drift_at(self, real_ns: int) -> int:
        """What the clock would say, offsets and jumps aside."""
        before = [step for step in self.steps if step.real_ns <= real_ns] or self.steps[:1]
        return before[-1].drift_at(real_ns) if before else real_ns

    def plan(self, rules: list[ClockRule | None], session_ns: int, real_ns: int) -> None:
        """Makes new steps from now on, without a break but for what the rules say. None: a rule about other clocks."""
        start = self.drift_at(real_ns)
        moments = sorted({at for rule in rules if rule for at in rule.moments() if at > session_ns})
        self.steps = []
        for at in [session_ns, *moments]:
            real_at = real_ns + at - session_ns
            drift = self.steps[-1].drift_at(real_at) if self.steps else start
            self.steps.append(self._step(rules, at, real_at, drift))

    def note_jumps(self, rules: Iterable[ClockRule], session_ns: int) -> None:
        """Keeps the jumps that have happened, for when their rules are gone."""
        for rule in rules:
            if rule.change.verb == "jump" and rule.is_on(session_ns) and not compiler.happens_at_a_call(rule.rule):
                self.jumps[rule.slot] = rule.change.ns

    def _step(self, rules: list[ClockRule | None], session_ns: int, real_ns: int, drift_ns: int) -> Step:
        rate, shift, mask, passing, jumps = RATE_ONE, 0, 0, 0, dict(self.jumps)
        for place, rule in enumerate(rules):
            if rule is None or compiler.happens_at_a_call(rule.rule) or not rule.is_on(session_ns):
                continue
            mask |= 1 << place
            match rule.change.verb:
                case "offset":
                    shift += rule.change.ns
                    passing |= 1 << place
                case "jump":
                    jumps[rule.slot] = rule.change.ns
                case "rate":
                    rate = rate * int(rule.change.rate * RATE_ONE) >> 32
                case "freeze":
                    rate = 0
        return Step(session_ns, real_ns, drift_ns, rate, shift + sum(jumps.values()), mask, mask & ~passing)


class Domain:
    """The clocks that some processes share."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.rules: list[ClockRule] = []
        self.courses: dict[int, Course] = {}


class Clocks:
    """Keeps the domains of a control block in step with its rules."""

    def __init__(self, block: ControlBlock) -> None:
        self._block = block
        self._live: dict[int, ClockRule] = {}
        self._domains: dict[str, Domain] = {"": Domain(0)}
        """By the text of `proc=`. Numbers are not given twice: the order of the domains is that of their first rules."""

    def check(self, rules: Mapping[int, Rule]) -> None:
        """Raises FaultlibError if there is no room for these rules."""
        clock_rules = self._read(rules)
        selectors = {_selector(rule.rule) for rule in clock_rules} | set(self._domains)
        if len(selectors) > MOST_DOMAINS:
            raise FaultlibError(f"a session has room for {MOST_DOMAINS - 1} different proc= of clock rules")
        now = self._block.now_ns()
        for selector in selectors:
            members = _members(clock_rules, selector)
            moments = {at for rule in members for at in rule.moments() if at > now}
            if len(moments) >= MOST_STEPS:
                raise FaultlibError(f"clock rules change one process' clock at most {MOST_STEPS - 1} times in advance")

    def follow(self, rules: Mapping[int, Rule]) -> list[str]:
        """Publishes what these rules, all that are live, make of the clocks. Returns what that does not reach, in sentences."""
        fresh = {rule.slot: rule for rule in self._read(rules)}
        if fresh == self._live:
            return []
        before = self._faked_by_process()
        real = [time.clock_gettime_ns(clock) for clock in REAL_CLOCKS]
        session_ns = real[lib.FL_CLOCK_MONOTONIC] - int(self._block.ctl.t0_ns)
        self._live = fresh
        clock_rules = list(fresh.values())
        used = {_selector(rule.rule) for rule in clock_rules}
        for selector in sorted(used - set(self._domains), key=lambda s: [_selector(r.rule) for r in clock_rules].index(s)):
            self._domains[selector] = Domain(len(self._domains))
        for selector, domain in self._domains.items():
            members = _members(clock_rules, selector) if selector in used or not selector else []
            if members != domain.rules:
                self._publish(domain, members, session_ns, real)
        self._bind(clock_rules)
        after = self._faked_by_process()
        newly = 0
        for slot, bits in before.items():
            newly |= after.get(slot, bits) & ~bits
        return _describe_unreached(newly)

    def _faked_by_process(self) -> dict[int, int]:
        """Which clocks, as bits, are faked for each running process, by its slot."""
        procs = self._block.area("struct fl_proc", "procs_off")
        clocks = self._block.area("struct fl_clock", "clocks_off")
        found: dict[int, int] = {}
        for process in self._block.processes() if self._block.ctl.attached else ():
            if process.alive:
                clock = clocks[procs[process.slot].clock]
                found[process.slot] = int(clock.copy[clock.index & 1].clocks)
        return found

    def _read(self, rules: Mapping[int, Rule]) -> list[ClockRule]:
        now = self._block.now_ns()
        found = []
        for slot, rule in rules.items():
            if slot in self._live:
                found.append(self._live[slot])
            elif isinstance(rule.effect, effects.ClockChange):
                start = now if rule.at_ns is None else rule.at_ns
                end = None if rule.for_ns is None else start + rule.for_ns
                found.append(ClockRule(slot, rule, rule.effect, start, end))
        return found

    def _publish(self, domain: Domain, rules: list[ClockRule], session_ns: int, real: list[int]) -> None:
        clock = self._block.area("struct fl_clock", "clocks_off")[domain.number]
        before, domain.rules = domain.rules, rules
        if not rules:
            domain.courses.clear()
            lib.fl_clock_publish(self._block.ctl, ffi.addressof(clock), ffi.NULL)
            return
        state = ffi.new("struct fl_clock_state *")
        state.jump_base_ns = self._jump_base(domain, clock, not before)
        if not before and domain.number:
            domain.courses = {w: Course(c.steps, c.jumps) for w, c in self._domains[""].courses.items()}
        for place, rule in enumerate(rules):
            state.slot[place] = rule.slot
        for which in range(lib.FL_CLOCKS):
            mine = [rule for rule in (*before, *rules) if rule.change.clock_bits >> which & 1]
            if not mine and which not in domain.courses:
                continue
            course = domain.courses.setdefault(which, Course())
            course.note_jumps(mine, session_ns)
            course.plan([rule if rule in mine else None for rule in rules], session_ns, real[which])
            state.clocks |= 1 << which
            _fill(state.course[which], course.steps)
        lib.fl_clock_publish(self._block.ctl, ffi.addressof(clock), state)

    def _jump_base(self, domain: Domain, clock: Any, is_new: bool) -> list[int]:
        """Where the jumps at counted calls count from. A new domain takes over those of the session's clock."""
        if not is_new or not domain.number:
            current = clock.copy[clock.index & 1]
            return list(current.jump_base_ns)
        session = self._block.area("struct fl_clock", "clocks_off")[0]
        base = session.copy[session.index & 1].jump_base_ns
        return [clock.jump_ns[i] - (session.jump_ns[i] - base[i]) for i in range(lib.FL_CLOCKS)]

    def _bind(self, rules: list[ClockRule]) -> None:
        """Tells who belongs to which domain, and moves the running processes if that changed."""
        bound = self._block.ctl.clock_rule
        changed = False
        for selector, domain in self._domains.items():
            own = next((rule.slot + 1 for rule in rules if selector and _selector(rule.rule) == selector), 0)
            if bool(bound[domain.number]) != bool(own):
                bound[domain.number] = own
                changed = True
        if changed:
            lib.fl_clock_bind(self._block.ctl)


def _describe_unreached(bits: int) -> list[str]:
    """What to say when these clocks begin to be faked for programs that are running: their waits went straight to the kernel."""
    names = ",".join(name for name, bit in effects.CLOCK_IDS.items() if bits >> bit & 1)
    if not names:
        return []
    return [
        f"waits and timers on {names.upper().replace(',', ', ')} that began while it was real stay so until they end; "
        f"to have them follow, start with the rule clock:offset=0s:clock={names}"
    ]


def _selector(rule: Rule) -> str:
    return "" if rule.proc is None else str(rule.proc)


def _members(rules: Iterable[ClockRule], selector: str) -> list[ClockRule]:
    return [rule for rule in rules if _selector(rule.rule) in ("", selector)]


def _fill(course: Any, steps: list[Step]) -> None:
    course.count = len(steps)
    for row, step in zip(course.step, steps, strict=False):
        row.from_ns, row.virtual_ns = step.real_ns, step.drift_ns + step.shift_ns
        row.rate, row.rules, row.lasting = step.rate, step.rules, step.lasting
        row.shift_s, row.shift_ns = divmod(row.virtual_ns - row.from_ns, SECOND_NS)
