"""What a peer says on a connection, read out of its bytes no faster than it is wanted.

What it is: the pace at which messages are made of what has come: a few in each turn of the reactor,
and none while who hears them has enough.

What it may know: a transport that can be paused. Not what a message is.

Invariant: what is not wanted yet waits as bytes, and while anything waits nothing more is read from
the peer. One packet of thousands of messages neither keeps others waiting nor becomes thousands of
objects.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

#: So many messages are read in one turn of the reactor.
MOST_A_TURN = 32


class Pausable(Protocol):
    """A connection that can be read, and left unread."""

    @property
    def connected(self) -> object:
        """Whether it is there."""

    def pauseProducing(self) -> None:
        """Read nothing more."""

    def resumeProducing(self) -> None:
        """Read again."""


class PacedReader(ABC):
    """The pace of one connection.

    :param transport: paused while anything waits.
    :param call_soon: calls something after the reactor's current turn.
    """

    def __init__(
        self, transport: Pausable, call_soon: Callable[[Callable[[], None]], object]
    ) -> None:
        self._transport = transport
        self._call_soon = call_soon
        self._wanted = True
        self._going = self._called = False

    @abstractmethod
    def _read_one(self) -> bool:
        """Tell the next message that is here wholly; False when there is none."""

    def pause(self) -> None:
        """Who hears it has enough for now."""
        self._wanted = False
        self._set_reading(False)

    def resume(self) -> None:
        """More is wanted."""
        self._wanted = True
        self._go_on()

    def _go_on(self) -> None:
        """Read what is here and wanted. To be called when something has come."""
        if self._going or self._called or not self._wanted:
            # Each time: a channel resumes its transport, too, when its own buffer is empty.
            self._set_reading(self._going)
            return
        self._going = True
        try:
            for _ in range(MOST_A_TURN):
                if not (self._wanted and self._read_one()):
                    break
            else:
                self._called = True
                self._call_soon(self._next_turn)
        finally:
            self._going = False
        self._set_reading(self._wanted and not self._called)

    def _next_turn(self) -> None:
        self._called = False
        self._go_on()

    def _set_reading(self, reading: bool) -> None:
        if not self._transport.connected:
            return
        if reading:
            self._transport.resumeProducing()
        else:
            self._transport.pauseProducing()
