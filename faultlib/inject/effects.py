"""What a rule does to a matching call: one frozen value per effect, whose text is its spelling in a rule.

`key` is the key that names the effect. A delay stands apart, because it goes along with another effect.
"""

from __future__ import annotations

import signal

from faultlib._core import lib
from faultlib.inject import values
from faultlib.inject.errnos import name_of
from faultlib.inject.frozen import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from decimal import Decimal

    from faultlib.inject.values import Part

CLOCK_IDS = {name: getattr(lib, f"FL_CLOCK_{name.upper()}") for name in ("realtime", "monotonic", "boottime")}
CLOCK_VERBS = ("offset", "rate", "jump", "freeze")


def signal_name(number: int) -> str:
    """Returns `SIGUSR1` and the like, or the number as text for a real-time signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


class Delay(Frozen):
    """Sleeps `delay_ns`, give or take up to `jitter_ns`, before the call, or after it if that is all there is."""

    delay_ns: int
    jitter_ns: int = 0
    after: bool = False

    @property
    def key(self) -> str:
        return "delay_after" if self.after else "delay"

    def __str__(self) -> str:
        jitter = f"+-{values.format_duration(self.jitter_ns)}" if self.jitter_ns else ""
        return f"{self.key}={values.format_duration(self.delay_ns)}{jitter}"


class Error(Frozen):
    """The call is not made and fails with this errno; `forced` overrides the errno table."""

    errno: int
    forced: bool = False
    key = "error"

    def __str__(self) -> str:
        return f"error{'!' if self.forced else ''}={name_of(self.errno)}"


class Short(Frozen):
    """The call moves only a part of the data and returns that part. Only larger calls match."""

    part: Part
    key = "short"

    def __str__(self) -> str:
        return f"short={values.format_part(self.part)}"


class Torn(Frozen):
    """A part of the data reaches the file, then the process dies by SIGKILL. Only larger calls match."""

    part: Part
    key = "torn"

    def __str__(self) -> str:
        return f"torn={values.format_part(self.part)}"


class Kill(Frozen):
    """The process dies by SIGKILL before the call or after it."""

    after: bool
    key = "kill"

    def __str__(self) -> str:
        return f"kill={'after' if self.after else 'before'}"


class Signal(Frozen):
    """A signal is delivered to the calling thread before the call, which then proceeds."""

    number: int
    key = "signal"

    def __str__(self) -> str:
        return f"signal={signal_name(self.number)}"


class Stop(Frozen):
    """The process stops (SIGSTOP) before the call."""

    key = "stop"

    def __str__(self) -> str:
        return "stop"


class Hang(Frozen):
    """The call does not come back; a signal ends it with EINTR where it would end the real one."""

    key = "hang"

    def __str__(self) -> str:
        return "hang"


class Return(Frozen):
    """The call is not made and returns this value."""

    value: int
    key = "return"

    def __str__(self) -> str:
        return f"return={self.value}"


class Skip(Frozen):
    """The call is not made and returns what full success would."""

    key = "skip"

    def __str__(self) -> str:
        return "skip"


class Corrupt(Frozen):
    """So many bytes of the data get one bit flipped, in what is read or in what reaches the file."""

    size_bytes: int
    key = "corrupt"

    def __str__(self) -> str:
        return f"corrupt={values.format_size(self.size_bytes)}"


class Space(Frozen):
    """The disk is full after so many bytes of growth."""

    size_bytes: int
    key = "space"

    def __str__(self) -> str:
        return f"space={values.format_size(self.size_bytes)}"


class ClockChange(Frozen):
    """A clock is off by `ns` (offset), jumps by `ns`, runs at `rate`, or stands still (freeze)."""

    verb: str
    ns: int = 0
    rate: Decimal | int = 1
    clocks: tuple[str, ...] = ("realtime",)

    @property
    def key(self) -> str:
        return self.verb

    @property
    def clock_bits(self) -> int:
        """A bit `1 << clockid` for each clock."""
        return sum(1 << CLOCK_IDS[name] for name in self.clocks)

    def __str__(self) -> str:
        text = self.verb
        if self.verb == "rate":
            text += f"={values.format_decimal(self.rate)}"
        elif self.verb != "freeze":
            text += f"={values.format_signed_duration(self.ns)}"
        return text if self.clocks == ("realtime",) else f"{text}:clock={','.join(self.clocks)}"


class ForkPoint(Frozen):
    """The first process stops here, to be forked for each run (csrc/forkpoint.c). No rule that can be written has it.

    `at` is FL_FORK_AT_ANY or another: which of the calls.
    """

    at: int
    key = "forkpoint"

    def __str__(self) -> str:
        return "forkpoint"


Effect = Error | Short | Torn | Kill | Signal | Stop | Hang | Return | Skip | Corrupt | Space | ClockChange | ForkPoint
