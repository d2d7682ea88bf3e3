"""Free channels: from one who publishes to all who subscribed.

What it is: the subscriptions of all clients, the channels that the server's own code has set up,
and the way of a message to everybody who is to have it.

What it may know: clients and event messages. Not transports, not who may do what.

Invariant: a message reaches each client once, whatever patterns of its match; it carries no id,
no clientId and nothing else that its publisher could forge, but for what is relayed of its ``ext``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import attrs

from cometd_chat.bayeux.channels import SubscriptionIndex, parse_channel, parse_pattern, patterns_of
from cometd_chat.bayeux.client import BayeuxClient
from cometd_chat.bayeux.extensions import Chain
from cometd_chat.bayeux.messages import Message
from cometd_chat.bayeux.options import BayeuxOptions
from cometd_chat.bayeux.queue import EventMessage, Kept
from cometd_chat.comet.listeners import Listeners

#: Hears what a client (None for the server) publishes; False stops it.
MessageListener = Callable[["BayeuxClient | None", Message], "bool | None"]


@attrs.define(eq=False)
class Channel:
    """What the server's code has settled for a channel, or for all that match a pattern.

    :param lazy: messages wait for others to go with.
    :param lazy_timeout: for so many seconds at most; None for the server's own limit.
    :param broadcast_to_publisher: whether who publishes hears it; None as the server says.
    :param listeners: hear what is published, before it goes out.
    """

    name: str
    lazy: bool = False
    lazy_timeout: float | None = None
    broadcast_to_publisher: bool | None = None
    listeners: list[MessageListener] = attrs.field(factory=list)


class Broadcast:
    """All subscriptions, and the way out.

    :param chain: the extensions; each event message passes the server's once.
    """

    def __init__(self, options: BayeuxOptions, chain: Chain) -> None:
        self.subscriptions: SubscriptionIndex[BayeuxClient] = SubscriptionIndex()
        #: Told what was published here: channel, data, whether it may wait, ``ext``.
        self.published: Listeners[[str, object, bool, Mapping[str, object]]] = Listeners(
            "what is published"
        )
        self._options = options
        self._chain = chain
        self._channels: dict[str, Channel] = {}

    def channel(self, name: str) -> Channel:
        """What is settled for a channel or pattern; made when nothing is.

        :raises InvalidChannel: it is neither.
        """
        pattern = parse_pattern(name)
        return self._channels.setdefault(pattern, Channel(pattern))

    def forget(self, name: str) -> None:
        """Nothing is settled for a channel or pattern any more."""
        self._channels.pop(name, None)

    def _settled(self, channel: str) -> Iterator[Channel]:
        if self._channels:
            for pattern in patterns_of(channel):
                settled = self._channels.get(pattern)
                if settled is not None:
                    yield settled

    def event(
        self, channel: str, data: object, kept: Kept | None = None, /, **fields: object
    ) -> EventMessage | None:
        """An event message, made once for all whom it is for.

        :param kept: its place, when it is kept.
        :param fields: more of its top level, such as the id of a remote call.
        :returns: None when an extension drops it.
        :raises InvalidChannel: that is no channel.
        """
        message: Message = {"channel": parse_channel(channel), "data": data, **fields}
        passed = self._chain.event(message)
        return None if passed is None else EventMessage(message["channel"], passed, kept)

    def publish(
        self,
        channel: str,
        data: object,
        publisher: BayeuxClient | None,
        lazy: bool,
        ext: Mapping[str, object],
    ) -> bool:
        """Send a message to all who subscribed.

        :param publisher: None for the server itself.
        :param ext: goes with it, unless it is empty.
        :param lazy: it may wait for others to go with.
        :returns: False when a listener stopped it.
        """
        settled = list(self._settled(channel))
        fields: dict[str, object] = {"ext": ext} if ext else {}
        message: Message = {"channel": channel, "data": data, **fields}
        for listener in [listener for each in settled for listener in each.listeners]:
            if listener(publisher, message) is False:
                return False
        event = self.event(channel, data, **fields)
        if event is None:
            return False
        self.published.tell(channel, data, lazy, ext)
        wait = self._lazy_wait(settled, lazy)
        echoed = publisher is None or self._is_echoed(settled, publisher)
        for client in self.subscriptions.matching(channel):
            if echoed or client is not publisher:
                client.put(event, lazy=wait)
        return True

    def tell(self, channel: str, data: object, lazy: bool, ext: Mapping[str, object]) -> None:
        """Send what was published at another node, where its listeners were asked.

        :raises InvalidChannel: that is no channel.
        """
        event = self.event(channel, data, **({"ext": ext} if ext else {}))
        if event is not None:
            wait = self._lazy_wait(list(self._settled(event.channel)), lazy)
            for client in self.subscriptions.matching(event.channel):
                client.put(event, lazy=wait)

    def _lazy_wait(self, settled: list[Channel], lazy: bool) -> float | None:
        timeouts = [each.lazy_timeout for each in settled if each.lazy]
        if not lazy and not timeouts:
            return None
        limit = self._options.max_lazy_timeout
        return min([limit, *(each for each in timeouts if each is not None)])

    def _is_echoed(self, settled: list[Channel], publisher: BayeuxClient) -> bool:
        said = [each.broadcast_to_publisher for each in settled]
        return publisher.broadcast_to_publisher and False not in said
