"""`faultlib explain RULE…`: says in words what rules do and to which calls. Starts nothing."""

from __future__ import annotations

import json
from pathlib import Path

import click

from faultlib.errors import UsageError
from faultlib.inject.check import check_rules
from faultlib.inject.explain import explain
from faultlib.inject.grammar import parse_rule
from faultlib.inject.visible import visible_lines


@click.command("explain")
@click.argument("rule", nargs=-1)
@click.option(
    "--rules", "files", multiple=True, type=click.Path(path_type=Path), help="Explain the rules of a YAML file."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(rule: tuple[str, ...], files: tuple[Path, ...], as_json: bool) -> None:
    """Say in words what each RULE does, and to which operations and symbols.

    A rule that cannot be is refused with the place and the reason, as `faultlib run` would.
    """
    found = [parse_rule(text) for text in rule]
    for path in files:
        from faultlib.inject.rulefile import read_rules

        found += read_rules(path)
    if not found:
        raise UsageError("no rule to explain: faultlib explain 'write:error=ENOSPC'")
    check_rules(found)
    explanations = [explain(one) for one in found]
    if as_json:
        click.echo(json.dumps([one.as_dict() for one in explanations], indent=2))
    else:
        click.echo(visible_lines("\n\n".join(one.as_text() for one in explanations)))
