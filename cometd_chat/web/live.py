"""What the daemon does just now: its numbers, and a stream of them for who runs it.

What it is: `LiveNumbers`, which looks; `Live`, the classic servlet of Comet: one context, whose
handlers are told once a second; and `LiveStream`, such a handler.

What it may know: the stats, the chat's counts, held streams. Not who may ask, but by `Rights`.

Invariant: nobody looks while nobody watches; and who may look no longer watches no longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import nlargest
from typing import Any

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.matrix import RoomKind
from cometd_chat.chat.rights import Act, Affected
from cometd_chat.chat.sessions import Session
from cometd_chat.comet.context import CometContext
from cometd_chat.comet.events import CometEvent
from cometd_chat.events import kinds
from cometd_chat.events.event import Batch, Event
from cometd_chat.transports.budget import KINDS
from cometd_chat.transports.framings import ServerSentEvents
from cometd_chat.transports.held import HoldPolicy
from cometd_chat.transports.held_stream import HeldStream
from cometd_chat.transports.request import HttpRequest
from cometd_chat.transports.stats import SlowReader, TransportStats

#: The context of those who watch; no room has this path.
WATCHERS = "/live"

#: Seconds between two looks.
EVERY = 1.0

#: Rooms that are shown: those with the most people.
ROOMS_SHOWN = 8

#: Streams of it that one session may hold: a page each.
MOST = 4


class LiveNumbers:
    """Looks at what this process does.

    :param seconds: a clock that only goes forward.
    """

    def __init__(self, chat: Chat, stats: TransportStats, seconds: Callable[[], float]) -> None:
        self._chat = chat
        self._stats = stats
        self._seconds = seconds
        self._began = seconds()

    def look(self) -> dict[str, Any]:
        """The numbers now. What only grows is shown as it is: who watches sees by how much."""
        chat, stats = self._chat, self._stats
        # Who runs the daemon learns of no private room either.
        public = (each for each in chat.rooms.all() if each.kind is RoomKind.PUBLIC)
        rooms = nlargest(ROOMS_SHOWN, public, key=lambda each: chat.presence.count(each.name))
        counts = {name: each for name, each in stats.transports.items() if each.held}
        usage, memory = chat.feed.log.usage, stats.memory
        return {
            "seconds": round(self._seconds() - self._began, 3),
            "held": {name: each.held for name, each in sorted(counts.items())},
            "sessions": len(chat.sessions),
            "posts": chat.feed.appended,
            "deliveries": sum(each.delivered for each in stats.transports.values()),
            "refused": sum(stats.refusals.values()),
            "expired": sum(each.expired for each in stats.transports.values()),
            "slow_readers_cut": stats.slow_readers_cut,
            "slow_readers": [self._slow(each) for each in reversed(stats.slow_readers)],
            "memory": {kind: memory.of(kind) for kind in KINDS},
            "memory_ceiling": memory.limit,
            "shed": memory.shed,
            "log": None if usage is None else {"size": usage.size, "limit": usage.limit},
            "rooms": [
                {
                    "name": each.name,
                    "people": chat.presence.count(each.name),
                    "slow": each.slow,
                    "locked": each.locked,
                }
                for each in rooms
            ],
            "calm": chat.policies.calm.word,
        }

    def _slow(self, reader: SlowReader) -> dict[str, Any]:
        """One that was cut. Of a private room nothing is told but that it is one."""
        found = [(name, self._chat.rooms.named(name)) for name in reader.rooms]
        public = {name for name, each in found if each and each.kind is RoomKind.PUBLIC}
        shown = [name if name in public else None for name in reader.rooms[:ROOMS_SHOWN]]
        return {
            "name": reader.name,
            "rooms": shown,
            "transport": reader.transport,
            "behind": reader.behind,
        }


class Live:
    """Tells all who watch, once a second. An item of the reaper, while anybody does.

    :param context: of all who watch, which says after how long they expire.
    """

    def __init__(
        self,
        numbers: LiveNumbers,
        chat: Chat,
        hold_policy: HoldPolicy,
        context: CometContext,
    ) -> None:
        engine = chat.feed.engine
        self.numbers = numbers
        self._chat = chat
        self._hold_policy = hold_policy
        self._framing = ServerSentEvents(lambda: 2000)
        self._context = context
        self._reaper = engine.reaper
        self.due_bucket = 0
        chat.rights.changed.add(self._rights_changed)
        chat.readers.sent_away.append(self._going)

    @property
    def watched(self) -> int:
        """How many watch."""
        return sum(1 for _ in self._context)

    def open(self, request: HttpRequest, session: Session, address: str) -> HeldStream:
        """Hold a request, and tell it the numbers at once and from now on."""
        request.setHeader("content-type", self._framing.content_type)
        request.setHeader("cache-control", "no-store, no-transform")
        request.setHeader("x-accel-buffering", "no")
        self._chat.limits.hold(address)
        stream = HeldStream(request, self._framing, self._hold_policy)
        watcher = LiveStream(stream, session, self._context, address)
        watcher.over = self._over
        self._make_way(session)
        if not self.watched:
            self._reaper.schedule(self, EVERY)
        self._context.add_handler(watcher)
        self._chat.readers.hold(session, watcher)
        stream.hold(watcher, self._batch())
        return stream

    def _make_way(self, session: Session) -> None:
        mine = [each for each in session.readers if isinstance(each, LiveStream)]
        for oldest in mine[: max(0, len(mine) - MOST + 1)]:
            oldest.close(kinds.bye("replaced"))

    def _batch(self) -> Batch:
        return Batch([Event({"type": "live", **self.numbers.look()})])

    def on_due(self, now: float) -> float | None:
        """Tell them; see `Reaper.schedule`."""
        if not self.watched:
            return None
        self._context.notify(self._batch())
        return EVERY

    def _over(self, watcher: LiveStream) -> None:
        self._chat.limits.let_go(watcher.address)
        self._chat.readers.let_go(watcher.session, watcher)

    def _rights_changed(self, affected: Affected) -> None:
        for each in self._context.handlers:
            if isinstance(each, LiveStream):
                refusal = self._chat.rights.may(each.session, Act.SEE_LIVE, None, each.address)
                if refusal is not None:
                    each.close(kinds.bye(refusal.bye or "you may not watch this any longer"))

    def _going(self, within: float) -> Iterator[None]:
        for each in self._context.handlers:
            if isinstance(each, LiveStream):
                # Its browser comes back by itself.
                each.end(None)
            yield


class LiveStream:
    """Somebody who watches: a handler of the context, and what their session holds.

    :param stream: what is written to.
    """

    client = None
    most = None
    #: Told once, when it is over.
    over: Callable[[LiveStream], None]

    def __init__(
        self, stream: HeldStream, session: Session, context: CometContext, address: str
    ) -> None:
        self._stream = stream
        self.session = session
        self._context = context
        self.address = address
        self._ended = False

    # -- what the context tells

    def on_initialize(self, event: CometEvent) -> None:
        """It is held from now."""

    def on_event(self, event: CometEvent) -> None:
        """A second has gone by: the numbers are written as they are for all."""
        self._stream.offer(event.attachment)

    def on_interrupt(self, event: CometEvent) -> None:
        """It has expired, or its peer is gone."""
        self._is_over()
        self._stream.cut()

    def on_terminate(self, event: CometEvent) -> None:
        """It was ended."""
        self._is_over()
        self._stream.end(None)

    def _is_over(self) -> None:
        if not self._ended:
            self._ended = True
            self.over(self)

    # -- what the stream tells

    def on_progress(self, at: float) -> None:
        """Its peer has taken something."""
        self._context.touch(self, at)

    def make_heartbeat(self) -> Batch:
        """Never asked for while it is told each second; but a heartbeat may be shorter."""
        return Batch([Event({"type": "heartbeat"})])

    def on_ready(self) -> None:
        """There is no backlog."""

    def on_rotate(self) -> None:
        """It does not grow too long: a browser keeps the last numbers only."""

    def on_timeout(self) -> None:
        """It is no poll."""

    def on_lost(self) -> None:
        """Its peer is gone."""
        self._context.interrupt(self)

    def reads(self) -> tuple[str, Sequence[str]]:
        """Who watches; no room."""
        return self.session.name, ()

    def on_expiring(self, event: CometEvent) -> None:
        """See whether its peer has taken anything."""
        self._stream.look()

    # -- what its session tells

    def close(self, event: Event) -> None:
        """Send it away with a ``bye``."""
        self.end(Batch([event]))

    def end(self, batch: Batch | None) -> None:
        """Say the last words, and be over."""
        self._stream.end(batch)
        self._context.remove_handler(self)

    def tell(self, event: Event) -> None:
        """Not here: whoever reads rooms is told."""

    def answer_now(self) -> None:
        """It is no poll."""

    def come_back(self, after: float) -> None:
        """Begin anew by another token: a browser does."""
        self.end(None)
