"""How far a campaign is, on a terminal."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from faultlib.explore.crash.explorer import Counts


class Progress:
    """A line that changes; nothing where the stream is no terminal."""

    def __init__(self, stream: IO[str]) -> None:
        console = Console(file=stream)
        self._bar = Bar(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console, transient=True,
            disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("recording")

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tell(self, counts: Counts) -> None:
        """Shows the counts."""
        task = self._bar.tasks[self._task]
        rate = counts.unique / task.elapsed if task.elapsed else 0
        said = f"{counts.looked_at} states, {counts.unique} unique, {counts.failing} failing, {rate:.0f}/s"
        self._bar.update(self._task, description=f"{counts.strategy or 'begin'}: {said}")
