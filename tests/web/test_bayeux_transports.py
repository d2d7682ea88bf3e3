"""Bayeux by each transport: the same conversation, whichever way it travels."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from tests.memory import MakeSite, MemorySite
from tests.web.bayeux import CROSS, FOREIGN, KINDS, LONG, SCRIPT, SOCKET, STREAM, Client, Line
from tests.web.talkers import HANDSHAKE as UPGRADE
from tests.web.talkers import TEXT, client_frame


@pytest.fixture
def site(make_site: MakeSite) -> MemorySite:
    return make_site(allow_origin=(FOREIGN,), bayeux_channels=("/app/**",))


@pytest.mark.parametrize("kind", KINDS)
def test_from_handshake_to_disconnect(site: MemorySite, kind: str) -> None:
    alice = Client(site, kind, name="alice").joined("/chat/lobby", "/app/news")
    bob = Client(site, LONG, name="bob").joined("/chat/lobby", "/app/**")
    assert alice.say("hi")["successful"]
    assert bob.say("hello")["successful"]
    assert alice.ask("/app/news", data={"n": 1})["successful"]
    assert alice.texts == bob.texts == ["hi", "hello"]
    for client in (alice, bob):
        assert client.delivered[-1] == {"channel": "/app/news", "data": {"n": 1}}
        first = client.delivered[0]
        assert set(first) == {"channel", "data", "ext"}
        assert list(first["data"]) == ["id", "room", "from", "text", "at"]
        assert first["data"]["from"] == "alice"
    assert alice.ask("/meta/disconnect")["successful"]
    if kind == SOCKET:
        assert alice.line is not None
        assert alice.line.close_code() == 1000
    else:
        assert alice.say("gone")["error"].startswith("402:")


@pytest.mark.parametrize("kind", KINDS)
def test_ids_and_order_are_those_of_every_transport(site: MemorySite, kind: str) -> None:
    alice = Client(site, kind, name="alice").joined("/chat/lobby", "/chat/dev")
    said = []
    for number in range(30):
        room = ("lobby", "dev")[number % 2]
        if number % 3:
            said.append(site.say(f"n{number}", room)["id"])
        else:
            alice.say(f"n{number}", room)
            (*_, last) = site.get(f"/api/v1/rooms/{room}/messages").json()["messages"]
            said.append(last["id"])
    assert [each["data"]["id"] for each in alice.delivered] == said
    assert alice.texts == [f"n{number}" for number in range(30)]
    (*_, newest) = site.get("/api/v1/rooms/lobby/messages").json()["messages"]
    shown = [each for each in alice.delivered if each["data"]["id"] == newest["id"]]
    fields = ("id", "room", "from", "text", "at")
    assert shown[0]["data"] == {name: newest[name] for name in fields}
    assert shown[0]["ext"] == {"cursor": newest["cursor"]}


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_lost_on_the_way_comes_again(site: MemorySite, kind: str) -> None:
    alice = Client(site, kind, name="alice").joined("/chat/lobby")
    site.say("one")
    assert alice.texts == ["one"]
    site.advance(5)
    assert alice.texts == ["one"]
    alice.leave()
    site.say("two")
    alice.connection = site.connect()
    alice.held = alice.line = None
    if kind == STREAM:
        alice.open_line(last=1)
    alice.connect()
    assert alice.texts == ["one", "two"]


class TestLongPolling:
    @pytest.mark.parametrize(
        "kind",
        ["application/json", "application/json;charset=UTF-8", "text/json", None, "text/plain"],
    )
    @pytest.mark.parametrize("path", ["/cometd", "/cometd/", "/cometd/handshake", "/cometd/a/b"])
    def test_paths_and_types(self, site: MemorySite, kind: str | None, path: str) -> None:
        headers = {} if kind is None else {"Content-Type": kind}
        body = b'{"channel": "/meta/handshake"}'
        response = site.request("POST", path, headers=headers, body=body)
        assert response.status == 200
        assert response.json()[0]["successful"] is True

    @pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", None])
    def test_forms(self, site: MemorySite, kind: str | None) -> None:
        headers = {} if kind is None else {"Content-Type": kind}
        message = quote('[{"channel": "/meta/handshake", "id": "\u2603"}]')
        body = f"message={message}".encode()
        response = site.request("POST", "/cometd", headers=headers, body=body)
        assert response.json()[0]["id"] == "\u2603"

    @pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", None])
    def test_several_messages_in_a_form(self, site: MemorySite, kind: str | None) -> None:
        headers = {} if kind is None else {"Content-Type": kind}
        shake = '{"channel": "/meta/handshake", "id": "%s"}'
        parts = [shake % "1", f"[{shake % 2}, {shake % 3}]", "[]", shake % "4"]
        body = "_=17&" + "&".join(f"message={quote(part)}" for part in parts) + "&other=&x=1&"
        response = site.request("POST", "/cometd", headers=headers, body=body.encode())
        assert [each["id"] for each in response.json()] == ["1", "2", "3", "4"]

    def test_several_messages_together_have_the_bounds_of_one(self, site: MemorySite) -> None:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        for part in ("[" + "{}," * 2999 + "{}]", '["' + "x" * 140_000 + '"]'):
            body = f"message={part}&message={part}".encode()
            response = site.request("POST", "/cometd", headers=headers, body=body)
            assert response.status == 413, response.text
        body = b"message=[]&message=nonsense"
        assert site.request("POST", "/cometd", headers=headers, body=body).status == 400

    @pytest.mark.parametrize(
        ("kind", "before"),
        [
            ("application/json", ""),
            ("text/plain", ""),
            ("application/x-www-form-urlencoded", "message="),
            ("text/plain", "message="),
            ("application/x-www-form-urlencoded", "message=%EF%BB%BF"),
        ],
    )
    def test_a_byte_order_mark_is_no_part_of_it(
        self, site: MemorySite, kind: str, before: str
    ) -> None:
        mark = "" if "%" in before else "\ufeff"
        body = (mark + before + '{"channel":"/meta/handshake"}').encode()
        response = site.request("POST", "/cometd", headers={"Content-Type": kind}, body=body)
        assert response.json()[0]["successful"] is True

    def test_a_later_reply_that_waits_repeats_no_earlier_one(self, site: MemorySite) -> None:
        alice = Client(site, name="alice").joined("/chat/lobby")
        connect = alice.full({"channel": "/meta/connect", "connectionType": LONG})
        answer = alice.post(connect, connection=alice.connection)
        site.say("one")
        assert alice.read(answer)[0]["data"]["text"] == "one"
        alice.connection.open_window(0)
        message = alice.full({"channel": "/chat/lobby", "data": {"text": "two"}})
        alice.post(message, connection=alice.connection)
        alice.connect()
        assert alice.texts == ["two"]

    def test_other_encodings(self, site: MemorySite) -> None:
        body = '[{"channel": "/meta/handshake", "id": "\u03b1"}]'.encode("iso-8859-7")
        headers = {"Content-Type": "application/json; charset=ISO-8859-7"}
        response = site.request("POST", "/cometd", headers=headers, body=body)
        assert response.json()[0]["id"] == "\u03b1"

    @pytest.mark.parametrize(
        ("body", "kind", "status"),
        [
            (b"", "application/json", 400),
            (b"nonsense", "application/json", 400),
            (b'"text"', "application/json", 400),
            (b"[1]", "application/json", 400),
            (b"null", "application/json", 400),
            (b'[{"channel": "\xff"}]', "application/json", 400),
            (b"[" * 100_000, "application/json", 400),
            (b"message=%ff", "application/x-www-form-urlencoded", 400),
            (b"message=nonsense", "text/plain", 400),
            (b"other=1", "application/x-www-form-urlencoded", 415),
            (b"[]", "text/xml", 415),
            (b"[]", "application/json; charset=zip", 415),
            (b"[]", "application/json; charset=punycode", 415),
            (b"\x00\xff", "application/json; charset=us-ascii", 400),
            (b"[" + b"{}," * 6000 + b"{}]", "application/json", 413),
            (b" " * (256 * 1024 + 1), "application/json", 413),
        ],
    )
    def test_what_is_no_payload(
        self, site: MemorySite, body: bytes, kind: str, status: int
    ) -> None:
        response = site.request("POST", "/cometd", headers={"Content-Type": kind}, body=body)
        assert response.status == status
        assert response.header("content-type") == "application/problem+json"

    def test_nothing_asked_is_nothing_answered(self, site: MemorySite) -> None:
        assert site.post("/cometd", []).json() == []

    def test_other_methods(self, site: MemorySite) -> None:
        assert site.request("PUT", "/cometd", body=b"").status == 405
        assert site.get("/cometd").status == 400
        response = site.request("OPTIONS", "/cometd")
        assert response.status == 204
        assert response.header("allow") == "GET, POST, OPTIONS"

    def test_a_poll_is_answered_in_time(self, site: MemorySite) -> None:
        alice = Client(site, name="alice")
        held = alice.held
        assert held is not None
        assert not held.complete
        assert 'held_requests{transport="bayeux-long-polling"} 1.0' in site.metrics
        site.advance(26)
        (reply,) = alice.read(held)
        assert reply["successful"]
        assert 'held_requests{transport="bayeux-long-polling"} 0.0' in site.metrics

    def test_many_requests_on_one_connection(self, site: MemorySite) -> None:
        connection = site.connect()
        for _ in range(3):
            response = connection.request("POST", "/cometd", json={"channel": "/meta/handshake"})
            assert response.json()[0]["successful"]


class TestCallbackPolling:
    def test_the_function_has_a_default(self, site: MemorySite) -> None:
        response = site.get("/cometd?message=" + quote('{"channel":"/meta/handshake"}'))
        assert response.text.startswith("/**/jsonpcallback([{")

    @pytest.mark.parametrize("name", ["alert(1)", "a" * 65, "a-b", "", "a;b", "<script>"])
    def test_it_is_a_name(self, site: MemorySite, name: str) -> None:
        assert site.get(f"/cometd?message=[]&jsonp={quote(name)}").status == 400

    def test_nothing_ends_the_script(self, site: MemorySite) -> None:
        alice = Client(site, SCRIPT, name="alice").joined("/chat/lobby")
        site.say("</script>\u2028x")
        assert alice.held is not None
        assert b"</script>" not in alice.held.body
        assert "\u2028".encode() not in alice.held.body
        assert alice.texts == ["</script>\u2028x"]

    def test_cookies_count_for_nothing(self, site: MemorySite) -> None:
        jar = {"comet_session_memory": site.log_in("alice"), "BAYEUX_BROWSER": "b" * 40}
        client = Client(site, SCRIPT, jar=jar)
        assert client.shook["ext"]["authentication"]["name"] != "alice"
        assert client.jar == jar

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({}, 200),
            ({"Sec-Fetch-Site": "same-origin"}, 200),
            ({"Referer": "http://127.0.0.1:8080/page"}, 200),
            ({"Sec-Fetch-Site": "cross-site", "Referer": f"{FOREIGN}/page"}, 200),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"Sec-Fetch-Site": "cross-site", "Referer": "https://evil.example/"}, 403),
            ({"Referer": "https://evil.example/"}, 403),
            # A page that asks for no Referer, over plain HTTP, where browsers say nothing else.
            ({"Host": "192.0.2.1:8080"}, 403),
            ({"Host": "192.0.2.1:8080", "Referer": "http://192.0.2.1:8080/"}, 200),
            ({"Host": "192.0.2.1:8080", "Sec-Fetch-Site": "same-origin"}, 200),
            ({"Host": "localhost:8080"}, 200),
        ],
    )
    def test_pages_of_other_sites(
        self, site: MemorySite, headers: dict[str, str], status: int
    ) -> None:
        path = "/cometd?message=" + quote('{"channel":"/meta/handshake"}')
        assert site.get(path, headers=headers).status == status


class TestWebSocket:
    def test_a_socket_without_the_cookie_uses_a_session_from_a_post(self, site: MemorySite) -> None:
        # Faye opens its socket first, and handshakes by a POST.
        line = Line(site, "/cometd", UPGRADE, "192.0.2.7")
        site.advance(0.5)
        alice = Client(site, LONG, name="alice", start=False)
        alice.handshake()
        alice.kind, alice.line = SOCKET, line
        alice.connect()
        alice.connect()
        alice.joined("/chat/lobby")
        site.say("hi")
        assert alice.texts == ["hi"]

    @pytest.mark.parametrize(
        ("frame", "code"),
        [
            (client_frame(TEXT, b"nonsense"), 1007),
            (client_frame(TEXT, b"[1]"), 1007),
            (client_frame(TEXT, b"\xff"), 1007),
            (client_frame(TEXT, b"[" + b"{}," * 6000 + b"{}]"), 1009),
            (client_frame(TEXT, b" " * (256 * 1024 + 1)), 1009),
            (client_frame(0x2, b"[]"), 1003),
            (client_frame(0x8, b"\x03\xe8"), 1000),
        ],
    )
    def test_what_is_no_payload_closes_it(self, site: MemorySite, frame: bytes, code: int) -> None:
        alice = Client(site, SOCKET, name="alice")
        assert alice.line is not None
        alice.line.connection.send(frame)
        assert alice.line.close_code() == code

    @pytest.mark.parametrize("bad", ["7", '{"channel": "/app/x", "data": "\\ud83d"}'])
    def test_what_is_no_message_is_refused_alone(self, site: MemorySite, bad: str) -> None:
        alice = Client(site, SOCKET, name="alice").joined("/app/x")
        assert alice.line is not None
        good = json.dumps(alice.full({"channel": "/app/x", "data": 1}))
        alice.line.connection.send(client_frame(TEXT, f"[{bad},{good}]".encode()))
        refused, published, delivered = alice.line.messages()[-3:]
        assert refused["error"].endswith(":message_invalid")
        assert published["successful"]
        assert delivered["data"] == 1

    def test_a_large_message_and_bare_ones(self, site: MemorySite) -> None:
        alice = Client(site, SOCKET, name="alice").joined("/app/big")
        text = "x" * 200_000
        assert alice.ask("/app/big", data=text)["successful"]
        assert alice.delivered[0]["data"] == text
        assert alice.line is not None
        alice.line.connection.send(client_frame(TEXT, b"[]"))
        assert alice.line.frames[-1] == (TEXT, b"[]")
        bare = {"channel": "/app/big", "data": 1, "clientId": alice.id, "id": 7}
        alice.line.connection.send(client_frame(TEXT, json.dumps(bare).encode()))
        assert alice.delivered[-1]["data"] == 1

    def test_an_answered_ping_confirms(self, site: MemorySite) -> None:
        alice = Client(site, SOCKET, name="alice").joined("/chat/lobby")
        site.say("one")
        assert alice.texts == ["one"]
        site.advance(2)
        assert alice.texts == ["one"]
        alice.leave()
        site.say("two")
        alice.open_line()
        alice.connect()
        assert alice.texts == ["one", "two"]

    def test_one_that_answers_none_gets_it_again(self, site: MemorySite) -> None:
        alice = Client(site, SOCKET, name="alice").joined("/chat/lobby")
        assert alice.line is not None
        alice.line.answers_pings = False
        site.say("one")
        site.advance(2)
        assert alice.texts == ["one"]
        alice.leave()
        alice.open_line()
        alice.connect()
        assert alice.texts == ["one", "one"]

    def test_a_busy_room_does_not_stall(self, make_site: MakeSite) -> None:
        site = make_site(tail=100)
        alice = Client(site, SOCKET, name="alice").joined("/chat/lobby")
        for _ in range(9):
            site.fill(600)
            assert alice.texts
        assert alice.texts == [f"said {number}" for number in range(1, 5401)]

    def test_one_that_reads_nothing_is_bounded(self, site: MemorySite) -> None:
        alice = Client(site, SOCKET, name="alice").joined("/chat/lobby")
        assert alice.line is not None
        alice.line.connection.open_window(0)
        for _ in range(15):
            site.fill(100, text="x" * 1000 + "{}")
        assert alice.line.connection.buffered < 3 * 256 * 1024
        alice.line.connection.open_window(None)
        for _ in range(10):
            site.advance(1)
            alice.pump()
        assert [int(each[1000:]) for each in alice.texts] == list(range(1, 1501))

    def test_protocols_and_cookies(self, site: MemorySite) -> None:
        lines = {**UPGRADE, "Sec-WebSocket-Protocol": "faye-websocket, other"}
        head = Line(site, "/cometd", lines, "192.0.2.7").head
        assert "Sec-WebSocket-Protocol: faye-websocket\r\n" in head + "\r\n"
        lines["Sec-WebSocket-Protocol"] = "faye-websocket, comet.v1"
        head = Line(site, "/cometd", lines, "192.0.2.7").head
        assert "Sec-WebSocket-Protocol: comet.v1\r\n" in head + "\r\n"
        # Not the name that a handshake by POST uses: it would take the place of that.
        assert "Set-Cookie: BAYEUX_SOCKET=" in head
        for name in ("BAYEUX_BROWSER", "BAYEUX_SOCKET"):
            lines = {**UPGRADE, "Cookie": f"{name}=" + "a" * 40}
            assert "Set-Cookie" not in Line(site, "/cometd", lines, "192.0.2.7").head

    @pytest.mark.parametrize(
        ("origin", "status"),
        [("https://evil.example", "403"), (FOREIGN, "101"), ("http://127.0.0.1:8080", "101")],
    )
    def test_pages_of_other_sites(self, site: MemorySite, origin: str, status: str) -> None:
        connection = site.connect()
        lines = {**UPGRADE, "Origin": origin}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        if status != "101":
            response = connection.expect()
        connection.send(f"GET /cometd HTTP/1.1\r\n{head}\r\n".encode())
        if status == "101":
            assert connection.surplus.startswith(b"HTTP/1.1 101 ")
        else:
            assert response.status == 403


class TestEventSource:
    def test_the_form(self, site: MemorySite) -> None:
        alice = Client(site, STREAM, name="alice").joined("/chat/lobby")
        assert alice.delivered == []
        assert alice.connects[-1]["advice"]["interval"] == 25000
        site.say("hi")
        assert alice.line is not None
        assert alice.line.response is not None
        response = alice.line.response
        assert response.header("content-type") == "text/event-stream"
        event, rest = response.text.split("\n\n")
        assert event.startswith("retry: 2000\nid: 1\ndata: [{")
        assert rest == ""
        site.say("ho")
        assert response.text.count("retry:") == 1
        site.advance(16)
        assert response.text.endswith("\n\n:\n\n")

    def test_a_browser_that_comes_back_says_what_it_has(self, site: MemorySite) -> None:
        alice = Client(site, STREAM, name="alice").joined("/chat/lobby")
        site.say("one")
        site.say("two")
        assert alice.texts == ["one", "two"]
        alice.leave()
        alice.open_line(last=1)
        site.turn()
        assert alice.texts == ["one", "two", "two"]

    def test_a_script_that_stands_in_for_it_says_it_in_the_address(self, site: MemorySite) -> None:
        alice = Client(site, STREAM, name="alice").joined("/chat/lobby")
        site.say("one")
        site.say("two")
        alice.leave()
        path = f"/cometd/{alice.id}?lastEventId=0&lastEventId=1"
        cookie = f"BAYEUX_BROWSER={alice.jar['BAYEUX_BROWSER']}"
        response = site.get(path, headers={"Accept": "text/event-stream", "Cookie": cookie})
        alice.connect()
        assert '"two"' in response.text
        assert '"one"' not in response.text

    def test_an_unknown_client_is_told_to_shake_hands(self, site: MemorySite) -> None:
        response = site.get("/cometd/nobody", headers={"Accept": "text/event-stream"})
        assert response.complete
        [told] = json.loads(response.text.removeprefix("data: "))
        assert told["error"] == "402::session_unknown"
        assert told["advice"]["reconnect"] == "handshake"

    def test_it_ends_with_its_session(self, site: MemorySite) -> None:
        alice = Client(site, STREAM, name="alice")
        assert alice.ask("/meta/disconnect")["successful"]
        assert alice.line is not None
        assert alice.line.response is not None
        assert alice.line.response.complete


class TestOtherOrigins:
    def test_a_preflight(self, site: MemorySite) -> None:
        asked = {
            "Origin": FOREIGN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type,pragma",
        }
        response = site.request("OPTIONS", "/cometd/handshake", headers=asked)
        assert response.status == 204
        assert response.header("access-control-allow-origin") == FOREIGN
        assert response.header("access-control-allow-credentials") == "true"
        allowed = (response.header("access-control-allow-headers") or "").split(", ")
        assert {"content-type", "pragma"} <= set(allowed)

    def test_a_page_that_may(self, site: MemorySite) -> None:
        alice = Client(site, LONG, name="alice", headers={"Origin": FOREIGN})
        response = alice.post(
            {"channel": "/chat/lobby", "clientId": alice.id, "data": {"text": "x"}}
        )
        assert response.header("access-control-allow-origin") == FOREIGN
        assert response.header("access-control-allow-credentials") == "true"
        assert alice.jar == {}

    def test_its_cookies_count_for_nothing(self, site: MemorySite) -> None:
        jar = {"comet_session_memory": site.log_in("alice")}
        client = Client(site, CROSS, jar=jar)
        assert client.shook["ext"]["authentication"]["name"] != "alice"

    def test_a_page_that_may_not(self, site: MemorySite) -> None:
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            response = site.post("/cometd", {"channel": "/meta/handshake"}, headers=headers)
            assert response.status == 403
            assert response.header("access-control-allow-origin") is None

    def test_credentials_are_for_bayeux_alone(self, site: MemorySite) -> None:
        response = site.get("/api/v1/rooms", headers={"Origin": FOREIGN})
        assert response.header("access-control-allow-origin") == FOREIGN
        assert response.header("access-control-allow-credentials") is None
