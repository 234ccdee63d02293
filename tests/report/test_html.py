"""The HTML report: one file, well-formed, that asks for nothing, runs nothing, and can be read by everybody."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser

import pytest

from faultlib.report import html
from tests.report.campaigns import CAMPAIGN, CLEAN, STRANGE

VOID = {"meta", "rect", "line", "circle", "br"}
SCHEMES = {"light": 0, "dark": 1, "print": 2}


class Page(HTMLParser):
    """Every element of a page; raises AssertionError where tags do not fit."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements = list[tuple[str, dict[str, str | None]]]()
        self.texts = list[str]()
        self._open = list[str]()
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module", params=["campaign", "clean"])
def page(request: pytest.FixtureRequest) -> Page:
    return Page(html.render(CAMPAIGN if request.param == "campaign" else CLEAN))


def test_nothing_is_run_or_loaded(page: Page) -> None:
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base", "use", "image", "foreignobject"}
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "srcset", "xlink:href", "action")]
        assert re.fullmatch(r"#[\w-]+", attributes.get("href") or "#a")
    css = re.search(r"<style>(.*?)</style>", html.render(CAMPAIGN), re.S)
    assert css and not re.search(r"@import|https?:|url\(", css[1])


def test_the_page_forbids_it_itself(page: Page) -> None:
    policy = [one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_a_text_of_a_program_stays_a_text() -> None:
    made = html.render(CAMPAIGN)
    assert "<script" not in made and "&lt;script&gt;alert(1)&lt;/script&gt;" in made
    assert "{{ 7 * 7 }}" in made, "and no template either"
    quoted = html.render(CAMPAIGN._replace(findings=(STRANGE._replace(title='" onload="x', files=("' x='",)),)))
    assert Page(quoted) and "onload=" not in {name for _, attributes in Page(quoted).elements for name in attributes}


def test_headings_go_down_step_by_step(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(following <= level + 1 for level, following in itertools.pairwise(levels))


def test_tables_have_headers_with_a_scope(page: Page) -> None:
    assert all(one.get("scope") for one in page.all("th"))
    assert len(page.all("thead")) == len(page.all("table"))


def test_ids_are_unique_and_what_refers_to_them_finds_them(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = {(one.get("href") or "#")[1:] for one in page.all("a")} | {
        attributes["aria-labelledby"] for _, attributes in page.elements if "aria-labelledby" in attributes
    }
    assert wanted <= set(ids)


def test_drawings_are_described_and_what_scrolls_can_be_reached(page: Page) -> None:
    assert all(one.get("role") == "img" and one.get("aria-labelledby") for one in page.all("svg"))
    assert all(one.get("tabindex") == "0" for one in page.all("div") if one.get("class") == "drawing")
    assert page.all("html")[0]["lang"] == "en"


def test_a_finding_shows_its_drawing() -> None:
    made = html.render(CAMPAIGN)
    assert made.count("<svg") == len(CAMPAIGN.findings)
    assert made.count('class="strike"') == 2, "one is lost, one is missing because the process died before it"
    assert made.count('<line class="crash"') == len(CAMPAIGN.findings)


def colours(scheme: str) -> dict[str, str]:
    """The variables of a colour scheme."""
    css = (html.TEMPLATES / "report.css").read_text()
    block = re.findall(r":root \{(.*?)\}", css, re.S)[SCHEMES[scheme]]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))


def luminance(colour: str) -> float:
    """As WCAG 2 has it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


TEXT_ON = [
    *((text, back) for text in ("ink", "quiet") for back in ("page", "card", "sunken", "violation-back", "good-back")),
    *((text, back) for text in ("violation", "suspicion", "note") for back in ("page", "card")),
    ("good", "good-back"), ("good", "page"), ("violation", "violation-back"), ("violation", "sunken"),
    *(("on-badge", back) for back in ("violation", "suspicion", "note")), ("on-durable", "durable"), ("on-kept", "kept"),
]  # fmt: skip


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("text", "back"), TEXT_ON)
def test_contrast_is_enough_for_small_text(scheme: str, text: str, back: str) -> None:
    both = sorted((luminance(colours(scheme)[text]), luminance(colours(scheme)[back])))
    assert (both[1] + 0.05) / (both[0] + 0.05) >= 4.5
