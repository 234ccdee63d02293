"""`faultlib ctl`: rules of a running session, looked at and changed from outside."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from faultlib.commands import declared, options
from faultlib.inject.snapshot import titles
from faultlib.inject.visible import visible, visible_lines

if TYPE_CHECKING:
    from faultlib.inject.client import Attached, Listed
    from faultlib.inject.snapshot import Snapshot


class Verbs(click.Group):
    """The verbs, before which the session may stand."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            if len(args) == 1 or (args[1] not in self.commands and not args[1].startswith("-")):
                raise click.UsageError(self._what_is_wrong(args), ctx)
            ctx.obj = args.pop(0)
        return super().parse_args(ctx, args)

    def _what_is_wrong(self, args: list[str]) -> str:
        import difflib

        verbs = ", ".join(self.commands)
        near = difflib.get_close_matches(args[-1] if len(args) == 1 else args[1], self.commands, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        if len(args) == 1:
            return f"{args[0]!r} is no command; say what to do with the session: {verbs}.{hint}"
        return f"{args[1]!r} is no command.{hint or f' There are {verbs}.'}"


AS_JSON = click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")


@click.group(cls=Verbs, context_settings={"obj": None}, subcommand_metavar="[SESSION] COMMAND [ARGS]...")
def command() -> None:
    """Look at a running session, and change its rules while its programs run.

    SESSION is a name given by `run --session`, or the pid of a `faultlib run` or of a program in it; it can be left out
    while only one session runs.

    \b
      faultlib ctl list
      faultlib ctl add 'write:error=ENOSPC:path=*/tasks.json'
      faultlib ctl nightly clock offset=+1h
      faultlib ctl 4711 reset
    """


def _attach() -> Attached:
    from faultlib.inject import client

    return client.attach(click.get_current_context().obj)


def _say(as_json: bool, data: Any, text: str) -> None:
    click.echo(json.dumps(data, indent=2) if as_json else visible_lines(text))


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    cells = [[visible(str(cell)) for cell in row] for row in [head, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    return "\n".join("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)


@command.command("list")
@click.option("--all", "-a", "every", is_flag=True, help="Also the rules that were removed.")
@AS_JSON
def list_(every: bool, as_json: bool) -> None:
    """The rules, with their counters."""
    with _attach() as session:
        rules = [rule for rule in session.report() if rule.live or every]
    rows = []
    for rule, title in zip(rules, titles([(rule.rule.text, rule.below) for rule in rules]), strict=True):
        text = title + ("" if rule.live else "  (removed)")
        rows.append([rule.slot, rule.rule.name or "-", rule.count.matched, rule.count.fired, text])
    text = _table(["number", "name", "matched", "fired", "rule"], rows) if rows else "no rules"
    _say(as_json, [rule.to_json() for rule in rules], text)


@command.command()
@click.argument("rules", nargs=-1, metavar="RULE...")
@declared.takes(options.RULES_FILE)
@AS_JSON
def add(rules: Sequence[str], rules_file: Sequence[str], as_json: bool) -> None:
    """Make rules live, all at once; prints their numbers. Relative patterns are below the session's directory."""
    new = options.read_rules(rules, rules_file, alone=False)
    if not new:
        raise click.UsageError("Say which RULE to add, or --rules FILE.")
    with _attach() as session:
        numbers, notes = session.add_noted(*new)
    options.say_notes(notes)
    _say(as_json, {"numbers": numbers}, "\n".join(f"{number}: {rule}" for number, rule in zip(numbers, new, strict=True)))


@command.command()
@click.argument("rules", nargs=-1, required=True, metavar="NUMBER|NAME...")
@AS_JSON
def remove(rules: Sequence[str], as_json: bool) -> None:
    """Take rules out, by number or by their name=; whoever hangs in one goes on."""
    with _attach() as session:
        numbers = session.remove(*(int(rule) if rule.isdigit() else rule for rule in rules))
    _say(as_json, {"numbers": numbers}, f"removed {', '.join(map(str, numbers))}")


@command.command()
@AS_JSON
def reset(as_json: bool) -> None:
    """Take every rule out: the programs run on undisturbed."""
    with _attach() as session:
        numbers = session.reset()
    _say(as_json, {"numbers": numbers}, f"removed {', '.join(map(str, numbers))}" if numbers else "there were no rules")


@command.command()
@click.argument("change", required=False, metavar="[CHANGE]")
@AS_JSON
def clock(change: str | None, as_json: bool) -> None:
    """Change the clocks: `ctl clock offset=+1h` is `ctl add clock:offset=+1h`; without CHANGE, the changes in force."""
    new = options.read_rules([f"clock:{change}"], [], alone=False) if change is not None else []
    with _attach() as session:
        numbers, notes = session.add_noted(*new)
        rules = [rule for rule in session.report() if rule.live and "clock" in rule.rule.names]
    options.say_notes(notes)
    if change is not None:
        rules = [rule for rule in rules if rule.slot in numbers]
    text = "\n".join(f"{rule.slot}: {rule.rule}" for rule in rules) or "the clocks are untouched"
    _say(as_json, [rule.to_json() for rule in rules], text)


@command.command()
@AS_JSON
def stats(as_json: bool) -> None:
    """The session: age, seed, processes, what matched and fired."""
    with _attach() as session:
        snapshot = session.snapshot()
    _say(as_json, snapshot.to_json(), _describe(snapshot))


def _describe(snapshot: Snapshot) -> str:
    live = [process for process in snapshot.processes if process.alive]
    lines = [
        f"session    {snapshot.name or '-'} (process {snapshot.pid})",
        f"age        {snapshot.time_ns / 1e9:.1f} s",
        f"seed       {snapshot.seed}",
        f"rules      {sum(rule.live for rule in snapshot.rules)} live, {len(snapshot.rules)} in all",
        f"matched    {sum(rule.count.matched for rule in snapshot.rules)}",
        f"fired      {sum(rule.count.fired for rule in snapshot.rules)}",
        f"programs   {snapshot.attached} so far",
        f"members    {', '.join(map(str, snapshot.members)) or '-'}",
    ]
    if live:
        rows = [[p.pid, p.lineage, p.label or "-", p.comm, p.state] for p in live]
        lines += ["", _table(["pid", "lineage", "label", "program", "state"], rows)]
    return "\n".join(lines)


@command.command()
@AS_JSON
def sessions(as_json: bool) -> None:
    """Every session on this machine."""
    from faultlib.inject import client

    found = client.sessions()
    rows = [[one.name or "-", one.pid, one.user, *_numbers(one)] for one in found]
    text = _table(["name", "pid", "user", "rules", "processes", "fired"], rows) if rows else "no session is running"
    _say(as_json, [_listed_as_json(one) for one in found], text)


def _numbers(one: Listed) -> list[object]:
    if one.snapshot is None:
        return ["?", "?", "?"]
    live = sum(process.alive for process in one.snapshot.processes)
    return [sum(rule.live for rule in one.snapshot.rules), live, sum(rule.count.fired for rule in one.snapshot.rules)]


def _listed_as_json(one: Listed) -> dict[str, Any]:
    rules, processes, fired = _numbers(one)
    answers = one.snapshot is not None
    data = {"name": one.name, "pid": one.pid, "user": one.user, "answers": answers}
    return data | ({"rules": rules, "processes": processes, "fired": fired} if answers else {})
