"""The SARIF report against the standard (SARIF 2.1.0, sections in brackets), as far as the report uses it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest

from faultlib.explore.finding import NOTE, SUSPICION, VIOLATION, Culprit
from faultlib.report import sarif
from tests.report.campaigns import CAMPAIGN, CLEAN, HOSTILE, STRANGE, TRUNCATED

URI = re.compile(r"(?:file:///)?[A-Za-z0-9\-._~!$&'()*+,;=@/%]+")
KNOWN = {
    "log": {"$schema", "version", "runs"},
    "run": {"tool", "invocations", "originalUriBaseIds", "columnKind", "results", "properties"},
    "driver": {"name", "version", "rules"},
    "rule": {"id", "name", "shortDescription", "fullDescription", "help", "defaultConfiguration", "properties"},
    "result": {"ruleId", "ruleIndex", "level", "message", "partialFingerprints", "properties", "locations", "relatedLocations", "stacks", "codeFlows"},
    "location": {"id", "physicalLocation", "logicalLocations", "message"},
}  # fmt: skip


@pytest.fixture(scope="module", params=["campaign", "clean"])
def log(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(CAMPAIGN if request.param == "campaign" else CLEAN)


def read(campaign: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sarif.render(campaign))
    return found


def results(log: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = log["runs"][0]["results"]
    return found


def locations(value: Any) -> Iterator[dict[str, Any]]:
    """Everything that is a location, wherever it is."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in ("locations", "relatedLocations") and "location" not in inner[0]:
                yield from inner
            elif name == "location":
                yield inner
            if name != "properties":
                yield from locations(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from locations(inner)


def test_head(log: dict[str, Any]) -> None:
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-schema-2.1.0.json")  # 3.13
    (run,) = log["runs"]
    assert set(log) <= KNOWN["log"] and set(run) <= KNOWN["run"] and set(run["tool"]["driver"]) <= KNOWN["driver"]
    assert run["tool"]["driver"]["name"] == "faultlib"  # 3.19.8
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")  # 3.14.17
    assert all(one["executionSuccessful"] is True for one in run["invocations"])  # 3.20.14: required


def test_rules(log: dict[str, Any]) -> None:
    rules = log["runs"][0]["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules) == len({one["ruleId"] for one in results(log)})  # 3.49.3
    for rule in rules:
        assert set(rule) <= KNOWN["rule"]
        assert re.fullmatch(r"[\w.-]+", rule["id"]) and rule["name"].isidentifier()
        assert rule["fullDescription"]["text"].endswith(".")  # 3.49.10
        assert rule["defaultConfiguration"]["level"] in ("none", "note", "warning", "error")  # 3.50.3


def test_results(log: dict[str, Any]) -> None:
    rules = log["runs"][0]["tool"]["driver"]["rules"]
    for one in results(log):
        assert set(one) <= KNOWN["result"]
        assert rules[one["ruleIndex"]]["id"] == one["ruleId"]  # 3.27.6
        assert one["message"]["text"]  # 3.27.11: required
        assert all(isinstance(value, str) and value for value in one["partialFingerprints"].values())  # 3.27.17
        assert len(one["locations"]) == 1


def test_locations(log: dict[str, Any]) -> None:
    bases = log["runs"][0]["originalUriBaseIds"]
    found = list(locations(results(log)))
    assert len(found) > 10 or not results(log)
    for one in found:
        assert set(one) <= KNOWN["location"]
        assert one.get("id", 0) >= 0  # 3.28.2
        if "physicalLocation" in one:
            artifact = one["physicalLocation"]["artifactLocation"]
            assert URI.fullmatch(artifact["uri"])  # 3.4.3, RFC 3986
            assert ("uriBaseId" in artifact) == (not artifact["uri"].startswith("file:"))  # 3.4.4
            assert artifact.get("uriBaseId", sarif.ROOT) in bases
            assert one["physicalLocation"].get("region", {"startLine": 1})["startLine"] >= 1  # 3.30.5


def test_steps_of_a_flow(log: dict[str, Any]) -> None:
    for one in results(log):
        for flow in one.get("codeFlows", ()):
            steps = [step for thread in flow["threadFlows"] for step in thread["locations"]]  # 3.36.3, 3.37.6: required, not empty
            assert steps and all(step["importance"] in ("important", "essential", "unimportant") for step in steps)  # 3.38.13
            orders = [step["executionOrder"] for step in steps]
            assert orders == sorted(orders) and min(orders) >= 0  # 3.38.11


def test_levels_follow_the_severity() -> None:
    assert [(one["properties"]["severity"], one["level"]) for one in results(read(CAMPAIGN))] == [
        (VIOLATION, "error"), (SUSPICION, "warning"), (NOTE, "note"),
    ]  # fmt: skip


def test_both_lines_are_named() -> None:
    first = results(read(CAMPAIGN))[0]
    (lost,), (kept,) = first["locations"], first["relatedLocations"]
    assert (lost["physicalLocation"]["artifactLocation"]["uri"], lost["physicalLocation"]["region"]) == ("coordination.py", {"startLine": 64})
    assert kept["physicalLocation"]["region"] == {"startLine": 63}
    assert lost["message"]["text"].startswith("lost: write(") and kept["message"]["text"].startswith("kept: open(")
    assert first["partialFingerprints"] == {"faultlib/v1": TRUNCATED.fingerprint}
    assert len(first["stacks"][0]["frames"]) == 6


def test_messages_hold_no_links_and_no_placeholders() -> None:
    """[text](target) would be a link, {0} an argument (3.11.5, 3.11.6)."""
    text = results(read(CAMPAIGN))[2]["message"]["text"]
    assert not re.search(r"(?<!\\)[\[\]]", text)
    assert not re.search(r"(?<!\{)\{(?!\{)|(?<!\})\}(?!\})", text.replace("{{{{", "").replace("}}}}", ""))


def test_any_file_name_becomes_a_uri_and_back() -> None:
    uri = results(read(CAMPAIGN))[2]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert unquote_to_bytes(uri) == os.fsencode(f"dir/{HOSTILE}")


def at(file: str, line: int = 3) -> dict[str, Any]:
    lost = Culprit("write(a)", "", file, line, "", ())
    (one,) = results(read(CAMPAIGN._replace(findings=(STRANGE._replace(lost=lost),))))
    found: dict[str, Any] = one["locations"][0]
    return found


def test_files_here_are_relative_and_others_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert at(f"{tmp_path}/src/a b.py")["physicalLocation"]["artifactLocation"] == {"uri": "src/a%20b.py", "uriBaseId": "SRCROOT"}
    assert at("/usr/lib/x.py")["physicalLocation"]["artifactLocation"] == {"uri": "file:///usr/lib/x.py"}


def test_a_line_that_is_not_known() -> None:
    assert "region" not in at("/usr/bin/tar", 0)["physicalLocation"]
    assert "physicalLocation" not in at("", 0)
