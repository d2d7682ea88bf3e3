"""One conversation, nine transports: what is said by any of them is read the same by all.

Each is read by a decoder that was made from its standard: what a browser does with a frame or an
event stream, wsproto's client, Python's `email` for the parts, JSON, the rules for lines of text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from email import message_from_bytes
from email.message import Message
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cometd_chat.events.texts import bound_marks, is_visible
from tests import decoders
from tests.decoders import Seen, for_people
from tests.examples import examples
from tests.memory import MakeSite, MemorySite
from tests.transport_paths import NAMES
from tests.web.talkers import MORE, TEXT, Duplex, Socket, client_frame
from tests.web.transports import Client

#: Transports that show an event wholly, as JSON.
WHOLE = ("frame", "poll", "stream", "sse", "jsonp", "multipart", "ws", "duplex as lines")

#: What a message can hold: see `cometd_chat.events.texts`; it neither begins nor ends with blanks,
#: and what begins with a slash is a command.
texts = (
    st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"), min_size=1)
    .map(str.strip)
    .map(bound_marks)
    .filter(is_visible)
    .filter(lambda text: not text.startswith("/"))
)

#: The same as one line, as it is typed into a body.
lines = texts.map(lambda text: text.replace("\n", " ")).filter(
    lambda text: text.strip() and not text.strip().startswith("/")
)


def open_transport(site: MemorySite, transport: str, **query: Any) -> Any:
    """Somebody who reads through a transport; ``duplex`` has to be somebody by name."""
    if transport == "ws":
        return Socket(site, **query)
    if transport.startswith("duplex"):
        name = f"guest{len(site.connections)}"
        return Duplex(site, name=name, lines=transport == "duplex as lines", **query)
    return Client(site, transport, **query)


def shown(event: Seen) -> tuple[str, ...]:
    """What even lines of text show of a message."""
    return event["room"], event["from"], event["text"]


def as_shown(transport: str, texts: Sequence[str]) -> list[str]:
    """Texts as a transport shows them."""
    return [for_people(each) if transport in ("text", "duplex") else each for each in texts]


class TestTheSameConversation:
    def converse(self, site: MemorySite) -> None:
        """Three rooms' worth of words that are hard on one decoder or another."""
        hard = [
            "hi",
            "two\n\nlines",
            "</script><!--",
            "data: x",
            "a\u2028\u2029b",
            "\U0001f984 \u00e9",
        ]
        hard += [
            "* bob left",
            "[bob] not me",
            "#dev [x] y",
            "  two\n  three",
            "--x\n\n--x--",
            '"\\',
        ]
        for number, text in enumerate(hard):
            site.say(text, "dev" if number % 3 else "lobby", "alice" if number % 2 else "bob")

    @pytest.mark.parametrize("when", ["before", "after", "between"])
    def test_reads_the_same_through_all_nine(self, make_site: MakeSite, when: str) -> None:
        site = make_site(tail=5 if when == "before" else None)
        query = {"rooms": "lobby,dev", "cursor": site.log.cursor(0)}
        if when != "after":
            self.converse(site)
        readers = {transport: open_transport(site, transport, **query) for transport in NAMES}
        if when != "before":
            self.converse(site)
        wanted = [
            (each.context[6:], each.author, each.data["text"].strip()) for each in recorded(site)
        ]
        assert len(wanted) == {"before": 12, "after": 12, "between": 24}[when]
        for transport, reader in readers.items():
            texts = as_shown(transport, [text for _, _, text in wanted])
            assert [shown(each) for each in reader.of("message")] == [
                (room, author, text) for (room, author, _), text in zip(wanted, texts, strict=True)
            ], transport

    def test_event_by_event_where_they_are_json(self, site: MemorySite) -> None:
        readers = {
            transport: open_transport(site, transport, rooms="lobby,dev") for transport in WHOLE
        }
        sent = [site.say(f"{room} \U0001f984", room) for room in ("lobby", "dev", "lobby")]
        for transport, reader in readers.items():
            seen = [{**event} for event in reader.of("message")]
            for event in seen:
                event.pop("last_event_id", None)
            assert seen == sent, transport
            assert [list(event) for event in seen] == [list(event) for event in sent], transport

    def test_is_gone_on_with_in_the_next_transport(self, make_site: MakeSite) -> None:
        site = make_site(tail=8)
        heard: list[str] = []
        cursor = site.now
        for transport in [*NAMES, *reversed(NAMES), *NAMES[::2], *NAMES[::3]]:
            site.fill(12)
            reader = open_transport(site, transport, cursor=cursor)
            site.fill(3)
            site.advance(16)
            heard += reader.texts()
            assert reader.cursor == site.now, transport
            cursor = reader.cursor
            reader.leave()
        assert heard == [f"said {id}" for id in range(1, site.log.last_id + 1)]

    @pytest.mark.parametrize("transport", ["ws", "duplex", "duplex as lines"])
    def test_the_battery_of_the_other_transports_holds_here(
        self, make_site: MakeSite, transport: str
    ) -> None:
        site = make_site(tail=10, max_behind=600)
        site.fill(500)
        now = open_transport(site, transport)
        behind = open_transport(site, transport, cursor=site.log.cursor(50))
        backlog = open_transport(site, transport, backlog=30)
        elsewhere = open_transport(site, transport, rooms="dev")
        foreign = open_transport(site, transport, cursor="3.zzzzzz")
        site.fill(3)
        news = [f"said {id}" for id in range(501, 504)]
        assert now.texts() == foreign.texts() == news
        assert behind.texts() == [f"said {id}" for id in range(51, 504)]
        assert backlog.texts() == [f"said {id}" for id in range(471, 504)]
        assert elsewhere.texts() == []
        assert foreign.of("reset")[0]["cursor"] == site.log.cursor(500)
        site.fill(100)
        (gap,) = open_transport(site, transport, cursor=site.log.cursor(1)).of("gap")
        assert int(gap["missing"]) == site.log.last_id - 1 - 200
        site.advance(16)
        assert elsewhere.of("heartbeat")[-1]["cursor"] == site.now

    @pytest.mark.parametrize("transport", ["ws", "duplex"])
    def test_while_messages_keep_coming(self, make_site: MakeSite, transport: str) -> None:
        site = make_site(tail=10)
        site.fill(500)
        site.log.holding_reads = True
        reader = open_transport(site, transport, cursor=site.log.cursor(0))
        for _ in range(30):
            site.fill(5)
            if site.log.waiting_reads:
                site.log.answer_read()
                site.turn()
        site.log.holding_reads = False
        while site.log.waiting_reads:
            site.log.answer_read()
            site.turn()
        assert reader.texts() == [f"said {id}" for id in range(1, 651)]

    def test_who_is_where_is_counted_by_transport(self, site: MemorySite) -> None:
        readers = [open_transport(site, transport, cursor=site.now) for transport in NAMES]
        site.turn()
        held = re.findall(r'held_requests\{transport="(\w+)"\} (\S+)', site.metrics)
        # The two polls were answered: the guest of `duplex` came in.
        assert dict(held) == {**dict.fromkeys(NAMES, "1.0"), "poll": "0.0", "jsonp": "0.0"}
        assert readers


def recorded(site: MemorySite) -> list[Any]:
    """All that is in the log."""
    found: list[Any] = []
    site.log.read(["/chat/lobby", "/chat/dev"], limit=10**6).addCallback(found.extend)
    return found


def content(part: Message) -> bytes:
    """The bytes of a part."""
    found = part.get_payload(decode=True)
    assert isinstance(found, bytes)
    return found


class TestMultipart:
    def parts(self, response: Any) -> list[Message]:
        """The parts of a complete response, by the standard library."""
        kind = response.header("content-type")
        whole = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + response.body)
        assert whole.get_content_type() == "multipart/x-mixed-replace"
        assert whole.is_multipart()
        assert not whole.defects
        return [part for part in whole.get_payload() if isinstance(part, Message)]

    def test_is_what_pythons_email_takes_it_for(self, site: MemorySite) -> None:
        client = Client(site, "multipart")
        boundary = (client.response.header("content-type") or "").partition('"')[2].strip('"')
        # Who reads knows the boundary, and may try to say it.
        hard = ["hi", f"x\n--{boundary}--\ny", f"--{boundary}", "\u00e9 \U0001f984\n\n"]
        sent = [site.say(text) for text in hard]
        site.stop()
        parts = [part for part in self.parts(client.response) if part.get_payload()]
        assert {part.get_content_type() for part in parts} == {"application/json"}
        events = [json.loads(content(part)) for part in parts]
        assert [event for event in events if event["type"] == "message"] == sent
        assert (events[0]["type"], events[-1]["type"]) == ("hello", "reopen")

    def test_a_part_is_whole_as_soon_as_it_is_written(self, site: MemorySite) -> None:
        client = Client(site, "multipart")
        kind = client.response.header("content-type") or ""
        for number in range(1, 6):
            site.say(str(number))
            chunk = client.response.chunks[-1]
            # With the boundary after it: until that comes a reader waits.
            assert chunk.endswith(b"--" + kind.partition('"')[2].strip('"').encode() + b"\r\n")
            seen = decoders.read_multipart(client.response.body, kind)
            assert seen[-1]["text"] == str(number)
            before = client.response.body[: -len(chunk)]
            assert len(decoders.read_multipart(before, kind)) == len(seen) - 1

    def test_its_boundary_cannot_be_guessed(self, make_site: MakeSite) -> None:
        kinds = {Client(make_site(), "multipart").response.header("content-type") for _ in range(9)}
        assert len(kinds) == 9
        assert all(re.search(r'boundary="[0-9a-f]{32}"', kind or "") for kind in kinds)


# -- any text in, the same text out


def in_pieces(data: bytes, places: list[int]) -> list[bytes]:
    """Bytes cut at some places."""
    cuts = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[begin:end] for begin, end in pairwise(cuts)] or [b""]


@example(["a\u202eb\u2028c\U000e0041d"], [])
@settings(max_examples=examples(60))
@given(st.lists(texts, min_size=1, max_size=4), st.lists(st.integers(0, 10**4), max_size=6))
def test_any_text_said_by_a_socket_is_read_through_every_transport(
    said: list[str], places: list[int]
) -> None:
    with MemorySite() as site:
        readers = {transport: open_transport(site, transport) for transport in NAMES}
        socket = Socket(site, token=site.log_in("alice"))
        for text in said:
            whole = json.dumps({"type": "message", "text": text}, ensure_ascii=False).encode()
            fragments = in_pieces(whole, places)
            data = b""
            for index, piece in enumerate(fragments):
                last = index == len(fragments) - 1
                data += client_frame(MORE if index else TEXT, piece, end=last)
            for piece in in_pieces(data, places[::-1]):
                socket.connection.send(piece)
        for transport, reader in readers.items():
            assert reader.texts() == as_shown(transport, said), transport
        assert socket.texts() == said


@example(["a\u202eb\u2028c\U000e0041d"], [], "\n", True)
@settings(max_examples=examples(60))
@given(
    st.lists(lines, min_size=1, max_size=4),
    st.lists(st.integers(0, 10**4), max_size=6),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_any_line_of_a_body_is_read_through_every_transport(
    said: list[str], places: list[int], end: str, ended: bool
) -> None:
    body = end.join(said) + (end if ended else "")
    said = [line.strip() for line in said]
    with MemorySite() as site:
        readers = {transport: open_transport(site, transport) for transport in NAMES}
        talker = Duplex(site, name="alice")
        for piece in in_pieces(body.encode(), places):
            if piece:
                talker.send(piece)
        talker.end()
        for transport, reader in readers.items():
            assert reader.texts() == as_shown(transport, said), transport
        assert talker.texts() == as_shown("duplex", said)
        assert talker.response.complete
