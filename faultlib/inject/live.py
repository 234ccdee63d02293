"""The live rules of a session: written into the control block and published to the targets, all at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from faultlib._core import ffi, lib
from faultlib.errors import FaultlibError
from faultlib.inject import compile as compiler
from faultlib.inject import effects
from faultlib.inject.clock import Clocks
from faultlib.inject.control import ControlBlock
from faultlib.inject.directory import WorkingDirectory
from faultlib.inject.ops import ALL_OPERATIONS, FAMILY_NUMBERS, OPERATIONS, Operation
from faultlib.inject.rules import Rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class LiveRules:
    """The rules of one control block, for its owner; the block's lock keeps several threads of it apart."""

    def __init__(self, block: ControlBlock) -> None:
        self._block = block
        self._rules: dict[int, Rule] = {}
        self._seats: dict[int, int] = {}
        self._strings: dict[str, int] = {}
        self._next_string = 1
        self._next_slot = 0
        self._next_seat = 0
        self._clocks = Clocks(block)
        self.unreached: list[str] = []

    @property
    def rules(self) -> dict[int, Rule]:
        """The live rules by slot, in the order in which they were added."""
        return dict(self._rules)

    def add(self, rules: Sequence[Rule], cwd: WorkingDirectory) -> list[int]:
        """Makes rules live, all at once; returns their slots. Raises FaultlibError if there are too many.

        `unreached` says afterwards what of the running programs they do not reach.
        """
        with self._block.lock:
            if len(self._rules) + len(rules) > lib.FL_LIVE_RULES:
                raise FaultlibError(f"a session has room for {lib.FL_LIVE_RULES} live rules")
            if self._next_slot + len(rules) > lib.FL_MAX_RULES:
                raise FaultlibError(f"a session has room for {lib.FL_MAX_RULES} rules in all; start a new session")
            self._clocks.check({**self._rules, **dict(enumerate(rules, self._next_slot))})
            names = {rule.name: slot for slot, rule in self._rules.items() if rule.name}
            names |= {rule.name: self._next_slot + i for i, rule in enumerate(rules) if rule.name}
            table = self._block.area("struct fl_rule", "rules_off")
            tallies = self._block.area("struct fl_tally", "tallies_off")
            slots = list(range(self._next_slot, self._next_slot + len(rules)))
            for slot, rule in zip(slots, rules, strict=True):  # a failure, for want of room, leaves nothing but unused rows
                compiler.compile_rule(rule, slot, table + slot, self._intern, cwd, slots=names, now_ns=self._block.now_ns())
                if isinstance(rule.effect, effects.Space):
                    tallies[slot].space_left = rule.effect.size_bytes
            for slot, rule in zip(slots, rules, strict=True):
                table[slot].seat = self._seats[slot] = self._free_seat()
                self._rules[slot] = rule
            self._next_slot += len(rules)
            self._publish()
            return slots

    def remove(self, slots: Sequence[int]) -> None:
        """Takes rules out; whoever hangs in one or was stopped by it goes on. Their counters stay.

        Raises KeyError for a slot that is not live.
        """
        with self._block.lock:
            for slot in slots:
                del self._seats[slot]
                del self._rules[slot]
            self._publish()
            for slot in slots:
                lib.fl_continue_stopped(self._block.ctl, slot + 1)

    def keep_list(self, texts: Iterable[str]) -> int:
        """Puts a list into the strings, an empty one behind the last; returns its offset."""
        return self._intern("".join(f"{text}\0" for text in texts))

    def _free_seat(self) -> int:
        """Seats are taken in turn, so that the one of a removed rule rests as long as possible."""
        taken = set(self._seats.values())
        for i in range(lib.FL_LIVE_RULES):
            seat = (self._next_seat + i) % lib.FL_LIVE_RULES
            if seat not in taken:
                self._next_seat = seat + 1
                return int(seat)
        raise FaultlibError("no free seat")

    def _publish(self) -> None:
        ctl = self._block.ctl
        following = ctl.set[(ctl.generation + 1) & 1]
        ffi.memmove(ffi.addressof(following), bytes(ffi.sizeof("struct fl_set")), ffi.sizeof("struct fl_set"))
        gate = self._record_gate()
        for slot, rule in self._rules.items():  # in the order in which they were added: the first to be open acts
            gate |= compiler.gate_bits(rule)
            if not compiler.happens_at_a_call(rule):
                continue
            position = following.count
            following.slot[position] = slot
            following.live |= 1 << position
            following.count += 1
            self._note_size(following, position, slot)
            for op in self._operations(rule):
                following.interest[op] |= 1 << position
                following.on_fds |= OPERATIONS[op].has_fd << position
        following.gate = gate
        track = 1 << FAMILY_NUMBERS["track"]
        if gate & track and not ctl.gate & track:
            ctl.track_since = ctl.generation + 1
        self.unreached = self._clocks.follow(self._rules)
        lib.fl_publish(ctl)

    def _note_size(self, following: Any, position: int, slot: int) -> None:
        """Has the size that a rule wants found without looking at the rule."""
        rule = self._block.area("struct fl_rule", "rules_off")[slot]
        if rule.has & lib.FL_HAS_SIZE:
            following.sized |= 1 << position
            following.size_min[position], following.size_span[position] = rule.size_min, rule.size_max - rule.size_min

    @staticmethod
    def _operations(rule: Rule) -> Iterator[int]:
        yield from compiler.interest(rule)
        if isinstance(rule.effect, effects.Space):
            yield from (op.number for op in OPERATIONS if op.family in compiler.CHANGES_SPACE)

    def record(self, operations: Iterable[Operation]) -> None:
        """Opens the journal to these operations, and to no others."""
        with self._block.lock:
            wanted = sum(1 << number for number in {op.number for op in operations})
            self._block.ctl.journal_ops[0], self._block.ctl.journal_ops[1] = wanted & (1 << 64) - 1, wanted >> 64
            self._publish()

    def _record_gate(self) -> int:
        wanted = int(self._block.ctl.journal_ops[0]) | int(self._block.ctl.journal_ops[1]) << 64
        families = {op.family for op in ALL_OPERATIONS if wanted >> op.number & 1}
        if not families:
            return 0
        return sum(1 << FAMILY_NUMBERS[family] for family in families | {"track"}) | 1 << int(lib.FL_GATE_RECORD_BIT)

    def _intern(self, text: str) -> int:
        """Puts a string into the block and returns its offset, from 1. Raises FaultlibError when there is no room."""
        known = self._strings.get(text)
        if known is not None:
            return known
        data = os.fsencode(text) + b"\0"
        if self._next_string + len(data) > lib.FL_STRING_BYTES:
            raise FaultlibError("the session has no room for more patterns; start a new session")
        at = self._next_string
        strings = self._block.area("char", "strings_off")
        ffi.memmove(strings + at, data, len(data))
        self._next_string = at + len(data)
        self._strings[text] = at
        return at
