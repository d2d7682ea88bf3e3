"""Who may do what: the seam to whoever decides.

What it is: the `Policy` protocol with CometD's four questions, and what a handshake is answered
with: an `Identity`.

What it may know: messages, sessions, peers. Not how somebody proves who she is.

Invariant: a policy that raises refuses; one that fails for a reason of its own refuses too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from cometd_chat.bayeux.exchange import Peer
from cometd_chat.bayeux.messages import Message, extension_fields

if TYPE_CHECKING:
    from cometd_chat.bayeux.session import Session


@attrs.frozen
class Identity:
    """Who is behind a session.

    :param id: hers for ever, whichever session she speaks through.
    :param name: what others may call her.
    :param user: the edge's own object.
    :param reply_ext: goes into ``ext`` of the handshake's reply, such as a name that was made up.
    """

    id: str
    name: str
    user: object = None
    reply_ext: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Authentication:
    """What a handshake says in ``ext.authentication``; None for what it does not say."""

    token: str | None = attrs.field(default=None, repr=False)
    name: str | None = None


def authentication(message: Message) -> Authentication:
    """The token or the name that a handshake brings; what is no string counts as not said."""
    said = extension_fields(message).get("authentication")
    fields = said if isinstance(said, dict) else {}
    token, name = fields.get("token"), fields.get("name")
    return Authentication(
        token if isinstance(token, str) else None, name if isinstance(name, str) else None
    )


class Policy(Protocol):
    """Four questions. Each refuses by raising a `ChatError` or a `Fault`, with its reason."""

    async def identify(self, message: Message, peer: Peer) -> Identity:
        """Who wants to handshake, if she may; see `authentication`.

        A `ChatError` that time can heal (429, 5xx) has the client try again, any other ends it.
        """

    async def may_create(self, session: Session, channel: str) -> None:
        """Whether a free channel or pattern that nobody subscribes to may come to be."""

    async def may_subscribe(self, session: Session, pattern: str) -> None:
        """Whether she may subscribe to a channel or pattern."""

    async def may_publish(self, session: Session, message: Message) -> None:
        """Whether she may publish this; ``message["channel"]`` says where."""


class OpenPolicy:
    """Everybody may do everything that the server's channels allow, under a name of her choice.

    A base to start from: what an embedder does not care about she takes from here.
    """

    async def identify(self, message: Message, peer: Peer) -> Identity:
        """A name is taken as it is given; nobody is told apart by it."""
        name = authentication(message).name or "guest"
        return Identity(id=name, name=name)

    async def may_create(self, session: Session, channel: str) -> None:
        """Yes."""

    async def may_subscribe(self, session: Session, pattern: str) -> None:
        """Yes."""

    async def may_publish(self, session: Session, message: Message) -> None:
        """Yes."""
