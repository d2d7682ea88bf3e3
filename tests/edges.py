"""Nodes beside each other in one process, as far as Bayeux goes.

What it is: `MemoryLinks`, by which they reach each other, and `behind_an_edge`, which puts a node
before a site's own: all that comes to its ``/cometd`` goes to the site as another node's client's.

What it may know: the service's joining functions, links.

Invariant: what is sent arrives in a later turn and in order, as bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from cometd_chat import site_parts
from cometd_chat.bayeux.messages import Message
from cometd_chat.bayeux.server import BayeuxServer
from cometd_chat.comet.listeners import Listeners
from cometd_chat.log.bus import MemoryBus
from cometd_chat.peering import Linked
from cometd_chat.site_parts import SiteParts
from cometd_chat.transports.peer_links import DEAD_AFTER
from cometd_chat.web.bayeux_forwarding import Forwarding
from cometd_chat.web.bayeux_http import Bayeux
from cometd_chat.web.bayeux_other_node import OtherNode

#: Numbers of the nodes where there are two.
OWNER, EDGE = 1, 2


class MemoryLinks:
    """The links of one node; see `FrameLinks`.

    :param beside: those of another, which it is joined with and all that are with that.
    """

    def __init__(self, clock: Any, number: int, beside: MemoryLinks | None = None) -> None:
        self.clock = clock
        self.number = number
        self.came: Listeners[[int]] = Listeners("came")
        self.went: Listeners[[int]] = Listeners("went")
        self.received: Listeners[[int, bytes]] = Listeners("received")
        self.writable_again: Listeners[[int]] = Listeners("writable again")
        #: Which nodes take no more for now.
        self.full: set[int] = set()
        #: While set, what is sent does not arrive.
        self.send_nothing = False
        #: Every frame that came.
        self.frames: list[bytes] = []
        self._since: dict[int, float] = {}
        self._up: set[int] = set()
        self.all: dict[int, MemoryLinks] = {} if beside is None else beside.all
        self.all[number] = self

    def join(self, number: int) -> None:
        """Be linked with a node from now."""
        other = self.all[number]
        self._up.add(number)
        other._up.add(self.number)
        self.came.tell(number)
        other.came.tell(self.number)

    def part(self, number: int, *, for_good: bool = False) -> None:
        """Be linked with a node no more.

        :param for_good: whether that is known not to come back.
        """
        now = -DEAD_AFTER if for_good else self.clock.seconds()
        for ours, theirs in ((self, number), (self.all[number], self.number)):
            ours._since[theirs] = now
            if theirs in ours._up:
                ours._up.remove(theirs)
                ours.went.tell(theirs)

    # -- FrameLinks

    def send(self, number: int, frame: bytes) -> bool:
        if number not in self._up:
            return False
        assert isinstance(frame, bytes)
        if self.send_nothing:
            return True
        self.clock.callLater(0, self._arrive, self.all[number], frame)
        return True

    def _arrive(self, other: MemoryLinks, frame: bytes) -> None:
        if other.number in self._up:
            other.frames.append(frame)
            other.received.tell(self.number, frame)

    def writable(self, number: int) -> bool:
        return number in self._up and number not in self.full

    def wait_until(self, number: int) -> float:
        since = self._since.get(number)
        if since is None:
            # As one that has just begun.
            return self.clock.seconds() + DEAD_AFTER if number in self.all else 0.0
        return since + DEAD_AFTER


class _AllElsewhere(Forwarding):
    """Whatever comes is for a client of the other node, handshakes included."""

    def node_of(self, messages: Sequence[Message]) -> OtherNode | None:
        return self._nodes.get(OWNER)

    def node_of_client(self, client_id: str) -> OtherNode | None:
        return self._nodes.get(OWNER)


def behind_an_edge(parts: SiteParts, server: BayeuxServer) -> Bayeux:
    """The Bayeux server of a site, reached by another node; for `site_parts.build_bayeux`."""
    owner = MemoryLinks(parts.reactor, OWNER)
    edge = MemoryLinks(parts.reactor, EDGE, owner)
    _build_bayeux(
        attrs.evolve(parts, linked=Linked(owner, lambda: OWNER, MemoryBus(lambda: OWNER))), server
    )
    beyond = attrs.evolve(parts, linked=Linked(edge, lambda: EDGE, MemoryBus(lambda: EDGE)))
    # It is the other node that stops where a test stops the site.
    chat = parts.chat
    partings, chat._partings = chat._partings, []
    bayeux = _build_bayeux(beyond, site_parts.build_bayeux_server(beyond), _AllElsewhere)
    chat._partings = partings
    edge.join(OWNER)
    return bayeux


def _build_bayeux(
    parts: SiteParts, server: BayeuxServer, kind: type[Forwarding] = Forwarding
) -> Bayeux:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site_parts, "Forwarding", kind)
        return BUILD_BAYEUX(parts, server)


BUILD_BAYEUX = site_parts.build_bayeux
