"""Who listens to what: the registry of contexts, and the way of an event to its listeners.

What it is: `CometEngine`, which knows the registered paths (`context.py`), the handlers that are
held (`holding.py`) and the way of what is delivered to them (`fan_out.py`).

What it may know: paths, handlers, a clock and the reaper. Nothing of what an attachment means,
nor of how a handler reaches its peer.

Invariants: a handler is held once, in however many contexts, and ends once, in all of them
together; once it has ended it hears nothing more, not even from a walk that is under way. It
hears committed events in id order, each once, and none that was delivered before it was added.
One that raises is logged and dropped, and the others hear.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from twisted.internet.interfaces import IReactorTime

from cometd_chat.comet.context import CometContext
from cometd_chat.comet.events import CometEvent, CometEventType, Delivery, Reason
from cometd_chat.comet.fan_out import EngineListener, FanOut
from cometd_chat.comet.handler import CometHandler
from cometd_chat.comet.holding import HeldHandlers
from cometd_chat.comet.reaper import Reaper
from cometd_chat.comet.slices import SLICE, Slices
from cometd_chat.comet.waiting import Queues


class CometEngine:
    """The registry of contexts, and the face of all that calls handlers.

    :param clock: where time comes from, and other work gets its turn.
    :param reaper: the sweep to share; one of its own by default.
    :param slice_seconds: after so long a fan-out makes way for other work and then goes on.
    """

    def __init__(
        self,
        clock: IReactorTime,
        reaper: Reaper | None = None,
        *,
        slice_seconds: float = SLICE,
    ) -> None:
        self.reaper = Reaper(clock) if reaper is None else reaper
        #: For what looks at thousands: by the engine's clock.
        self.slices = Slices(clock.seconds, partial(clock.callLater, 0))
        self._contexts: dict[str, CometContext] = {}
        queues = Queues()
        self._handlers = HeldHandlers(clock, self.reaper, queues)
        self._fan_out = FanOut(clock, slice_seconds, self._contexts, self._handlers, queues)

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
            context = CometContext(self._handlers, path, expiration_delay)
            self._contexts[path] = context
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
        context.registered = False
        event = CometEvent(CometEventType.TERMINATE, context, Reason.UNREGISTERED)
        for registration in context.held():
            self._handlers.end(registration, event)

    def interrupt(self, handler: CometHandler) -> None:
        """The peer of a handler is gone: `on_interrupt` (`Reason.PEER_GONE`), in all its contexts.

        For a transport, which need not know the contexts. Nothing happens when it is not held, so
        it may be reported more than once.
        """
        self._handlers.interrupt(handler)

    def touch(self, handler: CometHandler, at: float | None = None) -> None:
        """The peer of a handler made progress: its expiration delay starts anew. Costs next to
        nothing; nothing happens when it is not held.

        :param at: when that was, in the reaper's seconds; by default now.
        """
        self._handlers.touch(handler, at)

    def shutdown(self) -> None:
        """End all handlers with `on_terminate` (`Reason.SHUTDOWN`), and take no more.

        What was delivered and has not gone out is dropped: it is in the log, and everybody is
        about to be told where to resume.
        """
        self._handlers.closed = True
        self._fan_out.stop()
        self._handlers.end_all(self._contexts.values())
        # Not before: until they have ended, handlers may ask whether they have heard everything.
        self._fan_out.clear()

    # Delivering.

    def ask_before_telling(self, still_hears: Callable[[CometHandler], bool] | None) -> None:
        """Ask this of each handler before it is told anything; for as long as handlers are being
        looked at of whom some may have to end, which takes a while where they are thousands.

        :param still_hears: may end the handler; then it gives False. None to ask no more.
        """
        self._handlers.still_hears = still_hears

    @property
    def still_hears(self) -> Callable[[CometHandler], bool] | None:
        """What is asked, if anything is; see `ask_before_telling`."""
        return self._handlers.still_hears

    def follow(self, listener: EngineListener) -> Callable[[], None]:
        """Tell ``listener`` each batch that is delivered, in whatever contexts, before it goes out
        to their handlers.

        For what reads all there is, such as another protocol: a handler that is in thousands of
        contexts would cost as much for each of them as it has others. A listener that raises is
        logged and goes on hearing, and so do the handlers.

        :returns: call it to stop.
        """
        return self._fan_out.follow(listener)

    @property
    def delivering(self) -> bool:
        """Whether something delivered may not have reached all of its handlers yet. While it is
        so, a handler has only come as far as the last event it heard."""
        return self._fan_out.delivering

    def deliver(self, batch: Sequence[Delivery]) -> None:
        """Hand events to the handlers of their paths: what is committed, and what is not kept but
        is for so many that it has to make way for other work.

        Each handler hears what is for it in the order of the batch, over all its contexts. The
        first slice runs before this returns; after ``slice_seconds`` the rest waits its turn in the
        reactor. A batch that comes while another is going out waits, and all that wait go out
        together.

        Those whose first event ends them (`OneShotHandler`) are told first, and do not wait for a
        batch that is going out to the others.

        A handler hears a batch when it was in the context at the moment of this call, and is
        still there when its turn comes. So who reads a backlog and is added in one synchronous
        step neither misses an event nor hears one twice.
        """
        self._fan_out.deliver(batch)
