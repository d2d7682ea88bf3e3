"""Streams that others have opened in the same way, remembered.

What it is: what the target and the header lines of a request for a stream were found to ask for,
but for who asks and from where on; for the next client that sends the same.

What it may know: requests, the chat. Not how a stream is checked, nor how it is held.

Invariant: whatever may have changed since, and whatever follows from a cookie, a token, a cursor or
an address, is looked at each time; all else is the same bytes, for which the checks would end as
they did.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.resume import ResumePoint, resume_now
from cometd_chat.chat.rights import Act
from cometd_chat.chat.rooms import Room
from cometd_chat.errors import InvalidCursor
from cometd_chat.transports.framings import Framing
from cometd_chat.transports.request import HttpRequest
from cometd_chat.transports.table import Hold, Origin, Transport
from cometd_chat.web.auth import Auth
from cometd_chat.web.cached_polls import around_cursor
from cometd_chat.web.opening import MOST_BY_COOKIE, MOST_BY_TOKEN, ReadRequest
from cometd_chat.web.parameters import LAST_EVENT_ID, Parameters
from cometd_chat.web.peers import Peers

#: So many targets are remembered with the same header lines.
MOST_TARGETS = 8

#: One that is longer isn't, whatever its cursor.
MAX_TARGET = 512


@attrs.frozen
class KnownOpening:
    """A stream that passed all checks.

    :param generation: of the rights by which it did.
    """

    row: Transport
    framing: Framing
    rooms: Sequence[Room]
    wait: float
    client: str | None
    generation: int


class KnownOpenings:
    """Remembers streams by their header lines and targets."""

    def __init__(self, chat: Chat, auth: Auth, peers: Peers) -> None:
        self._chat = chat
        self._auth = auth
        self._peers = peers

    def remember(
        self,
        request: HttpRequest,
        row: Transport,
        framing: Framing,
        asked: ReadRequest,
        fields: Parameters,
    ) -> None:
        """Keep what a stream was found to ask for."""
        is_plain = row.hold is not Hold.POLL and row.origin is Origin.ANY and not row.speaks
        if not is_plain or request.method != b"GET" or self._chat.rights.has_rule:
            return
        told = any(fields.all(name) for name in ("token", "name", *LAST_EVENT_ID))
        parts = _target(request)
        if told or asked.backlog or parts is None:
            return
        known = request.common.setdefault(KnownOpening, {})
        if isinstance(known, dict) and (len(known) < MOST_TARGETS or parts[0] in known):
            known[parts[0]] = KnownOpening(
                row, framing, asked.grant.rooms, asked.wait, asked.client, asked.grant.generation
            )

    def find(
        self, request: HttpRequest, row: Transport
    ) -> tuple[Framing, ReadRequest, ResumePoint, bool] | None:
        """What a request asks for that equals one that was remembered, where it goes on, and
        whether it says where; None for any other, and where there is anything to be done for it or
        to be refused."""
        known = request.common.get(KnownOpening)
        if not isinstance(known, dict) or request.method != b"GET":
            return None
        parts = _target(request)
        opening = None if parts is None else known.get(parts[0])
        rights = self._chat.rights
        if parts is None or not isinstance(opening, KnownOpening) or opening.row is not row:
            return None
        if opening.generation != rights.generation:
            del known[parts[0]]
            return None
        who = self._auth.known_session(request, cookie=row.by_cookie)
        if who is None:
            return None
        session, by_cookie = who
        for room in opening.rooms:
            if rights.may(session, Act.FOLLOW, room) is not None:
                return None
        point = self._point(request, row, parts[1])
        if point is None:
            return None
        asked = ReadRequest(
            grant=rights.grant(session, opening.rooms),
            address=self._peers.address(request),
            backlog=0,
            wait=opening.wait,
            client=opening.client,
            most=MOST_BY_COOKIE if by_cookie else MOST_BY_TOKEN,
        )
        return opening.framing, asked, point[0], point[1]

    def _point(
        self, request: HttpRequest, row: Transport, cursor: str | None
    ) -> tuple[ResumePoint, bool] | None:
        """Where it goes on, and whether it says so; None when the log has to be asked."""
        told = (request.getHeader("last-event-id") if row.by_header else None) or cursor
        if told is None:
            return ResumePoint(self._chat.feed.last_id), False
        try:
            point = resume_now(self._chat.feed, told)
        except InvalidCursor:
            return None
        return None if point is None else (point, True)


def _target(request: HttpRequest) -> tuple[tuple[bytes, bytes], str | None] | None:
    """What stands before and after the cursor in the target, and the cursor."""
    target = request.uri
    if b"cursor=" in target:
        parts = around_cursor(target)
        return parts if parts and len(parts[0][0]) + len(parts[0][1]) <= MAX_TARGET else None
    return ((target, b""), None) if len(target) <= MAX_TARGET else None
