"""A Bayeux server in memory, and clients that talk to it as stock ones do.

What it is: `World` is a server on a clock that stands still; `Client` speaks by one of three kinds
of transport; exchanges and push connections are plain lists of what was sent.

What it may know: the wire. A client never looks into the server.

Invariant: nothing happens but by a client, the clock or the server's own code.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from cometd_chat.bayeux.channels import matches
from cometd_chat.bayeux.client import BayeuxClient, Extension
from cometd_chat.bayeux.exchange import Arrival, Peer
from cometd_chat.bayeux.extensions import AckExtension
from cometd_chat.bayeux.messages import Message, array
from cometd_chat.bayeux.options import BayeuxOptions
from cometd_chat.bayeux.policy import OpenPolicy, Policy
from cometd_chat.bayeux.queue import EventMessage
from cometd_chat.bayeux.server import BayeuxServer
from cometd_chat.bayeux.sources import ChannelSource
from cometd_chat.comet.reaper import Reaper
from cometd_chat.log.bus import Bus
from cometd_chat.transports.budget import LIMIT, MemoryBudget

POLL, PUSH, STREAM = "long-polling", "websocket", "eventsource"
KINDS = (POLL, PUSH, STREAM)

OPTIONS = BayeuxOptions(timeout=30, max_interval=10)


@attrs.define(eq=False)
class FakePush:
    """A WebSocket or an EventSource: what was pushed, in the order in which it was sent."""

    opened_at: float = 0.0
    writable: bool = True
    frames: list[list[Message]] = attrs.field(factory=list)
    numbers: list[int] = attrs.field(factory=list)
    ended: bool = False

    def send(self, messages: Sequence[tuple[int, bytes]]) -> None:
        assert messages
        assert not self.ended
        self.numbers += [number for number, _ in messages]
        self.frames.append(msgspec.json.decode(array([json for _, json in messages])))

    def end(self) -> None:
        self.ended = True


@attrs.define(eq=False)
class FakeExchange:
    """One request, or one frame: its replies, and what is known of their arrival once there are
    any."""

    peer: Peer
    push: FakePush | None = None
    held_for: float | None = None
    replies: list[list[Message]] = attrs.field(factory=list)
    known: Arrival = Arrival.UNKNOWN

    def hold(self, seconds: float) -> None:
        assert self.held_for is None
        self.held_for = seconds

    def reply(self, messages: Sequence[bytes]) -> None:
        decoded = msgspec.json.decode(array(messages))
        if self.push is None:
            assert not self.replies, "a request has one reply"
        else:
            self.push.frames.append(decoded)
        self.replies.append(decoded)

    @property
    def delivery(self) -> FakeExchange:
        return self

    def arrival(self) -> Arrival:
        if self.known is Arrival.LOST:
            return Arrival.LOST
        return self.known if self.replies else Arrival.WAITING

    def lose(self) -> None:
        """The connection broke."""
        self.known = Arrival.LOST

    @property
    def messages(self) -> list[Message]:
        """All that came back."""
        return [message for reply in self.replies for message in reply]


class World:
    """A server and its clock."""

    def __init__(
        self,
        *,
        options: BayeuxOptions = OPTIONS,
        policy: Policy | None = None,
        free: Sequence[str] = ("/app/**",),
        sources: Sequence[ChannelSource] = (),
        extensions: Sequence[Extension] | None = None,
        limit: int = LIMIT,
        bus: Bus | None = None,
    ) -> None:
        self.clock = Clock()
        self.memory = MemoryBudget(limit)
        self.reaper = Reaper(self.clock)
        self._random = itertools.count(1)
        self.server = BayeuxServer(
            self.reaper,
            lambda call: self.clock.callLater(0, call),
            lambda count: next(self._random).to_bytes(count, "big"),
            OpenPolicy() if policy is None else policy,
            free=free,
            sources=sources,
            extensions=[AckExtension()] if extensions is None else extensions,
            options=options,
            memory=self.memory,
            bus=bus,
        )

    def turn(self) -> None:
        """Let the reactor's current turn end, and what follows from it happen."""
        for _ in range(5):
            self.clock.advance(0)

    def advance(self, seconds: float) -> None:
        """Let time go by, in steps in which whoever is due has her turn."""
        for _ in range(int(seconds * 2)):
            self.clock.advance(0.5)
        self.turn()

    def ask(
        self, *messages: Message, peer: Peer | None = None, push: FakePush | None = None
    ) -> FakeExchange:
        """Send one payload as it is."""
        exchange = FakeExchange(Peer(POLL) if peer is None else peer, push)
        self.server.process(self.server.decode(msgspec.json.encode(messages)), exchange)
        self.turn()
        return exchange

    def reply(self, *messages: Message, peer: Peer | None = None) -> Message:
        """The one reply to a payload."""
        (reply,) = self.ask(*messages, peer=peer).messages
        return reply

    def client(self, kind: str = POLL, **options: Any) -> Client:
        """A client that has shaken hands and had its first connect answered."""
        client = Client(self, kind, **options)
        client.handshake()
        client.connect()
        return client


class Client:
    """A client with ids, a transport, and a list of what it was delivered.

    :param ack: with the acknowledge extension.
    """

    def __init__(
        self,
        world: World,
        kind: str = POLL,
        *,
        ack: bool = False,
        name: str = "alice",
        peer: Peer | None = None,
    ) -> None:
        self.world = world
        self.kind = kind
        self.ack = ack
        self.name = name
        self.peer = Peer(POLL if kind == STREAM else kind) if peer is None else peer
        self.id = ""
        self.push: FakePush | None = FakePush() if kind == PUSH else None
        self.batch = 0
        self.held: FakeExchange | None = None
        self._ids = itertools.count(1)
        self._seen: dict[int, int] = {}
        self._delivered: list[Message] = []

    # -- requests

    def ask(self, *messages: Message) -> FakeExchange:
        """Send messages with ids and the clientId."""
        full = [{"id": str(next(self._ids)), "clientId": self.id, **each} for each in messages]
        return self.world.ask(*full, peer=self.peer, push=self.push)

    def said(self, channel: str, **fields: Any) -> Message:
        """Send one message that has one reply, and give that."""
        exchange = self.ask({"channel": channel, **fields})
        (reply,) = [each for each in exchange.messages if "successful" in each]
        return reply

    def handshake(self, **fields: Any) -> Message:
        ext = {"authentication": {"name": self.name}, **({"ack": True} if self.ack else {})}
        full = {"supportedConnectionTypes": [self.kind, POLL], "ext": ext, **fields}
        message = {"id": "h", "channel": "/meta/handshake", "version": "1.0", **full}
        exchange = self.world.ask(message, peer=self.peer, push=self.push)
        (reply,) = exchange.messages
        assert reply["successful"], reply
        self.id, self.batch = reply["clientId"], 0
        if self.kind == STREAM:
            self.open_stream()
        return reply

    def open_stream(self, last_number: int | None = None) -> None:
        """Open an EventSource; the requests go beside it."""
        self.stream = FakePush(opened_at=self.world.clock.seconds())
        self.world.server.open_stream(self.id, self.peer, self.stream, last_number)
        self.world.turn()

    def connect(self, **fields: Any) -> FakeExchange:
        """Connect, as the reply before has allowed to."""
        if self.held is not None:
            self.collect(self.held)
        ext = {"ext": {"ack": self.batch}} if self.ack else {}
        message = {"channel": "/meta/connect", "connectionType": self.kind, **ext, **fields}
        self.held = self.ask(message)
        return self.held

    def collect(self, exchange: FakeExchange) -> None:
        """The replies have come: remember what they say."""
        for message in exchange.messages:
            if message["channel"] == "/meta/connect" and self.ack:
                self.batch = message.get("ext", {}).get("ack", self.batch)
        if exchange.push is None:
            self._delivered += [each for each in exchange.messages if "data" in each]
        if exchange is self.held:
            self.held = None

    def subscribe(self, *patterns: str, **fields: Any) -> Message:
        said: object = patterns[0] if len(patterns) == 1 else list(patterns)
        return self.said("/meta/subscribe", subscription=said, **fields)

    def publish(self, channel: str, data: object = "hi", **fields: Any) -> Message:
        return self.said(channel, data=data, **fields)

    # -- what came

    @property
    def reply(self) -> Message:
        """The reply to the connect that was sent last."""
        assert self.held is not None
        (reply,) = [each for each in self.held.messages if each["channel"] == "/meta/connect"]
        return reply

    @property
    def answered(self) -> bool:
        """Whether that connect is not held."""
        assert self.held is not None
        return bool(self.held.replies)

    def deliveries(self) -> list[Message]:
        """All that was delivered so far and not given before; it connects until it is level."""
        for _ in range(20):
            if self.held is None or not self.answered or self.kind != POLL:
                break
            self.connect()
        if self.held is not None and self.answered:
            self.collect(self.held)
        found, self._delivered = self._delivered, []
        for push in self.pushes:
            frames = push.frames[self._seen.get(id(push), 0) :]
            self._seen[id(push)] = len(push.frames)
            found += [message for frame in frames for message in frame if "data" in message]
        return found

    @property
    def pushes(self) -> list[FakePush]:
        return [each for each in (self.push, getattr(self, "stream", None)) if each is not None]

    def data(self) -> list[Any]:
        """The data of all that was delivered and not given before."""
        return [each["data"] for each in self.deliveries()]


class Rooms:
    """A source with a log, as a room is: every channel's messages, durable once `commit` is called
    or at once.

    :param durable: at once.
    """

    tree = "/chat/*"

    def __init__(self, *, durable: bool = True) -> None:
        self.durable = durable
        self.log: list[tuple[str, EventMessage]] = []
        self.waiting: list[tuple[Deferred[None], str, object]] = []
        self.readers: dict[BayeuxClient, dict[str, int]] = {}
        self.level: dict[str, int] = {}
        self.keys: list[str | None] = []
        self.closed: list[str] = []
        self.opening: Deferred[None] | None = None
        self.server: BayeuxServer | None = None

    async def open(
        self, session: BayeuxClient, pattern: str, ext: Mapping[str, Any]
    ) -> Callable[[], None]:
        start = ext.get("cursor", self.level.get(session.identity.id, len(self.log)))
        if self.opening is not None:
            await self.opening

        def begin() -> None:
            self.readers.setdefault(session, {})[pattern] = start
            self.resume(session)

        return begin

    def close(self, session: BayeuxClient, pattern: str) -> None:
        self.closed.append(pattern)
        self.readers.get(session, {}).pop(pattern, None)

    async def publish(
        self, session: BayeuxClient, message: Message, resend_key: str | None
    ) -> None:
        self.keys.append(resend_key)
        done: Deferred[None] = Deferred()
        self.waiting.append((done, message["channel"], message["data"]))
        if self.durable:
            self.commit()
        await done

    def commit(self, count: int | None = None) -> None:
        """Make what waits durable: tell the readers, then who published."""
        batch, self.waiting = self.waiting[:count], self.waiting[len(self.waiting[:count]) :]
        for done, channel, data in batch:
            assert self.server is not None
            event = self.server.event(channel, data)
            assert event is not None
            self.log.append((channel, event))
            for session in list(self.readers):
                self.resume(session)
            done.callback(None)

    def confirmed(self, session: BayeuxClient, channel: str, position: int) -> None:
        self.level[session.identity.id] = position

    def resume(self, session: BayeuxClient) -> None:
        patterns = self.readers.get(session, {})
        while patterns:
            position = min(patterns.values())
            if position >= len(self.log):
                return
            channel, event = self.log[position]
            wanted = any(at <= position and matches(each, channel) for each, at in patterns.items())
            if wanted and not session.feed(event, self, position + 1):
                return
            for each, at in patterns.items():
                patterns[each] = max(at, position + 1)


def world_with_rooms(**options: Any) -> tuple[World, Rooms]:
    durable = options.pop("durable", True)
    rooms = Rooms(durable=durable)
    world = World(sources=[rooms], **options)
    rooms.server = world.server
    return world, rooms
