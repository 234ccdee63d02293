"""Contents against plain byte arrays."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from faultlib.explore.crash import content
from faultlib.explore.crash.content import LEAF, PAGE, Bytes, Content

EDGES = [0, 1, 511, 512, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, LEAF - PAGE, LEAF - 1, LEAF, LEAF + 1, 2 * LEAF + 5]
POSITIONS = st.one_of(st.sampled_from(EDGES), st.integers(0, 5 * PAGE))
LENGTHS = st.one_of(st.integers(0, 40), st.sampled_from([PAGE - 1, PAGE, PAGE + 1, 2 * PAGE + 7]))
STEPS = st.one_of(
    st.tuples(st.just("write"), POSITIONS, LENGTHS, st.integers(0, 255)),
    st.tuples(st.just("resize"), POSITIONS),
    st.tuples(st.just("zero"), POSITIONS, LENGTHS),
)


def take(now: Content, plain: bytearray, step: tuple) -> Content:
    """Does one step to both."""
    if step[0] == "write":
        _, position, length, byte = step
        data = bytes((byte + i) % 256 for i in range(length))
        if length:
            plain.extend(bytes(max(0, position - len(plain))))
            plain[position : position + length] = data
        return now.write(position, Bytes(b"junk" + data), 4, length)
    if step[0] == "resize":
        size = step[1]
        plain.extend(bytes(max(0, size - len(plain))))
        del plain[size:]
        return now.resize(size)
    _, position, length = step
    end = min(position + length, len(plain))
    if position < end:
        plain[position:end] = bytes(end - position)
    return now.zero(position, length)


@settings(deadline=None)
@given(st.lists(STEPS, max_size=12), POSITIONS, LENGTHS)
def test_every_version_is_what_was_written(steps: list[tuple], position: int, length: int) -> None:
    now, plain, versions = Content(), bytearray(), []
    for step in steps:
        now = take(now, plain, step)
        versions.append((now, bytes(plain)))
    for version, expected in versions:  # older ones too
        assert version.size == len(expected)
        assert version.read() == expected
        assert version.read(position, length) == expected[position : position + length]
        rebuilt = bytearray(version.size)
        for at, data in version.stretches():
            rebuilt[at : at + len(data)] = data
        assert bytes(rebuilt) == expected
        assert version.digest() == Content.of(Bytes(expected), len(expected)).digest()


@settings(deadline=None)
@given(st.lists(STEPS, max_size=6), st.lists(STEPS, max_size=6))
def test_digests_differ_where_bytes_do(steps: list[tuple], others: list[tuple]) -> None:
    one, plain, two, other = Content(), bytearray(), Content(), bytearray()
    for step in steps:
        one = take(one, plain, step)
    for step in others:
        two = take(two, other, step)
    assert (one.digest() == two.digest()) == (plain == other)


def test_many_small_appends_share_what_they_can() -> None:
    now = Content()
    for i in range(3000):
        now = now.write(i * 10, Bytes(b"0123456789"), 0, 10)
    assert now.read() == b"0123456789" * 3000
    pages = [page for leaf in now._leaves for page in leaf.pages]
    assert max(len(page.pieces) for page in pages) <= content.MOST_PIECES


def test_a_gigabyte_takes_next_to_no_memory() -> None:
    class Endless:
        """A source that has read nothing yet."""

        reads = 0

        def read(self, position: int, length: int) -> bytes:
            self.reads += 1
            return bytes(length)

    source, now = Endless(), Content()
    for i in range(1 << 14):
        now = now.write(i << 16, source, i << 16, 1 << 16)
    assert now.size == 1 << 30
    assert not source.reads
