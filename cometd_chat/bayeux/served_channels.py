"""The channels that a server has: free ones, those of sources, and services.

What it is: which channels there are, who keeps them, and who subscribed to them.

What it may know: clients, sources. Not transports, not who may do what, not the order of messages.

Invariant: a client's subscriptions, those of the broadcast and those that its sources were told of
are the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence

from cometd_chat.bayeux.broadcast import Broadcast
from cometd_chat.bayeux.channels import intersects, is_meta, matches, parse_pattern
from cometd_chat.bayeux.client import PATTERN_SIZE, BayeuxClient
from cometd_chat.bayeux.listeners import ServerListeners, guarded
from cometd_chat.bayeux.messages import Message
from cometd_chat.bayeux.sources import ChannelSource

#: Answers what is published to a service channel; raises a `ChatError` or a `Fault` to refuse it.
Service = Callable[[BayeuxClient, Message], "Awaitable[None] | None"]


class ServedChannels:
    """All channels of a server.

    :param broadcast: of the free ones, and where all subscriptions are.
    :param free: trees of channels that are free for publishing, such as ``/app/**``.
    :param sources: who keeps other trees.
    :param listeners: hear of subscriptions.
    :param account: told how many bytes more, or fewer, are kept for subscriptions.
    :raises InvalidChannel: a free tree is no pattern.
    """

    def __init__(
        self,
        broadcast: Broadcast,
        free: Sequence[str],
        sources: Sequence[ChannelSource],
        listeners: ServerListeners,
        account: Callable[[int], object],
    ) -> None:
        self.broadcast = broadcast
        self._free = [parse_pattern(each) for each in free]
        self._sources = list(sources)
        self._by_key: dict[Hashable, ChannelSource] = {each: each for each in sources}
        self._services: dict[str, Service] = {}
        self._listeners = listeners
        self._account = account

    def sources_of(self, pattern: str) -> list[ChannelSource]:
        """The sources that have channels in a pattern."""
        return [each for each in self._sources if intersects(each.tree, pattern)]

    def is_free(self, pattern: str) -> bool:
        """Whether a channel, or some channel of a pattern, is free."""
        return any(intersects(each, pattern) for each in self._free) and not is_meta(pattern)

    def is_new(self, pattern: str) -> bool:
        """Whether nobody subscribes to a pattern."""
        return pattern not in self.broadcast.subscriptions

    def add_service(self, channel: str, service: Service) -> None:
        """See `BayeuxServer.add_service`."""
        self._services[parse_pattern(channel)] = service

    def service(self, channel: str) -> Service | None:
        """Who answers a service channel."""
        found = (each for pattern, each in self._services.items() if matches(pattern, channel))
        return next(found, None)

    def subscribe(self, client: BayeuxClient, pattern: str) -> None:
        """A client subscribed; its sources are open already."""
        new = self.is_new(pattern)
        client.subscriptions[pattern] = None
        self._count(client, PATTERN_SIZE + len(pattern))
        self.broadcast.subscriptions.add(pattern, client)
        if new:
            self._listeners.channel_added.tell(pattern)
        self._listeners.subscribed.tell(client, pattern)

    def unsubscribe(self, client: BayeuxClient, pattern: str) -> None:
        """A client does not want a pattern any more; nothing happens when it never did."""
        if pattern not in client.subscriptions:
            return
        del client.subscriptions[pattern]
        self._count(client, -PATTERN_SIZE - len(pattern))
        self.broadcast.subscriptions.remove(pattern, client)
        for source in self.sources_of(pattern):
            guarded("closing a source failed", source.close, client, pattern)
        self._listeners.unsubscribed.tell(client, pattern)
        if self.is_new(pattern):
            self._listeners.channel_removed.tell(pattern)

    def _count(self, client: BayeuxClient, change: int) -> None:
        client.patterns_size += change
        self._account(change)

    def confirm(self, client: BayeuxClient, number: int) -> None:
        """A client has everything up to a number: tell the sources, and let go on those whose feed
        its queue refused, once it has room."""
        for (key, channel), position in client.queue.confirm(number).items():
            source = self._by_key.get(key)
            if source is not None:
                guarded("confirming failed", source.confirmed, client, channel, position)
        if client.paused_sources and client.queue.has_room:
            paused, client.paused_sources = client.paused_sources, {}
            for source in (self._by_key[key] for key in paused if key in self._by_key):
                guarded("resuming a source failed", source.resume, client)
