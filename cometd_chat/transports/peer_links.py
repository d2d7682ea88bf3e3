"""Links between nodes: one connection a pair of them, by which each sends the other frames.

What it is: `PeerLinks`, all of a node's: who is to be connected to, who may connect, which of them
are there. One connection is `peer_link.PeerLink`.

What it may know: numbers and addresses of nodes, a key that all have, the sweep, the bound on
memory. Not what is in a frame, nor where nodes are kept.

Invariant: a frame comes to nobody who has not shown the key, and from nobody else; frames of one
link come in order, each at most once; what waits is bounded, and who can't be heard for
`DEAD_AFTER` seconds is gone.

Of two nodes the newer one, whose number is higher, connects to the other: it finds that in the
database, while the older one may not know of it yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import attrs
from twisted.internet.protocol import ClientFactory, ServerFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.comet.listeners import Listeners
from cometd_chat.comet.reaper import Reaper
from cometd_chat.transports.budget import MemoryBudget
from cometd_chat.transports.peer_counts import LinkCounts, LinkNumbers
from cometd_chat.transports.peer_greeting import Answering, Connecting, Credentials, NotAPeer
from cometd_chat.transports.peer_link import MAX_FRAME, PeerLink

#: Seconds between two signs of life, and without one after which a node counts as gone.
BEAT, DEAD_AFTER = 0.5, 2.0

#: Seconds that somebody has to show the key, and how many may be about to.
GREET_WITHIN, MOST_STRANGERS = 2.0, 16

#: Seconds until a link is tried again, at first and at most; half as many again by chance.
TRY_AGAIN, TRY_AGAIN_AT_MOST = 0.1, 1.0

#: A number that is so much higher than any that is known is that of no node.
_MOST_NEW = 1000

#: Seconds between two lines in the log about strangers.
_TELL_EVERY = 60.0


class FrameTooLarge(Exception):
    """Somebody wants to send more at once than a node takes: the fault is ours."""


class FrameLinks(Protocol):
    """What forwarding needs of links; `PeerLinks` keeps it."""

    @property
    def came(self) -> Listeners[[int]]:
        """Told the number of a node that can be reached from now."""

    @property
    def went(self) -> Listeners[[int]]:
        """Told that of one that can't be any more. Frames that were on their way may be lost."""

    @property
    def received(self) -> Listeners[[int, bytes]]:
        """Told each frame, and from which node."""

    @property
    def writable_again(self) -> Listeners[[int]]:
        """Told of a node that takes more again."""

    def send(self, number: int, frame: bytes) -> bool:
        """Send a frame to a node, after all before it.

        :returns: whether it was sent: that is not whether it arrives.
        :raises FrameTooLarge: it has more than `MAX_FRAME` bytes.
        """

    def writable(self, number: int) -> bool:
        """Whether a node takes what is sent to it as it comes."""

    def wait_until(self, number: int) -> float:
        """Until when it is worth waiting for a node that can't be reached, in the reaper's seconds;
        what is past says that it is gone."""


class _Dialling(ClientFactory):
    """Makes the link of a node that we connect to."""

    noisy = False

    def __init__(self, links: PeerLinks, peer: _Peer) -> None:
        self._links = links
        self._peer = peer

    def buildProtocol(self, addr: object) -> PeerLink:
        number = self._peer.number
        return PeerLink(self._links, Connecting(self._links.credentials(), number), number)

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        self._links.not_reached(self._peer.number)


@attrs.define(eq=False)
class _Peer:
    """Another node. An item of the reaper until it is connected to again.

    :param address: host and port; None where it is to connect to us, or not to be reached.
    :param link: None while there is none.
    :param since: when it was reached last, or heard of first, in the reaper's seconds.
    :param tries: to connect, since the last link.
    :param left: whether it said so: it does not come back.
    """

    number: int
    dial: Callable[[_Peer], None]
    address: tuple[str, int] | None = None
    link: PeerLink | None = None
    since: float = 0.0
    tries: int = 0
    left: bool = False
    due_bucket: int = 0
    counts: LinkCounts = attrs.field(factory=LinkCounts)

    def on_due(self, now: float) -> float | None:
        """It is time to try again; see `Reaper.schedule`."""
        self.dial(self)
        return None


class PeerLinks(ServerFactory):
    """All links of this node; makes the protocols of its port. An item of the reaper.

    :param reactor: connects.
    :param credentials: what this node shows of itself; asked for at each greeting.
    :param memory: where what waits is counted.
    :param random: a number from 0 to 1.
    """

    noisy = False
    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        reaper: Reaper,
        memory: MemoryBudget,
        credentials: Callable[[], Credentials],
        random: Callable[[], float],
    ) -> None:
        self.memory = memory
        self.credentials = credentials
        self.seconds = reaper.seconds
        self.came: Listeners[[int]] = Listeners("a link to another node")
        self.went: Listeners[[int]] = Listeners("the end of a link to another node")
        self.received: Listeners[[int, bytes]] = Listeners("a frame of another node")
        self.writable_again: Listeners[[int]] = Listeners("room on a link to another node")
        self.due_bucket = 0
        #: How many links were made, and how many strangers were sent away.
        self.made = self.strangers_refused = 0
        self._reactor = reactor
        self._reaper = reaper
        self._random = random
        self._peers: dict[int, _Peer] = {}
        self._newest = 0
        # Who has not shown the key yet, the oldest first.
        self._greeting: dict[PeerLink, None] = {}
        self._stopped = False
        self._looked_at = 0.0
        self._told_at = -_TELL_EVERY

    # -- which nodes there are

    def add(self, number: int, address: tuple[str, int] | None) -> None:
        """There is another node.

        :param address: host and port of its listener; None when it has none.
        """
        own = self.credentials().number
        self._newest = max(self._newest, number, own)
        if number == own or self._stopped:
            return
        peer = self._peer(number)
        peer.address = address if number < own else None
        if peer.link is None and not peer.due_bucket:
            self._dial(peer)

    def remove(self, number: int) -> None:
        """A node is gone for good."""
        peer = self._peers.pop(number, None)
        if peer is not None:
            self._newest = max(self._newest, number)
            self._reaper.cancel(peer)
            if peer.link is not None:
                peer.link.drop()
            else:
                self.went.tell(number)

    def begin_anew(self) -> None:
        """This node has another number: who knew it by the last one knows it no more."""
        peers, self._peers = self._peers, {}
        for link in list(self._greeting):
            link.drop()
        for number, peer in peers.items():
            self._reaper.cancel(peer)
            left, peer.link = peer.link, None
            if left is not None:
                left.leave()
            else:
                self.went.tell(number)

    def stop(self) -> None:
        """Say goodbye to all, and connect to nobody any more."""
        self._stopped = True
        self._reaper.cancel(self)
        for link in [*self._greeting, *self._links()]:
            link.leave()
        for peer in self._peers.values():
            self._reaper.cancel(peer)

    def _peer(self, number: int) -> _Peer:
        peer = self._peers.get(number)
        if peer is None:
            peer = self._peers[number] = _Peer(number, self._dial, since=self.seconds())
        return peer

    def _links(self) -> list[PeerLink]:
        return [each.link for each in self._peers.values() if each.link is not None]

    # -- FrameLinks

    @property
    def up(self) -> list[int]:
        """The numbers of the nodes that can be reached."""
        return [number for number, peer in self._peers.items() if peer.link is not None]

    def numbers(self) -> list[LinkNumbers]:
        """Of all nodes that are known."""
        return [
            LinkNumbers(
                number,
                up=peer.link is not None,
                waiting=0 if peer.link is None else peer.link.measure(),
                **attrs.asdict(peer.counts),
            )
            for number, peer in sorted(self._peers.items())
        ]

    def send(self, number: int, frame: bytes) -> bool:
        """See `FrameLinks.send`."""
        peer = self._peers.get(number)
        if peer is None or peer.link is None:
            return False
        if len(frame) > MAX_FRAME:
            raise FrameTooLarge(f"A frame has at most {MAX_FRAME} bytes, not {len(frame)}.")
        peer.link.send(frame)
        return peer.link is not None

    def writable(self, number: int) -> bool:
        """See `FrameLinks.writable`."""
        peer = self._peers.get(number)
        return peer is not None and peer.link is not None and peer.link.writable

    def wait_until(self, number: int) -> float:
        """See `FrameLinks.wait_until`."""
        peer = self._peers.get(number)
        if peer is not None:
            return 0.0 if peer.left else peer.since + DEAD_AFTER
        # One that has just begun may be known to clients before it is to us.
        new = self._newest < number <= self._newest + _MOST_NEW and not self._stopped
        return self.seconds() + DEAD_AFTER if new else 0.0

    # -- links

    def buildProtocol(self, addr: object) -> PeerLink:
        """See `twisted.internet.interfaces.IProtocolFactory`."""
        return PeerLink(self, Answering(self.credentials()), None)

    def began(self, link: PeerLink) -> None:
        """A connection is there, and nobody has shown anything."""
        if link.wanted is None:
            while len(self._greeting) >= MOST_STRANGERS:
                next(iter(self._greeting)).drop()
            self._greeting[link] = None
        self._reaper.schedule(link, GREET_WITHIN)

    def refused(self, link: PeerLink, error: NotAPeer) -> None:
        """Somebody is none of us."""
        if error.is_stranger:
            self.strangers_refused += 1
        now = self.seconds()
        if now - self._told_at >= _TELL_EVERY:
            self._told_at = now
            where = "on --peer" if link.wanted is None else f"at the address of node {link.wanted}"
            self._log.warn("Refused a connection {where}: {why}", where=where, why=str(error))

    def is_up(self, link: PeerLink) -> None:
        """Both have shown the key."""
        self._reaper.cancel(link)
        self._greeting.pop(link, None)
        number = link.greeted.number
        if self._stopped or number == self.credentials().number:
            link.drop()
            return
        peer = self._peer(number)
        earlier, peer.link = peer.link, None
        if earlier is not None:
            # It has begun anew; what went by the old one may be lost.
            self.went.tell(number)
            earlier.drop()
        self._reaper.cancel(peer)
        self._newest = max(self._newest, number)
        peer.link, peer.tries, peer.left = link, 0, False
        peer.since = link.heard_at = self.seconds()
        self.made += 1
        peer.counts.made += 1
        link.counts = peer.counts
        self.memory.add(link)
        if not self.due_bucket:
            self._looked_at = peer.since
            self._reaper.schedule(self, BEAT)
        release = link.greeted.release
        self._log.info("Linked with node {node}, {release}", node=number, release=release)
        self.came.tell(number)

    def heard(self, link: PeerLink, frame: bytes) -> None:
        """A frame has come."""
        self.received.tell(link.greeted.number, frame)

    def takes_more(self, link: PeerLink) -> None:
        """A link was behind, and is no more."""
        self.writable_again.tell(link.greeted.number)

    def is_too_slow(self, link: PeerLink) -> None:
        """Too much waits for a node."""
        self._log.warn("Node {node} does not take what is sent to it", node=link.greeted.number)

    def leaves(self, link: PeerLink) -> None:
        """A node says goodbye."""
        peer = self._peers.get(link.greeted.number)
        if peer is not None and peer.link is link:
            peer.left = True
        link.drop()

    def is_over(self, link: PeerLink, was_up: bool) -> None:
        """A connection is over."""
        self._greeting.pop(link, None)
        self._reaper.cancel(link)
        if not was_up:
            if link.wanted is not None:
                self.not_reached(link.wanted)
            return
        self.memory.remove(link, 0, "links")
        number = link.greeted.number
        peer = self._peers.get(number)
        if peer is not None and peer.link is not link:
            return
        if peer is not None:
            peer.link, peer.since = None, link.heard_at
            self._try_again(peer)
        if not self._stopped:
            self._log.info("The link with node {node} is gone", node=number)
        self.went.tell(number)

    def not_reached(self, number: int) -> None:
        """A node could not be connected to."""
        peer = self._peers.get(number)
        if peer is not None and peer.link is None:
            self._try_again(peer)

    def _try_again(self, peer: _Peer) -> None:
        if peer.address is None or peer.left or self._stopped or peer.due_bucket:
            return
        delay = min(TRY_AGAIN * 2**peer.tries, TRY_AGAIN_AT_MOST)
        peer.tries += 1
        self._reaper.schedule(peer, delay * (1 + self._random() / 2))

    def _dial(self, peer: _Peer) -> None:
        if peer.address is not None and peer.link is None and not self._stopped:
            host, port = peer.address
            self._reactor.connectTCP(host, port, _Dialling(self, peer), timeout=DEAD_AFTER)

    # -- signs of life

    def on_due(self, now: float) -> float | None:
        """Say that we are there, and see who is; see `Reaper.schedule`."""
        # Who was not looked after ourselves can't say that others were silent: what they have said
        # waits to be read.
        late = now - self._looked_at > DEAD_AFTER / 2 + BEAT
        self._looked_at = now
        for link in self._links():
            if late:
                link.heard_at = now
            elif now - link.heard_at >= DEAD_AFTER:
                self._log.warn("Node {node} is silent", node=link.greeted.number)
                link.drop()
                continue
            link.beat()
        return BEAT if self._links() else None
