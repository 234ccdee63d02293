"""faultlib: precise, provable, live syscall faults in unmodified Linux programs."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # what `typing` has, without its import
if TYPE_CHECKING:
    from faultlib.errors import (
        CommandNotFound,
        FaultlibError,
        LateChange,
        NotExecutable,
        NotInstrumentable,
        RuleError,
        SessionGone,
        UsageError,
    )
    from faultlib.inject.grammar import parse_rule as rule
    from faultlib.inject.rules import Rule
    from faultlib.inject.session import Session
    from faultlib.inject.snapshot import RuleReport, Snapshot

if not any(name.startswith("_core.") for name in os.listdir(__path__[0])):
    raise ImportError(
        f"the C part of faultlib is missing in {__path__[0]}: a checkout that was not built, which hides an installed faultlib "
        "from Python while it is the working directory. Change to another directory, or build it here: pip install -e ."
    )

__version__ = "0.1.0"
__all__ = [
    "CommandNotFound", "FaultlibError", "LateChange", "NotExecutable", "NotInstrumentable", "Rule", "RuleError", "RuleReport",
    "Session", "SessionGone", "Snapshot", "UsageError",
    "__version__", "rule",
]  # fmt: skip
_HOMES = {
    "faultlib.errors": (
        "CommandNotFound", "FaultlibError", "LateChange", "NotExecutable", "NotInstrumentable", "RuleError", "SessionGone",
        "UsageError",
    ),
    "faultlib.inject.grammar": ("rule",),
    "faultlib.inject.rules": ("Rule",),
    "faultlib.inject.session": ("Session",),
    "faultlib.inject.snapshot": ("RuleReport", "Snapshot"),
}


def __getattr__(name: str) -> object:
    """Imports a name from its module when it is first asked for: the command line needs few of them."""
    for home, names in _HOMES.items():
        if name in names:
            import importlib

            found = getattr(importlib.import_module(home), "parse_rule" if name == "rule" else name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
