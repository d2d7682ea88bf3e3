"""What clients publish: who hears it, and that it is published once.

What it is: from a message on a channel to its source, its service or all who subscribed.

What it may know: channels, the policy. Not connects, not the order of messages.

Invariant: what is published to one channel goes one way, and what is sent again because its reply
was lost has one effect.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial

from twisted.internet.defer import Deferred

from cometd_chat.bayeux import faults
from cometd_chat.bayeux.channels import InvalidChannel, is_meta, is_service, parse_channel
from cometd_chat.bayeux.client import BayeuxClient
from cometd_chat.bayeux.exchange import Exchange
from cometd_chat.bayeux.faults import Fault
from cometd_chat.bayeux.messages import Message, extension_fields
from cometd_chat.bayeux.policy import Policy
from cometd_chat.bayeux.published import publish_key
from cometd_chat.bayeux.replies import Answer, Replies
from cometd_chat.bayeux.served_channels import ServedChannels
from cometd_chat.bayeux.sources import ChannelSource


class Publishing:
    """Publishes for clients.

    :param policy: who may; another one counts from the next message.
    :param relayed_ext: see `BayeuxOptions.relayed_ext`; it may grow.
    :param seconds: the reaper's.
    """

    def __init__(
        self,
        channels: ServedChannels,
        policy: Policy,
        replies: Replies,
        relayed_ext: Collection[str],
        seconds: Callable[[], float],
    ) -> None:
        self.policy = policy
        self._channels = channels
        self._replies = replies
        self._relayed_ext = relayed_ext
        self._seconds = seconds

    async def publish(self, message: Message, exchange: Exchange, client: BayeuxClient) -> Answer:
        """Publish a message. (Bayeux 1.0, section 5.1)

        :param exchange: that brings it.
        :raises Fault, ChatError: it is refused.
        """
        try:
            channel = parse_channel(message["channel"])
        except InvalidChannel:
            raise faults.channel_invalid(str(message["channel"])) from None
        if is_meta(channel):
            raise Fault(403, "publish_denied", [channel, "denied_by_security_policy"])
        if "data" not in message:
            raise faults.parameter_missing("data")
        message = {**message, "channel": channel}
        sources = [] if is_service(channel) else self._channels.sources_of(channel)
        await self._check_publish(client, message, sources)
        done = client.published.once(
            publish_key(client.id, message),
            partial(self._carry_out, client, message, sources),
            self._seconds(),
            exchange,
            counts=client.habits.counts,
        )
        return _ready(Deferred.fromCoroutine(self._published(done, message, client)))

    async def _published(
        self, done: Deferred[None], message: Message, client: BayeuxClient
    ) -> bytes | None:
        try:
            await done
        except Exception as error:
            return self._replies.refusal(message, client, error)
        return self._replies.success(message, client)

    async def _check_publish(
        self, client: BayeuxClient, message: Message, sources: Sequence[ChannelSource]
    ) -> None:
        channel = message["channel"]
        if not sources and not is_service(channel):
            if not self._channels.is_free(channel):
                raise faults.publish_denied(f"There is no channel {channel} here")
            if self._channels.is_new(channel):
                await self.policy.may_create(client, channel)
        await self.policy.may_publish(client, message)

    async def _carry_out(
        self,
        client: BayeuxClient,
        message: Message,
        sources: Sequence[ChannelSource],
        key: str | None,
    ) -> None:
        channel = message["channel"]
        if is_service(channel):
            await self._serve(client, message)
        elif sources:
            await sources[0].publish(client, message, key)
        else:
            said = extension_fields(message)
            ext = {field: said[field] for field in said if field in self._relayed_ext}
            broadcast = self._channels.broadcast
            if not broadcast.publish(channel, message["data"], client, False, ext):
                raise faults.message_deleted()

    async def _serve(self, client: BayeuxClient, message: Message) -> None:
        service = self._channels.service(message["channel"])
        if service is None:
            raise faults.no_service(message["channel"])
        answering = service(client, message)
        if answering is not None:
            await answering


def _ready(reply: Deferred[bytes | None]) -> Answer:
    """The reply itself, when it is there already."""
    if not reply.called:
        return reply
    result = reply.result
    return result if isinstance(result, bytes) else None
