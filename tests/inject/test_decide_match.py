"""What the decision core takes for a match: globs, hashes, paths, descriptors, processes, against slow references."""

from __future__ import annotations

from typing import Any

import pytest
from faultlib._core import ffi, lib
from hypothesis import given
from hypothesis import strategies as st

from faultlib.inject.compile import compile_rule
from faultlib.inject.directory import WorkingDirectory
from faultlib.inject.frozen import Frozen
from faultlib.inject.grammar import parse_rule
from faultlib.inject.rules import Rule

M64 = (1 << 64) - 1
STRINGS = bytearray(1)
KINDS = {"file": 1, "dir": 2, "pipe": 4, "socket": 8, "tty": 16, "other": 32}


def intern(text: str) -> int:
    STRINGS.extend(text.encode() + b"\0")
    return len(STRINGS) - len(text.encode()) - 1


def compiled(rule: Rule, slot: int = 0, slots: dict[str, int] | None = None) -> tuple[Any, Any]:
    """Returns the C rule and its strings, which have to be kept."""
    c_rule = ffi.new("struct fl_rule *")
    compile_rule(rule, slot, c_rule, intern, WorkingDirectory("/w", "/w"), slots=slots)
    return c_rule, ffi.new("char[]", bytes(STRINGS))


# Globs.


def slow_glob(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    head, rest = pattern[0], pattern[1:]
    if head == "*":
        return any(slow_glob(rest, text[i:]) for i in range(len(text) + 1))
    if head == "[":
        parsed = slow_set(rest)
        if parsed is not None:
            members, negate, after = parsed
            inside = bool(text) and any(low <= text[0] <= high for low, high in members)
            return bool(text) and inside != negate and slow_glob(after, text[1:])
    if head == "\\" and rest:
        head, rest = rest[0], rest[1:]
    elif head == "?":
        return bool(text) and slow_glob(rest, text[1:])
    return text[:1] == head and slow_glob(rest, text[1:])


def slow_set(text: str) -> tuple[list[tuple[str, str]], bool, str] | None:
    """The ranges behind a `[`, whether they are negated, and what follows; None if no bracket closes it."""
    negate = text[:1] in ("!", "^") and text != ""
    text = text[1:] if negate else text
    members: list[tuple[str, str]] = []
    while text and (text[0] != "]" or not members):
        low, text = take_literal(text)
        high = low
        if text[:1] == "-" and len(text) > 1 and text[1] != "]":
            high, text = take_literal(text[1:])
        members.append((low, high))
    return (members, negate, text[1:]) if text else None


def take_literal(text: str) -> tuple[str, str]:
    if text[0] == "\\" and len(text) > 1:
        return text[1], text[2:]
    return text[0], text[1:]


@given(st.text("ab/*?[]!^-\\", max_size=9), st.text("ab/[]!-\\*", max_size=9))
def test_glob_is_what_the_slow_one_says(pattern: str, text: str) -> None:
    assert bool(lib.fl_glob(pattern.encode(), text.encode())) == slow_glob(pattern, text)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("*", "", True), ("*.json", "/a/b.json", True), ("/a/*", "/a/b/c", True), ("a?c", "abc", True),
        ("a?c", "ac", False), ("a*b*c", "axbxbxc", True),
        ("[a-c]x", "bx", True), ("[!a-c]x", "bx", False), ("[]]", "]", True), ("[a-]", "-", True), ("[ab", "[ab", True),
        ("\\*", "*", True), ("\\*", "x", False), ("a\\", "a\\", True), ("", "", True), ("", "a", False),
        ("?" * 3, "é1", True), ("[", "[", True), ("*[", "x[", True), ("*[a", "b[a", True),
    ],
)  # fmt: skip
def test_glob_examples(pattern: str, text: str, matches: bool) -> None:
    assert bool(lib.fl_glob(pattern.encode(), text.encode())) == matches


def test_many_stars_stay_fast() -> None:
    assert not lib.fl_glob(b"*a" * 200 + b"b", b"a" * 5000)


# Hashes, as the documentation gives them: a replay must be able to compute them elsewhere.


def fnv(text: bytes) -> int:
    h = 0xCBF29CE484222325
    for byte in text:
        h = (h ^ byte) * 0x100000001B3 & M64
    return h


def mix(a: int, b: int) -> int:
    z = (a * 0x9E3779B97F4A7C15 + b + 0x9E3779B97F4A7C15) & M64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & M64
    z = (z ^ z >> 27) * 0x94D049BB133111EB & M64
    return z ^ z >> 31


@given(st.binary(max_size=20).filter(lambda b: 0 not in b), st.integers(0, M64), st.integers(0, M64))
def test_hashes(text: bytes, a: int, b: int) -> None:
    assert lib.fl_hash(text) == fnv(text)
    assert lib.fl_mix(a, b) == mix(a, b)


# Subjects: path, descriptor and process predicates.

PATHS = ["/w/a.json", "/w/data/x", "/tmp/t", None]


class Subject(Frozen):
    path: str | None
    path2: str | None
    fd: int
    kind: str | None


paths = st.sampled_from(PATHS)
subjects = st.builds(Subject, paths, paths, st.sampled_from([-1, 1, 7]), st.sampled_from([None, *KINDS]))


def slow_globs(rule_globs: Any, *paths: str | None) -> bool:
    """Whether any of the paths that are there matches; false if none is."""
    if rule_globs is None:
        return True
    there = [path for path in paths if path is not None]
    absolute = [p if p[0] in "/*" else f"/w/{p}" for p in rule_globs.patterns]
    return bool(there) and any(slow_glob(p, path) for p in absolute for path in there) != rule_globs.negate


def slow_accepts(rule: Rule, subject: Subject) -> bool:
    kinds = rule.fdkind
    if kinds is None:
        kinds = ("file", "dir") if rule.fd is None and rule.names[0] == "write" else ()
    return (
        (not kinds or subject.kind is None or subject.kind in kinds)
        and (rule.fd is None or rule.fd == subject.fd)
        and slow_globs(rule.path, subject.path, subject.path2)
        and slow_globs(rule.from_, subject.path)
        and slow_globs(rule.to, subject.path2)
    )


accept_rules = st.one_of(
    st.tuples(
        st.just("write:error=EIO"),
        st.sampled_from(["", ":path=*.json", ":path=!*.json", ":path=data/*,*/t", ":path=!data/*"]),
        st.sampled_from(["", ":fdkind=any", ":fdkind=pipe,tty", ":fdkind=file"]),
        st.sampled_from(["", ":fd=7", ":fd=1"]),
    ),
    st.tuples(
        st.just("rename:error=EIO"),
        st.sampled_from(["", ":path=*.json", ":path=!*.json"]),
        st.sampled_from(["", ":from=/w/*", ":from=!/w/*"]),
        st.sampled_from(["", ":to=data/*", ":to=!data/*"]),
    ),
).map(lambda parts: parse_rule("".join(parts)))


def c_string(text: str | None, keep: list[Any]) -> Any:
    if text is None:
        return ffi.NULL
    keep.append(ffi.new("char[]", text.encode()))
    return keep[-1]


@given(accept_rules, subjects)
def test_accepts_what_the_reference_accepts(rule: Rule, subject: Subject) -> None:
    keep: list[Any] = []
    c_rule, strings = compiled(rule)
    c_subject = ffi.new("struct fl_subject *")
    c_subject.path, c_subject.path2 = c_string(subject.path, keep), c_string(subject.path2, keep)
    c_subject.fd, c_subject.kind = subject.fd, KINDS.get(subject.kind or "", 0)
    assert bool(lib.fl_accepts(c_rule, strings, c_subject)) == slow_accepts(rule, subject)


@given(
    st.sampled_from(["", "w*", "!w*", "label:w1", "comm:py*", "!comm:py*", "lineage:1.2"]), st.sampled_from(["w1", ""]),
    st.sampled_from(["python", "w"]), st.sampled_from(["1", "1.2"]),
)  # fmt: skip
def test_accepts_the_processes_that_the_reference_does(proc: str, label: str, comm: str, lineage: str) -> None:
    keep: list[Any] = []
    rule = parse_rule("write:error=EIO" + (f":proc={proc}" if proc else ""))
    c_rule, strings = compiled(rule)
    who = ffi.new("struct fl_who *")
    who.label, who.comm, who.lineage = (c_string(text, keep) for text in (label, comm, lineage))
    texts = {"label": label, "comm": comm, "lineage": lineage}
    expected = True
    if rule.proc is not None:
        looked = [texts[rule.proc.by]] if rule.proc.by else list(texts.values())
        expected = any(slow_glob(rule.proc.pattern, text) for text in looked) != rule.proc.negate
    assert bool(lib.fl_accepts_who(c_rule, strings, who)) == expected
