"""The lines of a trace are made from templates; each must be what the plain way, call by call, comes to."""

from __future__ import annotations

import io
from typing import Any

import pytest
from faultlib._core import ffi, lib
from hypothesis import given, settings
from hypothesis import strategies as st

from faultlib.inject.events import RECORD, Decoder, Joiner, Raw, records
from faultlib.inject.ops import ALL_OPERATIONS
from faultlib.report import trace_count, trace_shapes
from faultlib.report.trace_json import JsonTrace
from faultlib.report.trace_text import TextTrace
from tests.report import trace_reference as reference

PATHS = ["", "/a", "/b{0}/c}", '/new\nline"\\', "/\udcff é", "\x1b[1m"]
TEXTS = [
    b"", b"1\t7\t7\t1\tlabel\tsh", b"1.2\t8\t9\t1.3\t\tc{}[\x1b", b"1\t7\t8\t1\tlabel\tsh",
    b'  File "/x/own{0}.py", line 3 in f\n  File "/usr/lib/python3.11/json/__init__.py", line 4 in <g>',
    b'  File "<string>", line 1 in <module>', b"native\t/no/such/{program}\t1f",
]  # fmt: skip
U64, I64 = (1 << 64) - 1, (1 << 63) - 1


class Block:
    """What a decoder asks of a control block."""

    def path(self, number: int) -> str | None:
        return PATHS[number] if number else None

    def text(self, number: int) -> bytes:
        return TEXTS[number]


def raw(**fields: int) -> Raw:
    """A record with these fields of struct fl_event."""
    event = ffi.new("struct fl_event *", {"sequence": 1, "fd": -1, **fields})
    (found,) = records(bytes(ffi.buffer(event, RECORD.size)))
    return found


def numbers(most: int) -> st.SearchStrategy[int]:
    return st.integers(0, 3) | st.integers(0, most)


RESULTS = st.integers(-3, 3) | st.sampled_from([-4095, -4096, -38, -1000, I64, 0x7F0000001000, -I64]) | st.integers(-I64, I64)
RECORDS = st.fixed_dictionaries(
    {
        "sequence": st.integers(1, U64), "time_ns": numbers(U64), "duration_ns": numbers(U64), "result": RESULTS,
        "size": numbers(U64), "offset": st.integers(-2, 2) | st.integers(-I64, I64), "nth": numbers(U64),
        "path": st.integers(0, len(PATHS) - 1), "path2": st.integers(0, 2), "actor": st.integers(0, 3),
        "stack": st.sampled_from([0, 4, 5, 6]), "flags": st.sampled_from([0, 1, 2, 0o102, 0o1101]) | numbers((1 << 32) - 1),
        "extra": st.integers(-1, 3) | st.sampled_from([0o644, 0o777]), "fd": st.integers(-1, 3),
        "op": st.integers(0, len(ALL_OPERATIONS) - 1), "rule": st.integers(0, 2), "effect": st.integers(0, 4),
        "kind": st.integers(0, 2), "state": st.sampled_from([lib.FL_CALL_DONE, lib.FL_CALL_DONE, lib.FL_CALL_BEGUN]),
    }
)  # fmt: skip
VARIED = ("sequence", "time_ns", "duration_ns", "result", "size", "offset", "nth")


@st.composite
def calls(draw: st.DrawFn) -> list[Raw]:
    """Calls of which many differ only in their numbers."""
    found = []
    for first in draw(st.lists(RECORDS, min_size=1, max_size=4)):
        found.append(raw(**first))
        for _ in range(draw(st.integers(0, 3))):
            other = draw(RECORDS)
            found.append(raw(**{**first, **{name: other[name] for name in VARIED}}))
    return draw(st.permutations(found))


def everything(_: object) -> bool:
    return True


@pytest.mark.parametrize(("trace", "line"), [(TextTrace, reference.text), (JsonTrace, reference.jsonl)])
@given(raws=calls())
@settings(max_examples=400, deadline=None)
def test_lines_are_those_of_the_plain_way(trace: Any, line: Any, raws: list[Raw]) -> None:
    decoder, stream = Decoder(Block()), io.StringIO()  # type: ignore[arg-type]
    writer = trace(stream, decoder, reference.rule_text, everything)
    writer.add(raws[:2])
    writer.add(raws[2:])
    assert stream.getvalue() == "".join(line(decoder.event(one)) for one in raws)


@given(raws=calls(), most=st.sampled_from([1, 1 << 16]))
@settings(max_examples=300, deadline=None)
def test_sums_are_those_of_the_plain_way(raws: list[Raw], most: int) -> None:
    """Also when they do not wait for the end."""
    decoder = Decoder(Block())  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace_count, "MOST_SHAPES", most)
        counting = trace_count.Counting(decoder, everything)
        counting.add(raws[:2])
        counting.add(raws[2:])
        rows = counting.rows()
    found = {tuple(key): (row.calls, row.errors, row.injected, row.time_ns, row.bytes) for key, row in rows}
    assert found == reference.sums([decoder.event(one) for one in raws])


@pytest.mark.parametrize("most", [2, 1 << 16])
def test_only_what_fits_has_a_line_however_many_shapes_there_are(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_shapes, "MOST_SHAPES", most)
    write = next(op.number for op in ALL_OPERATIONS if op.name == "write")
    raws = [raw(op=write, fd=i % 5, path=1 + i % 2, result=i - 1, time_ns=i) for i in range(40)]
    decoder, stream = Decoder(Block()), io.StringIO()  # type: ignore[arg-type]
    TextTrace(stream, decoder, reference.rule_text, lambda event: event.path == "/a").add(raws)
    assert stream.getvalue() == "".join(reference.text(decoder.event(one)) for one in raws if decoder.event(one).path == "/a")
    assert stream.getvalue().count("\n") == 20


def test_halves_are_put_together_and_order_is_kept() -> None:
    """An exec waits for what its thread does next: it came back, or it did not."""
    done, begun, back = lib.FL_CALL_DONE, lib.FL_CALL_BEGUN, lib.FL_CALL_CAME_BACK
    told = [(1, done, 1), (2, begun, 1), (3, done, 2), (4, back, 1), (5, begun, 2), (6, done, 1), (7, done, 2), (8, begun, 1),
            (9, back, 3)]  # fmt: skip
    raws = [raw(sequence=number, state=state, actor=actor, path=1, result=-number) for number, state, actor in told]
    joiner = Joiner(Decoder(Block()))  # type: ignore[arg-type]
    found = [*joiner.joined(raws[:2]), *joiner.joined(raws[2:]), *joiner.rest()]
    decoder = Decoder(Block())  # type: ignore[arg-type]
    events = [decoder.event(one) for one in found]
    assert [(event.number + 1, event.ended, event.result) for event in events] == [
        (1, True, -1), (3, True, -3), (2, True, -4), (6, True, -6), (5, False, -5), (7, True, -7), (8, False, -8),
    ]  # fmt: skip
