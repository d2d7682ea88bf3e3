"""Which role may do what, and where: the matrix of rights, as a table.

What it is: `Act`, all that somebody may want to do; `MATRIX`, the least role that it takes, without
a room and in each kind of room; `Terms`, what the policies change of it; and `levels`, both of them
together, as `rights.py` looks them up. `docs/people.md` shows the same table.

What it may know: roles. Not who somebody is, nor which rooms there are.

Invariant: what has no row here, nobody may do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, IntEnum
from functools import cache
from typing import Final

import attrs

from cometd_chat.chat.roles import Role

#: Below all roles: who has no session.
ANYBODY: Final = -1

#: Above all roles.
NOBODY: Final = 100


class Act(Enum):
    """What somebody may want to do. Its value is how it is written on the wire.

    :param phrase: how it goes on after "You may not".
    """

    #: Know that a room is there, and look at what was said in it.
    SEE = "see", "see that"
    #: Go on reading: what is held, or remembered for the next request.
    FOLLOW = "follow", "follow"
    #: Say something, or be seen to write it.
    SPEAK = "speak", "speak"
    DELETE_OWN = "delete-own", "delete what you said"
    MAKE_ROOM = "make-room", "make a room"
    #: Begin anything that lasts.
    ENTER = "enter", "come in"
    #: Log in as a guest.
    COME_AS_GUEST = "come-as-guest", "come in as a guest"
    #: Look after one's own sessions and account.
    OWN_ACCOUNT = "own-account", "do that with your account"
    #: Belong to a room, from now.
    JOIN = "join", "join"
    LEAVE = "leave", "leave for good"
    #: Let others belong to a room, or come to the house.
    INVITE = "invite", "invite"
    #: Begin a direct conversation.
    DIRECT = "direct", "begin a direct conversation"
    REPORT = "report", "report a message"
    IGNORE = "ignore", "ignore somebody"

    DELETE_OTHERS = "delete-others", "delete what others said"
    #: Silence, kick, ban, and take that back.
    SANCTION = "sanction", "silence or send away others"
    PURGE = "purge", "purge what somebody said"
    #: Topic, kind, slow, locked, archived.
    CHANGE_ROOM = "change-room", "change the room"
    #: Put members out of a room, and say who moderates it.
    CHANGE_MEMBERS = "change-members", "say who belongs"
    #: See who waits, and let them in.
    LET_IN = "let-in", "let in who waits"
    SEE_SANCTIONS = "see-sanctions", "see sanctions"
    SEE_REPORTS = "see-reports", "see reports"
    SEE_AUDIT = "see-audit", "see the audit log"
    CALM = "calm", "calm the house"

    SET_POLICY = "set-policy", "change policies"
    INVITE_WITH_ROLE = "invite-with-role", "invite with a role"
    SEE_USERS = "see-users", "see all accounts"
    #: Of somebody who is no admin, and isn't made one.
    SET_ROLE = "set-role", "change roles"
    REMOVE_ROOM = "remove-room", "remove the room"
    REMOVE_ACCOUNT = "remove-account", "remove an account"
    #: See what the daemon does: what is held, what was shed.
    SEE_LIVE = "see-live", "see how the daemon is"

    SET_ADMIN = "set-admin", "say who is an admin"
    HAND_OVER = "hand-over", "hand over the house"

    phrase: str
    #: Its place among all of them.
    index: int

    def __new__(cls, word: str, phrase: str) -> Act:
        act = object.__new__(cls)
        act._value_ = word
        act.phrase = phrase
        act.index = len(cls.__members__)
        return act


class RoomKind(Enum):
    """Who a room is for."""

    #: All who may read.
    PUBLIC = "public"
    #: Who belongs to it; nobody else knows of it.
    PRIVATE = "private"
    #: A private one whose people are fixed.
    DIRECT = "direct"

    #: Its column in `levels`.
    column: int

    def __new__(cls, word: str) -> RoomKind:
        kind = object.__new__(cls)
        kind._value_ = word
        kind.column = len(cls.__members__) + 1
        return kind


class Guests(Enum):
    """The policy `guests`: who comes in without an account."""

    OPEN = "open"
    #: Whom a moderator lets in.
    APPROVE = "approve"
    OFF = "off"


class Calm(IntEnum):
    """The policy `calm`: who speaks while the house is calmed, in all rooms."""

    OFF = 0
    #: All, but seldom.
    SLOW = 1
    #: Who has an account.
    MEMBERS = 2
    #: Moderators.
    CLOSED = 3

    @property
    def word(self) -> str:
        """How it is written."""
        return self.name.lower()


@attrs.frozen
class Terms:
    """What the policies change of the matrix.

    :param public_reading: whether rooms can be read without a session.
    :param rooms: from which role on one may make rooms.
    """

    public_reading: bool = True
    guests: Guests = Guests.OPEN
    rooms: Role = Role.GUEST
    calm: Calm = Calm.OFF


@attrs.frozen
class Row:
    """The least role that an act takes.

    To a room that is not public one has to belong as well, whatever one's role; and who moderates a
    room counts as a moderator in it.

    :param server: where no room is named: in the house, or in every room.
    :param public: in a public room.
    :param private: in a private one, of who belongs to it.
    :param direct: in a direct conversation, likewise.
    """

    server: int
    public: int = NOBODY
    private: int = NOBODY
    direct: int = NOBODY

    @property
    def columns(self) -> tuple[int, int, int, int]:
        """In the order of `RoomKind.column`."""
        return self.server, self.public, self.private, self.direct


def _everywhere(least: int) -> Row:
    return Row(least, least, least, least)


def _reading() -> Row:
    # The first two follow `public_reading`.
    return Row(ANYBODY, ANYBODY, Role.GUEST, Role.GUEST)


#: The matrix. Policies change some of it, see `levels`.
MATRIX: Mapping[Act, Row] = {
    Act.SEE: _reading(),
    Act.FOLLOW: _reading(),
    Act.SPEAK: _everywhere(Role.GUEST),
    Act.DELETE_OWN: _everywhere(Role.GUEST),
    Act.MAKE_ROOM: Row(Role.GUEST),
    Act.ENTER: Row(ANYBODY),
    Act.COME_AS_GUEST: Row(ANYBODY),
    Act.OWN_ACCOUNT: Row(Role.WAITING),
    Act.JOIN: _everywhere(Role.GUEST),
    Act.LEAVE: Row(Role.GUEST, Role.GUEST, Role.GUEST, NOBODY),
    Act.INVITE: Row(Role.MEMBER, Role.MEMBER, Role.MEMBER, NOBODY),
    Act.DIRECT: Row(Role.MEMBER),
    Act.REPORT: _everywhere(Role.GUEST),
    Act.IGNORE: Row(Role.GUEST),
    Act.DELETE_OTHERS: Row(Role.MODERATOR, Role.MODERATOR, Role.MODERATOR, NOBODY),
    Act.SANCTION: Row(Role.MODERATOR, Role.MODERATOR, Role.MODERATOR, NOBODY),
    Act.PURGE: Row(Role.MODERATOR, Role.MODERATOR, Role.MODERATOR, NOBODY),
    Act.CHANGE_ROOM: Row(Role.MODERATOR, Role.MODERATOR, Role.MODERATOR, NOBODY),
    Act.CHANGE_MEMBERS: Row(Role.MODERATOR, Role.MODERATOR, Role.MODERATOR, NOBODY),
    Act.LET_IN: Row(Role.MODERATOR),
    Act.SEE_SANCTIONS: Row(Role.MODERATOR, Role.MODERATOR, Role.MODERATOR, NOBODY),
    Act.SEE_REPORTS: Row(Role.MODERATOR, Role.MODERATOR, Role.MODERATOR, NOBODY),
    Act.SEE_AUDIT: Row(Role.MODERATOR, Role.MODERATOR, Role.MODERATOR, NOBODY),
    Act.CALM: Row(Role.MODERATOR),
    Act.SET_POLICY: Row(Role.ADMIN),
    Act.INVITE_WITH_ROLE: Row(Role.ADMIN),
    Act.SEE_USERS: Row(Role.ADMIN),
    Act.SET_ROLE: Row(Role.ADMIN),
    Act.REMOVE_ROOM: _everywhere(Role.ADMIN),
    Act.REMOVE_ACCOUNT: Row(Role.ADMIN),
    Act.SEE_LIVE: Row(Role.ADMIN),
    Act.SET_ADMIN: Row(Role.OWNER),
    Act.HAND_OVER: Row(Role.OWNER),
}

#: Who speaks at least, by the policy `calm`.
SPEAKERS: Mapping[Calm, Role] = {
    Calm.OFF: Role.GUEST,
    Calm.SLOW: Role.GUEST,
    Calm.MEMBERS: Role.MEMBER,
    Calm.CLOSED: Role.MODERATOR,
}


@cache
def levels(terms: Terms) -> Sequence[tuple[int, int, int, int]]:
    """The least roles under policies: by `Act.index`, then by `RoomKind.column`, 0 for no room."""
    changed = dict(MATRIX)
    reader = ANYBODY if terms.public_reading else Role.GUEST
    for act in (Act.SEE, Act.FOLLOW):
        changed[act] = attrs.evolve(MATRIX[act], server=reader, public=reader)
    changed[Act.SPEAK] = _everywhere(SPEAKERS[terms.calm])
    changed[Act.MAKE_ROOM] = attrs.evolve(MATRIX[Act.MAKE_ROOM], server=terms.rooms)
    return tuple(changed[act].columns for act in Act)
