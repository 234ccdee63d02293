"""What is on the disk in a state: the directories, and what is in the files."""

from __future__ import annotations

import hashlib

from faultlib.explore.crash.content import DIGEST_BYTES, Content
from faultlib.explore.crash.losses import Lost, State
from faultlib.explore.crash.model import NAMES, Model
from faultlib.explore.crash.namespaces import Entries, Listing, Names, Namespaces, summed
from faultlib.explore.crash.versions import Versions

_EMPTY = Content()


class Disk:
    """What is on the disk in any state of a model."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._names = Namespaces(model)
        self._files = {
            number: Versions(model.initial.contents.get(number, Content()), indexes, [model.changes[i] for i in indexes])
            for number, indexes in model.of_node.items()
            if number != NAMES
        }

    def names(self, state: State) -> Names:
        """Returns the directories in a state."""
        return self._names.at(state.crash, state.lost(NAMES))

    def content(self, state: State, number: int) -> Content:
        """Returns what is in a file in a state."""
        versions = self._files.get(number)
        return versions.at(state.crash, state.lost(number)) if versions else self.model.initial.contents.get(number, _EMPTY)

    def entries(self, state: State) -> Entries:
        """Returns the entries of every directory that there is."""
        return self._names.entries(state.crash, state.lost(NAMES))

    def digest_of(self, state: State, number: int) -> bytes:
        """Returns a digest of what is in a file."""
        return self._digest(number, state.crash, state.lost(number))

    def digest_of_names(self, state: State) -> bytes:
        """Returns a digest of all names."""
        return self._names.listings(state.crash, state.lost(NAMES))[0]

    def digest(self, state: State) -> bytes:
        """Returns a digest: equal if and only if what a program can see of two states is."""
        crash = state.crash
        digest, listings = self._names.listings(crash, state.lost(NAMES))
        parts = [digest]
        for listing in listings:
            contents = self._contents(listing, crash)
            for number, lost in state.losses:
                if key := listing.keys.get(number):
                    contents += key * (self._number(number, crash, lost) - self._number(number, crash, ()))
            parts.append(summed(contents))
        return hashlib.blake2b(b"".join(parts), digest_size=DIGEST_BYTES).digest()

    def _digest(self, number: int, crash: int, lost: tuple[Lost, ...]) -> bytes:
        file = self._files.get(number)
        if file is None:
            return self.model.initial.contents.get(number, _EMPTY).digest()
        return file.at(crash, lost).digest() if lost else file.plain(crash)

    def _number(self, number: int, crash: int, lost: tuple[Lost, ...]) -> int:
        """What stands for what is in a file."""
        return int.from_bytes(self._digest(number, crash, lost), "little")

    def _contents(self, listing: Listing, crash: int) -> int:
        """What stands for the files of a listing when nothing is lost: what it was at another crash, but for the changes."""
        if listing.crash == crash and not listing.pending:
            return listing.contents
        if listing.crash < 0 or abs(crash - listing.crash) + len(listing.pending) > len(listing.keys):
            listing.contents = sum(key * self._number(number, crash, ()) for number, key in listing.keys.items())
        else:
            for key, number in listing.pending:
                listing.contents += key * self._number(number, listing.crash, ())
            for number in self._touched(min(crash, listing.crash), max(crash, listing.crash)):
                if key := listing.keys.get(number, 0):
                    listing.contents += key * (self._number(number, crash, ()) - self._number(number, listing.crash, ()))
        listing.crash = crash
        listing.pending.clear()
        return listing.contents

    def _touched(self, first: int, last: int) -> set[int]:
        return {owner for i in range(first, last) if (owner := self.model.owner(i)) is not None and owner != NAMES}
