"""The verdicts of a campaign: by state, and by what was read to come to them."""

from __future__ import annotations

from faultlib.explore.crash.disk import Disk
from faultlib.explore.crash.judge import Answer, Distrust
from faultlib.explore.crash.losses import State
from faultlib.explore.crash.readset import ReadSets
from faultlib.explore.crash.store import Store
from faultlib.explore.oracle import UNSTABLE, Verdict


class Verdicts:
    """What is known already, of this run of the campaign and of those before.

    `needs_promises`: a verdict depends on what the program had promised; then a state is judged once for each promise. A state
    that is the same as a judged one in all that was read then has its verdict; of these, some are judged all the same.
    """

    def __init__(self, disk: Disk, store: Store, *, needs_promises: bool) -> None:
        self._disk = disk
        self._store = store
        self.needs_promises = needs_promises
        self._by_state = store.verdicts()
        self.unstable = [verdict for verdict in self._by_state.values() if verdict.what == UNSTABLE]
        self._by_reading = ReadSets(disk)
        for read, key, verdict in store.readings():
            self._by_reading.add(read, key, verdict)
        self._likened: dict[bytes, Verdict] = {}
        self._likenings = 0

    def key(self, plan: State, promised: int) -> bytes:
        """Returns what a verdict depends on: the state's digest, and the promises if they matter."""
        digest = self._disk.digest(plan)
        return digest + promised.to_bytes(8, "little") if self.needs_promises else digest

    def find(self, key: bytes, plan: State, promised: int) -> Verdict | None:
        """Returns the verdict on a state; None if it has to be judged."""
        known = self._by_state.get(key) or self._likened.get(key)
        if known is None and (known := self._by_reading.find(plan, self._promise(promised))):
            self._likened[key] = known
            self._likenings += 1
            is_sample = self._likenings & (self._likenings - 1) == 0
            return None if is_sample else known
        return known

    def is_certain(self, key: bytes) -> bool:
        """Whether this very state was judged."""
        return key in self._by_state

    def note(self, key: bytes, plan: State, promised: int, answer: Answer) -> Verdict:
        """Keeps an answer. Raises Distrust if a state that is the same in all that was read was judged otherwise."""
        verdict, read = answer
        known = self._likened.get(key)
        if known and known.what != verdict.what:
            raise Distrust(f"states that are the same in all that was read of them are judged {known.what} and {verdict.what}")
        if verdict.what == UNSTABLE:
            self.unstable.append(verdict)
        self._by_state[key] = verdict
        self._store.add(key, verdict)
        if read is not None:
            reading = self._by_reading.key(read, plan, self._promise(promised))
            if self._by_reading.add(read, reading, verdict):
                self._store.add_reading(read, reading, verdict)
        self._store.flush()  # at once: no state is to be judged twice when the campaign is killed
        return verdict

    def _promise(self, promised: int) -> int | None:
        return promised if self.needs_promises else None
