"""The handlers that are held, from being added to their end.

What it is: the life of each handler, and the only place from which handlers are called; but for
the fan-out, which calls most of them.

What it may know: handlers, contexts, the reaper. Not what is being delivered.

Invariants: a handler is held once, in however many contexts, and ends once, in all of them
together; once it has ended it hears nothing more. One that raises is logged and dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import cast

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cometd_chat.comet.context import Chorus, ChorusMember, CometContext, Noted, Registration
from cometd_chat.comet.events import CometEvent, CometEventType, Reason
from cometd_chat.comet.handler import BatchHandler, CometHandler, ReadHandler
from cometd_chat.comet.reaper import Reaper
from cometd_chat.comet.waiting import Queues
from cometd_chat.errors import NotFound, ShuttingDown


class HeldHandlers:
    """All handlers of an engine.

    :param reaper: its sweep finds those that may have expired.
    :param queues: what is delivered and not told yet: a handler that joins now hears none of it.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, reaper: Reaper, queues: Queues) -> None:
        #: Whether the engine was shut down, and no more are taken.
        self.closed = False
        #: See `CometEngine.ask_before_telling`.
        self.still_hears: Callable[[CometHandler], bool] | None = None
        self._clock = clock
        self._reaper = reaper
        self._queues = queues
        # Those that have no place for it themselves; by identity, so that handlers need be neither
        # hashable nor distinct by value.
        self._noted: dict[int, Noted] = {}
        # Those whose `on_initialize` is running, and for which context.
        self._joining: list[tuple[Registration, CometContext]] = []

    def interrupt(self, handler: CometHandler) -> None:
        """See `CometEngine.interrupt`."""
        registration = self._find(handler)
        if registration is not None:
            context = registration.contexts[0]
            self.end_in(context, handler, CometEventType.INTERRUPT, Reason.PEER_GONE)

    def end_all(self, contexts: Iterable[CometContext]) -> None:
        """End all handlers: the engine is shut down.

        :param contexts: all there are.
        """
        listed = [registration for context in contexts for registration in context.held()]
        for registration in (*listed, *(each for each, _ in self._joining)):
            if registration.handler is None:
                continue
            context = registration.contexts[0]
            self.end(registration, CometEvent(CometEventType.TERMINATE, context, Reason.SHUTDOWN))

    def touch(self, handler: CometHandler, at: float | None) -> None:
        """See `CometEngine.touch`."""
        registration = self._find(handler)
        if registration is None:
            return
        if at is None:
            registration.last_progress = self._reaper.coarse_now()
        elif at > registration.last_progress:
            registration.last_progress = at

    def add(self, context: CometContext, handler: CometHandler) -> None:
        """See `CometContext.add_handler`."""
        if self.closed:
            raise ShuttingDown("The daemon is stopping; come back in a moment.", retry_after=1)
        if not context.registered:
            raise NotFound(f"Nothing is registered at {context.path} any more.")
        registration = self._find(handler)
        if registration is None:
            registration = self._note(context, handler)
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

    def _find(self, handler: CometHandler) -> Registration | None:
        """What is noted of a handler; None when it is not held."""
        if isinstance(handler, ChorusMember):
            return handler if handler.contexts else None
        return self._noted.get(id(handler))

    def _note(self, context: CometContext, handler: CometHandler) -> Registration:
        """Hold a handler that was not held."""
        if isinstance(handler, ChorusMember):
            if handler.chorus is None:
                raise RuntimeError("a member is held once in its life")
            handler.contexts = context.alone
            handler.last_progress = self._reaper.coarse_now()
            return handler
        noted = self._noted[id(handler)] = Noted(
            held=handler,
            # By hand, as isinstance of a protocol would be most of what adding costs.
            reader=cast(ReadHandler, handler) if hasattr(handler, "on_read") else None,
            batcher=cast(BatchHandler, handler) if getattr(handler, "on_batch", None) else None,
            one_shot=getattr(handler, "one_shot", False),
            contexts=context.alone,
            last_progress=self._reaper.coarse_now(),
        )
        return noted

    def _back_out(
        self, registration: Registration, handler: CometHandler, context: CometContext
    ) -> None:
        """Undo the beginning of `_add` for a handler that did not want to be initialized."""
        if registration.handler is None:
            return
        registration.contexts = tuple(each for each in registration.contexts if each is not context)
        if not registration.contexts:
            self._release(registration, handler)

    def _join(self, registration: Registration, context: CometContext) -> None:
        # Its own `on_initialize` may have unregistered the context.
        if not context.registered:
            event = CometEvent(CometEventType.TERMINATE, context, Reason.UNREGISTERED)
            self.end(registration, event)
            return
        # This one, and whether there are one or more beside it; not all of a thousand each time.
        first = list(islice(self._listed_in(registration), 3))
        context.listed(registration).items.append(registration)
        if len(first) > 1:
            for each in first if len(first) == 2 else (context,):
                each.listed(registration).mixed += 1
        waiting = self._queues.of(registration)
        if waiting.batch:
            waiting.joined(registration, context)
        self.watch(registration)

    def watch(self, registration: Registration) -> None:
        """Let the reaper look at a handler when it could first have expired."""
        delay = registration.expiration_delay()
        if delay is None:
            self._reaper.cancel(registration)
            return
        idle = self._clock.seconds() - registration.last_progress
        self._reaper.schedule(registration, delay - idle)

    def end_in(
        self, context: CometContext, handler: CometHandler, type: CometEventType, reason: Reason
    ) -> None:
        """End a handler, if it is in a context."""
        registration = self._find(handler)
        if registration is not None and context in registration.contexts:
            self.end(registration, CometEvent(type, context, reason))

    def is_in(self, registration: Registration, context: CometContext) -> bool:
        """Whether a handler that is held hears a context, and is not yet to be initialized."""
        if context not in registration.contexts:
            return False
        return not self._joining or (registration, context) not in self._joining

    def _listed_in(self, registration: Registration) -> Iterator[CometContext]:
        """The contexts that a handler hears."""
        return (each for each in registration.contexts if self.is_in(registration, each))

    def held_in(self, context: CometContext, handler: CometHandler) -> list[Registration]:
        """The one of a handler that hears a context, if it does."""
        registration = self._find(handler)
        if registration is None or not self.is_in(registration, context):
            return []
        return [registration]

    def end(self, registration: Registration, event: CometEvent) -> None:
        """Let go of a handler everywhere and tell it, unless that has been done."""
        handler = registration.handler
        if handler is None:
            return
        contexts = list(self._listed_in(registration))
        self._release(registration, handler)
        for context in contexts:
            listed = context.listed(registration)
            listed.forget_one()
            if len(contexts) > 1:
                listed.mixed -= 1
        self._reaper.cancel(registration)
        try:
            if event.type is CometEventType.INTERRUPT:
                handler.on_interrupt(event)
            else:
                handler.on_terminate(event)
        except Exception:
            self._log_failure("{handler} of {path} raised when it ended", handler, event)

    def _release(self, registration: Registration, handler: CometHandler) -> None:
        """It is held no longer; where it is listed yet, nothing of the handler is kept."""
        self._noted.pop(id(handler), None)
        registration.release()

    # Calling handlers.

    def dispatch(
        self, registration: Registration, handler: CometHandler, events: Sequence[CometEvent]
    ) -> None:
        """Tell one event, which is in a list of its own so that all can be given that one."""
        (event,) = events
        if event.type is CometEventType.NOTIFY:
            self.tell(registration, handler, events)
        elif event.type is CometEventType.READ:
            self._read(registration, handler, event)
        else:
            self.end(registration, event)

    def tell(
        self, registration: Registration, handler: CometHandler, events: Sequence[CometEvent]
    ) -> None:
        """A handler's events of one batch."""
        if isinstance(registration, ChorusMember):
            if registration.chorus is not None:
                self.tell_together(registration.chorus, [registration], events)
            return
        assert isinstance(registration, Noted)
        try:
            if registration.batcher is not None:
                registration.batcher.on_batch(events)
                return
            for event in events:
                if registration.handler is None:
                    return
                handler.on_event(event)
        except Exception:
            self.drop(registration, handler, events[-1])

    def _read(self, registration: Registration, handler: CometHandler, event: CometEvent) -> None:
        registration.last_progress = self._reaper.coarse_now()
        if not isinstance(registration, Noted) or registration.reader is None:
            self.tell(registration, handler, [event])
            return
        try:
            registration.reader.on_read(event)
        except Exception:
            self.drop(registration, handler, event)

    def tell_together(
        self, chorus: Chorus, members: Sequence[Registration], events: Sequence[CometEvent]
    ) -> None:
        """The events of one batch for many who are told by one call."""
        if self.still_hears is not None:
            members = self._those_who_still_hear(chorus, members, events, self.still_hears)

        def failed(member: Registration, error: Exception) -> None:
            handler = member.handler
            if handler is not None:
                try:
                    raise error
                except Exception:
                    self.drop(member, handler, events[-1])

        try:
            chorus.on_batch(members, events, failed)
        except Exception as error:
            # Nobody knows who was told.
            for member in members:
                failed(member, error)

    def _those_who_still_hear(
        self,
        chorus: Chorus,
        members: Sequence[Registration],
        events: Sequence[CometEvent],
        still_hears: Callable[[CometHandler], bool],
    ) -> Sequence[Registration]:
        """Those of a chorus who are told by it; who is in another one now is told by that."""
        told = []
        for member in members:
            handler = member.handler
            if handler is not None and still_hears(handler):
                if member.chorus is chorus:
                    told.append(member)
                else:
                    self.tell(member, handler, events)
        return told

    def drop(self, registration: Registration, handler: CometHandler, event: CometEvent) -> None:
        """One failing listener stops nobody. Called where its exception is being handled."""
        self._log_failure("{handler} of {path} raised and is dropped", handler, event)
        self.end(registration, CometEvent(CometEventType.TERMINATE, event.context, Reason.FAILED))

    def _log_failure(self, text: str, handler: CometHandler, event: CometEvent) -> None:
        # Its class and no more: a handler itself might show more than a log may hold.
        self._log.failure(text, handler=type(handler).__name__, path=event.context.path)
