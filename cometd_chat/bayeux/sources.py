"""Channels that somebody else keeps: rooms in a log, people who are present.

What it is: the `ChannelSource` protocol, and `Places` of a log. A source owns a tree of channels:
it is asked when somebody subscribes or publishes there, and feeds sessions in its own order.

What it may know: sessions and event messages. Not where a source has its messages from.

Invariant: what a source feeds is either queued or refused; what was refused it feeds again from
the same position when it is told to resume. So a bounded queue loses nothing of a log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from cometd_chat.bayeux.messages import Message
from cometd_chat.bayeux.session import Session


class Places(Protocol):
    """The log behind channels that are kept, as far as it takes to say where one stands."""

    @property
    def last_id(self) -> int:
        """Id of the newest message that is told of; 0 when there is none."""

    def cursor(self, id: int) -> str:
        """The cursor of a client that has everything up to ``id``."""

    def position(self, cursor: str) -> int | None:
        """The id in a cursor, or None when this log never gave that cursor out.

        :raises InvalidCursor: it can't be a cursor.
        """


class ChannelSource(Protocol):
    """Who keeps a tree of channels. Told apart by identity; must be hashable.

    It feeds by ``session.feed(event, source, position)``, in the order of positions in a channel,
    each once however many of her patterns match. ``event`` is made once for all by
    `BayeuxServer.event`. False means that there is no room: what may be lost is, what is kept is
    to be fed again from there after `resume`.
    """

    def __hash__(self) -> int:
        """By identity."""

    @property
    def tree(self) -> str:
        """The pattern of its channels, such as ``/chat/*``."""

    async def open(
        self, session: Session, pattern: str, ext: Mapping[str, Any]
    ) -> Callable[[], None]:
        """Somebody subscribes to a pattern that has channels of the tree in it.

        Where she begins is settled before the first await: what is published after the call is
        hers.

        :param ext: of her subscribe message, such as a cursor; from the client, not checked.
        :returns: what begins the feeding. It is called once her reply is on its way, unless she
            has gone or unsubscribed by then; `close` follows in any case.
        :raises ChatError, Fault: she may not; nothing was opened, and there will be no `close`.
        """

    def close(self, session: Session, pattern: str) -> None:
        """She unsubscribed, or her session ended: feed her for this pattern no longer."""

    async def publish(self, session: Session, message: Message, resend_key: str | None) -> None:
        """She publishes ``message["data"]`` to ``message["channel"]``.

        :param resend_key: 32 hexadecimal digits, the same when she sends the same again because
            she saw no reply; None when she gave it no id.
        :returns: once it is done, and durable where that is what the channel promises.
        :raises ChatError, Fault: it is refused.
        """

    def confirmed(self, session: Session, channel: str, position: int) -> None:
        """Her client has everything of a channel up to a position."""

    def resume(self, session: Session) -> None:
        """There is room again: go on where a feed was refused."""
