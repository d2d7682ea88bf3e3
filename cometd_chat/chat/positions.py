"""How far each session has come in each room, for clients that keep no cursor themselves: the seam
behind which that is kept.

What it is: `ReadMarker`, where one reader stands, and `Positions`, with the rules that every back
end keeps; `local_positions.py` is the one of a single process.

What it may know: ids of sessions and of the log, names of rooms. Not how anybody reads.

Invariant: what is kept for a session and a room is never ahead of a reader of hers who may come
back; so nothing is lost, and what was not confirmed in time may be shown again.
"""

from __future__ import annotations

from typing import Protocol

import attrs


@attrs.define(eq=False)
class ReadMarker:
    """Where one reader stands in a room.

    :param position: her client has everything up to this id.
    :param counts: nobody has taken her place since she confirmed last.
    :param left_at: when she went, in the reaper's seconds; None while she reads.
    """

    session: str
    room: str
    position: int
    counts: bool = True
    left_at: float | None = None


class Positions(Protocol):
    """The positions of all sessions.

    What every back end keeps:

    * **Never ahead.** What a reader finds who comes back, to whichever process, is at most what
      each of the session's readers has confirmed that may come back as well: the least over all of
      them, in all processes.
    * **A beginning is durable.** When `open` answers for the first time for a session and a room, a
      kill has the next reader begin there, not after what was said in between.
    * **The rest may be late.** What was confirmed in the last seconds before a kill may be lost; it
      is shown again.
    * They end with their session.

    A marker belongs to the process in which it was opened, and is handed back there. All is called
    in the reactor's thread.
    """

    async def open(
        self, session: str, room: str, *, now: int, wanted: int | None = None
    ) -> ReadMarker:
        """Somebody begins to read a room, where the last reader of her session stood.

        :param now: where she begins when there was none.
        :param wanted: where she says that she stands; it wins.
        :raises StorageUnavailable: that can't be read or kept just now.
        """

    def confirm(self, mark: ReadMarker, position: int) -> None:
        """A reader's client has everything up to an id."""

    def leave(self, mark: ReadMarker, *, returns: bool) -> None:
        """Somebody reads no longer, and her place is kept.

        :param returns: she may come back: as long as she may, her place counts beside others'.
        """

    def forget(self, mark: ReadMarker) -> None:
        """Somebody doesn't want the room any more: the next time she begins anew."""

    def stop(self) -> None:
        """Write down what is not yet; the log that is closed next takes it along."""
