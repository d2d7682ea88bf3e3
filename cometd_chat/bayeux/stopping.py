"""The end of a server: its clients go, each once nothing more can become known of it.

What it is: who is let go at once, who is waited for, and for how long; a slice at a time.

What it may know: clients, connects, the reaper. Not transports.

Invariant: what a client has is confirmed when it says so in time; none is waited for longer than
`PART_WITHIN`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from twisted.internet.defer import Deferred

from cometd_chat.bayeux.client import BayeuxClient
from cometd_chat.bayeux.clients import Clients
from cometd_chat.bayeux.connects import Connects
from cometd_chat.bayeux.exchange import Exchange
from cometd_chat.bayeux.extensions import CONNECT, Chain
from cometd_chat.bayeux.listeners import guarded
from cometd_chat.bayeux.messages import Message
from cometd_chat.comet.reaper import Reaper
from cometd_chat.comet.slices import Slices

#: Seconds that clients have to say what has arrived when the server stops: as long as a socket has
#: to answer our close.
PART_WITHIN = 2.0

#: To end a client is about as much as to tell ten, and so often the clock is looked at.
END_EVERY = 4


class Stopping:
    """The clients of a server that stops of which something may become known. An item of the
    reaper."""

    def __init__(
        self,
        reaper: Reaper,
        slices: Slices,
        registry: Clients,
        connects: Connects,
        chain: Chain,
    ) -> None:
        self.due_bucket = 0
        self._reaper = reaper
        self._slices = slices
        self._registry = registry
        self._connects = connects
        self._chain = chain
        self._waited_for: dict[BayeuxClient, None] = {}
        self._over: Deferred[None] = Deferred()

    def begin(self) -> Deferred[None]:
        """See `BayeuxServer.stop`."""
        self._registry.closed = True
        self._waited_for = dict.fromkeys(self._registry.by_id.values())
        self._reaper.schedule(self, PART_WITHIN)
        self._slices.walk(self._part(list(self._waited_for)), every=END_EVERY)
        self._look_who_is_there()
        return self._over

    def _part(self, clients: Sequence[BayeuxClient]) -> Iterator[None]:
        for client in clients:
            if client in self._waited_for:
                self._connects.answer_held(client)
                if client.queue.unconfirmed:
                    self._connects.end_push(client)
                else:
                    self.let_go(client)
            yield

    def heard(self, messages: Sequence[Message], exchange: Exchange) -> None:
        """A request has come. There is no reply; but a connect says what its client has."""
        client = self._registry.of(messages, exchange)
        if client is None or client not in self._waited_for:
            return
        # It is early: its turn has not come yet.
        self._connects.answer_held(client)
        for message in messages:
            if message.get("channel") == CONNECT and message.get("clientId") == client.id:
                guarded("an extension failed", self._chain.incoming, message, client)
                self._connects.admit(client, message, exchange, alone=len(messages) == 1)
        self.let_go(client)

    def let_go(self, client: BayeuxClient) -> None:
        """Nothing more will be known of a client; nothing happens to one that is not waited for."""
        if client in self._waited_for:
            del self._waited_for[client]
            self._registry.remove(client, timed_out=False, tell_peer=False)
            self._look_who_is_there()

    def _look_who_is_there(self) -> None:
        if not self._waited_for and not self._over.called:
            self._reaper.cancel(self)
            self._over.callback(None)

    def on_due(self, now: float) -> float | None:
        """They have had the time."""
        for client in list(self._waited_for):
            self.let_go(client)
        return None
