"""One connection to another node: its greeting, its frames in order, what waits for it.

What it is: `PeerLink`. `Owner` is what it tells of all that becomes of it; `peer_links.PeerLinks`
keeps that.

What it may know: how nodes greet, the bound on memory. Not which nodes there are, nor what is in a
frame.

Invariant: a frame is told only once the other end has shown the key; frames leave in order; what
waits is bounded, and counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any, Protocol

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from cometd_chat.transports.budget import MemoryBudget
from cometd_chat.transports.peer_counts import LinkCounts
from cometd_chat.transports.peer_greeting import Answering, Connecting, Greeted, NotAPeer

#: Bytes that a frame may have until the key is shown.
MAX_GREETING = 512

#: Bytes of one frame, and of those that wait for one node to take them.
MAX_FRAME, MAX_WAITING = 8 * 1024 * 1024, 32 * 1024 * 1024

#: What is in a frame that only says that its sender is there, and in one that says that it leaves.
_ALIVE, _LEAVING = b"", b"\0"

#: Bytes of the length before each frame.
_LENGTH = 4


class LinkState(Enum):
    """How far a link has come."""

    #: Neither knows yet that the other has the key.
    GREETING = "greeting"
    #: Both may send frames.
    UP = "up"
    #: It is gone, or about to be: what comes is for nobody.
    OVER = "over"


class Owner(Protocol):
    """Whose link it is."""

    memory: MemoryBudget
    seconds: Callable[[], float]

    def began(self, link: PeerLink) -> None:
        """Somebody is there, and is to greet."""

    def refused(self, link: PeerLink, error: NotAPeer) -> None:
        """They have not shown what they had to."""

    def is_up(self, link: PeerLink) -> None:
        """They have: from now frames may be sent."""

    def heard(self, link: PeerLink, frame: bytes) -> None:
        """One has come."""

    def takes_more(self, link: PeerLink) -> None:
        """Nothing waits any more."""

    def is_too_slow(self, link: PeerLink) -> None:
        """More waits than may: it is about to be dropped."""

    def leaves(self, link: PeerLink) -> None:
        """The other end says that it leaves."""

    def is_over(self, link: PeerLink, was_up: bool) -> None:
        """It is gone, or about to be."""


@implementer(IPushProducer)
class PeerLink(Int32StringReceiver):
    """One connection to another node. A holder of the budget; an item of the reaper while it
    greets.

    :param greeting: its part of that.
    :param wanted: number of the node that we connected to; None when it connected to us.
    """

    #: Twisted's TCP transport.
    transport: Any
    MAX_LENGTH = MAX_GREETING

    def __init__(self, links: Owner, greeting: Connecting | Answering, wanted: int | None) -> None:
        self.state = LinkState.GREETING
        self.wanted = wanted
        self.heard_at = 0.0
        self.due_bucket = 0
        #: Those of its node, once it is up.
        self.counts = LinkCounts()
        self._links = links
        self._greeting = greeting
        #: Frames that wait until what was sent before is on its way, and their bytes.
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._paused = False

    @property
    def greeted(self) -> Greeted:
        """Who is there, once the link is up."""
        assert self._greeting.greeted is not None
        return self._greeting.greeted

    @property
    def writable(self) -> bool:
        """Whether what is sent leaves at once."""
        return self.state is LinkState.UP and not self._paused

    # -- the connection

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self._links.began(self)
        first = self._greeting.begin()
        if first is not None:
            self.sendString(first)

    def stringReceived(self, string: bytes) -> None:
        self.counts.received += len(string) + _LENGTH
        if self.state is LinkState.GREETING:
            self._greet(string)
        elif self.state is LinkState.UP:
            self.heard_at = self._links.seconds()
            if string == _LEAVING:
                self._links.leaves(self)
            elif string != _ALIVE:
                self._links.heard(self, string)

    def _greet(self, data: bytes) -> None:
        try:
            answer = self._greeting.receive(data)
        except NotAPeer as error:
            self._links.refused(self, error)
            self.drop()
            return
        if answer is not None:
            self.sendString(answer)
        if self._greeting.greeted is not None:
            self.state = LinkState.UP
            self.MAX_LENGTH = MAX_FRAME
            self.transport.registerProducer(self, True)
            self._links.is_up(self)

    def lengthLimitExceeded(self, length: int) -> None:
        if self.state is LinkState.GREETING:
            reason = NotAPeer("it does not speak as nodes do", is_stranger=True)
            self._links.refused(self, reason)
        self.drop()

    def on_due(self, now: float) -> float | None:
        """It has had the time to greet; see `Reaper.schedule`."""
        self.drop()
        return None

    def drop(self) -> None:
        """Be done with it at once."""
        if self.state is not LinkState.OVER:
            self._over()
            self.transport.abortConnection()

    def leave(self) -> None:
        """Say that this node leaves, and close it."""
        if self.state is LinkState.UP:
            self.send(_LEAVING)
        self._over()
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._over()

    def _over(self) -> None:
        was, self.state = self.state, LinkState.OVER
        if was is not LinkState.OVER:
            self._forget_waiting()
            self._links.is_over(self, was is LinkState.UP)

    # -- out

    def sendString(self, string: bytes) -> None:
        self.counts.sent += len(string) + _LENGTH
        super().sendString(string)

    def send(self, frame: bytes) -> None:
        """Send a frame, or let it wait behind others."""
        if not self._paused:
            self.sendString(frame)
            return
        if self._size + len(frame) > MAX_WAITING:
            self._links.is_too_slow(self)
            self.drop()
            return
        self._waiting.append(frame)
        self._size += len(frame)
        self._links.memory.account(len(frame), "links")

    def beat(self) -> None:
        """Say that this node is there. Nothing need be said where frames wait to be taken."""
        if not self._paused:
            self.sendString(_ALIVE)

    def _forget_waiting(self) -> None:
        size, self._size = self._size, 0
        self._waiting.clear()
        if size:
            self._links.memory.account(-size, "links")

    # -- IPushProducer: the transport takes more, or no more

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        while self._waiting and not self._paused:
            frame = self._waiting.popleft()
            self._size -= len(frame)
            self._links.memory.account(-len(frame), "links")
            self.sendString(frame)
        if self.writable:
            self._links.takes_more(self)

    def stopProducing(self) -> None:
        """It is lost; `connectionLost` follows."""

    # -- a holder of the budget, see `budget.Holder`

    @property
    def over(self) -> bool:
        """Whether it is gone."""
        return self.state is LinkState.OVER

    def measure(self) -> int:
        """See `budget.Holder`."""
        return self._size

    def shed(self, size: int) -> None:
        """See `budget.Holder`: the node at the other end takes nothing, and it is as if gone."""
        self.drop()
