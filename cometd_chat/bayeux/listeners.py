"""Who wants to hear what happens in a Bayeux server: its own code, and an embedder's.

What it is: the lists of listeners, and the way in which other code that is not ours is called.

What it may know: clients. Not what any listener does.

Invariant: one that raises is logged, and the others hear.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.logger import Logger

from cometd_chat.bayeux.client import BayeuxClient
from cometd_chat.comet.listeners import Listeners

_log = Logger()


def _of_clients() -> Listeners[[BayeuxClient]]:
    return Listeners("a Bayeux client")


def _of_ends() -> Listeners[[BayeuxClient, bool]]:
    return Listeners("the end of a Bayeux client")


def _of_subscriptions() -> Listeners[[BayeuxClient, str]]:
    return Listeners("a subscription")


def _of_channels() -> Listeners[[str]]:
    return Listeners("a channel")


def _of_losses() -> Listeners[[BayeuxClient, int]]:
    return Listeners("dropped messages")


@attrs.define(eq=False)
class ServerListeners:
    """Who wants to hear what happens.

    :param client_removed: with whether its time had run out.
    :param subscribed: with the pattern.
    :param unsubscribed: with the pattern; at the end of a client too.
    :param channel_added: somebody is the first to subscribe to a pattern.
    :param channel_removed: nobody subscribes to a pattern any more.
    :param dropped: a client's queue was full; with how many messages it has lost so far.
    """

    client_added: Listeners[[BayeuxClient]] = attrs.field(factory=_of_clients)
    client_removed: Listeners[[BayeuxClient, bool]] = attrs.field(factory=_of_ends)
    subscribed: Listeners[[BayeuxClient, str]] = attrs.field(factory=_of_subscriptions)
    unsubscribed: Listeners[[BayeuxClient, str]] = attrs.field(factory=_of_subscriptions)
    channel_added: Listeners[[str]] = attrs.field(factory=_of_channels)
    channel_removed: Listeners[[str]] = attrs.field(factory=_of_channels)
    dropped: Listeners[[BayeuxClient, int]] = attrs.field(factory=_of_losses)


def guarded(text: str, call: Callable[..., object], *arguments: object) -> None:
    """Call something that may fail: what follows goes on.

    :param text: what the log says then.
    """
    try:
        call(*arguments)
    except Exception:
        _log.failure(text)
