"""The committed table is the one that the tests make."""

from __future__ import annotations

from tests.matrix import table


def test_the_committed_table_is_current() -> None:
    assert table.FILE.read_text(encoding="utf-8") == table.render(), "run: python -m tests.matrix.table"
