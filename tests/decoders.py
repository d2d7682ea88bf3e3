"""Readers of what the transports write, each made from its standard and not from our writer.

What it is: bytes of a response's body in, events out as plain dicts; what a transport does not show
of an event is not in its dict.

What it may know: the HTML standard, JSON, the interface's rules for text. Nothing of `framings`.

Invariant: whatever could end an event early, start another or run as code is refused here.
"""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import attrs

Seen = dict[str, Any]

_CALL = "parent.comet.receive("
_LAST = "document.currentScript.remove()"


# -- frame: HTML with scripts


class _Scripts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[tuple[str, str]] = []
        self.tags: list[str] = []
        self.outside = ""
        self._nonce: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "script":
            (nonce,) = [value for name, value in attrs if name == "nonce"]
            assert nonce
            self.scripts.append((nonce, ""))
            self._nonce = nonce

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._nonce = None

    def handle_data(self, data: str) -> None:
        if self._nonce is None:
            self.outside += data
        else:
            nonce, text = self.scripts[-1]
            self.scripts[-1] = (nonce, text + data)


@attrs.frozen
class FramePage:
    """A forever frame as a browser sees it.

    :param batches: a list of events for each script.
    :param nonces: what the scripts carry.
    """

    batches: list[list[Seen]]
    nonces: set[str]


def read_frame(body: bytes) -> FramePage:
    """The events of a forever frame (HTML, section 4.12.1; ECMAScript 2018, section 11.8.4)."""
    page = _Scripts()
    page.feed(body.decode())
    page.close()
    assert set(page.tags) <= {"html", "head", "title", "body", "script"}
    assert page.outside.strip() in ("", "Comet")
    batches = [_read_script(text) for _, text in page.scripts]
    return FramePage(batches, {nonce for nonce, _ in page.scripts})


def _read_script(text: str) -> list[Seen]:
    # Without a `<` there is neither an end tag nor the double escaped state of comments.
    assert "<" not in text
    found: list[Seen] = []
    place = 0
    while text.startswith(_CALL, place):
        value, place = _read_value(text, place + len(_CALL))
        assert text.startswith(");", place)
        place += 2
        found.append(value)
    assert text[place:] == _LAST
    return found


_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_WORDS = {"true": True, "false": False, "null": None}


def _read_value(text: str, place: int) -> tuple[Any, int]:
    """A JavaScript literal."""
    if text[place] == '"':
        return _read_string(text, place + 1)
    if text[place] == "{":
        return _read_object(text, place + 1)
    for word, value in _WORDS.items():
        if text.startswith(word, place):
            return value, place + len(word)
    number = _NUMBER.match(text, place)
    assert number, f"no literal: {text[place : place + 20]!r}"
    return json.loads(number[0]), number.end()


def _read_object(text: str, place: int) -> tuple[Seen, int]:
    fields: Seen = {}
    while text[place] != "}":
        assert text[place] == '"'
        name, place = _read_string(text, place + 1)
        assert text[place] == ":"
        fields[name], place = _read_value(text, place + 1)
        assert text[place] in ",}"
        place += text[place] == ","
    return fields, place + 1


# A raw end of a line is a syntax error; before 2019 these four were.
_PLAIN = re.compile(r'[^"\\\n\r\u2028\u2029]*')


def _read_string(text: str, place: int) -> tuple[str, int]:
    units: list[str] = []
    while True:
        plain = _PLAIN.match(text, place)
        assert plain is not None
        units.append(plain[0])
        place = plain.end()
        if text[place] == '"':
            break
        assert text[place] == "\\"
        if text[place + 1] == "u":
            units.append(chr(int(text[place + 2 : place + 6], 16)))
            place += 6
        else:
            units.append(_ESCAPES.get(text[place + 1], text[place + 1]))
            place += 2
    # Strings are UTF-16 there: two escapes can be one character.
    return "".join(units).encode("utf-16", "surrogatepass").decode("utf-16"), place + 1


# -- sse: the event stream


@attrs.define
class EventStream:
    """What an EventSource dispatches (HTML, section 9.2.6).

    :param dispatched: name, data and last event id of each.
    :param retry: the reconnection time, in milliseconds.
    """

    dispatched: list[tuple[str, str, str]] = attrs.field(factory=list)
    retry: int | None = None


def read_event_stream(body: bytes) -> EventStream:
    """Interpret an event stream, as far as it has come."""
    stream = EventStream()
    text = body.decode("utf-8-sig")
    lines = re.split("\r\n|\n|\r", text)[:-1]  # What has no end of line yet is not processed.
    data, name, last_id = "", "", ""
    for line in lines:
        if not line:
            if data:
                stream.dispatched.append((name or "message", data.removesuffix("\n"), last_id))
            data, name = "", ""
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data += value + "\n"
        elif field == "id" and "\0" not in value:
            last_id = value
        elif field == "retry" and re.fullmatch("[0-9]+", value):
            stream.retry = int(value)
    return stream


def read_sse(body: bytes) -> list[Seen]:
    """The events of an event stream, with what a browser would send as Last-Event-ID."""
    found = []
    for name, data, last_id in read_event_stream(body).dispatched:
        event: Seen = json.loads(data)
        assert (name == "heartbeat") == (event["type"] == "heartbeat")
        found.append({**event, "last_event_id": last_id})
    return found


# -- stream and poll: JSON


def read_lines(body: bytes) -> list[Seen]:
    """An event a line; a line that has no end yet is no event."""
    return [json.loads(line) for line in body.split(b"\n")[:-1]]


# -- text: the interface's rules for lines


_TEXT_LINES = {
    "message": re.compile(r"\[(?P<from>[^\]]+)\] (?P<text>.*)", re.DOTALL),
    "join": re.compile(r"\* (?P<from>.+) joined"),
    "leave": re.compile(r"\* (?P<from>.+) left"),
    "gap": re.compile(r"\* (?:at least )?(?P<missing>[0-9]+) messages left out"),
    # A browser gets a first line of what takes no room.
    "heartbeat": re.compile(r"\u200b*|\* cursor (?P<cursor>\S+)"),
    "reopen": re.compile(r"\* the stream ends here, go on with cursor=(?P<cursor>\S+)"),
    "bye": re.compile(r"\* the stream ends here: (?P<reason>.+)"),
    "reset": re.compile(r"\* .*cursor=(?P<cursor>\S+)"),
    "error": re.compile(r"! (?P<detail>.+)"),
}


def for_people(text: str) -> str:
    """What people are shown of a text: not what would only change how its neighbours look."""
    text = re.sub("[\u2028\u2029]", "\n", text)
    hidden = "\u200e\u200f\u061c" + "".join(map(chr, range(0x202A, 0x202F)))
    hidden += "".join(map(chr, [*range(0x2066, 0x2070), *range(0xFFF9, 0xFFFC)]))
    hidden += "".join(map(chr, range(0xE0000, 0xE0080)))
    return text.translate(dict.fromkeys(map(ord, hidden)))


def read_text(body: bytes) -> list[Seen]:
    """Lines for people; one that is indented goes on with the one before."""
    whole: list[str] = []
    for line in body.decode().split("\n")[:-1]:
        if line.startswith("  "):
            whole[-1] += "\n" + line[2:]
        else:
            whole.append(line)
    return [_read_line(line) for line in whole]


def _read_line(line: str) -> Seen:
    event: Seen = {}
    room = re.match(r"#(\S+) ", line)
    if room is not None:
        event["room"] = room[1]
        line = line[room.end() :]
    for kind, pattern in _TEXT_LINES.items():
        found = pattern.fullmatch(line)
        if found is not None:
            fields = {name: value for name, value in found.groupdict().items() if value is not None}
            return {**event, "type": kind, **fields}
    raise AssertionError(f"no line of the text transport: {line!r}")


# -- openchat: HTML without scripts


class _Paragraphs(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "p":
            self.lines.append("")
            self._inside = True
        elif tag == "br" and self._inside:
            self.lines[-1] += "\n"
        elif tag == "a":
            self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_endtag(self, tag: str) -> None:
        if tag == "p":
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.lines[-1] += data


_CLASSIC_LINES = {
    "message": re.compile(r"\[ (?P<from>[^\]]+) \] (?P<text>.*)", re.DOTALL),
    "hello": re.compile(r"Welcome (?P<name>.+)"),
    "join": re.compile(r"User (?P<from>.+?)(?: from (?P<address>\S+))? is joining the chat\."),
    "leave": re.compile(r"User (?P<from>.+) is leaving the chat\."),
    "gap": re.compile(r"(?:at least )?(?P<missing>[0-9]+) messages left out"),
    "bye": re.compile(r"the stream ends here: (?P<reason>.+)"),
    "reset": re.compile(r".*from here on with cursor=(?P<cursor>\S+)"),
}


def read_classic(body: bytes) -> list[Seen]:
    """The lines of the classic servlet's endless page; other paragraphs are not events."""
    page = _Paragraphs()
    page.feed(body.decode())
    page.close()
    assert "script" not in page.tags
    found: list[Seen] = []
    for indented in page.lines:
        line = indented.replace("\n\u00a0\u00a0", "\n")
        assert indented == line.replace("\n", "\n\u00a0\u00a0"), "it begins as no other does"
        for kind, pattern in _CLASSIC_LINES.items():
            match = pattern.fullmatch(line)
            if match is not None:
                found.append({"type": kind, **match.groupdict()})
                break
    return found


def classic_links(body: bytes) -> list[str]:
    """Where the links of such a page lead."""
    page = _Paragraphs()
    page.feed(body.decode())
    page.close()
    return page.links


# -- jsonp and multipart


def read_jsonp(body: bytes) -> Seen:
    """What a page's function is called with (ECMAScript 2018, section 11.8.4)."""
    call = re.fullmatch(r"/\*\*/([\w.$]+)\((.*)\);\n", body.decode(), re.DOTALL)
    assert call, body
    assert not re.search("[<\u2028\u2029]", call[2])
    answer: Seen = json.loads(call[2])
    return {**answer, "callback": call[1]}


class Parts:
    """Parts as they become whole, each an event: one is when the next boundary has come (RFC 2046,
    section 5.1.1).

    :param content_type: of the body.
    """

    def __init__(self, content_type: str) -> None:
        boundary = re.fullmatch(r'multipart/x-mixed-replace; boundary="([^"]+)"', content_type)
        assert boundary
        self._delimiter = re.compile(b"\r\n--%s(?:--)?\r\n" % re.escape(boundary[1].encode()))
        # The first boundary has no line before it that it could end.
        self._rest = b"\r\n"
        self._preamble = True

    def feed(self, data: bytes) -> list[Seen]:
        """The events that are certain now."""
        *parts, self._rest = self._delimiter.split(self._rest + data)
        if parts and self._preamble:
            assert parts.pop(0) == b""
            self._preamble = False
        # The end follows a boundary that is out already: the part between them is empty.
        return [self._read(part) for part in parts if part]

    def _read(self, part: bytes) -> Seen:
        head, _, content = part.partition(b"\r\n\r\n")
        assert head == b"Content-Type: application/json\r\nContent-Length: %d" % len(content)
        event: Seen = json.loads(content)
        return event


def read_multipart(body: bytes, content_type: str) -> list[Seen]:
    """The parts that are whole, each an event."""
    return Parts(content_type).feed(body)
