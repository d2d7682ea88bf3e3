"""Who may do what: the one place where a right is asked.

What it is: `Rights.may`, which says yes or gives the refusal; and `Grant`, what somebody was found
to may, as it is kept by whatever outlives the request that asked.

What it may know: sessions. Of a room its name, and whether it is gone.

Invariant: a room that somebody may not see is to them as if it were not there. What was allowed
carries the generation of the rights by which it was, and ends when they end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Generic, Protocol, TypeVar

import attrs

from cometd_chat.chat.sessions import Session, inactive
from cometd_chat.comet.listeners import Listeners
from cometd_chat.errors import (
    ChatError,
    InvalidToken,
    NoSession,
    NotAllowed,
    RoomNotFound,
    ShuttingDown,
)

#: For programs.
HOW_TO_LOG_IN = 'POST /api/v1/session with {"name": "..."}.'


class Act(Enum):
    """What somebody may want to do. In a room, but for `ENTER`, `MAKE_ROOM`, and any of them where
    no room is named: then it is whether there can be one."""

    #: Know that a room is there, and look at what was said in it.
    SEE = "see"
    #: Go on reading: what is held, or remembered for the next request.
    FOLLOW = "follow"
    #: Say something, or be seen to write it.
    SPEAK = "speak"
    MAKE_ROOM = "make a room"
    #: Log in, or begin anything that lasts.
    ENTER = "enter"


class AnyRoom(Protocol):
    """What a right depends on of a room."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def gone(self) -> bool:
        """Whether it is there no longer."""


#: Whether somebody may do something in a room, beside what holds for all rooms.
RoomRule = Callable[[Session | None, Act, AnyRoom], bool]

RoomT = TypeVar("RoomT", bound=AnyRoom, covariant=True)


@attrs.frozen
class Grant(Generic[RoomT]):
    """What somebody was found to may.

    :param session: who; None for somebody who only reads.
    :param token: what her token was known by then: one that has been replaced is good no longer.
    :param rooms: where.
    :param generation: of the rights by which it was found.
    """

    session: Session | None
    token: bytes
    rooms: Sequence[RoomT]
    generation: int


class Rights:
    """Who may do what.

    :param public_reading: whether rooms can be read without a session.
    :param rule: what else holds in single rooms; None where all rooms are for all.
    """

    def __init__(self, *, public_reading: bool = True, rule: RoomRule | None = None) -> None:
        self._public_reading = public_reading
        self._rule = rule
        #: Whether there may be rooms that somebody who may read does not see.
        self.hides_rooms = rule is not None
        #: Raised by each change, see `change`.
        self.generation = 0
        #: Set once the daemon stops: nothing that lasts begins any more.
        self.stopping = False
        #: Whoever holds something that a right allowed is told of each change.
        self.changed: Listeners[[]] = Listeners("rights")

    def change(self, rule: RoomRule | None) -> None:
        """Let another rule hold from now. What is held by a right that is gone ends.

        Whoever changes what a rule answers calls this, too, with the same one.
        """
        self._rule = rule
        self.hides_rooms = rule is not None
        self.generation += 1
        self.changed.tell()

    def may(
        self, session: Session | None, act: Act, room: AnyRoom | None = None
    ) -> ChatError | None:
        """Whether somebody may do something.

        :param session: who; None for somebody without one.
        :param room: where; None for what is in no room, or in one that isn't there.
        :returns: None for yes, or else the refusal.
        """
        if self.stopping and (act is Act.FOLLOW or act is Act.SPEAK or act is Act.ENTER):
            return stopping()
        if session is None:
            if act is Act.SPEAK or act is Act.MAKE_ROOM:
                return NoSession("Log in first.", hint=HOW_TO_LOG_IN)
            if act is not Act.ENTER and not self._public_reading:
                return NoSession("Rooms can be read after logging in.", hint=HOW_TO_LOG_IN)
        elif act is not Act.SEE and (session.ended or session.name_key is None):
            return inactive(session)
        if room is None:
            return None
        if self._rule is not None:
            if not self._rule(session, Act.SEE, room):
                return no_such_room()
            if not self._rule(session, act, room):
                return NotAllowed(f"You may not {act.value} in the room {room.name}.")
        if room.gone:
            return RoomNotFound(f"The room {room.name} is gone: nobody had spoken in it.")
        return None

    def require(self, session: Session | None, act: Act, rooms: Sequence[AnyRoom] = ()) -> None:
        """Refuse what somebody may not do.

        :param rooms: where; all of them.
        :raises ChatError: see `may`.
        """
        for room in rooms or (None,):
            refusal = self.may(session, act, room)
            if refusal is not None:
                raise refusal

    # -- what outlives its request

    def grant(self, session: Session | None, rooms: Sequence[RoomT]) -> Grant[RoomT]:
        """What somebody was found to may, to be kept."""
        token = b"" if session is None else session.known_by
        return Grant(session, token, rooms, self.generation)

    def is_current(self, grant: Grant[AnyRoom]) -> bool:
        """Whether what was granted was so by the rights and the token of now."""
        session = grant.session
        return self.generation == grant.generation and (
            session is None or session.known_by == grant.token
        )

    def require_still(self, grant: Grant[AnyRoom], act: Act) -> None:
        """Refuse what was granted, and may not be done any longer.

        :raises InvalidToken: the token by which it was has been replaced since.
        :raises ChatError: see `may`.
        """
        self.require(grant.session, act, grant.rooms)
        require_current_token(grant)


def require_current_token(grant: Grant[AnyRoom]) -> None:
    """Refuse somebody whose token was good when something was granted, and has been replaced since.

    :raises InvalidToken: it has.
    """
    if grant.session is not None and grant.session.known_by != grant.token:
        raise InvalidToken("That token has been replaced since: use the new one.")


def no_such_room() -> RoomNotFound:
    """The refusal for a room that isn't there, or that somebody may not see."""
    return RoomNotFound(
        "There is no such room. The page of the lobby shows those that there are.",
        hint="GET /api/v1/rooms lists them.",
    )


def stopping() -> ShuttingDown:
    """The refusal of a daemon that stops."""
    return ShuttingDown("The daemon is stopping: try again in a moment.", retry_after=1)
