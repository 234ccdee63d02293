"""Text for a person's eye: names of files and processes may hold anything, and a terminal obeys what it is shown."""

from __future__ import annotations


def visible(text: str) -> str:
    """Returns the text on one line, with every character that cannot be printed as an escape: `\\n`, `\\x1b`, `\\u202e`.

    What is no text at all (bytes of another encoding, as os.fsdecode gives them) becomes `\\xff`.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(c: str) -> str:
    if 0xDC80 <= ord(c) <= 0xDCFF:
        return f"\\x{ord(c) - 0xDC00:02x}"
    return c.encode("unicode_escape").decode()


def visible_lines(text: str) -> str:
    """The same for a text of several lines."""
    return "\n".join(map(visible, text.split("\n")))
