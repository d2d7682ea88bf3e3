"""How events look on the wire, a few lines a transport.

What it is: pure functions from events to bytes. A framing is shared by all requests that it serves.

What it may know: `Event` and the table of kinds. Not requests, not sockets, not the chat's rules.

Invariant: whatever text an event carries, the framing's own decoder gives the same text back (where
it is for people, without what they can't see); and no text can end an event early, start another or
run as code.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from html import escape
from re import Pattern
from typing import Any, ClassVar, Protocol

import attrs
import msgspec

from cometd_chat.events.event import Event, events_json
from cometd_chat.events.kinds import kind_of
from cometd_chat.transports.lines import for_terminal, split, turns

#: A document of which less has come is not shown, nor are its scripts run, in WebKit (Safari and
#: every browser of iOS): 512 bytes in WebKitGTK 2.50, 1,024 in Safaris of before. What a browser
#: shows while it lasts begins with so much at least. `fetch` and `EventSource` don't wait.
FIRST_BYTES = 1024


def _fill_up(document: bytes) -> bytes:
    """A comment that brings the beginning of an HTML document to `FIRST_BYTES`."""
    missing = FIRST_BYTES - len(document)
    if missing <= 0:
        return b""
    return b"<!-- Safari waits for so much before it shows anything. %s -->\n" % (b"." * missing)


class Framing(Protocol):
    """One way of putting events into a response body."""

    @property
    def content_type(self) -> str:
        """Value of the Content-Type header."""

    @property
    def one_shot(self) -> bool:
        """Whether the first events finish the response, as they do in polling."""

    @property
    def personal(self) -> bool:
        """Whether clients have framings of their own at this transport."""

    def begin(self) -> bytes:
        """What stands before the first event."""

    def frame(self, events: Sequence[Event]) -> bytes:
        """A batch of events, oldest first."""

    def end(self) -> bytes:
        """What stands after the last event."""


class PerEventFraming(ABC):
    """A framing in which a batch is its events one after the other."""

    one_shot = False
    personal = False

    def begin(self) -> bytes:
        return b""

    def end(self) -> bytes:
        return b""

    @abstractmethod
    def one(self, event: Event) -> bytes:
        """The bytes of one event."""

    def frame(self, events: Sequence[Event]) -> bytes:
        return self.join([self._framed(event) for event in events])

    def join(self, parts: list[bytes]) -> bytes:
        return b"".join(parts)

    def _framed(self, event: Event) -> bytes:
        framed = event.framed.get(self)
        if framed is None:
            framed = event.framed[self] = self.one(event)
        return framed


class Frame(PerEventFraming):
    """The forever frame: a page that never finishes, made of scripts that call its parent.

    :param nonce: the one random value by which its Content-Security-Policy knows our scripts.
    :param target: the origin of a foreign page that embeds it. It gets each event by `postMessage`,
        as a string of JSON: it can't be called.
    """

    # Without the charset in this header Firefox runs nothing before the page has ended.
    content_type = "text/html; charset=utf-8"

    _HEAD = b"<!doctype html><html><head><title>Comet</title></head><body>\n"
    _HEAD += _fill_up(_HEAD)

    def __init__(self, nonce: str, target: str | None = None) -> None:
        self._script = b'<script nonce="%s">' % nonce.encode("ascii")
        self._target = None if target is None else _script_string(target)
        self.content_security_policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; base-uri 'none'; "
            f"form-action 'none'; frame-ancestors {target or chr(39) + 'self' + chr(39)}"
        )

    def begin(self) -> bytes:
        return self._HEAD

    def end(self) -> bytes:
        return b"</body></html>\n"

    def one(self, event: Event) -> bytes:
        if self._target is None:
            return b"parent.comet.receive(%s);" % for_script(event.json)
        message = _script_string(event.json.decode())
        return b"parent.postMessage(%s,%s);" % (message, self._target)

    def join(self, parts: list[bytes]) -> bytes:
        # One script a batch: each script costs the browser a compilation and an element.
        calls = b"".join(parts)
        return self._script + calls + b"document.currentScript.remove()</script>\n"


def _script_string(text: str) -> bytes:
    return for_script(msgspec.json.encode(text))


def for_script(json: bytes) -> bytes:
    """JSON as a JavaScript expression that is safe between ``<script>`` and ``</script>``.

    No ``<`` means no end tag and no comment; U+2028 and U+2029 end a line for older engines.
    (HTML, section 4.12.1.3; ECMA-262 before 2019.)
    """
    return (
        json.replace(b"<", b"\\u003c")
        .replace("\u2028".encode(), b"\\u2028")
        .replace("\u2029".encode(), b"\\u2029")
    )


def call_in_script(callback: str, json: bytes) -> bytes:
    """A script that calls a function with some JSON.

    :param callback: as `Jsonp.CALLBACK` has it.
    """
    # The comment keeps what a client chose from being the first bytes of the file.
    return b"/**/%b(%b);\n" % (callback.encode("ascii"), for_script(json))


class JsonLines(PerEventFraming):
    """HTTP streaming: an event a line (NDJSON)."""

    content_type = "application/x-ndjson"

    def one(self, event: Event) -> bytes:
        return event.json + b"\n"


class ServerSentEvents(PerEventFraming):
    """``text/event-stream`` (HTML, section 9.2).

    JSON has no raw line ends, so an event's data is always one line.

    :param retry: gives the milliseconds after which a browser opens its broken stream again;
        another number for each, so that a restart doesn't bring all back in one moment.
    """

    content_type = "text/event-stream"

    def __init__(self, retry: Callable[[], int]) -> None:
        self._retry = retry

    def begin(self) -> bytes:
        # It belongs to the first event: of a block of its own some libraries make an empty message.
        return b"retry: %d\n" % self._retry()

    def one(self, event: Event) -> bytes:
        id = b"id: %s\n" % event.cursor.encode("ascii") if event.cursor is not None else b""
        # Without a name an event reaches `onmessage`; heartbeats would only be in the way there.
        name = b"event: heartbeat\n" if event.type == "heartbeat" else b""
        return b"%s%sdata: %s\n\n" % (id, name, event.json)


class Multipart(PerEventFraming):
    """Server push: each event a part that replaces the one before (RFC 2046, section 5.1).

    The next boundary follows each part at once: until it comes, a part is not known to be whole.

    :param boundary: unguessable, so that no event can hold it.
    """

    def __init__(self, boundary: str) -> None:
        self.content_type = f'multipart/x-mixed-replace; boundary="{boundary}"'
        self._boundary = b"--" + boundary.encode("ascii")

    def begin(self) -> bytes:
        return self._boundary + b"\r\n"

    def end(self) -> bytes:
        # After the boundary that is out already this is a part without head and body.
        return b"\r\n" + self._boundary + b"--\r\n"

    def one(self, event: Event) -> bytes:
        head = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(event.json)
        return head + event.json + b"\r\n" + self._boundary + b"\r\n"


class Poll:
    """Long polling: one complete JSON object with the events and where to go on."""

    content_type = "application/json"
    one_shot = True
    personal = False

    def begin(self) -> bytes:
        return b""

    def end(self) -> bytes:
        return b""

    def frame(self, events: Sequence[Event]) -> bytes:
        cursors = [event.cursor for event in events if event.cursor is not None]
        # What only says where the client stands is said by `cursor`, too.
        shown = events_json([event for event in events if not kind_of(event.type).position])
        cursor = msgspec.json.encode(cursors[-1] if cursors else None)
        return b'{"events":[%s],"cursor":%s}\n' % (shown, cursor)


@attrs.frozen
class Jsonp:
    """Callback polling: a script that calls a function of the page with what `Poll` answers.

    :param callback: the function's name, as `CALLBACK` allows.
    """

    content_type: ClassVar[str] = "text/javascript; charset=utf-8"
    one_shot: ClassVar[bool] = True
    personal: ClassVar[bool] = True

    #: Names with dots between, 64 characters at most, and nothing else: never a program of its own,
    #: nor a file of another kind.
    CALLBACK: ClassVar[Pattern[str]] = re.compile(
        r"(?=.{1,64}\Z)[A-Za-z_$][\w$]*(\.[A-Za-z_$][\w$]*)*", re.A
    )

    callback: str

    def begin(self) -> bytes:
        return b""

    def end(self) -> bytes:
        return b""

    def frame(self, events: Sequence[Event]) -> bytes:
        return call_in_script(self.callback, _POLL.frame(events).strip())


_POLL = Poll()


#: Of the characters that take no room the one that all fonts leave out.
_ZERO_WIDTH_SPACE = "\u200b".encode()
_NO_WIDTH = _ZERO_WIDTH_SPACE * -(-FIRST_BYTES // len(_ZERO_WIDTH_SPACE)) + b"\n"


class Text(PerEventFraming):
    """Lines for people, made for ``curl -N``.

    :param rooms: whether to say which room an event is from.
    :param cursors: whether a heartbeat shows the cursor rather than an empty line.
    :param shown: whether a browser shows it. It begins with a line that has no width then.
    """

    content_type = "text/plain; charset=utf-8"

    def __init__(
        self,
        *,
        rooms: bool = False,
        cursors: bool = False,
        shown: bool = False,
    ) -> None:
        self._rooms = rooms
        self._cursors = cursors
        self._begin = _NO_WIDTH if shown else b""

    def begin(self) -> bytes:
        return self._begin

    def one(self, event: Event) -> bytes:
        kind = kind_of(event.type)
        line = self._position(event) if kind.position else kind.text(event.fields) or None
        if line is None:
            return b""
        if self._rooms and "room" in event.fields:
            line = f"#{event.fields['room']} {line}"
        return for_terminal(line).encode() + b"\n"

    def _position(self, event: Event) -> str | None:
        if self._cursors:
            return f"* cursor {event.cursor}"
        return "" if event.type == "heartbeat" else None


@attrs.define(eq=False)
class Classic:
    """The endless page of the classic chat servlet: HTML that needs no script.

    :param head: the page up to its first line, for this one reader.
    :param name: the reader's.
    :param heartbeat: what shows that the line is alive.
    :param tail: the end of the page, from the cursor with which to go on (None: don't go on).
    :param show: an event as HTML, empty for one that is not shown; by default the bare line.
    """

    content_type: ClassVar[str] = "text/html; charset=utf-8"
    one_shot: ClassVar[bool] = False
    personal: ClassVar[bool] = True

    head: str
    name: str
    heartbeat: str
    tail: Callable[[str | None], str]
    show: Callable[[Event], str] = attrs.field(factory=lambda: _bare_line)
    _cursor: str | None = attrs.field(init=False, default=None)

    def begin(self) -> bytes:
        head = self.head.encode()
        welcome = f'<p dir="auto">Welcome {escape(self.name)}</p>\n'.encode()
        return head + _fill_up(head + welcome) + welcome

    def end(self) -> bytes:
        return self.tail(self._cursor).encode()

    def frame(self, events: Sequence[Event]) -> bytes:
        for event in events:
            self._cursor = None if event.type == "bye" else event.cursor or self._cursor
        return b"".join(map(self._one, events))

    def _one(self, event: Event) -> bytes:
        if event.type == "heartbeat":
            return self.heartbeat.encode()
        return self.show(event).encode()


def _apart(text: str) -> str:
    """A text in HTML. One that would change the order of its neighbours is isolated from them."""
    return f"<bdi>{escape(text)}</bdi>" if turns(text) else escape(text)


class _Html:
    """The fields of an event in HTML, each escaped when it is asked for.

    :param show: a line of what somebody said.
    """

    def __init__(self, fields: Mapping[str, Any], show: Callable[[str], str]) -> None:
        self._fields = fields
        self._show = show

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def __getitem__(self, name: str) -> Any:
        value = self._fields[name]
        if not isinstance(value, str):
            return value
        if name == "text":
            return "<br>&#160;&#160;".join(map(self._show, split(value)))
        return _apart(value)


def classic_line(event: Event, show: Callable[[str], str] = _apart) -> str:
    """A line of the classic page, in HTML; empty for an event that is not shown.

    :param show: a line of a message, in HTML.
    """
    kind = kind_of(event.type)
    fields = _Html(event.fields, show)
    if kind.classic is not None:
        return kind.classic(fields)
    return kind.text(fields).removeprefix("* ")


def _bare_line(event: Event) -> str:
    line = classic_line(event)
    return f'<p dir="auto">{line}</p>\n' if line else ""
