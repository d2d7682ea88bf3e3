"""What the core needs of a transport: three small things, all without I/O here.

What it is: the seam between the protocol and whatever moves bytes. An `Exchange` is one payload
of messages and the way back for its replies; a `PushConnection` is one on which messages can be
pushed at any time (a WebSocket, an EventSource stream).

What it may know: messages that are encoded already. Not HTTP, not JSON.

Invariant: the core calls `Exchange.reply` once where nothing is pushed; on a push connection
replies may come one after the other. Transports tell the core of every loss, and may do so twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

import attrs

from cometd_chat.bayeux.templates import ReplyTemplate


@attrs.frozen
class Peer:
    """Who brought a payload, as far as the transport can tell.

    :param transport: the connection type, such as ``long-polling``.
    :param browser: what its BAYEUX_BROWSER cookie says; None when it sent none.
    :param offered_browser: the cookie that goes out with this exchange's reply, when it sent none.
    :param token: the credential that the connection itself shows (a cookie, a header); None when
        it shows none, or one that may not be believed (JSONP, a foreign origin).
    :param forwarded: whether a proxy stands between: what is known of a connection is then known of
        the proxy's.
    :param replays: whether the clients that come this way want the place of messages that are kept,
        see `ReplayExtension`.
    :param address: where from, for limits.
    :param context: the edge's own, for its policy.
    """

    transport: str
    browser: str | None = None
    offered_browser: str | None = attrs.field(default=None, repr=False)
    token: str | None = attrs.field(default=None, repr=False)
    forwarded: bool = False
    replays: bool = False
    address: str = attrs.field(default="", repr=False)
    context: object = attrs.field(default=None, repr=False)


class Arrival(Enum):
    """Whether a reply has arrived, as far as its transport can tell."""

    #: It has not been sent yet, and the peer is there.
    WAITING = "waiting"
    #: Some of it has not been taken by the peer.
    UNDER_WAY = "under way"
    #: Nothing speaks against it, and nothing for it.
    UNKNOWN = "unknown"
    #: The peer has closed the connection in order, after it had taken all.
    CLOSED = "closed"
    #: The peer has said something since that it says when it has read all before.
    READ = "read"
    #: The connection broke before any of that.
    LOST = "lost"


class Delivery(Protocol):
    """What becomes of the reply to an exchange; outlives it, and is small."""

    def arrival(self) -> Arrival:
        """What is known by now. It may be read, closed or lost at most once, and for ever."""


class PushConnection(Protocol):
    """A connection that messages are pushed on. Told apart by identity; must be hashable.

    What was pushed counts against the client's bounds until it is confirmed, so a transport calls
    `BayeuxServer.push_confirmed` as its peer takes it; else a busy room stalls at the bound until
    the next connect. Sending to one that was lost has no effect.
    """

    @property
    def opened_at(self) -> float:
        """When it was opened, in the reaper's seconds."""

    @property
    def writable(self) -> bool:
        """Whether it takes more now. When it does again, call `BayeuxServer.push_writable`."""

    def send(self, messages: Sequence[tuple[int, bytes]]) -> None:
        """Send event messages, each with its number, as one array, one frame or one event each.

        The number is for `BayeuxServer.push_confirmed`, and for ``id:`` in an EventSource.
        """

    def end(self) -> None:
        """Close it, after what was written: nothing more will come (WebSocket: 1000). Its peer's
        answer may yet confirm; `BayeuxServer.push_lost` is told once that can't be."""


class Exchange(Protocol):
    """One payload and its replies. Told apart by identity; must be hashable.

    A reply to a peer that is gone has no effect: the loss is told by `BayeuxServer.lost`.
    """

    @property
    def peer(self) -> Peer:
        """Who brought it."""

    @property
    def push(self) -> PushConnection | None:
        """What it came by and its replies go by; None for a request of its own."""

    @property
    def delivery(self) -> Delivery:
        """Tells whether its reply has arrived; of several, the last."""

    def hold(self, seconds: float) -> None:
        """The reply will take up to ``seconds``; until then, watch whether the peer is there."""

    def reply(self, messages: Sequence[bytes]) -> None:
        """Send replies and what goes with them: the elements of one JSON array."""


class StandingExchange(Exchange, Protocol):
    """An exchange that comes again and again by one connection, with a connect and nothing else."""

    def answer(
        self, messages: Sequence[bytes], template: ReplyTemplate, id: str, number: int | None
    ) -> None:
        """Send messages, and the reply to a connect after them, as one JSON array.

        :param id: of the connect.
        :param number: by which its client confirms; None where the template has no place for it.
        """

    def forget(self) -> None:
        """The connect does not come again by it."""
