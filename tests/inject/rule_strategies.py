"""Hypothesis strategies for rules: texts of rules that the grammar accepts, assembled key by key."""

from __future__ import annotations

from hypothesis import strategies as st

from faultlib.inject import errnos, flags, lexer, ops, possible, values

NAMES = ops.all_names()
GLOB_TEXT = st.text("abz*?[]!\\:,'\"._- é", min_size=1, max_size=8)


def _joined(head: str, value: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return value.map(lambda text: f"{head}={text}")


def durations(least: int = 0) -> st.SearchStrategy[str]:
    return st.integers(least, values.I64).map(values.format_duration)


def sizes(least: int = 0) -> st.SearchStrategy[str]:
    return st.integers(least, 1 << 40).map(values.format_size)


def globs() -> st.SearchStrategy[str]:
    one = GLOB_TEXT.filter(lambda text: text[0] != "!")
    rooted = one.map(lambda text: lexer.quote("*" + text))
    below = one.map(lambda text: lexer.quote("d" + text))
    lists = st.lists(rooted, min_size=1, max_size=3).map(",".join) | below
    return st.tuples(st.sampled_from(["", "!"]), lists).map("".join)


def effect_texts(name: str) -> st.SearchStrategy[str]:
    """Effects that are possible for the name as a whole; the caller filters what is not."""
    op = next(iter(ops.exactly(name) or ops.named(name)))
    keys = possible.possible_effects(op)
    found: list[st.SearchStrategy[str]] = [durations(1).map(lambda d: f"delay={d}"), durations(1).map(_with_jitter)]
    plain = {"kill=before", "kill=after", "stop", "hang", "skip"}
    found += [st.just(key) for key in keys if key in plain]
    if "error" in keys:
        found.append(st.sampled_from(errnos.names_of(errnos.possible(op).errnos)).map(lambda e: f"error={e}"))
        found.append(st.sampled_from(errnos.all_errnos()).map(lambda e: f"error!={e}"))
    if "short" in keys:
        found += [_joined("short", sizes(1)), _joined("short", st.integers(1, 99).map(lambda n: f"{n}%"))]
    if "torn" in keys:
        found += [_joined("torn", sizes(1)), _joined("torn", st.integers(1, 99).map(lambda n: f"{n}%"))]
    if "return" in keys:
        found.append(st.sampled_from(["return=0", "return=1", "return=77"]))
    if "corrupt" in keys:
        found.append(_joined("corrupt", sizes(1)))
    if "space" in keys:
        found.append(_joined("space", sizes()))
    found.append(st.sampled_from(["SIGUSR1", "SIGTERM", "40"]).map(lambda s: f"signal={s}"))
    return st.one_of(found)


def _with_jitter(delay: str) -> str:
    return f"delay={delay}+-{delay}"


def windows() -> st.SearchStrategy[str]:
    n = st.integers(1, values.U64)
    ordered = st.tuples(n, n).map(sorted)
    return st.one_of(
        n.map(str),
        n.map(lambda a: f"{a}+"),
        st.tuples(n, n).map(lambda t: f"{t[0]}+{t[1]}"),
        ordered.map(lambda t: f"{t[0]}..{t[1]}"),
        st.tuples(ordered, n).map(lambda t: f"{t[0][0]}..{t[0][1]}+{t[1]}"),
    )


def ranges() -> st.SearchStrategy[str]:
    ends = st.tuples(st.integers(0, 1 << 40), st.integers(0, 1 << 40)).map(sorted)
    size = values.format_size
    return st.one_of(
        sizes(),
        sizes().map(lambda a: f"{a}+"),
        sizes().map(lambda a: f"..{a}"),
        ends.map(lambda t: f"{size(t[0])}..{size(t[1])}"),
    )


def probabilities() -> st.SearchStrategy[str]:
    return st.integers(1, 10**9).map(lambda n: f"{n / 10**9:.9f}") | st.integers(1, 100).map(lambda n: f"{n}%")


def procs() -> st.SearchStrategy[str]:
    by = st.sampled_from(["", "label:", "comm:", "lineage:", "!", "!label:"])
    return st.tuples(by, GLOB_TEXT.filter(lambda t: t[0] != "!").map(lexer.quote)).map("".join)


@st.composite
def rule_texts(draw: st.DrawFn) -> str:
    """Texts of rules on one name; most are accepted."""
    name = draw(st.sampled_from(NAMES))
    op = next(iter(ops.exactly(name) or ops.named(name)))
    fields = [name, draw(effect_texts(name))]
    optional: dict[str, st.SearchStrategy[str]] = {
        "proc": procs(), "thread": st.sampled_from(["1", "1.2", "*", "1.*", "*.[1-3]", "'1'?2"]), "when": windows(),
        "p": probabilities(), "times": st.integers(1, values.U64).map(str), "at": durations(), "for": durations(1),
        "after": st.sampled_from(["a", "b.c"]), "name": st.sampled_from(["x", "y-1"]),
    }  # fmt: skip
    if op.has_path:
        optional["path"] = globs()
    if op.has_two_paths:
        optional |= {"from": globs(), "to": globs()}
    if op.has_fd:
        optional |= {"fd": st.integers(0, 1 << 20).map(str), "fdkind": st.sampled_from(["any", "file", "file,dir"])}
    if op.has_size:
        optional["size"] = ranges()
    if op.has_offset:
        optional["offset"] = ranges()
    if flags.vocabulary(op):
        optional["flags"] = st.sampled_from(sorted(flags.vocabulary(op)))
    chosen = draw(st.lists(st.sampled_from(sorted(optional)), unique=True, max_size=6))
    fields += [f"{key}={draw(optional[key])}" for key in chosen]
    if {"when", "times"} & set(chosen):
        fields.append("scope=" + draw(st.sampled_from(["process", "session", "thread"])))
    order = draw(st.permutations(range(1, len(fields))))
    return ":".join([fields[0], *(fields[i] for i in order)])


@st.composite
def clock_texts(draw: st.DrawFn) -> str:
    """Texts of clock rules."""
    ns = durations(1)
    verb = draw(st.one_of(
        st.tuples(st.sampled_from(["offset=", "offset=-", "jump=+", "jump=-"]), ns).map("".join),
        st.integers(1, 10**6).map(lambda n: f"rate={n / 1000}"), st.just("freeze"),
    ))  # fmt: skip
    fields = ["clock", verb]
    if draw(st.booleans()):
        fields.append("clock=" + ",".join(draw(st.permutations(["realtime", "monotonic", "boottime"]))[:2]))
    if draw(st.booleans()):
        fields.append("proc=" + draw(procs()))
    if draw(st.booleans()):
        fields.append("at=" + draw(durations()))
    if verb.startswith("jump") and draw(st.booleans()):
        fields.append("when=" + draw(windows()))
    elif not verb.startswith("jump") and draw(st.booleans()):
        fields.append("for=" + draw(ns))
    return ":".join(fields)
