"""The clients of a server, from handshake to end.

What it is: who there is by clientId, and what each of them needs of the server.

What it may know: clients, and what has to hear when one comes, goes, or has something queued. Not
what a message means.

Invariant: a client that has ended is in nothing any more: no sweep, no subscription, no bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from twisted.logger import Logger

from cometd_chat.bayeux.binding import Binding
from cometd_chat.bayeux.client import CLIENT_SIZE, BayeuxClient
from cometd_chat.bayeux.connects import Connects
from cometd_chat.bayeux.exchange import Exchange, Peer, PushConnection
from cometd_chat.bayeux.extensions import Chain
from cometd_chat.bayeux.identity import Identity
from cometd_chat.bayeux.listeners import ServerListeners
from cometd_chat.bayeux.messages import Message
from cometd_chat.bayeux.options import BayeuxOptions
from cometd_chat.bayeux.queue import EventMessage, Kept
from cometd_chat.bayeux.served_channels import ServedChannels
from cometd_chat.comet.reaper import Reaper
from cometd_chat.comet.slices import CallSoon
from cometd_chat.errors import ShuttingDown
from cometd_chat.transports.budget import MemoryBudget

#: Seconds after which the peer of a client that had to go shakes hands anew.
RENEW_AFTER = 5.0


class ClientRegistry:
    """The `Clients` of one process; the host of each of them.

    :param call_soon: calls something after the reactor's current turn.
    :param new_id: makes a clientId.
    :param memory: where what is kept for them counts.
    """

    _log = Logger()

    def __init__(
        self,
        reaper: Reaper,
        call_soon: CallSoon,
        new_id: Callable[[], str],
        options: BayeuxOptions,
        memory: MemoryBudget,
        listeners: ServerListeners,
        chain: Chain,
        channels: ServedChannels,
        connects: Connects,
    ) -> None:
        self.by_id: dict[str, BayeuxClient] = {}
        self.closed = False
        self.still_hears: Callable[[BayeuxClient], bool] | None = None
        self._reaper = reaper
        self._call_soon = call_soon
        self._new_id = new_id
        self._options = options
        self._memory = memory
        self._listeners = listeners
        self._chain = chain
        self._channels = channels
        self._connects = connects
        # How many messages those have lost that have lost any.
        self._dropped: dict[BayeuxClient, int] = {}

    def find(self, client_id: object) -> BayeuxClient | None:
        """See `Clients.find`."""
        return self.by_id.get(client_id) if isinstance(client_id, str) else None

    def of(self, messages: Sequence[Message], exchange: Exchange) -> BayeuxClient | None:
        """See `Clients.of`."""
        for client_id in dict.fromkeys(_client_id(each) for each in messages):
            client = self.find(client_id)
            if client is not None and self.admits(client, exchange.peer, exchange.push):
                client.heard_at = self._reaper.seconds()
                return client
        return None

    def admits(self, client: BayeuxClient, peer: Peer, push: PushConnection | None) -> bool:
        """See `Clients.admits`."""
        admitted = client.binding.admits(peer, None if push is None else push.opened_at)
        if not admitted:
            self._log.debug("a client was asked for without its cookie or token")
        return admitted

    def new(self, identity: Identity, peer: Peer) -> BayeuxClient:
        """See `Clients.new`."""
        if self.closed:
            raise ShuttingDown("The server is stopping: try again in a moment.", retry_after=1)
        if len(self.by_id) >= self._options.max_sessions:
            raise ShuttingDown("There are too many sessions: try again later.", retry_after=10)
        now = self._reaper.seconds()
        id = self._new_id()
        client = BayeuxClient(id, identity, Binding(peer, now), self, self._options, now)
        client.replays = peer.replays
        self.by_id[id] = client
        self._connects.add(client)
        self._memory.add(client, "bayeux")
        self.account(CLIENT_SIZE)
        # From birth: one that never connects must not stay.
        self._reaper.schedule(client, client.idle_limit)
        self._listeners.client_added.tell(client)
        return client

    def leave(self, client: BayeuxClient) -> None:
        """See `Clients.leave`."""
        client.stay_away()
        self.remove(client, timed_out=False, tell_peer=True)

    def remove(self, client: BayeuxClient, *, timed_out: bool, tell_peer: bool) -> None:
        """See `Clients.remove`."""
        if client.ended:
            return
        client.ended = True
        del self.by_id[client.id]
        self._reaper.cancel(client)
        self._connects.forget(client, wait=tell_peer)
        for pattern in list(client.subscriptions):
            self._channels.unsubscribe(client, pattern)
        client.queue.retire()
        self._memory.remove(client, CLIENT_SIZE, "bayeux")
        self._dropped.pop(client, None)
        self._listeners.client_removed.tell(client, timed_out)

    # -- ClientHost

    def event(
        self, channel: str, data: object, kept: Kept | None = None, /, **fields: object
    ) -> EventMessage | None:
        """See `ClientHost.event`."""
        return self._channels.broadcast.event(channel, data, kept, **fields)

    def enqueued(self, client: BayeuxClient, *, lazy: float | None) -> None:
        """See `ClientHost.enqueued`."""
        if client.queue.dropped and client.queue.dropped > self._dropped.get(client, 0):
            self._dropped[client] = client.queue.dropped
            self._listeners.dropped.tell(client, client.queue.dropped)
        if lazy is None:
            self._connects.flushes.schedule(client)
        else:
            self._connects.flushes.wait_lazily(client, lazy)

    def confirm(self, client: BayeuxClient, number: int) -> None:
        """See `ClientHost.confirm`."""
        self._channels.confirm(client, number)

    def unsubscribe(self, client: BayeuxClient, pattern: str) -> None:
        """See `ClientHost.unsubscribe`."""
        self._channels.unsubscribe(client, pattern)

    def disconnect(self, client: BayeuxClient) -> None:
        """See `ClientHost.disconnect`."""
        if client.ended:
            return
        told = EventMessage("/meta/disconnect", {"channel": "/meta/disconnect", "successful": True})
        client.put_last(told)
        self.leave(client)

    def renew(self, client: BayeuxClient) -> None:
        """See `ClientHost.renew`."""
        self.remove(client, timed_out=True, tell_peer=True)

    def expired(self, client: BayeuxClient, now: float) -> float | None:
        """See `ClientHost.expired`."""
        remaining = client.heard_at + client.idle_limit - now
        if self._connects.holds(client):
            return client.idle_limit
        if remaining > 0:
            return remaining
        if self._connects.is_under_way(client):
            # A large reply on a slow link: it can't have asked for the next one yet.
            return self._options.max_interval
        self._connects.counts.expired += 1
        self.remove(client, timed_out=True, tell_peer=False)
        return None

    def refine(self, client: BayeuxClient, event: EventMessage) -> bytes | None:
        """See `ClientHost.refine`."""
        return self._chain.refine(client, event.fields)

    def account(self, change: int) -> None:
        """See `ClientHost.account`."""
        self._memory.account(change, "bayeux")

    def shed(self, client: BayeuxClient) -> None:
        """See `ClientHost.shed`."""
        # It may be in the middle of a broadcast, or of a request of its own.
        self._call_soon(partial(client.renew, RENEW_AFTER))


def _client_id(message: Message) -> str | None:
    client_id = message.get("clientId")
    return client_id if isinstance(client_id, str) else None
