"""A small process that calls a check in Python: `python -m faultlib.explore.function_host CHECK PROMISE`.

It has the check loaded when it opens the file of promises, at which it is forked for each state (forkserver.py). As every page
that it has costs each fork something, it imports next to nothing.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

MOST_OUTPUT = 4000


def find(module: str, function: str, cwd: Path) -> Any:
    """Imports `module`, a name or a file, as from `cwd`; returns what is called `function` there, None if nothing is."""
    if module.endswith(".py"):
        path = (cwd / module).resolve()
        sys.path.insert(0, str(path.parent))
        module = path.stem
    else:
        sys.path.insert(0, str(cwd))
    _forget_namesake(module, sys.path[0])
    return getattr(importlib.import_module(module), function, None)


def _forget_namesake(module: str, folder: str) -> None:
    """A module of that name that came from another directory is not the one that is meant, if there is one in this."""
    known, own = sys.modules.get(module), os.path.join(folder, *module.split("."))  # noqa: PTH118 - little is imported here
    is_here = os.path.exists(own + ".py") or os.path.exists(os.path.join(own, "__init__.py"))  # noqa: PTH110, PTH118
    if known and is_here and not (getattr(known, "__file__", None) or "").startswith(own):
        del sys.modules[module]


def arguments(function: Callable[..., Any]) -> int:
    """Returns how many arguments a check wants."""
    return function.__code__.co_argcount if hasattr(function, "__code__") else 3


def call(function: Callable[..., Any], cwd: Path, output: bytes, operations: int, writer: int) -> int:
    """Calls a check with as many arguments as it wants; returns 0 if it passes, and writes why it does not."""
    try:
        said = function(*(cwd, output, operations)[: arguments(function)])
    except SystemExit as error:
        said = error.code in (None, 0)
        _say(writer, f"exit {_text(error.code)}")
    except BaseException as error:
        _say(writer, f"{type(error).__name__}: {_text(error)}")
        return 1
    if hasattr(said, "__await__") or hasattr(said, "gi_frame"):
        _say(writer, f"it returned a {type(said).__name__}: nothing of it was run")
        return 1
    return 1 if said is False else 0


def _text(what: object) -> str:
    """What something says of itself, if it can."""
    try:
        return str(what)
    except Exception as error:
        return f"(its text cannot be had: {type(error).__name__})"


def _say(writer: int, text: str) -> None:
    try:
        os.write(writer, text.encode(errors="backslashreplace")[:MOST_OUTPUT])
    except OSError:
        return  # the check has closed it


def _speak_to(fd: int) -> None:
    os.dup2(fd, 1)
    os.dup2(fd, 2)


def main(check: str, promise: str) -> NoReturn:
    """Loads the check, waits at the file of promises to be forked, and calls it."""
    os.environ.pop("LD_PRELOAD", None)  # what the check starts has no part in this
    module, _, name = check.rpartition(":")
    cwd, nothing, writer = Path.cwd(), os.open(os.devnull, os.O_RDWR), os.dup(1)
    _speak_to(nothing)
    function = find(module, name, cwd)
    _speak_to(writer)  # what is open under no other number would be taken for one of the files
    gc.collect()
    gc.freeze()
    file = os.open(promise, os.O_RDONLY)
    operations, _, output = os.read(file, os.fstat(file).st_size).partition(b"\n")
    os.close(file)
    _speak_to(nothing)
    os._exit(call(function, cwd, output, int(operations), writer))


if __name__ == "__main__":
    main(*sys.argv[1:3])
