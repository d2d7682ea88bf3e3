"""Cursors: an id of the log and the epoch in which it was given out.

What it is: an epoch begins when a log is made, and when it was put back to where it had been, for
all that is known; never because a process starts. It has a random name, remembered with the first
id that it may give. `Epochs` turns ids into cursors and back.

What it may know: ids and names of epochs. No SQL, no threads, no clock.

Invariant: a cursor is taken for our own only if its id lies among the ids that its epoch gave out,
or may yet give: so one from before a backup was restored is known as foreign, and one that another
process has just given out is not. What looks otherwise than ours do is foreign too, and no fault of
its client, as long as any release of this or a later day could have given it out.
"""

from __future__ import annotations

import re
import secrets
from bisect import bisect_right
from collections.abc import Mapping, Sequence

import attrs

from cometd_chat.errors import InvalidCursor

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"

#: No log ever comes so far: what stands for more is no place in it.
_TOP = 2**63 - 1

#: What a cursor may look like, at most: clients are told to be prepared for that. What stands for
#: itself in a URL (RFC 3986, section 2.3), in a header line, in JSON and in HTML.
_ANY_CURSOR = re.compile(r"[A-Za-z0-9._~-]{1,512}")

#: What ours look like. At most 20 digits, as many as a 64-bit number can have; no leading zeros, so
#: that one place in the log has one spelling.
_CURSOR = re.compile(r"(0|[1-9][0-9]{0,19})\.([a-z0-9]{4,16})")


def random_epoch() -> str:
    """A name for an epoch: six random lower-case letters and digits."""
    return "".join(secrets.choice(_LETTERS) for _ in range(6))


@attrs.frozen
class Epochs:
    """The epochs of one log, oldest first; of an open log there is one at least.

    :param names: their names, each different.
    :param first_ids: the first id of each; equal to the next one's when nothing was said in it.
    """

    names: Sequence[str]
    first_ids: Sequence[int]
    _places: Mapping[str, int] = attrs.field(init=False, repr=False, eq=False)

    @_places.default
    def _place_names(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}

    def of(self, id: int) -> str:
        """The epoch in which ``id`` was given out; of several with the same first id the newest."""
        return self.names[max(bisect_right(self.first_ids, id) - 1, 0)]

    def cursor(self, id: int) -> str:
        """What a client hands back to go on after ``id``."""
        return f"{id}.{self.of(id)}"

    def position(self, cursor: str) -> int | None:
        """The id in a cursor, or None when this log never gave that cursor out.

        It may be above all that this process has seen; see `EventLog.position`.

        :raises InvalidCursor: it can't be a cursor.
        """
        parts = _CURSOR.fullmatch(cursor)
        if parts is None:
            if _ANY_CURSOR.fullmatch(cursor):
                return None
            raise InvalidCursor(
                "A cursor is what an event carries in its field `cursor`, such as 17.k3f9. "
                "Leave it out to start from now."
            )
        id, place = int(parts[1]), self._places.get(parts[2])
        if place is None or id > _TOP:
            return None
        # Before the first record there is nothing that a restored backup could have changed.
        return id if id == 0 or self.of(id) == parts[2] else None
