"""How messages get from the queues to the clients: with connects, or pushed on lines.

What it is: who holds a connect, who has a line, and who is to be looked at because something was
queued. Long polls, WebSockets and EventSources are views on the same queue.

What it may know: sessions, exchanges, lines, the reaper. Not channels, not who may do what.

Invariant: each connect has one end: answered, timed out, replaced, lost, or ended with its session.
What went out and may not have arrived stays in the queue; without acknowledgement it is confirmed
by the client's next connect, unless the connection or the client says that the last reply was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.logger import Logger

from cometd_chat.bayeux import faults
from cometd_chat.bayeux.exchange import Arrival, Exchange, Line
from cometd_chat.bayeux.extensions import Chain
from cometd_chat.bayeux.faults import Fault
from cometd_chat.bayeux.messages import Message, milliseconds
from cometd_chat.bayeux.options import BayeuxOptions
from cometd_chat.bayeux.session import Session
from cometd_chat.comet.reaper import Reaper

#: Looking at the clock costs as much as a session, so it is done once for so many.
_CLOCK_EVERY = 32

#: After so many seconds a round makes way for other work.
_SLICE = 0.005

EVENTSOURCE = "eventsource"

#: What tells that a reply has not arrived, whatever the client does next.
_NOT_ARRIVED = (Arrival.WAITING, Arrival.UNDER_WAY, Arrival.LOST)


@attrs.define(eq=False)
class Counts:
    """What has happened since the start, for metrics."""

    delivered: int = 0
    redelivered: int = 0
    replaced: int = 0
    expired: int = 0
    lost: int = 0


@attrs.define(eq=False)
class MetaConnect:
    """One /meta/connect: held until there is something to say. An item of the reaper.

    :param alone: nothing else came in its request.
    :param others: the replies to what came in the same request.
    :param sent: when answered, the number up to which the client has everything once it has this.
    :param carried: when answered, whether messages went with it.
    """

    connects: Connects
    session: Session
    message: Message
    exchange: Exchange
    alone: bool
    others: Sequence[bytes] = ()
    lost: bool = False
    sent: int | None = None
    carried: bool = False
    due_bucket: int = 0
    #: Whether the client wants it answered at once. CometD does when it begins, when a page is
    #: loaded again, and after a connect that failed; Faye when it sends other messages with it.
    hurried: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        timeout = milliseconds(self.message.get("advice"), "timeout")
        self.hurried = self.alone and timeout == 0

    def on_due(self, now: float) -> float | None:
        """It was held for as long as it may be."""
        self.connects.answer(self)
        return None


@attrs.define(eq=False)
class _LazyWait:
    """A session's lazy messages have waited long enough. An item of the reaper."""

    connects: Connects
    session: Session
    until: float
    due_bucket: int = 0

    def on_due(self, now: float) -> float | None:
        self.connects.lazy_over(self.session)
        return None


class Connects:
    """All connects and lines.

    :param call_soon: calls something after the reactor's current turn, so that what is said in one
        turn goes out together; ``lambda f: reactor.callLater(0, f)``.
    :param on_confirmed: told how far a session has come.
    """

    _log = Logger()

    def __init__(
        self,
        reaper: Reaper,
        call_soon: Callable[[Callable[[], None]], object],
        options: BayeuxOptions,
        chain: Chain,
        on_confirmed: Callable[[Session, int], None],
    ) -> None:
        self.counts = Counts()
        self._reaper = reaper
        self._call_soon = call_soon
        self._options = options
        self._chain = chain
        self._on_confirmed = on_confirmed
        self._lines: dict[Line, Session] = {}
        # Lines that we have ended and that may yet confirm.
        self._ending: dict[Line, Session] = {}
        self._connects: dict[Exchange, MetaConnect] = {}
        # By browser, who holds a long poll.
        self._tabs: dict[str, dict[Session, None]] = {}
        self._lazy: dict[Session, _LazyWait] = {}
        # Who is to be looked at, and whether the call for that is on its way.
        self._stirred: dict[Session, None] = {}
        self._called = False
        #: How many connects are held.
        self.held = 0

    # -- connects

    def admit(
        self, session: Session, message: Message, exchange: Exchange, *, alone: bool
    ) -> MetaConnect:
        """A connect has come: it takes the place of the one before.

        :param alone: nothing else came in its request.
        :returns: it, to be answered or held by `settle` once the rest of its request is handled.
        """
        connect = MetaConnect(self, session, message, exchange, alone)
        session.newest = connect
        session.habits.note(message.get("id"), hurried=connect.hurried)
        if connect.hurried:
            session.published.begin_anew()
        if session.held is not None:
            self.counts.replaced += 1
            self.answer(session.held, faults.connect_replaced())
        self._settle_last(session, connect)
        session.transport = _connection_type(message, exchange)
        heard, session.hears_line = session.hears_line, _hears_line(session, exchange)
        if exchange.line is not None:
            self.bind(session, exchange.line)
        elif heard and not session.hears_line:
            self.unbind(session)
        if exchange.line is None:
            self._connects[exchange] = connect
        return connect

    def _settle_last(self, session: Session, connect: MetaConnect) -> None:
        """Whether the reply to the last connect has arrived."""
        last, session.answered = session.answered, None
        if last is None:
            return
        self._connects.pop(last.exchange, None)
        if session.acknowledged:
            # What has arrived was confirmed by its number before this; all else goes again.
            self._rewind(session)
            return
        assert last.sent is not None
        if last.exchange.line is not None or (session.pushed and not last.carried):
            # What was pushed before the reply is older than it on the same connection.
            if session.line is not None and last.exchange.line in (None, connect.exchange.line):
                self._on_confirmed(session, last.sent)
            return
        if _has_arrived(session, last, connect):
            self._on_confirmed(session, last.sent)
        else:
            self._rewind(session)

    def settle(self, connect: MetaConnect, *, others: Sequence[bytes] = ()) -> None:
        """Answer a connect at once, or hold it; one that did not come alone is never held.

        :param others: the replies to what came with it, which go before it.
        """
        session = connect.session
        connect.others = others
        if session.newest is not connect and not session.ended:
            self.answer(connect, faults.connect_replaced())
            return
        first, session.connected = not session.connected, True
        if session.pushed:
            self._push(session)
        seconds = self._hold_seconds(connect.message)
        urgent = session.queue.urgent and not session.pushed
        over = connect.lost or session.ended or self._is_over(connect)
        at_once = first or not connect.alone or seconds == 0 or urgent or over
        if at_once or _is_streamed(session):
            self.answer(connect)
        else:
            self._hold(connect, seconds)

    def _hold_seconds(self, message: Message) -> float:
        asked = milliseconds(message.get("advice"), "timeout")
        return self._options.timeout if asked is None else min(asked, self._options.timeout)

    def _hold(self, connect: MetaConnect, seconds: float) -> None:
        connect.session.held = connect
        self.held += 1
        browser = self._browser(connect)
        if browser is not None:
            self._tabs.setdefault(browser, {})[connect.session] = None
        self._reaper.schedule(connect, seconds)
        connect.exchange.hold(seconds)

    def _release(self, connect: MetaConnect) -> None:
        """It is held no longer, if it was."""
        if connect.session.held is not connect:
            return
        connect.session.held = None
        self.held -= 1
        self._reaper.cancel(connect)
        browser = self._browser(connect)
        if browser is not None and browser in self._tabs:
            self._tabs[browser].pop(connect.session, None)
            if not self._tabs[browser]:
                del self._tabs[browser]

    def _browser(self, connect: MetaConnect) -> str | None:
        """The browser one of whose few connections a connect takes."""
        return connect.exchange.peer.browser if connect.exchange.line is None else None

    def _is_over(self, connect: MetaConnect) -> bool:
        """Whether its browser holds as many connects as it should."""
        browser = self._browser(connect)
        if browser is None:
            return False
        others = len(self._tabs.get(browser, ()))
        return others >= self._options.max_sessions_per_browser

    # -- answering

    def answer(self, connect: MetaConnect, fault: Fault | None = None) -> None:
        """Answer a connect, with what waits for its session.

        :param fault: why it fails; then nothing goes with it.
        """
        session = connect.session
        over = fault is None and session.held is not connect and self._is_over(connect)
        self._release(connect)
        if connect.lost:
            self._restart_expiry(session, self._options.interval)
            return
        reply: Message = {"channel": "/meta/connect", "successful": fault is None}
        if "id" in connect.message:
            reply["id"] = connect.message["id"]
        parts = list(connect.others)
        if fault is not None:
            reply["error"] = fault.error
            self._connects.pop(connect.exchange, None)
        else:
            if not session.pushed:
                taken = self._take(session)
                parts += [queued.json for queued in taken]
                connect.carried = bool(taken) and connect.exchange.line is None
            reply["advice"] = advice = self._advice(connect, over=over)
            connect.sent = session.queue.last_sent
            session.answered = None if session.ended else connect
            self._restart_expiry(session, advice.get("interval", 0) / 1000, connect.message)
        finished = self._chain.reply(reply, session, connect.message)
        if finished is not None:
            parts.append(finished)
        # It stays until the next one has come, and what came with it may be large.
        connect.message = {"id": connect.message.get("id")}
        connect.others = ()
        self._reply(connect, parts)

    def _reply(self, connect: MetaConnect, parts: Sequence[bytes]) -> None:
        try:
            connect.exchange.reply(parts)
        except Exception:
            self._log.failure("a reply could not be sent")
            if connect.exchange.line is None:
                self.lost(connect.exchange)
            else:
                self.line_lost(connect.exchange.line)

    def _advice(self, connect: MetaConnect, *, over: bool) -> dict[str, Any]:
        """Always complete, since some clients replace all they know by it."""
        session = connect.session
        if session.ended:
            return dict(session.farewell)
        advice = self.advice()
        if over:
            seconds = self._options.multi_session_interval
            advice.update({"multiple-clients": True, "interval": round(seconds * 1000)})
            if seconds <= 0:
                advice.update({"reconnect": "none", "interval": 0})
        elif _is_streamed(session) and not connect.carried:
            # The stream carries everything: its connects only say that the client is there.
            advice.update({"interval": advice["timeout"], "timeout": 0})
        return advice

    def advice(self) -> dict[str, Any]:
        """What to do when all is well; times in milliseconds."""
        return {
            "reconnect": "retry",
            "interval": round(self._options.interval * 1000),
            "timeout": round(self._options.timeout * 1000),
        }

    def _take(self, session: Session) -> list[Any]:
        taken = session.queue.take(self._options.max_reply_messages, self._options.max_reply_bytes)
        if taken:
            self.counts.delivered += len(taken)
            session.delivered_at = self._reaper.seconds()
        return taken

    def _restart_expiry(
        self, session: Session, interval: float, message: Message | None = None
    ) -> None:
        """From now she may be silent for a while."""
        asked = milliseconds(message.get("advice"), "interval") if message is not None else None
        if asked is not None:
            interval = max(interval, min(asked, self._options.max_client_interval))
        session.heard_at = self._reaper.seconds()
        session.idle_limit = interval + self._options.max_interval
        if not session.ended:
            self._reaper.schedule(session, session.idle_limit)

    # -- what was queued

    def schedule_flush(self, session: Session) -> None:
        """Look after this turn whether something can go out."""
        self._stirred[session] = None
        if not self._called:
            self._called = True
            self._call_soon(self._flush)

    def wait_lazily(self, session: Session, seconds: float) -> None:
        """Something lazy was queued that may wait for so long."""
        until = self._reaper.seconds() + seconds
        wait = self._lazy.get(session)
        if wait is None:
            wait = self._lazy[session] = _LazyWait(self, session, until)
        elif wait.until <= until:
            return
        wait.until = until
        self._reaper.schedule(wait, seconds)

    def lazy_over(self, session: Session) -> None:
        """What is lazy has waited long enough."""
        self._lazy.pop(session, None)
        session.queue.promote_lazy()
        self.schedule_flush(session)

    def _flush(self) -> None:
        """Look at everybody for whom something was queued; with a pause now and then."""
        self._called = False
        until = self._reaper.seconds() + _SLICE
        stirred, self._stirred = self._stirred, {}
        for count, session in enumerate(list(stirred), 1):
            del stirred[session]
            self._look(session)
            if count % _CLOCK_EVERY == 0 and self._reaper.seconds() >= until and stirred:
                stirred.update(self._stirred)
                self._stirred = stirred
                if not self._called:
                    self._called = True
                    self._call_soon(self._flush)
                return

    def _look(self, session: Session) -> None:
        if session.ended or not session.queue.urgent:
            return
        if session.pushed:
            self._push(session)
        elif session.held is not None:
            self.answer(session.held)

    def _push(self, session: Session) -> None:
        line = session.line
        if _has_unconfirmed_reply(session):
            # What is pushed now could overtake it. Her next connect says that it has arrived.
            return
        while line is not None and line is session.line and session.queue.urgent and line.writable:
            messages = [(queued.number, queued.json) for queued in self._take(session)]
            try:
                line.push(messages)
            except Exception:
                self._log.failure("a line could not be written to")
                self.line_lost(line)

    def _rewind(self, session: Session) -> None:
        count = session.queue.rewind()
        if count:
            self.counts.redelivered += count
            self.schedule_flush(session)

    # -- lines

    def bind(self, session: Session, line: Line) -> None:
        """Let a session's messages go by a line. The line it had is closed, and so is this
        line's bond with another session: its client has made a new handshake."""
        if session.line is line:
            return
        self.unbind(session)
        other = self._lines.get(line)
        if other is not None:
            self._let_go(other)
        session.line = line
        self._lines[line] = session
        if not _has_unconfirmed_reply(session):
            self._rewind(session)
        self.schedule_flush(session)

    def unbind(self, session: Session) -> None:
        """Close a session's line, if it has one; what may not have arrived goes again."""
        line = session.line
        if line is not None:
            self._let_go(session)
            self._ending[line] = session
            line.end()

    def _let_go(self, session: Session) -> None:
        line, session.line = session.line, None
        if line is not None:
            del self._lines[line]
        held = session.held
        if held is not None and held.exchange.line is line:
            self._release(held)
        if not _has_unconfirmed_reply(session):
            if not session.acknowledged:
                session.answered = None
            self._rewind(session)
        self._restart_expiry(session, self._options.interval)

    def line_lost(self, line: Line) -> None:
        """See `BayeuxServer.line_lost`."""
        self._ending.pop(line, None)
        session = self._lines.get(line)
        if session is not None:
            self.counts.lost += 1
            self._let_go(session)

    def line_session(self, line: Line) -> Session | None:
        """Whose line it is, or was until we ended it."""
        return self._lines.get(line) or self._ending.get(line)

    def lost(self, exchange: Exchange) -> None:
        """See `BayeuxServer.lost`."""
        connect = self._connects.pop(exchange, None)
        if connect is None or connect.lost:
            return
        connect.lost = True
        session = connect.session
        self.counts.lost += 1
        if session.held is connect:
            self._release(connect)
            self._restart_expiry(session, self._options.interval)
        elif session.answered is connect:
            session.answered = None
            self._rewind(session)

    # -- for the registry

    def holds(self, session: Session) -> bool:
        """Whether a connect of a session is held."""
        return session.held is not None

    def is_under_way(self, session: Session) -> bool:
        """Whether the peer is taking the last reply to a connect."""
        last = session.answered
        return last is not None and last.exchange.delivery.arrival() is Arrival.UNDER_WAY

    def answer_held(self, session: Session) -> None:
        """Answer what a session holds, if it holds something."""
        if session.held is not None:
            self.answer(session.held)

    # -- the end of a session

    def forget(self, session: Session, *, wait: bool) -> None:
        """A session has ended: answer what it holds, and let go of it.

        :param wait: its client is there: tell it, and close its line.
        """
        held, line = session.held, session.line
        if held is not None:
            if wait:
                self.answer(held)
            self._release(held)
            self._connects.pop(held.exchange, None)
        for connect in (session.answered, session.newest):
            if connect is not None:
                self._connects.pop(connect.exchange, None)
        session.answered = session.held = session.newest = session.line = None
        if line is not None:
            self._lines.pop(line, None)
            line.end()
        waiting = self._lazy.pop(session, None)
        if waiting is not None:
            self._reaper.cancel(waiting)
        self._stirred.pop(session, None)


def _connection_type(message: Message, exchange: Exchange) -> str:
    said = message.get("connectionType")
    return EVENTSOURCE if said == EVENTSOURCE else exchange.peer.transport


def _hears_line(session: Session, exchange: Exchange) -> bool:
    """Whether the client that sent a connect knew of its line. Faye polls until it has heard that
    its EventSource is open: polls may come after that has opened here, and want to be answered."""
    return exchange.line is not None or session.transport == EVENTSOURCE


def _has_unconfirmed_reply(session: Session) -> bool:
    """Whether messages are on their way to her with a reply, while she has opened a line or is
    about to: sent again by that, they would come twice."""
    last = session.answered
    return last is not None and last.carried and not session.acknowledged


def _is_streamed(session: Session) -> bool:
    """Whether her messages go by an EventSource. It may be yet to open, or open anew by itself."""
    return session.transport == EVENTSOURCE and not session.acknowledged


def _has_arrived(session: Session, last: MetaConnect, connect: MetaConnect) -> bool:
    """Whether a client has the reply to its last connect, now that it sends the next one.

    It sends that when it has the reply, or has given it up. What becomes of a connection tells
    mostly which; where a proxy has taken the reply, or a browser goes on by another connection, the
    client may tell: Faye sends the same connect again, CometD asks for an answer at once. An id
    that is the same for all connects tells nothing.
    """
    arrival = last.exchange.delivery.arrival()
    if arrival is not Arrival.UNKNOWN:
        return arrival not in _NOT_ARRIVED
    again = session.habits.counts and connect.message.get("id") == last.message.get("id")
    return not again and not session.habits.failed
