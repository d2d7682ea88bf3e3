"""The transport ``ws``: who may open it, and what can be said. (`test_websocket_frames` is RFC
6455.)"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from cometd_chat.errors import StorageUnavailable
from tests.memory import MakeSite, MemorySite
from tests.web.refusals import problem
from tests.web.talkers import (
    HANDSHAKE,
    PING,
    PONG,
    TEXT,
    Socket,
    client_frame,
    message,
    said,
)
from tests.wire import Response

WS = "/api/v1/events/ws"
KIB = 1024


@pytest.fixture
def alice(site: MemorySite) -> str:
    """A token of hers."""
    return site.log_in("alice")


# -- opening


def shake(site: MemorySite, *, method: str = "GET", path: str = WS, **headers: str) -> Response:
    """What is answered to a handshake in which some headers are others; empty ones are missing."""
    changed = {name.replace("_", "-"): value for name, value in headers.items()}
    lines = {name: value for name, value in {**HANDSHAKE, **changed}.items() if value}
    return site.request(method, path, headers=lines)


def shaken_raw(site: MemorySite, method: str, line: str) -> Response:
    """What is answered to a handshake with one more line in its head."""
    connection = site.connect()
    response = connection.expect(method)
    lines = "".join(f"{name}: {value}\r\n" for name, value in HANDSHAKE.items())
    connection.send(f"{method} {WS} HTTP/1.1\r\n{lines}{line}\r\n\r\n".encode())
    return response


class TestHandshake:
    def test_hello_comes_with_it(self, site: MemorySite) -> None:
        site.fill(3)
        socket = Socket(site)
        assert "sec-websocket-extensions" not in socket.head.lower()
        assert "transfer-encoding" not in socket.head.lower()
        (hello,) = socket.events()
        assert (hello["type"], hello["cursor"], hello["heartbeat"]) == ("hello", site.now, 15)

    @pytest.mark.parametrize(
        "headers",
        [
            {"Upgrade": "WebSocket"},
            {"Connection": "keep-alive, Upgrade"},
            {"Connection": "upgrade"},
            {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"},
            {"Sec-WebSocket-Protocol": "chat, superchat"},
            {"X-Odd": "\x01 \x7f"},
            {"X-Odd": "\u00fc"},
            {"User-Agent": ""},
        ],
    )
    def test_what_else_clients_send_does_no_harm(
        self, site: MemorySite, headers: dict[str, str | None]
    ) -> None:
        assert Socket(site, headers=headers).events()[0]["type"] == "hello"

    @pytest.mark.reads
    @pytest.mark.parametrize(
        "headers",
        [
            {"Upgrade": ""},
            {"Upgrade": "h2c"},
            {"Connection": ""},
            {"Connection": "close"},
            {"Sec_WebSocket_Version": ""},
            {"Sec_WebSocket_Version": "12"},
            {"Sec_WebSocket_Version": "14"},
            {"Sec_WebSocket_Version": "x"},
        ],
    )
    def test_one_that_is_none_is_told_what_is_needed(
        self, site: MemorySite, headers: dict[str, str]
    ) -> None:
        response = shake(site, **headers)
        problem(site, response, 426, "upgrade-required")
        # RFC 9110, section 15.5.22; RFC 6455, section 4.4.
        assert response.header("upgrade") == "websocket"
        assert "Upgrade" in response.headers["connection"]
        assert response.header("sec-websocket-version") == "13"

    @pytest.mark.reads
    @pytest.mark.parametrize("key", ["", "short", "dGhlIHNhbXBsZSBub25jZ", "!" * 24, "A" * 400])
    def test_a_key_that_is_none(self, site: MemorySite, key: str) -> None:
        """Sixteen bytes in base64 (RFC 6455, section 4.1)."""
        problem(site, shake(site, Sec_WebSocket_Key=key), 400, "invalid-request")

    @pytest.mark.parametrize(
        "line", [f"Sec-WebSocket-Key: {HANDSHAKE['Sec-WebSocket-Key']}", "sec-websocket-key: x"]
    )
    def test_a_doubled_key(self, site: MemorySite, line: str) -> None:
        problem(site, shaken_raw(site, "GET", line), 400, "invalid-request")

    def test_a_doubled_version(self, site: MemorySite) -> None:
        response = shaken_raw(site, "GET", "Sec-WebSocket-Version: 13")
        problem(site, response, 426, "upgrade-required")

    @pytest.mark.parametrize("path", [WS, "/cometd"])
    def test_head_opens_none(self, site: MemorySite, path: str) -> None:
        response = shake(site, method="HEAD", path=path)
        assert (response.status, response.body, response.complete) == (400, b"", True)
        assert 'transport="ws"} 1' not in site.metrics

    @pytest.mark.parametrize(
        ("offered", "named"),
        [
            ("comet.v1", "comet.v1"),
            ("chat, comet.v1", "comet.v1"),
            ("chat,superchat", "chat"),
            (" , a b, graphql-ws", "graphql-ws"),
            ("chat\r\nSec-WebSocket-Protocol: comet.v1", "comet.v1"),
            (",", None),
            ("x" * 65, None),
        ],
    )
    def test_a_subprotocol_that_is_offered(
        self, site: MemorySite, offered: str, named: str | None
    ) -> None:
        socket = Socket(site, headers={"Sec-WebSocket-Protocol": offered})
        found = re.findall(r"(?mi)^sec-websocket-protocol: (.*?)\r?$", socket.head)
        assert found == ([] if named is None else [named])
        assert socket.events()[0]["type"] == "hello"

    def test_none_is_named_to_who_offers_none(self, site: MemorySite) -> None:
        assert "sec-websocket-protocol" not in Socket(site).head.lower()

    def test_http_1_0_has_none(self, site: MemorySite) -> None:
        response = site.request("GET", WS, headers=HANDSHAKE, version="HTTP/1.0")
        problem(site, response, 400, "invalid-request")

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
    def test_it_is_a_get(self, site: MemorySite, method: str) -> None:
        response = shake(site, method=method)
        problem(site, response, 405, "method-not-allowed")
        assert "GET" in (response.header("allow") or "")

    @pytest.mark.parametrize("query", ["rooms=nowhere", "token=nonsense", "cursor=non+sense"])
    def test_a_refusal_is_an_ordinary_answer(self, site: MemorySite, query: str) -> None:
        status = {"rooms": 404, "token": 401, "cursor": 400}[query.partition("=")[0]]
        problem(site, shake(site, path=f"{WS}?{query}"), status)

    def test_where_reading_is_not_public(self, make_site: MakeSite) -> None:
        site = make_site(public_reading=False)
        problem(site, shake(site), 401, "no-session")
        assert Socket(site, token=site.log_in("alice")).events()

    def test_while_the_daemon_stops(self, site: MemorySite) -> None:
        site.chat.rights.stopping = True
        response = shake(site)
        assert (response.status, response.header("retry-after")) == (503, "1")

    def test_too_many_of_one_address_are_refused_before_it(self, make_site: MakeSite) -> None:
        """Not after the 101, when nobody reads HTTP any more."""
        site = make_site(limits=True)
        for _ in range(256):
            assert Socket(site).head
        problem(site, shake(site), 429, "too-many")
        assert Socket(site, address="192.0.2.8").head

    def test_one_that_is_refused_counts_for_nothing(self, make_site: MakeSite) -> None:
        site = make_site(limits=True)
        for _ in range(300):
            assert shake(site, Sec_WebSocket_Version="12").status == 426
        assert Socket(site).head

    def test_frames_in_the_same_segment_are_heard(self, site: MemorySite, alice: str) -> None:
        early = client_frame(TEXT, message("hi")) + client_frame(PING, b"there")
        socket = Socket(site, token=alice, early=early)
        assert socket.texts() == ["hi"]
        assert (PONG, b"there") in socket.frames()
        assert socket.events()[0]["type"] == "hello"

    def test_so_are_many_of_them(self, site: MemorySite, alice: str) -> None:
        """More than a channel reads ahead of a request that is not answered yet."""
        texts = [f"{number} " + "x" * 5000 for number in range(10)]
        early = b"".join(client_frame(TEXT, message(text)) for text in texts)
        socket = Socket(site, token=alice, early=early)
        socket.say("after that")
        assert socket.texts() == [*texts, "after that"]


class TestOrigin:
    OURS = {"Origin": "http://127.0.0.1:8080"}

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://127.0.0.1"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ],
    )
    @pytest.mark.parametrize("by", ["cookie", "token", "nothing"])
    def test_pages_of_other_sites_get_none(
        self, make_site: MakeSite, headers: dict[str, str], by: str
    ) -> None:
        site = make_site(allow_origin=("https://good.example",))
        token = site.log_in("alice")
        cookie = {"Cookie": f"comet_session_memory={token}"} if by == "cookie" else {}
        path = f"{WS}?token={token}" if by == "token" else WS
        response = site.get(path, headers={**HANDSHAKE, **headers, **cookie})
        problem(site, response, 403, "cross-site")

    def test_our_own_use_the_cookie(self, site: MemorySite, alice: str) -> None:
        socket = Socket(site, headers={**self.OURS, "Cookie": f"comet_session_memory={alice}"})
        socket.say("by cookie")
        assert socket.of("message")[0]["from"] == "alice"

    def test_those_that_the_operator_named_use_a_token(self, make_site: MakeSite) -> None:
        site = make_site(allow_origin=("https://good.example",))
        token = site.log_in("alice")
        foreign: dict[str, str | None] = {"Origin": "https://good.example"}
        foreign["Sec-Fetch-Site"] = "cross-site"
        socket = Socket(site, token=token, headers=foreign)
        socket.say("by token")
        assert socket.texts() == ["by token"]

    def test_and_never_the_cookie(self, make_site: MakeSite) -> None:
        site = make_site(allow_origin=("https://good.example",))
        cookie = f"comet_session_memory={site.log_in('alice')}"
        headers = {**HANDSHAKE, "Origin": "https://good.example", "Cookie": cookie}
        problem(site, site.get(WS, headers=headers), 403, "cross-site")

    def test_programs_send_no_origin(self, site: MemorySite, alice: str) -> None:
        by_header = Socket(site, headers={"Authorization": f"Bearer {alice}"})
        by_header.say("by header")
        assert by_header.texts() == ["by header"]


# -- what can be said


class TestMessages:
    def test_it_comes_back_as_the_event(self, site: MemorySite, alice: str) -> None:
        other = Socket(site)
        socket = Socket(site, token=alice)
        socket.say("hi", client_id="one")
        (event,) = socket.of("message")
        assert (event["from"], event["room"], event["client_id"]) == ("alice", "lobby", "one")
        assert other.of("message") == [event]
        assert said(site) == ["hi"]

    def test_to_a_room_that_it_reads(self, site: MemorySite, alice: str) -> None:
        socket = Socket(site, token=alice, rooms="lobby,dev")
        socket.say("for dev", room="dev")
        socket.say("for the first")
        assert [event["room"] for event in socket.of("message")] == ["dev", "lobby"]

    @pytest.mark.parametrize("room", ["dev", "nowhere", "", 7, None, ["lobby"]])
    def test_to_one_that_it_does_not_read(self, site: MemorySite, alice: str, room: Any) -> None:
        socket = Socket(site, token=alice)
        socket.say("hi", room=room, client_id="x")
        (error,) = socket.of("error")
        assert (error["status"], error["client_id"]) == (400, "x")
        assert socket.texts() == said(site) == []

    @pytest.mark.parametrize("text", ["", "   ", None, 7, {}, "x" * 8001, "a\x00b"])
    def test_that_can_be_none(self, site: MemorySite, alice: str, text: Any) -> None:
        socket = Socket(site, token=alice)
        socket.say(text, client_id="x")
        socket.say("and on it goes")
        (error,) = socket.of("error")
        assert (error["status"], error["client_id"]) == (400, "x")
        assert error["detail"]
        assert socket.texts() == ["and on it goes"]

    @pytest.mark.parametrize(
        "what",
        [
            *("", "hi", "[]", "null", "7", '"x"', "{}", "[" * 9999),
            *('{"type": "bye"}', '{"type": "message"', '{"text": "hi"}'),
        ],
    )
    def test_that_is_none(self, site: MemorySite, alice: str, what: str) -> None:
        socket = Socket(site, token=alice)
        socket.frame(TEXT, what.encode())
        socket.say("and on it goes")
        (error,) = socket.of("error")
        assert (error["status"], "client_id" in error) == (400, False)
        assert socket.texts() == ["and on it goes"]

    @pytest.mark.parametrize("type", ["join", "typing", "none of ours", None, 7])
    def test_what_can_not_be_said_is_refused_with_its_client_id(
        self, site: MemorySite, alice: str, type: Any
    ) -> None:
        """A client that waits for what becomes of it would wait for ever."""
        socket = Socket(site, token=alice)
        socket.frame(TEXT, json.dumps({"type": type, "text": "hi", "client_id": "x"}).encode())
        (error,) = socket.of("error")
        assert (error["status"], error["client_id"]) == (400, "x")
        assert error["detail"].startswith("nothing of that type can be said: send {")

    @pytest.mark.parametrize("client_id", ["", "x" * 65, "\u00fc", 7])
    def test_a_client_id_that_is_none(self, site: MemorySite, alice: str, client_id: Any) -> None:
        socket = Socket(site, token=alice)
        socket.say("hi", client_id=client_id)
        assert socket.of("error")[0]["status"] == 400
        assert said(site) == []

    def test_a_repeated_client_id_is_answered_with_the_first_event(
        self, site: MemorySite, alice: str
    ) -> None:
        first, second = Socket(site, token=alice), Socket(site, token=alice)
        first.say("hi", client_id="one")
        first.say("hi", client_id="one")
        (event, again) = first.of("message")
        assert again == event
        # Only who repeated it is told again.
        assert second.texts() == said(site) == ["hi"]

    def test_a_repeat_takes_nobody_back(self, site: MemorySite, alice: str) -> None:
        """Whoever keeps the newest cursor must not hear all since the first time once more."""
        socket = Socket(site, token=alice)
        socket.say("hi", client_id="one")
        site.say("in between")
        socket.say("hi", client_id="one")
        first, _, again = socket.of("message")
        assert again == {**first, "cursor": site.now}
        assert socket.cursor == site.now

    def test_a_repeat_that_is_yet_to_come_comes_once(self, make_site: MakeSite) -> None:
        site = make_site(tail=10)
        alice, before = site.log_in("alice"), site.now
        Socket(site, token=alice).say("hi", client_id="one")
        site.fill(50)
        site.log.holding_reads = True
        socket = Socket(site, token=alice, cursor=before)
        socket.say("hi", client_id="one")
        assert socket.texts() == []
        site.log.answer_read()
        site.turn()
        assert (len(socket.texts()), socket.texts().count("hi")) == (51, 1)

    def test_with_another_text_it_is_a_conflict(self, site: MemorySite, alice: str) -> None:
        socket = Socket(site, token=alice)
        socket.say("hi", client_id="one")
        socket.say("ho", client_id="one")
        (error,) = socket.of("error")
        assert (error["status"], error["client_id"]) == (409, "one")
        assert said(site) == ["hi"]

    def test_who_only_reads_is_told_to_log_in(self, site: MemorySite) -> None:
        socket = Socket(site)
        socket.say("hi", client_id="x")
        (error,) = socket.of("error")
        assert (error["status"], error["client_id"]) == (401, "x")
        assert "log in" in error["detail"].lower()
        assert said(site) == []
        assert socket.closed_by() is None

    def test_too_many_are_errors_and_the_talk_goes_on(self, make_site: MakeSite) -> None:
        site = make_site(limits=True)
        socket = Socket(site, token=site.log_in("alice"))
        for number in range(25):
            socket.say(str(number), client_id=f"id {number}")
        assert socket.texts() == [str(number) for number in range(20)]
        errors = socket.of("error")
        assert [each["client_id"] for each in errors] == [f"id {n}" for n in range(20, 25)]
        assert {each["status"] for each in errors} == {429}
        site.advance(1)
        socket.say("later")
        assert socket.texts()[-1] == "later"
        assert socket.closed_by() is None

    def test_what_is_not_kept_is_an_error_with_its_client_id(
        self, site: MemorySite, alice: str
    ) -> None:
        socket = Socket(site, token=alice)
        site.log.failure = StorageUnavailable("The disk is full.", retry_after=5)
        socket.say("hi", client_id="x")
        (error,) = socket.of("error")
        assert (error["status"], error["client_id"]) == (503, "x")

    def test_they_are_posted_in_their_order(self, site: MemorySite, alice: str) -> None:
        site.log.hold()
        socket = Socket(site, token=alice)
        texts = [str(number) for number in range(10)]
        socket.connection.send(b"".join(client_frame(TEXT, message(text)) for text in texts))
        assert said(site) == []
        for _ in texts:
            site.log.release()
            site.turn()
            site.log.hold()
        assert said(site) == texts

    def test_one_that_was_on_its_way_when_its_sender_left_is_kept(
        self, site: MemorySite, alice: str
    ) -> None:
        other = Socket(site)
        site.log.hold()
        socket = Socket(site, token=alice)
        socket.say("famous last words")
        socket.connection.reset()
        site.log.release()
        site.turn()
        assert other.texts() == said(site) == ["famous last words"]

    def test_who_says_too_much_at_once_is_read_no_further(
        self, site: MemorySite, alice: str
    ) -> None:
        socket = Socket(site, token=alice)
        site.log.hold()
        for number in range(200):
            socket.connection.send(client_frame(TEXT, message(f"{number} " + "x" * 1000)))
        unread = len(socket.connection.socket.to_server)
        assert unread > 100 * KIB, "it was all read, and is held in memory"
        site.log.release()
        for _ in range(300):
            site.turn()
        assert len(said(site)) == 200
        assert socket.texts() == said(site)


def test_the_deferreds_of_posts_do_not_pile_up(site: MemorySite, alice: str) -> None:
    """A post that fails for a reason of ours is in the log, and the next one works."""
    socket = Socket(site, token=alice)
    messages = site.chat.messages
    real = messages.post

    def broken(*args: object, **options: object) -> Deferred[Any]:
        raise ZeroDivisionError

    messages.post = broken  # type: ignore[method-assign,assignment]
    socket.say("lost", client_id="x")
    messages.post = real  # type: ignore[method-assign]
    socket.say("hi")
    assert socket.texts() == ["hi"]
    (failure,) = site.take_failures()
    assert failure["log_failure"].check(ZeroDivisionError)
    (error,) = socket.of("error")
    assert (error["status"], error["client_id"]) == (500, "x")
