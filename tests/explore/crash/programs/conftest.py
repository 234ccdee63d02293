"""Every test works in a directory of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.explore.crash.programs.lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A directory to work in."""
    return Lab(tmp_path)
