"""The Bayeux server: messages in, replies out.

What it is: what transports, sources and the server's own code talk to: the clients, and the way
of a request through them.

What it may know: everything in this package. No I/O, no reactor: time and the sweep come in.

Invariant: whatever comes in, `process` does not fail; each message has one reply, and one that
goes wrong takes no other with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from cometd_chat.bayeux.broadcast import Broadcast, Channel
from cometd_chat.bayeux.channels import parse_channel
from cometd_chat.bayeux.client import BayeuxClient, Extension
from cometd_chat.bayeux.client_ids import ID_BYTES, make_id
from cometd_chat.bayeux.clients import Clients
from cometd_chat.bayeux.connects import Connects
from cometd_chat.bayeux.dispatch import Dispatcher, Request
from cometd_chat.bayeux.exchange import Exchange, Peer, PushConnection
from cometd_chat.bayeux.extensions import Chain
from cometd_chat.bayeux.listeners import ServerListeners
from cometd_chat.bayeux.messages import Bounds, Message, decode_all
from cometd_chat.bayeux.options import BayeuxOptions
from cometd_chat.bayeux.policy import Policy
from cometd_chat.bayeux.publishing import Publishing
from cometd_chat.bayeux.queue import EventMessage, Kept
from cometd_chat.bayeux.registry import ClientRegistry
from cometd_chat.bayeux.relay import ChannelRelay
from cometd_chat.bayeux.replies import Replies
from cometd_chat.bayeux.served_channels import ServedChannels, Service
from cometd_chat.bayeux.sources import ChannelSource, Places
from cometd_chat.bayeux.stopping import END_EVERY, Stopping
from cometd_chat.comet.reaper import Reaper
from cometd_chat.comet.slices import CallSoon, Slices
from cometd_chat.errors import NotFound
from cometd_chat.log.bus import Bus
from cometd_chat.transports.budget import MemoryBudget


class BayeuxServer:
    """One Bayeux server.

    :param reaper: its sweep ends connects that are due and clients that are gone.
    :param call_soon: calls something after the reactor's current turn.
    :param random_bytes: so many unguessable bytes.
    :param policy: who may do what.
    :param free: trees of channels that are free for publishing, such as ``/app/**``.
    :param sources: who keeps other trees.
    :param log: the one that they keep them in, for the server's own code; None when there is none.
    :param memory: where what is kept for clients counts; by default a budget of its own.
    :param node: the number of this node, as of now; None for that of a single process.
    :param bus: by which free channels reach the other nodes; None where there are none.
    :raises InvalidChannel: a free tree is no pattern.
    """

    _log = Logger()

    def __init__(
        self,
        reaper: Reaper,
        call_soon: CallSoon,
        random_bytes: Callable[[int], bytes],
        policy: Policy,
        *,
        free: Sequence[str] = (),
        sources: Sequence[ChannelSource] = (),
        extensions: Sequence[Extension] = (),
        options: BayeuxOptions | None = None,
        bounds: Bounds | None = None,
        log: Places | None = None,
        memory: MemoryBudget | None = None,
        node: Callable[[], int | None] = lambda: None,
        bus: Bus | None = None,
    ) -> None:
        self.log = log
        self.options = BayeuxOptions() if options is None else options
        self.bounds = Bounds() if bounds is None else bounds
        self.memory = MemoryBudget() if memory is None else memory
        self.extensions: list[Extension] = list(extensions)
        self.listeners = ServerListeners()
        #: See `BayeuxOptions.relayed_ext`; an embedder may add to it.
        self.relayed_ext = set(self.options.relayed_ext)
        self._reaper = reaper
        self._random_bytes = random_bytes
        self._node = node
        self.chain = Chain(self.extensions)
        self.broadcast = Broadcast(self.options, self.chain)
        self._relay = None if bus is None else ChannelRelay(self.broadcast, bus)
        self.channels = ServedChannels(self.broadcast, free, sources, self.listeners, self._account)
        self.connects = Connects(reaper, call_soon, self.options, self.chain, self.channels.confirm)
        self.registry: Clients = self._make_registry(call_soon)
        #: By which many clients are looked at.
        self.slices = Slices(reaper.seconds, call_soon)
        self._stopping = Stopping(reaper, self.slices, self.registry, self.connects, self.chain)
        self._replies = Replies(self.chain)
        self._publishing = Publishing(
            self.channels, policy, self._replies, self.relayed_ext, reaper.seconds
        )
        self._dispatcher = self._make_dispatcher(policy)

    def _make_registry(self, call_soon: CallSoon) -> ClientRegistry:
        return ClientRegistry(
            self._reaper,
            call_soon,
            lambda: make_id(self._random_bytes, self._node()),
            self.options,
            self.memory,
            self.listeners,
            self.chain,
            self.channels,
            self.connects,
        )

    def _make_dispatcher(self, policy: Policy) -> Dispatcher:
        return Dispatcher(
            self.registry,
            self.channels,
            self.connects,
            self._publishing,
            self._replies,
            policy,
            self.chain,
            self.options,
        )

    def _account(self, change: int) -> None:
        self.memory.account(change, "bayeux")

    @property
    def clients(self) -> Mapping[str, BayeuxClient]:
        """All clients by clientId."""
        return self.registry.by_id

    @property
    def policy(self) -> Policy:
        """Who may do what; another one counts from the next message."""
        return self._dispatcher.policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._dispatcher.policy = self._publishing.policy = policy

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self.registry.closed

    # -- for transports

    def decode(self, *bodies: bytes | str) -> list[Message]:
        """The messages of a payload, which may come in several parts; see `messages.decode_all`,
        also for what it raises."""
        return decode_all(bodies, self.bounds)

    def new_browser_id(self) -> str:
        """A value for the BAYEUX_BROWSER cookie of a browser that has none."""
        return self._random_bytes(ID_BYTES).hex()

    def process(self, messages: list[Message], exchange: Exchange) -> Deferred[None]:
        """Handle a payload. Never fails.

        :param messages: of `decode`; they belong to the server from here on.
        :returns: fires once everything has its reply, or is a connect that is held: transports
            that push read on when few enough of theirs are pending.
        """
        handling = Deferred.fromCoroutine(self._process(messages, exchange))
        handling.addErrback(lambda failure: self._log.failure("a request failed", failure))
        return handling

    async def _process(self, messages: list[Message], exchange: Exchange) -> None:
        request = Request(exchange, self.registry.of(messages, exchange), len(messages))
        await self._dispatcher.process(messages, request)

    def lost(self, exchange: Exchange) -> None:
        """The peer of an exchange with a request of its own is gone, or its reply could not be
        written. What went with it is sent again. May be told at any time, more than once."""
        self.connects.lost(exchange)

    def answer_now(self, exchange: Exchange) -> None:
        """Whoever brought an exchange can hold it no longer: answer the connect that is held by
        it, if one is."""
        self.connects.answer_now(exchange)

    def push_lost(self, push: PushConnection) -> None:
        """A push connection is gone. What may not have arrived is sent again, by whatever comes
        next."""
        client = self.connects.client_of(push)
        self.connects.push_lost(push)
        if client is not None:
            self._stopping.let_go(client)

    def push_writable(self, push: PushConnection) -> None:
        """A push connection takes more again."""
        client = self.connects.client_of(push)
        if client is not None:
            self.connects.flushes.schedule(client)

    def push_confirmed(self, push: PushConnection, number: int) -> None:
        """The peer of a push connection is known to have what was pushed up to a number: its TCP
        said so, or it answered a ping that was sent after that."""
        client = self.connects.client_of(push)
        if client is not None:
            self.channels.confirm(client, number)

    def open_stream(
        self, client_id: str, peer: Peer, push: PushConnection, last_number: int | None
    ) -> None:
        """An EventSource was opened for a client: its messages go there once a connect says that
        its client uses it.

        :param last_number: of its ``Last-Event-ID``: the client has everything up to there.
        :raises NotFound: there is no such client, or it is not the peer's.
        """
        client = self.client(client_id)
        if client is None or not self.registry.admits(client, peer, push):
            raise NotFound("There is no such session: handshake again.")
        self.connects.open_stream(client, push)
        client.heard_at = self._reaper.seconds()
        if last_number is not None:
            self.channels.confirm(client, last_number)

    # -- for the server's own code

    def seconds(self) -> float:
        """The time by the reaper's clock."""
        return self._reaper.seconds()

    def client(self, client_id: object) -> BayeuxClient | None:
        """The client with a clientId."""
        return self.registry.find(client_id)

    def channel(self, name: str) -> Channel:
        """Settle something for a channel or a pattern: laziness, listeners; see `Channel`."""
        return self.broadcast.channel(name)

    def publish(
        self,
        channel: str,
        data: object,
        *,
        lazy: bool = False,
        ext: Mapping[str, object] | None = None,
    ) -> bool:
        """Publish in the server's name.

        :param ext: the message's, for extensions of the clients.
        :returns: False when a listener or an extension stopped it.
        :raises InvalidChannel: that is no channel.
        """
        return self.broadcast.publish(parse_channel(channel), data, None, lazy, ext or {})

    def event(
        self, channel: str, data: object, kept: Kept | None = None, /, **fields: object
    ) -> EventMessage | None:
        """Make an event message, for `BayeuxClient.put` and `BayeuxClient.feed`; once for all whom
        it is for.

        :param kept: its place, when it is kept: for clients that replay.
        :returns: None when an extension drops it.
        """
        return self.broadcast.event(channel, data, kept, **fields)

    def ask_before_telling(self, still_hears: Callable[[BayeuxClient], bool] | None) -> None:
        """Ask this of each client before it is told anything; for as long as clients are being
        looked at of whom some may have to end, which takes a while where they are thousands.

        :param still_hears: may end the client; then it gives False. None to ask no more.
        """
        self.registry.still_hears = still_hears

    def renew_all(self) -> None:
        """End all clients, a slice at a time; their peers are told to shake hands anew, at once. As
        when this node is another one from now, and nobody would find them by their ids."""
        self.slices.walk(self._renewals(list(self.clients.values())), every=END_EVERY)

    def _renewals(self, clients: Sequence[BayeuxClient]) -> Iterator[None]:
        for client in clients:
            client.renew(0)
            yield

    def add_service(self, channel: str, service: Service) -> None:
        """Let a function answer what is published to a channel below ``/service``, or to all that
        match a pattern."""
        self.channels.add_service(channel, service)

    def stop(self) -> Deferred[None]:
        """Take no more clients, answer all held connects and close all push connections: peers
        come back, and handshake with whoever is there then.

        :returns: fires once it is known of all clients what they have, or has not become known in
            time: a socket answers its close, a poller sends the next connect.
        """
        return self._stopping.begin()

    def part(self, messages: list[Message], exchange: Exchange) -> None:
        """A request of its own has come while the server stops. There is no reply; but a connect
        says what its client has."""
        self._stopping.heard(messages, exchange)
