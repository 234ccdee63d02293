"""The reports of the campaign in `campaigns`, letter by letter.

FAULTLIB_GOLD=write pytest tests/report/test_gold.py writes them anew: for a person, who then looks at the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import faultlib
from faultlib.report import core, text, timeline
from tests.report.campaigns import CAMPAIGN, CLEAN, RENAMED, STRANGE, TRUNCATED

GOLD = Path(__file__).with_name("gold")
VERSION = "0.0.0"
FINDINGS = {"truncated": TRUNCATED, "renamed": RENAMED, "strange": STRANGE}


def compare(name: str, made: str) -> None:
    made = made.replace(f'"{faultlib.__version__}"', f'"{VERSION}"')
    file = GOLD / name
    if os.environ.get("FAULTLIB_GOLD") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(made, encoding="utf-8")
    assert made == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("form", core.FORMATS)
@pytest.mark.parametrize(("name", "campaign"), [("campaign", CAMPAIGN), ("clean", CLEAN)])
def test_report(name: str, campaign: core.Campaign, form: str) -> None:
    compare(f"{name}{core.FORMATS[form].suffixes[0]}", core.render(campaign, form))


@pytest.mark.parametrize("name", FINDINGS)
def test_timeline(name: str) -> None:
    compare(f"timeline_{name}.txt", timeline.render(FINDINGS[name]))


def test_on_a_terminal_of_80_columns() -> None:
    """Sentences are wrapped, commands are not: they are to be copied."""
    made = text.render(CAMPAIGN, width=80)
    compare("campaign_80.txt", made)
    assert "  replay   faultlib replay .faultlib/crash/2\n" in made
