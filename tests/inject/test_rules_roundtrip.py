"""A rule's canonical text parses to an equal rule; quoting, values and typed constructors lose nothing."""

from __future__ import annotations

import errno
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from faultlib.errors import RuleError
from faultlib.inject import effects, lexer, rules, values
from faultlib.inject.check import operations
from faultlib.inject.explain import explain
from faultlib.inject.grammar import parse_rule
from faultlib.inject.rules import Globs, Proc
from faultlib.inject.values import Part, Range, Window
from tests.inject.rule_strategies import clock_texts, rule_texts

DESIGN = """write:error=ENOSPC:path=*/tasks.json:when=3
write:short=50%:when=2..4+2
write:torn=512:path=*.json
rename:kill=before
fsync:return=0
open:error=EMFILE:p=0.05
read,write:delay=200ms+-50ms
flock:hang
write:space=64K:path=data/*
clock:offset=+1h
clock:rate=1.01
clock:jump=-30s:when=100
clock:freeze:at=5s:for=2s""".splitlines()


@pytest.mark.parametrize("text", DESIGN)
def test_the_rules_of_the_design_are_canonical(text: str) -> None:
    assert parse_rule(text).text == text


@given(rule_texts() | clock_texts())
def test_canonical_text_gives_an_equal_rule(text: str) -> None:
    try:
        rule = parse_rule(text)
    except RuleError:
        assume(False)
    again = parse_rule(rule.text)
    assert again == rule
    assert again.text == rule.text
    assert hash(again) == hash(rule)
    assert operations(rule)
    assert explain(rule).as_text()


@given(st.text("write:,=!'\"\\errorENOSPCpath*delaysmks0123.+-% |", max_size=60))
def test_any_text_is_a_rule_or_a_rule_error(text: str) -> None:
    try:
        parse_rule(text)
    except RuleError as error:
        assert 0 <= error.position <= len(text)
        assert error.reason
        assert str(error)


@given(st.lists(st.text("ab:,'\"\\!é*", max_size=6), min_size=1))
def test_quoting_gives_back_every_piece(pieces: list[str]) -> None:
    text = ",".join(lexer.quote(piece) for piece in pieces)
    unambiguous = [piece.replace("\\:", "") for piece in pieces] == pieces
    assume(unambiguous)
    assert [word.text for word in lexer.read(text).split(",")] == pieces


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("'a:b,c'", "a:b,c"),
        ('"a:b"', "a:b"),
        ('"say \\"x\\""', 'say "x"'),
        ("a\\:b", "a:b"),
        ("it\\'s", "it's"),
        ("a\\*b", "a\\*b"),
        ("'a\\*b'", "a\\*b"),
        ("pre'a:b'post", "prea:bpost"),
    ],
)
def test_quotes_protect_separators_but_not_globs(text: str, pattern: str) -> None:
    assert parse_rule(f"write:error=EIO:path={text}").path == Globs((pattern,))


@pytest.mark.parametrize(
    ("text", "proc"),
    [
        ("w*", Proc("w*")),
        ("label:w1", Proc("w1", "label")),
        ("!comm:python*", Proc("python*", "comm", True)),
        ("lineage:1.2", Proc("1.2", "lineage")),
        ("'label'", Proc("label")),
        ("'label:x'", Proc("label:x")),
        ("label:'a:b'", Proc("a:b", "label")),
        ("other", Proc("other")),
    ],
)
def test_proc_prefixes(text: str, proc: Proc) -> None:
    rule = parse_rule(f"write:error=EIO:proc={text}:when=2")
    assert rule.proc == proc
    assert parse_rule(rule.text) == rule


@pytest.mark.parametrize(
    ("text", "ns"),
    [("200ms", 200_000_000), ("1.5s", 1_500_000_000), ("1h30m", 5_400_000_000_000), ("2d", 172_800 * 10**9),
     ("3us", 3000), ("3µs", 3000), ("7ns", 7), ("0s", 0)],
)  # fmt: skip
def test_durations(text: str, ns: int) -> None:
    assert values.duration(text) == ns
    assert values.duration(values.format_duration(ns)) == ns


@given(st.integers(0, values.I64))
def test_durations_and_sizes_are_exact(n: int) -> None:
    assert values.duration(values.format_duration(n)) == n
    assert values.size(values.format_size(n)) == n
    assert values.signed_duration(values.format_signed_duration(-n), "x") == -n


@pytest.mark.parametrize(
    ("text", "size"), [("512", 512), ("64K", 65536), ("64k", 65536), ("1KiB", 1024), ("2MB", 2 << 20), ("1G", 1 << 30)]
)
def test_sizes(text: str, size: int) -> None:
    assert values.size(text) == size


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("3", Window(3, 3)),
        ("2..4", Window(2, 4)),
        ("3+", Window(3, None)),
        ("2..8+2", Window(2, 8, 2)),
        ("2+3", Window(2, None, 3)),
    ],
)
def test_windows(text: str, window: Window) -> None:
    assert values.window(text) == window
    assert values.format_window(window) == text


def test_typed_constructors_give_the_parsed_rule() -> None:
    assert rules.error("write", errno.ENOSPC, path="*.json", when=3) == parse_rule(
        "write:error=ENOSPC:path=*.json:when=3"
    )
    assert rules.error("flock", "ENOSPC", force=True) == parse_rule("flock:error!=ENOSPC")
    assert rules.short("write", "50%") == parse_rule("write:short=50%")
    assert rules.torn(["write"], 512, path=["*.json", "a:b,c"]) == parse_rule("write:torn=512:path=*.json,'a:b,c'")
    assert rules.kill("rename", "after") == parse_rule("rename:kill=after")
    assert rules.signal("write", "SIGUSR1") == parse_rule("write:signal=SIGUSR1")
    assert rules.stop("write") == parse_rule("write:stop")
    assert rules.hang("flock", flags=["LOCK_EX", "!LOCK_NB"]) == parse_rule("flock:hang:flags=LOCK_EX|!LOCK_NB")
    assert rules.returns("fsync", 0) == parse_rule("fsync:return=0")
    assert rules.skip("write", path="!*.log") == parse_rule("write:skip:path=!*.log")
    assert rules.corrupt("read", 3) == parse_rule("read:corrupt=3")
    assert rules.space("write", "64K") == parse_rule("write:space=64K")
    assert rules.clock("freeze", at="5s", for_="2s") == parse_rule("clock:freeze:at=5s:for=2s")
    assert rules.clock("rate", 1.01, clock="monotonic") == parse_rule("clock:rate=1.01:clock=monotonic")
    late = rules.delay(["read", "write"], timedelta(seconds=0.2), "50ms", after=True, p=0.5, proc="!label:a:b")
    assert late == parse_rule("read,write:delay_after=200ms+-50ms:p=0.5:proc=!label:'a:b'")
    assert rules.error("write", "EIO", path=Path("/a b"), to=None) == parse_rule("write:error=EIO:path=/a b")
    assert rules.error("write", "EIO", path=[Path("/a,b"), "c"]) == parse_rule("write:error=EIO:path='/a,b',c")
    with pytest.raises(RuleError):
        rules.kill("write", "now")


@pytest.mark.parametrize("value", [b"a", object(), {"a": 1}, {"a"}, [b"a"], [["a"]], (1, None), 1j])
def test_a_value_of_another_type_is_no_value(value: Any) -> None:
    with pytest.raises(TypeError, match=r"path=.* or a list of them, not"):
        rules.error("write", "EIO", path=value)


@pytest.mark.parametrize("operations", [b"write", [b"write"], ["write", None], [5]])
def test_names_are_text(operations: Any) -> None:
    with pytest.raises(TypeError, match="the name of an operation is text"):
        rules.error(operations, "EIO")


@pytest.mark.parametrize("text", [None, 5, b"write:error=EIO", ["write:error=EIO"]])
def test_a_rule_is_text(text: Any) -> None:
    with pytest.raises(TypeError, match="a rule is text, not"):
        parse_rule(text)


@pytest.mark.parametrize(
    "text",
    [
        "clock:offset=0s", "clock:offset=0s:proc=label:w", "clock:rate=1:proc=label:w", "write:error=EIO:path=[^]]", "write:error=EIO:path=[]x]",
        "write:error=EIO:path=[z-a", "write:error=EIO:path=[z-ab]", "write:error=EIO:path=/" + "x" * 255,
        "write:error=EIO:path=/" + "x" * 200 + "*" + "x" * 200, "write:error=EIO:proc=lineage:1.2*",
        "write:error=EIO:proc=lineage:~*", "write:error=EIO:proc=lineage:*\\?[0-9]", "write:error=EIO:thread=*.3",
        "write:error=EIO:thread=1.[2-4]", "write:error=EIO:thread=?.1", "write:error=EIO:proc=comm:*abcdefghijklmno",
        "open:error=EIO:flags=0xffffffff", "write:error=EIO:p=0.001234567890123456789012345678",
        "write:error=EIO:fdkind=dir,file", "write:error=EIO:proc=!w*", "write:error=EIO:size=1KB..2MiB",
    ],
)  # fmt: skip
def test_what_may_match_is_not_refused(text: str) -> None:
    assert parse_rule(parse_rule(text).text) == parse_rule(text)


def test_a_rule_shows_its_text() -> None:
    assert repr(parse_rule("write:error=EIO:path=x")) == "rule('write:error=EIO:path=x')"


def test_the_values_of_a_rule() -> None:
    rule = parse_rule(
        "pwrite:error=5:delay=1s+-1ms:path=!a,/b:fd=7:fdkind=any:size=1K..2K:offset=..9:thread=1.*:after=q:p=5%:times=2:"
        "scope=path:at=1s:for=2s:name=n"
    )
    assert rule.effect == effects.Error(errno.EIO)
    assert rule.delay == effects.Delay(10**9, 10**6)
    assert rule.path == Globs(("a", "/b"), True)
    assert (rule.fd, rule.fdkind, rule.size, rule.offset) == (7, (), Range(1024, 2048), Range(None, 9))
    assert (rule.thread, rule.after, rule.p, rule.times, rule.scope) == ("1.*", "q", Decimal("0.05"), 2, "path")
    assert (rule.at_ns, rule.for_ns, rule.name) == (10**9, 2 * 10**9, "n")
    assert parse_rule("write:torn=5").effect == effects.Torn(Part(5))
