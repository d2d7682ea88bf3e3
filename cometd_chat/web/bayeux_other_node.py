"""Another node that has clients of Bayeux whose requests come to this one.

What it is: `OtherNode`, to which messages are handed over as they came; what comes back goes out by
the request, socket or event stream that is open here. `Edge` is what it needs of this node.

What it may know: exchanges and push connections of this node, frames, the links to that one. Not
how a message finds its node.

Invariant: what was handed over is answered once, from there or, when that node is gone or out of
reach for two seconds, here; nothing is done twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

import attrs
from twisted.internet.defer import Deferred

from cometd_chat.bayeux.exchange import Arrival, Exchange, Peer, PushConnection
from cometd_chat.bayeux.messages import BadMessage, Message
from cometd_chat.bayeux.server import BayeuxServer
from cometd_chat.comet.reaper import Reaper
from cometd_chat.transports.peer_links import FrameLinks
from cometd_chat.web import bayeux_frames as frames
from cometd_chat.web.bayeux_delivery import ACKNOWLEDGED_WITHIN, ResponseDelivery
from cometd_chat.web.bayeux_frames import Caller, encode
from cometd_chat.web.bayeux_owner import bodies_of

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
class Line:
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


class Edge(Protocol):
    """What all other nodes have in common here; `bayeux_forwarding.Forwarding` keeps it."""

    server: BayeuxServer
    links: FrameLinks
    reaper: Reaper
    ids: Iterator[int]
    lines: dict[PushConnection, Line]

    def forget(self, node: OtherNode) -> None:
        """A node is gone, and nothing waits for it."""

    def look_whether_over(self) -> None:
        """Something was answered."""


class OtherNode:
    """Another node, to which messages for its clients go. An item of the reaper while it can't be
    reached and something waits for that.

    :param is_up: whether it can be reached.
    """

    def __init__(self, edge: Edge, number: int, *, is_up: bool) -> None:
        self.number = number
        self.is_up = is_up
        self.due_bucket = 0
        self.reaper = edge.reaper
        self._edge = edge
        self._server = edge.server
        self._links = edge.links
        self._until = 0.0 if is_up else self._links.wait_until(number)
        # What is not answered, and what is not handled, by the numbers that this node gives.
        self._asked: dict[int, _Asked] = {}
        self._ids: dict[Exchange, int] = {}
        self._handling: dict[int, Deferred[None]] = {}
        self._lines: dict[int, Line] = {}

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
        id = next(self._edge.ids)
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

    def _line(self, push: EdgePush) -> Line:
        line = self._edge.lines.get(push)
        if line is None:
            line = self._new_line(push, "", None)
            if self.is_up:
                self._open(line)
        return line

    def _new_line(self, push: EdgePush, client_id: str, last: int | None) -> Line:
        line = Line(next(self._edge.ids), push, self, client_id, last)
        self._lines[line.id] = self._edge.lines[push] = line
        return line

    def _open(self, line: Line) -> None:
        line.is_open = True
        age = self.reaper.seconds() - line.push.opened_at
        caller = Caller.of(line.push.peer)
        self.send(frames.Open(line.id, caller, age, line.client_id, line.last))

    def forget_line(self, line: Line, *, closed: bool) -> None:
        """A push connection is of its client no longer."""
        self._edge.lines.pop(line.push, None)
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
        self._edge.forget(self)
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
        self._edge.look_whether_over()

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
        self._edge.look_whether_over()

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

    def _sent(self, line: Line) -> None:
        if not line.client_id:
            line.frames.append(line.push.frames)
        if line.takes_more and not line.push.writable:
            line.takes_more = False
            self.send(frames.Writable(line.id, False))

    def writable(self, line: Line) -> None:
        """A push connection takes more again."""
        if not line.takes_more:
            line.takes_more = True
            self.send(frames.Writable(line.id, True))

    def progress(self, line: Line) -> None:
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


#: What each frame of its does.
HANDLERS: Mapping[type, Callable[[OtherNode, Any], None]] = {
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
