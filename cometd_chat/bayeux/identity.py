"""Who shakes hands: what a handshake says of itself, and what it is answered with.

What it is: the values `Authentication` and `Identity`.

What it may know: messages. Not clients, not how somebody proves who they are.

Invariant: what a client says wrongly counts as not said.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from cometd_chat.bayeux.messages import Message, extension_fields


@attrs.frozen
class Identity:
    """Who is behind a client.

    :param id: theirs for ever, whichever client they speak through.
    :param name: what others may call them.
    :param user: the edge's own object.
    :param reply_ext: goes into ``ext`` of the handshake's reply, such as a name that was made up.
    """

    id: str
    name: str
    user: object = None
    reply_ext: Mapping[str, object] = attrs.field(factory=dict)


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
