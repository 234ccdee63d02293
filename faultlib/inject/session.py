"""A session: one control block, the rules in it, and the process trees that run under it."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from faultlib._core import ffi, lib
from faultlib.errors import FaultlibError, UsageError
from faultlib.inject import folder as folders
from faultlib.inject import grammar, target
from faultlib.inject.check import check_rules
from faultlib.inject.compile import WorkingDirectory
from faultlib.inject.control import ControlBlock, Count, ProcessView, Recording
from faultlib.inject.events import Event, EventReader
from faultlib.inject.guard import Guard
from faultlib.inject.rules import Rule


@dataclass(frozen=True, slots=True)
class RuleReport:
    """What became of one rule: `first` is its first firing, None if it never fired."""

    slot: int
    rule: Rule
    live: bool
    count: Count
    first: Event | None


class Session:
    """Runs programs under faults that can be changed while they run.

        with faultlib.Session(["write:error=ENOSPC:path=*.json:when=3"]) as session:
            session.run(["python3", "worker.py"])
            print(session.report())

    `rules` are texts or Rule objects. `seed` (0 to 2**64 - 1) makes random draws repeatable; the default is drawn. Raises
    RuleError for a rule that cannot be, FaultlibError if the control block cannot be made. Leaving the context disarms
    every process of the session; those still running go on undisturbed.
    """

    def __init__(
        self, rules: Sequence[str | Rule] = (), *, seed: int | None = None, cwd: str | os.PathLike[str] | None = None,
        recording: Recording | None = None, stacks: bool = True,
    ) -> None:  # fmt: skip
        if seed is not None and not 0 <= seed < 1 << 64:
            raise UsageError(f"a seed is a number from 0 to 2**64 - 1, not {seed}")
        self.seed = secrets.randbits(32) if seed is None else seed
        parsed = self._parse(rules, ())
        self._cwd = WorkingDirectory.current() if cwd is None else WorkingDirectory(os.fspath(cwd), os.path.realpath(cwd))
        self.block = ControlBlock.create(self.seed, recording=recording, stacks=stacks)
        self._known: dict[int, Rule] = {}
        self._launches = 0
        self._children: list[subprocess.Popen[Any]] = []
        self._closed = False
        self._seen: list[Event] = []
        self._reader = EventReader(self.block, self.block.ctl.firings)
        try:
            self.folder = folders.create(self.block.descriptor, self.block.ctl.uid)
            self._guard = Guard(self.block, self.folder)
            self.add(*parsed)
            if recording:
                self.block.record(recording.operations)
        except BaseException:
            self.block.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # rules

    def _parse(self, rules: Sequence[str | Rule], known: Sequence[str]) -> list[Rule]:
        parsed = [grammar.parse_rule(rule) if isinstance(rule, str) else rule for rule in rules]
        check_rules(parsed, known)
        return parsed

    def add(self, *rules: str | Rule) -> list[int]:
        """Makes rules live at once, also for running targets; returns their numbers in this session.

        Raises RuleError, before anything changes, if one of them cannot be; FaultlibError if there is no room.
        """
        if not rules:
            return []
        parsed = self._parse(rules, [rule.name for rule in self.block.rules.values() if rule.name])
        slots = self.block.add(parsed, self._cwd)
        self._known.update(zip(slots, parsed, strict=True))
        return slots

    def remove(self, *slots: int) -> None:
        """Takes rules out; whoever hangs in one goes on. Raises UsageError for a number that is not live."""
        missing = [slot for slot in slots if slot not in self.block.rules]
        if missing:
            raise UsageError(f"no live rule has the number {missing[0]}; live are {sorted(self.block.rules) or 'none'}")
        self.block.remove(slots)

    def reset(self) -> None:
        """Takes every rule out."""
        self.block.remove(list(self.block.rules))

    # targets

    def environment(self, label: str = "", env: Mapping[str, str] | None = None) -> dict[str, str]:
        """Returns an environment in which a command joins this session, as the root of a tree of its own.

        `label` (at most 31 bytes) names the tree for `proc=label:`. LD_PRELOAD is extended, the shim comes last.
        """
        encoded = os.fsencode(label)
        if len(encoded) > 31 or b"\0" in encoded:
            raise UsageError(f"a label has at most 31 bytes: {label!r}")
        with self.block.lock:
            self._launches += 1
            number = self._launches
        launch = self.block.area("struct fl_launch", "launches_off")[number % lib.FL_MAX_LAUNCHES]
        launch.claimed, launch.number = 0, number
        ffi.memmove(launch.label, encoded + b"\0", len(encoded) + 1)
        link = str(folders.link(self.folder, number))
        result = dict(os.environ if env is None else env)
        others = [one for one in result.get("LD_PRELOAD", "").replace(" ", ":").split(":") if one]
        result["LD_PRELOAD"] = ":".join([*others, link])
        return result

    def popen(self, command: Sequence[str], *, label: str = "", **options: Any) -> subprocess.Popen[Any]:
        """Starts a command under this session; `options` are those of subprocess.Popen.

        Raises CommandNotFound, or NotInstrumentable if the program cannot load the shim (static, another libc, setuid).
        """
        env = self.environment(label, options.pop("env", None))
        image = target.check(command[0], env.get("PATH"), options.get("cwd"))
        env["LD_PRELOAD"] = ":".join([*image.preload_first, env["LD_PRELOAD"]])
        child = subprocess.Popen(command, env=env, **options)
        self._children.append(child)
        return child

    def run(self, command: Sequence[str], *, label: str = "", **options: Any) -> subprocess.CompletedProcess[Any]:
        """Runs a command under this session to its end; `options` are those of subprocess.run, except `check`."""
        capture = options.pop("capture_output", False)
        if capture:
            options.update(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        given, timeout = options.pop("input", None), options.pop("timeout", None)
        if given is not None:
            options["stdin"] = subprocess.PIPE
        with self.popen(command, label=label, **options) as child:
            try:
                out, err = child.communicate(given, timeout=timeout)
            except BaseException:
                child.kill()
                raise
        return subprocess.CompletedProcess(command, child.returncode, out, err)

    # what happened

    def events(self) -> list[Event]:
        """The firings since the session began, oldest first (the last 4,096 if nobody asked in between)."""
        self._seen.extend(self._reader.read())
        return list(self._seen)

    def report(self) -> list[RuleReport]:
        """Each rule that was ever live, with its counters and its first firing."""
        firsts: dict[int, Event] = {}
        for event in self.events():
            if event.rule is not None:
                firsts.setdefault(event.rule, event)
        live = self.block.rules
        return [
            RuleReport(slot, rule, slot in live, self.block.count(slot), firsts.get(slot))
            for slot, rule in self._known.items()
        ]

    def processes(self) -> list[ProcessView]:
        """Every process that was attached at some time and whose slot was not given away."""
        return self.block.processes()

    def uncovered(self) -> list[ProcessView]:
        """Processes that went on to an image in which the shim did not wake up: static, setuid, another libc or user."""
        return [process for process in self.processes() if process.state == "exec-pending"]

    def close(self) -> None:
        """Disarms every process, and removes what the session left on the machine. Targets go on running. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self.block.disarm()
        self._guard.dismiss()
        self.block.close()


__all__ = ["FaultlibError", "RuleReport", "Session"]
