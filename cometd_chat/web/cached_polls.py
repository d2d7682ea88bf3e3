"""The poll before this one, remembered.

What it is: what the last poll of a connection was found to ask for, and from where the next one
goes on, when it is equal to that in all but its cursor.

What it may know: requests, the chat. Not how a poll is checked, nor how it is held.

Invariant: whatever may have changed since is looked at each time; all else is the same bytes, for
which the checks would end as they did.
"""

from __future__ import annotations

import attrs

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.resume import ResumePoint, resume_now
from cometd_chat.errors import InvalidCursor
from cometd_chat.transports.framings import Framing
from cometd_chat.transports.request import HttpRequest
from cometd_chat.transports.table import Transport
from cometd_chat.web.opening import ReadRequest

#: What stands for itself in a URL (RFC 3986, section 2.3), as all of a cursor does.
_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-"


@attrs.frozen
class CachedPoll:
    """A poll that passed all checks: the next one on its connection is mostly equal to it, but for
    its cursor.

    :param around: what stands before and after the cursor in its target.
    """

    around: tuple[bytes, bytes]
    row: Transport
    framing: Framing
    asked: ReadRequest


class CachedPolls:
    """Remembers a poll a connection."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    def remember(
        self, request: HttpRequest, row: Transport, framing: Framing, asked: ReadRequest
    ) -> None:
        """Keep what a poll was found to ask for, for the next one on its connection."""
        if not row.repeats:
            return
        parts = around_cursor(request.uri)
        if parts is not None:
            request.memory[self] = CachedPoll(parts[0], row, framing, asked)

    def find(self, request: HttpRequest) -> tuple[CachedPoll, ResumePoint] | None:
        """The poll that a request equals in all but its cursor, and where it goes on; None for
        any other.

        Its checks would all end as they did then, since they look at the same bytes, and by the
        same rights; but for the session, which is looked at anew, and for what `RequestHolder.hold`
        asks of every request. This is what makes a poll cheap: they were half of it.
        """
        cached = request.memory.get(self)
        if not isinstance(cached, CachedPoll):
            return None
        parts = around_cursor(request.uri)
        grant, rights = cached.asked.grant, self._chat.rights
        if parts is None or parts[0] != cached.around:
            return None
        session = grant.session
        if not rights.is_current(grant):
            return None
        if session is not None and not self._chat.sessions.use_again(session):
            return None
        try:
            point = resume_now(self._chat.feed, parts[1])
        except InvalidCursor:
            return None
        return None if point is None else (cached, point)


def around_cursor(target: bytes) -> tuple[tuple[bytes, bytes], str] | None:
    """What stands before and after the one plain cursor in a target, and the cursor."""
    before, _, rest = target.partition(b"cursor=")
    cursor, _, after = rest.partition(b"&")
    plain = cursor and not cursor.translate(None, _PLAIN)
    if not plain or b"cursor=" in after or not before.endswith((b"?", b"&")):
        return None
    return (before, after), cursor.decode("ascii")
