"""Campaigns that follow from a campaign: their findings join it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from faultlib.errors import FaultlibError
from faultlib.explore.crash.elsewhere import Trespass
from faultlib.explore.finding import Campaign, Finding


class Further(NamedTuple):
    """One more campaign. `label` says in its findings' titles what is different, `explore` runs it.

    `missing` is what its findings miss, if that is always the same.
    """

    label: str
    explore: Callable[[], Campaign]
    missing: str = ""


def joined(campaign: Campaign, several: Iterable[Further]) -> Campaign:
    """Returns a campaign with the findings of others that it does not have; what could not be explored is noted."""
    found, notes, judged, failing = list(campaign.findings), dict[str, None](), campaign.judged, campaign.failing
    for label, explore, missing in several:
        try:
            more = explore()
        except Trespass:
            raise
        except FaultlibError as error:
            if error.slug != "inconclusive":  # there was nothing to do
                notes[f"not explored: {label}: {str(error).splitlines()[0]}"] = None
            continue
        judged, failing = judged + more.judged, failing + more.failing
        new = [finding for finding in more.findings if not any(_is_same(finding, one) for one in found)]
        for one in new:
            title = f"{one.title} ({label})"
            found.append(one._replace(number=len(found) + 1, title=title, missing=missing or one.missing))
    not_covered = (*campaign.not_covered, *notes)
    return campaign._replace(findings=tuple(found), judged=judged, failing=failing, not_covered=not_covered)


def _is_same(one: Finding, other: Finding) -> bool:
    return _lines(one) == _lines(other)


def _lines(finding: Finding) -> tuple[str, str | None, str | None]:
    return finding.kind, finding.lost and finding.lost.place, finding.kept and finding.kept.place
