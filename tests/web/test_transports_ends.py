"""How held requests end: log-out, shutdown, expiry, slow readers; and who was there meanwhile."""

from __future__ import annotations

import re

import pytest

from cometd_chat.chat.roles import Role
from tests import decoders
from tests.memory import MakeSite, MemorySite
from tests.net import fake_kernel
from tests.web.moderators import with_role
from tests.web.test_transports_heads import held, people
from tests.web.transports import ALL, JSON, POLLS, STREAMS, Client, headers_of, transport_path

KIB = 1024


class TestLogOut:
    @pytest.mark.parametrize("transport", ALL)
    def test_says_bye_in_each_transport(self, site: MemorySite, transport: str) -> None:
        token = site.log_in("alice")
        client = Client(site, transport, token=token, cursor=site.now)
        bystander = Client(site, "stream")
        assert site.request("DELETE", "/api/v1/session", token=token).status == 204
        (bye,) = client.of("bye")
        assert bye["reason"] == "logged out"
        assert client.over
        assert [each["from"] for each in bystander.of("leave")] == ["alice"]
        assert held(site) == {"stream": 1}
        assert not bystander.over

    @pytest.mark.parametrize("transport", POLLS)
    def test_gives_a_poll_no_cursor_to_come_back_with(
        self, site: MemorySite, transport: str
    ) -> None:
        token = site.log_in("alice")
        response = site.get(transport_path(transport, cursor=site.now), token=token)
        site.request("DELETE", "/api/v1/session", token=token)
        assert '"cursor":null' in response.text

    def test_closes_all_that_the_session_holds(self, site: MemorySite) -> None:
        token = site.log_in("alice")
        clients = [Client(site, transport, token=token, cursor=site.now) for transport in ALL]
        site.request("DELETE", "/api/v1/session", token=token)
        assert all(client.of("bye") for client in clients)
        assert held(site) == {}

    def test_leaves_openchat_with_a_link_to_the_log_in(self, site: MemorySite) -> None:
        token = site.log_in("alice")
        client = Client(site, "openchat", token=token)
        site.request("DELETE", "/api/v1/session", token=token)
        (link,) = decoders.classic_links(client.response.body)
        assert link.startswith("/chat")
        assert "openchat" not in link


class TestShutdown:
    @pytest.mark.parametrize("transport", ALL)
    def test_tells_where_to_go_on_and_finishes(self, make_site: MakeSite, transport: str) -> None:
        site = make_site()
        client = Client(site, transport, cursor=site.now)
        site.fill(3)
        client.events()
        held_response = client.response
        site.stop()
        assert held_response.complete
        assert client.texts() == ["said 1", "said 2", "said 3"]
        if transport == "openchat":
            (link,) = decoders.classic_links(held_response.body)
            assert f"cursor={site.now}" in link
            assert "openchat" in link
            return
        (reopen,) = client.of("reopen")
        assert reopen["cursor"] == site.now
        if transport != "text":
            assert 0 <= reopen["after"] <= 3

    @pytest.mark.parametrize("transport", POLLS)
    def test_answers_polls_with_their_cursor(self, site: MemorySite, transport: str) -> None:
        response = site.get(
            transport_path(transport, cursor=site.now), headers=headers_of(transport)
        )
        site.stop()
        assert f'"cursor":"{site.now}"}}' in response.text

    def test_does_not_bring_all_back_at_one_moment(self, site: MemorySite) -> None:
        clients = [Client(site, "stream") for _ in range(20)]
        site.stop()
        delays = {client.of("reopen")[0]["after"] for client in clients}
        assert len(delays) > 5
        assert max(delays) - min(delays) > 0.5

    def test_is_the_last_line_for_people(self, site: MemorySite) -> None:
        response = site.get("/rooms/lobby.txt")
        site.stop()
        last = response.text.splitlines()[-1]
        assert last == f"* the stream ends here, go on with cursor={site.now}"

    def test_loses_nothing_between_two_daemons(self, make_site: MakeSite) -> None:
        first = make_site()
        client = Client(first, "stream")
        first.fill(3)
        first.stop()
        second = make_site(log=first.log, directory=first.directory)
        second.fill(3)
        again = Client(second, "sse", cursor=client.cursor)
        assert [*client.texts(), *again.texts()] == [f"said {id}" for id in range(1, 7)]


class TestExpiry:
    @pytest.mark.parametrize("transport", STREAMS)
    def test_who_acknowledges_nothing_for_a_minute_is_let_go(
        self, site: MemorySite, monkeypatch: pytest.MonkeyPatch, transport: str
    ) -> None:
        fake_kernel(monkeypatch, site)
        client = Client(site, transport)
        site.advance(31)
        client.connection.socket.acknowledges = False
        site.advance(50)
        assert held(site) == {transport: 1}
        site.advance(30)
        assert held(site) == {}
        assert client.connection.closed
        assert f'comet_chat_expired_total{{transport="{transport}"}} 1.0' in site.metrics

    @pytest.mark.parametrize("transport", STREAMS)
    def test_who_acknowledges_heartbeats_stays_for_ever(
        self, site: MemorySite, monkeypatch: pytest.MonkeyPatch, transport: str
    ) -> None:
        fake_kernel(monkeypatch, site)
        Client(site, transport)
        site.advance(400)
        assert held(site) == {transport: 1}

    @pytest.mark.parametrize("transport", POLLS)
    def test_a_poll_is_answered_before_that(self, site: MemorySite, transport: str) -> None:
        client = Client(site, transport, cursor=site.now)
        for _ in range(10):
            site.advance(26)
            assert client.events() == []
        assert not client.connection.closed
        assert set(re.findall(r"expired_total\{.*\} (.*)", site.metrics)) <= {"0.0"}


class TestSlowReaders:
    @pytest.mark.parametrize("transport", STREAMS)
    def test_are_cut_and_lose_nothing_by_coming_back(
        self, make_site: MakeSite, transport: str
    ) -> None:
        site = make_site(reader_budget=16 * KIB)
        token = site.log_in("alice")
        before = site.now
        slow = Client(site, transport, token=token, window=2000)
        quick = Client(site, transport, token=token)
        for _ in range(200):
            site.fill(1, text="said {} " + "x" * 500)
        assert slow.connection.closed
        assert not slow.over
        assert len(quick.texts()) == 200
        again = Client(site, transport, token=token, cursor=before)
        assert again.texts() == quick.texts()
        assert "comet_chat_slow_readers_cut_total 1.0" in site.metrics
        # Who runs the daemon sees who it was.
        told = site.get("/api/v1/live", token=with_role(site, "Olga", Role.OWNER)).json()
        (reader,) = told["slow_readers"]
        assert (reader["name"], reader["rooms"]) == ("alice", ["lobby"])
        assert reader["transport"] == transport
        assert reader["behind"] > 16 * KIB

    @pytest.mark.parametrize("transport", STREAMS)
    def test_of_a_backlog_are_paced_and_never_cut(
        self, make_site: MakeSite, transport: str
    ) -> None:
        site = make_site(reader_budget=16 * KIB)
        site.fill(600, text="said {} " + "x" * 500)
        client = Client(site, transport, cursor=site.log.cursor(0), window=0)
        for _ in range(1000):
            # No more than one page waits, however long the backlog is.
            assert client.connection.buffered < 200 * 1100 + 20 * KIB
            if not client.connection.buffered:
                break
            client.connection.open_window(20 * KIB)
            site.advance(0.5)
        client.connection.open_window(None)
        assert [text.split()[1] for text in client.texts()] == [str(id) for id in range(1, 601)]
        assert "comet_chat_slow_readers_cut_total 0.0" in site.metrics

    @pytest.mark.parametrize("transport", STREAMS)
    def test_are_not_cut_for_a_backlog_when_something_is_said_after_it(
        self, make_site: MakeSite, transport: str
    ) -> None:
        """The last page of a backlog is a replay as well: it does not count."""
        site = make_site(reader_budget=16 * KIB)
        site.fill(190, text="said {} " + "x" * 1000)
        client = Client(site, transport, cursor=site.log.cursor(0), window=10 * KIB)
        site.say("live")
        assert not client.connection.closed
        for _ in range(100):
            client.connection.open_window(10 * KIB)
            site.advance(1)
        assert len(client.texts()) == 191

    def test_who_takes_nothing_of_a_backlog_expires(self, site: MemorySite) -> None:
        site.fill(600, text="said {} " + "x" * 500)
        client = Client(site, "stream", cursor=site.log.cursor(0), window=0)
        site.advance(63)
        assert client.connection.closed
        assert held(site) == {}

    @pytest.mark.parametrize("transport", JSON)
    def test_presence_is_dropped_during_the_catch_up_and_messages_are_not(
        self, make_site: MakeSite, transport: str
    ) -> None:
        site = make_site(tail=10)
        site.fill(100)
        site.log.holding_reads = True
        client = Client(site, transport, cursor=site.log.cursor(0))
        site.say("meanwhile", name="alice")
        typist = site.log_in("carol")
        site.post("/api/v1/rooms/lobby/typing", {}, token=typist)
        site.log.holding_reads = False
        site.log.answer_read()
        site.turn()
        assert client.texts() == [*(f"said {id}" for id in range(1, 101)), "meanwhile"]
        assert client.of("join", "typing") == []
        site.post("/api/v1/rooms/lobby/typing", {}, token=typist)
        assert [each["from"] for each in client.of("typing")] == ["carol"]


class TestGuestsForTheLengthOfARequest:
    def test_are_there_and_gone_with_it(self, site: MemorySite) -> None:
        bystander = Client(site, "stream")
        guest = site.connect()
        response = guest.request("GET", "/rooms/lobby.txt?name=alice")
        assert response.status == 200
        assert people(site) == ["alice"]
        assert site.post("/api/v1/session", {"name": "Alice"}).status == 409
        guest.close()
        # At once: nobody comes back to such a session.
        assert people(site) == []
        assert [each["type"] for each in bystander.of("join", "leave")] == ["join", "leave"]
        assert site.post("/api/v1/session", {"name": "Alice"}).status == 201

    def test_in_the_other_place_too(self, site: MemorySite) -> None:
        Client(site, "text", name="alice", rooms="lobby,dev")
        assert people(site, "lobby") == people(site, "dev") == ["alice"]

    @pytest.mark.parametrize("transport", JSON)
    def test_are_for_people_only(self, site: MemorySite, transport: str) -> None:
        Client(site, transport, name="alice", cursor=site.now)
        assert people(site) == []

    @pytest.mark.parametrize(
        ("query", "status"),
        [
            ("name=al%2Fice", 400),
            ("name=", 400),
            ("name=alice&cursor=non+sense", 400),
            ("name=alice&backlog=x", 400),
            ("name=bob", 409),
        ],
    )
    def test_who_is_refused_leaves_no_name_behind(
        self, site: MemorySite, query: str, status: int
    ) -> None:
        site.log_in("bob")
        assert site.get(f"/rooms/lobby.txt?{query}").status == status
        assert held(site) == {}
        assert site.post("/api/v1/session", {"name": "alice"}).status == 201

    def test_who_leaves_before_it_began_leaves_no_name_behind(self, make_site: MakeSite) -> None:
        site = make_site(tail=5)
        site.fill(100)
        site.log.holding_reads = True
        guest = site.connect()
        response = guest.request("GET", "/rooms/lobby.txt?name=alice&backlog=50")
        assert response.status == 0
        guest.close()
        site.log.holding_reads = False
        site.advance(1)
        assert held(site) == {}
        assert site.post("/api/v1/session", {"name": "alice"}).status == 201

    def test_other_sites_cannot_make_them(self, site: MemorySite) -> None:
        for headers in (
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "http://elsewhere.example"},
        ):
            response = site.get("/rooms/lobby.txt?name=alice", headers=headers)
            assert response.status == 403
        assert people(site) == []

    def test_are_gone_when_the_daemon_stops(self, site: MemorySite) -> None:
        response = site.get("/rooms/lobby.txt?name=alice")
        site.stop()
        assert response.complete
        assert re.search(r"go on with cursor=\S+\n\Z", response.text)
        assert len(site.chat.sessions) == 0


class TestHowManyAreHeld:
    def test_an_address_holds_256_and_no_more(self, make_site: MakeSite) -> None:
        site = make_site(limits=True)
        clients = [Client(site, "stream") for _ in range(256)]
        refused = site.get(transport_path("stream"))
        assert refused.status == 429
        assert int(refused.header("retry-after") or "") >= 1
        assert refused.json()["type"] == "/problems/too-many"
        assert Client(site, "stream", address="192.0.2.8").response.status == 200
        assert Client(site, "stream", address="2001:db8::1").response.status == 200
        clients[0].leave()
        assert Client(site, "poll", cursor=site.now).response.status == 0
        assert site.get(transport_path("stream")).status == 429
        # Where a browser would give up for good it is told to come back.
        sse = site.get(transport_path("sse"))
        assert (sse.status, sse.complete) == (200, True)
        assert decoders.read_event_stream(sse.body).retry
        assert [each["status"] for each in decoders.read_sse(sse.body)] == [429]
        assert held(site) == {"stream": 257, "poll": 1}

    def test_polls_that_are_over_do_not_count(self, make_site: MakeSite) -> None:
        site = make_site(limits=True)
        for _ in range(300):
            assert site.get(transport_path("poll")).status == 200

    @pytest.mark.parametrize("transport", ALL)
    def test_who_leaves_is_counted_out(self, site: MemorySite, transport: str) -> None:
        token = site.log_in("alice")
        for how in ("close", "reset"):
            client = Client(site, transport, token=token, cursor=site.now)
            assert held(site) == {transport: 1}, how
            assert people(site) == ["alice"]
            getattr(client.connection, how)()
            if transport not in POLLS and how == "reset":
                site.fill(1)
            assert held(site) == {}, how
            site.advance(11)
            assert people(site) == [], how


class TestPresence:
    def test_a_reload_is_no_leave(self, site: MemorySite) -> None:
        bystander = Client(site, "stream")
        token = site.log_in("alice")
        for _ in range(3):
            client = Client(site, "frame", token=token)
            site.advance(3)
            client.leave()
            site.advance(5)
        assert [each["type"] for each in bystander.of("join", "leave")] == ["join"]
        site.advance(6)
        assert [each["type"] for each in bystander.of("join", "leave")] == ["join", "leave"]

    def test_two_windows_are_one_person(self, site: MemorySite) -> None:
        token = site.log_in("alice")
        first, second = (Client(site, transport, token=token) for transport in ("frame", "sse"))
        assert people(site) == ["alice"]
        first.leave()
        site.advance(30)
        assert people(site) == ["alice"]
        second.leave()
        site.advance(11)
        assert people(site) == []

    def test_who_polls_without_waiting_is_there_for_a_minute(self, site: MemorySite) -> None:
        token = site.log_in("alice")
        site.get(transport_path("poll", wait=0), token=token)
        site.advance(55)
        assert people(site) == ["alice"]
        site.advance(10)
        assert people(site) == []
