"""What a listener has to be: five small protocols, one of them obligatory.

What it is: the seam between the engine and whatever writes to a peer.

What it may know: events. Not how a handler reaches its peer.

Invariant: an added handler hears `on_initialize`, then events, then exactly one of `on_interrupt`
and `on_terminate`, once, and nothing after that. Handlers are told apart by identity, and the
optional methods that are called often are looked for once, when one is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from cometd_chat.comet.events import CometEvent


class CometHandler(Protocol):
    """A listener, as in Grizzly.

    Every method is called synchronously and may do anything to the engine, such as adding and
    removing handlers (itself too), notifying and unregistering.
    """

    def on_initialize(self, event: CometEvent) -> None:
        """It is being added to ``event.context``, and hears that context from here on.

        Called once for each context. When it raises, it is not added to that context and whoever
        wanted to add it gets the exception; there is then no end to hear of.
        """

    def on_event(self, event: CometEvent) -> None:
        """Something was said, or (without `ReadHandler`) the peer sent something.

        When it raises, the handler is dropped: it hears `on_terminate` with `Reason.FAILED`.
        """

    def on_interrupt(self, event: CometEvent) -> None:
        """It expired or its peer is gone; it is in no context any more."""

    def on_terminate(self, event: CometEvent) -> None:
        """It was removed, unregistered, shut down or dropped; it is in no context any more."""


class ReadHandler(CometHandler, Protocol):
    """A listener that wants what its peer sends apart from what others say (Tomcat's READ)."""

    def on_read(self, event: CometEvent) -> None:
        """The peer sent ``event.attachment``. Raising has the effect it has in `on_event`."""


class BatchHandler(CometHandler, Protocol):
    """A listener that is told what belongs together at once, and so can write it in one go."""

    def on_batch(self, events: Sequence[CometEvent]) -> None:
        """Something was said: called instead of `on_event`, with all that a batch has for it.

        A notify is a batch of one. Handlers that are to hear the same are given the same object,
        so that what is made of it can be shared. Raising has the effect it has in `on_event`.
        """


class OneShotHandler(CometHandler, Protocol):
    """A listener whose first event ends it, such as a poll.

    There are few of them where there are many others, and each has a client that has to come back:
    so they are told first.
    """

    @property
    def one_shot(self) -> Literal[True]:
        """Looked for once, when it is added."""


class LookingHandler(CometHandler, Protocol):
    """A listener that can find out whether its peer made progress, and need not do so all along."""

    def on_expiring(self, event: CometEvent) -> None:
        """It has not been touched for its expiration delay, and expires unless it now is.

        Raising has the effect it has in `on_event`.
        """
