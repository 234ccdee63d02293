"""The options that commands share. An option is declared once, for click (declared.py) and for the quick reader (quick.py)."""

from __future__ import annotations

import sys

from faultlib.errors import UsageError
from faultlib.inject.frozen import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from faultlib.inject.rules import Rule

FLAG, TEXT, SEED, FILE, REPORT = "flag", "text", "seed", "file", "report"
"""What an option takes: nothing, any text, a number of 64 bits, a file to read, a file to write a report to."""


class Option(Frozen):
    """An option: the parameter that it sets, its spellings, and what it `takes`; with `many` it may be given several times."""

    name: str
    spellings: tuple[str, ...]
    help: str
    takes: str = FLAG
    metavar: str | None = None
    many: bool = False
    default: str | None = None

    @property
    def unset(self) -> object:
        """The parameter's value where the option is not given."""
        return () if self.many else False if self.takes == FLAG else self.default


RULES_FILE = Option("rules_file", ("--rules",), "Rules from a YAML file.", FILE, "FILE", many=True)
RULES = (
    Option("rule", ("-e", "--rule"), "A rule; see `faultlib explain`.", TEXT, "RULE", many=True),
    RULES_FILE,
    Option("seed", ("--seed",), "For p= and jitter: same seed, same faults.", SEED, "N"),
)
WAIT = Option("wait", ("--wait",), "Stay until the last process of the command has ended, also of its daemons.", FLAG)
LABEL = Option("label", ("--label",), "A name for this process tree, for proc=label:NAME.", TEXT, "NAME")


def read_label(label: str | None) -> str:
    """Returns the label to give. Raises UsageError for an empty one: that is none."""
    if label == "":
        raise UsageError("--label: a label is not empty")
    return label or ""


def say_notes(notes: Iterable[str]) -> None:
    """What the user should know, on stderr."""
    for note in notes:
        print(f"faultlib: note: {note}", file=sys.stderr)


def read_rules(texts: Sequence[str], files: Sequence[str], *, alone: bool = True) -> list[Rule]:
    """Returns the rules of the command line and the files. Raises RuleError.

    They are checked together, unless they join others (`alone` is false): the session does that.
    """
    if not texts and not files:
        return []
    from faultlib.inject import grammar
    from faultlib.inject.check import check_rules

    found = [grammar.parse_rule(text) for text in texts]
    if files:
        from pathlib import Path

        from faultlib.inject import rulefile

        for file in files:
            of_file = rulefile.read_rules(Path(file))
            if not of_file:
                raise UsageError(f"{file}: there is no rule in it")
            found += of_file
    if alone:
        check_rules(found)
    return found
