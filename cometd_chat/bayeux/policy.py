"""Who may do what: the seam to whoever decides.

What it is: the `Policy` protocol with CometD's four questions.

What it may know: messages, clients, peers. Not how somebody proves who they are.

Invariant: a policy that raises refuses; one that fails for a reason of its own refuses too.
"""

from __future__ import annotations

from typing import Protocol

from cometd_chat.bayeux.client import BayeuxClient
from cometd_chat.bayeux.exchange import Peer
from cometd_chat.bayeux.identity import Identity, authentication
from cometd_chat.bayeux.messages import Message


class Policy(Protocol):
    """Four questions. Each refuses by raising a `ChatError` or a `Fault`, with its reason."""

    async def identify(self, message: Message, peer: Peer) -> Identity:
        """Who wants to handshake, if they may; see `authentication`.

        A `ChatError` that time can heal (429, 5xx) has the client try again, any other ends it.
        """

    async def may_create(self, client: BayeuxClient, channel: str) -> None:
        """Whether a free channel or pattern that nobody subscribes to may come to be."""

    async def may_subscribe(self, client: BayeuxClient, pattern: str) -> None:
        """Whether a client may subscribe to a channel or pattern."""

    async def may_publish(self, client: BayeuxClient, message: Message) -> None:
        """Whether a client may publish this; ``message["channel"]`` says where."""


class OpenPolicy:
    """Everybody may do everything that the server's channels allow, under a name of their choice.

    A base to start from: an embedder takes from here what they do not care about.
    """

    async def identify(self, message: Message, peer: Peer) -> Identity:
        """A name is taken as it is given; nobody is told apart by it."""
        name = authentication(message).name or "guest"
        return Identity(id=name, name=name)

    async def may_create(self, client: BayeuxClient, channel: str) -> None:
        """Yes."""

    async def may_subscribe(self, client: BayeuxClient, pattern: str) -> None:
        """Yes."""

    async def may_publish(self, client: BayeuxClient, message: Message) -> None:
        """Yes."""
