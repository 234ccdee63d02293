"""faultlib: precise, provable, live syscall faults in unmodified Linux programs."""

from __future__ import annotations

from faultlib.errors import CommandNotFound, FaultlibError, NotInstrumentable, RuleError, SessionGone, UsageError
from faultlib.inject.grammar import parse_rule as rule
from faultlib.inject.rules import Rule
from faultlib.inject.session import Session
from faultlib.inject.snapshot import RuleReport, Snapshot

__version__ = "0.1.0"
__all__ = [
    "CommandNotFound", "FaultlibError", "NotInstrumentable", "Rule", "RuleError", "RuleReport", "Session", "SessionGone",
    "Snapshot", "UsageError",
    "__version__", "rule",
]  # fmt: skip
