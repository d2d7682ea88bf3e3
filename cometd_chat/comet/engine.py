"""Who listens to what: the registry of contexts, and the way of an event to its listeners.

What it is: `CometEngine` knows the registered paths and every handler that is held;
`CometContext` is one path, as its handlers and notifiers see it.

What it may know: paths, handlers, a clock and the reaper. Nothing of what an attachment means,
nor of how a handler reaches its peer.

Invariants: a handler is held once, in however many contexts, and ends once, in all of them
together; once it has ended it hears nothing more, not even from a walk that is under way. It
hears committed events in id order, each once, and none that was delivered before it was added.
One that raises is logged and dropped, and the others hear.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, cast

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from cometd_chat.comet.events import CometEvent, CometEventType, Delivery, Reason
from cometd_chat.comet.handler import BatchHandler, CometHandler, ReadHandler
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import NotFound, ShuttingDown

#: A fan-out looks at the clock once for so many handlers.
_CLOCK_EVERY = 32

#: So many that have ended may stay in a context's list, however few others there are.
_KEEP_ENDED = 8


@attrs.define(eq=False, weakref_slot=False)
class _Registration:
    """A handler that is held: the engine's own notes on it, and an item of the reaper.

    :param handler: None once it has ended; so are the next two.
    :param reader: the handler, when it is a `ReadHandler`.
    :param batcher: the handler, when it is a `BatchHandler`.
    :param contexts: those it is in or is just being added to, in that order; most have one.
    :param last_progress: when it was last touched, in the reaper's seconds.
    """

    handler: CometHandler | None
    reader: ReadHandler | None
    batcher: BatchHandler | None
    contexts: tuple[CometContext, ...]
    last_progress: float
    due_bucket: int = 0

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
        context._engine._end(self, CometEvent(CometEventType.INTERRUPT, context, Reason.EXPIRED))
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
            context._engine._drop(self, handler, event)


#: Hears each batch that is delivered; it is never empty.
EngineListener = Callable[[Sequence[CometEvent]], None]

#: Groups of handlers, each with the events that all of its handlers are to hear.
_Plan = list[tuple[list[_Registration], list[CometEvent]]]


class CometContext:
    """One registered path and its handlers. Made by `CometEngine.register` only."""

    def __init__(self, engine: CometEngine, path: str, expiration_delay: float | None) -> None:
        self.path = path
        self._engine = engine
        self._expiration_delay = expiration_delay
        # The contexts of a handler that is in this one only, as most are.
        self._alone = (self,)
        # In the order in which they were added. A list costs a fifth of what a dict does for each;
        # those that have ended leave it when they are as many as the others.
        self._listed: list[_Registration] = []
        self._ended = 0

    @property
    def handlers(self) -> list[CometHandler]:
        """A copy of the list of its handlers, in the order in which they were added."""
        return [each.handler for each in self._listed if each.handler is not None]

    def __iter__(self) -> Iterator[CometHandler]:
        """Its handlers, in that order, without a copy: none may come or go meanwhile."""
        return (each.handler for each in self._listed if each.handler is not None)

    def _held(self) -> list[_Registration]:
        """A copy of the list of those that are held."""
        return [each for each in self._listed if each.handler is not None]

    def _forget_one(self) -> None:
        """One more of the list has ended."""
        self._ended += 1
        if self._ended * 2 > len(self._listed) + _KEEP_ENDED:
            self._listed = self._held()
            self._ended = 0

    @property
    def expiration_delay(self) -> float | None:
        """Seconds without progress after which a handler is interrupted; None for never.

        A new value counts at once, for the handlers that are there as well. For a handler in
        several contexts the smallest counts.
        """
        return self._expiration_delay

    @expiration_delay.setter
    def expiration_delay(self, seconds: float | None) -> None:
        _check_delay(seconds)
        self._expiration_delay = seconds
        for registration in self._held():
            self._engine._watch(registration)

    def add_handler(self, handler: CometHandler) -> None:
        """Hold a handler. It hears `on_initialize` first and is in the list after that.

        A handler may be added to several contexts; adding it to one again changes nothing.

        :raises NotFound: the context was unregistered.
        :raises ShuttingDown: the engine was shut down.
        """
        self._engine._add(self, handler)

    def remove_handler(self, handler: CometHandler) -> None:
        """End a handler with `on_terminate` (`Reason.REMOVED`), here and in all its contexts.

        Nothing happens when it is not in this context.
        """
        self._engine._end_in(self, handler, CometEventType.TERMINATE, Reason.REMOVED)

    def interrupt(self, handler: CometHandler) -> None:
        """The peer of a handler is gone: `on_interrupt` (`Reason.PEER_GONE`), in all its contexts.

        Nothing happens when it is not in this context. See `CometEngine.interrupt`, too.
        """
        self._engine._end_in(self, handler, CometEventType.INTERRUPT, Reason.PEER_GONE)

    def touch(self, handler: CometHandler, at: float | None = None) -> None:
        """The peer of a handler made progress: its expiration delay starts anew.

        :param at: when that was, in the reaper's seconds; by default now.
        """
        self._engine.touch(handler, at)

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
        told = self._held() if handler is None else self._engine._held_in(self, handler)
        for registration in told:
            if registration.handler is not None:
                self._engine._dispatch(registration, registration.handler, events)


class CometEngine:
    """The registry of contexts, and the only one who calls handlers.

    :param clock: where time comes from, and other work gets its turn.
    :param reaper: the sweep to share; one of its own by default.
    :param slice_seconds: after so long a fan-out makes way for other work and then goes on.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        reaper: Reaper | None = None,
        *,
        slice_seconds: float = 0.005,
    ) -> None:
        self.reaper = Reaper(clock) if reaper is None else reaper
        self._clock = clock
        self._slice_seconds = slice_seconds
        self._contexts: dict[str, CometContext] = {}
        # By identity, so that handlers need be neither hashable nor distinct by value.
        self._held: dict[int, _Registration] = {}
        # Those whose `on_initialize` is running, and for which context.
        self._joining: list[tuple[_Registration, CometContext]] = []
        self._stopped = False
        # The fan-out: what waits for the next one, who came too late for how many of those that
        # wait, the one that is running, and the call that goes on with it.
        self._waiting: list[Delivery] = []
        self._late: dict[tuple[_Registration, CometContext], int] = {}
        self._walk: Iterator[None] | None = None
        self._next_slice: IDelayedCall | None = None
        self._followers: list[EngineListener] = []

    # The registry.

    @property
    def contexts(self) -> list[CometContext]:
        """A copy of the list of registered contexts, in the order in which they were registered."""
        return list(self._contexts.values())

    def register(self, path: str, expiration_delay: float | None = None) -> CometContext:
        """The context of a path, made when it is not known.

        :param expiration_delay: seconds without progress after which a handler is interrupted.
            For a known path it replaces the old one when it is given; a new path without one
            never expires anybody.
        :raises ValueError: a delay that is not more than 0.
        """
        context = self._contexts.get(path)
        if context is None:
            _check_delay(expiration_delay)
            context = self._contexts[path] = CometContext(self, path, expiration_delay)
        elif expiration_delay is not None:
            context.expiration_delay = expiration_delay
        return context

    def context(self, path: str) -> CometContext | None:
        """The context of a path, or None when it is not registered."""
        return self._contexts.get(path)

    def unregister(self, path: str) -> None:
        """Forget a path; its handlers end with `on_terminate` (`Reason.UNREGISTERED`).

        Nothing happens when it is not registered.
        """
        context = self._contexts.pop(path, None)
        if context is None:
            return
        event = CometEvent(CometEventType.TERMINATE, context, Reason.UNREGISTERED)
        for registration in context._held():
            self._end(registration, event)

    def interrupt(self, handler: CometHandler) -> None:
        """The peer of a handler is gone: `on_interrupt` (`Reason.PEER_GONE`), in all its contexts.

        For a transport, which need not know the contexts. Nothing happens when it is not held, so
        it may be reported more than once.
        """
        registration = self._held.get(id(handler))
        if registration is not None:
            context = registration.contexts[0]
            self._end_in(context, handler, CometEventType.INTERRUPT, Reason.PEER_GONE)

    def touch(self, handler: CometHandler, at: float | None = None) -> None:
        """The peer of a handler made progress: its expiration delay starts anew. Costs next to
        nothing; nothing happens when it is not held.

        :param at: when that was, in the reaper's seconds; by default now.
        """
        registration = self._held.get(id(handler))
        if registration is None:
            return
        if at is None:
            registration.last_progress = self.reaper.coarse_now()
        elif at > registration.last_progress:
            registration.last_progress = at

    def shutdown(self) -> None:
        """End all handlers with `on_terminate` (`Reason.SHUTDOWN`), and take no more.

        What was delivered and has not gone out is dropped: it is in the log, and everybody is
        about to be told where to resume.
        """
        self._stopped = True
        if self._next_slice is not None:
            self._next_slice.cancel()
        for registration in list(self._held.values()):
            context = registration.contexts[0]
            self._end(registration, CometEvent(CometEventType.TERMINATE, context, Reason.SHUTDOWN))
        # Not before: until they have ended, handlers may ask whether they have heard everything.
        self._waiting.clear()
        self._late.clear()
        if self._next_slice is not None:
            self._next_slice = self._walk = None

    # Delivering.

    def follow(self, listener: EngineListener) -> Callable[[], None]:
        """Tell ``listener`` each batch that is delivered, in whatever contexts, before it goes out
        to their handlers.

        For what reads all there is, such as another protocol: a handler that is in thousands of
        contexts would cost as much for each of them as it has others. A listener that raises is
        logged and goes on hearing, and so do the handlers.

        :returns: call it to stop.
        """
        self._followers.append(listener)
        return partial(self._followers.remove, listener)

    @property
    def delivering(self) -> bool:
        """Whether something delivered may not have reached all of its handlers yet. While it is
        so, a handler has only come as far as the last event it heard."""
        return self._walk is not None or bool(self._waiting)

    def deliver(self, batch: Sequence[Delivery]) -> None:
        """Hand events to the handlers of their paths: what is committed, and what is not kept but
        is for so many that it has to make way for other work.

        Each handler hears what is for it in the order of the batch, over all its contexts. The
        first slice runs before this returns; after ``slice_seconds`` the rest waits its turn in the
        reactor. A batch that comes while another is going out waits, and all that wait go out
        together.

        A handler hears a batch when it was in the context at the moment of this call, and is
        still there when its turn comes. So who reads a backlog and is added in one synchronous
        step neither misses an event nor hears one twice.
        """
        if self._stopped:
            return
        if self._followers:
            self._tell_followers(batch)
        self._waiting.extend(batch)
        if self._walk is None and self._next_slice is None:
            self._run_slice()

    def _tell_followers(self, batch: Sequence[Delivery]) -> None:
        told = [
            CometEvent(CometEventType.NOTIFY, context, delivery.attachment, delivery.id)
            for delivery in batch
            if (context := self._contexts.get(delivery.path)) is not None
        ]
        for listener in list(self._followers) if told else ():
            try:
                listener(told)
            except Exception:
                self._log.failure("a follower of the engine failed")

    def _run_slice(self) -> None:
        self._next_slice = None
        until = self._clock.seconds() + self._slice_seconds
        if self._walk is None:
            batch, self._waiting = self._waiting, []
            late, self._late = self._late, {}
            self._walk = self._fan_out(self._plan(batch, late))
        for _ in self._walk:
            if self._clock.seconds() >= until:
                self._next_slice = self._clock.callLater(0, self._run_slice)
                return
        self._walk = None
        # In its own turn, too: handlers that answer events with events must not hold the reactor.
        if self._waiting:
            self._next_slice = self._clock.callLater(0, self._run_slice)

    def _fan_out(self, plan: _Plan) -> Iterator[None]:
        """Walk through a plan, stopping for a moment every so many handlers."""
        walked = 0
        for registrations, events in plan:
            for registration in registrations:
                # As in `_tell`, spelt out: a call is a good part of what a handler costs.
                batcher = registration.batcher
                if batcher is not None:
                    try:
                        batcher.on_batch(events)
                    except Exception:
                        self._drop(registration, batcher, events[-1])
                elif registration.handler is not None:
                    self._tell(registration, registration.handler, events)
                walked += 1
                if walked % _CLOCK_EVERY == 0:
                    yield

    def _plan(
        self, batch: Sequence[Delivery], late: dict[tuple[_Registration, CometContext], int]
    ) -> _Plan:
        """Settle who hears what of a batch, over a snapshot.

        Handlers that are in one context only share one list of events. The few that are in
        several, or came too late for some of the batch, get a list of their own, in batch order.
        """
        numbered: list[tuple[int, CometEvent]] = []
        by_context: dict[CometContext, list[CometEvent]] = {}
        for number, delivery in enumerate(batch):
            context = self._contexts.get(delivery.path)
            if context is not None:
                event = CometEvent(CometEventType.NOTIFY, context, delivery.attachment, delivery.id)
                numbered.append((number, event))
                by_context.setdefault(context, []).append(event)
        latecomers = {registration for registration, _ in late}
        plan: _Plan = []
        others: dict[_Registration, None] = {}
        for context, events in by_context.items():
            held = context._held()
            plain = [r for r in held if len(r.contexts) == 1]
            if latecomers:
                plain = [r for r in plain if r not in latecomers]
            plan.append((plain, events))
            if len(plain) < len(held):
                others.update((r, None) for r in held if len(r.contexts) > 1 or r in latecomers)
        for registration in others:
            own = [
                event
                for number, event in numbered
                if self._is_in(registration, event.context)
                and number >= late.get((registration, event.context), 0)
            ]
            if own:
                plan.append(([registration], own))
        return plan

    # The life of a handler.

    def _add(self, context: CometContext, handler: CometHandler) -> None:
        if self._stopped:
            raise ShuttingDown("The daemon is stopping; come back in a moment.", retry_after=1)
        if self._contexts.get(context.path) is not context:
            raise NotFound(f"Nothing is registered at {context.path} any more.")
        registration = self._held.get(id(handler))
        if registration is None:
            registration = self._held[id(handler)] = _Registration(
                handler=handler,
                # By hand, as isinstance of a protocol would be most of what adding costs.
                reader=cast(ReadHandler, handler) if hasattr(handler, "on_read") else None,
                batcher=cast(BatchHandler, handler) if getattr(handler, "on_batch", None) else None,
                contexts=context._alone,
                last_progress=self.reaper.coarse_now(),
            )
        elif context in registration.contexts:
            return
        else:
            registration.contexts += (context,)
        joining = (registration, context)
        self._joining.append(joining)
        try:
            handler.on_initialize(CometEvent(CometEventType.INITIALIZE, context, None))
        except Exception:
            self._back_out(registration, handler, context)
            raise
        finally:
            self._joining.remove(joining)
        if registration.handler is not None:
            self._join(registration, context)

    def _back_out(
        self, registration: _Registration, handler: CometHandler, context: CometContext
    ) -> None:
        """Undo the beginning of `_add` for a handler that did not want to be initialized."""
        if registration.handler is None:
            return
        registration.contexts = tuple(each for each in registration.contexts if each is not context)
        if not registration.contexts:
            self._release(registration, handler)

    def _join(self, registration: _Registration, context: CometContext) -> None:
        # Its own `on_initialize` may have unregistered the context.
        if self._contexts.get(context.path) is not context:
            event = CometEvent(CometEventType.TERMINATE, context, Reason.UNREGISTERED)
            self._end(registration, event)
            return
        context._listed.append(registration)
        if self._waiting:
            self._late[registration, context] = len(self._waiting)
        self._watch(registration)

    def _watch(self, registration: _Registration) -> None:
        """Let the reaper look at a handler when it could first have expired."""
        delay = registration.expiration_delay()
        if delay is None:
            self.reaper.cancel(registration)
            return
        idle = self._clock.seconds() - registration.last_progress
        self.reaper.schedule(registration, delay - idle)

    def _end_in(
        self, context: CometContext, handler: CometHandler, type: CometEventType, reason: Reason
    ) -> None:
        registration = self._held.get(id(handler))
        if registration is not None and context in registration.contexts:
            self._end(registration, CometEvent(type, context, reason))

    def _is_in(self, registration: _Registration, context: CometContext) -> bool:
        """Whether a handler that is held hears a context, and is not yet to be initialized."""
        if context not in registration.contexts:
            return False
        return not self._joining or (registration, context) not in self._joining

    def _held_in(self, context: CometContext, handler: CometHandler) -> list[_Registration]:
        """The one of a handler that hears a context, if it does."""
        registration = self._held.get(id(handler))
        if registration is None or not self._is_in(registration, context):
            return []
        return [registration]

    def _end(self, registration: _Registration, event: CometEvent) -> None:
        """Let go of a handler everywhere and tell it, unless that has been done."""
        handler = registration.handler
        if handler is None:
            return
        self._release(registration, handler)
        for context in registration.contexts:
            if self._is_in(registration, context):
                context._forget_one()
        self.reaper.cancel(registration)
        try:
            if event.type is CometEventType.INTERRUPT:
                handler.on_interrupt(event)
            else:
                handler.on_terminate(event)
        except Exception:
            self._log_failure("{handler} of {path} raised when it ended", handler, event)

    def _release(self, registration: _Registration, handler: CometHandler) -> None:
        """It is held no longer; where it is listed yet, nothing of the handler is kept."""
        del self._held[id(handler)]
        registration.handler = registration.reader = registration.batcher = None

    # Calling handlers.

    def _dispatch(
        self, registration: _Registration, handler: CometHandler, events: Sequence[CometEvent]
    ) -> None:
        """Tell one event, which is in a list of its own so that all can be given that one."""
        (event,) = events
        if event.type is CometEventType.NOTIFY:
            self._tell(registration, handler, events)
        elif event.type is CometEventType.READ:
            self._read(registration, handler, event)
        else:
            self._end(registration, event)

    def _tell(
        self, registration: _Registration, handler: CometHandler, events: Sequence[CometEvent]
    ) -> None:
        """A handler's events of one batch."""
        try:
            if registration.batcher is not None:
                registration.batcher.on_batch(events)
                return
            for event in events:
                if registration.handler is None:
                    return
                handler.on_event(event)
        except Exception:
            self._drop(registration, handler, events[-1])

    def _read(self, registration: _Registration, handler: CometHandler, event: CometEvent) -> None:
        registration.last_progress = self.reaper.coarse_now()
        if registration.reader is None:
            self._tell(registration, handler, [event])
            return
        try:
            registration.reader.on_read(event)
        except Exception:
            self._drop(registration, handler, event)

    def _drop(self, registration: _Registration, handler: CometHandler, event: CometEvent) -> None:
        """One failing listener stops nobody. Called where its exception is being handled."""
        self._log_failure("{handler} of {path} raised and is dropped", handler, event)
        self._end(registration, CometEvent(CometEventType.TERMINATE, event.context, Reason.FAILED))

    def _log_failure(self, text: str, handler: CometHandler, event: CometEvent) -> None:
        # Its class and no more: a handler itself might show more than a log may hold.
        self._log.failure(text, handler=type(handler).__name__, path=event.context.path)


def _check_delay(seconds: float | None) -> None:
    if seconds is not None and not seconds > 0:
        raise ValueError(f"An expiration delay is more than 0 seconds, or None; not {seconds}.")
