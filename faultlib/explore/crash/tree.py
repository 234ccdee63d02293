"""Files and directories as a program sees them: the tree that was there first, and each entry done to it."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from faultlib.explore.crash.changes import Ack, Change, Close, DirChange, DirEntry, Resize, Sync, Write, ZeroRange
from faultlib.explore.crash.content import PAGE, Content
from faultlib.inject.datalog import DataLog, LogEntry

OTHER = "other"
"""The kind of a socket, a fifo, a device."""
MOST_LINKS = 40
"""As the kernel (path_resolution(7))."""
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE = 1, 2, 16
_OTHER_WAYS = ~(FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE)
RENAME_EXCHANGE = 2
MS_SYNC = 4
O_SYNC = os.O_SYNC
"""O_DSYNC is one bit of it."""
RWF_DSYNC, RWF_SYNC = 2, 4
AT_REMOVEDIR = 0x200


class Node:
    """A file, a directory, a symbolic link, or something else that only has a name."""

    __slots__ = ("children", "content", "kind", "mode", "target")

    def __init__(self, kind: str, *, content: Content | None = None, target: bytes = b"", mode: int = 0o644) -> None:
        self.kind = kind
        self.mode = mode
        self.content = content or Content()
        self.target = target
        self.children: dict[bytes, int] = {}


class FileSource:
    """The bytes of a file that nobody changes; of a folder that is open, whatever is mounted over it."""

    __slots__ = ("_folder", "_path")

    def __init__(self, path: Path, folder: int | None = None) -> None:
        self._path = path
        self._folder = folder

    def read(self, position: int, length: int) -> bytes:
        """Returns exactly so many bytes from there."""
        fd = os.open(self._path, os.O_RDONLY, dir_fd=self._folder)
        try:
            return os.pread(fd, length, position)
        finally:
            os.close(fd)


class _Log:
    """The data of a log."""

    __slots__ = ("_log",)

    def __init__(self, log: DataLog) -> None:
        self._log = log

    def read(self, position: int, length: int) -> bytes:
        return self._log.at(position, length)


class Mismatch(Exception):
    """An entry does not fit the tree: something that the log does not tell has happened in between."""


class Tree:
    """The tree below some roots. `uncertain` says in sentences what could not be followed, `remarks` what was of no consequence.

    `output` is the file (device, inode) by which the program tells the world something; sockets are such as well. `outside` are
    the files beyond the roots that were changed, `fresh` those that cannot have been there before.
    """

    def __init__(self) -> None:
        self.output: tuple[int, int] | None = None
        self.outside: dict[str, str] = {}
        self.fresh = set[str]()
        self.nodes: dict[int, Node] = {}
        self.roots: dict[bytes, int] = {}
        self.uncertain: list[str] = []
        self.remarks: list[str] = []
        self._objects: dict[tuple[int, int], int] = {}
        self._next = 1

    # the tree that is there

    @classmethod
    def scanned(cls, roots: dict[Path, Path]) -> Tree:
        """Reads trees. `roots` maps each path that a program knows to a copy of it, which nobody changes from now on."""
        tree = cls()
        for known, copy in roots.items():
            tree.roots[os.fsencode(known)] = tree._scan(known, copy)
        return tree

    def _scan(self, path: Path, copy: Path) -> int:
        status = path.lstat()
        known = self._objects.get((status.st_dev, status.st_ino))
        if known is not None:
            return known
        number = self._add(self._read_node(copy, status), (status.st_dev, status.st_ino))
        if stat.S_ISDIR(status.st_mode):
            for name in os.listdir(os.fsencode(path)):  # noqa: PTH208 - as bytes
                text = os.fsdecode(name)
                self.nodes[number].children[name] = self._scan(path / text, copy / text)
        return number

    @staticmethod
    def _read_node(path: Path, status: os.stat_result) -> Node:
        if stat.S_ISREG(status.st_mode):
            return Node("file", content=Content.of(FileSource(path), status.st_size), mode=stat.S_IMODE(status.st_mode))
        if stat.S_ISLNK(status.st_mode):
            return Node("symlink", target=os.fsencode(os.readlink(path)))  # noqa: PTH115 - a Path would tidy it up
        return Node("dir" if stat.S_ISDIR(status.st_mode) else OTHER, mode=stat.S_IMODE(status.st_mode))

    def _add(self, node: Node, identity: tuple[int, int]) -> int:
        number, self._next = self._next, self._next + 1
        self.nodes[number] = node
        self._objects[identity] = number
        return number

    # names

    def find(self, path: bytes, *, follow: bool = False) -> tuple[int, bytes, int | None] | None:
        """Returns (directory, name, node) of an absolute path; None if it leads out of the roots or through what is not there."""
        for _ in range(MOST_LINKS):
            found = self._walk(path)
            if not found:
                return None
            directory, name, number, target = found
            if target is None and not (follow and number is not None and self.nodes[number].kind == "symlink"):
                return directory, name, number
            link = target if target is not None else self._below(path, self.nodes[number or 0].target)
            path = link
        return None

    def _below(self, path: bytes, target: bytes) -> bytes:
        return posixpath.normpath(posixpath.join(posixpath.dirname(path), target))

    def _root_of(self, path: bytes) -> bytes | None:
        fitting = (root for root in self.roots if path == root or path.startswith(root.rstrip(b"/") + b"/"))
        return max(fitting, key=len, default=None)

    def _walk(self, path: bytes) -> tuple[int, bytes, int | None, bytes | None] | None:
        """One walk; its last member is the path to go on with, when a directory on the way is a symbolic link."""
        root = self._root_of(path)
        if root is None or path == root:
            return None
        parts = path[len(root) :].strip(b"/").split(b"/")
        here, at = self.roots[root], root
        for i, part in enumerate(parts[:-1]):
            number = self.nodes[here].children.get(part)
            if number is None:
                return None
            if self.nodes[number].kind == "symlink":
                target = self._below(at + b"/" + part, self.nodes[number].target)
                return here, part, number, b"/".join((target, *parts[i + 1 :]))
            here, at = number, at + b"/" + part
        return here, parts[-1], self.nodes[here].children.get(parts[-1]), None

    def directory(self, path: bytes) -> int | None:
        """Returns the node of a directory."""
        if path in self.roots:
            return self.roots[path]
        found = self.find(path, follow=True)
        return found[2] if found else None

    # entries

    def follow(self, log: DataLog, entries: Iterable[LogEntry] | None = None) -> Iterator[Change]:
        """Does what a log says, or some entries of it, and yields the changes that they amount to."""
        data = _Log(log)
        for entry in log.entries() if entries is None else entries:
            for change in self._changes(entry, data):
                self.apply(change)
                yield change

    def _changes(self, entry: LogEntry, log: _Log) -> Iterator[Change]:
        family = entry.operation.family
        known = self._objects.get((entry.device, entry.inode))
        try:
            match family:
                case "open":
                    yield from self._opened(entry, known)
                case "write" | "mmap":
                    yield from self._written(entry, known, log)
                case "truncate":
                    if known is not None and entry.event.size != self.nodes[known].content.size:  # else it does nothing
                        yield Resize(entry.number, known, entry.event.size)
                case "allocate":
                    yield from self._allocated(entry, known)
                case "mkdir" | "link" | "unlink" | "rmdir" | "rename":
                    yield from getattr(self, f"_{family}")(entry, known)
                case "fsync":
                    yield from self._synced(entry, known)
                case "close":
                    if known is not None:
                        yield Close(entry.number, known)
                case "attr":
                    self._changed_mode(entry, known)
                case "exit" if entry.event.lineage == "1":
                    yield Ack(entry.number, None, entry.event.extra)
        except Mismatch as error:
            self.uncertain.append(f"{entry.operation.name} #{entry.number}, {os.fsdecode(entry.names[0])}: {error}")

    def _opened(self, entry: LogEntry, known: int | None) -> Iterator[Change]:
        event = entry.event
        if event.flags & os.O_TMPFILE == os.O_TMPFILE:
            if self.directory(entry.names[0]) is not None:
                self._add(Node("file"), (entry.device, entry.inode))
            return
        found = self.find(entry.names[0], follow=not event.flags & os.O_NOFOLLOW)
        if not found:
            return
        directory, name, number = found
        if number is None:
            made = self._add(Node("file"), (entry.device, entry.inode))
            yield DirChange(entry.number, (DirEntry(directory, name, None, made),), made)
        elif known != number:
            raise Mismatch("the name leads to another file than the one that was opened")
        elif event.flags & os.O_TRUNC and self.nodes[number].kind == "file":
            yield Resize(entry.number, number, 0)

    def _written(self, entry: LogEntry, known: int | None, log: _Log) -> Iterator[Change]:
        if known is None:
            path = entry.event.path or ""
            if (entry.device, entry.inode) == self.output or path.startswith("socket:"):
                yield Ack(entry.number, entry.event.fd, None, entry.data.pieces)
            elif path.startswith("/") and not path.startswith(("/dev/", "/proc/")):
                self.outside.setdefault(path, entry.operation.name)
            return
        position = self.nodes[known].content.size if entry.position is None else entry.position
        for at, length in entry.data.pieces:
            if entry.operation.family == "mmap":
                yield from self._stored(Write(entry.number, known, position, log, at, length, entry.began))
            else:
                yield Write(entry.number, known, position, log, at, length)
            position += length
        waits = entry.status & O_SYNC, entry.operation.name == "pwritev2" and entry.event.flags & (RWF_DSYNC | RWF_SYNC)
        if any(waits):
            data_only = O_SYNC not in waits and not (waits[1] and waits[1] & RWF_SYNC)
            yield Sync(entry.number, known, entry.number + 1, data_only, False)

    @staticmethod
    def _stored(write: Write) -> Iterator[Write]:
        """Page by page: the kernel writes each of them back when it likes."""
        done = 0
        while done < write.length:
            position = write.position + done
            n = min(write.length - done, PAGE - position % PAGE)
            yield write._replace(position=position, at=write.at + done, length=n)
            done += n

    def _allocated(self, entry: LogEntry, known: int | None) -> Iterator[Change]:
        event = entry.event
        if known is None:
            return
        if event.flags & _OTHER_WAYS:
            raise Mismatch("this way to allocate is not followed")
        if event.flags & (FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE):
            yield ZeroRange(entry.number, known, event.offset, event.size)
        end = event.offset + event.size
        if not event.flags & FALLOC_KEEP_SIZE and end > self.nodes[known].content.size:
            yield Resize(entry.number, known, end)

    def _mkdir(self, entry: LogEntry, _: int | None) -> Iterator[Change]:
        found = self.find(entry.names[0])
        if found:
            made = self._add(Node("dir"), (entry.device, entry.inode))
            yield DirChange(entry.number, (DirEntry(found[0], found[1], None, made),), made)

    def _link(self, entry: LogEntry, known: int | None) -> Iterator[Change]:
        found = self.find(entry.names[1])
        if not found:
            return
        directory, name, _ = found
        made = None
        if entry.operation.name.startswith("symlink"):
            known = made = self._add(Node("symlink", target=entry.names[0]), (entry.device, entry.inode))
        if known is None:
            raise Mismatch("it is linked from outside the roots")
        yield DirChange(entry.number, (DirEntry(directory, name, None, known),), made)

    def _unlink(self, entry: LogEntry, _: int | None) -> Iterator[Change]:
        found = self.find(entry.names[0])
        if not found:
            return
        directory, name, number = found
        if number is None:
            path = os.fsdecode(entry.names[0])
            self.remarks.append(f"{path} was removed, and made by nothing that is followed: a socket?")
            return
        yield DirChange(entry.number, (DirEntry(directory, name, number, None),))

    _rmdir = _unlink

    def _rename(self, entry: LogEntry, known: int | None) -> Iterator[Change]:
        source, target = self.find(entry.names[0]), self.find(entry.names[1])
        if not source and not target:
            return
        if not source or not target:
            raise Mismatch("it is moved in or out of the roots")
        (directory, name, number), (directory2, name2, number2) = source, target
        if number is None or number != known:
            raise Mismatch("another file was moved than the one of that name")
        if entry.event.flags & RENAME_EXCHANGE:
            yield DirChange(
                entry.number, (DirEntry(directory, name, number, number2), DirEntry(directory2, name2, number2, number))
            )
        elif number != number2:  # two names of one file: rename(2) does nothing
            yield DirChange(entry.number, (DirEntry(directory, name, number, None), DirEntry(directory2, name2, number2, number)))

    def _changed_mode(self, entry: LogEntry, known: int | None) -> None:
        """Permissions are not among what a crash can lose here: they are as they were set last."""
        if known is None and entry.names[0]:
            found = self.find(entry.names[0], follow=True)
            known = found[2] if found else None
        if known is not None and "chmod" in entry.operation.name:
            self.nodes[known].mode = entry.event.extra & 0o7777

    def _synced(self, entry: LogEntry, known: int | None) -> Iterator[Change]:
        name, failed = entry.operation.name, entry.event.result < 0
        if name in ("sync", "syncfs"):
            yield Sync(entry.number, None, entry.began, False, failed)
        elif name == "msync" and known is not None and entry.event.flags & MS_SYNC:
            begin = entry.position or 0
            end = -(-(begin + entry.event.size) // PAGE) * PAGE
            yield Sync(entry.number, known, entry.began, True, failed, begin, end)
        elif name in ("fsync", "fdatasync") and known is not None:
            yield Sync(entry.number, known, entry.began, name == "fdatasync", failed)

    def apply(self, change: Change) -> None:
        """Does a change to the tree."""
        match change:
            case Write(_, number, position, source, at, length, _):
                node = self.nodes[number]
                node.content = node.content.write(position, source, at, length)
            case Resize(_, number, size):
                self.nodes[number].content = self.nodes[number].content.resize(size)
            case ZeroRange(_, number, position, length):
                self.nodes[number].content = self.nodes[number].content.zero(position, length)
            case DirChange(_, entries, _):
                for entry in entries:
                    children = self.nodes[entry.directory].children
                    if entry.after is None:
                        children.pop(entry.name, None)
                    else:
                        children[entry.name] = entry.after

    # comparing

    def paths(self) -> Iterator[tuple[bytes, Node]]:
        """Yields every path with its node, parents first."""
        waiting = list(self.roots.items())
        while waiting:
            path, number = waiting.pop()
            node = self.nodes[number]
            yield path, node
            waiting += [(path + b"/" + name, child) for name, child in node.children.items()]


def differences(one: Tree, other: Tree) -> list[str]:
    """Returns what two trees of the same roots differ in, a sentence for each path."""
    ours, theirs = dict(one.paths()), dict(other.paths())
    found = [f"{os.fsdecode(path)} should be there" for path in sorted(ours.keys() - theirs.keys())]
    new = (path for path in sorted(theirs.keys() - ours.keys()) if theirs[path].kind != OTHER)  # of a socket nothing is kept
    found += [f"{os.fsdecode(path)} should not be there" for path in new]
    for path in sorted(ours.keys() & theirs.keys()):
        a, b = ours[path], theirs[path]
        if a.kind != b.kind or a.target != b.target:
            found.append(f"{os.fsdecode(path)} should be a {a.kind}, not a {b.kind}")
        elif a.kind == "file" and a.content.digest() != b.content.digest():
            found.append(f"{os.fsdecode(path)} should have other contents")
    return found
