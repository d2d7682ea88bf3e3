"""The links of this node, as a part of the daemon: its port, whom it links with, and when.

What it is: `Peering`, which follows which nodes there are; `Linked`, what the site is given of it.

What it may know: options, nodes, links; it joins things, as `service.py` does.

Invariant: the port is bound before this node is in the list of nodes, since that says where it is;
links are made from then on, and end after the last answer that goes by them.
"""

from __future__ import annotations

import random
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.logger import Logger

from cometd_chat.comet import Reaper
from cometd_chat.comet.listeners import Listeners
from cometd_chat.daemon.lifecycle import FunctionService
from cometd_chat.daemon.ports import Bound, ListeningPorts
from cometd_chat.daemon.settings import Settings
from cometd_chat.log.bus import Bus
from cometd_chat.log.nodes import LeasedNodes, NodeRow
from cometd_chat.transports.budget import MemoryBudget
from cometd_chat.transports.peer_counts import LinkNumbers
from cometd_chat.transports.peer_greeting import Credentials
from cometd_chat.transports.peer_links import FrameLinks, PeerLinks

_ADDRESS = re.compile(r"(?:\[([^]]+)\]|([^:]+)):([0-9]{1,5})")


def _nobody() -> Listeners[[int]]:
    return Listeners("this node's new number")


@attrs.frozen
class Linked:
    """The other nodes, as far as the site needs them.

    :param links: to them.
    :param number: of this node, as of now.
    :param bus: for what may be lost.
    :param renumbered: told when this node has another number.
    :param numbers: how the links are now.
    """

    links: FrameLinks
    number: Callable[[], int]
    bus: Bus
    renumbered: Listeners[[int]] = attrs.field(factory=_nobody)
    numbers: Callable[[], Sequence[LinkNumbers]] = tuple


class Peering:
    """Links this node with all others.

    :param key: that all nodes have.
    :param memory: where what waits for others is counted.
    :param release: what this daemon calls itself.
    """

    _log = Logger()

    def __init__(
        self,
        settings: Settings,
        nodes: LeasedNodes,
        bus: Bus,
        key: Callable[[], bytes],
        memory: MemoryBudget,
        reaper: Reaper,
        reactor: Any,
        release: str,
    ) -> None:
        self._nodes = nodes
        self._address = settings.peer_address

        def credentials() -> Credentials:
            return Credentials(nodes.number, release, key(), secrets.token_bytes)

        self._links = PeerLinks(reactor, reaper, memory, credentials, random.random)
        #: What the site is given.
        self.linked = Linked(
            self._links, lambda: nodes.number, bus, nodes.renumbered, self._links.numbers
        )
        #: Before this node is in the list of nodes.
        self.port: Service = ListeningPorts(
            (settings.peer,), self._links, reactor, self._bound, option="--peer"
        )
        #: After it.
        self.links: Service = FunctionService("peer links", begin=self._begin, end=self._links.stop)
        nodes.joined.add(self._joined)
        nodes.gone.add(lambda row: self._links.remove(row.number))
        nodes.renumbered.add(self._renumbered)

    def _bound(self, bound: Any) -> None:
        (port,) = bound
        self._nodes.set_peer(self._address or address_of(port))

    def _begin(self) -> None:
        for row in self._nodes.others():
            self._joined(row)

    def _joined(self, row: NodeRow) -> None:
        try:
            address = parse_address(row.peer)
        except ValueError:
            address = None
            self._log.warn("Node {node} says no address to reach it at", node=row.number)
        self._links.add(row.number, address)

    def _renumbered(self, number: int) -> None:
        self._links.begin_anew()
        self._begin()


def address_of(port: Bound) -> str:
    """HOST:PORT of a port that is bound."""
    host, number = port.address.host, port.address.port  # type: ignore[union-attr]
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


def parse_address(text: str) -> tuple[str, int]:
    """Host and port in HOST:PORT.

    :raises ValueError: it is something else.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ValueError("an address is HOST:PORT")
    return match[1] or match[2], int(match[3])
