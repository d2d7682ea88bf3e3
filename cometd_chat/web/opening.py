"""What somebody asks a transport for, and whether they may.

What it is: from a request to a `ReadRequest`: its fields, the rooms, who asks, and how many of its
kind they may hold.

What it may know: requests, rows of the table, the chat. Not how anything is held.

Invariant: whatever is refused is refused here, before anything is held.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.resume import AFTER_GAP
from cometd_chat.chat.rights import Grant
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session
from cometd_chat.transports.request import HttpRequest
from cometd_chat.transports.table import Origin, Transport
from cometd_chat.transports.websocket import require_upgrade
from cometd_chat.web.auth import Auth
from cometd_chat.web.parameters import Parameters, last_event_id, refused
from cometd_chat.web.peers import Peers

MAX_ROOMS = 50
MAX_CLIENT = 64

#: Requests that a session may hold: a browser opens six connections to a host and needs some for
#: other things; a program has no such bound.
MOST_BY_COOKIE = 4
MOST_BY_TOKEN = 32


@attrs.frozen(kw_only=True)
class ReadRequest:
    """What somebody asked a transport for, but from where on.

    :param grant: what she was found to may: who asks, and which rooms.
    :param address: where from; empty where that isn't known.
    :param wait: seconds that a poll is held.
    :param client: which of her windows asks, if it says so.
    :param most: how many requests of this kind she may hold; None for any number.
    """

    grant: Grant[Room]
    address: str
    backlog: int
    wait: float
    client: str | None
    most: int | None


class Opening:
    """Checks requests for transports.

    :param poll_timeout: seconds that a poll is held by default, and at most.
    """

    def __init__(self, chat: Chat, auth: Auth, peers: Peers, poll_timeout: float) -> None:
        self._chat = chat
        self._auth = auth
        self._peers = peers
        self._poll_timeout = poll_timeout

    def check_sender(self, request: HttpRequest, row: Transport, token: str | None) -> None:
        """Refuse what is no request for this transport, and what a page of another site sends.

        :param token: the one of the query.
        :raises UpgradeRequired: it is no handshake where one is needed.
        :raises CrossSite: it comes from elsewhere; see `Origin`.
        """
        if row.upgrade:
            require_upgrade(request)
        if row.origin is Origin.OURS_BY_SCRIPT:
            self._auth.check_script(request, token)
        elif row.origin is Origin.OURS:
            self._auth.check_origin(request, token)
        elif row.origin is Origin.OURS_TO_WRITE and token is None:
            # With a token pages of `--allow-origin` may, and the front has refused all others.
            self._auth.check_csrf(request)

    async def who(self, request: HttpRequest, row: Transport, token: str | None) -> Session | None:
        """Who asks; None for somebody who only reads.

        :raises NoSession, InvalidToken, NameTaken: see `Auth.required` and `Auth.reader`.
        """
        if row.speaks:
            return await self._auth.required(request, query_token=token)
        return await self._auth.reader(request, query_token=token, cookie=row.by_cookie)

    async def rooms(self, names: Sequence[str], asker: Session | None) -> list[Room]:
        """Rooms by their names, each once.

        :raises RoomNotFound: one isn't there, or not for whoever asks.
        """
        found = [await self._chat.room(name, asker) for name in names]
        return list(dict.fromkeys(found))

    def read(
        self,
        request: HttpRequest,
        row: Transport,
        fields: Parameters,
        rooms: Sequence[Room],
        session: Session | None,
    ) -> ReadRequest:
        """All that is asked for.

        :raises InvalidRequest: a field has a mistake in it.
        """
        by_cookie = fields.optional("token") is None and self._auth.came_by_cookie(request)
        most = MOST_BY_COOKIE if by_cookie else MOST_BY_TOKEN
        wait = fields.seconds("wait", self._poll_timeout, self._poll_timeout)
        client = fields.optional("client")
        if client is not None and not 1 <= len(client) <= MAX_CLIENT:
            raise refused("client", f"1 to {MAX_CLIENT} characters are needed")
        return ReadRequest(
            grant=self._chat.rights.grant(session, rooms),
            address=self._peers.address(request),
            backlog=fields.number("backlog", 0, 0, AFTER_GAP) or 0,
            wait=wait,
            client=client,
            # What is answered at once is not held, even when the log takes a moment to be read: it
            # must not send a stream away.
            most=None if row.one_shot and wait == 0 else most,
        )


def room_names(fields: Parameters) -> list[str]:
    """The names of the rooms that a query asks for.

    :raises InvalidRequest: there are none, or too many.
    """
    names = [name for name in fields.text("rooms", "lobby").split(",") if name]
    if not 1 <= len(names) <= MAX_ROOMS:
        raise refused("rooms", f"1 to {MAX_ROOMS} names are needed, with commas between")
    return names


def cursor_of(request: HttpRequest, row: Transport, fields: Parameters) -> str | None:
    """Where somebody who asks a transport wants to go on."""
    cursor = fields.optional("cursor")
    if row.by_header:
        # What a browser sends by itself when it comes back; its URL is as old as the page.
        return last_event_id(request, fields) or cursor
    return cursor
