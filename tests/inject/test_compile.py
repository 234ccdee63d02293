"""A compiled row says what its rule says: every field, the strings, the gate."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from faultlib._core import ffi, lib
from hypothesis import assume, given
from hypothesis import strategies as st

from faultlib.errors import RuleError
from faultlib.inject import compile as compiler
from faultlib.inject import effects, ops
from faultlib.inject.check import operations
from faultlib.inject.compile import compile_rule
from faultlib.inject.directory import WorkingDirectory
from faultlib.inject.grammar import parse_rule
from tests.inject.rule_strategies import clock_texts, rule_texts

U64 = (1 << 64) - 1


class Strings:
    """The session's strings: offset 0 is none."""

    def __init__(self) -> None:
        self.texts = [""]

    def intern(self, text: str) -> int:
        self.texts.append(text)
        return len(self.texts) - 1


def compiled(text: str, cwd: WorkingDirectory | None = None, **more: Any) -> tuple[Any, list[str]]:
    strings, c_rule = Strings(), ffi.new("struct fl_rule *")
    compile_rule(
        parse_rule(text), more.pop("slot", 3), c_rule, strings.intern, cwd or WorkingDirectory("/w", "/w"), **more
    )
    return c_rule, strings.texts


def row_ops(c_rule: Any) -> set[str]:
    return {op.name for op in ops.OPERATIONS if c_rule.ops[op.number // 64] >> op.number % 64 & 1}


def test_a_plain_rule() -> None:
    row, _ = compiled("pwrite:error=ENOSPC")
    assert row_ops(row) == {"pwrite"}
    assert (row.id, row.effect, row.error) == (3, lib.FL_EFFECT_ERROR, errno.ENOSPC)
    assert (row.has, row.negate, row.delay_ns, row.scope) == (0, 0, 0, lib.FL_SCOPE_PROCESS)
    assert (row.first, row.last, row.step) == (1, U64, 1)
    assert row.fdkinds == lib.FL_KIND_FILE | lib.FL_KIND_DIR


def test_a_used_row_is_cleared_first() -> None:
    strings, row = Strings(), ffi.new("struct fl_rule *")
    cwd = WorkingDirectory("/w", "/w")
    compile_rule(parse_rule("write:torn=5:path=a:when=2:delay=1s"), 1, row, strings.intern, cwd)
    compile_rule(parse_rule("open:hang"), 2, row, strings.intern, cwd)
    fresh, _ = compiled("open:hang", slot=2)
    assert bytes(ffi.buffer(row)) == bytes(ffi.buffer(fresh))


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("write:short=64K", {"effect": lib.FL_EFFECT_SHORT, "value": 65536, "percent": 0}),
        ("write:short=50%", {"effect": lib.FL_EFFECT_SHORT, "value": 0, "percent": 50}),
        ("write:torn=512", {"effect": lib.FL_EFFECT_TORN, "value": 512}),
        ("write:delay=2s+-1s", {"effect": lib.FL_EFFECT_DELAY, "delay_ns": 2 * 10**9, "jitter_ns": 10**9, "phase": 0}),
        ("write:delay_after=2s", {"effect": lib.FL_EFFECT_DELAY, "delay_ns": 2 * 10**9, "phase": lib.FL_AFTER}),
        ("write:kill=after:delay=1s", {"effect": lib.FL_EFFECT_KILL, "phase": lib.FL_AFTER, "delay_ns": 10**9}),
        ("write:kill=before", {"effect": lib.FL_EFFECT_KILL, "phase": lib.FL_BEFORE}),
        ("write:error=EIO:delay=1s", {"effect": lib.FL_EFFECT_ERROR, "delay_ns": 10**9, "phase": 0}),
        ("write:signal=SIGUSR1", {"effect": lib.FL_EFFECT_SIGNAL, "signal": 10}),
        ("write:stop", {"effect": lib.FL_EFFECT_STOP}),
        ("flock:hang", {"effect": lib.FL_EFFECT_HANG}),
        ("fsync:return=0", {"effect": lib.FL_EFFECT_RETURN, "value": 0, "percent": 0}),
        ("write:return=7", {"effect": lib.FL_EFFECT_RETURN, "value": 7}),
        ("write:skip", {"effect": lib.FL_EFFECT_RETURN, "percent": 100}),
        ("read:corrupt=3", {"effect": lib.FL_EFFECT_CORRUPT, "value": 3}),
        ("write:corrupt=3", {"effect": lib.FL_EFFECT_CORRUPT, "value": 3}),
        ("write:space=64K", {"effect": lib.FL_EFFECT_SPACE, "value": 65536}),
        ("clock:offset=-1s", {"effect": lib.FL_EFFECT_CLOCK, "clock_verb": lib.FL_CLOCK_OFFSET, "value": -(10**9)}),
        ("clock:rate=0.5", {"clock_verb": lib.FL_CLOCK_RATE, "rate": 1 << 31, "clock": 1}),
        ("clock:jump=1s:when=9", {"clock_verb": lib.FL_CLOCK_JUMP, "value": 10**9, "first": 9}),
        ("clock:freeze:clock=monotonic,boottime", {"clock_verb": lib.FL_CLOCK_FREEZE, "clock": 1 << 1 | 1 << 2}),
        ("write:stop:when=3", {"has": lib.FL_HAS_WINDOW, "first": 3, "last": 3, "step": 1}),
        ("write:stop:when=3+", {"first": 3, "last": U64, "step": 1}),
        ("write:stop:when=2..8+3", {"first": 2, "last": 8, "step": 3}),
        ("write:stop:when=1:scope=path", {"scope": lib.FL_SCOPE_PATH}),
        ("write:stop:p=0.5", {"has": lib.FL_HAS_P, "p": 1 << 31}),
        ("write:stop:p=1", {"p": 1 << 32}),
        ("write:stop:times=9", {"has": lib.FL_HAS_TIMES, "times": 9}),
        ("write:stop:at=5s:for=2s", {"has": lib.FL_HAS_TIME, "at_ns": 5 * 10**9, "for_ns": 2 * 10**9}),
        ("write:stop:at=5s", {"at_ns": 5 * 10**9, "for_ns": 0}),
        ("write:stop:fd=4", {"has": lib.FL_HAS_FD, "fd": 4, "fdkinds": 0}),
        ("write:stop:fd=4:fdkind=tty", {"fdkinds": lib.FL_KIND_TTY}),
        ("write:stop:fdkind=any", {"fdkinds": 0}),
        ("open:stop", {"fdkinds": 0}),
        ("write:stop:size=5..9", {"has": lib.FL_HAS_SIZE, "size_min": 5, "size_max": 9}),
        ("write:stop:size=5+", {"size_min": 5, "size_max": U64}),
        ("write:stop:size=..9", {"size_min": 0, "size_max": 9}),
        ("write:stop:offset=..9", {"has": lib.FL_HAS_OFFSET, "offset_min": -(1 << 63), "offset_max": 9}),
        ("lseek:stop:offset=-9+", {"offset_min": -9, "offset_max": (1 << 63) - 1}),
        ("open:stop:flags=O_WRONLY|!O_EXCL", {"has": lib.FL_HAS_FLAGS, "flags_mask": 3 | os.O_EXCL, "flags_value": 1}),
        ("open:stop:flags=O_RDONLY", {"flags_mask": 3, "flags_value": 0}),
        ("flock:stop:flags=LOCK_EX|!LOCK_NB", {"flags_mask": 6, "flags_value": 2}),
        ("lseek:stop:flags=SEEK_END", {"flags_mask": 255, "flags_value": 2}),
        ("open:stop:flags=0x41", {"flags_mask": 0x41, "flags_value": 0x41}),
    ],
)  # fmt: skip
def test_fields(text: str, fields: dict[str, int]) -> None:
    row, _ = compiled(text)
    assert {name: getattr(row, name) for name in fields} == fields


def test_strings_of_predicates() -> None:
    row, texts = compiled(
        "rename:stop:path=!*.a,/b:from=x:to=!*.t:proc=!label:w*:thread=1.*", WorkingDirectory("/l", "/r")
    )
    assert [texts[i] for i in row.path] == ["*.a", "/b", "", ""]
    assert [texts[i] for i in getattr(row, "from")] == ["/l/x", "/r/x", "", ""]
    assert [texts[i] for i in row.to] == ["*.t", "", "", ""]
    assert (texts[row.proc], row.proc_by, texts[row.thread]) == ("w*", lib.FL_BY_LABEL, "1.*")
    assert row.negate == lib.FL_NOT_PATH | lib.FL_NOT_TO | lib.FL_NOT_PROC
    assert row.has == lib.FL_HAS_PATH | lib.FL_HAS_FROM | lib.FL_HAS_TO | lib.FL_HAS_PROC | lib.FL_HAS_THREAD


def test_after_takes_the_slot_of_the_name() -> None:
    row, _ = compiled("write:stop:after=first", slots={"first": 41})
    assert (row.has, row.after) == (lib.FL_HAS_AFTER, 42)


def test_a_time_window_without_begin_starts_when_the_rule_goes_live() -> None:
    row, _ = compiled("write:stop:for=2s", now_ns=77)
    assert (row.at_ns, row.for_ns) == (77, 2 * 10**9)


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("/a/*", ("/a/*",)), ("*/x", ("*/x",)), ("x*", ("/l o/x*", "/r\\[1]/x*")), ("./x", ("/l o/x", "/r\\[1]/x")),
        ("../x", ("/x",)), (".", ("/l o", "/r\\[1]")), ("../../..", ("/",)), ("?", ("/l o/?", "/r\\[1]/?")),
    ],
)  # fmt: skip
def test_relative_patterns_are_below_both_names_of_the_working_directory(pattern: str, meant: tuple[str, ...]) -> None:
    assert WorkingDirectory("/l o", "/r[1]").below(pattern) == meant


def test_the_logical_working_directory_counts_only_if_it_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, link = tmp_path.resolve() / "real", tmp_path.resolve() / "link"
    real.mkdir()
    link.symlink_to(real)
    monkeypatch.chdir(link)
    for pwd, logical in ((link, link), (real, real), (tmp_path, real), (tmp_path / "gone", real), ("link", real)):
        monkeypatch.setenv("PWD", str(pwd))
        assert WorkingDirectory.current() == WorkingDirectory(str(logical), str(real))
    monkeypatch.delenv("PWD")
    assert WorkingDirectory.current().logical == str(real)


def families(text: str) -> set[str]:
    bits = compiler.gate_bits(parse_rule(text))
    return {name for name, number in ops.FAMILY_NUMBERS.items() if bits >> number & 1}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rename:kill=before", {"rename"}),
        ("rename:kill=before:path=*.json", {"rename", "track"}),
        ("write:error=EIO", {"write", "track"}),
        ("write:error=EIO:fdkind=any", {"write"}),
        ("write:error=EIO:fd=1", {"write"}),
        ("open,read:stop:when=1:scope=path", {"open", "read", "track"}),
        ("copy_file_range:error=EIO:fdkind=any", {"read", "write"}),
        ("write:space=1K", {"write", "allocate", "truncate", "unlink", "rename", "open", "track"}),
        ("clock:offset=1h", set()),
        ("clock:jump=1h:when=3", {"clock"}),
        ("fork:error=EAGAIN", {"fork"}),
    ],
)
def test_gate(text: str, expected: set[str]) -> None:
    assert families(text) == expected


def test_interest_is_the_operations() -> None:
    rule = parse_rule("unlinkat:stop")
    assert [ops.ALL_OPERATIONS[n].title for n in compiler.interest(rule)] == ["unlinkat (unlink)", "unlinkat (rmdir)"]


@pytest.mark.parametrize(
    ("text", "by_shim"),
    [("clock:jump=1s:when=3", True), ("clock:jump=1s:p=0.1", True), ("clock:jump=1s:at=5s", False),
     ("clock:jump=1s", False), ("clock:offset=1s", False), ("write:stop", True)],
)  # fmt: skip
def test_who_carries_a_rule_out(text: str, by_shim: bool) -> None:
    assert compiler.happens_at_a_call(parse_rule(text)) == by_shim


@given(rule_texts() | clock_texts(), st.integers(0, lib.FL_MAX_RULES - 1))
def test_every_rule_compiles(text: str, slot: int) -> None:
    try:
        rule = parse_rule(text)
    except RuleError:
        assume(False)
    strings, row = Strings(), ffi.new("struct fl_rule *")
    slots = {rule.after: 5} if rule.after else {}
    compile_rule(rule, slot, row, strings.intern, WorkingDirectory("/a", "/b"), slots=slots)
    assert row.id == slot
    assert lib.FL_EFFECT_NONE < row.effect < lib.FL_EFFECT_COUNT
    assert {op.number for op in operations(rule)} == set(compiler.interest(rule))
    assert all(row.ops[n // 64] >> n % 64 & 1 for n in compiler.interest(rule))
    assert bool(row.has & lib.FL_HAS_WINDOW) == (rule.when is not None)
    if isinstance(rule.effect, effects.Error):
        assert row.error == rule.effect.errno


def test_yaml_is_not_on_the_way_of_a_plain_rule() -> None:
    code = (
        "import sys; from faultlib.inject import compile, grammar; grammar.parse_rule('write:error=EIO');"
        "print(sorted({'yaml', 'pydantic', 'asyncio', 'click'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
