"""A site of a node among others, as far as its own health goes.

What it is: `NodeSite`, a `MemorySite` whose way to the database is as the test says.

What it may know: the site's parts.

Invariant: nothing but health and numbers differs from the site of a process that is alone.
"""

from __future__ import annotations

from typing import Any

from cometd_chat.chat_parts import Neighbours
from cometd_chat.comet.listeners import Listeners
from cometd_chat.log.bus import MemoryBus
from cometd_chat.log.condition import Condition
from cometd_chat.log.memory import MemoryEventLog
from cometd_chat.log.nodes import LeasedNodes, MemoryNodeTable
from cometd_chat.peering import Linked
from cometd_chat.storage import Cluster
from cometd_chat.transports.peer_counts import LinkNumbers
from tests.edges import MemoryLinks
from tests.memory import MemorySite

#: All is well.
WELL = Condition(
    unreachable_for=0.0,
    lag_records=0,
    lag_seconds=0.0,
    deaf_for=0.0,
    bells={"inline": 5, "read": 3, "missed": 1},
    commits=7,
    commit_seconds=0.25,
    doubts=2,
    queue_usage=0.125,
    epoch=1,
)


class NodeSite(MemorySite):
    """The site of node 2, beside node 1."""

    def __init__(self, **settings: Any) -> None:
        #: How its way to the database is.
        self.condition = WELL
        #: How its links are.
        self.link_numbers: list[LinkNumbers] = []
        super().__init__(**settings)

    def make_linked(self) -> Linked:
        """See `MemorySite.make_linked`."""
        return Linked(
            MemoryLinks(self.clock, 2),
            lambda: 2,
            MemoryBus(lambda: 2),
            numbers=lambda: self.link_numbers,
        )

    def make_cluster(self) -> Cluster:
        """See `MemorySite.make_cluster`."""
        table = MemoryNodeTable(self.clock.seconds, MemoryEventLog())
        table.add_now("first", "", "1")
        nodes = LeasedNodes(table, self.engine.reaper, name="second", peer="", version="1")
        nodes.start()
        return Cluster(
            nodes=nodes,
            neighbours=Neighbours(MemoryBus(lambda: nodes.number), nodes, lambda: True),
            condition=lambda: self.condition,
            left_history=Listeners("a history that is over"),
            put_back_to=Listeners("a log that was put back"),
            peer_key=lambda: b"k" * 32,
        )
