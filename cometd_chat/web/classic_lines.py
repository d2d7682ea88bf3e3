"""The lines of the classic chat's endless page.

What it is: from events to HTML, one reader's page: a line a message, with its time, its links and
the day that it belongs to.

What it may know: events, the clock on the wall. Not requests.

Invariant: the lines themselves are those of `classic_line`, byte for byte but for links; what
stands around them are elements of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from urllib.parse import quote

from markupsafe import Markup

from cometd_chat.events.event import Event
from cometd_chat.transports.framings import classic_line
from cometd_chat.transports.lines import turns
from cometd_chat.web.transcript import Piece, day_label, full_moment, linkify, moment_of, tamed

_TIME = Markup('<time datetime="{}" title="{}">{:%H:%M}</time>\n')
_DAY = Markup('<h2 class="day"><span>{}</span></h2>\n')
_OLDER = Markup(
    '<p class="older"><a href="/rooms/{}/plain?before={}" target="_top">Older messages</a></p>\n'
)
_LINK = Markup('<a href="{}" rel="noopener noreferrer nofollow" target="_blank">{}</a>')


class ClassicLines:
    """The lines of one reader's page, in the order in which they come.

    :param now: with a time zone; decides what is called today.
    :param older: there may be older messages than the first one.
    """

    def __init__(self, room: str, *, now: Callable[[], datetime], older: bool) -> None:
        self._room = room
        self._now = now
        self._older = older
        self._last: datetime | None = None

    def __call__(self, event: Event) -> str:
        """An event as HTML; empty for one that is not shown."""
        line = classic_line(event, _text)
        if not line:
            return ""
        above = self._above(event, moment_of(event.fields["at"])) if event.id else []
        return "".join((*above, f'<p dir="auto">{line}</p>\n'))

    def _above(self, event: Event, at: datetime) -> list[Markup]:
        """What stands above a message: its day, its time, where those before have another."""
        above: list[Markup] = []
        last, self._last = self._last, at
        if last is None and self._older:
            above.append(_OLDER.format(quote(self._room, safe=""), event.id))
        if last is None or at.date() != last.date():
            above.append(_DAY.format(day_label(at, self._now())))
        if last is None or at.replace(second=0, microsecond=0) > last:
            above.append(_TIME.format(event.fields["at"], full_moment(at), at))
        return above


# Each reader of a room shows the same.
@lru_cache(maxsize=64)
def _text(line: str) -> Markup:
    """A line of a message, with its links."""
    text = Markup("").join(map(_piece, linkify(line)))
    return Markup("<bdi>{}</bdi>").format(text) if turns(line) else text


def _piece(piece: Piece) -> Markup:
    return _LINK.format(piece.href, piece.text) if piece.href else tamed(piece.text)
