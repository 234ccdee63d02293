"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from faultlib.errors import UsageError
from faultlib.inject.rules import Rule

F = TypeVar("F", bound=Callable[..., Any])


def rules(function: F) -> F:
    """`-e RULE`, `--rules FILE` and `--seed N`."""
    function = click.option(
        "--seed", type=click.IntRange(0, (1 << 64) - 1), metavar="N", help="For p= and jitter: same seed, same faults."
    )(function)
    function = rules_files(function)
    return click.option("-e", "--rule", multiple=True, metavar="RULE", help="A rule; see `faultlib explain`.")(function)


def rules_files(function: F) -> F:
    """`--rules FILE`."""
    return click.option(
        "--rules", "rules_file", multiple=True, type=click.Path(exists=True, dir_okay=False), metavar="FILE",
        help="Rules from a YAML file.",
    )(function)  # fmt: skip


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


REPORT = ReportFile()


def session(function: F) -> F:
    """`--label NAME`."""
    return click.option(
        "--label", default="", metavar="NAME", help="A name for this process tree, for proc=label:NAME."
    )(function)


def command_argument(function: F) -> F:
    """The command after `--`."""
    return click.argument("cmd", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD [ARG]...")(function)


def read_rules(texts: Sequence[str], files: Sequence[str], *, alone: bool = True) -> list[Rule]:
    """Returns the rules of the command line and the files. Raises RuleError.

    They are checked together, unless they join others (`alone` is false): the session does that.
    """
    from faultlib.inject import grammar
    from faultlib.inject.check import check_rules

    found = [grammar.parse_rule(text) for text in texts]
    if files:
        from faultlib.inject import rulefile

        for file in files:
            of_file = rulefile.read_rules(Path(file))
            if not of_file:
                raise UsageError(f"{file}: there is no rule in it")
            found += of_file
    if alone:
        check_rules(found)
    return found
