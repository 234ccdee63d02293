"""The base of small values behaves as a frozen dataclass does."""

from __future__ import annotations

import copy
import pickle

import pytest

from faultlib.inject.effects import Delay, Hang, Kill, Stop
from faultlib.inject.rules import Rule
from faultlib.inject.values import Range


def test_fields_by_place_name_and_default() -> None:
    assert (Delay(5).delay_ns, Delay(5).jitter_ns, Delay(5, after=True).after) == (5, 0, True)
    assert Delay(delay_ns=5, jitter_ns=1) == Delay(5, 1)


def test_equality_is_by_class_and_fields() -> None:
    assert Stop() == Stop()
    assert Stop() != Hang()
    assert Range(1, 2) != (1, 2)
    assert len({Range(1, 2), Range(1, 2), Range(1, 3)}) == 2


def test_where_a_value_comes_from_is_neither_compared_nor_shown() -> None:
    here, there = Rule(("write",), source="write"), Rule(("write",), source="write:", columns=(("x", 1),))
    assert here == there
    assert hash(here) == hash(there)
    assert repr(here) == repr(there)
    assert here != Rule(("read",), source="write")
    assert (here.as_dict()["source"], there.as_dict()["source"]) == ("write", "write:")


def test_fields_come_in_their_order_however_they_are_given() -> None:
    assert Delay(after=True, delay_ns=5).as_dict() == {"delay_ns": 5, "jitter_ns": 0, "after": True}
    assert [*Delay(after=True, delay_ns=5).as_dict()] == ["delay_ns", "jitter_ns", "after"]


def test_values_do_not_change() -> None:
    with pytest.raises(AttributeError):
        Kill(True).after = False  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del Kill(True).after


def test_copies_and_pickles_are_equal() -> None:
    value = Range(1, None)
    assert copy.deepcopy(value) == pickle.loads(pickle.dumps(value)) == value
    assert repr(value) == "Range(low=1, high=None)"


@pytest.mark.parametrize(
    "arguments", [((), {}), ((1, 2, 3), {}), ((1,), {"low": 1, "high": 2}), ((1, 2), {"middle": 3})]
)
def test_wrong_fields_are_refused(arguments: tuple[tuple[int, ...], dict[str, int]]) -> None:
    places, names = arguments
    with pytest.raises(TypeError):
        Range(*places, **names)
