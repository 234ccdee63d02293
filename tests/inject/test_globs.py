"""What Python says of a glob is what the shim does with it."""

from __future__ import annotations

from functools import cache

import pytest
from faultlib._core import lib
from hypothesis import given
from hypothesis import strategies as st

from faultlib.inject import globs
from faultlib.inject.values import Bad

PATTERNS = st.text("ab1.*?[]!^-\\~é", max_size=9)
LINEAGES = [*"123", "10", "1.1", "1.2", "1.10.3", "1?1", "1?2.3", "2?10", "~7", "~70.1", "12.3.4"]
THREADS = ["1", "1.1", "1.2", "1.10", "1.1.3"]


def matches(found: list[globs.Piece], text: bytes) -> bool:
    """The slow way."""

    @cache
    def rest(i: int, j: int) -> bool:
        if i == len(found):
            return j == len(text)
        piece = found[i]
        if piece is None:
            return rest(i + 1, j) or (j < len(text) and rest(i, j + 1))
        return j < len(text) and bool(piece >> text[j] & 1) and rest(i + 1, j + 1)

    return rest(0, 0)


@given(PATTERNS, st.lists(st.text("ab1.[]!^-\\~é", max_size=5), min_size=1))
def test_pieces_match_what_the_shim_matches(pattern: str, texts: list[str]) -> None:
    try:
        found = globs.pieces(pattern)
    except Bad:
        assert not any(lib.fl_glob(pattern.encode(), text.encode()) for text in texts)
        return
    for text in texts:
        assert matches(found, text.encode()) == bool(lib.fl_glob(pattern.encode(), text.encode()))


@given(st.text("12.?~*[]0-\\", min_size=1, max_size=6))
def test_only_what_matches_nothing_is_refused(pattern: str) -> None:
    for check, words in ((globs.check_lineage, LINEAGES), (globs.check_thread, THREADS)):
        hit = any(lib.fl_glob(pattern.encode(), word.encode()) for word in words)
        try:
            check(pattern)
        except Bad:
            assert not hit


@pytest.mark.parametrize("word", LINEAGES)
def test_every_lineage_is_one(word: str) -> None:
    globs.check_lineage(word.replace("?", "\\?"))


@pytest.mark.parametrize("word", ["0", "01", "1.0", "x", "1.", ".1", "1..2", "1~", "~", "1-2"])
def test_others_are_not(word: str) -> None:
    with pytest.raises(Bad, match="is not a lineage"):
        globs.check_lineage(word)
