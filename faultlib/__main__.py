"""The command line: `faultlib` and `python -m faultlib`."""

from __future__ import annotations

import os
import sys

from faultlib.errors import FaultlibError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main() -> None:
    """Runs the command line; errors of ours become one message and their exit code."""
    if sys.stderr is None:  # closed by whoever started us
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    try:
        _command(sys.argv[1:])
    except FaultlibError as error:
        print(f"faultlib: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


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
        sys.exit(1)


if __name__ == "__main__":
    main()
