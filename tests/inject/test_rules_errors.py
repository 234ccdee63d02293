"""How a refusal looks, and lists of rules."""

from __future__ import annotations

import pytest

from faultlib.errors import RuleError, UsageError
from faultlib.inject.grammar import parse_rule, parse_rules


def test_the_error_shows_text_caret_reason_and_suggestion() -> None:
    with pytest.raises(RuleError) as caught:
        parse_rule("write:eror=EIO")
    assert str(caught.value) == "eror is no key of a rule; did you mean error?\n  write:eror=EIO\n        ^"
    assert str(caught.value.at("rules.yaml:3")).startswith("rules.yaml:3: eror is no key")


def test_a_text_of_several_lines_keeps_its_columns() -> None:
    with pytest.raises(RuleError) as caught:
        parse_rule("write:\nerror=EIO")
    assert str(caught.value).splitlines()[1:] == ["  write: error=EIO", "        ^"]


def test_rule_errors_are_usage_errors() -> None:
    assert issubclass(RuleError, UsageError)
    assert (RuleError.exit_code, RuleError.slug) == (2, "rule")


def test_known_rules_count_for_names_and_after() -> None:
    assert parse_rules(["write:error=EIO:after=old"], known=["old"])[0].after == "old"
    with pytest.raises(RuleError, match="another rule is named old"):
        parse_rules(["write:error=EIO:name=old"], known=["old"])


def test_sixty_four_rules_are_accepted() -> None:
    assert len(parse_rules(["write:error=EIO"] * 64)) == 64
