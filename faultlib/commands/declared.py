"""Options and arguments as click has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from faultlib.commands import options
from faultlib.commands.options import Option

F = TypeVar("F", bound=Callable[..., Any])


class ReportFile(click.ParamType):  # type: ignore[type-arg]
    """A file that a report can be written to, or `-`. Checked now: after the run it would be too late."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Returns the file's name. Fails if it is a directory or may not be written."""
        file = Path(value)
        if value != "-":
            if file.is_dir():
                self.fail(f"{value} is a directory", param, ctx)
            if not (file if file.exists() else file.parent).exists():
                self.fail(f"{value}: there is no directory {file.parent}", param, ctx)
            existed = file.exists()
            try:
                file.open("a").close()
            except OSError as error:
                self.fail(f"{value} cannot be written: {error.strerror}", param, ctx)
            if not existed:
                file.unlink()
        return str(value)


class Directory(click.ParamType):  # type: ignore[type-arg]
    """A directory by its name, which cannot be empty: as a path that would be the current one."""

    name = "directory"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Returns the path."""
        if not str(value):
            self.fail("this is empty; leave the option out for the current directory", param, ctx)
        return Path(value)


class Number(click.IntRange):
    """What is said of another value is that it is no number."""

    name = "number"


_TYPES: dict[str, Any] = {
    options.TEXT: str,
    options.SEED: Number(0, (1 << 64) - 1),
    options.FILE: click.Path(exists=True, dir_okay=False),
    options.REPORT: ReportFile(),
}


def takes(*declared: Option) -> Callable[[F], F]:
    """Gives a click command these options, which `--help` lists in this order."""

    def decorate(function: F) -> F:
        for option in reversed(declared):
            function = _declare(option)(function)
        return function

    return decorate


def _declare(option: Option) -> Callable[[F], F]:
    if option.takes == options.FLAG:
        return click.option(*option.spellings, option.name, is_flag=True, help=option.help)
    return click.option(
        *option.spellings, option.name, type=_TYPES[option.takes], metavar=option.metavar, multiple=option.many,
        default=None if option.many else option.default, help=option.help,
    )  # fmt: skip


def takes_command(function: F) -> F:
    """Gives a click command the command after `--`."""
    return click.argument("cmd", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD [ARG]...")(function)
