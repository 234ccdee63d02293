"""`faultlib run`: a command under rules, with proof of what they did."""

from __future__ import annotations

from typing import Any

import click

from faultlib.commands import declared, running


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@declared.takes(*running.OPTIONS)
@declared.takes_command
def command(**given: Any) -> None:
    """Run CMD; each -e RULE says which of its calls misbehave, and how.

    \b
      faultlib run -e 'write:error=ENOSPC:path=*/tasks.json:when=3' -- python app.py
      faultlib run -e 'rename:kill=before' -- python app.py
      faultlib run -e 'fsync:delay=200ms+-50ms' -- git commit -m x

    The exit status is CMD's own; 128+N if signal N ended it.
    """
    running.run(**given)
