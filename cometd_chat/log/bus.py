"""What may be lost, on its way to the other nodes.

What it is: `Bus`, the seam by which a node tells the others what is not worth a record of the log:
who is here, who writes, what is published to free channels; and `MemoryBus`, by which several nodes
in one process hear each other. A process that is alone has none.

What it may know: numbers of nodes, topics, opaque bytes.

Invariant: what comes is whole, comes once, and comes in the order in which its node sent it; it may
not come at all. What no node may miss is a record of the log, see `control.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from twisted.logger import Logger

#: Hears the number of the node that sent something, and what.
BusListener = Callable[[int, bytes], None]


class Bus(Protocol):
    """From one node to all the others.

    What every bus keeps:

    * A message reaches the others once or not at all, and never the node that sent it.
    * Messages of one node come in the order in which it sent them, over all topics; some may be
      missing. Nothing is said about those of several nodes.
    * Sending never waits and never fails. What can't be sent is dropped.
    * Messages are gathered, so that a node sends at most 20 times a second, however many there are.

    All is called in the reactor's thread.
    """

    def publish(self, topic: str, message: bytes) -> None:
        """Tell all other nodes.

        :param topic: what it is about, such as ``presence``: printable ASCII without spaces.
        """

    def subscribe(self, topic: str, listener: BusListener) -> Callable[[], None]:
        """Tell ``listener`` of each message with that topic. One that raises is logged, and goes on
        hearing.

        :returns: call it to stop.
        """


class Topics:
    """Who hears what. One that raises stops nobody."""

    _log = Logger()

    def __init__(self) -> None:
        self._listeners: dict[str, dict[object, BusListener]] = {}

    def add(self, topic: str, listener: BusListener) -> Callable[[], None]:
        """Tell this one too, until what is returned is called."""
        token = object()
        listeners = self._listeners.setdefault(topic, {})
        listeners[token] = listener

        def stop() -> None:
            listeners.pop(token, None)

        return stop

    def tell(self, topic: str, node: int, message: bytes) -> None:
        """Tell all of a topic; those that leave meanwhile don't hear it any more."""
        listeners = self._listeners.get(topic, {})
        for token, listener in list(listeners.items()):
            if token not in listeners:
                continue
            try:
                listener(node, message)
            except Exception:
                self._log.failure("a listener to {topic} failed", topic=topic)


class MemoryBus:
    """The `Bus` of one of several nodes in this process. What is sent is heard before `publish`
    returns, or once those are through who are being told.

    :param number: says which node it is of, as of now.
    :param beside: that of another node, to be joined with it and all that it is joined with.
    """

    def __init__(self, number: Callable[[], int], beside: MemoryBus | None = None) -> None:
        self._number = number
        self._topics = Topics()
        # All of them, and what is on its way: from whom, by which number, what.
        self._all: list[MemoryBus] = [] if beside is None else beside._all
        self._sent: deque[tuple[MemoryBus, int, str, bytes]] = (
            deque() if beside is None else beside._sent
        )
        self._all.append(self)
        self._waiting: list[tuple[str, int, bytes]] | None = None
        #: While set, this one neither hears nor is heard.
        self.cut = False

    def publish(self, topic: str, message: bytes) -> None:
        """See `Bus.publish`."""
        telling = bool(self._sent)
        if not self.cut:
            self._sent.append((self, self._number(), topic, message))
        if telling:
            return
        while self._sent:
            sender, number, topic, message = self._sent[0]
            for each in list(self._all):
                if each is not sender:
                    each._heard(topic, number, message)
            self._sent.popleft()

    def subscribe(self, topic: str, listener: BusListener) -> Callable[[], None]:
        """See `Bus.subscribe`."""
        return self._topics.add(topic, listener)

    def close(self) -> None:
        """Neither hear nor be heard any more."""
        self.cut = True
        if self in self._all:
            self._all.remove(self)

    def hold(self) -> None:
        """Let what comes wait, as if this node were slow."""
        self._waiting = self._waiting or []

    def release(self) -> None:
        """Hear what has waited, and hold no more."""
        waiting, self._waiting = self._waiting or [], None
        for each in waiting:
            self._heard(*each)

    def _heard(self, topic: str, number: int, message: bytes) -> None:
        if self.cut:
            return
        if self._waiting is not None:
            self._waiting.append((topic, number, message))
        else:
            self._topics.tell(topic, number, message)
