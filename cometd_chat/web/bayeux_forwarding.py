"""Bayeux clients of other nodes whose requests come to this one: the edge's side.

What it is: `Forwarding`, which finds whose client a message is of, and `OtherNode`, to which it is
handed over as it came; what comes back goes out by the request, socket or event stream that is
open here.

What it may know: exchanges and push connections of this node, frames, links. Not what a message
means: only whose it is.

Invariant: what is for a client of another node is answered from there, or, when that is gone or
out of reach for two seconds, by the server of this node, to which the client is unknown: so it is
told to shake hands. A request is answered once; nothing is done twice.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from cometd_chat.bayeux.client_ids import node_in, prefix_in, prefix_of
from cometd_chat.bayeux.exchange import Arrival, Exchange, Peer, PushConnection
from cometd_chat.bayeux.messages import BadMessage, Message
from cometd_chat.bayeux.server import BayeuxServer
from cometd_chat.bayeux.stopping import PART_WITHIN
from cometd_chat.comet.reaper import Reaper
from cometd_chat.transports.peer_links import FrameLinks
from cometd_chat.web import bayeux_frames as frames
from cometd_chat.web.bayeux_delivery import ACKNOWLEDGED_WITHIN, ResponseDelivery
from cometd_chat.web.bayeux_frames import Caller, encode
from cometd_chat.web.bayeux_owner import Owner, bodies_of

#: Seconds after which a reply has left, if its peer takes it.
LOOK_AFTER = 0.1


class EdgeExchange(Exchange, Protocol):
    """A request of its own that is open here."""

    def cut(self) -> None:
        """Drop its connection: its client comes again."""


class EdgePush(PushConnection, Protocol):
    """A WebSocket or an event stream that is open here."""

    @property
    def peer(self) -> Peer:
        """Who opened it."""

    @property
    def frames(self) -> int:
        """How many frames were sent by it."""

    @property
    def frames_read(self) -> int:
        """How many of those its peer is known to have read."""

    @property
    def arrived(self) -> int:
        """Number of the newest message that has arrived."""

    @property
    def closed(self) -> bool:
        """Whether it has ended in order."""

    def reply(self, messages: Sequence[bytes]) -> None:
        """Send replies."""

    def close(self, *, come_back: bool) -> None:
        """End it.

        :param come_back: whether its peer is to open another.
        """

    def no_session(self) -> None:
        """Tell its peer to shake hands, and end it."""

    def begin_anew(self) -> None:
        """Another client's messages go by it from now, with numbers of their own."""


@attrs.define(eq=False)
class _Asked:
    """Messages that were handed over, and are not answered.

    :param handled: fires when they are handled.
    :param is_held: whether the reply takes its time.
    """

    exchange: Exchange
    frame: frames.Ask
    handled: Deferred[None] = attrs.field(factory=Deferred)
    is_held: bool = False


@attrs.define(eq=False)
class _Line:
    """A push connection of this node that a client of another node uses.

    :param client_id: whose event stream it is; empty for a socket.
    :param is_open: whether the other node knows of it.
    :param frames: of the frames that it has sent by it, which of the socket's each was.
    :param read: how many of those were read.
    """

    id: int
    push: EdgePush
    node: OtherNode
    client_id: str = ""
    last: int | None = None
    is_open: bool = False
    takes_more: bool = True
    frames: deque[int] = attrs.field(factory=deque)
    read: int = 0


class _Reply:
    """A reply of another node that was written here, until nothing more can become known of it. An
    item of the reaper."""

    __slots__ = ("_delivery", "_id", "_looks", "_node", "_told", "due_bucket")

    def __init__(self, node: OtherNode, id: int, delivery: ResponseDelivery) -> None:
        self._node = node
        self._id = id
        self._delivery = delivery
        self._told = Arrival.UNKNOWN
        self._looks = 0
        self.due_bucket = 0

    def written(self) -> None:
        """Tell that it is, and watch. In this turn it can't have left."""
        if self._delivery.settled:
            self._tell(self._delivery.arrival(), is_final=True)
        else:
            self._tell(Arrival.UNKNOWN, is_final=False)
            self._delivery.watch(self.settled)
            self._node.reaper.schedule(self, LOOK_AFTER)

    def _tell(self, arrival: Arrival, *, is_final: bool) -> None:
        self._told = arrival
        self._node.send(frames.Arrived(self._id, arrival.value, is_final))

    def settled(self) -> None:
        """Nothing more will be known."""
        self._node.reaper.cancel(self)
        self._tell(self._delivery.arrival(), is_final=True)

    def on_due(self, now: float) -> float | None:
        """See whether it has left, and later whether its peer's TCP has it; see
        `Reaper.schedule`."""
        arrival = self._delivery.arrival()
        if arrival is not self._told:
            self._tell(arrival, is_final=False)
        self._looks += 1
        again = self._looks == 1 or arrival is Arrival.UNDER_WAY
        return ACKNOWLEDGED_WITHIN if again else None


class OtherNode:
    """Another node, to which messages for its clients go. An item of the reaper while it can't be
    reached and something waits for that.

    :param is_up: whether it can be reached.
    """

    def __init__(self, forwarding: Forwarding, number: int, *, is_up: bool) -> None:
        self.number = number
        self.is_up = is_up
        self.due_bucket = 0
        self.reaper = forwarding.reaper
        self._forwarding = forwarding
        self._server = forwarding.server
        self._links = forwarding.links
        self._until = 0.0 if is_up else self._links.wait_until(number)
        # What is not answered, and what is not handled, by the numbers that this node gives.
        self._asked: dict[int, _Asked] = {}
        self._ids: dict[Exchange, int] = {}
        self._handling: dict[int, Deferred[None]] = {}
        self._lines: dict[int, _Line] = {}

    @property
    def is_reachable(self) -> bool:
        """Whether it is there, or may be in a moment."""
        return self.is_up or self.reaper.seconds() < self._until

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits for it."""
        return not (self._asked or self._lines or self.is_up)

    @property
    def open(self) -> int:
        """How many requests and lines it has here."""
        return len(self._asked) + len(self._lines)

    def send(self, frame: frames.FromEdge) -> None:
        """Send a frame, if it can be reached; what matters is sent anew once it can."""
        if self.is_up:
            self._links.send(self.number, encode(frame))

    # -- requests: what an exchange needs of a server

    def process(
        self, bodies: Sequence[bytes | str], exchange: Exchange, *, counts: bool
    ) -> Deferred[None]:
        """Hand messages over; see `BayeuxServer.process`.

        :param bodies: as they came.
        :param counts: whether anybody wants to know when they are handled.
        """
        push, line = exchange.push, None
        if push is not None:
            line = self._line(cast(EdgePush, push))
        is_text = any(isinstance(each, str) for each in bodies)
        id = next(self._forwarding.ids)
        ask = frames.Ask(
            id,
            Caller.of(exchange.peer),
            [_bytes(each) for each in bodies],
            is_text,
            0 if line is None else line.id,
            counts,
        )
        asked = self._asked[id] = _Asked(exchange, ask)
        self._ids[exchange] = id
        self._forwarding.counts.forwarded += 1
        if self.is_up:
            self.send(ask)
        else:
            self._wait()
        return asked.handled

    def lost(self, exchange: Exchange) -> None:
        """See `BayeuxServer.lost`."""
        id = self._ids.pop(exchange, None)
        if id is not None:
            self._done(self._asked.pop(id))
            self.send(frames.Gone(id))

    def _done(self, asked: _Asked) -> None:
        if not asked.handled.called:
            asked.handled.callback(None)

    def _take(self, id: int) -> _Asked | None:
        asked = self._asked.pop(id, None)
        if asked is not None:
            self._ids.pop(asked.exchange, None)
        return asked

    def _give_back(self, asked: _Asked) -> None:
        """Answer what the other node does not: its session is gone."""
        self._forwarding.counts.given_back += 1
        messages = self._server.decode(*bodies_of(asked.frame))
        handling = self._server.process(messages, asked.exchange)
        handling.addCallback(lambda _: self._done(asked))

    # -- lines

    def open_stream(self, client_id: str, push: EdgePush, last: int | None) -> None:
        """See `BayeuxServer.open_stream`; whether there is such a client is told later."""
        line = self._new_line(push, client_id, last)
        if self.is_up:
            self._open(line)
        else:
            self._wait()

    def _line(self, push: EdgePush) -> _Line:
        line = self._forwarding.lines.get(push)
        if line is None:
            line = self._new_line(push, "", None)
            if self.is_up:
                self._open(line)
        return line

    def _new_line(self, push: EdgePush, client_id: str, last: int | None) -> _Line:
        line = _Line(next(self._forwarding.ids), push, self, client_id, last)
        self._lines[line.id] = self._forwarding.lines[push] = line
        return line

    def _open(self, line: _Line) -> None:
        line.is_open = True
        age = self.reaper.seconds() - line.push.opened_at
        caller = Caller.of(line.push.peer)
        self.send(frames.Open(line.id, caller, age, line.client_id, line.last))

    def forget_line(self, line: _Line, *, closed: bool) -> None:
        """A push connection is of its client no longer."""
        self._forwarding.lines.pop(line.push, None)
        if self._lines.pop(line.id, None) is not None and line.is_open:
            self.send(frames.Lost(line.id, closed))

    # -- whether it is there

    def came(self) -> None:
        """It can be reached: tell it what waits."""
        self.reaper.cancel(self)
        self.is_up = True
        for line in list(self._lines.values()):
            self._open(line)
        for asked in list(self._asked.values()):
            self.send(asked.frame)

    def went(self) -> None:
        """It can't be reached any more. What was open is lost there; what it was asked is asked
        again where that does nothing twice."""
        self.is_up = False
        self._until = self._links.wait_until(self.number)
        handling, self._handling = self._handling, {}
        for each in handling.values():
            each.callback(None)
        for line in list(self._lines.values()):
            if line.is_open:
                self.forget_line(line, closed=False)
                line.push.close(come_back=True)
        for id, asked in list(self._asked.items()):
            if not self._may_be_asked_again(asked):
                self._take(id)
                self._done(asked)
                if asked.exchange.push is None:
                    cast(EdgeExchange, asked.exchange).cut()
        self._wait()

    def _may_be_asked_again(self, asked: _Asked) -> bool:
        """Whether nothing is done twice when it is asked again: the owner knows a publish that
        comes again by its id. What came by a line was not asked yet while that is here."""
        if asked.frame.line:
            return asked.frame.line in self._lines
        messages = self._server.decode(*bodies_of(asked.frame))
        return all(_is_known_again(each) for each in messages)

    def _wait(self) -> None:
        if self._asked or self._lines:
            self.reaper.schedule(self, max(self._until - self.reaper.seconds(), 0))

    def on_due(self, now: float) -> float | None:
        """It did not come in time; see `Reaper.schedule`."""
        if self.is_up:
            return None
        if now < self._until:
            return self._until - now
        for id in list(self._asked):
            asked = self._take(id)
            if asked is not None:
                self._give_back(asked)
        for line in list(self._lines.values()):
            self.forget_line(line, closed=False)
            if line.client_id:
                line.push.no_session()
        self._forwarding.forget(self)
        return None

    def release(self) -> None:
        """This node stops: have all answered that is held here."""
        if self.is_up:
            self.send(frames.Release())
        else:
            for id in list(self._asked):
                asked = self._take(id)
                if asked is not None and asked.exchange.push is None:
                    self._done(asked)
                    cast(EdgeExchange, asked.exchange).cut()

    # -- what it says

    def hold(self, frame: frames.Hold) -> None:
        """See `frames.Hold`."""
        asked = self._asked.get(frame.id)
        if asked is not None and not asked.is_held:
            asked.is_held = True
            asked.exchange.hold(frame.seconds)

    def reply(self, frame: frames.Reply) -> None:
        """See `frames.Reply`."""
        asked = self._take(frame.id)
        if asked is None:
            return
        if asked.frame.counts and not asked.handled.called:
            self._handling[frame.id] = asked.handled
        asked.exchange.reply(frame.messages)
        _Reply(self, frame.id, cast(ResponseDelivery, asked.exchange.delivery)).written()
        self._forwarding.look_whether_over()

    def handled(self, frame: frames.Handled) -> None:
        """See `frames.Handled`."""
        asked = self._asked.get(frame.id)
        if asked is None:
            handling = self._handling.pop(frame.id, None)
            if handling is not None:
                handling.callback(None)
            return
        self._done(asked)
        if asked.exchange.push is not None:
            # Its replies go by the line.
            self._take(frame.id)

    def give_back(self, frame: frames.GiveBack) -> None:
        """See `frames.GiveBack`."""
        asked = self._take(frame.id)
        if asked is None:
            return
        if frame.cut and asked.exchange.push is None:
            self._done(asked)
            cast(EdgeExchange, asked.exchange).cut()
        else:
            self._give_back(asked)
        self._forwarding.look_whether_over()

    def push(self, frame: frames.Push) -> None:
        """See `frames.Push`."""
        line = self._lines.get(frame.line)
        if line is not None:
            line.push.send(frame.messages)
            self._sent(line)

    def say(self, frame: frames.Say) -> None:
        """See `frames.Say`."""
        line = self._lines.get(frame.line)
        if line is not None:
            line.push.reply(frame.messages)
            self._sent(line)

    def _sent(self, line: _Line) -> None:
        if not line.client_id:
            line.frames.append(line.push.frames)
        if line.takes_more and not line.push.writable:
            line.takes_more = False
            self.send(frames.Writable(line.id, False))

    def writable(self, line: _Line) -> None:
        """A push connection takes more again."""
        if not line.takes_more:
            line.takes_more = True
            self.send(frames.Writable(line.id, True))

    def progress(self, line: _Line) -> None:
        """The peer of a push connection has more."""
        read = line.push.frames_read
        while line.frames and line.frames[0] <= read:
            line.frames.popleft()
            line.read += 1
        self.send(frames.Progress(line.id, line.push.arrived, line.read))

    def end_line(self, frame: frames.EndLine) -> None:
        """See `frames.EndLine`."""
        line = self._lines.get(frame.line)
        if line is not None:
            line.push.close(come_back=frame.come_back)

    def no_session(self, frame: frames.NoSession) -> None:
        """See `frames.NoSession`."""
        line = self._lines.get(frame.line)
        if line is not None:
            line.is_open = False
            self.forget_line(line, closed=False)
            line.push.no_session()


@attrs.define(eq=False)
class ForwardingCounts:
    """What has happened since the start, for metrics.

    :param forwarded: requests and frames of sockets that went to other nodes.
    :param given_back: of these, those that were answered here, since the session was gone.
    """

    forwarded: int = 0
    given_back: int = 0


class Forwarding:
    """The other nodes, as far as Bayeux goes. An item of the reaper while this node stops.

    :param number: of this node, as of now.
    """

    _log = Logger()

    def __init__(
        self,
        server: BayeuxServer,
        links: FrameLinks,
        reaper: Reaper,
        number: Callable[[], int],
    ) -> None:
        self.server = server
        self.links = links
        self.reaper = reaper
        self.counts = ForwardingCounts()
        #: Numbers for requests and lines.
        self.ids = itertools.count(1)
        #: By their push connections.
        self.lines: dict[PushConnection, _Line] = {}
        self.owner = Owner(server, links)
        self.due_bucket = 0
        self._number = number
        self._nodes: dict[int, OtherNode] = {}
        self._stopped: Deferred[None] | None = None
        links.came.add(self._came)
        links.went.add(self._went)
        links.received.add(self._received)

    # -- whose it is

    def node_of(self, messages: Sequence[Message]) -> OtherNode | None:
        """To which node some messages go: that of the first client in them that is known here, or
        whose node is there. None for this one."""
        known = self.server.clients
        for message in messages:
            client_id = message.get("clientId")
            if isinstance(client_id, str):
                if client_id in known:
                    return None
                node = self.node_of_client(client_id)
                if node is not None:
                    return node
        return None

    def node_of_client(self, client_id: str) -> OtherNode | None:
        """The node whose client has an id; None for this one, and where there is no such node."""
        prefix = prefix_in(client_id)
        if prefix is None or prefix == prefix_of(self._number()):
            return None
        number = node_in(prefix)
        node = self._nodes.get(number)
        if node is None:
            if self.links.wait_until(number) <= self.reaper.seconds():
                return None
            node = self._nodes[number] = OtherNode(self, number, is_up=False)
        return node if node.is_reachable else None

    def node_of_socket(self, push: EdgePush, messages: Sequence[Message]) -> OtherNode | None:
        """The same for what came by a socket: that is of one client at a time, and of another from
        that one's first message on."""
        node, line = self.node_of(messages), self.lines.get(push)
        before = None if line is None else line.node
        if node is before or (node is None and not self._is_known(messages)):
            return node
        if line is not None:
            line.node.forget_line(line, closed=False)
        else:
            self.server.push_lost(push)
        push.begin_anew()
        return node

    def _is_known(self, messages: Sequence[Message]) -> bool:
        """Whether any of some messages has a client of this node."""
        return any(self.server.client(each.get("clientId")) is not None for each in messages)

    def forget(self, node: OtherNode) -> None:
        """A node is gone, and nothing waits for it."""
        if node.is_idle and self._nodes.get(node.number) is node:
            del self._nodes[node.number]

    # -- what a push connection needs of a server

    @property
    def stopping(self) -> bool:
        """See `BayeuxServer.stopping`."""
        return self.server.stopping

    def seconds(self) -> float:
        """See `BayeuxServer.seconds`."""
        return self.reaper.seconds()

    def decode(self, *bodies: bytes | str) -> list[Message]:
        """See `BayeuxServer.decode`."""
        return self.server.decode(*bodies)

    def process(self, messages: list[Message], exchange: Exchange) -> Deferred[None]:
        """See `BayeuxServer.process`; for clients of this node."""
        return self.server.process(messages, exchange)

    def push_lost(self, push: PushConnection) -> None:
        """See `BayeuxServer.push_lost`."""
        line = self.lines.get(push)
        if line is None:
            self.server.push_lost(push)
        else:
            line.node.forget_line(line, closed=line.push.closed)

    def push_writable(self, push: PushConnection) -> None:
        """See `BayeuxServer.push_writable`."""
        line = self.lines.get(push)
        if line is None:
            self.server.push_writable(push)
        else:
            line.node.writable(line)

    def push_confirmed(self, push: PushConnection, number: int) -> None:
        """See `BayeuxServer.push_confirmed`."""
        line = self.lines.get(push)
        if line is None:
            self.server.push_confirmed(push, number)
        else:
            line.node.progress(line)

    def frames_read(self, push: PushConnection) -> None:
        """The peer of a push connection has read more frames, which may be replies."""
        line = self.lines.get(push)
        if line is not None and line.frames and line.frames[0] <= line.push.frames_read:
            line.node.progress(line)

    # -- links

    def _came(self, number: int) -> None:
        node = self._nodes.get(number)
        if node is None:
            self._nodes[number] = OtherNode(self, number, is_up=True)
        else:
            node.came()

    def _went(self, number: int) -> None:
        node = self._nodes.get(number)
        if node is not None:
            node.went()
            self.forget(node)

    def _received(self, number: int, data: bytes) -> None:
        try:
            frame = frames.decode(data)
        except frames.NoFrame as error:
            self._log.warn("Node {node} says what is not known here: {why}", node=number, why=error)
            return
        if isinstance(frame, frames.FromEdge):
            self.owner.received(number, frame)
        elif number in self._nodes:
            _HANDLERS[type(frame)](self._nodes[number], frame)

    @property
    def open(self) -> int:
        """How many requests and lines of clients of other nodes are open here."""
        return sum(node.open for node in self._nodes.values())

    # -- the end

    def stop(self) -> Deferred[None]:
        """Have all answered that is held here for other nodes.

        :returns: fires once that is done, or has taken too long.
        """
        self._stopped = Deferred()
        for node in list(self._nodes.values()):
            node.release()
        self.reaper.schedule(self, PART_WITHIN)
        self.look_whether_over()
        return self._stopped

    def look_whether_over(self) -> None:
        """Something was answered."""
        if self._stopped is not None and not any(node.open for node in self._nodes.values()):
            self._end()

    def _end(self) -> None:
        if self._stopped is not None and not self._stopped.called:
            self.reaper.cancel(self)
            self._stopped.callback(None)

    def on_due(self, now: float) -> float | None:
        """They have had the time; see `Reaper.schedule`."""
        self._end()
        return None


_HANDLERS: Mapping[type, Callable[[OtherNode, Any], None]] = {
    frames.Hold: OtherNode.hold,
    frames.Reply: OtherNode.reply,
    frames.Handled: OtherNode.handled,
    frames.GiveBack: OtherNode.give_back,
    frames.Push: OtherNode.push,
    frames.Say: OtherNode.say,
    frames.EndLine: OtherNode.end_line,
    frames.NoSession: OtherNode.no_session,
}


def _bytes(body: bytes | str) -> bytes:
    return body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")


def _is_known_again(message: Message) -> bool:
    channel = message.get("channel")
    is_meta = isinstance(channel, str) and channel.startswith("/meta/")
    return isinstance(message, BadMessage) or is_meta or message.get("id") is not None
