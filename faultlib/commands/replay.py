"""`faultlib replay`: a finding again, exactly."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from faultlib.commands.crash import HELD, INCONCLUSIVE, VIOLATED


@click.command("replay")
@click.argument("finding", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--explain", is_flag=True, help="Draw the operations as a timeline, the lost ones struck out.")
def command(finding: Path, explain: bool) -> None:
    """Build the state of FINDING (a file of `faultlib crash`) in a directory beside it, and run the check on it.

    The exit status is 1 if the check still fails, 0 if it passes, 3 if it does now this and now that.
    """
    from faultlib.explore.crash.replay import read, replay
    from faultlib.explore.oracle import UNSTABLE

    if explain:
        from faultlib.report import timeline

        timeline.show(read(finding)[0], sys.stdout)
    found, verdict, place = replay(finding)
    click.echo(f"{found.kind}: {found.title}")
    click.echo(f"state: {os.path.relpath(place)}")
    click.echo(f"check: {verdict.what}" + (f", {verdict.text}" if verdict.text else ""))
    if verdict.what == UNSTABLE:
        click.echo("it has passed and failed on this state: nothing can be said")
        sys.exit(INCONCLUSIVE)
    sys.exit(VIOLATED if verdict.failed else HELD)
