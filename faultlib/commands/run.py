"""`faultlib run`: a command under rules, with proof of what they did."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from faultlib.commands import options

REQUIRED_BUT_SILENT = 3


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@options.rules
@options.session
@click.option("-v", "--verbose", is_flag=True, help="One line on stderr for each fault, as it happens.")
@click.option("-q", "--quiet", is_flag=True, help="No summary.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, allow_dash=True), help="Write the whole report there.")
@click.option("--require-fired", is_flag=True, help="Exit 3 if some rule never fired.")
@options.command_argument
def command(
    rule: Sequence[str], rules_file: Sequence[str], seed: int | None, label: str, verbose: bool, quiet: bool,
    json_file: str | None, require_fired: bool, cmd: Sequence[str],
) -> None:  # fmt: skip
    """Run CMD; each -e RULE says which of its calls misbehave, and how.

    \b
      faultlib run -e 'write:error=ENOSPC:path=*/tasks.json:when=3' -- python app.py
      faultlib run -e 'rename:kill=before' -- python app.py
      faultlib run -e 'fsync:delay=200ms+-50ms' -- git commit -m x

    The exit status is CMD's own; 128+N if signal N ended it.
    """
    from faultlib.commands.launch import launch
    from faultlib.inject.session import Session
    from faultlib.report import summary

    with Session(options.read_rules(rule, rules_file), seed=seed) as session:
        watcher = summary.Live(session, sys.stderr) if verbose else None
        status = launch(session, cmd, label)
        if watcher:
            watcher.stop()
        report = summary.collect(session, cmd, status)
    if not quiet:
        summary.render(report, sys.stderr)
    if json_file:
        summary.write_json(report, json_file)
    if require_fired and any(not row.fired for row in report.rules):
        status = REQUIRED_BUT_SILENT
    sys.exit(status)
