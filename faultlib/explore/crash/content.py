"""What is in a file, as references to where the bytes lie: thousands of versions of large files, of which little is in memory.

A version is never changed: writing to it returns another one, which shares what was not written to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Protocol

PAGE = 4096
PAGES = 512
"""Pages of a leaf."""
LEAF = PAGE * PAGES
DIGEST_BYTES = 16
MOST_PIECES = 64
"""A page of more pieces is read once and kept as bytes."""


class Source(Protocol):
    """Where bytes lie."""

    def read(self, position: int, length: int) -> bytes:
        """Returns exactly so many bytes from there."""


class Bytes:
    """Bytes in memory."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, position: int, length: int) -> bytes:
        """Returns exactly so many bytes from there."""
        return self._data[position : position + length]


Piece = tuple[int, int, Source, int]
"""From, to (in a page), and where the first byte lies in which source. Later pieces of a page cover earlier ones."""


class Page:
    """Some 4 KiB of a file. What no piece covers is zero."""

    __slots__ = ("_digest", "pieces")

    def __init__(self, pieces: tuple[Piece, ...]) -> None:
        self.pieces = pieces
        self._digest: bytes | None = None

    def covered(self, piece: Piece) -> Page:
        """Returns the page with a piece over it."""
        start, end, _, _ = piece
        kept = [old for old in self.pieces if old[0] < start or old[1] > end]
        if len(kept) < MOST_PIECES:
            return Page((*kept, piece))
        whole = Page((*kept, piece)).data()
        return Page(((0, PAGE, Bytes(whole), 0),))

    def cut(self, end: int) -> Page:
        """Returns the page with nothing from `end` on."""
        return Page(tuple((a, min(b, end), source, at) for a, b, source, at in self.pieces if a < end))

    def data(self) -> bytes:
        """Returns the 4 KiB."""
        if len(self.pieces) == 1 and self.pieces[0][:2] == (0, PAGE):
            return self.pieces[0][2].read(self.pieces[0][3], PAGE)
        page = bytearray(PAGE)
        for start, end, source, at in self.pieces:
            page[start:end] = source.read(at, end - start)
        return bytes(page)

    def digest(self) -> bytes:
        """Returns a digest of the 4 KiB."""
        if self._digest is None:
            data = self.data()
            self._digest = _ZERO if not any(data) else hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()
        return self._digest


_ZERO = bytes(DIGEST_BYTES)
_HOLE = Page(())


class Leaf:
    """Some 2 MiB of a file: pages, and behind them holes."""

    __slots__ = ("_digest", "pages")

    def __init__(self, pages: tuple[Page, ...]) -> None:
        self.pages = pages
        self._digest: bytes | None = None

    def replaced(self, first: int, pages: list[Page]) -> Leaf:
        """Returns the leaf with other pages from `first` on."""
        holes = (_HOLE,) * (first - len(self.pages))
        return Leaf((*self.pages[:first], *holes, *pages, *self.pages[first + len(pages) :]))

    def digest(self) -> bytes:
        """Returns a digest of its pages; holes at the end do not count."""
        if self._digest is None:
            digests = b"".join(page.digest() for page in self.pages).rstrip(b"\0")
            self._digest = hashlib.blake2b(digests, digest_size=DIGEST_BYTES).digest() if digests else b""
        return self._digest


_EMPTY_LEAF = Leaf(())


class Content:
    """One version of what is in a file."""

    __slots__ = ("_digest", "_leaves", "size")

    def __init__(self, size: int = 0, leaves: tuple[Leaf, ...] = ()) -> None:
        self.size = size
        self._leaves = leaves
        self._digest: bytes | None = None

    @classmethod
    def of(cls, source: Source, length: int) -> Content:
        """Returns the first `length` bytes of a source."""
        return cls().write(0, source, 0, length)

    def write(self, position: int, source: Source, at: int, length: int) -> Content:
        """Returns the version in which `length` bytes of `source`, from `at` on, are at `position`."""
        if not length:
            return self
        leaves = list(self._leaves)
        end = position + length
        for index in range(position // LEAF, (end - 1) // LEAF + 1):
            leaves.extend([_EMPTY_LEAF] * (index + 1 - len(leaves)))
            begin = max(position, index * LEAF)
            stop = min(end, (index + 1) * LEAF)
            leaves[index] = self._written(leaves[index], begin % LEAF, stop - begin, source, at + begin - position)
        return Content(max(self.size, end), tuple(leaves))

    @staticmethod
    def _written(leaf: Leaf, begin: int, length: int, source: Source, at: int) -> Leaf:
        first, end, pages = begin // PAGE, begin + length, []
        for number in range(first, (end - 1) // PAGE + 1):
            low, high = max(begin, number * PAGE), min(end, (number + 1) * PAGE)
            old = leaf.pages[number] if number < len(leaf.pages) else _HOLE
            pages.append(old.covered((low - number * PAGE, high - number * PAGE, source, at + low - begin)))
        return leaf.replaced(first, pages)

    def resize(self, size: int) -> Content:
        """Returns the version of that size: cut off, or with zeros behind."""
        if size >= self.size:
            return Content(size, self._leaves)
        leaves = list(self._leaves[: -(-size // LEAF)])
        rest = size % LEAF
        if rest and len(leaves) * LEAF > size:
            pages = list(leaves[-1].pages[: -(-rest // PAGE)])
            if rest % PAGE and len(pages) * PAGE > rest:
                pages[-1] = pages[-1].cut(rest % PAGE)
            leaves[-1] = Leaf(tuple(pages))
        return Content(size, tuple(leaves))

    def zero(self, position: int, length: int) -> Content:
        """Returns the version with zeros there, of the same size."""
        end, now = min(position + length, self.size), self
        while position < end:
            n = min(end - position, LEAF)
            now = now.write(position, _ZEROS, 0, n)
            position += n
        return now

    def read(self, position: int = 0, length: int | None = None) -> bytes:
        """Returns bytes of the file, fewer at its end."""
        end = self.size if length is None else min(self.size, position + length)
        if position >= end:
            return b""
        first = position // PAGE
        pages = [self._page(number).data() for number in range(first, (end - 1) // PAGE + 1)]
        return b"".join(pages)[position - first * PAGE : end - first * PAGE]

    def _page(self, number: int) -> Page:
        leaf, index = divmod(number, PAGES)
        if leaf >= len(self._leaves) or index >= len(self._leaves[leaf].pages):
            return _HOLE
        return self._leaves[leaf].pages[index]

    def stretches(self) -> Iterator[tuple[int, bytes]]:
        """Yields (position, bytes) of all that is not a hole, a page at most at a time."""
        for index, leaf in enumerate(self._leaves):
            for number, page in enumerate(leaf.pages):
                at = index * LEAF + number * PAGE
                if page.pieces and at < self.size:
                    yield at, page.data()[: self.size - at]

    def digest(self) -> bytes:
        """Returns a digest of size and bytes: equal if and only if these are."""
        if self._digest is None:
            whole = hashlib.blake2b(self.size.to_bytes(8, "little"), digest_size=DIGEST_BYTES)
            for index, leaf in enumerate(self._leaves):
                if leaf.digest():
                    whole.update(index.to_bytes(4, "little") + leaf.digest())
            self._digest = whole.digest()
        return self._digest


class Garbage:
    """What was on the blocks of a file before they were its own: no text, and the same at the same place."""

    PATTERN = b"\xdbgarbage"

    def read(self, position: int, length: int) -> bytes:
        """Returns exactly so many bytes for there."""
        shift, size = position % len(self.PATTERN), len(self.PATTERN)
        return (self.PATTERN * (length // size + 2))[shift : shift + length]


class _Zeros:
    """As many zeros as one likes."""

    def read(self, position: int, length: int) -> bytes:
        return bytes(length)


_ZEROS = _Zeros()
