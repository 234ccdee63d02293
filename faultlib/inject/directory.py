"""The directory that relative path patterns are below."""

from __future__ import annotations

import os

from faultlib.inject.frozen import Frozen


class WorkingDirectory(Frozen):
    """A directory by the name that the shell has for it, and by its real one."""

    logical: str
    real: str

    @classmethod
    def current(cls) -> WorkingDirectory:
        """Returns this process' own: `$PWD` counts as its logical name if it is the same directory."""
        try:
            real = os.getcwd()
        except FileNotFoundError:  # removed: nothing that is below it can be named, but something else may be
            real = os.readlink("/proc/self/cwd").removesuffix(" (deleted)")
        named = os.environ.get("PWD", "")
        try:
            same = named.startswith("/") and os.path.normpath(named) == named and os.path.samefile(named, real)
        except OSError:
            same = False
        return cls(named if same else real, real)

    def below(self, pattern: str) -> tuple[str, ...]:
        """Returns what a path pattern means: itself, or the one or two absolute patterns below this directory."""
        if is_rooted(pattern):
            return (pattern,)
        return tuple(dict.fromkeys(_join(directory, pattern) for directory in (self.logical, self.real)))


def is_rooted(pattern: str) -> bool:
    """Whether a path pattern stands for itself rather than for something below the working directory."""
    return pattern.startswith(("/", "*"))


def _join(directory: str, pattern: str) -> str:
    parts = pattern.split("/")
    while parts and parts[0] in (".", ".."):
        if parts.pop(0) == "..":
            directory = os.path.dirname(directory)  # names, not files
    base = "".join(f"\\{c}" if c in "*?[\\" else c for c in directory.rstrip("/"))
    return "/".join([base, *parts]) or "/"
