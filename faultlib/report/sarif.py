"""A campaign in SARIF 2.1.0 (OASIS), which code hosts show beside the lines: a rule for each kind, a result for each finding."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import faultlib
from faultlib.explore.finding import NOTE, SUSPICION, VIOLATION, Campaign, Culprit, Finding, Step
from faultlib.inject.visible import visible
from faultlib.report import timeline, words

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
ROOT = "SRCROOT"
"""Names of files that are relative are below this; here it is the directory where the command ran."""
FINGERPRINT = "faultlib/v1"
LEVELS = {VIOLATION: "error", SUSPICION: "warning", NOTE: "note"}
MOST_STEPS = 40
_PLACE = re.compile(r"(?P<file>.+):(?P<line>\d+)")


def render(campaign: Campaign) -> str:
    """Returns the log file."""
    found = words.ordered(campaign.findings)
    kinds = list(dict.fromkeys(finding.kind for finding in found))
    driver = {"name": "faultlib", "version": faultlib.__version__, "rules": [_rule(kind, found) for kind in kinds]}
    run = {
        "tool": {"driver": driver},
        "invocations": [_invocation(campaign)],
        "originalUriBaseIds": {ROOT: {"description": {"text": "The directory in which the command ran."}}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, kinds.index(finding.kind)) for finding in found],
        "properties": _summary(campaign),
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _summary(campaign: Campaign) -> dict[str, Any]:
    return {**dict(words.summary(words.shown(campaign))), "notCovered": [visible(one) for one in campaign.not_covered]}


def _slug(kind: str) -> str:
    return re.sub(r"[^\w.-]+", "-", kind.lower()).strip("-") or "finding"


def _rule(kind: str, findings: Iterable[Finding]) -> dict[str, Any]:
    what, remedy = words.KINDS.get(kind, words.Kind(f"{visible(kind)}.", "See the finding for the call that is missing."))
    severities = [one.severity for one in findings if one.kind == kind]
    worst = min(severities, key=lambda one: list(LEVELS).index(one) if one in LEVELS else len(LEVELS))
    return {
        "id": _slug(kind),
        "name": "".join(word.capitalize() for word in re.findall(r"\w+", kind)) or "Finding",
        "shortDescription": {"text": visible(kind)},
        "fullDescription": {"text": what},
        "help": {"text": f"{what} {remedy}"},
        "defaultConfiguration": {"level": LEVELS.get(worst, "warning")},
        "properties": {"tags": ["crash-consistency", "durability"]},
    }


def _invocation(campaign: Campaign) -> dict[str, Any]:
    return {"commandLine": words.command(words.shown(campaign)), "executionSuccessful": True}


def _result(finding: Finding, rule: int) -> dict[str, Any]:
    seen = words.shown_finding(finding)
    blamed = [culprit for _, culprit in words.culprits(finding)]
    said = [culprit for _, culprit in words.culprits(seen)]
    names = [name for name, _ in words.culprits(finding)]
    result: dict[str, Any] = {
        "ruleId": _slug(finding.kind),
        "ruleIndex": rule,
        "level": LEVELS.get(finding.severity, "warning"),
        "message": {"text": _message(seen)},
        "partialFingerprints": {FINGERPRINT: seen.fingerprint},
        "properties": _properties(seen),
    }
    related = []
    for number, (name, raw, shown) in enumerate(zip(names, blamed, said, strict=True)):
        message = {"text": _text(f"{name}: {shown.text}")}
        location = {"id": number, **_location(raw.file, raw.line, raw.function), "message": message}
        if number:
            related.append(location)
        else:
            result["locations"] = [location]
    if related:
        result["relatedLocations"] = related
    stacks = [_stack(name, raw, shown) for name, raw, shown in zip(names, blamed, said, strict=True) if raw.stack]
    if stacks:
        result["stacks"] = stacks
    flow = _flow(finding, seen)
    return result | ({"codeFlows": [flow]} if flow else {})


def _message(finding: Finding) -> str:
    parts = [
        words.heading(finding), f"On {', '.join(finding.profiles)} ({words.power(finding)})", *(
            f"{name.capitalize()}: {culprit.text} at {words.where(culprit)}" for name, culprit in words.culprits(finding)
        ),
        finding.impact and f"On disk: {finding.impact}", finding.missing and f"Missing: {finding.missing}",
        f"Check: {words.gist(finding.symptom)}",
    ]  # fmt: skip
    return _text(". ".join(part.rstrip(".") for part in parts if part) + ".")


def _text(text: str) -> str:
    """In a message, [text](1) is a link and {0} a placeholder."""
    return re.sub(r"[\\\[\]]", r"\\\g<0>", text).replace("{", "{{").replace("}", "}}")


def _properties(seen: Finding) -> dict[str, Any]:
    return {
        "number": seen.number, "kind": seen.kind, "severity": seen.severity, "title": seen.title, "profiles": list(seen.profiles),
        "symptom": seen.symptom, "impact": seen.impact, "missing": seen.missing, "files": list(seen.files), "states": seen.states,
        "replay": seen.replay, "testFile": seen.test_file, "plan": seen.plan,
    }  # fmt: skip


def _location(file: str, line: int, function: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    if file:
        found["physicalLocation"] = {"artifactLocation": _artifact(file)} | ({"region": {"startLine": line}} if line > 0 else {})
    if function:
        found["logicalLocations"] = [{"name": visible(function), "kind": "function"}]
    return found


def _artifact(file: str) -> dict[str, str]:
    try:
        here = Path.cwd()
    except FileNotFoundError:  # removed: nothing is below it
        here = Path("/nonexistent")
    path = Path(file)
    if path.is_absolute() and not path.is_relative_to(here):
        return {"uri": "file://" + quote(os.fsencode(path))}
    relative = path.relative_to(here) if path.is_absolute() else path
    return {"uri": quote(os.fsencode(relative)), "uriBaseId": ROOT}


def _at(place: str) -> dict[str, Any]:
    found = _PLACE.fullmatch(place)
    return _location(found["file"], int(found["line"])) if found else {}


def _stack(name: str, raw: Culprit, shown: Culprit) -> dict[str, Any]:
    frames = [{"location": {**_at(frame), "message": {"text": visible(frame)}}} for frame in raw.stack]
    return {"message": {"text": _text(f"{name}: {shown.text}")}, "frames": frames}


def _flow(raw: Finding, shown: Finding) -> dict[str, Any] | None:
    """The operations whose source line is known, those that are to blame being the essential ones."""
    texts = dict(zip(map(id, raw.timeline), shown.timeline, strict=True))
    steps = [step for step in timeline.folded(raw, MOST_STEPS) if isinstance(step, Step) and _at(step.place)]
    if not steps:
        return None
    return {"threadFlows": [{"locations": [_step(step, texts[id(step)]) for step in steps]}]}


def _step(raw: Step, shown: Step) -> dict[str, Any]:
    return {
        "location": {**_at(raw.place), "message": {"text": _text(f"{shown.text}: {timeline.mark(raw) or raw.fate}")}},
        "executionOrder": raw.number,
        "importance": "essential" if raw.mark else "important" if raw.fate in ("lost", "partly") else "unimportant",
    }
