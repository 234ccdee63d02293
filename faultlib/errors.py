"""The errors that faultlib raises on purpose. Each class has a `slug`, a stable short name for logs and documentation.

The command line prints the message and exits with the error's `exit_code`; anything else that escapes is a bug.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class FaultlibError(Exception):
    """Something that faultlib itself could not do. The base of all errors below."""

    slug: ClassVar[str] = "failed"
    exit_code: ClassVar[int] = 125


class UsageError(FaultlibError):
    """What was asked for makes no sense, and nothing was started."""

    slug = "usage"
    exit_code = 2


class NameTaken(UsageError):
    """A session of that name is running already."""

    slug = "name-taken"


class SessionGone(FaultlibError):
    """The session ended, or its owner was killed; its targets run on undisturbed."""

    slug = "session-gone"


class NotInstrumentable(FaultlibError):
    """The target cannot be put under the shim."""

    slug = "not-instrumentable"
    exit_code = 126


class NotExecutable(FaultlibError):
    """There is such a file, but it cannot be executed: a directory, no permission. Shells say 126 to that as well."""

    slug = "not-executable"
    exit_code = 126


class CommandNotFound(FaultlibError):
    """There is no such program to run."""

    slug = "command-not-found"
    exit_code = 127


class LateChange(UserWarning):
    """A clock was faked while programs were running: waits that had begun by then do not notice."""

    @classmethod
    def warn(cls, notes: list[str]) -> None:
        """Warns of each where the method that calls this was called."""
        import warnings  # seldom needed, and no part of a start without need

        for note in notes:
            warnings.warn(note, cls, stacklevel=3)


class RuleError(UsageError):
    """A rule that cannot be parsed, cannot happen, or can never match.

    `text` is the rule as given, `position` the column in it (from 0), `reason` a sentence without its full stop,
    `suggestion` the nearest valid spelling if there is one, and `origin` where the text stands ("rules.yaml:3").
    """

    slug = "rule"

    def __init__(
        self, text: str, position: int, reason: str, suggestion: str | None = None, origin: str | None = None
    ) -> None:
        super().__init__(text, position, reason, suggestion, origin)
        self.text = text
        self.position = position
        self.reason = reason
        self.suggestion = suggestion
        self.origin = origin

    def at(self, origin: str) -> RuleError:
        """Returns the same error, said to stand at `origin`."""
        return RuleError(self.text, self.position, self.reason, self.suggestion, origin)

    def __str__(self) -> str:
        message = self.reason
        if self.suggestion is not None:
            message += f"; did you mean {self.suggestion}?"
        place = f"{self.origin}: " if self.origin else ""
        return f"{place}{_one_line(message)}\n  {_one_line(self.text)}\n  {' ' * self.position}^"


def _one_line(text: str) -> str:
    """Keeps every character's column."""
    return "".join(c if c.isprintable() else " " for c in text)
