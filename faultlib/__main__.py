"""The command line: `faultlib` and `python -m faultlib`."""

from __future__ import annotations

import io
import os
import sys

from faultlib.errors import FaultlibError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main() -> None:
    """Runs the command line; errors of ours become one message and their exit code."""
    _open_streams()
    try:
        _command(sys.argv[1:])
    except FaultlibError as error:
        _say(str(error))
        sys.exit(error.exit_code)
    except OSError as error:
        _say(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error))
        _let_go()
        sys.exit(FaultlibError.exit_code)
    except Exception:  # 1, which Python ends with, means that something was found
        sys.excepthook(*sys.exc_info())
        sys.exit(FaultlibError.exit_code)


def _open_streams() -> None:
    """Standard streams that whoever started us has closed: their numbers must not become those of files of ours.

    A command gets them closed, as it would without us.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr has it: names of files may be in any encoding


def _say(message: str) -> None:
    from faultlib.inject.visible import visible_lines
    from faultlib.report.streams import say

    say(f"faultlib: {visible_lines(message)}\n", sys.stderr)


def _let_go() -> None:
    """If it was standard output that failed, what it still holds would make Python's own end fail."""
    from faultlib.report.streams import say

    say("", sys.stdout)


def _command(arguments: list[str]) -> None:
    if arguments[:1] == ["run"]:
        from faultlib.commands import quick, running

        given = quick.read(running.OPTIONS, arguments[1:])
        if given is not None:
            return _run(given)
    from faultlib.commands.cli import cli

    cli.main(prog_name="faultlib")


def _run(given: dict[str, Any]) -> None:
    """Runs a command under rules. What interrupts it ends it as click would."""
    from faultlib.commands import running

    try:
        running.run(**given)
    except (KeyboardInterrupt, EOFError):
        print("\nAborted!", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        _let_go()
        sys.exit(1)


if __name__ == "__main__":
    main()
