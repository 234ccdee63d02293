"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from faultlib.inject.rules import Rule

F = TypeVar("F", bound=Callable[..., Any])


def rules(function: F) -> F:
    """`-e RULE`, `--rules FILE` and `--seed N`."""
    function = click.option(
        "--seed", type=click.IntRange(0, (1 << 64) - 1), metavar="N", help="For p= and jitter: same seed, same faults."
    )(function)
    function = click.option(
        "--rules", "rules_file", multiple=True, type=click.Path(exists=True, dir_okay=False), metavar="FILE",
        help="Rules from a YAML file.",
    )(function)  # fmt: skip
    return click.option("-e", "--rule", multiple=True, metavar="RULE", help="A rule; see `faultlib explain`.")(function)


def session(function: F) -> F:
    """`--label NAME`."""
    return click.option(
        "--label", default="", metavar="NAME", help="A name for this process tree, for proc=label:NAME."
    )(function)


def command_argument(function: F) -> F:
    """The command after `--`."""
    return click.argument("cmd", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD [ARG]...")(function)


def read_rules(texts: Sequence[str], files: Sequence[str]) -> list[Rule]:
    """Returns the rules of the command line and the files, checked together. Raises RuleError."""
    from faultlib.inject import grammar
    from faultlib.inject.check import check_rules

    found = [grammar.parse_rule(text) for text in texts]
    if files:
        from faultlib.inject import rulefile

        for file in files:
            found += rulefile.read_rules(Path(file))
    check_rules(found)
    return found
