"""How much one session holds, how long one frame grows, and what a slow reader loses first."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cometd_chat.web.holding import FRAME_BYTES, FRAME_EVENTS
from tests import decoders
from tests.memory import MakeSite, MemorySite
from tests.net import fake_kernel
from tests.web.talkers import Duplex, Socket
from tests.web.transports import JSON, Client

KIB = 1024
OURS = {"Origin": "http://127.0.0.1:8080"}


def cookie(token: str) -> dict[str, str]:
    return {**OURS, "Cookie": f"comet_session_memory={token}"}


@pytest.fixture
def alice(site: MemorySite) -> str:
    """A token of hers."""
    return site.log_in("alice")


def open_transport(site: MemorySite, transport: str, token: str, *, by: str) -> Any:
    """Hold a transport, by cookie or by token."""
    headers: dict[str, Any] = cookie(token) if by == "cookie" else {}
    query = None if by == "cookie" else token
    if transport == "ws":
        return Socket(site, token=query, headers=headers)
    if transport == "duplex":
        return Duplex(site, token=query, headers=headers)
    return Client(site, transport, token=query, headers=headers, cursor=site.now)


def kinds(client: Any) -> list[str]:
    """The control events that it was sent."""
    if isinstance(client, Client) and client.transport in ("poll", "jsonp"):
        if not client.response.complete:
            return []
        seen = json.loads(client.response.body.removeprefix(b"/**/heard(").rstrip(b");\n"))
        return [event["type"] for event in seen["events"] if event["type"] != "join"]
    return [each["type"] for each in client.of("bye", "reopen", "error")]


def over(client: Client) -> bool:
    """Whether its stream has had its proper end."""
    return client.over


def closed(client: Client) -> bool:
    """Whether its connection was closed."""
    return client.connection.closed


class TestHowMany:
    @pytest.mark.parametrize("by", ["cookie", "token"])
    @pytest.mark.parametrize(
        "transport", ["frame", "stream", "sse", "multipart", "text", "poll", "ws", "duplex"]
    )
    def test_one_more_sends_the_oldest_away(
        self, site: MemorySite, alice: str, transport: str, by: str
    ) -> None:
        most = {"cookie": 4, "token": 32}[by]
        held = []
        for _ in range(most):
            held.append(open_transport(site, transport, alice, by=by))
            if transport == "poll":
                # The first of them comes; that she did is told to who was there before.
                site.turn()
        assert [kinds(each) for each in held] == [[]] * most
        newest = open_transport(site, transport, alice, by=by)
        assert [kinds(each) for each in held] == [["bye"], *[[]] * (most - 1)]
        assert kinds(newest) == []
        if transport == "ws":
            assert held[0].closed_by() == (4000, "replaced")
        else:
            assert "replaced" in held[0].response.text
            assert held[0].response.complete

    def test_a_poll_that_is_sent_away_has_no_cursor_to_come_back_with(
        self, site: MemorySite, alice: str
    ) -> None:
        held = [open_transport(site, "poll", alice, by="cookie") for _ in range(5)]
        answer = held[0].response.json()
        assert answer["events"] == [{"type": "bye", "reason": "replaced"}]
        assert answer["cursor"] is None

    def test_all_transports_count_together_but_not_both_ways_in(
        self, site: MemorySite, alice: str
    ) -> None:
        transports = ["stream", "sse", "ws", "duplex", "frame"]
        by_token = [open_transport(site, transport, alice, by="token") for transport in transports]
        by_cookie = [
            open_transport(site, transport, alice, by="cookie") for transport in transports
        ]
        assert [kinds(each) for each in by_cookie] == [["bye"], [], [], [], []]
        assert [kinds(each) for each in by_token] == [[]] * 5

    def test_one_that_has_gone_makes_room(self, site: MemorySite, alice: str) -> None:
        held = [open_transport(site, "stream", alice, by="cookie") for _ in range(4)]
        held[2].leave()
        held.append(open_transport(site, "stream", alice, by="cookie"))
        assert [kinds(each) for each in held if each is not held[2]] == [[]] * 4
        held.append(open_transport(site, "stream", alice, by="cookie"))
        assert kinds(held[0]) == ["bye"]

    def test_each_session_has_its_own(self, site: MemorySite, alice: str) -> None:
        held = [open_transport(site, "stream", alice, by="cookie") for _ in range(4)]
        others = [open_transport(site, "stream", site.log_in("carol"), by="cookie")]
        others += [Client(site, "stream") for _ in range(40)]
        assert [kinds(each) for each in held + others] == [[]] * 45

    def test_it_holds_with_the_rate_limits_off_and_on(self, make_site: MakeSite) -> None:
        for limits in (False, True):
            site = make_site(limits=limits)
            token = site.log_in("alice")
            held = [open_transport(site, "stream", token, by="cookie") for _ in range(6)]
            assert [kinds(each) for each in held] == [["bye"], ["bye"], [], [], [], []]


class TestWindows:
    def poll(self, site: MemorySite, token: str, transport: str = "poll", **query: Any) -> Client:
        return Client(site, transport, token=token, cursor=site.now, **query)

    def test_the_same_window_again_takes_the_place_of_its_poll(
        self, site: MemorySite, alice: str
    ) -> None:
        self.poll(site, alice, client="other")
        site.advance(1)
        first = self.poll(site, alice, client="tab 1")
        other = self.poll(site, alice, client="tab 2")
        unnamed = self.poll(site, alice)
        assert not first.response.complete
        second = self.poll(site, alice, client="tab 1")
        assert first.response.json() == {"events": [], "cursor": site.now}
        for each in (other, unnamed, second):
            assert not each.response.complete
        site.say("hi")
        assert second.texts() == other.texts() == unnamed.texts() == ["hi"]

    def test_by_jsonp_too(self, site: MemorySite, alice: str) -> None:
        first = self.poll(site, alice, client="tab")
        self.poll(site, alice, "jsonp", client="tab")
        assert first.response.complete

    def test_no_other_session_has_that_window(self, site: MemorySite, alice: str) -> None:
        carol = self.poll(site, site.log_in("carol"), client="tab")
        first = self.poll(site, alice, client="tab")
        self.poll(site, site.log_in("dave"), client="tab")
        nobodys = [Client(site, "poll", cursor=site.now, client="tab") for _ in range(2)]
        for each in (carol, first, *nobodys):
            assert "replaced" not in each.response.text
        site.say("hi")
        for each in (carol, first, *nobodys):
            assert each.texts() == ["hi"]

    def test_streams_are_not_replaced(self, site: MemorySite, alice: str) -> None:
        first = Client(site, "stream", token=alice, client="tab")
        Client(site, "stream", token=alice, client="tab")
        self.poll(site, alice, client="tab")
        assert not first.response.complete

    @pytest.mark.parametrize("client", ["", "x" * 65])
    def test_a_name_of_one_that_is_none(self, site: MemorySite, alice: str, client: str) -> None:
        response = site.get(f"/api/v1/events/poll?token={alice}&client={client}")
        assert response.status == 400
        assert response.json()["errors"][0]["field"] == "client"


class TestFramesThatGrow:
    def test_after_so_many_messages_another_is_opened(self, site: MemorySite) -> None:
        client = Client(site, "frame")
        site.fill(FRAME_EVENTS - 1)
        assert not over(client)
        site.fill(1)
        (reopen,) = client.of("reopen")
        assert (reopen["after"], reopen["cursor"]) == (0, site.now)
        assert over(client)
        assert len(client.texts()) == FRAME_EVENTS

    def test_after_so_many_bytes(self, site: MemorySite) -> None:
        client = Client(site, "frame")
        while not over(client):
            site.fill(1, text="{}" + "x" * 10_000)
            assert len(client.response.body) < FRAME_BYTES + 12_000
        assert len(client.response.body) >= FRAME_BYTES
        assert client.of("reopen")[0]["cursor"] == site.now

    def test_after_eight_to_ten_minutes_and_not_all_at_once(self, site: MemorySite) -> None:
        clients = [Client(site, "frame") for _ in range(20)]
        site.advance(8 * 60 - 16)
        assert not any(client.over for client in clients)
        ended = []
        for _ in range(10):
            site.advance(14)
            ended.append(sum(client.over for client in clients))
        assert ended[-1] == 20
        assert len(set(ended)) > 2
        assert {client.of("reopen")[0]["after"] for client in clients} == {0}

    @pytest.mark.parametrize("transport", ["stream", "sse", "multipart", "text"])
    def test_other_transports_grow_as_they_like(self, site: MemorySite, transport: str) -> None:
        client = Client(site, transport)
        site.fill(FRAME_EVENTS + 10)
        site.advance(11 * 60)
        assert not over(client)
        assert len(client.texts()) == FRAME_EVENTS + 10

    @pytest.mark.parametrize("tail", [None, 10])
    def test_nothing_is_lost_between_two(self, make_site: MakeSite, tail: int | None) -> None:
        site = make_site(tail=tail)
        site.fill(3456)
        heard: list[str] = []
        cursor, frames = site.log.cursor(0), 0
        while True:
            client = Client(site, "frame", cursor=cursor)
            site.fill(5)
            heard += client.texts()
            frames += 1
            if not over(client):
                break
            (reopen,) = client.of("reopen")
            cursor = reopen["cursor"]
            site.fill(3)
        assert frames > 3
        assert heard == [f"said {id}" for id in range(1, site.log.last_id + 1)]


class TestJitter:
    def test_browsers_come_back_to_sse_at_different_times(self, site: MemorySite) -> None:
        retries = set()
        for _ in range(30):
            retry = decoders.read_event_stream(Client(site, "sse").response.body).retry
            assert retry is not None
            assert 1500 <= retry <= 3000
            retries.add(retry)
        assert len(retries) > 10

    def test_a_stop_brings_nobody_back_in_the_same_moment(self, site: MemorySite) -> None:
        clients: list[Any] = [Client(site, transport) for transport in JSON for _ in range(5)]
        polls = [Client(site, "poll", cursor=site.now) for _ in range(5)]
        sockets = [Socket(site) for _ in range(5)]
        clients = [each for each in clients if each.transport not in ("poll", "jsonp")]
        site.stop()
        after = [each.of("reopen")[0]["after"] for each in clients + sockets]
        after += [poll.response.json()["events"][0]["after"] for poll in polls]
        assert all(0 <= each <= 3 for each in after)
        assert len(set(after)) > len(after) // 2
        assert max(after) - min(after) > 1


class TestSlowReaders:
    @pytest.mark.parametrize("transport", ["stream", "frame", "sse", "multipart"])
    def test_lose_who_comes_and_types_before_they_lose_a_word(
        self, make_site: MakeSite, monkeypatch: pytest.MonkeyPatch, transport: str
    ) -> None:
        site = make_site(reader_budget=64 * KIB)
        fake_kernel(monkeypatch, site)
        token = site.log_in("alice")
        slow, quick = Client(site, transport, window=3000), Client(site, transport)

        def schedule_flush() -> None:
            site.post("/api/v1/rooms/lobby/typing", {}, token=token)

        schedule_flush()
        slow.connection.open_window(1000)
        before = len(slow.of("typing"))
        site.fill(5, text="{}" + "x" * 8000)
        for _ in range(3):
            schedule_flush()
        site.fill(1)
        slow.connection.open_window(None)
        for client in (slow, quick):
            assert len(client.texts()) == 6
        assert before == 1
        assert len(slow.of("typing")) == 1
        assert len(quick.of("typing")) == 4
        # When it has caught up it hears them again.
        schedule_flush()
        assert len(slow.of("typing")) == 2

    def test_a_sign_of_typing_is_never_kept(self, site: MemorySite, alice: str) -> None:
        site.post("/api/v1/rooms/lobby/typing", {}, token=alice)
        assert site.log.last_id == 0
        late = Client(site, "stream", cursor=site.log.cursor(0))
        assert late.of("typing") == []

    def test_the_slowest_pay_for_all(
        self, make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site = make_site(memory_ceiling=256 * KIB)
        fake_kernel(monkeypatch, site)
        slowest = Client(site, "stream", window=1000)
        site.fill(20, text="{}" + "x" * 8000)
        others = [Client(site, "stream", window=1000) for _ in range(10)]
        quick = Client(site, "stream")
        site.fill(1, text="{}" + "x" * 8000)
        assert not closed(slowest)
        for _ in range(2):
            site.fill(1, text="{}" + "x" * 8000)
        assert closed(slowest)
        for each in others:
            each.connection.open_window(None)
        assert [len(each.texts()) for each in [*others, quick]] == [3] * 11
        assert "comet_chat_slow_readers_cut_total 1.0" in site.metrics
