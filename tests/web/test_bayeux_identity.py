"""Who a Bayeux client is, what she may, and what ends with whom."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from cometd_chat.bayeux.binding import UNDER_WAY
from cometd_chat.chat.limits import HELD
from cometd_chat.chat.local_limits import LocalLimits
from tests.memory import MakeSite, MemorySite
from tests.net import ADDRESS
from tests.web.bayeux import FOREIGN, LONG, SOCKET, Client, Line, cookie_header
from tests.web.test_bayeux_rooms import people

OURS = "http://127.0.0.1:8080"
EVENTS = {"Accept": "text/event-stream"}


@pytest.fixture
def site(make_site: MakeSite) -> MemorySite:
    return make_site(bayeux_channels=("/app/**",))


@pytest.fixture
def limited(make_site: MakeSite) -> MemorySite:
    return make_site(limits=True, bayeux_channels=("/app/**",))


def name_of(client: Client) -> str:
    """What a client's handshake was told about her name."""
    name: str = client.shook["ext"]["authentication"]["name"]
    return name


def refusal(site: MemorySite, **authentication: Any) -> str:
    """Why a handshake is refused, for good."""
    reply = Client(site, start=False, **authentication).handshake()
    assert reply["successful"] is False
    assert reply["advice"] == {"reconnect": "none", "interval": 0}
    error: str = reply["error"]
    return error


class TestHandshake:
    def test_a_token(self, site: MemorySite) -> None:
        alice = Client(site, token=site.log_in("alice"))
        assert alice.shook["ext"]["authentication"] == {"name": "alice", "role": "guest"}
        alice.say("hi")
        (said,) = site.get("/api/v1/rooms/lobby/messages").json()["messages"]
        assert said["from"] == "alice"

    def test_the_cookie_and_bearer(self, site: MemorySite) -> None:
        token = site.log_in("alice")
        assert name_of(Client(site, jar={"comet_session_memory": token})) == "alice"
        assert name_of(Client(site, headers={"Authorization": f"Bearer {token}"})) == "alice"
        assert name_of(Client(site, SOCKET, jar={"comet_session_memory": token})) == "alice"

    def test_a_token_goes_before_the_cookie(self, site: MemorySite) -> None:
        jar = {"comet_session_memory": site.log_in("alice")}
        assert name_of(Client(site, jar=jar, token=site.log_in("bob"))) == "bob"

    def test_a_name(self, site: MemorySite) -> None:
        alice = Client(site, name="alice")
        assert name_of(alice) == "alice"
        assert site.get("/api/v1/rooms", token=alice.token).status == 200

    def test_a_name_that_is_made_up(self, site: MemorySite) -> None:
        names = {name_of(Client(site)) for _ in range(3)}
        assert len(names) == 3
        assert all(name.startswith("guest-") for name in names)

    def test_refusals(self, site: MemorySite) -> None:
        site.log_in("alice")
        assert refusal(site, token="nonsense").startswith("401:")
        assert refusal(site, name="alice").startswith("409:")
        assert refusal(site, name="<b>").startswith("400:")
        assert refusal(site, name="").startswith("400:")

    def test_a_cookie_that_is_no_good_is_as_good_as_none(self, site: MemorySite) -> None:
        client = Client(site, jar={"comet_session_memory": "old"})
        assert name_of(client).startswith("guest-")
        assert client.say("hi")["successful"]

    def test_a_wrong_bearer_is_refused(self, site: MemorySite) -> None:
        client = Client(site, start=False, headers={"Authorization": "Bearer wrong"})
        assert client.handshake()["error"].startswith("401:")

    def test_a_form_proves_nothing(self, site: MemorySite) -> None:
        # Without an Origin it may be any page's: the cookie does not count.
        token = site.log_in("alice")
        headers = {"Content-Type": "text/plain", "Cookie": f"comet_session_memory={token}"}
        body = b'message={"channel":"/meta/handshake"}'
        (reply,) = site.request("POST", "/cometd", headers=headers, body=body).json()
        assert reply["ext"]["authentication"]["name"] != "alice"

    def test_another_name_for_a_session_that_lost_its_own(self, site: MemorySite) -> None:
        alice = Client(site, name="alice")
        alice.ask("/meta/disconnect")
        site.log_in("alice")
        assert refusal(site, token=alice.token).startswith("409:")
        assert name_of(Client(site, token=alice.token, name="alice2")) == "alice2"


class TestGuests:
    def test_her_name_is_free_when_she_has_gone(self, site: MemorySite) -> None:
        alice = Client(site, name="alice")
        assert refusal(site, name="alice").startswith("409:")
        alice.ask("/meta/disconnect")
        assert name_of(Client(site, name="alice")) == "alice"

    def test_or_when_she_is_not_heard_of(self, site: MemorySite) -> None:
        Client(site, name="alice").leave()
        site.advance(70)
        assert name_of(Client(site, name="alice")) == "alice"

    def test_a_page_that_is_loaded_again_has_the_same_guest(self, site: MemorySite) -> None:
        jar: dict[str, str] = {}
        first = Client(site, name="alice", jar=jar)
        first.say("one")
        first.leave()
        second = Client(site, name="alice", jar=jar)
        second.say("two")
        assert name_of(second) == "alice"
        assert refusal(site, name="alice").startswith("409:")

    def test_so_has_one_that_knows_sockets_only(self, site: MemorySite) -> None:
        """It shakes hands by its socket, whose answer is the only one that can set a cookie."""
        jar: dict[str, str] = {}
        first = Client(site, SOCKET, name="ada", start=False)
        first.open_line()
        assert first.line is not None
        lines = [line for line in first.line.head.split("\r\n") if line.startswith("Set-Cookie:")]
        (line,) = lines
        name, _, value = line.removeprefix("Set-Cookie: ").partition(";")[0].partition("=")
        jar[name] = value
        first.handshake()
        again = Client(site, SOCKET, jar=jar, name="ada")
        assert again.shook["successful"], again.shook
        assert name_of(again) == "ada"

    def test_after_a_kill_her_name_is_free(self, make_site: MakeSite) -> None:
        site = make_site()
        alice = Client(site, name="alice")
        again = make_site(log=site.log, directory=site.directory)
        assert name_of(Client(again, name="alice")) == "alice"
        assert refusal(again, token=alice.token).startswith("409:")

    def test_with_her_token_she_is_who_she_was(self, site: MemorySite) -> None:
        alice = Client(site, name="alice")
        alice.ask("/meta/disconnect")
        assert name_of(Client(site, token=alice.token)) == "alice"


class TestWhatEnds:
    @pytest.mark.parametrize("kind", [LONG, SOCKET])
    def test_to_log_out_ends_it(self, site: MemorySite, kind: str) -> None:
        token = site.log_in("alice")
        alice = Client(site, kind, token=token).joined("/chat/lobby")
        other = Client(site, kind, token=token)
        assert site.request("DELETE", "/api/v1/session", token=token).status == 204
        for client in (alice, other):
            client.pump()
            advice = [each["advice"] for each in client.connects]
            assert kind == SOCKET or advice[-1] == {"reconnect": "none", "interval": 0}
            assert kind == LONG or (client.line is not None and client.line.close_code() == 1000)
        assert people(site, "lobby") == []
        assert refusal(site, token=token).startswith("401:")

    def test_a_name_is_kept_as_long_as_a_client_is_there(self, site: MemorySite) -> None:
        alice = Client(site, token=site.log_in("alice"))
        for _ in range(100):
            site.advance(20)
            alice.pump()
        alice.connection = site.connect()
        assert alice.say("hi")["successful"]

    def test_a_session_that_holds_nothing_loses_it(self, site: MemorySite) -> None:
        token = site.log_in("alice")
        Client(site, token=token).ask("/meta/disconnect")
        site.advance(1000)
        assert site.log_in("alice")


class TestBinding:
    def test_the_cookie_of_a_socket_takes_no_others_place(self, site: MemorySite) -> None:
        """Faye asks for a socket beside her handshake: its cookie may come after that one's."""
        alice = Client(site, name="alice")
        alice.jar["BAYEUX_SOCKET"] = "b" * 40
        assert alice.say("hi")["successful"]
        thief = Client(site, start=False, jar={"BAYEUX_SOCKET": "b" * 40})
        thief.id = alice.id
        assert thief.say("I am alice")["error"].startswith("402:")

    def test_a_returned_cookie_is_asked_for(self, site: MemorySite) -> None:
        alice = Client(site, name="alice")
        assert alice.jar
        thief = Client(site, start=False)
        thief.id = alice.id
        assert thief.say("I am alice")["error"].startswith("402:")
        thief.jar = {"BAYEUX_BROWSER": "f" * 40}
        assert thief.say("I am alice")["error"].startswith("402:")
        assert alice.say("hi")["successful"]

    def test_a_token_is_asked_for(self, site: MemorySite) -> None:
        token = site.log_in("alice")
        alice = Client(site, headers={"Authorization": f"Bearer {token}"})
        thief = Client(site, start=False, jar=alice.jar)
        thief.id = alice.id
        assert thief.say("I am alice")["error"].startswith("402:")

    def test_one_without_cookies_goes_on(self, site: MemorySite) -> None:
        alice = Client(site, name="alice", start=False)
        alice.handshake()
        for _ in range(3):
            alice.jar.clear()
            assert alice.say("hi")["successful"]

    @pytest.mark.parametrize(
        ("headers", "attributes"),
        [
            # Ruby's: its cookie library takes no attribute that it does not know.
            ({"User-Agent": "EventMachine HttpClient"}, ""),
            ({}, ""),
            ({"User-Agent": "Mozilla/5.0 (X11; Linux)"}, "; SameSite=Lax"),
            ({"Origin": "http://127.0.0.1:8080"}, "; SameSite=Lax"),
            ({"Sec-Fetch-Site": "same-origin"}, "; SameSite=Lax"),
            ({"Sec-Fetch-Mode": "cors"}, "; SameSite=Lax"),
        ],
    )
    def test_the_cookie(self, site: MemorySite, headers: dict[str, str], attributes: str) -> None:
        handshake = {"channel": "/meta/handshake"}
        response = site.post("/cometd", handshake, headers=headers)
        (cookie,) = response.headers["set-cookie"]
        assert cookie.startswith("BAYEUX_BROWSER=")
        assert cookie.endswith(f"; Path=/cometd; HttpOnly{attributes}")
        response = site.post("/cometd", {"channel": "/meta/connect"})
        assert "set-cookie" not in response.headers

    def test_many_tabs(self, site: MemorySite) -> None:
        jar: dict[str, str] = {}
        tabs = [Client(site, jar=jar) for _ in range(6)]
        held = [tab.held is not None and not tab.held.complete for tab in tabs]
        assert held == [True] * 4 + [False] * 2
        tabs[5].pump()
        assert tabs[5].connects[-1]["advice"]["multiple-clients"] is True


class TestPagesOfOtherSites:
    """Those that the operator named bring a token: the browser's cookies never count for them."""

    THEIRS: ClassVar = {"Origin": FOREIGN, "Sec-Fetch-Site": "cross-site"}

    @pytest.fixture
    def site(self, make_site: MakeSite) -> MemorySite:
        return make_site(allow_origin=(FOREIGN,))

    @pytest.mark.parametrize("kind", [LONG, SOCKET])
    def test_the_session_of_the_cookie_is_not_theirs(self, site: MemorySite, kind: str) -> None:
        jar = {"comet_session_memory": site.log_in("alice")}
        theirs = Client(site, kind, jar=dict(jar), headers=self.THEIRS, start=False)
        ours = Client(site, kind, jar=dict(jar), headers={"Origin": OURS}, start=False)
        assert theirs.handshake()["successful"]
        assert ours.handshake()["successful"]
        assert name_of(theirs) != "alice"
        assert name_of(ours) == "alice"

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({}, 200),
            ({"Origin": OURS}, 200),
            ({"Origin": FOREIGN}, 200),
            ({"Origin": "https://evil.example"}, 403),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
        ],
    )
    def test_event_streams(self, site: MemorySite, headers: dict[str, str], status: int) -> None:
        alice = Client(site, name="alice", start=False)
        alice.handshake()
        stream = Line(site, f"/cometd/{alice.id}", {**EVENTS, **headers}, ADDRESS)
        assert stream.response is not None
        assert stream.response.status == status

    def test_the_browser_of_the_cookie_is_not_theirs(self, site: MemorySite) -> None:
        alice = Client(site, name="alice").joined("/chat/lobby")
        alice.leave()
        # The cookie of her handshake may be on its way for as long.
        site.advance(UNDER_WAY + 1)
        headers = {**EVENTS, **cookie_header(alice.jar)}
        theirs = Line(site, f"/cometd/{alice.id}", {**headers, **self.THEIRS}, ADDRESS)
        ours = Line(site, f"/cometd/{alice.id}", {**headers, "Origin": OURS}, ADDRESS)
        assert theirs.response is not None
        assert ours.response is not None
        assert "402:" in theirs.response.text
        assert "402:" not in ours.response.text


class TestLimits:
    def test_posts(self, limited: MemorySite) -> None:
        alice = Client(limited, name="alice").joined("/app/x")
        errors = [alice.say("hi").get("error", "") for _ in range(15)]
        errors += [alice.ask("/app/x", data=1).get("error", "") for _ in range(10)]
        assert errors[:20] == [""] * 20
        assert all(each.startswith("429:") for each in errors[21:])
        limited.advance(1)
        assert alice.say("hi")["successful"]

    def test_text(self, limited: MemorySite) -> None:
        alice = Client(limited, name="alice")
        errors = [alice.ask("/app/x", data="x" * 20_000).get("error", "") for _ in range(4)]
        assert [each[:4] for each in errors] == ["", "", "", "429:"]

    def test_sessions(self, limited: MemorySite) -> None:
        replies = [Client(limited, start=False).handshake() for _ in range(32)]
        assert replies[29]["successful"]
        assert replies[31]["error"].startswith("429:")
        assert replies[31]["advice"]["reconnect"] == "handshake"
        assert replies[31]["advice"]["interval"] > 0

    def test_handshakes(self, limited: MemorySite) -> None:
        token = limited.log_in("alice")
        replies = []
        for _ in range(302):
            client = Client(limited, start=False, token=token)
            replies.append(client.handshake())
            client.connection.close()
        assert replies[299]["successful"]
        assert replies[301]["error"].startswith("429:")

    @pytest.mark.parametrize("kind", [LONG, SOCKET])
    def test_held_requests(self, limited: MemorySite, kind: str) -> None:
        token = limited.log_in("alice")
        clients = []
        limited.connections[-1].close()
        limits = limited.chat.limits
        assert isinstance(limits, LocalLimits)
        for _ in range(10):
            before = len(limited.connections)
            client = Client(limited, kind, token=token)
            client.pump()
            clients.append(client)
            # What it holds is the last; an address has no more connections than held requests.
            for connection in limited.connections[before:-1]:
                connection.close()
        # Each counts once; as if 240 others did.
        assert limits.held[HELD][ADDRESS] == 10
        limits.held[HELD][ADDRESS] += 240
        readers = [limited.get("/api/v1/events/stream") for _ in range(7)]
        assert [each.status == 200 for each in readers] == [True] * 6 + [False]
        for client in clients[:2]:
            client.leave()
        limited.turn()
        assert limited.get("/api/v1/events/stream").status == 200
        assert limits.held[HELD][ADDRESS] == 255

    def test_a_flood_takes_nobody_down(self, limited: MemorySite) -> None:
        alice = Client(limited, name="alice")
        many = [alice.full({"channel": "/chat/lobby", "data": {"text": "x"}}) for _ in range(500)]
        found = alice.read(alice.post(*many))
        assert sum(each["successful"] for each in found) == 20
        assert len(found) == 500
        assert alice.read(alice.post({"channel": "/meta/unknown", "clientId": alice.id}))


def test_whatever_is_sent_is_answered(site: MemorySite) -> None:
    alice = Client(site, name="alice")
    odd: list[object] = [
        None,
        True,
        7,
        -1.5,
        "x",
        "/",
        "/*",
        "/meta/*",
        "/chat/lobby",
        [],
        {},
        [{}],
    ]
    for field in ("channel", "id", "clientId", "data", "subscription", "ext", "advice", "version"):
        for value in odd:
            for channel in ("/meta/handshake", "/meta/connect", "/meta/subscribe", "/chat/lobby"):
                message = {
                    "channel": channel,
                    "clientId": alice.id,
                    "advice": {"timeout": 0},
                    "subscription": "/app/x",
                    "data": {"text": "x"},
                    field: value,
                }
                response = alice.post(message)
                assert response.status == 200, (message, response.text)
                assert response.json()


def test_metrics(site: MemorySite) -> None:
    alice = Client(site, SOCKET, name="alice").joined("/chat/lobby")
    site.say("hi")
    assert alice.texts == ["hi"]
    text = site.metrics
    assert "comet_chat_bayeux_sessions 1.0" in text
    assert "comet_chat_bayeux_delivered_total 1.0" in text
    assert 'comet_chat_held_requests{transport="bayeux-websocket"} 1.0' in text
    assert 'comet_chat_events_delivered_total{transport="bayeux-websocket"} 1.0' in text
