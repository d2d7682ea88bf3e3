"""Who a Bayeux client is in the chat, and what it may do.

What it is: a `Policy` over the chat's own sessions and limits, and what a session of the chat
holds while a Bayeux client speaks for it.

What it may know: the chat, Bayeux clients. Not transports beyond what a peer shows.

Invariant: behind every Bayeux client is one of the chat's, and it ends no later than that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

import attrs

from cometd_chat.bayeux.client import BayeuxClient
from cometd_chat.bayeux.exchange import Peer
from cometd_chat.bayeux.identity import Authentication, Identity, authentication
from cometd_chat.bayeux.messages import Message, encode, extension_fields
from cometd_chat.bayeux.server import BayeuxServer
from cometd_chat.chat.chat import Chat
from cometd_chat.chat.limits import HANDSHAKES, MESSAGES, TEXT
from cometd_chat.chat.rights import Act
from cometd_chat.chat.sessions import Session, require_active
from cometd_chat.errors import InvalidToken, NameTaken
from cometd_chat.events.event import Event
from cometd_chat.events.kinds import kind_of

#: The channel by which somebody is told what is for them alone.
NOTICES = "/service/chat/notices"

#: Names are made up so often before it is given up.
_TRIES = 5


@attrs.frozen(eq=False)
class Visitor:
    """Who speaks through a Bayeux client.

    :param person: their session of the chat.
    :param address: where from; empty where that isn't known.
    :param browser: its BAYEUX_BROWSER cookie, if it has one or was offered one.
    """

    person: Session
    address: str
    browser: str | None


@attrs.frozen
class ProvenBy:
    """By what a peer proves whose it is.

    :param by_cookie: in the chat's cookie, which browsers send whether it is good or not.
    """

    by_cookie: bool


def visitor_of(client: BayeuxClient) -> Visitor:
    """Who speaks through a client of our server."""
    visitor = client.identity.user
    assert isinstance(visitor, Visitor)
    return visitor


def tell(client: BayeuxClient, event: Event) -> None:
    """Tell a client something for it alone, by a channel that nobody subscribes to."""
    data = kind_of(event.type).in_bayeux(event)
    if data is not None:
        client.deliver(NOTICES, data)


@attrs.define(eq=False)
class _HeldByClient:
    """What a person holds while a Bayeux client speaks for them; see `HeldResource`.

    :param key: their browser and the name that they came by, when they are a guest of Bayeux's.
    """

    bayeux: BayeuxClient
    key: tuple[str, str] | None = None
    client: str | None = None
    most: int | None = None

    @property
    def address(self) -> str:
        """Where from; empty where that isn't known."""
        return visitor_of(self.bayeux).address

    def tell(self, event: Event) -> None:
        """Something for them alone."""
        tell(self.bayeux, event)

    def close(self, event: Event) -> None:
        """They were sent away."""
        self.bayeux.disconnect()

    def answer_now(self) -> None:
        """Its connects have their own way to be replaced."""

    def come_back(self, after: float) -> None:
        """It shakes hands anew."""
        self.bayeux.renew(after)


class ChatPolicy:
    """The chat's rules for Bayeux clients.

    :param random_bytes: so many unguessable bytes.
    :param when_ended: told of each Bayeux client that has ended, and whether it may come back.
    """

    def __init__(
        self,
        chat: Chat,
        random_bytes: Callable[[int], bytes],
        when_ended: Callable[[BayeuxClient, bool], None],
    ) -> None:
        self._chat = chat
        self._random_bytes = random_bytes
        self._when_ended = when_ended
        self._clients: dict[BayeuxClient, _HeldByClient] = {}
        # Guests by browser and name: a page that is loaded again is the same guest.
        self._guests: dict[tuple[str, str], Session] = {}
        chat.readers.sent_away.append(self._going)

    def watch(self, server: BayeuxServer) -> None:
        """Hold the chat's sessions for those of a server."""
        server.listeners.client_added.add(self._added)
        server.listeners.client_removed.add(
            lambda client, timed_out: self._removed(client, timed_out or server.stopping)
        )

    def _added(self, client: BayeuxClient) -> None:
        visitor = visitor_of(client)
        held = self._clients[client] = _HeldByClient(client)
        self._chat.readers.hold(visitor.person, held)
        if visitor.person.transient and visitor.browser is not None:
            held.key = (visitor.browser, visitor.person.name)
            self._guests[held.key] = visitor.person

    def _removed(self, client: BayeuxClient, returns: bool) -> None:
        visitor, held = visitor_of(client), self._clients.pop(client)
        self._when_ended(client, returns and not visitor.person.ended)
        self._chat.readers.let_go(visitor.person, held)
        if held.key is not None and not visitor.person.readers:
            self._guests.pop(held.key, None)

    def _going(self, within: float) -> Iterator[None]:
        """All shake hands anew, not all at once; where the log was put back, they find by that that
        their place in it is foreign."""
        clients = list(self._clients)
        for place, client in enumerate(clients):
            client.renew(round(within * place / len(clients), 2))
            yield

    @property
    def clients(self) -> list[BayeuxClient]:
        """All clients that are there."""
        return list(self._clients)

    def clients_of(self, identity: str) -> list[BayeuxClient]:
        """By which clients somebody speaks."""
        held = (each.readers for each in self._chat.sessions.of_identity(identity))
        found = chain.from_iterable(held)
        return [each.bayeux for each in found if isinstance(each, _HeldByClient)]

    def end_if_refused(self, client: BayeuxClient) -> bool:
        """End a client of somebody who may hold nothing any more; whether it was."""
        visitor = visitor_of(client)
        refusal = self._chat.rights.may(visitor.person, Act.ENTER, address=visitor.address)
        if refusal is not None:
            client.disconnect()
        return refusal is not None

    # -- Policy

    async def identify(self, message: Message, peer: Peer) -> Identity:
        """See `Policy.identify`: by token, by what the connection shows, or as a guest."""
        # That the daemon stops need not be asked: its server answers nobody any more.
        self._chat.limits.take(HANDSHAKES, address=peer.address)
        said = authentication(message)
        person, token = await self._known(said, peer)
        if person is None:
            person, token = await self._guest(said, peer)
        require_active(person)
        self._chat.rights.require(person, Act.ENTER, address=peer.address)
        shown: dict[str, object] = {"name": person.name, "role": person.role.word}
        if token is not None:
            shown["token"] = token
        visitor = Visitor(person, peer.address, peer.browser or peer.offered_browser)
        return Identity(person.id, person.name, visitor, {"authentication": shown})

    async def _known(self, said: Authentication, peer: Peer) -> tuple[Session | None, str | None]:
        """The person of a token, and another token that they have from now; None when there is
        none, or only a cookie that is no good."""
        token = peer.token if said.token is None else said.token
        by_cookie = said.token is None and peer.context == ProvenBy(by_cookie=True)
        if token is None:
            return None, None
        try:
            person = await self._chat.sessions.by_token(token)
        except InvalidToken:
            if by_cookie:
                return None, None
            raise
        self._chat.sessions.extend(person)
        if person.name_key is not None or said.name is None:
            return person, None
        # Their name was taken while they were away, and they say another one.
        if by_cookie:
            # Their browser can't be given the token that goes with it: they are somebody else here.
            return None, None
        return person, await self._chat.rename(person, said.name, peer.address)

    async def _guest(self, said: Authentication, peer: Peer) -> tuple[Session, str | None]:
        """A new guest, and their token; or the one of this browser with that name."""
        if said.name is not None:
            there = self._guests.get((peer.browser or "", said.name))
            if there is not None and not there.ended and there.name_key is not None:
                return there, None
            try:
                return await self._log_in(said.name, peer)
            except NameTaken:
                there = await self._guest_elsewhere(said.name, peer)
                if there is None:
                    raise
                return there, None
        for _ in range(_TRIES - 1):
            try:
                return await self._log_in(self._made_up(), peer)
            except NameTaken:
                continue
        return await self._log_in(self._made_up(), peer)

    async def _guest_elsewhere(self, name: str, peer: Peer) -> Session | None:
        """The guest of this browser that another process has: the page was loaded there."""
        if not peer.browser:
            return None
        return await self._chat.sessions.guest(name, peer.browser)

    def _made_up(self) -> str:
        return f"guest-{self._random_bytes(3).hex()}"

    async def _log_in(self, name: str, peer: Peer) -> tuple[Session, str]:
        browser = peer.browser or peer.offered_browser
        return await self._chat.log_in(name, peer.address, transient=True, browser=browser)

    async def may_create(self, client: BayeuxClient, channel: str) -> None:
        """See `Policy.may_create`: whoever may subscribe or publish, which is asked next."""

    async def may_subscribe(self, client: BayeuxClient, pattern: str) -> None:
        """See `Policy.may_subscribe`: whoever has a name, and may be here still."""
        self._require_here(visitor_of(client))

    async def may_publish(self, client: BayeuxClient, message: Message) -> None:
        """See `Policy.may_publish`: as much as one may say in rooms, where the chat counts it."""
        visitor = visitor_of(client)
        self._require_here(visitor)
        if not message["channel"].startswith("/chat/"):
            amounts = [(MESSAGES, 1), (TEXT, _size(message))]
            self._chat.limits.take_all(amounts, session=visitor.person.id, address=visitor.address)

    def _require_here(self, visitor: Visitor) -> None:
        require_active(visitor.person)
        # Perhaps nobody has looked at them yet since they lost the right.
        self._chat.rights.require(visitor.person, Act.ENTER, address=visitor.address)


def _size(message: Message) -> int:
    """How much somebody publishes, in bytes."""
    return len(encode([message["data"], extension_fields(message)]))
