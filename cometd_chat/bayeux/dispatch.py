"""From a message to its reply: the five verbs of the protocol.

What it is: what happens to each message of a request, and in what order the replies leave.

What it may know: the clients, the channels, the policy. Not transports beyond `Exchange`, and not
the server that has all of these.

Invariant: messages of a client are handled in the order in which they came, over all requests;
only what a source has to make durable is waited for outside of that order. Nothing that a message
contains can keep others from their replies.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from cometd_chat.bayeux import faults
from cometd_chat.bayeux.channels import (
    InvalidChannel,
    is_meta,
    is_service,
    parse_pattern,
)
from cometd_chat.bayeux.client import BayeuxClient
from cometd_chat.bayeux.clients import Clients
from cometd_chat.bayeux.connects import Connects
from cometd_chat.bayeux.exchange import Exchange
from cometd_chat.bayeux.extensions import CONNECT, HANDSHAKE, Chain
from cometd_chat.bayeux.faults import Fault
from cometd_chat.bayeux.messages import BadMessage, Message, extension_fields
from cometd_chat.bayeux.options import BayeuxOptions
from cometd_chat.bayeux.paths import MetaConnect
from cometd_chat.bayeux.policy import Policy
from cometd_chat.bayeux.publishing import Publishing
from cometd_chat.bayeux.replies import Answer, Replies, Stopped, is_id
from cometd_chat.bayeux.served_channels import ServedChannels
from cometd_chat.bayeux.sources import ChannelSource
from cometd_chat.errors import ChatError

VERSION = "1.0"

#: What begins when the replies are on their way.
_Begin = Callable[[], None]


@attrs.define(eq=False)
class Request:
    """One payload on its way through.

    :param client: of its first message that has one which its peer may use; None when none has.
    :param size: how many messages it has.
    :param connect: the connect among them.
    :param begin: what is to begin once the replies are on their way.
    :param leaves: whether the client ends after that.
    """

    exchange: Exchange
    client: BayeuxClient | None
    size: int
    connect: MetaConnect | None = None
    begin: list[_Begin] = attrs.field(factory=list)
    leaves: bool = False


class Dispatcher:
    """Handles requests.

    :param chain: what all messages pass.
    :param policy: who may; another one counts from the next message.
    """

    _log = Logger()

    def __init__(
        self,
        registry: Clients,
        channels: ServedChannels,
        connects: Connects,
        publishing: Publishing,
        replies: Replies,
        policy: Policy,
        chain: Chain,
        options: BayeuxOptions,
    ) -> None:
        self._registry = registry
        self._channels = channels
        self._connects = connects
        self.policy = policy
        self._chain = chain
        self._publishing = publishing
        self._replies = replies
        self._options = options
        self._verbs: dict[str, Callable[[Message, Request, BayeuxClient], Awaitable[Answer]]] = {
            CONNECT: self._connect,
            "/meta/subscribe": self._subscribe,
            "/meta/unsubscribe": self._unsubscribe,
            "/meta/disconnect": self._disconnect,
        }

    async def process(self, messages: Sequence[Message], request: Request) -> None:
        """Handle all messages of a request and send the replies."""
        client = request.client
        if client is None:
            answers = [await self._answer(each, request) for each in messages]
        elif len(client.turn.waiting) >= self._options.max_waiting_requests:
            fault = faults.too_many_requests()
            answers = [self._replies.refusal(each, client, fault) for each in messages]
        else:
            await client.turn.acquire()
            try:
                answers = [await self._answer(each, request) for each in messages]
            finally:
                client.turn.release()
        if request.exchange.push is None:
            await self._reply_at_once(request, answers)
        else:
            await self._reply_as_ready(request, answers)
        if request.leaves and client is not None:
            self._registry.leave(client)

    async def _reply_at_once(self, request: Request, answers: Sequence[Answer]) -> None:
        """One reply for all."""
        parts = [await each if isinstance(each, Deferred) else each for each in answers]
        ready = [each for each in parts if each is not None]
        if request.connect is None:
            request.exchange.reply(ready)
        else:
            self._connects.settle(request.connect, others=ready)
        self._begin(request)

    async def _reply_as_ready(self, request: Request, answers: Sequence[Answer]) -> None:
        """What is ready goes at once, and nothing waits for a connect that is held."""
        ready = [each for each in answers if isinstance(each, bytes)]
        if ready or not request.size:
            request.exchange.reply(ready)
        if request.connect is not None:
            self._connects.settle(request.connect)
        self._begin(request)
        for each in answers:
            late = await each if isinstance(each, Deferred) else None
            if late is not None:
                request.exchange.reply([late])

    def _begin(self, request: Request) -> None:
        for begin in request.begin:
            try:
                begin()
            except Exception:
                self._log.failure("a source could not begin")

    # -- one message

    async def _answer(self, message: Message, request: Request) -> Answer:
        try:
            return await self._handle(message, request)
        except Exception as error:
            return self._replies.refusal(message, request.client, error)

    async def _handle(self, message: Message, request: Request) -> Answer:
        if isinstance(message, BadMessage):
            raise faults.message_invalid(message.reason)
        if not is_id(message.get("id")):
            raise faults.message_id_invalid()
        channel = message.get("channel")
        if channel is None:
            raise faults.channel_missing()
        client = None if channel == HANDSHAKE else self._known(message, request)
        passed = self._chain.incoming(message, client)
        if passed is None:
            raise faults.message_deleted()
        if "error" in passed:
            raise Stopped(str(passed["error"]))
        if client is None:
            return await self._handshake(passed, request)
        if client.ended and channel != CONNECT:
            raise faults.session_unknown()
        verb = self._verbs.get(channel) if isinstance(channel, str) else None
        if verb is None:
            return await self._publishing.publish(passed, request.exchange, client)
        return await verb(passed, request, client)

    def _known(self, message: Message, request: Request) -> BayeuxClient:
        """The client of a request, which is that of each of its messages."""
        client = request.client
        if client is None or client.ended or request.leaves:
            raise faults.session_unknown()
        if message.get("clientId") != client.id:
            raise faults.session_unknown()
        return client

    # -- the verbs

    async def _handshake(self, message: Message, request: Request) -> Answer:
        """(Bayeux 1.0, section 4.1)"""
        _check_version(message)
        types = self._options.connection_types
        _check_connection_types(message.get("supportedConnectionTypes", list(types)), types)
        peer = request.exchange.peer
        identity = await self.policy.identify(message, peer)
        client = self._registry.new(identity, peer)
        fields: dict[str, object] = {
            "clientId": client.id,
            "version": VERSION,
            "minimumVersion": VERSION,
            "supportedConnectionTypes": list(types),
            "advice": self._connects.advice(),
        }
        if identity.reply_ext:
            fields["ext"] = dict(identity.reply_ext)
        return self._replies.success(message, client, **fields)

    async def _connect(self, message: Message, request: Request, client: BayeuxClient) -> Answer:
        """(Bayeux 1.0, section 4.2) Its reply comes from `Connects`."""
        if client.ended:
            return self._replies.success(message, client, advice=dict(client.farewell))
        said = message.get("connectionType")
        if said is not None and said not in self._options.connection_types:
            raise faults.connection_types_unsupported([str(said)])
        earlier = request.connect
        request.connect = self._connects.admit(
            client, message, request.exchange, alone=request.size == 1
        )
        if earlier is None:
            return None
        return self._replies.refusal(earlier.message, client, faults.connect_replaced())

    async def _subscribe(self, message: Message, request: Request, client: BayeuxClient) -> Answer:
        """(Bayeux 1.0, section 4.4) All patterns or none."""
        patterns = _subscription(message)
        new = [each for each in patterns if each not in client.subscriptions]
        if len(client.subscriptions) + len(new) > self._options.max_subscriptions:
            most = self._options.max_subscriptions
            raise faults.subscribe_denied(f"A session has at most {most} subscriptions")
        wanted = [each for each in new if not is_service(each)]
        try:
            for pattern in new:
                await self._check_subscribe(client, pattern)
            request.begin += await self._open(client, wanted, message)
        except ChatError as error:
            if error.status < 500:
                raise
            # Stock clients don't ask again for what was refused, but for all that they want once
            # they shake hands anew: so they are told to.
            fault = faults.not_now(error)
            request.begin.append(partial(_renew, client, fault.interval))
            raise fault from error
        for pattern in wanted:
            self._channels.subscribe(client, pattern)
        return self._replies.success(message, client, subscription=message["subscription"])

    async def _check_subscribe(self, client: BayeuxClient, pattern: str) -> None:
        if is_meta(pattern):
            raise Fault(403, "subscribe_denied", [pattern, "denied_by_security_policy"])
        channels = self._channels
        free = channels.is_free(pattern)
        if not free and not is_service(pattern) and not channels.sources_of(pattern):
            raise faults.subscribe_denied(f"There are no channels {pattern} here")
        if free and channels.is_new(pattern):
            await self.policy.may_create(client, pattern)
        await self.policy.may_subscribe(client, pattern)

    async def _open(
        self, client: BayeuxClient, patterns: Sequence[str], message: Message
    ) -> list[_Begin]:
        """Open the sources of patterns, all of them or none."""
        opened: list[tuple[ChannelSource, str, _Begin]] = []
        ext = extension_fields(message)
        try:
            for pattern in patterns:
                for source in self._channels.sources_of(pattern):
                    opened.append((source, pattern, await source.open(client, pattern, ext)))
            if client.ended:
                raise faults.session_unknown()
        except Exception:
            for source, pattern, _ in opened:
                source.close(client, pattern)
            raise
        return [_while_subscribed(client, pattern, begin) for _, pattern, begin in opened]

    async def _unsubscribe(
        self, message: Message, request: Request, client: BayeuxClient
    ) -> Answer:
        """(Bayeux 1.0, section 4.5) What was not subscribed is no mistake."""
        for pattern in _subscription(message):
            self._channels.unsubscribe(client, pattern)
        return self._replies.success(message, client, subscription=message["subscription"])

    async def _disconnect(self, message: Message, request: Request, client: BayeuxClient) -> Answer:
        """(Bayeux 1.0, section 4.3) The client ends after the reply."""
        request.leaves = True
        return self._replies.success(message, client)


def _check_version(message: Message) -> None:
    """Any 1.x will do; a client that says nothing is taken at that."""
    version = message.get("version", VERSION)
    if not isinstance(version, str) or version.split(".")[0] != "1":
        raise faults.version_unsupported(str(version))


def _check_connection_types(said: object, known: Sequence[str]) -> None:
    if not isinstance(said, list):
        raise faults.parameter_missing("supportedConnectionTypes")
    if not any(each in known for each in said):
        raise faults.connection_types_unsupported([str(each) for each in said])


def _subscription(message: Message) -> list[str]:
    """The patterns of a subscribe or unsubscribe, each once."""
    said = message.get("subscription")
    if said is None or said == [] or said == "":
        raise faults.subscription_missing()
    try:
        patterns = [parse_pattern(each) for each in (said if isinstance(said, list) else [said])]
    except InvalidChannel as error:
        raise faults.subscription_invalid(str(error)) from None
    return list(dict.fromkeys(patterns))


def _renew(client: BayeuxClient, after: float) -> None:
    """Have it shake hands anew, in so many seconds, if it has not ended meanwhile."""
    if not client.ended:
        client.renew(after)


def _while_subscribed(client: BayeuxClient, pattern: str, begin: _Begin) -> _Begin:
    """Begin, unless it has gone or unsubscribed meanwhile."""

    def checked() -> None:
        if not client.ended and pattern in client.subscriptions:
            begin()

    return checked
