"""What may be lost, on its way to the other nodes by PostgreSQL's notifications.

What it is: `NotifyBus`, a `Bus` over the connection of a node's ears.

What it may know: topics, opaque bytes, a clock. Not the log.

Invariant: that of every `Bus`: what comes is whole, comes once, and in the order in which its node
sent it, or it does not come at all. Nobody waits for it, and what it takes is bounded: a
notification is at most 8,000 bytes, and takes a transaction at the server.
"""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.log.bus import BusListener, Topics

#: Where it is sent. Another form of it gets another channel.
CHANNEL = "comet_chat_bus"

#: Seconds between two batches of a node: at most 20 a second.
INTERVAL = 0.05

#: Bytes of a batch that go into one notification, as base64.
_PART = 5800

#: Bytes that wait to be sent. What comes beyond is dropped: the database does not keep up.
MOST_WAITING = 2**20

_Batch = list[tuple[str, bytes]]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Batch).decode

#: A part is small, and many are sent in one statement, whose answer nobody waits for.
_SEND = b"SELECT pg_notify('comet_chat_bus', part) FROM unnest($1::text[]) AS p (part)"


class Sender(Protocol):
    """A connection of a node's ears; see `cometd_chat.log.postgresql.ears.Ears`."""

    def send(self, query: bytes, parameter: bytes) -> Deferred[Any] | None:
        """Ask something of the database; None while there is no connection."""


@attrs.define(eq=False)
class _Coming:
    """The parts of a batch of which not all have come."""

    number: int
    parts: list[str] = attrs.field(factory=list)


class NotifyBus:
    """A `Bus` by notifications.

    :param number: says the number of this node, as of now.
    :param reactor: its clock.
    """

    _log = Logger()

    def __init__(self, number: Callable[[], int], reactor: Any) -> None:
        self._number = number
        self._reactor = reactor
        self._topics = Topics()
        self._sender: Sender | None = None
        # Numbers of nodes change; this is one process's own.
        self._own = secrets.token_hex(6)
        self._sent = 0
        self._waiting: _Batch = []
        self._size = 0
        self._dropping = False
        self._under_way = False
        self._due: object | None = None
        self._last = float("-inf")
        self._coming: dict[str, _Coming] = {}

    @property
    def channels(self) -> dict[str, Callable[[str], None]]:
        """What the ears have to listen to, and who hears it."""
        return {CHANNEL: self._heard}

    def attach(self, sender: Sender) -> None:
        """Send by this one from now on."""
        self._sender = sender

    def publish(self, topic: str, message: bytes) -> None:
        """See `Bus.publish`."""
        size = len(topic) + len(message)
        if self._size + size > MOST_WAITING:
            if not self._dropping:
                self._log.warn("the bus is full: messages to other nodes are dropped")
            self._dropping = True
            return
        self._waiting.append((topic, message))
        self._size += size
        self._schedule()

    def subscribe(self, topic: str, listener: BusListener) -> Callable[[], None]:
        """See `Bus.subscribe`."""
        return self._topics.add(topic, listener)

    # -- out

    def _schedule(self) -> None:
        if self._due is None and not self._under_way:
            delay = max(0.0, self._last + INTERVAL - self._reactor.seconds())
            self._due = self._reactor.callLater(delay, self._flush)

    def _flush(self) -> None:
        self._due = None
        self._last = self._reactor.seconds()
        waiting, self._waiting, self._size = self._waiting, [], 0
        self._dropping = False
        if self._sender is None:
            return
        self._sent += 1
        parts = self._parts(waiting)
        asked = self._sender.send(_SEND, _array(parts))
        if asked is not None:
            # Not before the last one is through: it would only wait elsewhere.
            self._under_way = True
            asked.addErrback(self._not_sent).addCallback(self._through)

    def _parts(self, batch: _Batch) -> Sequence[str]:
        text = b64encode(_encode(batch)).decode()
        size = _PART * 4 // 3
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        head = f"{self._own} {self._number()} {self._sent}"
        return [f"{head} {n} {len(pieces)} {piece}" for n, piece in enumerate(pieces)]

    def _not_sent(self, failure: Failure) -> None:
        # It may be lost; that the database can't be reached the ears say.
        self._log.debug("not sent: {reason}", reason=failure.getErrorMessage())

    def _through(self, _: object) -> None:
        self._under_way = False
        if self._waiting:
            self._schedule()

    # -- in

    def _heard(self, payload: str) -> None:
        own, _, rest = payload.partition(" ")
        if own == self._own:
            return
        try:
            node, number, part, parts, text = rest.split(" ")
            batch = self._whole(own, int(number), int(part), int(parts), text)
            messages = [] if batch is None else _decode(b64decode(batch))
            sender = int(node)
        except (ValueError, msgspec.DecodeError):
            self._log.debug("what another node sent can't be read")
            return
        for topic, message in messages:
            self._topics.tell(topic, sender, message)

    def _whole(self, own: str, number: int, part: int, parts: int, text: str) -> str | None:
        """A batch, once its last part has come; parts come in order or not at all."""
        if parts == 1:
            return text
        if part == 0:
            # One a process at most, and a process that is gone leaves none but a broken one.
            if len(self._coming) > 1000:
                self._coming.clear()
            self._coming[own] = _Coming(number)
        coming = self._coming.get(own)
        if coming is None or (coming.number, len(coming.parts)) != (number, part):
            self._coming.pop(own, None)
            return None
        coming.parts.append(text)
        if part + 1 < parts:
            return None
        del self._coming[own]
        return "".join(coming.parts)


def _array(parts: Sequence[str]) -> bytes:
    """An array of texts that have no letter with a meaning in one, as PostgreSQL reads it."""
    return b"{" + b",".join(b'"%s"' % part.encode() for part in parts) + b"}"
