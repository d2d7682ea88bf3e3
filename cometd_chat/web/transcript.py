"""How a stretch of conversation is laid out for reading.

What it is: from the events of a room to lines with days, groups, links and the colour of a name.

What it may know: the public form of an event; not pages, requests or the log.

Invariant: it only ever splits and labels. Put together again, the pieces of a text are that text;
`static/links.js` and `static/avatar.js` do the same in the browser, by the same table of cases.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import attrs
from markupsafe import Markup, escape

from cometd_chat.events.event import Event
from cometd_chat.events.kinds import kind_of

#: Lines of one author stand under one name as long as they follow each other this closely.
GROUP_WINDOW = timedelta(minutes=5)

#: How many colours a name can have; the stylesheet has a class for each.
PALETTE_SIZE = 12

# Spelled out rather than \s and \w: Python and JavaScript do not mean the same by those.
_LINK = re.compile(
    "(?:https?://|mailto:)"
    "[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff"
    '<>"`\u201c\u201d\u300c\u300d]+',
    re.IGNORECASE | re.ASCII,
)
_TRAILING = ".,;:!?'*_~\u2026\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f"
_BRACKETS = {")": "(", "]": "[", "}": "{", "\uff09": "\uff08"}
#: Characters that let the letters after them run backwards (UAX 9, section 2.2).
_OVERRIDES = re.compile("([\u202d\u202e])")
_WORD = re.compile("[0-9A-Za-z]")
_HOST = re.compile("https?://[^/?#@:.]", re.IGNORECASE | re.ASCII)
_MAILBOX = re.compile("mailto:[^@?]+@[^@?]", re.IGNORECASE | re.ASCII)


#: HTML around a link, and around a line, with names of 32 code points that are escaped, in bytes.
_LINK_HTML = 70
_LINE_HTML = 1200

#: What is escaped, and by how many bytes it grows, at most.
_ESCAPED, _GROWS = "&<>\"'", 4


@attrs.frozen
class Piece:
    """A stretch of text; with ``href`` it is a link."""

    text: str
    href: str = ""


@attrs.frozen
class RenderedMessage:
    """One message as it is shown.

    :param stamp: the time as the event has it, for machines.
    :param clock: the time of day, UTC.
    :param moment: the full date and time, UTC.
    :param first: it begins a group, so the name stands above it.
    :param day: the label of the day line above it, or empty.
    :param date: the label of its day.
    :param deleted: who has deleted it, as the event has it; empty where nobody has.
    :param kind: the type of its event.
    """

    id: int
    author: str
    pieces: tuple[Piece, ...]
    stamp: str
    clock: str
    moment: str
    first: bool
    day: str
    date: str
    colour: int
    initials: str
    deleted: str = ""
    kind: str = "message"


def html_size(event: Event) -> int:
    """How many bytes of HTML a message takes, at most: a link says its address twice, and each one
    has a colon."""
    text = text_of(event)
    size = len(text.encode()) + _GROWS * sum(map(text.count, _ESCAPED))
    links = text.count(":")
    return _LINE_HTML + (2 * size + links * _LINK_HTML if links else size)


def text_of(event: Event) -> str:
    """What stands beside the name of whoever said it; empty where that is nothing."""
    page = kind_of(event.type).page
    return "" if page is None else page(event.fields)


def linkify(text: str) -> tuple[Piece, ...]:
    """Split a text at its links; only http, https and mailto are links."""
    pieces: list[Piece] = []
    done = 0
    for match in _LINK.finditer(text):
        start = match.start()
        if start and _WORD.match(text[start - 1]):
            continue
        url = _without_trailing(match.group())
        if not (_HOST.match(url) or _MAILBOX.match(url)):
            continue
        if start > done:
            pieces.append(Piece(text[done:start]))
        pieces.append(Piece(url, url))
        done = start + len(url)
    if done < len(text):
        pieces.append(Piece(text[done:]))
    return tuple(pieces)


def _without_trailing(url: str) -> str:
    """Leave out what belongs to the sentence around a link: its full stop, its bracket.

    Brackets are counted once: counting them anew for each that is left out costs the square of the
    length, and a message may be 8,000 of them.
    """
    end = len(url)
    extra = {close: url.count(close) - url.count(open) for close, open in _BRACKETS.items()}
    while end:
        last = url[end - 1]
        if extra.get(last, 0) > 0:
            extra[last] -= 1
        elif last not in _TRAILING:
            break
        end -= 1
    return url[:end]


def tamed(text: str) -> Markup:
    """A text as markup in which it can't show its letters in another order than it has them.

    Whatever turns their direction ends with the ``bdi`` around it: "gnp.exe" is not shown as
    "exe.png". What stands in languages that run from right to left is none of it.
    """
    pieces = _OVERRIDES.split(text)
    return Markup("").join(
        Markup("<bdi>{}</bdi>").format(each) if at % 2 else escape(each)
        for at, each in enumerate(pieces)
    )


def tamed_lines(text: str) -> Markup:
    """The same, in lines for browsers that have no styles: a further line is indented, so that it
    does not look like one of somebody else."""
    return Markup("<br>&#160;&#160;").join(map(tamed, text.split("\n")))


def colour_of(name: str) -> int:
    """Which colour of the palette a name has, the same here and in the browser."""
    value = 0
    for byte in name.encode("utf-8"):
        value = (value * 31 + byte) % 65521
    return value % PALETTE_SIZE


def initials_of(name: str) -> str:
    """Two letters for the square beside a name."""
    letters = [each for each in name if each.isalnum()]
    return "".join(letters[:2]).upper()[:2]


def transcript(events: Sequence[Event], now: datetime) -> tuple[RenderedMessage, ...]:
    """Lay out events of a history, oldest first.

    :param now: with a time zone; decides what is called today.
    """
    lines: list[RenderedMessage] = []
    before: datetime | None = None
    author = ""
    for event in events:
        fields = event.fields
        at = moment_of(fields["at"])
        new_day = before is None or at.date() != before.date()
        grouped = (
            not new_day
            and before is not None
            and fields["from"] == author
            # The clock can have been set back in between.
            and abs(at - before) <= GROUP_WINDOW
        )
        author = fields["from"]
        lines.append(
            RenderedMessage(
                id=fields["id"],
                author=author,
                pieces=linkify(text_of(event)),
                stamp=fields["at"],
                clock=f"{at:%H:%M}",
                moment=full_moment(at),
                first=not grouped,
                day=day_label(at, now) if new_day else "",
                date=day_label(at, now),
                colour=colour_of(author),
                initials=initials_of(author),
                deleted=fields.get("deleted", ""),
                kind=event.type,
            )
        )
        before = at
    return tuple(lines)


def moment_of(stamp: str) -> datetime:
    """The time in an event, such as ``2026-11-21T19:23:00.123Z``, as a datetime in UTC."""
    # Python 3.10 can't read the Z yet.
    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).astimezone(timezone.utc)


def day_label(at: datetime, now: datetime) -> str:
    """What a day line says: Today, Yesterday or the date, all in UTC."""
    days = (now.astimezone(timezone.utc).date() - at.date()).days
    if days == 0:
        return "Today"
    if days == 1:
        return "Yesterday"
    return _full_date(at)


def full_moment(at: datetime) -> str:
    """The date and the time of day, UTC."""
    return f"{_full_date(at)}, {at:%H:%M} UTC"


def _full_date(at: datetime) -> str:
    return f"{at:%A} {at.day} {at:%B %Y}"
