"""What stays with a connection between two requests of a client that asks again and again.

What it is: the seam between a connection and a request that stands: one that is held, answered, and
followed by the same bytes but for what its answer gave the client to go on with. `AnswerHead` is
the head of all of its answers.

What it may know: the sweep, bytes. Not who asks, nor what for.

Invariant: the next request is compared byte for byte with the one that would follow, and whatever
else comes ends it and is read as if it had never been there. At rest it holds nothing that counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs

from cometd_chat.comet.reaper import Reaper
from cometd_chat.transports.receipt import Receipt

#: An answer of more bytes is put together for each who gets it.
_SHARED_BYTES = 64 * 1024


class AnsweredRequest(Protocol):
    """What an access log shows of a request; see `HttpRequest`."""

    @property
    def method(self) -> bytes:
        """Such as ``GET``."""

    @property
    def path(self) -> bytes:
        """Without the query."""

    @property
    def code(self) -> int:
        """The status of its answer."""

    @property
    def sentLength(self) -> int:
        """Bytes of body that were written."""

    @property
    def began(self) -> float:
        """When it came, in the reaper's seconds."""


class StandingRequest(AnsweredRequest, Protocol):
    """A request that is under way, or was answered and waits for the next one like it."""

    def again(self, data: bytes) -> bool:
        """Something came while it was at rest.

        :returns: whether that was the next one: it is under way then, or even answered. If not, it
            has ended, and what came is as any other request.
        """

    def lost(self) -> None:
        """The peer is gone, or has asked for something else."""


class StandingPlace(Protocol):
    """A connection, for a request that stands there."""

    @property
    def reaper(self) -> Reaper:
        """The sweep."""

    def stand(self, standing: StandingRequest) -> None:
        """From here on this is what the connection has under way."""

    def forget(self, standing: StandingRequest) -> None:
        """It has ended. Nothing happens where that is known."""

    def new_receipt(self) -> Receipt:
        """What becomes of the answer that is written next."""

    def answer(self, standing: StandingRequest, data: bytes, at: float) -> None:
        """Write all of the answer: from here on it is at rest.

        :param at: the moment, as `Reaper.coarse_now` gives it.
        """

    def cut(self) -> None:
        """Drop the connection."""


class AnswerHead:
    """The head of answers that differ in their date and their length: one for all clients whose
    requests look alike, so that those who are told the same are sent the same bytes.

    :param before: what stands before the date.
    :param after: what stands after it, but for the length, which comes last.
    :param date: gives its line.
    """

    __slots__ = ("_after", "_at", "_before", "_body", "_data", "_date")

    def __init__(self, before: bytes, after: bytes, date: Callable[[], bytes]) -> None:
        self._before = before
        self._after = after
        self._date = date
        self._at: float | None = None
        self._body = self._data = b""

    def answer(self, body: bytes, at: float) -> bytes:
        """A whole answer.

        :param at: the moment, as `Reaper.coarse_now` gives it. What is the same object as in the
            last call is taken as the same; so are bodies, which a `Batch` makes once.
        """
        if body is self._body and at is self._at:
            return self._data
        data = self.before(len(body)) + body
        if len(body) <= _SHARED_BYTES:
            self._body, self._at, self._data = body, at, data
        return data

    def before(self, size: int) -> bytes:
        """What stands before a body of so many bytes."""
        length = b"Content-Length: %d\r\n\r\n" % size
        return b"".join((self._before, self._date(), self._after, length))


@attrs.frozen
class Repeatable:
    """A request that may stand, see `HttpRequest.repeatable`.

    :param block: its header lines.
    :param head: that of its answer.
    """

    place: StandingPlace
    method: bytes
    path: bytes
    target: bytes
    block: bytes
    head: AnswerHead
