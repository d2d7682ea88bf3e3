"""What no node may miss: records of the log that are told to the house, and not to people.

What it is: `KINDS`, the table of control records, each a frozen value, and the way of them to a
`Draft` and from a `Record`. The directory appends one in the transaction of the change that it
tells of, so that a change is made and told, or neither; `Feed` hands them on.

What it may know: ids, names, JSON. Not what somebody does about it.

Invariant: what this release can't read is not told, and stops nothing: another release may know
more kinds and more fields.
"""

from __future__ import annotations

from typing import Any

import attrs
import msgspec
from twisted.logger import Logger

from cometd_chat.events.record import Draft, Record

_log = Logger()

#: The context of all control records. No room's context has this path, and nobody is held in it.
CONTROL = "/control"


@attrs.frozen
class SessionEnded:
    """A session is over: it was logged out, or has expired.

    :param session: its id, also for all below.
    """

    session: str


@attrs.frozen
class SessionRenamed:
    """A session has a name from now: another one, or its own again.

    :param name_key: see `cometd_chat.log.directory.SessionRow`, and for ``name_looks``.
    :param known_by: the beginning of the hash of its new token, in hex; None for the one it had.
    """

    session: str
    name: str
    name_key: str
    name_looks: str
    known_by: str | None = None


@attrs.frozen
class NameFreed:
    """A session's name is free for others."""

    session: str


@attrs.frozen
class MemberMade:
    """A guest has an account from now: their session is a member's, who is the same person.

    :param identity: of the member, also for all below.
    :param name_key: see `cometd_chat.log.directory.SessionRow`, and for ``name_looks``.
    :param role: its word.
    :param known_before: the beginning of the hash of the session's token, in hex.
    :param known_by: the same of its new token.
    """

    session: str
    identity: str
    name: str
    name_key: str
    name_looks: str
    role: str
    known_before: str
    known_by: str


@attrs.frozen
class RoleChanged:
    """A member has another role; see `MemberMade`."""

    identity: str
    role: str


@attrs.frozen
class MemberRenamed:
    """A member is called otherwise, by all their sessions.

    :param session: by which they asked for it.
    :param known_by: of its new token; None for the one it had.
    """

    identity: str
    name: str
    name_key: str
    name_looks: str
    session: str
    known_by: str | None = None


@attrs.frozen
class MemberRemoved:
    """An account was deleted. Its sessions have ended, which was told before."""

    identity: str


@attrs.frozen
class TokenRenewed:
    """A session is known by another token.

    :param identity: of the member whose it is.
    :param known_by: see `SessionRenamed`.
    """

    session: str
    identity: str
    known_by: str


@attrs.frozen
class RoomMade:
    """There is a room from now; see `cometd_chat.log.directory.RoomRow`.

    :param by: the identity that made it.
    :param at: milliseconds since 1970-01-01T00:00Z.
    :param members: who belongs to it from the start, by their identities, and as what.
    """

    name: str
    topic: str
    by: str
    at: int
    kind: str = "public"
    members: dict[str, str] = attrs.field(factory=dict)


@attrs.frozen
class RoomRemoved:
    """A room is gone.

    :param for_good: it was removed, with what was said there; else nobody ever spoke in it.
    """

    name: str
    for_good: bool = False


@attrs.frozen
class NodeJoined:
    """A node has come; see `cometd_chat.log.nodes.NodeRow`."""

    node: int
    name: str
    peer: str
    version: str


@attrs.frozen
class NodeGone:
    """A node has stopped, or its lease was over: what it held is nobody's.

    :param node: its number, which no other node ever has.
    :param stopped: it said so itself: whoever was there comes to another node in a moment.
    """

    node: int
    stopped: bool = False


@attrs.frozen
class Sanctioned:
    """Somebody, or a network, is under a sanction from now; see
    `cometd_chat.chat.sanctions.Sanction`.

    :param network: its hash in hex; empty for that of an identity.
    """

    id: str
    kind: str
    identity: str
    network: str
    who: str
    by: str
    by_name: str
    reason: str
    at: int
    room: str | None = None
    until: int | None = None


@attrs.frozen
class SanctionLifted:
    """A sanction was lifted before its end."""

    id: str


@attrs.frozen
class Ignoring:
    """Somebody wants neither to hear nor to see somebody from now, or does again.

    :param identity: who.
    """

    identity: str
    whom: str
    on: bool


@attrs.frozen
class NoticeGiven:
    """An event for some alone, which is not kept anywhere else.

    :param event: its fields.
    :param to: identities; none for those who moderate.
    :param room: those who moderate it are told as well.
    """

    event: dict[str, Any]
    to: list[str]
    room: str | None = None


@attrs.frozen
class NetworksForgotten:
    """The key by which networks are hashed is another one from now: none is banned any more."""


@attrs.frozen
class PolicyChanged:
    """A policy is another one from now.

    :param value: as JSON.
    """

    name: str
    value: str


@attrs.frozen
class LetIn:
    """Somebody who waited is a guest from now; everybody, where no session is named."""

    session: str = ""


@attrs.frozen
class RoomChanged:
    """A room is another one from now; see `cometd_chat.log.directory.RoomRow`."""

    name: str
    topic: str
    kind: str
    slow: int
    locked: bool
    archived: bool


@attrs.frozen
class RoomMember:
    """Somebody belongs to a room from now, or does no longer.

    :param role: as what; None for no longer.
    :param by: who says so, and what they are called.
    """

    room: str
    identity: str
    role: str | None = None
    by: str = ""
    by_name: str = ""


Control = (
    SessionEnded
    | SessionRenamed
    | NameFreed
    | MemberMade
    | RoleChanged
    | MemberRenamed
    | MemberRemoved
    | TokenRenewed
    | RoomMade
    | RoomRemoved
    | NodeJoined
    | NodeGone
    | Sanctioned
    | SanctionLifted
    | NetworksForgotten
    | NoticeGiven
    | PolicyChanged
    | RoomChanged
    | RoomMember
    | LetIn
    | Ignoring
)

#: The types of control records.
KINDS: dict[str, type[Control]] = {
    "session-ended": SessionEnded,
    "session-renamed": SessionRenamed,
    "name-freed": NameFreed,
    "member-made": MemberMade,
    "role-changed": RoleChanged,
    "member-renamed": MemberRenamed,
    "member-removed": MemberRemoved,
    "token-renewed": TokenRenewed,
    "room-made": RoomMade,
    "room-removed": RoomRemoved,
    "node-joined": NodeJoined,
    "node-gone": NodeGone,
    "sanctioned": Sanctioned,
    "sanction-lifted": SanctionLifted,
    "networks-forgotten": NetworksForgotten,
    "notice-given": NoticeGiven,
    "policy-changed": PolicyChanged,
    "room-changed": RoomChanged,
    "room-member": RoomMember,
    "let-in": LetIn,
    "ignoring": Ignoring,
}

_TYPES = {kind: name for name, kind in KINDS.items()}


def control_draft(control: Control) -> Draft:
    """What is appended to tell it."""
    said: dict[str, Any] = {
        name: value
        for name, value in attrs.asdict(control, recurse=False).items()
        if value is not None
    }
    return Draft(CONTROL, _TYPES[type(control)], sender="", author="", data=said)


def read_control(record: Record) -> Control | None:
    """What a control record says; None when this release does not know that."""
    kind = KINDS.get(record.type)
    if kind is None:
        return None
    try:
        return msgspec.convert(dict(record.data), kind)
    except msgspec.ValidationError as error:
        _log.error(
            "control record {id} of type {type} can't be read: {reason}",
            id=record.id,
            type=record.type,
            reason=str(error),
        )
        return None
