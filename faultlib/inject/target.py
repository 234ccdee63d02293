"""What a program file is, before it is started: can it load the shim, and what must come before the shim."""

from __future__ import annotations

import mmap
import os
import stat
import struct

from faultlib.errors import CommandNotFound, FaultlibError, NotExecutable, NotInstrumentable
from faultlib.inject.frozen import Frozen

_ELF64 = b"\x7fELF\x02\x01"
_ELF_HEAD_BYTES = 52
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB = 1, 5
_SCRIPT_DEPTH = 4
RUNTIMES = ("libasan.so", "libtsan.so")
OURS = ":::"
"""Stands behind a runtime that the program's environment did not name: it is for this image alone (csrc/wrap/exec.c)."""
_MACHINES = {"x86_64": 62, "aarch64": 183}


class Image(Frozen):
    """An executable: `path` is the binary that is loaded in the end (of a script, its interpreter).

    `why_not` is the reason that the shim cannot be loaded, None if it can. `needed` are its shared libraries.
    """

    path: str
    interpreter: str | None
    needed: tuple[str, ...]
    why_not: str | None

    def preload(self, listed: str) -> str:
        """Returns LD_PRELOAD with what insists on being first in front, unless it is there: a sanitizer's runtime."""
        first = next((name for name in self.needed if name.startswith(RUNTIMES)), None)
        return listed if first is None or listed.split(":")[0] == first else f"{first}{OURS}{listed}"


def find(command: str, path: str | None = None, cwd: str | os.PathLike[str] | None = None) -> str:
    """Returns the file that a command name stands for. Raises CommandNotFound, or NotExecutable for one that is there."""
    place = os.path.join(cwd, command) if cwd is not None and "/" in command else command
    files = _files(place, path)
    found = next((file for file in files if os.access(file, os.X_OK) and not os.path.isdir(file)), None)
    if found is None:
        raise _why_not(command, files)
    if not os.path.isfile(found):
        raise NotExecutable(f"{command}: is not a regular file")
    return found


def _files(command: str, path: str | None) -> list[str]:
    """Where a command is looked for; shutil.which would be an import."""
    if "/" in command:
        return [command]
    if path is None:
        path = os.environ.get("PATH") if "PATH" in os.environ else os.confstr("CS_PATH")
    return [os.path.join(place, command) for place in path.split(":")] if path else []


def _why_not(command: str, places: list[str]) -> FaultlibError:
    """The error for a command that none of the places has, in the words of a shell."""
    for place in places if command else ():
        try:
            mode = os.stat(place).st_mode
        except PermissionError:
            return NotExecutable(f"{command}: permission denied: {place} cannot be reached")
        except (OSError, ValueError):
            continue
        if not stat.S_ISDIR(mode):
            return NotExecutable(f"{command}: permission denied: {place} is not executable")
        if "/" in command or command in (".", ".."):
            return NotExecutable(f"{command}: is a directory")
    return CommandNotFound(f"{command or repr(command)}: the command was not found")


def inspect(file: str, depth: int = 0, cwd: str | os.PathLike[str] | None = None) -> Image:
    """Reads what the file is; a script's interpreter may be named below `cwd`. Raises OSError if it cannot be read."""
    with open(file, "rb") as stream:
        head = stream.read(4096)
        if head.startswith(b"#!"):
            words = head[2:].split(b"\n", 1)[0].split()
            if words and depth < _SCRIPT_DEPTH:
                return inspect(os.path.join(cwd or "", os.fsdecode(words[0])), depth + 1, cwd)
            return Image(file, None, (), "its #! lines lead to too many scripts" if words else "its #! line names no interpreter")
        if not head.startswith(b"\x7fELF"):
            return Image(file, None, (), f"it is no program and has no #! line (a shell would run it: sh {file})")
        if len(head) < _ELF_HEAD_BYTES:
            return Image(file, None, (), "it is only the beginning of a program")
        if not head.startswith(_ELF64):
            return Image(file, None, (), "it is a 32-bit program, and the shim is a 64-bit library")
        if struct.unpack_from("<H", head, 18)[0] != _MACHINES.get(os.uname().machine):
            return Image(file, None, (), f"it is a program for another processor than {os.uname().machine}")
        try:
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                interpreter, needed = _dynamic(data)
        except (struct.error, ValueError):
            return Image(file, None, (), "it is only the beginning of a program")
    return Image(file, interpreter, needed, _reason(file, interpreter))


def _reason(file: str, interpreter: str | None) -> str | None:
    if interpreter is None and not os.path.basename(os.path.realpath(file)).startswith("ld-linux"):
        return "it is statically linked: no shim can be loaded into it"
    if interpreter is not None and "/ld-linux" not in interpreter:
        return f"it is loaded by {interpreter}, which is not glibc's loader"
    mode = os.stat(file)
    if mode.st_mode & stat.S_ISUID and mode.st_uid != os.geteuid():
        return "it is setuid: the loader ignores LD_PRELOAD there"
    if mode.st_mode & stat.S_ISGID and mode.st_mode & stat.S_IXGRP and mode.st_gid != os.getegid():
        return "it is setgid: the loader ignores LD_PRELOAD there"
    if os.geteuid() and "security.capability" in os.listxattr(file):
        return "it has file capabilities: the loader ignores LD_PRELOAD there"
    return None


def _dynamic(data: mmap.mmap) -> tuple[str | None, tuple[str, ...]]:
    """The loader's name and the needed libraries, from the program headers."""
    offset, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    headers = [struct.unpack_from("<IIQQQQQQ", data, offset + i * size) for i in range(count)]
    interpreter, loads, dynamic = None, [], None
    for kind, _, file_offset, address, _, file_size, _, _ in headers:
        if kind == _PT_INTERP:
            interpreter = data[file_offset : file_offset + file_size].rstrip(b"\0").decode()
        elif kind == _PT_LOAD:
            loads.append((address, file_offset, file_size))
        elif kind == _PT_DYNAMIC:
            dynamic = (file_offset, file_size)
    if dynamic is None:
        return interpreter, ()
    entries = [struct.unpack_from("<QQ", data, dynamic[0] + i) for i in range(0, dynamic[1] - 15, 16)]
    strings = next((value for tag, value in entries if tag == _DT_STRTAB), None)
    base = next((value - a + o for value in (strings,) if value for a, o, s in loads if a <= value < a + s), None)
    if base is None:
        return interpreter, ()
    names = (data[base + value : data.find(b"\0", base + value)] for tag, value in entries if tag == _DT_NEEDED)
    return interpreter, tuple(os.fsdecode(name) for name in names)


def look(command: str, file: str, cwd: str | os.PathLike[str] | None = None) -> Image:
    """Returns the image of a command's file. Raises CommandNotFound or NotExecutable for the interpreter of a script."""
    try:
        image = inspect(file, cwd=cwd)
    except FileNotFoundError as error:
        raise CommandNotFound(f"{command}: its interpreter {error.filename} was not found") from error
    except IsADirectoryError as error:
        raise NotExecutable(f"{command}: its interpreter {error.filename} is a directory") from error
    except OSError as error:  # not for us to read, which is no reason not to run it
        image = Image(error.filename, None, (), None)
    if image.path != file and not os.access(image.path, os.X_OK):
        raise NotExecutable(f"{command}: its interpreter {image.path} is not executable")
    return image


def check(command: str, path: str | None = None, cwd: str | os.PathLike[str] | None = None) -> Image:
    """Returns the image of a command that can be instrumented. Raises CommandNotFound, NotExecutable, NotInstrumentable."""
    image = look(command, find(command, path, cwd), cwd)
    if image.why_not:
        raise NotInstrumentable(f"{command} cannot be instrumented: {image.why_not}")
    return image
