"""A request, as far as routes and transports use one.

What it is: `HttpRequest`, the seam between what reads HTTP and what answers it. Two things keep it:
`http.LimitedRequest`, which Klein routes, and `fastlane.request.LaneRequest`. The names are those
of Twisted's own `Request`, and mean what they mean there.

What it may know: types. All that is done here is to ask a request.

Invariant: what is written for an `HttpRequest` can't tell by which way one came. mypy compares both
classes with it, member by member, in ``tests/transports/test_request.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping, Sequence
from typing import IO, Protocol, TypeVar

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress

from cometd_chat.transports.body import IncomingBody
from cometd_chat.transports.receipt import Receipt
from cometd_chat.transports.standing import Repeatable
from cometd_chat.transports.twisted_internals import PeerConnection

Found = TypeVar("Found")


class PeerListener(Protocol):
    """Who is told that a peer has gone."""

    def lost(self) -> None:
        """It has."""


class HoldableRequest(Protocol):
    """A request that can be held, whoever brought it: Klein, or the fast lane."""

    @property
    def transport(self) -> PeerConnection:
        """Where its peer is."""

    #: Bytes of body that were written.
    sentLength: int

    @property
    def direct(self) -> PeerConnection | None:
        """The same transport where `twisted_internals.send` may write the body to it, past the
        request; else None. Asked for once the head is written."""

    @property
    def chunked(self) -> object:
        """Whether the body is in chunks. Asked for once the head is written."""

    def hold(self, held: PeerListener) -> None:
        """From here on ``held.lost`` is called when the peer goes."""

    def write(self, data: bytes) -> None:
        """Write a piece of the body; with the first one the head goes out."""

    def setHeader(self, name: str | bytes, value: str | bytes) -> None:
        """Set a header of the response, before anything is written."""

    def settled(self) -> HoldableRequest:
        """What to use in its place from now, when it is held and its head is out: the same, or what
        is left of it once nobody asks any more what it was."""

    def tell_drained(self, producer: object) -> None:
        """Call ``producer.resumeProducing`` when nothing more waits in this process, each time,
        until `tell_no_more` is called."""

    def tell_no_more(self) -> None:
        """It need not be told of that any longer."""

    def notice_end(self) -> bool:
        """End the connection when its peer has gone, which nobody tells while it is not read.

        :returns: whether it is gone; `lost` is called for it now or in a later turn.
        """

    def receipt(self) -> Receipt:
        """What becomes of the response. Asked for once all of it is written, before `release`."""

    def release(self) -> None:
        """The response is complete: the connection may go on with the next request."""

    def cut(self) -> None:
        """Drop the connection: the response gets no proper end."""


class RequestHeaders(Protocol):
    """The header lines that came; names are found in any case."""

    def getRawHeaders(self, name: str, default: Sequence[str]) -> Sequence[str]:
        """All values of a name, in their order."""

    def getAllRawHeaders(self) -> Iterable[tuple[bytes, Sequence[bytes]]]:
        """Every name with its values."""


class ResponseHeaders(Protocol):
    """The header lines of an answer, before its head is written."""

    def addRawHeader(self, name: str, value: str) -> None:
        """One more line of a name that may be there already."""

    def removeHeader(self, name: str) -> None:
        """Leave out all lines of a name."""


class HttpRequest(HoldableRequest, Protocol):
    """A request whose head is read and, but for what is read early, whose body is."""

    @property
    def method(self) -> bytes:
        """Such as ``GET``."""

    @property
    def path(self) -> bytes:
        """What was asked for, without its query, as it came."""

    @property
    def uri(self) -> bytes:
        """The path and the query."""

    @property
    def clientproto(self) -> bytes:
        """The version of HTTP that the client speaks, such as ``HTTP/1.1``."""

    @property
    def requestHeaders(self) -> RequestHeaders:
        """The header lines that came."""

    @property
    def responseHeaders(self) -> ResponseHeaders:
        """The header lines of the answer."""

    @property
    def received_cookies(self) -> MutableMapping[bytes, bytes]:
        """The cookies that came; a route may take out what is no good."""

    @property
    def content(self) -> IO[bytes]:
        """The body, where it isn't read while it arrives."""

    @property
    def body(self) -> IncomingBody | None:
        """The body, where it is read while it arrives."""

    @property
    def upgradable(self) -> UpgradableRequest | None:
        """The same request where its connection can become something else than HTTP's."""

    @property
    def memory(self) -> MutableMapping[object, object]:
        """What was found out about requests with the same header lines on this connection. What is
        kept here may be forgotten at any time."""

    @property
    def common(self) -> MutableMapping[object, object]:
        """The same for requests of any connection that have equal header lines, but for cookies,
        ``Authorization`` and ``Last-Event-ID``: nothing is kept here that follows from those, or
        from where a request comes from."""

    @property
    def code(self) -> int:
        """The status of the answer."""

    @property
    def began(self) -> float:
        """When it came, in the reaper's seconds."""

    def getHeader(self, key: str) -> str | None:
        """The last value of a header; None when it isn't there."""

    def getCookie(self, key: bytes) -> bytes | None:
        """The value of a cookie; None when it isn't there."""

    def isSecure(self) -> bool:
        """Whether it came over TLS of ours."""

    def getClientAddress(self) -> IAddress:
        """Where its peer is."""

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        """Set the status of the answer."""

    def repeatable(self) -> Repeatable | None:
        """What it takes to let it stand on its connection: the next one may be equal to it. Asked
        for once all of its answer's headers are set but for its length.

        :returns: None where requests can't stand.
        """


class InputReader(Protocol):
    """Who reads what comes on a connection that is no longer HTTP's."""

    def data_received(self, data: bytes) -> None:
        """Something came."""

    @property
    def held(self) -> int:
        """Bytes of it that wait."""


class UpgradableRequest(HttpRequest, Protocol):
    """A request that can switch protocols (RFC 9110, section 7.8)."""

    #: Waited for after the last words of a held response, before it is over.
    closing: Callable[[], Deferred[None]] | None

    def switch(self, headers: bytes) -> None:
        """Answer it with 101: from here on what is written goes out as it is.

        :param headers: the lines of the answer's head, each with its end.
        """

    def pass_input(self, reader: InputReader) -> None:
        """From here on whatever comes is for ``reader``; the connection ends with the response."""

    def call_soon(self, call: Callable[[], None]) -> object:
        """Call something after the reactor's current turn."""


def remembered(request: HttpRequest, key: object, make: Callable[[], Found]) -> Found:
    """What follows from a request's header lines alone.

    On one connection of the fast lane they are mostly the same, and to find it anew would cost as
    much as the rest of a poll.

    :param key: under which one kind of thing is kept.
    :param make: finds it.
    """
    memory = request.memory
    found = memory.get(key)
    if found is None:
        found = memory[key] = make()
    return found  # type: ignore[return-value]


def address_of(request: HttpRequest) -> str:
    """The peer's IP address; an empty string where it has none, as on a Unix socket."""
    return host_of(request.getClientAddress())


def host_of(address: object) -> str:
    """The IP address in an address of Twisted's; an empty string where there is none."""
    return address.host if isinstance(address, (IPv4Address, IPv6Address)) else ""
