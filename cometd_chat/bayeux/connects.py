"""How messages get from the queues to the clients: with connects, or pushed.

What it is: who holds a connect, who has a push connection, and what goes out by which. Long polls,
WebSockets and EventSources are views on the same queue. The states are in `states.py`.

What it may know: clients, exchanges, push connections, the reaper. Not channels, not who may do
what.

Invariant: each connect has one end: answered, timed out, replaced, lost, or ended with its client.
What went out and may not have arrived stays in the queue; without acknowledgement it is confirmed
by the client's next connect, unless the connection or the client says that the last reply was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from twisted.logger import Logger

from cometd_chat.bayeux import faults
from cometd_chat.bayeux.answered import has_arrived, is_again, most_again
from cometd_chat.bayeux.client import BayeuxClient
from cometd_chat.bayeux.exchange import Arrival, Exchange, PushConnection, StandingExchange
from cometd_chat.bayeux.extensions import Chain
from cometd_chat.bayeux.faults import Fault
from cometd_chat.bayeux.flushes import Flushes
from cometd_chat.bayeux.held_connects import HeldConnects
from cometd_chat.bayeux.messages import Message, milliseconds
from cometd_chat.bayeux.options import BayeuxOptions
from cometd_chat.bayeux.paths import EVENTSOURCE, MetaConnect, Path
from cometd_chat.bayeux.queue import Queued
from cometd_chat.bayeux.standing import StandingConnects
from cometd_chat.bayeux.states import ConnectEvent, ConnectState, PathEvent, PathState
from cometd_chat.comet.reaper import Reaper
from cometd_chat.comet.slices import CallSoon


@attrs.define(eq=False)
class Counts:
    """What has happened since the start, for metrics."""

    delivered: int = 0
    redelivered: int = 0
    replaced: int = 0
    expired: int = 0
    lost: int = 0


class Connects:
    """All connects and push connections.

    :param call_soon: calls something after the reactor's current turn, so that what is said in one
        turn goes out together; ``lambda f: reactor.callLater(0, f)``.
    :param chain: what a reply passes on its way out.
    :param on_confirmed: told how far a client has come.
    """

    _log = Logger()

    def __init__(
        self,
        reaper: Reaper,
        call_soon: CallSoon,
        options: BayeuxOptions,
        chain: Chain,
        on_confirmed: Callable[[BayeuxClient, int], None],
    ) -> None:
        self.counts = Counts()
        self._reaper = reaper
        self._options = options
        self._chain = chain
        self._on_confirmed = on_confirmed
        #: Told when something was queued.
        self.flushes = Flushes(reaper, call_soon, self._flush)
        self._paths: dict[BayeuxClient, Path] = {}
        self._by_push: dict[PushConnection, Path] = {}
        # Push connections that we have ended and that may yet confirm.
        self._ending: dict[PushConnection, Path] = {}
        # The connects that hold a request of their own, or whose reply went by one.
        self._by_exchange: dict[Exchange, MetaConnect] = {}
        # One object for all of them.
        self._when_over = self.answer
        self._held = HeldConnects(reaper, options.max_sessions_per_browser)
        #: Those that come again.
        self.standing = StandingConnects(
            self._held,
            reaper,
            options,
            chain,
            self.advice,
            on_confirmed,
            self._rewind,
            self._count_delivered,
            self.answer,
            self.lost,
        )

    @property
    def held(self) -> int:
        """How many connects are held."""
        return self._held.count

    # -- for the registry

    def add(self, client: BayeuxClient) -> None:
        """A client has come."""
        self._paths[client] = Path(client)

    def holds(self, client: BayeuxClient) -> bool:
        """Whether a connect of a client is held."""
        return self._paths[client].held is not None

    def is_under_way(self, client: BayeuxClient) -> bool:
        """Whether a client is taking the last reply to a connect."""
        last = self._paths[client].answered
        return last is not None and last.exchange.delivery.arrival() is Arrival.UNDER_WAY

    def answer_held(self, client: BayeuxClient) -> None:
        """Answer the connect that a client holds, if it holds one."""
        held = self._paths[client].held
        if held is not None:
            self.answer(held)

    def answer_now(self, exchange: Exchange) -> None:
        """Answer the connect that is held by an exchange, if one is."""
        connect = self._by_exchange.get(exchange)
        if connect is not None and connect.state is ConnectState.HELD:
            self.answer(connect)

    def forget(self, client: BayeuxClient, *, wait: bool) -> None:
        """A client has ended: answer what it holds, and let go of it.

        :param wait: its peer is there: tell it, and close its push connection.
        """
        path = self._paths.pop(client)
        held = path.held
        if held is not None:
            if wait:
                self.answer(held)
            else:
                self._held.release(held)
                held.saw(ConnectEvent.SETTLE)
        for connect in (held, path.answered, path.newest):
            if connect is not None:
                self._by_exchange.pop(connect.exchange, None)
                self._held.forget(connect)
        if path.answered is not None:
            path.answered.saw(ConnectEvent.SETTLE)
        path.answered = path.newest = None
        push, path.push = path.push, None
        if push is not None:
            path.saw(PathEvent.CLOSED)
            del self._by_push[push]
            push.end()
        self.flushes.forget(client)

    # -- connects

    def admit(
        self, client: BayeuxClient, message: Message, exchange: Exchange, *, alone: bool
    ) -> MetaConnect:
        """A connect has come: it takes the place of the one before.

        :param alone: nothing else came in its request.
        :returns: it, to be answered or held by `settle` once the rest of its request is handled.
        """
        path = self._paths[client]
        connect = MetaConnect(self._when_over, path, message, exchange, alone)
        polls, id = exchange.push is None, message.get("id")
        if polls and not client.acknowledged and client.habits.is_late(id):
            # Its client waits for another one, or for nothing.
            self._by_exchange[exchange] = connect
            return connect
        earlier, path.newest = path.newest, connect
        client.habits.note(id, hurried=connect.hurried)
        if connect.hurried:
            client.published.begin_anew()
        if path.held is not None:
            self.counts.replaced += 1
            self.answer(path.held, faults.connect_replaced())
        if polls and earlier is not None and is_again(earlier, connect):
            connect.most = most_again(earlier)
        self._settle_last(path, connect)
        client.transport = _connection_type(message, exchange)
        self._choose_path(path, exchange)
        if polls:
            self._by_exchange[exchange] = connect
        return connect

    def repeatable(self, exchange: Exchange) -> MetaConnect | None:
        """The connect that was just answered by an exchange, if it may come again; see
        `standing.py`."""
        connect = self._by_exchange.get(exchange)
        return connect if connect is not None and self.standing.may_stand(connect) else None

    def stand(self, connect: MetaConnect, exchange: StandingExchange) -> None:
        """A connect comes again by an exchange that stands."""
        self._by_exchange[exchange] = self._by_exchange.pop(connect.exchange)
        self.standing.stand(connect, exchange)

    def _choose_path(self, path: Path, exchange: Exchange) -> None:
        """A connect says by what its client is reached from now. One that polls again has given its
        push connection up; but one that stands by it may not know of yet: Faye polls until it has
        heard that its EventSource is open, and wants its polls to be answered."""
        push = exchange.push
        if push is None and path.client.transport != EVENTSOURCE:
            had_push = path.state is PathState.PUSHED
            path.saw(PathEvent.POLLED)
            if had_push:
                self._end_push(path)
            return
        path.saw(PathEvent.NAMED)
        if push is not None:
            self._bind(path, push)

    def _settle_last(self, path: Path, connect: MetaConnect) -> None:
        """What became of the reply to the last connect."""
        client, last, path.answered = path.client, path.answered, None
        if last is None:
            return
        last.saw(ConnectEvent.SETTLE)
        self._by_exchange.pop(last.exchange, None)
        self._held.forget(last)
        if client.acknowledged:
            # What has arrived was confirmed by its number before this; all else goes again.
            self._rewind(client)
        elif last.exchange.push is not None or (path.pushes and not last.carried):
            # What was pushed before the reply is older than it on the same connection.
            if path.push is not None and last.exchange.push in (None, connect.exchange.push):
                self._on_confirmed(client, last.sent)
        elif has_arrived(last, connect):
            self._on_confirmed(client, last.sent)
        else:
            self._rewind(client)

    def settle(self, connect: MetaConnect, *, others: Sequence[bytes] = ()) -> None:
        """Answer a connect at once, or hold it; one that did not come alone is never held.

        :param others: the replies to what came with it, which go before it.
        """
        path, client = connect.path, connect.path.client
        connect.others = others
        if path.newest is not connect and not client.ended:
            self.answer(connect, faults.connect_replaced())
            return
        first, path.connected = not path.connected, True
        if path.pushes:
            self._push(path)
        seconds = self._hold_seconds(connect.message)
        urgent = (client.queue.urgent or connect.most is not None) and not path.pushes
        over = connect.state is ConnectState.LOST or client.ended or self._held.is_full(connect)
        if first or not connect.alone or seconds == 0 or urgent or over or path.streams:
            self.answer(connect)
        else:
            self._hold(connect, seconds)

    def _hold_seconds(self, message: Message) -> float:
        asked = milliseconds(message.get("advice"), "timeout")
        return self._options.timeout if asked is None else min(asked, self._options.timeout)

    def _hold(self, connect: MetaConnect, seconds: float) -> None:
        connect.saw(ConnectEvent.HOLD)
        self._held.hold(connect, seconds)
        connect.exchange.hold(seconds)

    # -- answering

    def answer(self, connect: MetaConnect, fault: Fault | None = None) -> None:
        """Answer a connect, with what waits for its client.

        :param fault: why it fails; then nothing goes with it.
        """
        if connect.standing is not None and fault is None and self.standing.answer(connect):
            return
        path, client = connect.path, connect.path.client
        over = fault is None and path.held is not connect and self._held.is_full(connect)
        if fault is None:
            self._held.release(connect)
        else:
            self._held.forget(connect)
        if connect.state is ConnectState.LOST:
            self._restart_expiry(client, self._options.interval)
            return
        reply: Message = {"channel": "/meta/connect", "successful": fault is None}
        if "id" in connect.message:
            reply["id"] = connect.message["id"]
        parts = list(connect.others)
        if fault is not None:
            connect.saw(ConnectEvent.DISMISS)
            reply["error"] = fault.error
            self._by_exchange.pop(connect.exchange, None)
        else:
            parts += self._carry(connect)
            reply["advice"] = advice = self._advice(connect, over=over)
            interval = advice.get("interval", 0) / 1000
            self._restart_expiry(client, interval, connect.message)
        finished = self._chain.reply(reply, client, connect.message)
        if finished is not None:
            parts.append(finished)
        # It stays until the next one has come, and what came with it may be large.
        connect.message = {"id": connect.message.get("id")}
        connect.others = ()
        self._reply(connect, parts)

    def _carry(self, connect: MetaConnect) -> list[bytes]:
        """The messages that go with the reply to a connect."""
        path, client = connect.path, connect.path.client
        taken = [] if path.pushes else self._take(client, connect.most)
        connect.carried = bool(taken) and connect.exchange.push is None
        connect.sent = client.queue.last_sent
        connect.saw(ConnectEvent.DISMISS if client.ended else ConnectEvent.ANSWER)
        path.answered = None if client.ended else connect
        return [queued.json for queued in taken]

    def _reply(self, connect: MetaConnect, parts: Sequence[bytes]) -> None:
        try:
            connect.exchange.reply(parts)
        except Exception:
            self._log.failure("a reply could not be sent")
            if connect.exchange.push is None:
                self.lost(connect.exchange)
            else:
                self.push_lost(connect.exchange.push)

    def _advice(self, connect: MetaConnect, *, over: bool) -> Message:
        """Always complete, since some clients replace all they know by it."""
        path = connect.path
        if path.client.ended:
            return dict(path.client.farewell)
        advice = self.advice()
        if over:
            seconds = self._options.multi_session_interval
            advice.update({"multiple-clients": True, "interval": round(seconds * 1000)})
            if seconds <= 0:
                advice.update({"reconnect": "none", "interval": 0})
        elif path.streams and not connect.carried:
            # The stream carries everything: its connects only say that the client is there.
            advice.update({"interval": advice["timeout"], "timeout": 0})
        return advice

    def advice(self) -> Message:
        """What to do when all is well; times in milliseconds."""
        return {
            "reconnect": "retry",
            "interval": round(self._options.interval * 1000),
            "timeout": round(self._options.timeout * 1000),
        }

    def _take(self, client: BayeuxClient, upto: int | None = None) -> list[Queued]:
        most = self._options.max_reply_messages
        if upto is not None:
            most = min(most, client.queue.waiting_to(upto))
        taken = client.queue.take(most, self._options.max_reply_bytes)
        if taken:
            self._count_delivered(len(taken))
            client.delivered_at = self._reaper.seconds()
        return taken

    def _count_delivered(self, count: int) -> None:
        self.counts.delivered += count

    def _restart_expiry(
        self, client: BayeuxClient, interval: float, message: Message | None = None
    ) -> None:
        """From now it may be silent for a while."""
        asked = milliseconds(message.get("advice"), "interval") if message is not None else None
        if asked is not None:
            interval = max(interval, min(asked, self._options.max_client_interval))
        client.heard_at = self._reaper.seconds()
        client.idle_limit = interval + self._options.max_interval
        if not client.ended:
            self._reaper.schedule(client, client.idle_limit)

    def lost(self, exchange: Exchange) -> None:
        """See `BayeuxServer.lost`."""
        connect = self._by_exchange.pop(exchange, None)
        if connect is None:
            return
        path, was = connect.path, connect.state
        connect.saw(ConnectEvent.LOSE)
        self.counts.lost += 1
        self._held.forget(connect)
        if was is ConnectState.HELD:
            self._restart_expiry(path.client, self._options.interval)
        elif was is ConnectState.ANSWERED:
            path.answered = None
            self._rewind(path.client)

    # -- what was queued

    def _flush(self, client: BayeuxClient) -> None:
        if client.ended or not client.queue.urgent:
            return
        path = self._paths[client]
        if path.pushes:
            self._push(path)
        elif path.held is not None:
            self.answer(path.held)

    def _push(self, path: Path) -> None:
        push, queue = path.push, path.client.queue
        if path.has_unconfirmed_reply:
            # What is pushed now could overtake it. The next connect says that it has arrived.
            return
        while push is not None and push is path.push and queue.urgent and push.writable:
            messages = [(queued.number, queued.json) for queued in self._take(path.client)]
            try:
                push.send(messages)
            except Exception:
                self._log.failure("a push connection could not be written to")
                self.push_lost(push)

    def _rewind(self, client: BayeuxClient) -> None:
        count = client.queue.rewind()
        if count:
            self.counts.redelivered += count
            self.flushes.schedule(client)

    # -- push connections

    def open_stream(self, client: BayeuxClient, push: PushConnection) -> None:
        """An EventSource was opened for a client."""
        path = self._paths[client]
        if client.transport != EVENTSOURCE:
            # No connect has named it yet.
            path.saw(PathEvent.POLLED)
        self._bind(path, push)

    def _bind(self, path: Path, push: PushConnection) -> None:
        """Give a client a push connection. The one it had is closed, and the one it gets is no
        other client's any more: its peer has made a new handshake."""
        if path.push is push:
            return
        self._end_push(path)
        other = self._by_push.get(push)
        if other is not None:
            self._unbind(other)
        path.push = push
        path.saw(PathEvent.OPENED)
        self._by_push[push] = path
        if not path.has_unconfirmed_reply:
            self._rewind(path.client)
        self.flushes.schedule(path.client)

    def end_push(self, client: BayeuxClient) -> None:
        """Close a client's push connection, if it has one; what may not have arrived goes again."""
        self._end_push(self._paths[client])

    def _end_push(self, path: Path) -> None:
        push = path.push
        if push is not None:
            self._unbind(path)
            self._ending[push] = path
            push.end()

    def _unbind(self, path: Path) -> None:
        push, path.push = path.push, None
        if push is None:
            return
        path.saw(PathEvent.CLOSED)
        del self._by_push[push]
        held = path.held
        if held is not None and held.exchange.push is push:
            self._held.forget(held)
            held.saw(ConnectEvent.LOSE)
        if not path.has_unconfirmed_reply:
            if path.answered is not None and not path.client.acknowledged:
                path.answered.saw(ConnectEvent.SETTLE)
                self._by_exchange.pop(path.answered.exchange, None)
                path.answered = None
            self._rewind(path.client)
        self._restart_expiry(path.client, self._options.interval)

    def push_lost(self, push: PushConnection) -> None:
        """See `BayeuxServer.push_lost`."""
        self._ending.pop(push, None)
        path = self._by_push.get(push)
        if path is not None:
            self.counts.lost += 1
            self._unbind(path)

    def client_of(self, push: PushConnection) -> BayeuxClient | None:
        """Whose push connection it is, or was until we ended it."""
        path = self._by_push.get(push) or self._ending.get(push)
        return None if path is None else path.client


def _connection_type(message: Message, exchange: Exchange) -> str:
    said = message.get("connectionType")
    return EVENTSOURCE if said == EVENTSOURCE else exchange.peer.transport
