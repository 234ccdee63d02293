"""Runs on copies of the roots at another place, where namespaces are forbidden: what would lead to the real files is refused."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from faultlib.errors import UsageError
from faultlib.inject import rules
from faultlib.inject.events import Event
from faultlib.inject.forkpoint import quoted
from faultlib.inject.ops import OPERATIONS
from faultlib.inject.rules import Rule

_APART = r"\s:;,='\"|&<>()`"
_WORD = re.compile(f"[^{_APART}]+")
_OURS = ".fau"
_NOT_OURS = ("[!.]*", ".[!f]*", ".f[!a]*", ".fa[!u]*")
"""Names in a root, but those that begin like the folder of campaigns, which may be in it; more globs a rule cannot have."""
_CHANGES = ("truncate", "rename", "unlink", "link", "mkdir", "rmdir", "attr")
_LOOKS = ("open", "stat", "fork", "exec")
_WRITING = ("O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC")
WHY = "without namespaces states are put elsewhere, and the real files would be looked at"


class Trespass(UsageError):
    """Something got at the real files, where only copies may be looked at."""

    slug = "trespass"


class Elsewhere(NamedTuple):
    """Where the copies of the real roots are, and why they are needed."""

    copies: dict[Path, Path]
    why: str = ""

    @classmethod
    def of(cls, roots: Sequence[Path], folder: Path, why: str) -> Elsewhere:
        """Returns the places in a campaign's folder."""
        return cls({root: folder.resolve() / "place" / str(number) for number, root in enumerate(roots)}, why)

    def refuse(self, what: str, text: str) -> None:
        """Raises UsageError for a text that names something in a root."""
        if root := self._named(text):
            raise UsageError(f"{what}{text!r} names {root}, but without namespaces it has to run on a copy elsewhere")

    def refuse_links(self) -> None:
        """Raises UsageError for a link in a root that names something in a root."""
        for link in itertools.chain.from_iterable(map(_links, self.copies)):
            if self.holds(os.path.realpath(os.readlink(link))):  # noqa: PTH115
                raise UsageError(f"{link} is a link to {os.readlink(link)}: {WHY}")  # noqa: PTH115

    def told(self, env: Mapping[str, str]) -> list[str]:
        """Returns what is to be said of all that."""
        names = sorted(set(self.environment(env)) - {"PWD", "OLDPWD"})
        more = f"; {', '.join(names)} named a path below a root, and named that of the copy" if names else ""
        return [f"states were copied to another path, as there are no namespaces: {self.why}{more}"]

    def _named(self, text: str) -> Path | None:
        for root in self.copies:
            if re.search(re.escape(str(root)) + r"(?![\w.-])", text):
                return root
        real = (os.path.realpath(word) for word in _WORD.findall(text) if word.startswith("/"))
        return next(filter(None, map(self._root_of, real)), None)

    def _root_of(self, path: str) -> Path | None:
        """The root in which a path without links lies; None for those of campaigns."""
        for root in self.copies:
            if path == str(root):
                return root
            if path.startswith(f"{root}/") and not path[len(str(root)) + 1 :].startswith(_OURS):
                return root
        return None

    def holds(self, path: str) -> bool:
        """Whether a path without links is that of a real root, or of what is in it."""
        return self._root_of(path) is not None

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """Returns the variables that name a path in a root, with the copy's instead."""
        return {name: moved for name, value in env.items() if (moved := self._moved(value)) != value}

    def _moved(self, value: str) -> str:
        roots = "|".join(re.escape(str(root)) for root in self.copies)
        begin = rf"((?:^|[{_APART}])[^/{_APART}]*(?://)?)"  # of a path, as also in -I/usr/include or file:///usr
        whole = f"{begin}({roots})(?=$|[/{_APART}])(?!/{re.escape(_OURS)})"
        found = re.sub(whole, lambda match: match[1] + str(self.copies[Path(match[2])]), value)
        return _WORD.sub(lambda word: self.place_of(word[0]), found)

    def place_of(self, path: str) -> str:
        """Returns where the copy of a file is; the path itself for one that is in no root."""
        real = os.path.realpath(path) if path.startswith("/") else path
        root = self._root_of(real)
        return str(self.copies[root]) + real[len(str(root)) :] if root else path

    def fence(self) -> list[Rule]:
        """Returns rules that refuse to change anything in the real roots, and tell of all that is looked at there."""
        found = list[Rule]()
        for root in self.copies:
            path = [f"{quoted(str(root))}/{glob}" for glob in _NOT_OURS]
            found += [rules.error("open", "EACCES", flags=flag, path=path) for flag in _WRITING]
            found.append(rules.error(["open", *_CHANGES], "EACCES", call=["creat", *_by_name(_CHANGES)], path=path))
            found.append(rules.delay(_LOOKS, "1ns", call=_by_name(_LOOKS), path=path))
            found.append(rules.delay("open", "1ns", path=quoted(str(root))))
        return found

    def trespass(self, events: Iterable[Event]) -> Path | None:
        """Returns the first real file that somebody got at, or tried to change, by what the fence has told."""
        for event in events:
            for path in (event.path, event.path2):
                if path and self._root_of(path) and (event.effect == "error" or os.path.lexists(path)):
                    return Path(path)
        return None


def _by_name(families: Iterable[str]) -> list[str]:
    """The calls that are given a name, not a descriptor."""
    return list(dict.fromkeys(op.name for op in OPERATIONS if op.family in families and op.arguments & {"path", "path2"}))


def _links(root: Path) -> Iterable[str]:
    """The links in a root that name an absolute path."""
    for here, directories, names in os.walk(root):
        if Path(here) == root:
            directories[:] = [name for name in directories if not name.startswith(_OURS)]
        for name in (*directories, *names):
            path = os.path.join(here, name)  # noqa: PTH118 - many
            if os.path.islink(path) and os.readlink(path).startswith("/"):  # noqa: PTH114, PTH115
                yield path
