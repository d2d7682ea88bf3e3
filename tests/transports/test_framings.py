"""Framings: whatever text goes in, a decoder that is not ours gets the same text out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometd_chat.events.event import Batch, Event
from cometd_chat.transports.framings import (
    Classic,
    Frame,
    Framing,
    JsonLines,
    Poll,
    ServerSentEvents,
    Text,
    for_script,
)
from tests import decoders
from tests.decoders import Seen

HOSTILE = [
    "</script><script>alert(1)</script>",
    "</ScRiPt >",
    "<!-- <script>",
    "<!--<script></script>-->",
    "]]><![CDATA[",
    "\u2028 and \u2029",
    "two\nlines",
    "a\n\nblank line, then\n* bob left\n[bob] not me",
    "data: x\n\nevent: heartbeat\nid: 1",
    "\tafter a tab",
    "🦄 and 👩‍👩‍👧 and \U0010ffff",
    "\"quotes\" 'single' `back` \\ \\\\ \\u003c ${x}",
    "&lt;b&gt; &amp;amp; &#60; &",
    "\ufeff begins with a BOM",
    "\u202e right to left \u202c",
    "no\u00a0break",
    "*/ // /* ; } ) );",
    "NaN Infinity __proto__",
    "{{7*7}} {% x %}",
]

#: What can be in a message: anything but control characters other than newline and tab, and
#: surrogates; and it never begins or ends with blanks.
texts = (
    st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"), min_size=1)
    .map(str.strip)
    .filter(bool)
)


def message(text: str, id: int = 17, room: str = "lobby") -> Event:
    fields = {
        "id": id,
        "cursor": f"{id}.k3f9",
        "room": room,
        "type": "message",
        "from": "alice",
        "text": text,
        "at": "2026-11-21T19:23:00.123Z",
    }
    return Event(fields, id)


def classic() -> Classic:
    return Classic(
        head="<!doctype html><title>x</title>",
        name="alice",
        heartbeat="<!-- alive -->",
        tail=lambda cursor: f'<p><a href="/chat?cursor={cursor}">on</a></p>',
    )


def server_sent_events() -> ServerSentEvents:
    return ServerSentEvents(lambda: 2000)


def frame_events(body: bytes) -> list[Seen]:
    return [event for batch in decoders.read_frame(body).batches for event in batch]


def poll_events(body: bytes) -> list[Seen]:
    events: list[Seen] = json.loads(body)["events"]
    return events


TRANSPORTS: dict[str, tuple[Callable[[], Framing], Callable[[bytes], list[Seen]]]] = {
    "frame": (lambda: Frame("abc123"), frame_events),
    "stream": (JsonLines, decoders.read_lines),
    "sse": (server_sent_events, decoders.read_sse),
    "poll": (Poll, poll_events),
    "text": (Text, decoders.read_text),
    "text of several rooms": (lambda: Text(rooms=True), decoders.read_text),
    "openchat": (classic, decoders.read_classic),
}


#: Those made for people leave out what a person can't see.
FOR_PEOPLE = ("text", "text of several rooms")


def expected(transport: str, text: str) -> str:
    """A text as the transport shows it."""
    if transport in FOR_PEOPLE:
        return decoders.for_people(text)
    return re.sub("[\u2028\u2029]", "\n", text) if transport == "openchat" else text


def through(transport: str, events: Sequence[Event]) -> list[Seen]:
    """Events as the transport's own decoder sees them, in one body with a begin and an end."""
    make, decode = TRANSPORTS[transport]
    framing = make()
    body = framing.begin() + framing.frame(events) + framing.end()
    return [seen for seen in decode(body) if seen["type"] != "hello"]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_hostile_text_comes_back(transport: str, text: str) -> None:
    (seen,) = through(transport, [message(text)])
    assert (seen["type"], seen["from"]) == ("message", "alice")
    assert seen["text"] == expected(transport, text)


# All transports in one test: pytest-twisted wraps a test of hypothesis once for each parameter.
@given(st.lists(texts, min_size=1, max_size=4))
def test_any_texts_come_back_as_so_many_events(said: list[str]) -> None:
    events = [message(text, id) for id, text in enumerate(said, 1)]
    for transport in TRANSPORTS:
        wanted = [expected(transport, text) for text in said]
        assert [seen["text"] for seen in through(transport, events)] == wanted, transport


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_transports_of_json_carry_any_string_anywhere(word: str) -> None:
    """Even one that the chat would refuse: a framing must not need that."""
    for transport in ("frame", "stream", "sse", "poll"):
        (seen,) = through(transport, [Event({"type": "people", "room": word, word + "x": 3})])
        assert (seen["room"], seen[word + "x"]) == (word, 3), transport


@pytest.mark.parametrize("transport", ["frame", "stream", "sse", "poll"])
def test_transports_of_json_show_the_same_object(transport: str) -> None:
    event = message("hi")
    (seen,) = through(transport, [event])
    seen.pop("last_event_id", None)
    assert seen == event.fields
    assert list(seen) == list(event.fields)


class TestFrame:
    def test_a_batch_is_one_script_with_the_nonce(self) -> None:
        framing = Frame("abc123")
        page = decoders.read_frame(
            framing.begin()
            + framing.frame([message("a", 1), message("b", 2)])
            + framing.frame([message("c", 3)])
            + framing.end()
        )
        assert [[seen["text"] for seen in batch] for batch in page.batches] == [["a", "b"], ["c"]]
        assert page.nonces == {"abc123"}

    def test_its_policy_knows_that_nonce_and_nothing_else(self) -> None:
        policy = Frame("abc123").content_security_policy
        assert "default-src 'none'" in policy
        assert "script-src 'nonce-abc123'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'self'" in policy

    @given(texts)
    def test_its_scripts_hold_nothing_that_html_or_old_engines_take_for_an_end(
        self, text: str
    ) -> None:
        safe = for_script(message(text).json)
        assert b"<" not in safe
        assert "\u2028".encode() not in safe
        assert "\u2029".encode() not in safe

    def test_the_type_says_the_charset(self) -> None:
        """Without it Firefox runs nothing before the page has ended."""
        assert Frame("x").content_type == "text/html; charset=utf-8"


class TestServerSentEvents:
    def test_begins_with_the_reconnection_time(self) -> None:
        assert decoders.read_event_stream(server_sent_events().begin()).retry == 2000

    def test_every_event_with_a_cursor_has_it_as_id(self) -> None:
        framing = server_sent_events()
        events = [
            Event({"type": "hello", "cursor": "3.k3f9"}),
            message("hi", 4),
            Event({"type": "join", "room": "lobby", "from": "bob"}),
            Event({"type": "heartbeat", "cursor": "7.k3f9"}),
        ]
        stream = decoders.read_event_stream(framing.begin() + framing.frame(events))
        assert [(name, last_id) for name, _, last_id in stream.dispatched] == [
            ("message", "3.k3f9"),
            ("message", "4.k3f9"),
            # It has no cursor of its own: the browser keeps the one before.
            ("message", "4.k3f9"),
            ("heartbeat", "7.k3f9"),
        ]

    def test_an_event_is_there_with_its_blank_line_and_not_before(self) -> None:
        framed = server_sent_events().frame([message("hi")])
        assert len(decoders.read_event_stream(framed).dispatched) == 1
        assert not decoders.read_event_stream(framed[:-1]).dispatched


class TestLinesOfTheClassicPage:
    def line(self, text: str, name: str = "alice") -> str:
        event = Event({**message(text).fields, "from": name}, 17)
        return classic().frame([event]).decode()

    @pytest.mark.parametrize("end", ["\n", "\u2028", "\u2029"])
    def test_a_further_line_is_indented(self, end: str) -> None:
        text = f"hi{end}[ bob ] I quit{end}User bob is leaving the chat."
        assert self.line(text) == (
            '<p dir="auto">[ alice ] hi<br>&#160;&#160;[ bob ] I quit'
            "<br>&#160;&#160;User bob is leaving the chat.</p>\n"
        )

    def test_what_turns_the_order_turns_only_its_own(self) -> None:
        assert self.line("\u202e<olleh>") == (
            '<p dir="auto">[ alice ] <bdi>\u202e&lt;olleh&gt;</bdi></p>\n'
        )
        assert self.line("hi", name="\u05d0") == ('<p dir="auto">[ <bdi>\u05d0</bdi> ] hi</p>\n')


class TestPoll:
    def test_says_where_to_go_on(self) -> None:
        events = [message("a", 4), Event({"type": "heartbeat", "cursor": "9.k3f9"})]
        answer = json.loads(Poll().frame(events))
        assert [event["text"] for event in answer["events"]] == ["a"]
        assert answer["cursor"] == "9.k3f9"

    def test_is_one_object_without_events_too(self) -> None:
        answer = json.loads(Poll().frame([Event({"type": "heartbeat", "cursor": "9.k3f9"})]))
        assert answer == {"events": [], "cursor": "9.k3f9"}

    def test_has_no_cursor_to_give_to_who_is_to_stay_away(self) -> None:
        answer = json.loads(Poll().frame([Event({"type": "bye", "reason": "logged out"})]))
        assert answer["cursor"] is None


class TestText:
    @pytest.mark.parametrize(
        ("fields", "line"),
        [
            ({"type": "message", "from": "alice", "text": "hi"}, "[alice] hi\n"),
            (
                {"type": "message", "from": "alice", "text": "a\nb\n\nc"},
                "[alice] a\n  b\n  \n  c\n",
            ),
            ({"type": "join", "from": "alice"}, "* alice joined\n"),
            ({"type": "leave", "from": "alice"}, "* alice left\n"),
            ({"type": "gap", "missing": 12, "before": 30}, "* 12 messages left out\n"),
            (
                {"type": "gap", "missing": 12, "before": 30, "at_least": True},
                "* at least 12 messages left out\n",
            ),
            ({"type": "heartbeat", "cursor": "17.k3f9"}, "\n"),
            ({"type": "hello", "cursor": "17.k3f9"}, ""),
            ({"type": "typing", "from": "alice"}, ""),
            (
                {"type": "reopen", "cursor": "17.k3f9", "after": 1.5},
                "* the stream ends here, go on with cursor=17.k3f9\n",
            ),
            (
                {"type": "error", "status": 400, "detail": "too long: 9000 of 8000 characters"},
                "! too long: 9000 of 8000 characters\n",
            ),
        ],
    )
    def test_lines(self, fields: dict[str, Any], line: str) -> None:
        event = Event({**fields, "room": "lobby"} if "from" in fields else fields)
        assert Text().frame([event]).decode() == line

    @pytest.mark.parametrize("end", ["\n", "\u2028", "\u2029"])
    def test_no_line_of_a_message_begins_as_one_of_ours_does(self, end: str) -> None:
        text = f"hi{end}[bob] I quit{end}* bob left{end}"
        assert Text().frame([message(text)]).decode() == (
            "[alice] hi\n  [bob] I quit\n  * bob left\n  \n"
        )

    @pytest.mark.parametrize(
        "unseen",
        [
            *("\u061c\u200e\u200f", "\u202a\u202b\u202c\u202d\u202e", "\u2066\u2067\u2068\u2069"),
            *("\u206a\u206f", "\ufff9\ufffa\ufffb", "\U000e0001\U000e0041\U000e007f"),
        ],
    )
    def test_nothing_turns_the_order_of_what_a_terminal_shows(self, unseen: str) -> None:
        """A message, a refusal of one, and where a name ever held it."""
        text = unseen.join("abc")
        assert Text().frame([message(text)]) == b"[alice] abc\n"
        assert Text().frame([Event({"type": "error", "detail": text})]) == b"! abc\n"
        assert Text().frame([Event({"type": "join", "from": text})]) == b"* abc joined\n"

    def test_what_people_write_stays(self) -> None:
        text = (
            "\u0645\u0631\u062d\u0628\u0627 \U0001f469\u200d\U0001f467 a\u00adb\tc \u200c e\u0301"
        )
        assert Text().frame([message(text)]).decode() == f"[alice] {text}\n"

    def test_says_the_room_when_there_are_several(self) -> None:
        framing = Text(rooms=True)
        assert framing.frame([message("hi", room="dev")]) == b"#dev [alice] hi\n"
        joined = Event({"type": "join", "room": "dev", "from": "bob"})
        assert framing.frame([joined]) == b"#dev * bob joined\n"
        assert framing.frame([Event({"type": "heartbeat", "cursor": "1.k3f9"})]) == b"\n"

    def test_shows_cursors_when_asked_to(self) -> None:
        framing = Text(cursors=True)
        beat = Event({"type": "heartbeat", "cursor": "17.k3f9"})
        assert framing.frame([beat]) == b"* cursor 17.k3f9\n"


class TestClassic:
    def test_welcomes_and_says_where_to_go_on(self) -> None:
        framing = classic()
        body = framing.begin() + framing.frame([message("hi", 4)]) + framing.end()
        assert [seen["type"] for seen in decoders.read_classic(body)] == ["hello", "message"]
        assert decoders.classic_links(body) == ["/chat?cursor=4.k3f9"]

    def test_after_a_bye_there_is_nothing_to_go_on_with(self) -> None:
        framing = classic()
        framing.frame([message("hi", 4), Event({"type": "bye", "reason": "logged out"})])
        assert decoders.classic_links(framing.end()) == ["/chat?cursor=None"]

    def test_a_name_is_text(self) -> None:
        framing = classic()
        framing.name = "<b>x</b>"
        assert b"<b>" not in framing.begin()


class TestEncodingOnce:
    @pytest.mark.parametrize("transport", ["frame", "stream", "sse", "text"])
    def test_an_event_is_encoded_once_for_all_readers(self, transport: str) -> None:
        framing = TRANSPORTS[transport][0]()
        events = [message("a", 1), message("b", 2)]
        batch = Batch(events)
        # The very same objects, not equal ones: nothing was joined anew.
        assert batch.framed(framing) is batch.framed(framing)
        assert batch.make(framing) is batch.make(framing)
        assert [len(event.framed) for event in events] == [1, 1]

    def test_a_chunk_says_its_length_and_nothing_is_no_chunk(self) -> None:
        # An empty chunk would be the end of the body (RFC 9112, section 7.1).
        lines, text = JsonLines(), Text()
        batch = Batch([Event({"type": "typing"})])
        body = batch.framed(lines)
        assert batch.make(lines)[1] == b"%x\r\n" % len(body) + body + b"\r\n"
        assert batch.make(text) == (b"", b"", 0)


class TestBatch:
    def test_knows_what_of_it_is_kept(self) -> None:
        batch = Batch([message("a", 3), Event({"type": "join"}), message("b", 7)])
        assert (batch.kept, batch.first_id, batch.last_id) == (2, 3, 7)

    def test_what_somebody_has_is_left_out(self) -> None:
        join = Event({"type": "join"})
        batch = Batch([message("a", 3), join, message("b", 7)])
        assert batch.after(2) is batch
        rest = batch.after(3)
        assert rest is not None
        assert rest.events == [join, batch.events[2]]
        assert Batch([message("a", 3)]).after(3) is None
        assert Batch([join]).after(9) is not None
