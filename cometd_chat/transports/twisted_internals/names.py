"""The names of Twisted's that it promises to nobody, and that something here relies on.

What it is: one table, of which class, which name and what for, and a look whether all are there.

What it may know: Twisted's classes. Nothing is changed.

Invariant: a name that is used anywhere in this package stands here, and none is used outside of it
(``tests/transports/test_names.py``). So what a new Twisted no longer has is known at the start.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from functools import cache
from types import FunctionType

import attrs
from twisted.internet import abstract, tcp, unix
from twisted.internet.endpoints import SSL4ServerEndpoint, UNIXServerEndpoint
from twisted.internet.ssl import CertificateOptions
from twisted.logger import FileLogObserver, LogPublisher
from twisted.protocols import tls
from twisted.protocols.policies import ProtocolWrapper
from twisted.web import http, server

try:
    from twisted.internet import epollreactor
except ImportError:  # pragma: no cover
    EPOLL_REACTOR = None
else:
    #: The reactor that waits by epoll(7); None where the system has none.
    EPOLL_REACTOR = epollreactor.EPollReactor


class Feature(Enum):
    """What goes without a name that is missing."""

    #: Nothing can be served without its bounds.
    HTTP = "HTTP"
    DIRECT_WRITE = "--direct-write"
    FAST_LANE = "--fast-lane"
    #: The rest goes on as Twisted would have it.
    EXTRA = "extra"


@attrs.frozen
class Name:
    """A name that is relied on.

    :param owner: the class that has it.
    :param features: what needs it.
    :param what: what it is needed for, for people.
    """

    owner: type
    name: str
    features: frozenset[Feature]
    what: str

    def __str__(self) -> str:
        return f"{self.owner.__name__}.{self.name}"

    @property
    def is_there(self) -> bool:
        """Whether the class has it, or its methods use it."""
        return hasattr(self.owner, self.name) or self.name in used_by(self.owner)


@cache
def used_by(owner: type) -> frozenset[str]:
    """All names that methods of a class use; what they set on instances is among them."""
    names: set[str] = set()
    for each in owner.__mro__:
        for member in vars(each).values():
            function = member.fget if isinstance(member, property) else member
            if isinstance(function, FunctionType):
                names.update(_names_in(function.__code__))
    return frozenset(names)


def _names_in(code: object) -> Iterator[str]:
    yield from getattr(code, "co_names", ())
    for each in getattr(code, "co_consts", ()):
        yield from _names_in(each)


_H, _D, _L, _E = (frozenset({feature}) for feature in Feature)

#: By class, what for and for which features: the names.
_ROWS: Sequence[tuple[type, str, frozenset[Feature], str]] = (
    (http.HTTPChannel, "reading a head", _H, "_buffer _busyReceiving line_mode paused"),
    (http.HTTPChannel, "the head's bounds", _H, "_receivedHeaderCount _receivedHeaderSize"),
    (http.HTTPChannel, "the request line", _H, "_command _path _version"),
    (
        http.HTTPChannel,
        "a body's bounds",
        _H,
        "_transferDecoder _maybeChooseTransferDecoder _failChooseTransferDecoder",
    ),
    (http.HTTPChannel, "refusals", _H, "_networkProducer _respondToBadRequestAndDisconnect"),
    (http.HTTPChannel, "one request at a time", _H, "requests _handlingRequest _dataBuffer"),
    (http.HTTPChannel, "when nothing is under way", _L, "_waitingForTransport"),
    (http.HTTPChannel, "telling other protocols", _L | _E, "_HTTPChannel__first_line"),
    (http.HTTPChannel, "naming a large cookie", _E, "_HTTPChannel__header"),
    (http._ChunkedTransferDecoder, "counting chunks", _E, "_buffer _trailerHeaders"),
    (server.Request, "WebSocket", _H, "startedWriting chunked"),
    (server.Request, "answering OPTIONS *", _E, "_handleStar"),
    (
        abstract.FileDescriptor,
        "counting what waits to be sent",
        _H,
        "dataBuffer offset _tempDataBuffer _tempDataLen",
    ),
    (
        abstract.FileDescriptor,
        "waiting until an answer has left",
        _H,
        "producer producerPaused streamingProducer",
    ),
    (abstract.FileDescriptor, "whether it is open", _D | _L, "connected disconnecting"),
    (tcp.Server, "the socket", _D | _L, "socket"),
    (tcp.Server, "reading", _D, "bufferSize"),
    (tcp.Server, "who has a connection", _H, "protocol"),
    (
        tcp.Server,
        "connections without a dict",
        _L,
        "_addressType client fileno hostname logstr reactor repstr server sessionno",
    ),
    (unix.Server, "connections without a dict", _L, "_sendmsgQueue"),
    (tcp.Port, "connections without a dict", _L, "transport factory"),
    (tcp.Port, "accepting past its log", _D, "doRead reactor socket"),
    (tcp.Port, "accepting a few connections a turn", _E, "numberAccepts"),
    (tcp.Port, "ports that others have, too", _E, "_shouldShutdown fileno"),
    (ProtocolWrapper, "who has a connection over TLS", _H, "wrappedProtocol"),
    (
        tls.BufferingTLSTransport,
        "counting what waits to be sent over TLS",
        _H,
        "_appSendBuffer _aggregator",
    ),
    (tls._AggregateSmallWrites, "counting what waits to be sent over TLS", _H, "_buffer"),
    (SSL4ServerEndpoint, "the ciphers of --listen ssl:", _E, "_sslContextFactory"),
    (
        CertificateOptions,
        "the ciphers of --listen ssl:",
        _E,
        "_cipherString _options _contextFactory",
    ),
    (UNIXServerEndpoint, "mistakes in --listen unix:", _E, "_address"),
    (LogPublisher, "--log-level", _E, "_observers"),
    (FileLogObserver, "levels for journald", _E, "_outFile"),
)

_EPOLL = "_disconnectSelectable _doReadOrWrite _poller _POLL_IN _selectables doIteration"
if EPOLL_REACTOR is not None:
    _ROWS = (*_ROWS, (EPOLL_REACTOR, "reading past its log", _D, _EPOLL))

#: The same, a name each.
NAMES: Sequence[Name] = tuple(
    Name(owner, name, features, what)
    for owner, what, features, names in _ROWS
    for name in names.split()
)


def missing(names: Sequence[Name] = NAMES) -> Sequence[Name]:
    """Those that this Twisted doesn't have."""
    return [name for name in names if not name.is_there]


def needed_by(feature: Feature, names: Sequence[Name]) -> Sequence[Name]:
    """Those of some names that a feature needs."""
    return [name for name in names if feature in name.features]
