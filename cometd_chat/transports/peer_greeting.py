"""How two nodes prove to each other that they are of one cluster, before anything else is said.

What it is: the three frames that begin a link, as values: who connected says `Hello`, who was
connected to answers `Welcome`, and the first says `Proof`.

What it may know: a key that all nodes have. No connections, no time.

Invariant: who has not shown the key is told nothing, not even that there is something to be told.

::

    who connects                                   who is connected to
        | Hello: versions, numbers, nonce, HMAC           |
        |------------------------------------------------>|  wrong: closed without a word
        |           Welcome: version, numbers, nonce, HMAC|
        |<------------------------------------------------|
        | Proof: HMAC                                     |
        |------------------------------------------------>|  from here on both are up

Each HMAC (RFC 2104, with SHA-256) is over its frame's name, the version agreed upon, both numbers
and both nonces, as far as they are known by then. So none is good for another connection, nor back
where it came from. A hello that was recorded and is sent again gets a welcome that is of no use.
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest, digest
from typing import TypeVar

import attrs
import msgspec

#: Versions of what nodes say to each other that this release speaks, the oldest and the newest.
#: Release n speaks that of release n - 1 as well, so that nodes can be replaced one by one.
OLDEST, NEWEST = 1, 1

_NONCE_BYTES = 32

_encode = msgspec.msgpack.Encoder().encode


class NotAPeer(Exception):
    """Who is at the other end does not belong to the cluster, or can't be talked to; the text says
    why.

    :param is_stranger: it has not shown the key: nothing that it says counts.
    """

    def __init__(self, reason: str, *, is_stranger: bool = False) -> None:
        super().__init__(reason)
        self.is_stranger = is_stranger


class Hello(msgspec.Struct, array_like=True, tag="hello", frozen=True):
    """Who connects, and to whom it means to.

    :param number: of the node that connects; ``wanted`` is that of the other.
    """

    oldest: int
    newest: int
    release: str
    number: int
    wanted: int
    nonce: bytes
    proof: bytes


class Welcome(msgspec.Struct, array_like=True, tag="welcome", frozen=True):
    """The answer to a hello that was good."""

    version: int
    release: str
    number: int
    nonce: bytes
    proof: bytes


class Proof(msgspec.Struct, array_like=True, tag="proof", frozen=True):
    """The answer to a welcome that was good."""

    proof: bytes


_Greeting = TypeVar("_Greeting", Hello, Welcome, Proof)


@attrs.frozen
class Greeted:
    """Who is at the other end.

    :param number: of its node.
    :param release: of the daemon, as it says.
    :param version: of what is said from here on.
    """

    number: int
    release: str
    version: int


@attrs.frozen
class Credentials:
    """What a node shows of itself.

    :param number: of this node.
    :param key: that of the cluster.
    :param random_bytes: so many unguessable bytes.
    """

    number: int
    release: str
    key: bytes = attrs.field(repr=False)
    random_bytes: Callable[[int], bytes] = attrs.field(repr=False)

    def nonce(self) -> bytes:
        """A new one."""
        return self.random_bytes(_NONCE_BYTES)

    def proof(self, *fields: object) -> bytes:
        """That whoever says some fields has the key."""
        return digest(self.key, _encode(fields), "sha256")

    def check(self, proof: bytes, *fields: object) -> None:
        """See that somebody who says some fields has the key.

        :raises NotAPeer: they haven't.
        """
        if not compare_digest(proof, self.proof(*fields)):
            raise NotAPeer("it has not shown the key of this cluster", is_stranger=True)


class Connecting:
    """The part of who connects.

    :param wanted: number of the node that should be there.
    """

    def __init__(self, credentials: Credentials, wanted: int) -> None:
        self._credentials = credentials
        self._wanted = wanted
        self._nonce = credentials.nonce()
        #: Who is there, once that is known.
        self.greeted: Greeted | None = None

    def begin(self) -> bytes:
        """What to say first."""
        own = self._credentials
        proof = own.proof("hello", OLDEST, NEWEST, own.number, self._wanted, self._nonce)
        hello = Hello(OLDEST, NEWEST, own.release, own.number, self._wanted, self._nonce, proof)
        return _encode(hello)

    def receive(self, data: bytes) -> bytes | None:
        """What to say to what came.

        :raises NotAPeer: it is not what it should be.
        """
        welcome, own = _decoded(data, Welcome), self._credentials
        facts = (welcome.version, own.number, welcome.number, self._nonce, welcome.nonce)
        own.check(welcome.proof, "welcome", *facts)
        if not OLDEST <= welcome.version <= NEWEST:
            raise NotAPeer(f"it speaks version {welcome.version}, which is not known here")
        if welcome.number != self._wanted:
            raise NotAPeer(f"node {welcome.number} is there, and not node {self._wanted}")
        self.greeted = Greeted(welcome.number, welcome.release, welcome.version)
        return _encode(Proof(own.proof("proof", *facts)))


class Answering:
    """The part of who is connected to."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._hello: Hello | None = None
        self._facts: tuple[object, ...] = ()
        self._version = 0
        #: Who is there, once that is known.
        self.greeted: Greeted | None = None

    def begin(self) -> None:
        """Nothing is said before the other has shown that it has the key."""

    def receive(self, data: bytes) -> bytes | None:
        """What to say to what came, if anything.

        :raises NotAPeer: it is not what it should be.
        """
        if self._hello is None:
            return self._welcome(_decoded(data, Hello))
        hello = self._hello
        self._credentials.check(_decoded(data, Proof).proof, "proof", *self._facts)
        self.greeted = Greeted(hello.number, hello.release, self._version)
        return None

    def _welcome(self, hello: Hello) -> bytes:
        own, nonce = self._credentials, self._credentials.nonce()
        said = (hello.oldest, hello.newest, hello.number, hello.wanted, hello.nonce)
        own.check(hello.proof, "hello", *said)
        self._version = min(hello.newest, NEWEST)
        if self._version < max(hello.oldest, OLDEST):
            versions = f"{hello.oldest} to {hello.newest}"
            raise NotAPeer(f"it speaks versions {versions}, and this node {OLDEST} to {NEWEST}")
        self._hello = hello
        self._facts = (self._version, hello.number, own.number, hello.nonce, nonce)
        proof = own.proof("welcome", *self._facts)
        return _encode(Welcome(self._version, own.release, own.number, nonce, proof))


def _decoded(data: bytes, kind: type[_Greeting]) -> _Greeting:
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise NotAPeer("it does not speak as nodes do", is_stranger=True) from None
