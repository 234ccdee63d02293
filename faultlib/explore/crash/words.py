"""Causes in plain words."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from faultlib.explore.crash import causes
from faultlib.explore.crash.causes import Cause
from faultlib.explore.crash.changes import Ack, Change, Close, DirChange, Resize, Sync, Write, ZeroRange
from faultlib.explore.crash.content import Content
from faultlib.explore.crash.disk import Disk
from faultlib.explore.crash.explain import Failure
from faultlib.explore.crash.losses import ALL, GARBAGE, Lost, State
from faultlib.explore.crash.model import NAMES
from faultlib.explore.crash.profiles import PROFILES, Rules
from faultlib.explore.crash.recording import Op, Recording
from faultlib.explore.finding import NOTE, SUSPICION, VIOLATION, Culprit, Finding, Step
from faultlib.explore.oracle import RECOVERY, SUSPECT


class Narrator:
    """Tells findings of one recording."""

    def __init__(self, recording: Recording, disk: Disk, sector: int) -> None:
        self._recording = recording
        self._model = recording.model
        self._disk = disk
        self._rules = [Rules(profile, recording.model, sector) for profile in PROFILES.values()]

    def finding(self, number: int, failure: Failure) -> Finding:
        """Returns a failure as a finding."""
        cause = failure.cause
        profiles = failure.profiles
        lost, kept = self._culprit(cause.lost), self._culprit(cause.kept)
        files = tuple(self._files(cause))
        severity = NOTE if profiles == ("posix",) else SUSPICION if failure.verdict.what == SUSPECT else VIOLATION
        kind = RECOVERY if failure.verdict.what == RECOVERY else cause.kind
        return Finding(
            number, kind, severity, self._title(cause, files), profiles, lost, kept, failure.verdict.text,
            self._impact(cause), self._missing(cause), files, self._timeline(cause),
            {"state": cause.plan.to_json(), "promised": cause.promised, "profile": next(iter(profiles), "")},
            max(failure.states, 1), self._fingerprint(cause, files),
        )  # fmt: skip

    @staticmethod
    def _is_allowed(rules: Rules, cause: Cause) -> bool:
        """Whether a crash can leave it, and after those promises."""
        return rules.allows(cause.plan) and rules.latest(cause.plan) >= cause.promised

    # operations

    def _op(self, index: int) -> Op:
        return self._recording.ops[self._model.changes[index].entry]

    def short(self, path: bytes | str) -> str:
        """Returns a path as seen from the command's directory, if it is below."""
        text = os.fsdecode(path)
        cwd = self._recording.cwd.rstrip("/")
        return "." if text == cwd else text.removeprefix(cwd + "/")

    def name(self, node: int, crash: int) -> str:
        """Returns the name of a file as it was at a moment."""
        return self.short(next(causes.names_of(self._model, node, crash), b"?"))

    def text(self, index: int) -> str:
        """Returns a call as a person would write it."""
        change, op = self._model.changes[index], self._op(index)
        match change:
            case Write(_, node, position, _, _, length, None):
                return f"{op.name}({self.name(node, index)}, {length} bytes at {position})"
            case Write(_, node, position, _, _, length, _):
                return f"store to the mapped {self.name(node, index)}, {length} bytes at {position}"
            case Resize(_, node, size) if op.name.startswith(("open", "creat")):
                return f"{op.name}({self.name(node, index)}, O_TRUNC)"
            case Resize(_, node, size):
                return f"{op.name}({self.name(node, index)}, size {size})"
            case ZeroRange(_, node, position, length):
                return f"{op.name}({self.name(node, index)}, {length} zeros at {position})"
            case Sync(_, node, _, _, _, first, last) if node is not None and last is not None:
                return f"{op.name}({self.name(node, index)}, {last - first} bytes at {first})"
            case Sync(_, node):
                return f"{op.name}({self.name(node, index) if node is not None else ''})"
            case Close(_, node):
                return f"{op.name}({self.name(node, index)})"
            case Ack(_, _, status, _) if status is not None:
                return f"exit({status})"
            case Ack(_, _, _, data):
                said = b"".join(self._recording.log.read(at, length) for at, length in data)[:60]
                return f"output {said.decode('utf-8', 'backslashreplace')!r}"
        return f"{op.name}({' -> '.join(self.short(path) for path in op.paths)})"

    def _culprit(self, index: int) -> Culprit | None:
        if index < 0:
            return None
        op = self._op(index)
        where = op.where
        file, line, function = (where.file, where.line, where.function) if where else ("", 0, "")
        return Culprit(self.text(index), self.short(op.place), file, line, function, tuple(map(str, op.stack)))

    # sentences

    def _files(self, cause: Cause) -> list[str]:
        found = list[str]()
        for index in (cause.lost, cause.kept):
            change: Change | None = self._model.changes[index] if index >= 0 else None
            if isinstance(change, DirChange):
                found += [self.short(path) for path in self._paths(change)]
            elif isinstance(change, Write | Resize | ZeroRange):
                found.append(self.name(change.node, max(cause.plan.crash, index)))
        return list(dict.fromkeys(reversed(found)))

    def _both(self, cause: Cause) -> list[str]:
        """The file of either operation: of a rename the name that it gives, as that is what counts."""
        found = list[str]()
        for index in (cause.kept, cause.lost):
            change: Change | None = self._model.changes[index] if index >= 0 else None
            if isinstance(change, DirChange):
                given = [entry for entry in change.entries if entry.after is not None] or change.entries
                found.append(self.short(causes.path_of(self._model, given[-1].directory) + b"/" + given[-1].name))
            elif isinstance(change, Write | Resize | ZeroRange):
                found.append(self.name(change.node, max(cause.plan.crash, index)))
        return list(dict.fromkeys(found))

    def _paths(self, change: DirChange) -> list[bytes]:
        return [causes.path_of(self._model, entry.directory) + b"/" + entry.name for entry in change.entries]

    def _title(self, cause: Cause, files: tuple[str, ...]) -> str:
        name = files[0] if files else "the output"
        if causes.has_garbage(cause.plan):
            return f"{name} can hold garbage: it has its new size before its data are there"
        if cause.kept < 0:
            return f"the check refuses what was there before the run already, until {self.text(cause.lost)}"
        match cause.kind:
            case causes.TRUNCATED if isinstance(self._model.changes[cause.kept], DirChange):
                return f"{name} can be left empty or cut short: it is made under its name before its content is written"
            case causes.TRUNCATED:
                return f"{name} can be left empty: it is emptied before its new content is written"
            case causes.TORN if self._is_appended(cause):
                return f"{name} can end in the middle of what is appended to it"
            case causes.TORN:
                return f"{name} can be left half changed: it is written in place"
            case causes.RENAMED:
                return f"{name} can be left empty, cut short or full of zeros: it gets its name before its data are durable"
            case causes.UNNAMED:
                why = self._too_late(cause, "its name is not durable")
                return f"{name} can be {self._again(cause)} although it was acknowledged: {why}"
            case causes.UNSYNCED:
                return f"{name} can be lost although it was acknowledged: {self._too_late(cause, 'its data are not durable')}"
            case causes.ORDER:
                return f"{' and '.join(self._both(cause))} can reach the disk in the wrong order"
        return f"{' and '.join(self._both(cause)) or name}: a crash in between leaves it half done"

    @staticmethod
    def _too_late(cause: Cause, otherwise: str) -> str:
        return "that comes before it is done" if cause.lost > cause.kept else otherwise

    def _again(self, cause: Cause) -> str:
        """What becomes of the name that a lost change was about."""
        change = self._model.changes[cause.lost]
        entry = change.entries[-1] if isinstance(change, DirChange) else None
        if entry is None or entry.before is None:
            return "gone"
        return "there again" if entry.after is None else "the old one"

    def _impact(self, cause: Cause) -> str:
        """What is on disk then."""
        change = self._model.changes[cause.lost] if cause.lost >= 0 else None
        if isinstance(change, Write | Resize | ZeroRange):
            now, end = self._disk.content(cause.plan, change.node).size, State(len(self._model.changes))
            first = self._before(change.node, cause.plan.crash)
            then = self._disk.content(end, change.node).size
            before = f"{first.size} bytes before the run" if first else "not there before the run"
            junk = self._garbage(cause.plan, change.node)
            of_these = f", {junk} of them garbage," if junk else ""
            return f"{self.name(change.node, cause.plan.crash)} has {now} bytes{of_these} then ({before}, {then} at its end)"
        if isinstance(change, DirChange):
            return f"{self.text(cause.lost)} has not happened then"
        return ""

    def _garbage(self, plan: State, node: int) -> int:
        """How many bytes of a file are of other files, or of none."""
        lost = [one for one in plan.lost(node) if one.left == GARBAGE]
        writes = [(one, self._model.changes[one.first]) for one in lost]
        return sum((w.length if one.hi == ALL else one.hi) - one.lo for one, w in writes if isinstance(w, Write))

    def _before(self, node: int, crash: int) -> Content | None:
        """What a file's name led to before the run."""
        name = next(iter(causes.names_of(self._model, node, crash)), b"?")
        number = self._disk.names(State(0)).paths.get(name)
        return self._model.initial.contents.get(number) if number is not None else None

    def _missing(self, cause: Cause) -> str:
        lost, kept = self._places(cause)
        change = self._model.changes[cause.lost] if cause.lost >= 0 else None
        name = self.name(change.node, cause.lost) if isinstance(change, Write | Resize | ZeroRange) else ""
        match cause.kind:
            case causes.TORN if self._are_apart(cause):
                return f"fdatasync of {name} after {lost} and before {kept}"
            case causes.TORN if self._are_stores(cause):
                return f"msync of the part of {name} that the one store is to, before the other is made"
            case causes.TORN if self._is_appended(cause):
                reader = f"a reader that leaves out a last part of {name} that is not whole"
                return f"a length or a checksum in what is appended at {kept}, and {reader}"
            case causes.TRUNCATED | causes.TORN:
                steps = f"write a temporary file beside {name}, fsync it, rename it over {name}, fsync the directory"
                is_new = isinstance(self._model.changes[cause.kept], DirChange)
                return f"{steps}, instead of {'making' if is_new else 'changing'} {name} in place at {kept}"
            case causes.RENAMED:
                return f"fsync of {name} after {lost} and before {kept}"
            case causes.UNNAMED | causes.ORDER if isinstance(change, DirChange):
                where = sorted({self.short(path.rpartition(b"/")[0]) for path in self._lost_names(cause)})
                return f"fsync of the directory {', '.join(where)} after {lost} and before {kept}"
            case causes.UNNAMED | causes.UNSYNCED if cause.lost > cause.kept >= 0:
                return f"the output at {kept} has to come after {lost}, and after a sync of that"
            case causes.UNSYNCED | causes.ORDER if isinstance(change, Write) and change.since is not None:
                return f"msync of {name} before {kept}"
            case causes.UNSYNCED | causes.ORDER:
                return f"fsync of {name or 'the file'} after {lost} and before {kept}"
        if not kept:
            return "a check that passes on what was there before the run"
        return f"what is left after {kept} has to be finished or undone when the program starts again"

    def _places(self, cause: Cause) -> tuple[str, str]:
        """The lines of either operation; where both are on the same one, also those that it was called from."""
        ops = [self._op(i) if i >= 0 else None for i in (cause.lost, cause.kept)]
        places = [self.short(op.place) if op else "" for op in ops]
        if places[0] == places[1] and cause.lost != cause.kept and cause.kind != causes.TRUNCATED:
            callers = [self.short(op.caller) if op else "" for op in ops]
            if callers[0] != callers[1]:
                places = [f"{place} (called from {who})" if who else place for place, who in zip(places, callers, strict=True)]
        return places[0], places[1]

    def _are_apart(self, cause: Cause) -> bool:
        """Whether they are two writes to two places of a file, of which only the second is there."""
        w, x = self._model.changes[cause.lost], self._model.changes[cause.kept]
        if not (isinstance(w, Write) and isinstance(x, Write) and cause.lost < cause.kept and w.since is x.since is None):
            return False
        return w.position + w.length <= x.position or x.position + x.length <= w.position

    def _are_stores(self, cause: Cause) -> bool:
        """Whether they are stores through mappings, to two places; which came first is not known."""
        w, x = self._model.changes[cause.lost], self._model.changes[cause.kept]
        return isinstance(w, Write) and isinstance(x, Write) and None not in (w.since, x.since) and w.position != x.position

    def _is_appended(self, cause: Cause) -> bool:
        """Whether all of the file that was there before either write is there still."""
        w, x = self._model.changes[cause.lost], self._model.changes[cause.kept]
        if not (isinstance(w, Write) and isinstance(x, Write)):
            return False
        size = self._disk.content(State(min(cause.lost, cause.kept)), w.node).size
        return 0 < size <= min(w.position, x.position)

    def _lost_names(self, cause: Cause) -> list[bytes]:
        change = self._model.changes[cause.lost]
        return self._paths(change) if isinstance(change, DirChange) else []

    # the timeline

    def _timeline(self, cause: Cause) -> tuple[Step, ...]:
        rules = next((rules for rules in self._rules if self._is_allowed(rules, cause)), self._rules[0])
        until = rules.until(cause.plan)
        lost = {i: one for _, one in cause.plan.items() for i in range(one.first, one.last)}
        end = min(len(self._model.changes), max(cause.plan.crash, cause.promised, cause.lost + 1, cause.kept + 1) + 1)
        return tuple(
            Step(
                index, self.text(index), self.short(self._op(index).place), self._op(index).process,
                self._fate(index, cause, lost, rules, until), {cause.lost: "lost", cause.kept: "kept"}.get(index, ""),
            )
            for index in range(end)
            if not isinstance(self._model.changes[index], Close)
        )  # fmt: skip

    def _fate(self, index: int, cause: Cause, lost: dict[int, Lost], rules: Rules, until: int) -> str:
        if self._model.owner(index) is None:
            return "kept" if index < max(until, cause.promised) else "never"
        if index >= cause.plan.crash:
            return "lost" if index < cause.promised else "never"
        one = lost.get(index)
        owner = self._model.owner(index)
        if one and any(node == (owner or NAMES) for node, other in cause.plan.items() if other == one):
            return "lost" if one.lo == 0 and one.hi < 0 and not one.left else "partly"
        return "durable" if rules.durable[index] < until else "kept"

    def _fingerprint(self, cause: Cause, files: tuple[str, ...]) -> str:
        """The same as long as the functions and files are the same, whatever line they are on."""
        parts = [cause.kind, *(Path(file).name for file in files)]
        for index in (cause.lost, cause.kept):
            op = self._op(index) if index >= 0 else None
            where = op.where if op else None
            parts += [op.name if op else "", Path(where.file).name if where else "", where.function if where else ""]
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]
