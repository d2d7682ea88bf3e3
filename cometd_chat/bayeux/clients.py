"""The clients of a server: the seam behind which they are kept.

What it is: `Clients`, with the rules that every back end keeps; `registry.py` is that of a single
process.

What it may know: clients, and by what they are found. Not what a message means.

Invariant: a client that has ended is found no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from cometd_chat.bayeux.client import BayeuxClient
from cometd_chat.bayeux.exchange import Exchange, Peer, PushConnection
from cometd_chat.bayeux.identity import Identity
from cometd_chat.bayeux.messages import Message


class Clients(Protocol):
    """All clients of one process.

    What every back end keeps:

    * **A client belongs to one process**, that in which it shook hands, for as long as it lives:
      its queue, what is on its way to it and what it has shown of itself are there and nowhere
      else. Nothing of that is kept, nor moved.
    * **Its id is enough to tell which.** What comes for a client of another process is handed over
      as it came, before anything in it is looked at, and answered from there: no message is done
      twice, and none in two places.
    * **With its process it is lost.** Its peer is told to shake hands, as with an id that nobody
      knows; what it reads in rooms goes on by `cometd_chat.chat.positions`, free channels do not.
    * **An unknown id and one whose secret was not shown** are answered alike.
    * **Ended is ended**: one that has ended is in nothing any more, and every way of ending tells
      `Listeners.client_removed` once.

    All is called in the reactor's thread, and waits for nothing.
    """

    #: Whether the server stops, and takes no more.
    closed: bool

    #: See `BayeuxServer.ask_before_telling`.
    still_hears: Callable[[BayeuxClient], bool] | None

    @property
    def by_id(self) -> Mapping[str, BayeuxClient]:
        """Those of this process, by clientId."""

    def find(self, client_id: object) -> BayeuxClient | None:
        """The client with an id."""

    def of(self, messages: Sequence[Message], exchange: Exchange) -> BayeuxClient | None:
        """Whose request it is: that of its first message that has one which the peer may use. The
        messages of others are refused."""

    def admits(self, client: BayeuxClient, peer: Peer, push: PushConnection | None) -> bool:
        """Whether a peer shows what a client has to show."""

    def new(self, identity: Identity, peer: Peer) -> BayeuxClient:
        """Somebody shook hands.

        :raises ShuttingDown: the server stops, or has as many clients as it may.
        """

    def leave(self, client: BayeuxClient) -> None:
        """A client has said goodbye, and its peer is told."""

    def remove(self, client: BayeuxClient, *, timed_out: bool, tell_peer: bool) -> None:
        """A client ends; nothing happens when it has ended.

        :param timed_out: whether its peer may come back.
        :param tell_peer: whether that is there, to be told.
        """
