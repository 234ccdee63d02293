"""`faultlib ops`: the table of operations and families: which call is in which family, and what can happen to it."""

from __future__ import annotations

import json
from typing import Any

import click

from faultlib.errors import UsageError
from faultlib.inject import errnos, ops, values
from faultlib.inject.ops import Operation
from faultlib.inject.possible import possible_effects

_EVERYWHERE = ("delay", "delay_after", "kill=before", "kill=after", "signal", "stop", "hang")


@click.command("ops")
@click.argument("name", nargs=-1)
@click.option("-v", "--verbose", is_flag=True, help="Also the possible errnos, and the libc symbols.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(name: tuple[str, ...], verbose: bool, as_json: bool) -> None:
    """Print the operations that rules can name, by family, or only those of NAME (families or operations)."""
    wanted = [op for one in name for op in _named(one)] or list(ops.OPERATIONS)
    rows = [_row(op) for op in sorted(set(wanted), key=lambda op: (ops.FAMILIES[op.family].number, op.number))]
    if as_json:
        click.echo(json.dumps({"operations": rows, "reserved": list(ops.RESERVED)}, indent=2))
        return
    click.echo("\n".join(_lines(rows, verbose)))
    if not name:
        click.echo(f"\nPossible everywhere: {' '.join(_EVERYWHERE)} (nothing is after exit and exec).")
        click.echo(f"Not intercepted yet: {' '.join(ops.RESERVED)}.")


def _named(name: str) -> tuple[Operation, ...]:
    found = ops.named(name) or ops.exactly(ops.of_symbol(name) or "")
    if not found:
        near = values.nearest(name, ops.all_names())
        raise UsageError(f"{name} is no operation" + (f"; did you mean {near}?" if near else ""))
    return found


def _row(op: Operation) -> dict[str, Any]:
    possible = errnos.possible(op)
    return {
        "family": op.family,
        "operation": op.title,
        "name": op.name,
        "arguments": [role for role in ops.ARGUMENTS if role in op.arguments],
        "result": op.result,
        "effects": possible_effects(op),
        "errnos": errnos.names_of(possible.errnos),
        "source": possible.source,
        "symbols": list(op.symbols),
    }


def _lines(rows: list[dict[str, Any]], verbose: bool) -> list[str]:
    lines, family = [], None
    for row in rows:
        if row["family"] != family:
            family = row["family"]
            lines.append(click.style(family, bold=True))
        special = [effect for effect in row["effects"] if effect not in _EVERYWHERE]
        lines.append(f"  {row['operation']:26}{' '.join(special)}".rstrip())
        if verbose:
            lines += [f"      errno    {' '.join(row['errnos']) or 'none'}, by {row['source']}"]
            lines += [f"      symbols  {' '.join(row['symbols'])}"]
    return lines
