"""Free channels over several nodes: what is published at one is heard by the clients of all.

What it is: `ChannelRelay`, between the broadcast of this node and the bus to the others.

What it may know: the broadcast, the bus. Not clients, nor who may publish.

Invariant: what came from another node goes to the clients of this one and no further. Each message
reaches each client once or not at all, those of one node in the order in which they were published
there. What the server's own code has to say to a message it says at the node where it is published.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from twisted.logger import Logger

from cometd_chat.bayeux.broadcast import Broadcast
from cometd_chat.bayeux.channels import InvalidChannel
from cometd_chat.bayeux.messages import encode
from cometd_chat.log.bus import Bus

#: What they go by.
TOPIC = "bayeux"


class _Published(msgspec.Struct, array_like=True, frozen=True):
    """One message, as it was before the extensions of any node have seen it."""

    channel: str
    data: object
    lazy: bool
    ext: dict[str, object]


_decode = msgspec.json.Decoder(_Published).decode


class ChannelRelay:
    """The relay of one node."""

    _log = Logger()

    def __init__(self, broadcast: Broadcast, bus: Bus) -> None:
        self._broadcast = broadcast
        self._bus = bus
        broadcast.published.add(self._published)
        bus.subscribe(TOPIC, self._heard)

    def _published(self, channel: str, data: object, lazy: bool, ext: Mapping[str, object]) -> None:
        self._bus.publish(TOPIC, encode(_Published(channel, data, lazy, dict(ext))))

    def _heard(self, node: int, message: bytes) -> None:
        try:
            said = _decode(message)
            self._broadcast.tell(said.channel, said.data, said.lazy, said.ext)
        except (msgspec.MsgspecError, InvalidChannel) as error:
            self._log.warn("Node {node} publishes what is no message: {why}", node=node, why=error)
