"""Which effect is possible on which operation, and why not where it is not. `faultlib ops` prints it."""

from __future__ import annotations

from collections.abc import Sequence

from faultlib.inject import effects, errnos, values
from faultlib.inject.effects import Delay, Effect
from faultlib.inject.ops import Operation
from faultlib.inject.values import Part

# Operations that hand out data: success without data would be a lie that no kernel tells.
_ANSWERS_DATA = ("stat", "clock")
_CHECKS_ONLY = ("access", "faccessat")
_NO_DATA_IS_FINE = ("read", "attr", "readdir")  # 0 bytes: the end of the file, an empty value


def _error(effect: effects.Error, op: Operation) -> str | None:
    possible = errnos.possible(op)
    if op.result == "none" or (not possible.errnos and not effect.forced):
        return f"{op.name} cannot fail"
    if effect.forced or effect.errno in possible.errnos:
        return None
    name = errnos.name_of(effect.errno)
    return (
        f"{op.name} cannot return {name}, by {possible.source}; possible: {' '.join(errnos.names_of(possible.errnos))}"
        f" (error!={name} overrides that)"
    )


def _moves_data(op: Operation) -> bool:
    return op.family in ("read", "write") and op.result == "count"


def _short(effect: effects.Short, op: Operation) -> str | None:
    if not _moves_data(op):
        return f"{op.name} cannot be cut short: it moves no counted data"
    if op.family == "write" and effect.part.size_bytes == 0:
        return f"{op.name} never returns 0 for a file; short=0 is for reads, where it is the end of the file"
    return None


def _torn(effect: effects.Torn, op: Operation) -> str | None:
    if op.family != "write" or op.result != "count":
        return f"{op.name} cannot be torn: it writes no counted data"
    return "torn=0 writes nothing, which is kill=before" if effect.part.size_bytes == 0 else None


def _returns(op: Operation) -> str | None:
    """Why no success can be made up for this operation."""
    if op.result in ("fd", "pointer", "object"):
        made = {"fd": "a descriptor", "pointer": "a mapping", "object": "an object"}[op.result]
        return f"{op.name} makes {made}, which cannot be made up"
    if op.family in ("fork", "exec"):
        return f"{op.name} makes a process or thread, which cannot be made up"
    if (op.family in _ANSWERS_DATA and op.name not in _CHECKS_ONLY) or op.name == "readdir_r":
        return f"{op.name} answers with data, which cannot be made up"
    return f"{op.name} does not return" if op.family == "exit" else None


def _return(effect: effects.Return, op: Operation) -> str | None:
    if (reason := _returns(op)) is not None:
        return reason
    if op.result == "none":
        return f"{op.name} returns nothing that could be set: give skip"
    if effect.value < 0:
        return "a negative result is an error: give error="
    if effect.value != 0 and op.result in ("zero", "code"):
        return f"{op.name} returns 0 when it succeeds; a failure is given by error="
    if effect.value != 0 and op.family in _NO_DATA_IS_FINE:
        return f"{op.name} answers with data, which cannot be made up; only 0 can be returned"
    if effect.value == 0 and op.family == "write" and op.result == "count":
        return f"{op.name} never returns 0 for a file"
    return None


def _skip(op: Operation) -> str | None:
    if (reason := _returns(op)) is not None:
        return reason
    if op.family in _NO_DATA_IS_FINE and op.result == "count":
        return f"{op.name} answers with data, which cannot be made up"
    return f"{op.name} returns a position, which cannot be made up" if op.result == "offset" else None


def _space(op: Operation) -> str | None:
    grows = op.family == "allocate" or (op.family == "write" and op.result == "count")
    return None if grows else f"{op.name} takes no space on a disk: give write or allocate"


def objection(effect: Effect | Delay, op: Operation) -> str | None:
    """Says why `effect` cannot happen to `op`, or None if it can."""
    match effect:
        case effects.Error():
            return _error(effect, op)
        case effects.Short():
            return _short(effect, op)
        case effects.Torn():
            return _torn(effect, op)
        case effects.Return():
            return _return(effect, op)
        case effects.Skip():
            return _skip(op)
        case effects.Space():
            return _space(op)
        case effects.Corrupt():
            return None if op.has_data else f"{op.name} has no data in memory that could be corrupted"
        case effects.ClockChange():
            return None if op.family == "clock" else f"{op.name} reads no clock"
        case effects.Kill(after=True) | Delay(after=True) if op.family in ("exit", "exec"):
            return f"{op.name} does not come back: nothing is after it"
    return None


_SAMPLES: tuple[tuple[str, tuple[Effect | Delay, ...]], ...] = (
    ("short", (effects.Short(Part(size_bytes=1)),)),
    ("torn", (effects.Torn(Part(size_bytes=1)),)),
    ("return", (effects.Return(0), effects.Return(1))),
    ("skip", (effects.Skip(),)),
    ("corrupt", (effects.Corrupt(1),)),
    ("space", (effects.Space(1),)),
    ("delay", (Delay(1),)),
    ("delay_after", (Delay(1, after=True),)),
    ("kill=before", (effects.Kill(False),)),
    ("kill=after", (effects.Kill(True),)),
    ("signal", (effects.Signal(10),)),
    ("stop", (effects.Stop(),)),
    ("hang", (effects.Hang(),)),
    ("offset rate jump freeze", (effects.ClockChange("freeze"),)),
)


def possible_effects(op: Operation) -> list[str]:
    """Returns the keys of the effects that can happen to `op`."""
    found = ["error"] if errnos.possible(op).errnos and op.result != "none" else []
    for keys, samples in _SAMPLES:
        if any(objection(sample, op) is None for sample in samples):
            found += keys.split()
    return found


def nearest_effect(effect: Effect, members: Sequence[Operation]) -> str | None:
    """Returns the spelling nearest to an impossible `effect` that is possible for one of `members`, or None."""
    names = dict.fromkeys(name for op in members for name in errnos.names_of(errnos.possible(op).errnos))
    tries: list[Effect] = []
    match effect:
        case effects.Error():
            return values.nearest(errnos.name_of(effect.errno), names) or next(iter(names), None)
        case effects.Short():
            tries = [effects.Short(Part(size_bytes=1))]
        case effects.Torn() | effects.Kill():
            tries = [effects.Kill(False)]
        case effects.Return() if effect.value >= 0:
            tries = [effects.Return(0), effects.Return(1), effects.Skip()]
    for one in tries:
        if any(objection(one, op) is None for op in members):
            return str(one)
    wanted = "ENOSPC" if isinstance(effect, effects.Space) else "EIO"
    error = next((name for name in (wanted, "EIO", *names) if name in names), None)
    return f"error={error}" if error else None
