"""`faultlib doctor [-- CMD]`: what this machine and this program allow, with what to do."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict

import click

from faultlib.errors import NotInstrumentable
from faultlib.inject import doctor
from faultlib.inject.visible import visible

_COLOURS = {"ok": "green", "note": "cyan", "problem": "yellow", "fatal": "red"}
_LEFT = 26


@click.command("doctor", context_settings={"allow_interspersed_args": False})
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("cmd", nargs=-1, type=click.UNPROCESSED, metavar="[-- CMD [ARG]...]")
def command(as_json: bool, cmd: Sequence[str]) -> None:
    """Check what this machine and CMD allow, and say what to do about it. CMD is looked at, not run.

    The exit status is 0 if faults can be injected, 126 if not.
    """
    checks = doctor.examine(cmd[0] if cmd else None)
    fine = doctor.instrumentable(checks)
    if as_json:
        click.echo(json.dumps({"instrumentable": fine, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        for check in checks:
            _print(check)
    sys.exit(0 if fine else NotInstrumentable.exit_code)


def _print(check: doctor.Check) -> None:
    width = max(60, shutil.get_terminal_size((100, 24)).columns)
    verdict = click.style(f"{check.verdict:8}", fg=_COLOURS[check.verdict])
    finding = textwrap.wrap(visible(check.finding), width - _LEFT, break_long_words=False, break_on_hyphens=False)
    click.echo(f"{verdict}{check.name:18}" + f"\n{'':{_LEFT}}".join(finding))
    advice = visible(check.advice)
    for line in textwrap.wrap(advice, width - _LEFT - 3, break_long_words=False, break_on_hyphens=False):
        click.echo(f"{'':{_LEFT}}-> {line}" if advice.startswith(line) else f"{'':{_LEFT}}   {line}")
