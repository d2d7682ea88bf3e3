"""One registered path, as its handlers and notifiers see it.

What it is: `CometContext`, and what is noted of a handler that is held: `Registration`.

What it may know: paths, handlers. Not what an attachment means, nor who else is registered.

Invariant: a handler that has ended is nowhere but in lists, marked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol, cast

import attrs

from cometd_chat.comet.events import CometEvent, CometEventType, Reason
from cometd_chat.comet.handler import BatchHandler, CometHandler, ReadHandler
from cometd_chat.comet.tombstones import TombstoneList

#: No slots here: two classes that have some can't both be inherited.
_LEFT_TO_HEIRS: tuple[str, ...] = ()


class Registration:
    """A handler that is held: the engine's own notes on it, and an item of the reaper.

    What is noted is in slots of those that inherit; see `Noted`, and `ChorusMember`.
    """

    __slots__ = _LEFT_TO_HEIRS

    #: Those it is in or is just being added to, in that order; most have one.
    contexts: tuple[CometContext, ...]
    #: When it was last touched, in the reaper's seconds.
    last_progress: float
    #: See `Due`.
    due_bucket: int
    #: Whether it is a `OneShotHandler`.
    one_shot: bool

    #: What tells it, and others like it; None for one that is told alone, or has ended.
    chorus: Chorus | None

    @property
    def handler(self) -> CometHandler | None:
        """None once it has ended."""
        raise NotImplementedError

    def release(self) -> None:
        """It has ended."""
        raise NotImplementedError

    def expiration_delay(self) -> float | None:
        """The smallest of its contexts' delays, in seconds; None when it never expires."""
        if len(self.contexts) == 1:
            return self.contexts[0]._expiration_delay
        delays = [each.expiration_delay for each in self.contexts]
        return min((delay for delay in delays if delay is not None), default=None)

    def on_due(self, now: float) -> float | None:
        """Expire it, or come back when it could next have expired: touching is then free."""
        delay = self.expiration_delay()
        if delay is None:
            return None
        if self.last_progress + delay <= now:
            self._let_look()
        if self.handler is None:
            return None
        remaining = self.last_progress + delay - now
        if remaining > 0:
            return remaining
        context = self.contexts[0]
        context._host.end(self, CometEvent(CometEventType.INTERRUPT, context, Reason.EXPIRED))
        return None

    def _let_look(self) -> None:
        """Let it find out whether it made progress, when it is a `LookingHandler`."""
        handler, context = self.handler, self.contexts[0]
        # Not looked for when it is added: it is asked rarely, and there are thousands.
        look = getattr(handler, "on_expiring", None)
        if handler is None or look is None:
            return
        event = CometEvent(CometEventType.INTERRUPT, context, Reason.EXPIRED)
        try:
            look(event)
        except Exception:
            context._host.drop(self, handler, event)


@attrs.define(eq=False, weakref_slot=False)
class Noted(Registration):
    """The notes on a handler that has no place for them.

    :param held: the handler; None once it has ended, as are the next two.
    :param reader: the handler, when it is a `ReadHandler`.
    :param batcher: the handler, when it is a `BatchHandler`.
    """

    held: CometHandler | None
    reader: ReadHandler | None
    batcher: BatchHandler | None
    one_shot: bool
    contexts: tuple[CometContext, ...]
    last_progress: float
    due_bucket: int = 0
    chorus: None = attrs.field(init=False, default=None)

    @property
    def handler(self) -> CometHandler | None:
        return self.held

    def release(self) -> None:
        self.held = self.reader = self.batcher = None


class ChorusMember(Registration):
    """A handler that has a place for the engine's notes on it, and is told with others like it.

    There may be thousands: each takes 170 bytes less than one that is `Noted`, and a fan-out costs
    no call for each. Who inherits it is a `CometHandler` that can be held once in its life, has
    slots for `CHORUS_MEMBER_SLOTS`, and calls `to_be_held` when it is made.
    """

    __slots__ = _LEFT_TO_HEIRS

    one_shot = False

    def to_be_held(self, chorus: Chorus) -> None:
        """It can be added to contexts.

        :param chorus: which may be another one later.
        """
        self.chorus = chorus
        self.contexts = ()
        self.last_progress = 0.0
        self.due_bucket = 0

    @property
    def handler(self) -> CometHandler | None:
        return cast(CometHandler, self) if self.contexts else None

    def release(self) -> None:
        self.contexts, self.chorus = (), None


#: What a `ChorusMember` has slots for.
CHORUS_MEMBER_SLOTS = ("chorus", "contexts", "due_bucket", "last_progress")


class Chorus(Protocol):
    """What tells many handlers at once that are told in the same way."""

    # Its members are all of one class, which this one knows.
    def on_batch(
        self,
        members: Sequence[Any],
        events: Sequence[CometEvent],
        failed: Callable[[Any, Exception], None],
    ) -> None:
        """Something was said: tell those of its members that have not ended.

        :param members: some of them, in the order in which they were added.
        :param events: all that a batch has for each, see `BatchHandler.on_batch`.
        :param failed: to be called for a member that raised, which is dropped.
        """


class ContextHost(Protocol):
    """What a context needs of whoever holds handlers; see `holding.HeldHandlers`."""

    def add(self, context: CometContext, handler: CometHandler) -> None:
        """Hold a handler."""

    def watch(self, registration: Registration) -> None:
        """Look at a handler when it could first have expired."""

    def touch(self, handler: CometHandler, at: float | None) -> None:
        """Its peer made progress."""

    def held_in(self, context: CometContext, handler: CometHandler) -> list[Registration]:
        """The one of a handler that hears a context, if it does."""

    def dispatch(
        self, registration: Registration, handler: CometHandler, events: Sequence[CometEvent]
    ) -> None:
        """Tell a handler of one event, in a list."""

    def end_in(
        self, context: CometContext, handler: CometHandler, type: CometEventType, reason: Reason
    ) -> None:
        """End a handler, if it is in a context."""

    def end(self, registration: Registration, event: CometEvent) -> None:
        """End a handler and tell it, unless that has been done."""

    def drop(self, registration: Registration, handler: CometHandler, event: CometEvent) -> None:
        """A handler raised; called where its exception is being handled."""


class Listed(TombstoneList[Registration]):
    """Handlers of a context; those that have ended have none."""

    __slots__ = ("mixed",)

    def __init__(self) -> None:
        super().__init__()
        #: How many of them are in other contexts, too.
        self.mixed = 0

    def there(self) -> list[Registration]:
        """Those that are held."""
        return [each for each in self.items if each.handler is not None]


class CometContext:
    """One registered path and its handlers. Made by `CometEngine.register` only."""

    def __init__(self, host: ContextHost, path: str, expiration_delay: float | None) -> None:
        check_delay(expiration_delay)
        self.path = path
        #: Whether it is still registered.
        self.registered = True
        #: The engine's own: its handlers, in the order in which they were added. Those whose first
        #: event ends them are apart, so that a fan-out comes to them first.
        self.one_shots = Listed()
        self.others = Listed()
        #: The contexts of a handler that is in this one only, as most are.
        self.alone = (self,)
        self._host = host
        self._expiration_delay = expiration_delay

    @property
    def handlers(self) -> list[CometHandler]:
        """A copy of the list of its handlers: those whose first event ends them, then the others,
        in the order in which they were added."""
        return list(self)

    def __iter__(self) -> Iterator[CometHandler]:
        """Its handlers, in that order, without a copy: none may come or go meanwhile."""
        both = chain(self.one_shots.items, self.others.items)
        return (each.handler for each in both if each.handler is not None)

    def listed(self, registration: Registration) -> Listed:
        """The engine's own: where a handler is listed."""
        return self.one_shots if registration.one_shot else self.others

    def held(self) -> list[Registration]:
        """The engine's own: a copy of what is noted of its handlers, in their order."""
        return [*self.one_shots.there(), *self.others.there()]

    @property
    def expiration_delay(self) -> float | None:
        """Seconds without progress after which a handler is interrupted; None for never.

        A new value counts at once, for the handlers that are there as well. For a handler in
        several contexts the smallest counts.
        """
        return self._expiration_delay

    @expiration_delay.setter
    def expiration_delay(self, seconds: float | None) -> None:
        check_delay(seconds)
        self._expiration_delay = seconds
        for registration in self.held():
            self._host.watch(registration)

    def add_handler(self, handler: CometHandler) -> None:
        """Hold a handler. It hears `on_initialize` first and is in the list after that.

        A handler may be added to several contexts; adding it to one again changes nothing.

        :raises NotFound: the context was unregistered.
        :raises ShuttingDown: the engine was shut down.
        """
        self._host.add(self, handler)

    def remove_handler(self, handler: CometHandler) -> None:
        """End a handler with `on_terminate` (`Reason.REMOVED`), here and in all its contexts.

        Nothing happens when it is not in this context.
        """
        self._host.end_in(self, handler, CometEventType.TERMINATE, Reason.REMOVED)

    def interrupt(self, handler: CometHandler) -> None:
        """The peer of a handler is gone: `on_interrupt` (`Reason.PEER_GONE`), in all its contexts.

        Nothing happens when it is not in this context. See `CometEngine.interrupt`, too.
        """
        self._host.end_in(self, handler, CometEventType.INTERRUPT, Reason.PEER_GONE)

    def touch(self, handler: CometHandler, at: float | None = None) -> None:
        """The peer of a handler made progress: its expiration delay starts anew.

        :param at: when that was, in the reaper's seconds; by default now.
        """
        self._host.touch(handler, at)

    def notify(
        self,
        attachment: Any,
        type: CometEventType = CometEventType.NOTIFY,
        handler: CometHandler | None = None,
    ) -> None:
        """Tell all handlers, or one, synchronously.

        It is for what is not kept; what is committed goes through `CometEngine.deliver`. The walk
        is over a copy of the list: who is added meanwhile does not hear, nor does who has ended.

        :param type: NOTIFY; READ when the peer sent something, which is progress, too; INTERRUPT
            and TERMINATE end the handlers, with this attachment instead of a `Reason`.
        :param handler: only this one; nothing happens when it is not in this context.
        :raises ValueError: INITIALIZE, which is the engine's alone.
        """
        if type is CometEventType.INITIALIZE:
            raise ValueError("INITIALIZE is not for notifying; the engine tells it in add_handler.")
        events = [CometEvent(type, self, attachment)]
        told = self.held() if handler is None else self._host.held_in(self, handler)
        for registration in told:
            if registration.handler is not None:
                self._host.dispatch(registration, registration.handler, events)


def check_delay(seconds: float | None) -> None:
    if seconds is not None and not seconds > 0:
        raise ValueError(f"An expiration delay is more than 0 seconds, or None; not {seconds}.")
