"""Campaigns on small programs, and recordings made by hand."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faultlib.explore.crash.campaign import Spec, explore
from faultlib.explore.finding import Campaign
from tests.explore.crash.story import Story

Explore = Callable[..., Campaign]


@pytest.fixture
def campaign(tmp_path: Path) -> Explore:
    """Explores a Python program in a directory with some files; `folder` names the campaign's."""

    def run(program: str, files: dict[str, str] | None = None, *, folder: str = "c", **spec: Any) -> Campaign:
        here = tmp_path / "here"
        here.mkdir(exist_ok=True)
        for name, text in {**(files or {}), "program.py": program}.items():
            (here / name).write_text(text)
        return explore(Spec((sys.executable, "program.py"), here, tmp_path / folder, **spec))

    return run


@pytest.fixture
def story(tmp_path: Path) -> Any:
    """Begins a story with these files."""
    return lambda **first: Story(tmp_path, **first)
