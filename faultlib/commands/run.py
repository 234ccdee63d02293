"""`faultlib run`: a command under rules, with proof of what they did."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from faultlib.commands import options
from faultlib.errors import SessionGone

if TYPE_CHECKING:
    from faultlib.inject.rules import Rule
    from faultlib.report.summary import RunReport, Source

REQUIRED_BUT_SILENT = 3


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@options.rules
@options.session
@click.option("--session", "name", metavar="NAME", help="Share the session of that name; the first to ask for it starts it.")
@click.option("-v", "--verbose", is_flag=True, help="One line on stderr for each fault, as it happens.")
@click.option("-q", "--quiet", is_flag=True, help="No summary.")
@click.option("--json", "json_file", type=options.REPORT, metavar="FILE", help="Write the whole report there.")
@click.option("--require-fired", is_flag=True, help="Exit 3 if some rule never fired.")
@options.command_argument
def command(
    rule: Sequence[str], rules_file: Sequence[str], seed: int | None, label: str, name: str | None, verbose: bool,
    quiet: bool, json_file: str | None, require_fired: bool, cmd: Sequence[str],
) -> None:  # fmt: skip
    """Run CMD; each -e RULE says which of its calls misbehave, and how.

    \b
      faultlib run -e 'write:error=ENOSPC:path=*/tasks.json:when=3' -- python app.py
      faultlib run -e 'rename:kill=before' -- python app.py
      faultlib run -e 'fsync:delay=200ms+-50ms' -- git commit -m x

    The exit status is CMD's own; 128+N if signal N ended it.
    """
    from faultlib.commands import launch
    from faultlib.inject import folder, target
    from faultlib.report import summary

    rules = options.read_rules(rule, rules_file)
    image = target.check(cmd[0])
    report = None
    with _share(name, rules, seed, label) as share:
        watcher = summary.Live(share.source, sys.stderr, share.launch) if verbose else None
        status = launch.run(cmd, folder.preload(share.link), image)
        try:
            if watcher:
                watcher.stop()
            report = summary.collect(share.source, cmd, status, share.launch)
        except SessionGone as error:
            click.echo(f"faultlib: {error}: what its rules did is not known", err=True)
    if report is not None:
        if not quiet:
            summary.render(report, sys.stderr)
        if json_file:
            summary.write_json(report, json_file)
    if require_fired and not _all_fired(report, share.numbers):
        status = REQUIRED_BUT_SILENT
    sys.exit(status)


@dataclass(frozen=True, slots=True)
class Share:
    """Our part in a session: the link for the target, and which launch and rules of a shared one are ours (None: all)."""

    source: Source
    link: str
    launch: int | None = None
    numbers: Sequence[int] | None = None


@contextlib.contextmanager
def _share(name: str | None, rules: list[Rule], seed: int | None, label: str) -> Iterator[Share]:
    if name is None:
        from faultlib.inject.session import Session

        with Session(rules, seed=seed) as session:
            yield Share(session, session.prepare_launch(label)[0])
    else:
        from faultlib.inject import client

        with client.join(name, rules, label=label, seed=seed) as member:
            yield Share(member, member.link, member.launch, member.numbers)


def _all_fired(report: RunReport | None, ours: Sequence[int] | None) -> bool:
    if report is None:
        return False
    return all(row.fired for row in report.rules if ours is None or row.number in ours)
