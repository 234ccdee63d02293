"""The quick reader of command lines: where it answers, click answers the same; the usual form it always answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultlib.commands import options, quick, run
from faultlib.commands.options import Option
from faultlib.commands.running import OPTIONS

SPELLINGS = [spelling for option in OPTIONS for spelling in option.spellings]
ODD = ["", "-", "--", "-e", "-x", "--no-such", "-qv", "-vq", "--seed=5", "--label=a b", "--quie", "-ewrite:stop", "--quiet=1", "-1"]
VALUES = ["write:stop", "a", "7", "007", "0", "18446744073709551615", "18446744073709551616", "+7", " 7", "1_0", "٧", "é", "a=b", "."]

words = st.sampled_from([*SPELLINGS, *VALUES, *ODD])
commands = st.lists(words, min_size=1, max_size=3).filter(lambda command: not command[0].startswith("-"))


def by_click(arguments: Sequence[str]) -> dict[str, Any] | None:
    """What click makes of a command line; None for an error."""
    try:
        return run.command.make_context("run", list(arguments)).params
    except click.ClickException:
        return None


def usual(option: Option) -> st.SearchStrategy[list[str]]:
    """An option as it is usually written."""
    spelling = st.sampled_from(option.spellings)
    if option.takes == options.FLAG:
        return spelling.map(lambda word: [word])
    texts = st.text("ab7é=:*/ -.\n'").filter(lambda text: not text.startswith("-"))
    numbers = st.integers(0, 10**quick.SEED_DIGITS - 1).map(str)
    return st.tuples(spelling, numbers if option.takes == options.SEED else texts).map(list)


READ_QUICKLY = [option for option in OPTIONS if option.takes in (options.FLAG, options.TEXT, options.SEED)]
usual_lines = st.tuples(st.lists(st.sampled_from(READ_QUICKLY).flatmap(usual)), st.booleans(), commands).map(
    lambda parts: [*(word for one in parts[0] for word in one), *(["--"] if parts[1] else []), *parts[2]]
)


@given(st.lists(words, max_size=8))
def test_what_the_quick_reader_says_click_says_too(arguments: list[str]) -> None:
    found = quick.read(OPTIONS, arguments)
    assert found is None or found == by_click(arguments)


@given(usual_lines)
def test_the_usual_form_is_read_quickly(arguments: list[str]) -> None:
    found = quick.read(OPTIONS, arguments)
    assert found is not None
    assert found == by_click(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["--"], ["-q"], ["-e"], ["-e", "write:stop"], ["-e", "-q", "true"], ["--seed", "x", "true"],
        ["--seed", "99999999999999999999", "true"], ["--rules", "none.yaml", "true"], ["--json", "/", "true"], ["--help"],
        ["--quite", "true"], ["-", "true"],
    ],
)  # fmt: skip
def test_whatever_else_is_left_to_click(arguments: list[str]) -> None:
    assert quick.read(OPTIONS, arguments) is None


def test_every_option_is_one_of_the_command_and_of_its_help() -> None:
    declared = {param.name: param for param in run.command.params if isinstance(param, click.Option)}
    assert [*declared] == [option.name for option in OPTIONS]
    for option in OPTIONS:
        assert (*declared[option.name].opts,) == option.spellings
        assert declared[option.name].help == option.help
