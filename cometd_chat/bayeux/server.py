"""The Bayeux server: messages in, replies out.

What it is: what transports, sources and the server's own code talk to: the sessions, and the way
of a request through them.

What it may know: everything in this package. No I/O, no reactor: time and the sweep come in.

Invariant: whatever comes in, `process` does not fail; each message has one reply, and one that
goes wrong takes no other with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from cometd_chat.bayeux.binding import Binding
from cometd_chat.bayeux.broadcast import Broadcast, Channel
from cometd_chat.bayeux.channels import intersects, is_meta, matches, parse_channel, parse_pattern
from cometd_chat.bayeux.connects import EVENTSOURCE, Connects
from cometd_chat.bayeux.dispatch import Dispatcher, Request
from cometd_chat.bayeux.exchange import Arrival, Exchange, Line, Peer
from cometd_chat.bayeux.extensions import CONNECT, Chain, Extension
from cometd_chat.bayeux.messages import Bounds, Message, decode_all, encode
from cometd_chat.bayeux.options import BayeuxOptions
from cometd_chat.bayeux.policy import Identity, Policy
from cometd_chat.bayeux.queue import EventMessage, Kept
from cometd_chat.bayeux.session import PATTERN, SESSION, Session
from cometd_chat.bayeux.sources import ChannelSource, Places
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import NotFound, ShuttingDown
from cometd_chat.transports.budget import MemoryBudget

#: Answers what is published to a service channel; raises a `ChatError` or a `Fault` to refuse it.
Service = Callable[[Session, Message], "Awaitable[None] | None"]

#: Seconds that clients have to say what has arrived when the server stops: as long as a socket has
#: to answer our close.
PART_WITHIN = 2.0

#: Seconds after which a client whose session had to go shakes hands anew.
RENEW_AFTER = 5.0

#: Random bytes in a clientId, which is shown in twice as many hexadecimal digits.
_ID_BYTES = 20


@attrs.define(eq=False)
class Listeners:
    """Who wants to hear what happens. One that raises is logged, and the others hear.

    :param session_removed: with whether her time had run out.
    :param subscribed: with the pattern.
    :param unsubscribed: with the pattern; at the end of a session too.
    :param channel_added: somebody is the first to subscribe to a pattern.
    :param channel_removed: nobody subscribes to a pattern any more.
    :param dropped: a session's queue was full; with how many messages it has lost so far.
    """

    session_added: list[Callable[[Session], object]] = attrs.field(factory=list)
    session_removed: list[Callable[[Session, bool], object]] = attrs.field(factory=list)
    subscribed: list[Callable[[Session, str], object]] = attrs.field(factory=list)
    unsubscribed: list[Callable[[Session, str], object]] = attrs.field(factory=list)
    channel_added: list[Callable[[str], object]] = attrs.field(factory=list)
    channel_removed: list[Callable[[str], object]] = attrs.field(factory=list)
    dropped: list[Callable[[Session, int], object]] = attrs.field(factory=list)


@attrs.define(eq=False)
class _Parting:
    """The sessions of a server that stops of which something may become known. An item of the
    reaper.

    :param part: lets one of them go.
    """

    part: Callable[[Session], None]
    sessions: dict[Session, None] = attrs.field(factory=dict)
    over: Deferred[None] = attrs.field(factory=Deferred)
    due_bucket: int = 0

    def on_due(self, now: float) -> float | None:
        """They have had the time."""
        for session in list(self.sessions):
            self.part(session)
        return None


class BayeuxServer:
    """One Bayeux server.

    :param reaper: its sweep ends connects that are due and sessions that are gone.
    :param call_soon: calls something after the reactor's current turn.
    :param random_bytes: so many unguessable bytes.
    :param policy: who may do what.
    :param free: trees of channels that are free for publishing, such as ``/app/**``.
    :param sources: who keeps other trees.
    :param log: the one that they keep them in, for the server's own code; None when there is none.
    :param memory: where what is kept for sessions counts; by default a budget of its own.
    :raises InvalidChannel: a free tree is no pattern.
    """

    _log = Logger()

    def __init__(
        self,
        reaper: Reaper,
        call_soon: Callable[[Callable[[], None]], object],
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
    ) -> None:
        self.log = log
        self.options = BayeuxOptions() if options is None else options
        self.bounds = Bounds() if bounds is None else bounds
        self.memory = MemoryBudget() if memory is None else memory
        self.policy = policy
        self.extensions: list[Extension] = list(extensions)
        self.listeners = Listeners()
        #: See `BayeuxOptions.relayed_ext`; an embedder may add to it.
        self.relayed_ext = set(self.options.relayed_ext)
        self.sessions: dict[str, Session] = {}
        self.stopping = False
        self.chain = Chain()
        self.broadcast = Broadcast(self.options, self.extensions, self.chain)
        self.connects = Connects(reaper, call_soon, self.options, self, self.confirm)
        self._reaper = reaper
        self._call_soon = call_soon
        self._random_bytes = random_bytes
        self._free = [parse_pattern(each) for each in free]
        self._sources = list(sources)
        self._services: dict[str, Service] = {}
        self._dispatcher = Dispatcher(self)
        self._dropped: dict[Session, int] = {}
        self._parting = _Parting(self._part)

    # -- for transports

    def decode(self, *bodies: bytes | str) -> list[Message]:
        """The messages of a payload, which may come in several parts; see `messages.decode_all`,
        also for what it raises."""
        return decode_all(bodies, self.bounds)

    def new_browser_id(self) -> str:
        """A value for the BAYEUX_BROWSER cookie of a browser that has none."""
        return self._random_bytes(_ID_BYTES).hex()

    def process(self, messages: list[Message], exchange: Exchange) -> Deferred[None]:
        """Handle a payload. Never fails.

        :param messages: of `decode`; they belong to the server from here on.
        :returns: fires once everything has its reply, or is a connect that is held: transports
            with a line read on when few enough of theirs are pending.
        """
        handling = Deferred.fromCoroutine(self._process(messages, exchange))
        handling.addErrback(lambda failure: self._log.failure("a request failed", failure))
        return handling

    async def _process(self, messages: list[Message], exchange: Exchange) -> None:
        request = Request(exchange, self._session_of(messages, exchange), len(messages))
        await self._dispatcher.process(messages, request)

    def _session_of(self, messages: Sequence[Message], exchange: Exchange) -> Session | None:
        """Whose request it is: that of its first message that has one which the peer may use. The
        messages of others are refused."""
        for client_id in dict.fromkeys(_client_id(each) for each in messages):
            session = self.session(client_id)
            if session is not None and self._admits(session, exchange.peer, exchange.line):
                session.heard_at = self._reaper.seconds()
                return session
        return None

    def _admits(self, session: Session, peer: Peer, line: Line | None) -> bool:
        admitted = session.binding.admits(peer, None if line is None else line.opened_at)
        if not admitted:
            self._log.debug("a session was asked for without its cookie or token")
        return admitted

    def lost(self, exchange: Exchange) -> None:
        """The peer of an exchange without a line is gone, or its reply could not be written.
        What went with it is sent again. May be told at any time, more than once."""
        self.connects.lost(exchange)

    def line_lost(self, line: Line) -> None:
        """A line is gone. What may not have arrived is sent again, by whatever comes next."""
        session = self.connects.line_session(line)
        self.connects.line_lost(line)
        if session is not None and session in self._parting.sessions:
            self._part(session)

    def line_writable(self, line: Line) -> None:
        """A line takes more again."""
        session = self.connects.line_session(line)
        if session is not None:
            self.connects.schedule_flush(session)

    def line_confirmed(self, line: Line, number: int) -> None:
        """The peer of a line is known to have what was pushed up to a number: its TCP said so, or
        it answered a ping that was sent after that."""
        session = self.connects.line_session(line)
        if session is not None:
            self.confirm(session, number)

    def open_stream(self, client_id: str, peer: Peer, line: Line, last_number: int | None) -> None:
        """An EventSource was opened for a session: its messages go there once a connect says that
        its client uses it.

        :param last_number: of its ``Last-Event-ID``: the client has everything up to there.
        :raises NotFound: there is no such session, or it is not the peer's.
        """
        session = self.session(client_id)
        if session is None or not self._admits(session, peer, line):
            raise NotFound("There is no such session: handshake again.")
        session.hears_line = session.transport == EVENTSOURCE
        self.connects.bind(session, line)
        session.heard_at = self._reaper.seconds()
        if last_number is not None:
            self.confirm(session, last_number)

    # -- for the server's own code

    def seconds(self) -> float:
        """The time by the reaper's clock."""
        return self._reaper.seconds()

    def session(self, client_id: object) -> Session | None:
        """The session with a clientId."""
        return self.sessions.get(client_id) if isinstance(client_id, str) else None

    def channel(self, name: str) -> Channel:
        """Settle something for a channel or a pattern: laziness, listeners; see `Channel`."""
        return self.broadcast.channel(name)

    def publish(
        self,
        channel: str,
        data: object,
        *,
        lazy: bool = False,
        ext: Mapping[str, Any] | None = None,
    ) -> bool:
        """Publish in the server's name.

        :param ext: the message's, for extensions of the clients.
        :returns: False when a listener or an extension stopped it.
        :raises InvalidChannel: that is no channel.
        """
        return self.broadcast.publish(parse_channel(channel), data, None, lazy, ext or {})

    def event(
        self, channel: str, data: object, kept: Kept | None = None, **fields: Any
    ) -> EventMessage | None:
        """Make an event message, for `Session.put` and `Session.feed`; once for all whom it is for.

        :param kept: its place, when it is kept: for clients that replay.
        :returns: None when an extension drops it.
        """
        return self.broadcast.event(channel, data, kept, **fields)

    def add_service(self, channel: str, service: Service) -> None:
        """Let a function answer what is published to a channel below ``/service``, or to all that
        match a pattern."""
        self._services[parse_pattern(channel)] = service

    def service(self, channel: str) -> Service | None:
        """Who answers a service channel."""
        found = (each for pattern, each in self._services.items() if matches(pattern, channel))
        return next(found, None)

    def stop(self) -> Deferred[None]:
        """Take no more sessions, answer all held connects and close all lines: clients come back,
        and handshake with whoever is there then.

        :returns: fires once it is known of all clients what they have, or has not become known in
            time: a socket answers its close, a poller sends the next connect.
        """
        self.stopping = True
        for session in list(self.sessions.values()):
            if session.held is not None:
                self.connects.answer(session.held)
            if session.queue.unconfirmed:
                self._parting.sessions[session] = None
            else:
                self._remove(session, timed_out=False, tell=False)
        self._reaper.schedule(self._parting, PART_WITHIN)
        for session in list(self._parting.sessions):
            self.connects.unbind(session)
        self._look_who_parts()
        return self._parting.over

    def part(self, messages: list[Message], exchange: Exchange) -> None:
        """A request without a line has come while the server stops. There is no reply; but a
        connect says what its client has."""
        session = self._session_of(messages, exchange)
        if session is None or session not in self._parting.sessions:
            return
        for message in messages:
            if message.get("channel") == CONNECT and message.get("clientId") == session.id:
                self._guarded("an extension failed", self.pass_incoming, message, session)
                self.connects.admit(session, message, exchange, alone=len(messages) == 1)
        self._part(session)

    def _part(self, session: Session) -> None:
        """Nothing more will be known of a session."""
        self._parting.sessions.pop(session, None)
        self._remove(session, timed_out=False, tell=False)
        self._look_who_parts()

    def _look_who_parts(self) -> None:
        parting = self._parting
        if not parting.sessions and not parting.over.called:
            self._reaper.cancel(parting)
            parting.over.callback(None)

    # -- channels

    def sources_of(self, pattern: str) -> list[ChannelSource]:
        """The sources that have channels in a pattern."""
        return [each for each in self._sources if intersects(each.tree, pattern)]

    def is_free(self, pattern: str) -> bool:
        """Whether a channel, or some channel of a pattern, is free."""
        return any(intersects(each, pattern) for each in self._free) and not is_meta(pattern)

    def added(self, session: Session, pattern: str) -> None:
        """A session subscribed."""
        new = pattern not in self.broadcast.subscriptions
        session.subscriptions[pattern] = None
        self._count_pattern(session, PATTERN + len(pattern))
        self.broadcast.subscriptions.add(pattern, session)
        if new:
            self._tell(self.listeners.channel_added, pattern)
        self._tell(self.listeners.subscribed, session, pattern)

    def unsubscribe(self, session: Session, pattern: str) -> None:
        """A session does not want a pattern any more; nothing happens when it never did."""
        if pattern not in session.subscriptions:
            return
        del session.subscriptions[pattern]
        self._count_pattern(session, -PATTERN - len(pattern))
        self.broadcast.subscriptions.remove(pattern, session)
        for source in self.sources_of(pattern):
            self._guarded("closing a source failed", source.close, session, pattern)
        self._tell(self.listeners.unsubscribed, session, pattern)
        if pattern not in self.broadcast.subscriptions:
            self._tell(self.listeners.channel_removed, pattern)

    def _count_pattern(self, session: Session, change: int) -> None:
        session.patterns_size += change
        self.account(change)

    # -- sessions

    def new_session(self, identity: Identity, peer: Peer) -> Session:
        """Somebody shook hands.

        :raises ShuttingDown: the server stops, or has as many sessions as it may.
        """
        if self.stopping:
            raise ShuttingDown("The server is stopping: try again in a moment.", retry_after=1)
        if len(self.sessions) >= self.options.max_sessions:
            raise ShuttingDown("There are too many sessions: try again later.", retry_after=10)
        now = self._reaper.seconds()
        id = self._random_bytes(_ID_BYTES).hex()
        session = Session(id, identity, Binding(peer, now), self, self.options, now)
        session.replays = peer.replays
        self.sessions[id] = session
        self.memory.add(session)
        self.account(SESSION)
        # From birth: one who never connects must not stay.
        self._reaper.schedule(session, session.idle_limit)
        self._tell(self.listeners.session_added, session)
        return session

    def disconnect(self, session: Session) -> None:
        """End a session on purpose; see `SessionHost.disconnect`."""
        if session.ended:
            return
        told = EventMessage("/meta/disconnect", {"channel": "/meta/disconnect", "successful": True})
        session.put(told)
        self.leave(session)

    def renew(self, session: Session) -> None:
        """See `SessionHost.renew`."""
        self._remove(session, timed_out=True, tell=True)

    def leave(self, session: Session) -> None:
        """A session has ended, and its client is told."""
        self._remove(session, timed_out=False, tell=True)

    def expired(self, session: Session, now: float) -> float | None:
        """See `SessionHost.expired`."""
        answered = session.answered
        remaining = session.heard_at + session.idle_limit - now
        if session.held is not None:
            return session.idle_limit
        if remaining > 0:
            return remaining
        if answered is not None and answered.exchange.delivery.arrival() is Arrival.UNDER_WAY:
            # A large reply on a slow link: she can't have asked for the next one yet.
            return self.options.max_interval
        self.connects.counts.expired += 1
        self._remove(session, timed_out=True, tell=False)
        return None

    def _remove(self, session: Session, *, timed_out: bool, tell: bool) -> None:
        if session.ended:
            return
        session.ended = True
        del self.sessions[session.id]
        self._reaper.cancel(session)
        self.connects.forget(session, wait=tell)
        for pattern in list(session.subscriptions):
            self.unsubscribe(session, pattern)
        session.queue.retire()
        self.memory.remove(session, SESSION, "bayeux")
        self._dropped.pop(session, None)
        self._tell(self.listeners.session_removed, session, timed_out)

    # -- SessionHost

    def enqueued(self, session: Session, *, lazy: float | None) -> None:
        """See `SessionHost.enqueued`."""
        if session.queue.dropped > self._dropped.get(session, 0):
            self._dropped[session] = session.queue.dropped
            self._tell(self.listeners.dropped, session, session.queue.dropped)
        if lazy is None:
            self.connects.schedule_flush(session)
        else:
            self.connects.wait_lazily(session, lazy)

    def confirm(self, session: Session, number: int) -> None:
        """See `SessionHost.confirm`."""
        for (source, channel), position in session.queue.confirm(number).items():
            self._guarded("confirming failed", source.confirmed, session, channel, position)
        if session.paused_sources and session.queue.has_room:
            paused_sources, session.paused_sources = session.paused_sources, {}
            for source in paused_sources:
                self._guarded("resuming a source failed", source.resume, session)

    def account(self, change: int) -> None:
        """See `SessionHost.account`."""
        self.memory.account(change, "bayeux")

    def shed(self, session: Session) -> None:
        """See `SessionHost.shed`."""
        # She may be in the middle of a broadcast, or of a request of hers.
        self._call_soon(partial(session.renew, RENEW_AFTER))

    def refine(self, session: Session, event: EventMessage) -> bytes | None:
        """See `SessionHost.refine`."""
        passed = self.chain.outgoing(session.extensions, dict(event.fields), session, None)
        return None if passed is None else encode(passed)

    # -- what passes the extensions

    def pass_incoming(self, message: Message, session: Session | None) -> Message | None:
        """What the server's extensions and then the session's make of a message."""
        passed = self.chain.incoming(self.extensions, message, session)
        if passed is None or session is None:
            return passed
        return self.chain.incoming(session.extensions, passed, session)

    def finish_reply(
        self, reply: Message, session: Session | None, request: Message
    ) -> bytes | None:
        """See `Outgoing.finish_reply`."""
        passed: Message | None = reply
        if session is not None:
            passed = self.chain.outgoing(session.extensions, reply, session, request)
        if passed is not None:
            passed = self.chain.outgoing(self.extensions, passed, session, request)
        if passed is None:
            return None
        try:
            return encode(passed)
        except (TypeError, ValueError):
            self._log.failure("an extension made a reply that is no JSON")
            return encode(reply)

    # -- one failing listener stops nobody

    def _tell(self, listeners: Sequence[Callable[..., object]], *arguments: object) -> None:
        for listener in list(listeners):
            self._guarded("a listener failed", listener, *arguments)

    def _guarded(self, text: str, call: Callable[..., object], *arguments: object) -> None:
        try:
            call(*arguments)
        except Exception:
            self._log.failure(text)


def _client_id(message: Message) -> str | None:
    client_id = message.get("clientId")
    return client_id if isinstance(client_id, str) else None
