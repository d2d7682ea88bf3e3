"""What a session published lately, so that what it sends again is not published again.

What it is: a bounded memory of publishes and of their outcome. Faye sends a message again, with
its id, when the reply did not come in time or the socket was lost.

What it may know: keys and outcomes. Not messages, not sessions.

Invariant: two publishes with one key have one effect and one outcome; a failure is forgotten, so
that trying again can help.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Coroutine
from hashlib import sha256
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from cometd_chat.bayeux.messages import Message, encode


def resend_key(client_id: str, message: Message) -> str | None:
    """What is the same for a publish and for the same sent again: session, id, channel and data.

    The bare id would not do: some clients count from 0 anew when they change their transport.

    :returns: 32 hexadecimal digits; None when the message has no id.
    """
    if "id" not in message:
        return None
    parts = [client_id, message["id"], message["channel"], message["data"]]
    return sha256(encode(parts)).hexdigest()[:32]


@attrs.define(eq=False)
class _Publishing:
    """One publish.

    :param at: when it came.
    """

    at: float
    done: bool = False
    failure: Failure | None = None
    waiting: list[Deferred[None]] = attrs.field(factory=list)

    def outcome(self) -> Deferred[None]:
        """Fires when it is done, with its failure if it failed."""
        if self.failure is not None:
            return fail(self.failure)
        if self.done:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self.waiting.append(waiting)
        return waiting

    def finish(self, failure: Failure | None) -> None:
        self.done, self.failure = True, failure
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            each.callback(None) if failure is None else each.errback(failure)


class Published:
    """The memory of one session.

    :param limit: so many publishes at most.
    :param window: seconds after which one is forgotten.
    """

    def __init__(self, limit: int, window: float) -> None:
        self._limit = limit
        self._window = window
        self._by_key: OrderedDict[str, _Publishing] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_key)

    def once(
        self, key: str | None, now: float, publish: Coroutine[Deferred[Any], Any, None]
    ) -> Deferred[None]:
        """Publish, unless that has been done or is being done.

        :param key: of `resend_key`; None publishes in any case.
        :param publish: what does it; started before this returns, or never.
        """
        if key is None:
            return Deferred.fromCoroutine(publish)
        self._forget(now)
        publishing = self._by_key.get(key)
        if publishing is not None:
            publish.close()
            return publishing.outcome()
        publishing = self._by_key[key] = _Publishing(now)
        running = Deferred.fromCoroutine(publish)
        running.addCallbacks(self._succeeded, self._failed, (publishing,), {}, (key, publishing))
        return publishing.outcome()

    def _succeeded(self, result: None, publishing: _Publishing) -> None:
        publishing.finish(None)

    def _failed(self, failure: Failure, key: str, publishing: _Publishing) -> None:
        self._by_key.pop(key, None)
        publishing.finish(failure)

    def _forget(self, now: float) -> None:
        while self._by_key:
            oldest = next(iter(self._by_key.values()))
            if len(self._by_key) < self._limit and now - oldest.at <= self._window:
                return
            self._by_key.popitem(last=False)
