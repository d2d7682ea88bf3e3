"""Bayeux clients of other nodes whose requests come to this one: the edge's side.

What it is: `Forwarding`, which finds whose client a message is of. It is handed over as it came, to
`bayeux_other_node.OtherNode`.

What it may know: exchanges and push connections of this node, frames, links. Not what a message
means: only whose it is.

Invariant: what is for a client of another node goes there; or, where there is no such node or it is
gone or out of reach for two seconds, to the server of this node, to which the client is unknown:
so it is told to shake hands.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from cometd_chat.bayeux.client_ids import node_in, prefix_in, prefix_of
from cometd_chat.bayeux.exchange import Exchange, PushConnection
from cometd_chat.bayeux.messages import Message
from cometd_chat.bayeux.server import BayeuxServer
from cometd_chat.bayeux.stopping import PART_WITHIN
from cometd_chat.comet.reaper import Reaper
from cometd_chat.transports.peer_links import FrameLinks
from cometd_chat.web import bayeux_frames as frames
from cometd_chat.web.bayeux_other_node import HANDLERS, EdgePush, Line, OtherNode
from cometd_chat.web.bayeux_owner import Owner


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
        #: Numbers for requests and lines.
        self.ids: Iterator[int] = itertools.count(1)
        #: By their push connections.
        self.lines: dict[PushConnection, Line] = {}
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
            HANDLERS[type(frame)](self._nodes[number], frame)

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
