"""From a request that may read to a subscription of a held request.

What it is: `RequestHolder` sends the head, holds the request in the way of its transport, and hands
what comes up by it to the chat.

What it may know: rows of the table, held requests, the chat. Not who may ask, nor for what.

Invariant: what is held is counted for as long as it is held, and nothing refuses it any more once
its head is on its way.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.commands import Commands
from cometd_chat.chat.held_subscription import HeldSubscription
from cometd_chat.chat.presence import GRACE, SLOW_GRACE
from cometd_chat.chat.resume import ResumePoint
from cometd_chat.chat.rights import Act
from cometd_chat.chat.sink import HeldSink
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import ChatError
from cometd_chat.gateways.posting import InboundPoster
from cometd_chat.transports.framings import Frame, Framing
from cometd_chat.transports.held import HeldPoll, HoldPolicy, RotationLimits
from cometd_chat.transports.held_stream import HeldStream, RotatingStream
from cometd_chat.transports.request import HoldableRequest, HttpRequest
from cometd_chat.transports.standing_poll import StandingPoll
from cometd_chat.transports.stats import TransportStats
from cometd_chat.transports.table import CLASSIC, TABLE, Hold, Transport
from cometd_chat.transports.websocket import WebSocket
from cometd_chat.web.opening import ReadRequest

#: A frame keeps everything that it was ever sent, so that it has to begin anew now and then; not
#: all in the same minute.
FRAME_EVENTS = 1000
FRAME_BYTES = 512 * 1024
FRAME_SECONDS = (8 * 60.0, 10 * 60.0)


@attrs.frozen(kw_only=True)
class HoldSettings:
    """How requests are held; see the options of the same names.

    :param heartbeat: in seconds.
    :param poll_timeout: in seconds.
    :param reader_budget: in bytes.
    """

    heartbeat: float
    poll_timeout: float
    reader_budget: int


class RequestHolder:
    """Holds requests, at any transport.

    :param refused: counts what was refused of what comes up.
    :param random: a number between 0 and 1, another one each time.
    """

    def __init__(
        self,
        chat: Chat,
        stats: TransportStats,
        reaper: Reaper,
        settings: HoldSettings,
        *,
        refused: Callable[[ChatError], None],
        random: Callable[[], float],
    ) -> None:
        self._chat = chat
        self._commands = Commands(chat)
        self._stats = stats
        self._reaper = reaper
        self._refused = refused
        self._random = random
        self._policies = {
            row.name: HoldPolicy(
                transport=row.name,
                reaper=reaper,
                stats=stats,
                heartbeat=settings.heartbeat,
                budget=settings.reader_budget,
                rotation=RotationLimits(FRAME_EVENTS, FRAME_BYTES)
                if row.hold is Hold.ROTATING
                else None,
            )
            for row in (*TABLE, CLASSIC)
        }
        self._on_end = self._count_out  # One bound method for all of them.

    def hold(
        self,
        request: HttpRequest,
        row: Transport,
        framing: Framing,
        asked: ReadRequest,
        point: ResumePoint,
        *,
        at_once: bool,
        comes_again: bool = False,
    ) -> HeldSink:
        """Hold a request.

        :param at_once: a poll is answered even when there is nothing to say.
        :param comes_again: it equals the one before it but for its cursor, and so may the next one
            equal it: it is let stand on its connection, where there is such a place.
        :raises ChatError: somebody may not read any more, or holds too much.
        """
        # From here on nothing can refuse it: a handshake that is answered takes no error any more.
        grant = asked.grant
        self._chat.rights.require_still(grant, Act.FOLLOW)
        self._chat.limits.hold(asked.address)
        socket = WebSocket.accept(request) if row.upgrade else None
        if socket is None:
            set_headers(request, framing)
        again = request.repeatable() if comes_again else None
        held: HeldSink
        if again is None:
            held = self._held(request, row, framing, asked.wait)
        else:
            policy = self._policies[row.name]
            held = StandingPoll(again, point.cursor, framing, policy, wait=asked.wait)
        subscription = self._chat.readers.read(
            grant.session,
            grant.rooms,
            held,
            point,
            on_end=self._on_end,
            address=asked.address,
            grace=SLOW_GRACE if row.hold is Hold.POLL and asked.wait == 0 else GRACE,
            at_once=at_once or asked.wait == 0,
            client=asked.client,
            most=asked.most,
            standing=None if again is None else grant,
        )
        self._listen(request, subscription, asked, socket)
        return held

    def _held(
        self, request: HoldableRequest, row: Transport, framing: Framing, wait: float
    ) -> HeldSink:
        policy = self._policies[row.name]
        if row.hold is Hold.POLL:
            return HeldPoll(request, framing, policy, wait=wait)
        if row.hold is Hold.STREAM:
            return HeldStream(request, framing, policy)
        least, most = FRAME_SECONDS
        lasts = least + (most - least) * self._random()
        rotate_at = self._reaper.seconds() + lasts
        return RotatingStream(request, framing, policy, rotate_at=rotate_at)

    def _listen(
        self,
        request: HttpRequest,
        subscription: HeldSubscription,
        asked: ReadRequest,
        socket: WebSocket | None,
    ) -> None:
        """Take what the peer says, where the transport lets it."""
        source = request.body if socket is None else socket
        if source is None:
            return
        talk = InboundPoster(
            self._chat, self._commands, asked.grant, subscription, source, self._refused
        )
        if socket is not None:
            socket.listen(subscription, talk, self._reaper)
        elif request.body is not None:
            request.body.listen(talk)

    def _count_out(self, subscription: HeldSubscription, expired: bool) -> None:
        """Count it no longer."""
        self._chat.limits.let_go(subscription.address)
        if expired:
            self._stats.expire(subscription.transport)


def set_headers(request: HttpRequest, framing: Framing) -> None:
    """Set what the head of a held response has."""
    request.setHeader("content-type", framing.content_type)
    request.setHeader("cache-control", "no-store, no-transform")
    request.setHeader("x-accel-buffering", "no")
    if isinstance(framing, Frame):
        request.setHeader("content-security-policy", framing.content_security_policy)
