"""A TCP proxy that does what networks do: cuts, holds back, drips; a process of its own.

What it is: run as a program with two ports, its own and the daemon's, both of 127.0.0.1. What it
does to a connection, the first request on that says itself, in the header ``X-Fate``, as JSON. It
is restarted by whoever started it.

What it may know: where the head of a first request ends. Nothing of what passes.

Invariant: until its fate comes upon a connection, every byte goes through unchanged.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol

reactor: Any = _reactor

_FATE = re.compile(rb"\r\nX-Fate: (\{.*?\})\r\n")

#: A head without a fate is let through after so many bytes.
MAX_HEAD = 16 * 1024


class Side(Protocol):
    """One of the two connections of a pair, and the way of bytes out of it.

    `cut` is after how many bytes the pair is cut, ``how`` by which segment (``fin``, ``rst``);
    `hold` after how many bytes all is held back for ``seconds``; `drip` how many bytes are passed
    at a time.
    """

    transport: Any
    other: Side
    seen = 0
    waiting = b""
    holding = False
    done = False

    def __init__(self) -> None:
        self.fate: dict[str, Any] = {}

    def dataReceived(self, data: bytes) -> None:
        self.waiting += data
        self.go_on()

    def go_on(self) -> None:
        """Pass what may pass."""
        while self.waiting and not self.holding and not self.done:
            piece = self.waiting[: self.share()]
            self.waiting = self.waiting[len(piece) :]
            self.seen += len(piece)
            self.other.transport.write(piece)
            self.meet_fate()

    def share(self) -> int:
        """How many bytes may pass at once."""
        limits: list[int] = [len(self.waiting), self.fate.get("drip", sys.maxsize)]
        limits += [self.fate[each] - self.seen for each in ("cut", "hold") if each in self.fate]
        return max(1, min(limits))

    def meet_fate(self) -> None:
        if self.seen >= self.fate.get("cut", sys.maxsize):
            self.cut()
        elif self.seen >= self.fate.get("hold", sys.maxsize):
            del self.fate["hold"]
            self.wait(self.fate["seconds"])
        elif "drip" in self.fate:
            self.wait(0.002)

    def wait(self, seconds: float) -> None:
        self.holding = True
        reactor.callLater(seconds, self.resume)

    def resume(self) -> None:
        self.holding = False
        self.go_on()

    def cut(self) -> None:
        self.done = self.other.done = True
        for side in (self, self.other):
            if self.fate["how"] == "rst":
                side.transport.abortConnection()
            else:
                side.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        other, self.done = getattr(self, "other", None), True
        # One that is only being connected is ended by `Client.joined`.
        if other is not None and not other.done and other.transport is not None:
            other.done = True
            # Let what has been written go out first, as a proxy does.
            other.transport.loseConnection()


class Client(Side):
    """The client's side: it waits for the head that says the fate of both."""

    began = False

    def connectionMade(self) -> None:
        self.head = b""

    def dataReceived(self, data: bytes) -> None:
        if self.began:
            super().dataReceived(data)
            return
        self.head += data
        if b"\r\n\r\n" in self.head or len(self.head) > MAX_HEAD:
            self.began = True
            self.transport.pauseProducing()
            self.connect()

    def connect(self) -> None:
        found = _FATE.search(self.head)
        fate = json.loads(found[1]) if found else {}
        self.other = Side()
        self.other.other = self
        self.fate, self.other.fate = fate.get("up", {}), fate.get("down", {})
        factory: Any = Factory.forProtocol(lambda: self.other)
        there = TCP4ClientEndpoint(reactor, "127.0.0.1", int(sys.argv[2]))
        there.connect(factory).addCallbacks(self.joined, lambda _: self.transport.abortConnection())

    def joined(self, _: object) -> None:
        if self.done:
            self.other.transport.abortConnection()
            return
        self.other.transport.registerProducer(self.transport, True)
        self.transport.registerProducer(self.other.transport, True)
        head, self.head = self.head, b""
        self.transport.resumeProducing()
        super().dataReceived(head)


def main() -> None:
    """Be the proxy until killed."""
    here = TCP4ServerEndpoint(reactor, int(sys.argv[1]), interface="127.0.0.1")
    factory: Any = Factory.forProtocol(Client)
    here.listen(factory).addCallback(lambda _: print("ready", flush=True))
    reactor.run()


if __name__ == "__main__":
    main()
