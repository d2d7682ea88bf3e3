"""What becomes of readers whose right to read is gone.

What it is: `Looking`, which looks at all whom a change of the rights may concern, a slice at a
time; and `LostRights`, which so ends what is read by held requests. Bayeux' clients have their own.

What it may know: subscriptions that are held, rights, rooms. Not why a right is gone.

Invariant: a right is lost at once, though the end of thousands takes seconds: whoever has not been
looked at yet is looked at before anything is told to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from cometd_chat.chat.held_subscription import HeldSubscription
from cometd_chat.chat.presence import Presence
from cometd_chat.chat.rights import EVERYBODY, Act, Affected, Rights
from cometd_chat.chat.rooms import Room, Rooms
from cometd_chat.chat.subscription import State
from cometd_chat.comet import CometEngine, CometHandler
from cometd_chat.comet.slices import Slices
from cometd_chat.events import kinds

#: What is told to who may not read any longer what they read.
LOST_RIGHT = "you may not read this any longer"

#: To end what one reads is about as much as to tell thirty, and so often the clock is looked at.
LOOK_EVERY = 4


class Looking:
    """Looks at all whom changes of the rights may concern.

    :param steps: looks at those whom one change concerns, one a step.
    :param ask_before_telling: told whether to ask before anybody is told anything, which is so as
        long as somebody waits for a look.
    """

    def __init__(
        self,
        slices: Slices,
        steps: Callable[[Affected], Iterator[None]],
        ask_before_telling: Callable[[bool], None],
    ) -> None:
        self._slices = slices
        self._steps = steps
        self._ask_before_telling = ask_before_telling
        self._waiting: list[Affected] = []
        self._under_way = False

    def look(self, affected: Affected) -> None:
        """Look at all whom a change may concern: the first of them at once, the others soon."""
        self._waiting.append(affected)
        if not self._under_way:
            self._under_way = True
            self._ask_before_telling(True)
            self._slices.walk(self._all_steps(), self._done, every=LOOK_EVERY)

    def _done(self) -> None:
        self._under_way = False
        self._ask_before_telling(False)

    def _all_steps(self) -> Iterator[None]:
        while self._waiting:
            # What has changed meanwhile is looked for by one more walk, however often it has.
            affected = self._waiting[0] if len(self._waiting) == 1 else EVERYBODY
            self._waiting.clear()
            yield from self._steps(affected)


class LostRights:
    """Ends what is read by rights that are gone."""

    def __init__(
        self, engine: CometEngine, rights: Rights, rooms: Rooms, presence: Presence
    ) -> None:
        self._engine = engine
        self._rights = rights
        self._rooms = rooms
        self._presence = presence
        self._looking = Looking(engine.slices, self._steps, self._ask)

    def look(self, affected: Affected) -> None:
        """See `Looking.look`."""
        self._looking.look(affected)

    def _ask(self, asks: bool) -> None:
        self._engine.ask_before_telling(self._still_reads if asks else None)

    def _steps(self, affected: Affected) -> Iterator[None]:
        comes_from = affected.comes_from
        for room in self._rooms_of(affected):
            for handler in room.context.handlers:
                if isinstance(handler, HeldSubscription) and (
                    comes_from is None or comes_from(handler.address)
                ):
                    self.end_reading(handler, room)
                yield

    def _rooms_of(self, affected: Affected) -> Iterable[Room]:
        if affected.rooms is None:
            return list(self._rooms.all())
        found = (self._rooms.named(name) for name in affected.rooms)
        return [room for room in found if room is not None]

    def _still_reads(self, handler: CometHandler) -> bool:
        """Whether somebody who is to be told something still reads; asked while a walk goes on."""
        if not isinstance(handler, HeldSubscription):
            return True
        for name in handler.rooms:
            room = self._rooms.named(name)
            if room is not None:
                self.end_reading(handler, room)
        return handler.state is not State.ENDED

    def end_reading(self, reader: HeldSubscription, room: Room) -> None:
        """End what somebody reads in a room by a right that is gone. Of several rooms the others go
        on."""
        refusal = self._rights.may(reader.session, Act.FOLLOW, room, reader.address)
        if refusal is None or room.name not in reader.rooms:
            return
        session = reader.session
        if not reader.leave(room.name):
            reader.close(kinds.bye(refusal.bye or LOST_RIGHT))
        elif session is not None:
            self._presence.release(room.name, session)
