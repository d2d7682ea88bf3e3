"""Bayeux clients of this node whose requests come to other nodes: the owner's side.

What it is: `Owner`, which hands what other nodes forward to the Bayeux server of this one;
`RemoteExchange` and `RemoteLine`, which stand there for requests, sockets and event streams that
are open at another node.

What it may know: the core, frames. Not requests: those are at the edge, see
`bayeux_forwarding.py`.

Invariant: the core can't tell them from what came to this node itself. What was open at a node is
lost when its link is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.logger import Logger

from cometd_chat.bayeux.exchange import Arrival, Delivery, Peer
from cometd_chat.bayeux.messages import weight
from cometd_chat.bayeux.server import BayeuxServer
from cometd_chat.errors import ChatError, MemoryShort, NotFound
from cometd_chat.transports.budget import MemoryBudget
from cometd_chat.transports.peer_links import FrameLinks, FrameTooLarge
from cometd_chat.web import bayeux_frames as frames
from cometd_chat.web.bayeux_delivery import SocketDelivery
from cometd_chat.web.bayeux_frames import Frame, encode

#: Messages of so many bytes are not counted while they are handled, as most are not.
FEW = 512


class RemoteDelivery:
    """Of a reply that goes by another node; see `Delivery`."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = Arrival.WAITING

    def arrival(self) -> Arrival:
        """See `Delivery.arrival`: what the edge has told."""
        return self.state


class RemoteExchange:
    """One request that is at another node. A holder of the budget while its messages count.

    :param id: among those of that node.
    :param push: the line that it came by; None for a request of its own.
    :param size: bytes of its messages, as Python holds them; 0 for so few that nobody counts them.
    """

    def __init__(
        self, edge: _Edge, id: int, peer: Peer, push: RemoteLine | None, size: int, counts: bool
    ) -> None:
        self.id = id
        self.peer = peer
        self.push = push
        #: Whether it is replied to, and whether the edge has told that it has the reply.
        self.is_replied = self.is_taken = False
        self.known = RemoteDelivery()
        self.delivery: Delivery = self.known if push is None else SocketDelivery(push)
        self._edge = edge
        self._size = size
        self._counts = counts
        self.over = False

    def hold(self, seconds: float) -> None:
        """See `Exchange.hold`. A line is watched anyway."""
        if self.push is None:
            self._edge.send(frames.Hold(self.id, seconds))

    def reply(self, messages: Sequence[bytes]) -> None:
        """See `Exchange.reply`."""
        if self.push is not None:
            assert isinstance(self.delivery, SocketDelivery)
            self.push.reply(messages)
            self.delivery.frame = self.push.frames
            return
        if self.is_replied:
            return
        self.is_replied = True
        if self.known.state is Arrival.WAITING:
            self.known.state = Arrival.UNKNOWN
        try:
            self._edge.send(frames.Reply(self.id, list(messages)))
        except FrameTooLarge:
            self._edge.give_back(self, cut=True)
            raise

    def handled(self, result: None) -> None:
        """Its messages are handled, or one of them is a connect that is held."""
        if not self.over:
            self.over = True
            if self._size:
                self._edge.memory.remove(self, self._size, "requests")
            if self._counts:
                self._edge.send(frames.Handled(self.id))

    # -- a holder of the budget, see `budget.Holder`: `over` says whether it is handled

    def measure(self) -> int:
        """See `budget.Holder`."""
        return self._size

    def shed(self, size: int) -> None:
        """See `budget.Holder`."""
        self._edge.give_back(self, cut=True)
        self._edge.lose(self)


class RemoteLine:
    """A WebSocket or an event stream that is open at another node; see `PushConnection`.

    :param id: among those of that node.
    :param opened_at: when, in the seconds of this node's reaper.
    """

    def __init__(self, edge: _Edge, id: int, peer: Peer, opened_at: float) -> None:
        self.id = id
        self.peer = peer
        self.opened_at = opened_at
        #: How many frames were sent by it, and how many of those its peer is known to have read.
        self.frames = self.frames_read = 0
        #: Whether it has ended, and whether that was in order.
        self.over = self.closed = False
        self.takes_more = True
        self._edge = edge

    @property
    def writable(self) -> bool:
        """See `PushConnection.writable`."""
        return self.takes_more and not self.over and self._edge.writable

    def send(self, messages: Sequence[tuple[int, bytes]]) -> None:
        """See `PushConnection.send`."""
        if not self.over:
            self.frames += 1
            self._edge.send(frames.Push(self.id, list(messages)))

    def reply(self, messages: Sequence[bytes]) -> None:
        """Send replies."""
        if not self.over:
            self.frames += 1
            self._edge.send(frames.Say(self.id, list(messages)))

    def end(self) -> None:
        """See `PushConnection.end`."""
        if not self.over:
            self._edge.send(frames.EndLine(self.id, self._edge.server.stopping))


class _Edge:
    """Another node, by which clients of this one come.

    :param number: of it.
    """

    def __init__(self, number: int, server: BayeuxServer, links: FrameLinks) -> None:
        self.server = server
        self.exchanges: dict[int, RemoteExchange] = {}
        self.lines: dict[int, RemoteLine] = {}
        self._number = number
        self._links = links

    @property
    def memory(self) -> MemoryBudget:
        """Where messages count that are being handled."""
        return self.server.memory

    @property
    def writable(self) -> bool:
        """Whether what is sent there leaves at once."""
        return self._links.writable(self._number)

    def send(self, frame: frames.FromOwner) -> None:
        """Send a frame. One that can't be sent is lost with the link."""
        self._links.send(self._number, encode(frame))

    def give_back(self, exchange: RemoteExchange, *, cut: bool) -> None:
        """Let the edge answer a request."""
        self.send(frames.GiveBack(exchange.id, cut))

    def lose(self, exchange: RemoteExchange) -> None:
        """The client of a request is gone."""
        self.exchanges.pop(exchange.id, None)
        exchange.is_replied = True
        exchange.known.state = Arrival.LOST
        self.server.lost(exchange)

    def lose_line(self, line: RemoteLine, *, closed: bool) -> None:
        """A line is gone."""
        self.lines.pop(line.id, None)
        if not line.over:
            line.over, line.closed = True, closed
            self.server.push_lost(line)

    def lose_all(self) -> None:
        """Nobody hears any more of what is there."""
        for exchange in list(self.exchanges.values()):
            if exchange.is_taken:
                # The edge has written the reply: what becomes of that its client may tell.
                self._settle(exchange)
            elif exchange.is_replied:
                exchange.known.state = Arrival.LOST
                self._settle(exchange)
            else:
                self.lose(exchange)
        for line in list(self.lines.values()):
            self.lose_line(line, closed=False)

    def _settle(self, exchange: RemoteExchange) -> None:
        self.exchanges.pop(exchange.id, None)

    # -- what the edge says

    def ask(self, frame: frames.Ask) -> None:
        """See `frames.Ask`."""
        line = self.lines.get(frame.line)
        if frame.line and line is None:
            # The line was lost with a link, or there was none to lose.
            self.send(frames.GiveBack(frame.id, cut=False))
            return
        bodies = bodies_of(frame)
        size = sum(map(weight, bodies)) if sum(map(len, bodies)) > FEW else 0
        peer = frame.caller.peer() if line is None else line.peer
        exchange = RemoteExchange(self, frame.id, peer, line, size, frame.counts)
        try:
            messages = self.server.decode(*bodies)
            if size:
                self.memory.require(size)
        except ChatError as error:
            self.give_back(exchange, cut=isinstance(error, MemoryShort))
            return
        if self.server.stopping:
            self.server.part(messages, exchange)
            self.give_back(exchange, cut=False)
            return
        if line is None:
            self.exchanges[frame.id] = exchange
        if size:
            self.memory.add(exchange)
            self.memory.account(size, "requests")
        self.server.process(messages, exchange).addCallback(exchange.handled)

    def gone(self, frame: frames.Gone) -> None:
        """See `frames.Gone`."""
        exchange = self.exchanges.get(frame.id)
        if exchange is not None:
            self.lose(exchange)

    def arrived(self, frame: frames.Arrived) -> None:
        """See `frames.Arrived`."""
        exchange = self.exchanges.get(frame.id)
        if exchange is not None:
            exchange.known.state, exchange.is_taken = Arrival(frame.arrival), True
            if frame.is_final:
                self._settle(exchange)

    def open(self, frame: frames.Open) -> None:
        """See `frames.Open`."""
        opened_at = self.server.seconds() - frame.age
        line = RemoteLine(self, frame.line, frame.caller.peer(), opened_at)
        self.lines[line.id] = line
        if not frame.client_id:
            return
        try:
            self.server.open_stream(frame.client_id, line.peer, line, frame.last)
        except NotFound:
            del self.lines[line.id]
            self.send(frames.NoSession(line.id))

    def set_writable(self, frame: frames.Writable) -> None:
        """See `frames.Writable`."""
        line = self.lines.get(frame.line)
        if line is not None:
            line.takes_more = frame.writable
            if frame.writable:
                self.server.push_writable(line)

    def progress(self, frame: frames.Progress) -> None:
        """See `frames.Progress`."""
        line = self.lines.get(frame.line)
        if line is not None:
            line.frames_read = max(line.frames_read, frame.frames)
            self.server.push_confirmed(line, frame.number)

    def lost(self, frame: frames.Lost) -> None:
        """See `frames.Lost`."""
        line = self.lines.get(frame.line)
        if line is not None:
            self.lose_line(line, closed=frame.closed)

    def release(self, frame: frames.Release) -> None:
        """See `frames.Release`."""
        for exchange in list(self.exchanges.values()):
            self.server.answer_now(exchange)

    def takes_more(self) -> None:
        """The link takes more again."""
        for line in list(self.lines.values()):
            self.server.push_writable(line)


class Owner:
    """This node, to all others by which its clients come."""

    _log = Logger()

    def __init__(self, server: BayeuxServer, links: FrameLinks) -> None:
        self._server = server
        self._links = links
        self._edges: dict[int, _Edge] = {}
        links.went.add(self._went)
        links.writable_again.add(self._writable_again)

    @property
    def open(self) -> int:
        """How many requests and lines of other nodes there are."""
        return sum(len(each.exchanges) + len(each.lines) for each in self._edges.values())

    def received(self, number: int, frame: Frame) -> None:
        """A node has said something.

        :param number: of it.
        """
        edge = self._edges.get(number)
        if edge is None:
            edge = self._edges[number] = _Edge(number, self._server, self._links)
        _HANDLERS[type(frame)](edge, frame)

    def _went(self, number: int) -> None:
        edge = self._edges.pop(number, None)
        if edge is not None:
            edge.lose_all()

    def _writable_again(self, number: int) -> None:
        edge = self._edges.get(number)
        if edge is not None:
            edge.takes_more()


_HANDLERS: Mapping[type, Callable[[_Edge, Any], None]] = {
    frames.Ask: _Edge.ask,
    frames.Gone: _Edge.gone,
    frames.Arrived: _Edge.arrived,
    frames.Open: _Edge.open,
    frames.Writable: _Edge.set_writable,
    frames.Progress: _Edge.progress,
    frames.Lost: _Edge.lost,
    frames.Release: _Edge.release,
}


def bodies_of(frame: frames.Ask) -> list[bytes | str]:
    """What came, as it came."""
    if not frame.is_text:
        return list(frame.bodies)
    return [each.decode("utf-8", "surrogatepass") for each in frame.bodies]
