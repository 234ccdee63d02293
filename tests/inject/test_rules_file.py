"""Rule files: texts and mappings, and errors with their lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from faultlib.errors import RuleError, UsageError
from faultlib.inject.rulefile import parse_rules, read_rules

FILE = """# the disk is full, and slow
- write:error=ENOSPC:path=*/tasks.json:when=3
- operations: [read, write]
  delay: 200ms+-50ms
  path: ["*.json", "da:ta/x,y"]
  p: 0.05
- {operations: clock, freeze: true, at: 5s, for: 2s}
- operations: flock
  hang: true
  proc: label:w:1
  times: 2
- {operations: fsync, error!: 28}
- {operations: write, skip: , path: "!*.log", stop: false}
- >-
  rename:kill=before
"""
TEXTS = [
    "write:error=ENOSPC:path=*/tasks.json:when=3",
    "read,write:delay=200ms+-50ms:path=*.json,'da:ta/x,y':p=0.05",
    "clock:freeze:at=5s:for=2s",
    "flock:hang:proc=label:'w:1':times=2",
    "fsync:error!=ENOSPC",
    "write:skip:path=!*.log",
    "rename:kill=before",
]


def test_texts_and_mappings_give_rules(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(FILE)
    assert [rule.text for rule in read_rules(file)] == TEXTS


def test_an_empty_file_has_no_rules() -> None:
    assert parse_rules("# nothing yet\n") == []


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("- write:error=EIO\n- write:eror=EIO\n", "f:2", "eror is no key"),
        ("- operations: write\n  error: ENOSPC\n  path: x\n  wehn: 3\n", "f:4", "wehn is no key"),
        ("- operations: wriet\n  error: ENOSPC\n", "f:1", "wriet is no operation"),
        ("- error: ENOSPC\n  path: /x\n  operations: flock\n", "f:1", "flock cannot return ENOSPC"),
        ("- operations: write\n  path: /x\n", "f:2", "this rule has no effect"),
        ("- open:hang:name=a\n- operations: write\n  error: EIO\n  after: b\n", "f:4", "no rule is named b"),
        ("- open:hang:name=a\n\n- read:hang:name=a\n", "f:3", "another rule is named a"),
    ],
)
def test_a_wrong_rule_is_named_with_its_line(text: str, place: str, reason: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_rules(text, "f")
    assert caught.value.origin == place
    assert caught.value.reason.startswith(reason)
    assert str(caught.value).startswith(f"{place}: {reason}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("write:error=EIO", "f:1: a rule file is a list"),
        ("- 5", "f:1: a rule is a text or a mapping"),
        ("- [write]", "f:1: a rule is a text or a mapping"),
        (
            "- operation: write\n  error: EIO",
            "f:1: a rule needs the key operations, as in 'operations: write', not operation",
        ),
        ("- operations: write\n  error: EIO\n  error: EIO", "f:3: error is there twice"),
        ("- operations: write\n  path: {a: 1}", "f:2: path is a plain value or a list"),
        ("- operations: write\n  path: [[a]]", "f:2: path is a list of plain values"),
        ("- operations: write\n  path: []", "f:2: path is a list of plain values"),
        ("- a: [", "f:1: "),
        ("- !!python/object:os.system x", "f:1: could not determine a constructor"),
        ("- 'write", "f:1: "),
        ("[" * 3000, "f: is nested too deeply for a list of rules"),
        ("{a: " * 3000, "f: is nested too deeply for a list of rules"),
        ("- " * 3000, "f: is nested too deeply for a list of rules"),
        ("- write:error=EIO\n-\twrite:hang\n", "f:2: found character '\\t' that cannot start any token: YAML wants blanks there"),
        ("- write:error=EIO\n- \0", "f:2: special characters are not allowed: '\\x00'"),
        ("- write:error=EIO\n---\n- write:hang\n", "f:2: but found another document"),
        ("&a [*a]", "f:1: a rule is a text or a mapping"),
        ("- operations: &b [*b]", "f:1: operations is a list of plain values"),
        ("- &a {<<: *a}", "f:1: could not determine a constructor"),
        ("- {[a]: b}", "f:1: a key is a plain word"),
        ("- {operations: write, error: !x EIO}", "f:1: could not determine a constructor"),
        ("- {operations: [!x write], error: EIO}", "f:1: could not determine a constructor"),
    ],
)
def test_what_is_no_rule_file_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_rules(text, "f")
    assert str(caught.value).startswith(message)
    assert not isinstance(caught.value, RuleError)


def test_an_alias_bomb_is_not_unfolded() -> None:
    """A billion times the first rule, if each merge were carried out."""
    merges = "".join(f"- &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 12))
    with pytest.raises(UsageError, match="f:1: a rule needs the key operations"):
        parse_rules("- &a0 {k: v}\n" + merges, "f")
    assert [rule.text for rule in parse_rules("- &a write:error=EIO\n- *a\n")] == ["write:error=EIO"] * 2


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(UsageError, match="/dev/zero: a rule file has at most 256 KiB"):
        read_rules(Path("/dev/zero"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_rules(tmp_path / "none.yaml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not text"):
        read_rules(tmp_path / "binary")
