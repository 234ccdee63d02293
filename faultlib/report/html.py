"""A campaign as one HTML page: nothing is loaded from anywhere, nothing is run in it. The templates are beside, in templates/."""

from __future__ import annotations

import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from faultlib.explore.finding import Campaign
from faultlib.report import picture, timeline, words

TEMPLATES = Path(__file__).with_name("templates")


def render(campaign: Campaign) -> str:
    """Returns the page."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["thousands"] = lambda number: f"{number:,}"
    environment.filters["json"] = lambda value: json.dumps(value, ensure_ascii=False, indent=1)
    environment.tests["fold"] = lambda row: isinstance(row, timeline.Fold)
    page = environment.get_template("crash.html")
    return page.render(campaign=words.shown(campaign), words=words, timeline=timeline, picture=picture.picture, box=picture.BOX)
