"""Recordings made by hand, call by call."""

from __future__ import annotations

import os
from pathlib import Path

from faultlib.explore.crash.changes import Ack, Change, Close, DirChange, DirEntry, Resize, Sync, Write
from faultlib.explore.crash.content import Bytes, Content
from faultlib.explore.crash.disk import Disk
from faultlib.explore.crash.losses import Lost, state
from faultlib.explore.crash.model import Initial, Model
from faultlib.explore.crash.recording import Log, Op, Recording, Roots
from faultlib.explore.crash.tree import Node, Tree
from faultlib.explore.crash.unchecked import Files
from faultlib.explore.crash.view import View
from faultlib.explore.oracle import Verdict

ROOT = 1


class Story:
    """A recording made by hand: each method is a call of a program on files below /r. `steps` counts the changes."""

    def __init__(self, tmp_path: Path, **first: bytes) -> None:
        self.tree = Tree()
        self.tree.nodes[ROOT], self.tree.roots[b"/r"] = Node("dir"), ROOT
        self.ops: list[Op] = []
        self.changes: list[Change] = []
        self.output = b""
        self.tmp_path = tmp_path
        for name, data in first.items():
            self.tree.nodes[ROOT].children[name.encode()] = number = len(self.tree.nodes) + 1
            self.tree.nodes[number] = Node("file", content=Content.of(Bytes(data), len(data)))
        self.initial = Initial.of(self.tree)

    def at(self, name: str) -> int | None:
        """What a name leads to now."""
        return self.tree.nodes[ROOT].children.get(name.encode())

    def call(self, op: str, name: str, *changes: Change, process: str = "1", status: int = 0, result: int = 0) -> Story:
        """One call, and what it amounts to."""
        self.ops.append(Op(op, process, "0", "prog", (f"/r/{name}",), 3, 0, 0, 0, result, (), None, status))
        for change in changes:
            self.tree.apply(change)
            self.changes.append(change)
        return self

    def open(self, name: str, *, cut: bool = True, process: str = "1") -> Story:
        """open(2): with O_CREAT, and with O_TRUNC or O_APPEND."""
        number, entry = self.at(name), len(self.ops)
        if number is None:
            made = len(self.tree.nodes) + 1
            self.tree.nodes[made] = Node("file")
            change: Change = DirChange(entry, (DirEntry(ROOT, name.encode(), None, made),), made)
            return self.call("open", name, change, process=process)
        return self.call("open", name, *([Resize(entry, number, 0)] if cut else []), process=process)

    def write(self, name: str, data: bytes, at: int | None = None, *, appends: bool = False, process: str = "1") -> Story:
        """write(2), at the end, or somewhere."""
        number = self.at(name)
        assert number is not None
        position = self.tree.nodes[number].content.size if at is None else at
        change = Write(len(self.ops), number, position, Bytes(data), 0, len(data))
        return self.call("write", name, change, status=os.O_APPEND if appends else 0, process=process)

    def close(self, name: str, process: str = "1") -> Story:
        """close(2)."""
        return self.call("close", name, Close(len(self.ops), self.at(name) or 0), process=process)

    def symlink(self, target: str, name: str) -> Story:
        """symlink(2)."""
        made = len(self.tree.nodes) + 1
        self.tree.nodes[made] = Node("symlink", target=target.encode())
        return self.call("symlink", name, DirChange(len(self.ops), (DirEntry(ROOT, name.encode(), None, made),), made))

    def fsync(self, name: str = "", op: str = "fsync") -> Story:
        """fsync(2) of a file; of the directory without a name."""
        number = self.at(name) if name else ROOT
        return self.call(op, name, Sync(len(self.ops), number, len(self.ops), False, False))

    def rename(self, name: str, to: str) -> Story:
        """rename(2)."""
        number, over = self.at(name), self.at(to)
        entries = DirEntry(ROOT, name.encode(), number, None), DirEntry(ROOT, to.encode(), over, number)
        return self.call("rename", name, DirChange(len(self.ops), entries))

    def unlink(self, name: str, process: str = "1") -> Story:
        """unlink(2)."""
        change = DirChange(len(self.ops), (DirEntry(ROOT, name.encode(), self.at(name), None),))
        return self.call("unlink", name, change, process=process)

    def say(self, text: bytes, fd: int = 1) -> Story:
        """Output."""
        place = len(self.output)
        self.output += text
        return self.call("write", "", Ack(len(self.ops), fd, None, ((place, len(text)),)))

    def exit(self, process: str = "1") -> Story:
        """The end of a process."""
        return self.call("exit", "", *([Ack(len(self.ops), None, 0)] if process == "1" else []), process=process)

    def recording(self) -> Recording:
        """What has happened so far."""
        (self.tmp_path / "log").write_bytes(self.output)
        model = Model(self.tree, self.initial, self.changes)
        log = Log(self.tmp_path / "log")
        return Recording(("prog",), "/r", Roots(("/r",)), 0, tuple(self.ops), model, log, (), ())

    def files(self) -> Files:
        """What judges it."""
        recorded = self.recording()
        return Files(recorded, Disk(recorded.model))

    def judge(self, crash: int | None = None, *lost: tuple[int, Lost]) -> Verdict:
        """Judges a state."""
        files = self.files()
        plan = state(len(self.changes) if crash is None else crash, lost)
        return files.judge(View(files.disk, plan), self.tmp_path)

    def whats(self) -> str:
        """The verdict on each prefix, by its first letter."""
        return "".join(self.judge(crash).what[0] for crash in range(len(self.changes) + 1))
