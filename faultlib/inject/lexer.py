"""Splits the text of a rule. Quotes protect `:` and `,`; every character remembers its column.

Between single quotes everything is literal; between double quotes as well, except that `\\"` is a quote. A backslash
outside of quotes makes `:` `,` `'` `"` literal; before anything else it stays, because globs use it.
"""

from __future__ import annotations

from collections.abc import Iterator

from faultlib.errors import RuleError

SPECIAL = ":,'\""


class Word:
    """Characters of a rule with their columns; those that were quoted separate nothing."""

    __slots__ = ("columns", "end", "quoted", "text")

    def __init__(self, text: str, columns: list[int], quoted: list[bool], end: int) -> None:
        self.text = text
        self.columns = columns
        self.quoted = quoted
        self.end = end  # the column behind the last character

    def __bool__(self) -> bool:
        return bool(self.text) or any(self.quoted)

    def __getitem__(self, part: slice) -> Word:
        start, stop, _ = part.indices(len(self.text))
        end = self.columns[stop] if stop < len(self.text) else self.end
        return Word(self.text[start:stop], self.columns[start:stop], self.quoted[start:stop], end)

    def column(self, offset: int = 0) -> int:
        """Returns the column of the character at `offset`."""
        return self.columns[offset] if offset < len(self.columns) else self.end

    def find(self, mark: str, start: int = 0) -> int:
        """Returns the offset of the first unquoted `mark`, or -1."""
        while (start := self.text.find(mark, start)) >= 0 and self.quoted[start]:
            start += 1
        return start

    def split(self, mark: str) -> Iterator[Word]:
        """Yields the pieces between unquoted marks, empty ones too."""
        start = 0
        while (stop := self.find(mark, start)) >= 0:
            yield self[start:stop]
            start = stop + 1
        yield self[start : len(self.text)]


def read(text: str) -> Word:
    """Takes off the quotes. Raises RuleError for a quote that is not closed."""
    out: list[str] = []
    columns: list[int] = []
    quoted: list[bool] = []

    def put(character: str, column: int, protected: bool) -> None:
        out.append(character)
        columns.append(column)
        quoted.append(protected)

    i = 0
    while i < len(text):
        c = text[i]
        if c == "\\" and i + 1 < len(text):
            literal = text[i + 1] in SPECIAL
            if not literal:
                put(c, i, False)
            put(text[i + 1], i + 1, literal)
            i += 2
        elif c in "'\"":
            opened, i = i, i + 1
            while i < len(text) and text[i] != c:
                if c == '"' and text[i : i + 2] == '\\"':
                    i += 1
                put(text[i], i, True)
                i += 1
            if i == len(text):
                raise RuleError(text, opened, "this quote is not closed", text + c)
            i += 1
        else:
            put(c, i, False)
            i += 1
    return Word("".join(out), columns, quoted, len(text))


def quote(value: str) -> str:
    """Returns `value` so that `read` gives it back as one word: bare where that is possible."""
    if not any(c in SPECIAL for c in value) and not value.endswith("\\"):
        return value
    return "\\'".join(f"'{piece}'" if piece else "" for piece in value.split("'"))
