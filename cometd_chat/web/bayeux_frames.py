"""What nodes say to each other about Bayeux: the frames, one class each.

What it is: the vocabulary between the *edge*, where a request came, and the *owner*, whose client
it is about. The edge's side is `bayeux_forwarding.py`, the owner's `bayeux_owner.py`.

What it may know: what a peer is. Not links, not requests.

Invariant: what is decoded has the types that are written here; all else is `NoFrame`. A field or
a frame that is added is known by both sides only once the version of the links says so.

::

    edge                                        owner
     | Ask --------------------------------------> |   messages of a request of its own, or of a
     | <---- Hold, Reply, Handled, GiveBack ------ |   socket's; Gone: its client went away;
     | Gone, Arrived ----------------------------> |   Arrived: what became of the reply
     |                                             |
     | Open -------------------------------------> |   a WebSocket or an event stream, a *line*:
     | <------- Push, Say, EndLine, NoSession ---- |   what is pushed on it, what is replied by it
     | Writable, Progress, Lost -----------------> |
     |                                             |
     | Release ----------------------------------> |   the edge stops: answer what it holds
"""

from __future__ import annotations

import msgspec

from cometd_chat.bayeux.exchange import Peer
from cometd_chat.gateways.bayeux_policy import ProvenBy


class NoFrame(Exception):
    """What came is not one that is known here."""


class _Frame(msgspec.Struct, array_like=True, frozen=True):
    """They are told apart by their tags."""


class Caller(_Frame, frozen=True):
    """A `Peer`, as it goes from node to node. Texts that may have halves of characters in them are
    bytes here."""

    transport: str
    browser: str | None
    offered_browser: str | None
    token: bytes | None
    forwarded: bool
    replays: bool
    address: str
    by_cookie: bool

    @classmethod
    def of(cls, peer: Peer) -> Caller:
        """A peer, for another node."""
        token = None if peer.token is None else peer.token.encode("utf-8", "surrogatepass")
        return cls(
            peer.transport,
            peer.browser,
            peer.offered_browser,
            token,
            peer.forwarded,
            peer.replays,
            peer.address,
            peer.context == ProvenBy(by_cookie=True),
        )

    def peer(self) -> Peer:
        """The peer that it is about."""
        token = None if self.token is None else self.token.decode("utf-8", "surrogatepass")
        return Peer(
            transport=self.transport,
            browser=self.browser,
            offered_browser=self.offered_browser,
            token=token,
            forwarded=self.forwarded,
            replays=self.replays,
            address=self.address,
            context=ProvenBy(self.by_cookie),
        )


# -- from the edge


class Ask(_Frame, tag=1, frozen=True):
    """Handle messages.

    :param id: of the request, among those of the edge.
    :param bodies: the JSON that came, in UTF-8.
    :param is_text: whether it came as text, which may have halves of characters in it.
    :param line: of the socket that it came by; 0 for a request of its own.
    :param counts: whether `Handled` is wanted.
    """

    id: int
    caller: Caller
    bodies: list[bytes]
    is_text: bool
    line: int
    counts: bool


class Gone(_Frame, tag=2, frozen=True):
    """The client of a request went away before it had a reply."""

    id: int


class Arrived(_Frame, tag=3, frozen=True):
    """What is known of a reply by now.

    :param arrival: the value of an `Arrival`.
    :param is_final: whether nothing more will be.
    """

    id: int
    arrival: str
    is_final: bool


class Open(_Frame, tag=4, frozen=True):
    """There is a line for a client of yours.

    :param age: for how many seconds it has been open.
    :param client_id: whose event stream it is; empty for a socket, which has its clients' messages.
    :param last: number of the last event that its client has.
    """

    line: int
    caller: Caller
    age: float
    client_id: str
    last: int | None


class Writable(_Frame, tag=5, frozen=True):
    """Whether a line takes more."""

    line: int
    writable: bool


class Progress(_Frame, tag=6, frozen=True):
    """How far the peer of a line has come.

    :param number: of the newest message that has arrived.
    :param frames: how many frames of yours it has read.
    """

    line: int
    number: int
    frames: int


class Lost(_Frame, tag=7, frozen=True):
    """A line is gone.

    :param closed: in order, by close frames.
    """

    line: int
    closed: bool


class Release(_Frame, tag=8, frozen=True):
    """The edge stops: answer all that it holds for you."""


# -- from the owner


class Hold(_Frame, tag=17, frozen=True):
    """The reply will take so many seconds at most."""

    id: int
    seconds: float


class Reply(_Frame, tag=18, frozen=True):
    """The reply, to a request of its own."""

    id: int
    messages: list[bytes]


class Handled(_Frame, tag=19, frozen=True):
    """The messages are handled, or one of them is a connect that is held."""

    id: int


class GiveBack(_Frame, tag=20, frozen=True):
    """They are not handled here.

    :param cut: whether the client has to come again: there is no memory just now. Else the session
        is gone.
    """

    id: int
    cut: bool


class Push(_Frame, tag=21, frozen=True):
    """Event messages for a line, each with its number."""

    line: int
    messages: list[tuple[int, bytes]]


class Say(_Frame, tag=22, frozen=True):
    """Replies for a line."""

    line: int
    messages: list[bytes]


class EndLine(_Frame, tag=23, frozen=True):
    """Close a line, after what was said.

    :param come_back: whether its peer should open another.
    """

    line: int
    come_back: bool


class NoSession(_Frame, tag=24, frozen=True):
    """There is no such client as an event stream was opened for."""

    line: int


FromEdge = Ask | Gone | Arrived | Open | Writable | Progress | Lost | Release
FromOwner = Hold | Reply | Handled | GiveBack | Push | Say | EndLine | NoSession
Frame = FromEdge | FromOwner

encode = msgspec.msgpack.Encoder().encode

_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


def decode(data: bytes) -> Frame:
    """The frame in some bytes.

    :raises NoFrame: there is none that is known here.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise NoFrame(str(error)) from None
