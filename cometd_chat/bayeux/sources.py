"""Channels that something else keeps: rooms in a log, people who are present.

What it is: the `ChannelSource` protocol, and `Places` of a log. A source owns a tree of channels:
it is asked when a client subscribes or publishes there, and feeds clients in its own order.

What it may know: clients and event messages. Not where a source has its messages from.

Invariant: what a source feeds is either queued or refused; what was refused it feeds again from
the same position when it is told to resume. So a bounded queue loses nothing of a log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from cometd_chat.bayeux.client import BayeuxClient
from cometd_chat.bayeux.messages import Message


class Places(Protocol):
    """The log behind channels that are kept, as far as it takes to say where one stands."""

    @property
    def last_id(self) -> int:
        """Id of the newest message that is told of; 0 when there is none."""

    def cursor(self, id: int) -> str:
        """The cursor of a client that has everything up to ``id``."""

    def position(self, cursor: str) -> int | None:
        """The id in a cursor, or None when this log never gave that cursor out; above `last_id`
        when that id was not told of here yet.

        :raises InvalidCursor: it can't be a cursor.
        """


class ChannelSource(Protocol):
    """Who keeps a tree of channels. Told apart by identity; must be hashable.

    It feeds by ``client.feed(event, source, position)``, in the order of positions in a channel,
    each once however many of its patterns match. ``event`` is made once for all by
    `BayeuxServer.event`. False means that there is no room: what may be lost is, what is kept is
    to be fed again from there after `resume`.
    """

    def __hash__(self) -> int:
        """By identity."""

    @property
    def tree(self) -> str:
        """The pattern of its channels, such as ``/chat/*``."""

    async def open(
        self, client: BayeuxClient, pattern: str, ext: Mapping[str, object]
    ) -> Callable[[], None]:
        """A client subscribes to a pattern that has channels of the tree in it.

        Where it begins is settled before the first await: what is published after the call is
        for it.

        :param ext: of its subscribe message, such as a cursor; not checked.
        :returns: what begins the feeding. It is called once the reply is on its way, unless it
            has gone or unsubscribed by then; `close` follows in any case.
        :raises ChatError, Fault: it may not; nothing was opened, and there will be no `close`.
        """

    def close(self, client: BayeuxClient, pattern: str) -> None:
        """It unsubscribed or has ended: feed it for this pattern no longer."""

    async def publish(self, client: BayeuxClient, message: Message, resend_key: str | None) -> None:
        """A client publishes ``message["data"]`` to ``message["channel"]``.

        :param resend_key: 32 hexadecimal digits, the same when it sends the same again because
            it saw no reply; None when it gave it no id.
        :returns: once it is done, and durable where that is what the channel promises.
        :raises ChatError, Fault: it is refused.
        """

    def confirmed(self, client: BayeuxClient, channel: str, position: int) -> None:
        """A client has everything of a channel up to a position."""

    def resume(self, client: BayeuxClient) -> None:
        """There is room again: go on where a feed was refused."""
