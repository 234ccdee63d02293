"""Findings that are known and accepted for now: `--baseline FILE`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from faultlib.errors import UsageError
from faultlib.explore.finding import Campaign
from faultlib.inject.visible import visible


class Baseline(NamedTuple):
    """What is accepted: the title of each finding by its fingerprint, "" where the file has none."""

    path: str
    titles: dict[str, str]


class Compared(NamedTuple):
    """A campaign without the findings that are accepted, and what there is to say about the baseline."""

    campaign: Campaign
    remarks: tuple[str, ...]


def read(path: str) -> Baseline:
    """Reads a JSON file: a list of fingerprints, or an earlier JSON report, of which what it accepted is accepted again.

    Raises UsageError, saying what is wrong with it.
    """
    data = _load(path)
    if isinstance(data, list):
        return Baseline(path, dict([_entry(path, number, one) for number, one in enumerate(data)]))
    if not isinstance(data, dict) or not isinstance(data.get("findings"), list):
        raise _wrong(path, f"it holds {_what(data)}, and not a list of fingerprints or a report of `faultlib crash` in JSON")
    accepted = data.get("accepted", [])
    if not isinstance(accepted, list):
        raise _wrong(path, f"what it accepted is {_what(accepted)}, and not a list of findings")
    return Baseline(path, dict([_entry(path, number, one) for number, one in enumerate(data["findings"] + accepted)]))


def compare(campaign: Campaign, baseline: Baseline) -> Compared:
    """Puts the accepted findings of a campaign apart from the others, and says which entries no longer occur."""
    new = tuple(finding for finding in campaign.findings if finding.fingerprint not in baseline.titles)
    accepted = tuple(finding for finding in campaign.findings if finding.fingerprint in baseline.titles)
    seen = {finding.fingerprint for finding in campaign.findings}
    gone = {key: title for key, title in baseline.titles.items() if key not in seen}
    changed = campaign._replace(findings=new, accepted=campaign.accepted + accepted)
    return Compared(changed, tuple(_gone(baseline, gone, campaign.complete)))


def _gone(baseline: Baseline, gone: dict[str, str], complete: bool) -> list[str]:
    """What a campaign has not found that was not complete may still be there."""
    if not gone:
        return []
    number = "1 entry" if len(gone) == 1 else f"{len(gone):,} entries"
    verb = "not there any more" if complete else "not seen, but not every state was looked at"
    shown = "; ".join(visible(f"{key} ({title})" if title else key) for key, title in gone.items())
    return [f"{visible(baseline.path)}: {number} {verb}: {shown}"]


def _load(path: str) -> Any:
    try:
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        raise _wrong(path, f"it cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise _wrong(path, f"it is no JSON: {error.msg}, line {error.lineno}, column {error.colno}") from error
    except UnicodeDecodeError as error:
        raise _wrong(path, f"it is no JSON: not a text in UTF-8, at byte {error.start}") from error
    except RecursionError as error:
        raise _wrong(path, "it is nested too deeply for a baseline") from error


def _entry(path: str, number: int, entry: Any) -> tuple[str, str]:
    """A fingerprint, or a finding of a report; its title helps whoever reads that it is gone."""
    key, title = (entry.get("fingerprint"), entry.get("title")) if isinstance(entry, dict) else (entry, "")
    if not isinstance(key, str) or not key:
        what = "a finding without its fingerprint" if isinstance(entry, dict) else _what(entry)
        raise _wrong(path, f"entry {number} is {what}, and not a fingerprint")
    return key, title if isinstance(title, str) else ""


def _what(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return "an empty text" if value == "" else names.get(type(value), "null")


def _wrong(path: str, why: str) -> UsageError:
    return UsageError(f"--baseline {visible(path)}: {why}")
