"""The transport ``duplex``: a body that is read while it arrives, under a response that goes on."""

from __future__ import annotations

import pytest

from cometd_chat.events.event import Event
from cometd_chat.gateways.posting import MOST_WAITING
from cometd_chat.transports.body import MAX_LINE
from cometd_chat.transports.limited_request import MAX_BODY
from tests.memory import MakeSite, MemorySite
from tests.net import fake_kernel
from tests.web.refusals import problem
from tests.web.talkers import Duplex, said
from tests.wire import Response

DUPLEX = "/api/v1/events/duplex"
HEAD = b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
KIB = 1024
UNICORN = "\U0001f984"


@pytest.fixture
def alice(site: MemorySite) -> str:
    """A token of hers."""
    return site.log_in("alice")


class TestTalking:
    @pytest.mark.parametrize("method", ["POST", "PUT"])
    @pytest.mark.parametrize("lines", [False, True], ids=["text", "ndjson"])
    def test_what_is_typed_is_said_and_what_is_said_is_read(
        self, site: MemorySite, alice: str, method: str, lines: bool
    ) -> None:
        duplex = Duplex(site, token=alice, method=method, lines=lines)
        assert duplex.response.status == 200
        kind = "application/x-ndjson" if lines else "text/plain; charset=utf-8"
        assert duplex.response.header("content-type") == kind
        duplex.say("one")
        site.say("two")
        duplex.say("three")
        assert duplex.texts() == said(site) == ["one", "two", "three"]
        assert [event["from"] for event in duplex.of("message")] == ["alice", "bob", "alice"]
        assert not duplex.response.complete

    @pytest.mark.parametrize("path", ["/rooms/lobby%2Etxt", "/api/v1/events/%64uplex"])
    def test_however_its_path_is_spelt(self, site: MemorySite, alice: str, path: str) -> None:
        response = site.request("POST", path, body=b"hi", token=alice)
        assert response.complete
        assert said(site) == ["hi"]

    @pytest.mark.parametrize("path", ["/rooms/lobby.txt/", DUPLEX + "/"])
    def test_with_a_slash_too_many_it_is_another_path(
        self, site: MemorySite, alice: str, path: str
    ) -> None:
        problem(site, site.request("POST", path, body=b"hi", token=alice), 404, "not-found")
        assert said(site) == []

    def test_another_is_heard_while_nothing_is_typed(self, site: MemorySite, alice: str) -> None:
        """The channel's own idle timer ends what sends no body for a minute."""
        duplex = Duplex(site, token=alice)
        for _ in range(5):
            site.advance(50)
            site.say("still there?")
        assert len(duplex.texts()) == 5
        assert not duplex.connection.closed

    @pytest.mark.parametrize("end", [b"\n", b"\r\n"])
    def test_lines_may_be_cut_anywhere(self, site: MemorySite, alice: str, end: bytes) -> None:
        body = f"h\u00e9 {UNICORN}".encode() + end + end + b"two" + end
        for place in range(1, len(body)):
            duplex = Duplex(site, token=alice, lines=True)
            duplex.send(body[:place])
            duplex.send(body[place:])
            assert duplex.texts() == [f"h\u00e9 {UNICORN}", "two"], place
            duplex.leave()

    def test_a_byte_at_a_time(self, site: MemorySite, alice: str) -> None:
        duplex = Duplex(site, token=alice)
        for byte in f"h\u00e9 {UNICORN}\r\ntwo\r\n".encode():
            duplex.send(bytes([byte]))
        assert duplex.texts() == [f"h\u00e9 {UNICORN}", "two"]

    def test_chunks_may_be_cut_anywhere_too(self, site: MemorySite, alice: str) -> None:
        duplex = Duplex(site, token=alice)
        for byte in b"5;ext=1\r\nhello\r\n1\r\n\n\r\n0\r\nTrailer: x\r\n\r\n":
            duplex.connection.send(bytes([byte]))
        assert said(site) == ["hello"]
        assert duplex.response.complete

    def test_many_lines_in_one_chunk_are_said_in_their_order(
        self, site: MemorySite, alice: str
    ) -> None:
        duplex = Duplex(site, token=alice)
        texts = [str(number) for number in range(100)]
        duplex.send("\n".join(texts).encode() + b"\n")
        assert duplex.texts() == said(site) == texts

    def test_empty_lines_say_nothing(self, site: MemorySite, alice: str) -> None:
        duplex = Duplex(site, token=alice)
        duplex.send(b"\n\n  \n\t\r\n\r\nhi\n\n")
        assert duplex.texts() == ["hi"]
        assert duplex.of("error") == []

    def test_lines_go_to_the_first_room(self, site: MemorySite, alice: str) -> None:
        duplex = Duplex(site, token=alice, rooms="dev,lobby")
        duplex.say("hi")
        site.say("ho")
        assert said(site, "dev") == ["hi"]
        assert [event["room"] for event in duplex.of("message")] == ["dev", "lobby"]

    def test_a_rooms_text_is_its_short_address(self, site: MemorySite) -> None:
        duplex = Duplex(site, path="/rooms/dev.txt", name="alice", method="PUT")
        duplex.say("hi")
        assert duplex.texts() == said(site, "dev") == ["hi"]

    @pytest.mark.parametrize(
        "kind", ["", "application/x-www-form-urlencoded", "application/json", "image/png"]
    )
    def test_whatever_the_body_says_it_is(self, site: MemorySite, kind: str) -> None:
        headers = {"Content-Type": kind} if kind else {}
        duplex = Duplex(site, name="alice", headers=headers)
        duplex.say("a=1&b=%20")
        assert duplex.texts() == ["a=1&b=%20"]

    def test_the_backlog_comes_first(self, site: MemorySite, alice: str) -> None:
        site.fill(5)
        first = Duplex(site, token=alice, cursor=site.log.cursor(2))
        first.say("hi")
        assert first.texts() == ["said 3", "said 4", "said 5", "hi"]
        assert Duplex(site, token=alice, backlog=2).texts() == ["said 5", "hi"]

    def test_what_came_with_the_head_is_not_lost(self, site: MemorySite, alice: str) -> None:
        duplex = Duplex(site, token=alice, early=b"6\r\nearly\n\r\n0\r\n\r\n")
        assert duplex.texts() == ["early"]
        assert duplex.response.complete


class TestTheEndOfTheBody:
    @pytest.mark.parametrize("end", ["", "\n", "\r\n"])
    def test_the_last_line_needs_no_end(self, site: MemorySite, alice: str, end: str) -> None:
        body = ("one\ntwo" + end).encode()
        headers = {"Content-Length": str(len(body))}
        duplex = Duplex(site, token=alice, headers=headers)
        duplex.send(body)
        assert duplex.texts() == ["one", "two"]
        assert duplex.response.complete

    def test_the_response_ends_when_the_last_has_been_written(
        self, site: MemorySite, alice: str
    ) -> None:
        site.log.hold()
        duplex = Duplex(site, token=alice)
        duplex.send(b"hi")
        duplex.end()
        site.advance(5)
        assert not duplex.response.complete
        site.log.release()
        site.turn()
        assert duplex.texts() == ["hi"]
        assert duplex.response.complete

    @pytest.mark.parametrize("chunked", [False, True])
    def test_a_body_of_nothing_ends_at_once(
        self, site: MemorySite, alice: str, chunked: bool
    ) -> None:
        duplex = Duplex(site, token=alice, headers={} if chunked else {"Content-Length": "0"})
        if chunked:
            duplex.end()
        assert duplex.response.status == 200
        assert duplex.response.complete
        assert said(site) == []

    def test_a_length_is_read_while_it_arrives(self, site: MemorySite, alice: str) -> None:
        duplex = Duplex(site, token=alice, headers={"Content-Length": "9"})
        duplex.send(b"one\ntw")
        assert duplex.texts() == ["one"]
        assert not duplex.response.complete
        duplex.send(b"o\nx")
        assert duplex.texts() == ["one", "two", "x"]
        assert duplex.response.complete

    @pytest.mark.parametrize("chunked", [False, True])
    @pytest.mark.parametrize("rest", [b"", b"two", b" ", b"\xc3"])
    def test_half_a_connection_is_a_polite_end_but_half_a_line_is_none(
        self, site: MemorySite, alice: str, chunked: bool, rest: bytes
    ) -> None:
        headers = {} if chunked else {"Content-Length": "1000"}
        duplex = Duplex(site, token=alice, headers=headers)
        duplex.send(b"one\n" + rest)
        duplex.connection.close()
        assert said(site) == ["one"]
        assert duplex.texts() == ["one"]
        told = "! the request broke off before this line's end\n" in duplex.response.text
        assert told == bool(rest.strip())
        assert duplex.response.complete
        assert duplex.connection.closed

    def test_one_that_is_reset_has_said_its_whole_lines(self, site: MemorySite, alice: str) -> None:
        duplex = Duplex(site, token=alice)
        duplex.send(b"one\ntwo")
        duplex.leave()
        assert said(site) == ["one"]

    def test_a_peer_that_is_gone_in_the_middle_of_a_post(
        self, site: MemorySite, alice: str
    ) -> None:
        site.log.hold()
        duplex = Duplex(site, token=alice)
        duplex.say("famous last words")
        duplex.leave()
        site.log.release()
        site.turn()
        assert said(site) == ["famous last words"]
        assert site.engine.context("/chat/lobby").handlers == []  # type: ignore[union-attr]

    def test_the_end_of_one_that_still_reads_a_backlog(
        self, make_site: MakeSite, alice: str
    ) -> None:
        site = make_site(tail=10)
        site.fill(300)
        site.log.holding_reads = True
        duplex = Duplex(
            site, name="alice", cursor=site.log.cursor(0), early=b"2\r\nhi\r\n0\r\n\r\n"
        )
        while site.log.waiting_reads:
            assert not duplex.response.complete
            site.log.answer_read()
            site.turn()
        assert duplex.texts() == [*(f"said {id}" for id in range(1, 301)), "hi"]
        assert duplex.response.complete

    def test_a_request_behind_it_is_never_begun(self, site: MemorySite, alice: str) -> None:
        duplex = Duplex(site, token=alice, headers={"Content-Length": "2"})
        behind = duplex.connection.expect()
        duplex.connection.send(b"hiGET /api/v1/rooms HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n")
        assert duplex.texts() == ["hi"]
        assert duplex.response.complete
        assert duplex.response.header("connection") == "close"
        assert behind.status == 0
        assert duplex.connection.socket.server_done

    @pytest.mark.parametrize("after", [0, 4])
    def test_a_malformed_chunk_ends_it(self, site: MemorySite, alice: str, after: int) -> None:
        duplex = Duplex(site, token=alice)
        duplex.say("before")
        duplex.connection.send(b"2\r\nhi" + b"\r\n"[:after] + b"xyz\r\n")
        assert said(site)[0] == "before"
        assert duplex.connection.closed
        assert site.engine.context("/chat/lobby").handlers == []  # type: ignore[union-attr]


class TestRefusedLines:
    def test_one_that_is_too_long(self, site: MemorySite, alice: str) -> None:
        duplex = Duplex(site, token=alice)
        duplex.say("x" * 8001)
        duplex.say("x" * 8000)
        assert "! too long: 8001 of 8000 characters\n" in duplex.response.text
        assert duplex.texts() == ["x" * 8000]

    def test_characters_are_counted_and_not_bytes(self, site: MemorySite, alice: str) -> None:
        duplex = Duplex(site, token=alice)
        duplex.say(UNICORN * 8000)
        assert duplex.texts() == [UNICORN * 8000]

    @pytest.mark.parametrize("size", [MAX_LINE, MAX_LINE + 1, 3 * MAX_LINE])
    def test_one_that_is_far_too_long(self, site: MemorySite, alice: str, size: int) -> None:
        duplex = Duplex(site, token=alice)
        duplex.say("before")
        for begin in range(0, size, 4096):
            duplex.send(b"x" * min(4096, size - begin))
        duplex.send(b"\nafter\n")
        (error,) = duplex.of("error")
        assert error["detail"].startswith("too long: ")
        assert duplex.texts() == said(site) == ["before", "after"]

    def test_one_that_never_ends_costs_little(self, site: MemorySite, alice: str) -> None:
        duplex = Duplex(site, token=alice)
        body = duplex.connection.channel.requests[0].body
        for _ in range(100):
            duplex.send(b"x" * 60 * KIB)
            assert len(body._buffer) <= MAX_LINE
        duplex.send(b"\nafter\n")
        assert len(duplex.of("error")) == 1
        assert duplex.texts() == ["after"]

    def test_one_that_is_no_utf_8(self, site: MemorySite, alice: str) -> None:
        duplex = Duplex(site, token=alice)
        duplex.send(b"\xff\xfe\nafter\n")
        (error,) = duplex.of("error")
        assert error["detail"] == "not UTF-8"
        assert duplex.texts() == ["after"]

    def test_one_that_cannot_be_said(self, site: MemorySite, alice: str) -> None:
        duplex = Duplex(site, token=alice, lines=True)
        duplex.send(b"\x1b[31mred\nafter\n")
        (error,) = duplex.of("error")
        assert (error["status"], error["detail"]) == (
            400,
            "the character U+001B can't be in a message",
        )
        assert duplex.texts() == ["after"]

    def test_too_many(self, make_site: MakeSite) -> None:
        site = make_site(limits=True)
        duplex = Duplex(site, name="alice")
        for number in range(25):
            duplex.say(str(number))
        assert duplex.texts() == [str(number) for number in range(20)]
        assert len(duplex.of("error")) == 5
        assert "try again" in duplex.of("error")[0]["detail"]
        site.advance(1)
        duplex.say("later")
        assert duplex.texts()[-1] == "later"


class TestRefusals:
    def ask(self, site: MemorySite, path: str = DUPLEX, **headers: str) -> Response:
        """Ask with a body that goes on and on."""
        connection = site.connect()
        response = connection.expect("POST")
        lines = {"Host": "127.0.0.1:8080", "Transfer-Encoding": "chunked"}
        lines.update({name.replace("_", "-"): value for name, value in headers.items()})
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        connection.send(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + b"5\r\nhello\r\n")
        answered = response.status
        for _ in range(20):
            # Closing while this comes would reset the connection and destroy the answer.
            assert not connection.closed
            connection.send(b"2000\r\n" + b"x" * 8 * KIB + b"\r\n")
        assert connection.socket.to_server == b""
        assert connection.socket.server_done
        assert answered == response.status, "it was refused only when its body had come"
        connection.close()
        assert connection.closed
        assert not connection.socket.reset
        assert said(site) == []
        return response

    def test_who_has_no_session(self, site: MemorySite) -> None:
        problem(site, self.ask(site), 401, "no-session")

    def test_a_token_that_is_none(self, site: MemorySite) -> None:
        problem(site, self.ask(site, DUPLEX + "?token=nonsense"), 401, "invalid-token")

    @pytest.mark.parametrize("path", [DUPLEX + "?rooms=nowhere", "/rooms/nowhere.txt"])
    def test_a_room_that_is_not_there(self, site: MemorySite, path: str) -> None:
        problem(site, self.ask(site, path), 404, "room-not-found")

    def test_a_name_that_is_taken(self, site: MemorySite, alice: str) -> None:
        problem(site, self.ask(site, DUPLEX + "?name=Alice"), 409, "name-taken")

    def test_a_daemon_that_stops(self, site: MemorySite) -> None:
        site.chat.rights.stopping = True
        assert self.ask(site, DUPLEX + "?name=alice").status == 503
        site.chat.rights.stopping = False

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Sec_Fetch_Site": "cross-site"},
            {"Sec_Fetch_Site": "same-site"},
        ],
    )
    @pytest.mark.parametrize("who", ["name=carol", "token", "cookie"])
    def test_pages_of_other_sites(
        self, site: MemorySite, alice: str, headers: dict[str, str], who: str
    ) -> None:
        cookie = {"Cookie": f"comet_session_memory={alice}"} if who == "cookie" else {}
        query = {"token": f"token={alice}", "cookie": ""}.get(who, who)
        problem(site, self.ask(site, f"{DUPLEX}?{query}", **headers, **cookie), 403, "cross-site")

    def test_a_cookie_alone(self, site: MemorySite, alice: str) -> None:
        """A form of another site can be sent without an Origin by an old browser."""
        response = self.ask(site, Cookie=f"comet_session_memory={alice}")
        problem(site, response, 403, "cross-site")

    def test_they_do_not_linger_for_ever(self, site: MemorySite) -> None:
        connection = site.connect()
        connection.expect("POST")
        connection.send(HEAD % DUPLEX.encode())
        for _ in range(4):
            connection.send(b"5\r\nhello\r\n")
            site.advance(1)
        assert connection.closed

    def test_a_get_is_told_how(self, site: MemorySite) -> None:
        for method in ("GET", "HEAD", "DELETE"):
            response = site.request(method, DUPLEX)
            assert response.status == 405
            assert {"POST", "PUT"} <= set((response.header("allow") or "").split(", "))

    def test_who_waits_to_be_told_to_go_on_is_told(self, site: MemorySite, alice: str) -> None:
        duplex = Duplex(site, token=alice, headers={"Expect": "100-continue"})
        assert duplex.response.informational == [100]
        duplex.say("hi")
        assert duplex.texts() == ["hi"]

    def test_our_own_pages_may_use_the_cookie(self, site: MemorySite, alice: str) -> None:
        headers = {"Cookie": f"comet_session_memory={alice}", "Origin": "http://127.0.0.1:8080"}
        duplex = Duplex(site, headers=headers)
        duplex.say("hi")
        assert duplex.texts() == ["hi"]

    def test_pages_that_the_operator_named_may_use_a_token(self, make_site: MakeSite) -> None:
        site = make_site(allow_origin=("https://good.example",))
        origin = {"Origin": "https://good.example", "Sec-Fetch-Site": "cross-site"}
        duplex = Duplex(site, token=site.log_in("alice"), headers=origin)
        duplex.say("hi")
        assert duplex.texts() == ["hi"]


class TestNames:
    def test_a_guest_lives_as_long_as_the_request(self, site: MemorySite) -> None:
        duplex = Duplex(site, name="alice")
        duplex.say("hi")
        assert duplex.of("message")[0]["from"] == "alice"
        assert site.post("/api/v1/session", {"name": "alice"}).status == 409
        duplex.end()
        assert duplex.response.complete
        assert site.post("/api/v1/session", {"name": "alice"}).status == 201

    def test_as_long_as_the_connection(self, site: MemorySite) -> None:
        duplex = Duplex(site, name="alice")
        duplex.leave()
        assert site.post("/api/v1/session", {"name": "alice"}).status == 201

    def test_http_1_0_can_talk_too(self, site: MemorySite) -> None:
        headers = {"Content-Length": "3"}
        duplex = Duplex(site, name="alice", version="HTTP/1.0", headers=headers)
        duplex.send(b"hi\n")
        assert duplex.texts() == ["hi"]
        assert duplex.response.header("transfer-encoding") is None
        assert duplex.response.complete

    def test_the_end_of_a_session_ends_it(self, site: MemorySite, alice: str) -> None:
        duplex = Duplex(site, token=alice)
        site.request("DELETE", "/api/v1/session", token=alice)
        assert duplex.response.complete
        assert duplex.of("bye")[0]["reason"] == "logged out"
        duplex.say("not any more")
        assert said(site) == []

    def test_a_stop_says_where_to_go_on(self, site: MemorySite, alice: str) -> None:
        duplex = Duplex(site, token=alice)
        duplex.say("hi")
        site.stop()
        assert duplex.of("reopen")[0]["cursor"] == site.now
        assert duplex.response.complete


class TestBackPressure:
    def test_who_says_too_much_at_once_is_read_no_further(
        self, site: MemorySite, alice: str
    ) -> None:
        duplex = Duplex(site, token=alice)
        site.log.hold()
        for number in range(100):
            duplex.say(f"{number} " + "x" * 1000)
        unread = len(duplex.connection.socket.to_server)
        assert unread > (100 - MOST_WAITING - 5) * 1000, "it was read, and is held in memory"
        site.log.release()
        for _ in range(200):
            site.turn()
        assert [text.partition(" ")[0] for text in said(site)] == [str(n) for n in range(100)]
        assert len(duplex.texts()) == 100

    def test_even_when_what_she_reads_begins_to_flow_again(
        self, site: MemorySite, alice: str
    ) -> None:
        """The channel goes on reading by itself when its own buffer is empty."""
        duplex = Duplex(site, token=alice, lines=True, window=2000)
        site.log.hold()
        for number in range(MOST_WAITING + 1):
            duplex.say(f"{number} " + "x" * 1000)
        large = Event({"type": "typing", "room": "lobby", "from": "x" * 100_000})
        site.engine.context("/chat/lobby").notify(large)  # type: ignore[union-attr]
        duplex.connection.open_window(None)
        for number in range(MOST_WAITING + 1, 200):
            duplex.say(f"{number} " + "x" * 1000)
        assert len(duplex.connection.socket.to_server) > 100 * 1000
        site.log.release()
        for _ in range(400):
            site.turn()
        assert len(duplex.texts()) == 200

    def test_what_comes_before_it_is_known_who_speaks_is_bounded(
        self, site: MemorySite, alice: str
    ) -> None:
        connection = site.connect()
        connection.expect("POST")
        site.log.holding_reads = True
        path = f"{DUPLEX}?token={alice}&backlog=5"
        connection.send(HEAD % path.encode())
        assert site.log.waiting_reads == 1
        for _ in range(MAX_BODY // (8 * KIB) + 2):
            connection.send(b"2000\r\n" + b"x" * 8 * KIB + b"\r\n")
        assert connection.closed or len(connection.channel.requests[0].body._buffer) <= MAX_BODY

    def test_what_she_types_is_progress(
        self, make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site = make_site(expiration_delay=60)
        fake_kernel(monkeypatch, site)
        typing = Duplex(site, name="typing")
        silent = Duplex(site, name="silent")
        for duplex in (typing, silent):
            duplex.connection.socket.acknowledges = False
        for _ in range(10):
            site.advance(10)
            typing.say("x")
        assert silent.connection.closed
        assert not typing.connection.closed
