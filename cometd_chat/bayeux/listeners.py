"""Who wants to hear what happens in a Bayeux server: its own code, and an embedder's.

What it is: the lists of listeners, and the one way in which code that is not ours is called.

What it may know: clients. Not what any listener does.

Invariant: one that raises is logged, and the others hear.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from twisted.logger import Logger

from cometd_chat.bayeux.client import BayeuxClient

_log = Logger()


@attrs.define(eq=False)
class Listeners:
    """Who wants to hear what happens. One that raises is logged, and the others hear.

    :param client_removed: with whether its time had run out.
    :param subscribed: with the pattern.
    :param unsubscribed: with the pattern; at the end of a client too.
    :param channel_added: somebody is the first to subscribe to a pattern.
    :param channel_removed: nobody subscribes to a pattern any more.
    :param dropped: a client's queue was full; with how many messages it has lost so far.
    """

    client_added: list[Callable[[BayeuxClient], object]] = attrs.field(factory=list)
    client_removed: list[Callable[[BayeuxClient, bool], object]] = attrs.field(factory=list)
    subscribed: list[Callable[[BayeuxClient, str], object]] = attrs.field(factory=list)
    unsubscribed: list[Callable[[BayeuxClient, str], object]] = attrs.field(factory=list)
    channel_added: list[Callable[[str], object]] = attrs.field(factory=list)
    channel_removed: list[Callable[[str], object]] = attrs.field(factory=list)
    dropped: list[Callable[[BayeuxClient, int], object]] = attrs.field(factory=list)


def tell(listeners: Sequence[Callable[..., object]], *arguments: object) -> None:
    """Call each of some listeners."""
    for listener in list(listeners):
        guarded("a listener failed", listener, *arguments)


def guarded(text: str, call: Callable[..., object], *arguments: object) -> None:
    """Call something that may fail: what follows goes on.

    :param text: what the log says then.
    """
    try:
        call(*arguments)
    except Exception:
        _log.failure(text)
