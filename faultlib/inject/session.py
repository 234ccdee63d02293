"""A session: one control block, the rules in it, and the process trees that run under it."""

from __future__ import annotations

import contextlib
import os
import threading
import time

from faultlib._core import ffi, lib
from faultlib.errors import FaultlibError, LateChange, SessionGone, UsageError
from faultlib.inject import background, door, target
from faultlib.inject import folder as folders
from faultlib.inject.control import ControlBlock
from faultlib.inject.directory import WorkingDirectory
from faultlib.inject.guard import Guard
from faultlib.inject.snapshot import RuleReport, Snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Any, Self

    from faultlib.inject.client import Attached
    from faultlib.inject.control import ProcessView
    from faultlib.inject.events import Event, EventReader
    from faultlib.inject.recording import Recording
    from faultlib.inject.rules import Rule, Value

    Command = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
    from faultlib.inject.server import Server

LABEL_BYTES = 31
ARRIVAL_S, MOMENT_S = 1.0, 0.001


def _several(rules: str | Rule | Sequence[str | Rule]) -> Sequence[str | Rule]:
    """A single rule is a list of one."""
    if isinstance(rules, str) or not hasattr(rules, "__iter__"):
        return [rules]  # what is no rule is said to be none when it is read
    return list(rules)


def _words(command: Command, shell: bool) -> list[str]:
    """The words of a command. Raises TypeError, as text could be meant as one word or for a shell; UsageError for none."""
    if isinstance(command, os.PathLike):
        command = [command]
    if isinstance(command, str | bytes):
        if not shell:
            raise TypeError(f"a command is a list of words, as in ['true'], or text with shell=True; not {command!r}")
        command = [os.fsdecode(command)]
    try:
        words = [os.fsdecode(word) for word in command]
    except TypeError:
        raise TypeError(f"a command is a list of words, as in ['true'], not {command!r}") from None
    if not words:
        raise UsageError("the command is empty: give a program and its arguments")
    return ["/bin/sh", "-c", *words] if shell else words


class Session:
    """Runs programs under faults that can be changed while they run.

        with faultlib.Session(["write:error=ENOSPC:path=*.json:when=3"]) as session:
            session.run(["python3", "worker.py"])
            print(session.report())

    `rules` are texts or Rule objects, or a single one. `seed` (0 to 2**64 - 1) makes random draws repeatable; the default is
    drawn. Relative patterns are below `cwd`, by default the working directory. With a `name` (a letter and up to 31 letters,
    digits, dots, dashes, underscores) others find the session: `faultlib ctl NAME`, `faultlib run --session NAME`,
    `Session.attach`.

    Raises RuleError for a rule that cannot be, UsageError for a name that is taken, FaultlibError if the control block
    cannot be made. Leaving the context disarms every process of the session; those still running go on undisturbed. Several
    sessions may be open at once, and every method may be called from any thread. Once a session is closed every method but
    `close` raises SessionGone; in a forked child, which has no part in it, FaultlibError.
    """

    def __init__(
        self, rules: str | Rule | Sequence[str | Rule] = (), *, seed: int | None = None,
        cwd: str | os.PathLike[str] | None = None, recording: Recording | None = None, stacks: bool = True,
        name: str | None = None,
    ) -> None:  # fmt: skip
        if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
            raise TypeError(f"a seed is a whole number, not {seed!r}")
        if seed is not None and not 0 <= seed < 1 << 64:
            raise UsageError(f"a seed is a number from 0 to 2**64 - 1, not {seed}")
        self.seed = int.from_bytes(os.urandom(4), "little") if seed is None else seed
        self.name = folders.check_name(name) if name is not None else None
        parsed = self._parse(_several(rules), ())
        self._cwd = WorkingDirectory.current() if cwd is None else WorkingDirectory(os.fspath(cwd), os.path.realpath(cwd))
        self.block = ControlBlock.create(self.seed, recording=recording, stacks=stacks)
        self._known: dict[int, Rule] = {}
        self._below: dict[int, str] = {}
        self._shared: dict[tuple[Rule, WorkingDirectory], int] = {}
        self._launches = 0
        self._arriving: list[tuple[subprocess.Popen[Any], int]] = []
        self._owner = os.getpid()
        self._closed = False
        self._seen: list[Event] = []
        self._held: list[int] = []
        self._reader: EventReader | None = None
        try:
            self._folder = folders.create(self.block.descriptor, self.block.ctl.uid)
        except BaseException:
            self.block.close()
            raise
        try:
            self._listener = self._open_door()
            self._guard = Guard(self.block, self._folder)
        except BaseException:
            self.block.close()  # first: to remove takes a descriptor, and there may be none left
            folders.remove(self._folder)
            raise
        self._stop_serving = os.eventfd(0, os.EFD_CLOEXEC)
        self._serving = background.start(self._serve, "faultlib-control")
        try:
            self.add(*parsed)
            if recording:
                self.block.live.record(recording.operations)
        except BaseException:
            self.close()
            raise

    def _open_door(self) -> int:
        """Opens the control socket; under its name, if the session has one."""
        if self.name is None:
            return door.open_door(self._folder)
        with folders.naming():
            folders.take_name(self._folder, self.name)
            return door.open_door(self._folder)

    def _serve(self) -> None:
        if self._waits_for_knock() and not door.wait_for_knock(self._listener, self._stop_serving):
            os.close(self._listener)
        else:
            self._make_server().run()

    def _waits_for_knock(self) -> bool:
        return True

    def _make_server(self) -> Server:
        from faultlib.inject.server import Server  # heavy, and seldom needed

        return Server(self, self._listener, self._stop_serving)

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        """Holds the session, for the process that made it and until it is closed."""
        if os.getpid() != self._owner:
            raise FaultlibError(f"this session belongs to process {self._owner}: a forked child has no part in it")
        with self.block.lock:
            if self._closed:
                raise SessionGone("the session is closed")
            yield

    def __repr__(self) -> str:
        name = f" {self.name}" if self.name else ""
        return f"<Session{name} of process {self._owner}, seed {self.seed}{', closed' if self._closed else ''}>"

    def __enter__(self) -> Self:
        with self._in_use():
            return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # rules

    def _parse(self, rules: Sequence[str | Rule], known: Sequence[str]) -> list[Rule]:
        if not rules:
            return []
        from faultlib.inject.check import check_rules

        parsed = self._read(rules)
        check_rules(parsed, known)
        return parsed

    @staticmethod
    def _read(rules: Sequence[str | Rule]) -> list[Rule]:
        from faultlib.inject import grammar

        return [grammar.as_rule(rule) for rule in rules]

    def add(self, *rules: str | Rule, cwd: WorkingDirectory | None = None) -> list[int]:
        """Makes rules live at once, also for running targets; returns their numbers in this session.

        Relative patterns are below `cwd`, by default the session's. Raises RuleError, before anything changes, if one of
        them cannot be; FaultlibError if there is no room. Warns (LateChange) where a clock is faked from now on that was real for
        running programs: waits that they have begun keep real time.
        """
        numbers, notes = self.add_noted(*rules, cwd=cwd)
        LateChange.warn(notes)
        return numbers

    def add_noted(self, *rules: str | Rule, cwd: WorkingDirectory | None = None) -> tuple[list[int], list[str]]:
        """Makes rules live like `add`; returns their numbers, and what it would warn of."""
        with self._in_use():
            if not rules:
                return [], []
            parsed = self._parse(rules, [rule.name for rule in self.block.live.rules.values() if rule.name])
            where = cwd or self._cwd
            numbers = self.block.live.add(parsed, where)
            self._known.update(zip(numbers, parsed, strict=True))
            self._below.update((slot, where.logical) for slot, rule in zip(numbers, parsed, strict=True) if rule.is_relative)
            return numbers, self.block.live.unreached

    def share(self, rules: Sequence[str | Rule], cwd: WorkingDirectory) -> tuple[list[int], list[str]]:
        """Makes rules live like `add_noted`, but one that is live already, equal and below the same directory, is the same rule.

        So every member of a session may bring the same rules. Raises as `add`.
        """
        with self._in_use():
            parsed = self._read(rules)
            live = self.block.live.rules
            fresh = [rule for rule in parsed if self._shared.get((rule, cwd)) not in live]
            numbers, notes = self.add_noted(*fresh, cwd=cwd)
            self._shared.update(zip([(rule, cwd) for rule in fresh], numbers, strict=True))
            return [self._shared[rule, cwd] for rule in parsed], notes

    def remove(self, *which: int | str) -> list[int]:
        """Takes rules out, by number or by their `name=`; whoever hangs in one or was stopped by it goes on.

        Returns their numbers. Raises UsageError, before anything changes, for one that is not live.
        """
        for one in which:
            if not isinstance(one, int | str) or isinstance(one, bool):
                raise TypeError(f"a rule is taken out by its number or its name, not by {one!r}")
        with self._in_use():
            live = self.block.live.rules
            named = {rule.name: slot for slot, rule in live.items() if rule.name}
            slots = [named.get(one) if isinstance(one, str) else one for one in which]
            for one, slot in zip(which, slots, strict=True):
                if slot not in live:
                    there = ", ".join([*map(str, live), *named]) or "none"
                    raise UsageError(f"no live rule is {'called' if isinstance(one, str) else 'number'} {one}; live: {there}")
            found = list(dict.fromkeys(slot for slot in slots if slot is not None))
            self.block.live.remove(found)
            return found

    def reset(self) -> list[int]:
        """Takes every rule out and returns their numbers."""
        with self._in_use():
            return self.remove(*self.block.live.rules)

    def clock(self, verb: str, value: Value = True, **keys: Value) -> int:
        """Changes a clock of the targets by a rule `clock:VERB=VALUE`, and returns the rule's number, for `remove`.

        `verb` is offset, rate, jump or freeze; durations are text ("+1h", "-30s") or timedelta, a rate is a positive number;
        `keys` are those of a rule: `clock("freeze", at="5s", for_="2s")`. Raises RuleError. Warns as `add` does: give the session
        the rule `clock:offset=0s` with the same `clock=` from the start, and waits that have begun follow as well.
        """
        from faultlib.inject import rules

        (number,), notes = self.add_noted(rules.clock(verb, value, **keys))
        LateChange.warn(notes)
        return number

    @staticmethod
    def attach(which: str | int | None = None) -> Attached:
        """Returns a running session of another process, by its name, its pid or a target's; None: the only one.

        Raises UsageError, naming those there are, for any other, or if it is another user's.
        """
        from faultlib.inject.client import attach

        if not isinstance(which, str | int | None):
            raise TypeError(f"a session is found by its name or by a pid, not by {which!r}")
        return attach(which)

    # targets

    @property
    def folder(self) -> Path:
        """Where the session keeps its links and its socket."""
        from pathlib import Path

        return Path(self._folder)

    def environment(self, label: str = "", env: Mapping[str, str] | None = None) -> dict[str, str]:
        """Returns an environment in which a command joins this session, as the root of a tree of its own.

        `label` (at most 31 bytes, printable, without blanks) names the tree for `proc=label:`. LD_PRELOAD is extended, the
        shim comes last. The environment is good for one command: others with the same count as strangers in its tree.
        """
        return folders.preload(self.prepare_launch(label)[0], env)

    def prepare_launch(self, label: str = "") -> tuple[str, int]:
        """Makes the link by whose name in LD_PRELOAD a command joins; returns it and the number of the launch."""
        if not isinstance(label, str):
            raise TypeError(f"a label is text, not {label!r}")
        if not label.isprintable() or " " in label or len(label.encode()) > LABEL_BYTES:
            raise UsageError(f"a label has at most {LABEL_BYTES} bytes, all of them printable and no blank: {label!r}")
        with self._in_use():
            self._launches += 1
            number = self._launches
            launch = self._launch(number)
            launch.claimed, launch.number = 0, number
            ffi.memmove(launch.label, label.encode() + b"\0", len(label.encode()) + 1)
            return folders.link(self._folder, number), number

    def _launch(self, number: int) -> Any:
        return self.block.area("struct fl_launch", "launches_off")[number % lib.FL_MAX_LAUNCHES]

    def popen(self, command: Command, *, label: str = "", **options: Any) -> subprocess.Popen[Any]:
        """Starts a command under this session: a list of words, or text with `shell=True`; `options` are subprocess.Popen's.

        Raises CommandNotFound or NotExecutable, or NotInstrumentable if the program cannot load the shim (static, another
        libc, setuid).
        """
        import subprocess

        words = _words(command, options.pop("shell", False))
        link, number = self.prepare_launch(label)
        env = folders.preload(link, options.pop("env", None))
        program = os.fsdecode(options.get("executable") or words[0])
        image = target.check(program, env.get("PATH"), options.get("cwd"))
        env["LD_PRELOAD"] = image.preload(env["LD_PRELOAD"])
        child = subprocess.Popen(words, env=env, **options)
        with self.block.lock:
            self._arriving = [(child, number), *filter(self._is_arriving, self._arriving)]
        return child

    def _is_arriving(self, started: tuple[subprocess.Popen[Any], int]) -> bool:
        child, number = started
        launch = self._launch(number)
        return bool(launch.number == number and not launch.claimed and child.poll() is None)

    def _let_arrive(self) -> None:
        """Whoever was started a moment ago finds the session's folder in its place: the loader complains of what is gone."""
        deadline = time.monotonic() + ARRIVAL_S
        while any(map(self._is_arriving, self._arriving)) and time.monotonic() < deadline:
            time.sleep(MOMENT_S)

    def run(self, command: Command, *, label: str = "", **options: Any) -> subprocess.CompletedProcess[Any]:
        """Runs a command under this session to its end, see `popen`; `options` are those of subprocess.run."""
        import subprocess

        check = options.pop("check", False)
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
        done = subprocess.CompletedProcess(command, child.returncode, out, err)
        if check:
            done.check_returncode()
        return done

    # what happened

    def events(self) -> list[Event]:
        """The firings since the session began, oldest first (the last 4,096 if nobody asked in between)."""
        with self._in_use():
            reader = self._event_reader()
            if reader:
                known = len(self._seen)
                self._seen.extend(reader.read())
                self._held = [i for i in (*self._held, *range(known, len(self._seen))) if self._seen[i].held]
                for i in self._held:
                    self._seen[i] = reader.again(self._seen[i].number) or self._seen[i]
            return list(self._seen)

    def _event_reader(self) -> EventReader | None:
        if self._reader is None and self.block.ctl.firings.head:
            from faultlib.inject.events import EventReader

            self._reader = EventReader(self.block, self.block.ctl.firings)
        return self._reader

    def report(self) -> list[RuleReport]:
        """Each rule that was ever live, with its counters and its first firing."""
        with self._in_use():
            if not self._known:
                return []
            live, block, reader = self.block.live.rules, self.block, self._event_reader()
            return [
                RuleReport(
                    slot, rule, slot in live, block.count(slot), reader.first(slot) if reader else None, self._below.get(slot)
                )
                for slot, rule in self._known.items()
            ]

    def snapshot(self, launch: int | None = None, members: Sequence[int] = ()) -> Snapshot:
        """Everything the session knows at this moment; with `launch`, `attached` is of that launched command."""
        with self._in_use():
            ctl = self.block.ctl
            attached = ctl.attached if launch is None else self._launch(launch).claimed
            return Snapshot(
                self.name, self._owner, self.seed, self.block.now_ns(), tuple(self.report()), tuple(self.processes()),
                int(attached), int(ctl.attach_refused), int(ctl.counters_full), int(ctl.forgotten),
                int(ctl.deep_names), int(ctl.paths_full), int(ctl.nameless), tuple(members),
            )  # fmt: skip

    def processes(self) -> list[ProcessView]:
        """Every process that was attached at some time and whose slot was not given away."""
        with self._in_use():
            return self.block.processes()

    def uncovered(self) -> list[ProcessView]:
        """Processes that went on to an image in which the shim did not wake up: static, setuid, another libc or user."""
        return [process for process in self.processes() if process.state == "exec-pending"]

    def close(self) -> None:
        """Disarms every process, and removes what the session left on the machine. Targets go on running. Idempotent.

        In a forked child it does nothing.
        """
        if os.getpid() != self._owner:
            return
        with self.block.lock:
            if self._closed:
                return
            self._closed = True
        self._let_arrive()
        os.eventfd_write(self._stop_serving, 1)
        if self._serving is not threading.current_thread():
            self._serving.join()
        os.close(self._stop_serving)
        self.block.disarm()
        self._guard.dismiss()
        self.block.close()
