"""The way of what is delivered to thousands of handlers.

What it is: the fan-out, a slice at a time, and those who follow all that is delivered.

What it may know: contexts and their handlers, a clock. Not how a handler begins or ends.

Invariant: a handler hears committed events in id order, each once, over all its contexts; none that
was delivered before it was added, and none after it has ended, though a walk be under way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from cometd_chat.comet.context import CometContext, Registration
from cometd_chat.comet.events import CometEvent, CometEventType, Delivery
from cometd_chat.comet.holding import HeldHandlers
from cometd_chat.comet.slices import CLOCK_EVERY, TimeSlice
from cometd_chat.comet.waiting import Latecomers, Waiting

#: Hears each batch that is delivered; it is never empty.
EngineListener = Callable[[Sequence[CometEvent]], None]

#: Groups of handlers, each with the events that all of its handlers are to hear.
_Plan = list[tuple[list[Registration], list[CometEvent]]]


class FanOut:
    """Tells handlers what is delivered.

    :param slice_seconds: after so long other work has its turn.
    :param contexts: all that are registered, by path.
    :param waiting: where what is delivered waits.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        slice_seconds: float,
        contexts: Mapping[str, CometContext],
        handlers: HeldHandlers,
        waiting: Waiting,
    ) -> None:
        self._clock = clock
        self._slice = TimeSlice(clock.seconds, slice_seconds)
        self._contexts = contexts
        self._handlers = handlers
        self._waiting = waiting
        # The walk that is under way, and the call that goes on with it.
        self._walk: Iterator[None] | None = None
        self._next_slice: IDelayedCall | None = None
        self._followers: list[EngineListener] = []
        self._stopped = False

    def follow(self, listener: EngineListener) -> Callable[[], None]:
        """See `CometEngine.follow`."""
        self._followers.append(listener)
        return partial(self._followers.remove, listener)

    @property
    def delivering(self) -> bool:
        """See `CometEngine.delivering`."""
        return self._walk is not None or bool(self._waiting.batch)

    def deliver(self, batch: Sequence[Delivery]) -> None:
        """See `CometEngine.deliver`."""
        if self._stopped:
            return
        if self._followers:
            self._tell_followers(batch)
        self._waiting.extend(batch)
        if self._walk is None and self._next_slice is None:
            self._run_slice()

    def stop(self) -> None:
        """Tell nothing more, but say until `clear` that not all was told."""
        self._stopped = True
        if self._next_slice is not None:
            self._next_slice.cancel()

    def clear(self) -> None:
        """Drop what has not gone out."""
        self._waiting.take()
        if self._next_slice is not None:
            self._next_slice = self._walk = None

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
        if self._walk is None:
            self._walk = self._fan_out(self._plan(*self._waiting.take()))
        if not self._slice.take(self._walk, every=1):
            self._next_slice = self._clock.callLater(0, self._run_slice)
            return
        self._walk = None
        # In its own turn, too: handlers that answer events with events must not hold the reactor.
        if self._waiting.batch:
            self._next_slice = self._clock.callLater(0, self._run_slice)

    def _fan_out(self, plan: _Plan) -> Iterator[None]:
        """Walk through a plan, `CLOCK_EVERY` handlers a step."""
        walked = 0
        for registrations, events in plan:
            for registration in registrations:
                # As in `HeldHandlers.tell`, spelt out: a call is much of what a handler costs.
                batcher = registration.batcher
                if batcher is not None:
                    try:
                        batcher.on_batch(events)
                    except Exception:
                        self._handlers.drop(registration, batcher, events[-1])
                elif registration.handler is not None:
                    self._handlers.tell(registration, registration.handler, events)
                walked += 1
                if walked % CLOCK_EVERY == 0:
                    yield

    def _plan(self, batch: Sequence[Delivery], late: Latecomers) -> _Plan:
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
        others: dict[Registration, None] = {}
        for context, events in by_context.items():
            held = context.listed.there()
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
                if self._handlers.is_in(registration, event.context)
                and number >= late.get((registration, event.context), 0)
            ]
            if own:
                plan.append(([registration], own))
        return plan
