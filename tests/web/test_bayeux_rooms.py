"""Rooms as Bayeux channels: what is read, from where on, and who is there."""

from __future__ import annotations

from typing import Any

import pytest

from cometd_chat.bayeux.server import BayeuxServer
from cometd_chat.chat.awaited import PATIENCE
from cometd_chat.comet import slices
from cometd_chat.errors import StorageUnavailable
from cometd_chat.events.record import Draft
from tests.chat.parts import now
from tests.growth import cpu_seconds
from tests.memory import HeldLog, MakeSite, MemorySite
from tests.web.bayeux import KINDS, LONG, SOCKET, STREAM, Client
from tests.wire import Response


@pytest.fixture
def site(make_site: MakeSite) -> MemorySite:
    return make_site(rooms=("lobby", "dev", "caf\u00e9"), bayeux_channels=("/app/**",))


def again(make_site: MakeSite, site: MemorySite, **settings: Any) -> MemorySite:
    """The site after a restart."""
    site.stop()
    return killed(make_site, site, **settings)


def killed(make_site: MakeSite, site: MemorySite, **settings: Any) -> MemorySite:
    """The site after a restart, when the first one had no time to stop."""
    new = make_site(log=site.log, directory=site.directory, **settings)
    new._tokens.update(site._tokens)
    return new


# -- rooms


def test_a_name_of_other_letters(site: MemorySite) -> None:
    channel = "~636166c3a9"
    alice = Client(site, name="alice").joined(f"/chat/{channel}")
    assert alice.say("hi", channel)["successful"]
    (message,) = alice.delivered
    assert message["channel"] == f"/chat/{channel}"
    assert message["data"]["room"] == "caf\u00e9"


@pytest.mark.parametrize(
    "channel",
    ["/chat/nowhere", "/chat/Lobby", "/chat/~zz", "/chat/~6c6f626279", "/chat/~", "/members/x"],
)
def test_no_such_room(site: MemorySite, channel: str) -> None:
    alice = Client(site, name="alice")
    assert alice.subscribe(channel)["error"].startswith("404:")
    assert alice.ask(channel, data={"text": "hi"})["error"][:3] in ("404", "400")


def test_what_was_said_at_once_is_one_answer_to_each(
    site: MemorySite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the walk through them has to make way for others."""
    monkeypatch.setattr(slices, "SLICE", 0.0)
    clients = [Client(site, name=f"client-{n}").joined("/chat/lobby") for n in range(40)]
    for client in clients:
        client.pump()
    site.log.hold()
    site.fill(4)
    site.log.release()
    site.advance(0.1)
    for client in clients:
        assert client.held is not None
        assert len([each for each in client.read(client.held) if "data" in each]) == 4
    assert [len(client.texts) for client in clients] == [4] * 40


def test_what_was_said_at_once_in_several_rooms_is_in_order(site: MemorySite) -> None:
    patterns = [("/chat/lobby", "/chat/dev"), ("/chat/*",), ("/chat/dev", "/chat/**")]
    clients = [Client(site, name=f"client-{n}").joined(*each) for n, each in enumerate(patterns)]
    only = Client(site, name="only-dev").joined("/chat/dev")
    site.log.hold()
    for number in range(6):
        site.fill(1, ("lobby", "dev")[number % 2], f"line {number}")
    site.log.release()
    site.advance(0.1)
    for client in clients:
        assert client.texts == [f"line {number}" for number in range(6)]
    assert only.texts == ["line 1", "line 3", "line 5"]


def test_the_longest_name(make_site: MakeSite) -> None:
    name = "\u4e2d" * 64
    site = make_site(rooms=(name,))
    channel = "~" + name.encode().hex()
    alice = Client(site, name="alice").joined(f"/chat/{channel}", f"/members/{channel}")
    site.say("hi", "%E4%B8%AD" * 64)
    assert alice.texts == ["hi"]


@pytest.mark.parametrize("pattern", ["/chat/*", "/chat/**", "/**"])
def test_wildcards_have_all_rooms_and_those_to_come(make_site: MakeSite, pattern: str) -> None:
    site = make_site()
    alice = Client(site, name="alice").joined(pattern)
    site.say("one")
    site.say("two", "dev")
    token = site.log_in("carol")
    assert site.post("/api/v1/rooms", {"name": "new"}, token=token).status == 201
    site.say("three", "new")
    assert alice.texts == ["one", "two", "three"]


def test_overlapping_patterns_bring_it_once(site: MemorySite) -> None:
    alice = Client(site, name="alice").joined("/chat/lobby", "/chat/*", "/chat/**")
    site.say("one")
    site.say("two", "dev")
    assert alice.ask("/meta/unsubscribe", subscription="/chat/lobby")["successful"]
    site.say("three")
    assert alice.ask("/meta/unsubscribe", subscription=["/chat/*", "/chat/**"])["successful"]
    site.say("four")
    assert alice.texts == ["one", "two", "three"]


@pytest.mark.parametrize(
    "data",
    [None, "hi", 7, [], {}, {"text": ""}, {"text": 7}, {"text": "x" * 8001}, {"text": "\x00"}],
)
def test_what_is_no_message(site: MemorySite, data: object) -> None:
    alice = Client(site, name="alice").joined("/chat/lobby")
    assert alice.ask("/chat/lobby", data=data)["error"].startswith("400:")
    assert alice.texts == []


def test_a_post_that_comes_again_is_said_once(site: MemorySite) -> None:
    alice = Client(site, name="alice").joined("/chat/lobby")
    message = alice.full({"channel": "/chat/lobby", "id": "same", "data": {"text": "hi"}})
    for _ in range(3):
        connection = site.connect()
        assert alice.read(alice.post(message, connection=connection))[0]["successful"]
        connection.reset()
    for _ in range(2):
        assert alice.ask("/chat/lobby", data={"text": "ho", "client_id": "mine"})["successful"]
    other = alice.ask("/chat/lobby", data={"text": "other", "client_id": "mine"})
    assert other["error"].startswith("409:")
    assert alice.texts == ["hi", "ho"]


def test_nothing_is_answered_before_it_is_durable(site: MemorySite) -> None:
    alice = Client(site, name="alice").joined("/chat/lobby")
    site.log.hold()
    message = alice.full({"channel": "/chat/lobby", "data": {"text": "hi"}})
    response = alice.post(message)
    assert not response.complete
    assert alice.texts == []
    site.log.release()
    site.turn()
    assert alice.read(response)[0]["successful"]
    assert alice.texts == ["hi"]


def test_a_publisher_who_leaves_has_still_spoken(site: MemorySite) -> None:
    alice = Client(site, name="alice")
    bob = Client(site, name="bob").joined("/chat/lobby")
    site.log.hold()
    connection = site.connect()
    alice.post(
        alice.full({"channel": "/chat/lobby", "data": {"text": "hi"}}), connection=connection
    )
    connection.reset()
    site.log.release()
    site.turn()
    assert bob.texts == ["hi"]


def test_a_disk_that_is_full(site: MemorySite) -> None:
    alice = Client(site, name="alice").joined("/chat/lobby")
    site.log.failure = StorageUnavailable("Not now.")
    assert alice.say("hi")["error"].startswith("503:")
    site.log.failure = None
    assert alice.say("hi")["successful"]


# -- where reading begins


@pytest.mark.parametrize("kind", KINDS[:1] + KINDS[3:])
def test_a_restart_loses_nothing(make_site: MakeSite, kind: str) -> None:
    site = make_site()
    alice = Client(site, kind, name="alice").joined("/chat/lobby", "/chat/dev")
    token = alice.token
    site.say("one")
    assert alice.texts == ["one"]
    site.advance(3)
    alice.pump()
    if kind == STREAM:
        # Nothing else says what an event stream has brought: the second that the first was sent
        # after it.
        alice.connect()
        alice.connect()
    site = again(make_site, site)
    site.say("two")
    site.say("three", "dev")
    back = Client(site, kind, token=token)
    assert back.shook["ext"]["authentication"] == {"name": "alice", "role": "guest"}
    back.joined("/chat/lobby", "/chat/dev")
    site.say("four")
    assert back.texts == ["two", "three", "four"]


def test_a_cookie_does_the_same(make_site: MakeSite) -> None:
    site = make_site()
    jar = {"comet_session_memory": site.log_in("alice")}
    alice = Client(site, jar=jar).joined("/chat/*")
    assert alice.shook["ext"]["authentication"]["name"] == "alice"
    site.say("one")
    assert alice.texts == ["one"]
    site = again(make_site, site)
    site.say("two")
    site.say("three", "dev")
    logged_in = {"comet_session_memory": jar["comet_session_memory"]}
    assert Client(site, jar=logged_in).joined("/chat/*").texts == ["two", "three"]


def test_a_silent_room_is_remembered_too(make_site: MakeSite) -> None:
    site = make_site()
    alice = Client(site, name="alice").joined("/chat/lobby")
    site = again(make_site, site)
    site.say("while away")
    assert Client(site, token=alice.token).joined("/chat/lobby").texts == ["while away"]


def test_without_a_token_it_begins_now(make_site: MakeSite) -> None:
    site = make_site()
    site.say("before")
    assert Client(site, name="alice").joined("/chat/lobby").texts == []
    site = again(make_site, site)
    assert Client(site, name="alice").joined("/chat/lobby").texts == []


def test_after_a_kill_at_most_a_second_comes_again(make_site: MakeSite) -> None:
    site = make_site()
    alice = Client(site, name="alice").joined("/chat/lobby")
    site.say("one")
    assert alice.texts == ["one"]
    site.advance(2)
    site.say("two")
    assert alice.texts == ["one", "two"]
    site = killed(make_site, site)
    site.say("three")
    assert Client(site, token=alice.token).joined("/chat/lobby").texts == ["two", "three"]


def test_a_cursor_wins(site: MemorySite) -> None:
    site.say("one")
    cursor = site.now
    site.say("two")
    alice = Client(site, name="alice").joined("/chat/lobby", ext={"cursor": cursor})
    assert alice.texts == ["two"]
    back = Client(site, token=alice.token).joined("/chat/*", ext={"cursor": cursor})
    assert back.texts == ["two"]


@pytest.mark.parametrize(
    "cursor", ["nonsense", "non sense", 7, "3.zzzz", "a" * 512, "a" * 513, "", {}]
)
def test_what_is_no_cursor(site: MemorySite, cursor: object) -> None:
    alice = Client(site, name="alice")
    reply = alice.subscribe("/chat/lobby", ext={"cursor": cursor})
    assert reply["error"].startswith("400:")
    assert alice.joined("/chat/lobby").texts == []


def test_a_cursor_that_a_restored_backup_has_undone(make_site: MakeSite) -> None:
    log = HeldLog()
    epoch = log.cursor(0).partition(".")[2]
    log.put_back(3)
    site = make_site(log=log)
    site.fill(2)
    alice = Client(site, name="alice")
    reply = alice.subscribe("/chat/lobby", ext={"cursor": f"5.{epoch}"})
    assert reply["error"].startswith("400:")
    assert alice.joined("/chat/lobby", ext={"cursor": f"2.{epoch}"}).texts == [
        "said 3",
        "said 4",
        "said 5",
    ]


def test_whose_history_is_over_shakes_hands_anew(site: MemorySite) -> None:
    alice = Client(site, name="alice")
    alice.joined("/chat/lobby")
    alice.connect()
    alice.pump()
    site.chat.leave_history()
    site.turn()
    alice.pump()
    advice = alice.connects[-1]["advice"]
    assert advice["reconnect"] == "handshake"
    assert 0 <= advice["interval"] <= 3000


class TestACursorAheadOfThisProcess:
    """Given out by another one that has the same log, where it was told a moment earlier."""

    def subscribe(self, site: MemorySite, alice: Client) -> Response:
        message = alice.full(
            {
                "channel": "/meta/subscribe",
                "subscription": "/chat/lobby",
                "ext": {"cursor": site.log.cursor(2)},
            }
        )
        return alice.post(message)

    def test_goes_on_once_the_log_comes_there(self, site: MemorySite) -> None:
        alice = Client(site, name="alice")
        site.fill_elsewhere(3)
        response = self.subscribe(site, alice)
        assert not response.complete
        site.hear_elsewhere()
        (reply,) = (each for each in alice.read(response) if "subscription" in each)
        assert reply["successful"]
        assert alice.texts == ["said 3"]

    def test_is_foreign_when_it_does_not(self, site: MemorySite) -> None:
        alice = Client(site, name="alice")
        response = self.subscribe(site, alice)
        (reply,) = (each for each in alice.read(response) if "subscription" in each)
        assert reply["error"].startswith("400:")

    def test_is_not_foreign_while_it_can_not_be_known(self, site: MemorySite) -> None:
        alice = Client(site, name="alice")
        site.fill_elsewhere(3)
        response = self.subscribe(site, alice)
        site.advance(PATIENCE + 1)
        (reply,) = (each for each in alice.read(response) if "subscription" in each)
        assert reply["error"].startswith("503:")

    def test_leaves_nothing_behind_when_the_session_ends_meanwhile(self, site: MemorySite) -> None:
        alice = Client(site, name="alice")
        site.fill_elsewhere(3)
        self.subscribe(site, alice)
        assert site.request("DELETE", "/api/v1/session", token=alice.token).status == 204
        site.hear_elsewhere()
        site.advance(120)
        assert site.chat.presence.people("lobby") == []


def test_to_unsubscribe_is_to_begin_anew(site: MemorySite) -> None:
    alice = Client(site, name="alice").joined("/chat/lobby")
    assert alice.ask("/meta/unsubscribe", subscription="/chat/lobby")["successful"]
    site.say("unheard")
    alice.joined("/chat/lobby")
    site.say("heard")
    assert alice.texts == ["heard"]


def test_to_disconnect_is_not(site: MemorySite) -> None:
    alice = Client(site, name="alice").joined("/chat/lobby")
    assert alice.ask("/meta/disconnect")["successful"]
    site.say("later")
    assert Client(site, token=alice.token).joined("/chat/lobby").texts == ["later"]


def test_a_page_that_is_loaded_again_goes_on_where_it_was(site: MemorySite) -> None:
    token = site.log_in("alice")
    first = Client(site, token=token).joined("/chat/lobby")
    first.leave()
    site.say("meanwhile")
    second = Client(site, token=token).joined("/chat/lobby")
    assert second.texts == ["meanwhile"]
    # The first one's place was taken over: it holds nobody back when it expires.
    site.advance(70)
    second.pump()
    assert second.texts == ["meanwhile"]
    third = Client(site, token=token).joined("/chat/lobby")
    assert third.texts == []


def test_two_windows_and_the_slower_one(site: MemorySite) -> None:
    token = site.log_in("alice")
    fast = Client(site, token=token).joined("/chat/lobby")
    slow = Client(site, token=token).joined("/chat/lobby")
    slow.leave()
    site.say("one")
    assert fast.texts == ["one"]
    for _ in range(9):
        site.advance(10)
        fast.pump()
    back = Client(site, token=token).joined("/chat/lobby")
    assert back.texts == ["one"]


def test_who_is_far_behind_is_told_what_is_left_out(make_site: MakeSite) -> None:
    site = make_site(max_behind=500)
    cursor = site.now
    site.fill(530)
    alice = Client(site, name="alice").joined("/chat/lobby", ext={"cursor": cursor})
    texts = alice.texts
    assert texts == [f"said {number}" for number in range(331, 531)]
    assert alice.delivered[0]["ext"]["missing"] == 330
    assert "at_least" not in alice.delivered[0]["ext"]
    assert "missing" not in alice.delivered[1]["ext"]


@pytest.mark.parametrize("channel", ["/chat/lobby", "/chat/*"])
def test_what_is_left_out_is_counted_so_far(make_site: MakeSite, channel: str) -> None:
    site = make_site(max_behind=500)
    cursor = site.now
    site.fill(1300)
    alice = Client(site, name="alice").joined(channel, ext={"cursor": cursor})
    assert alice.texts == [f"said {number}" for number in range(1101, 1301)]
    first = alice.delivered[0]["ext"]
    assert (first["missing"], first["at_least"]) == (1000, True)
    assert "at_least" not in alice.delivered[1]["ext"]


@pytest.mark.parametrize("kind", [LONG, SOCKET])
def test_a_backlog_comes_from_the_log_and_in_order(make_site: MakeSite, kind: str) -> None:
    site = make_site(tail=50)
    cursor = site.now
    for number in range(20):
        site.fill(100, ("lobby", "dev")[number % 2])
    alice = Client(site, kind, name="alice").joined("/chat/*", ext={"cursor": cursor})
    site.say("live")
    assert [each["data"]["id"] for each in alice.delivered] == list(range(1, 2002))


def test_what_is_said_while_the_log_is_read_comes_after(make_site: MakeSite) -> None:
    site = make_site(tail=10)
    cursor = site.now
    site.fill(100)
    site.log.holding_reads = True
    alice = Client(site, name="alice").joined("/chat/lobby", ext={"cursor": cursor})
    site.say("live")
    site.log.holding_reads = False
    while site.log.waiting_reads:
        site.log.answer_read()
        site.turn()
    assert alice.texts == [*(f"said {number}" for number in range(1, 101)), "live"]


def test_a_log_that_can_not_be_read_is_tried_again(make_site: MakeSite) -> None:
    log = HeldLog()
    site = make_site(tail=10, log=log)
    cursor = site.now
    site.fill(100)
    log.failing_reads = StorageUnavailable("Not now.")
    alice = Client(site, name="alice").joined("/chat/lobby", ext={"cursor": cursor})
    site.advance(3)
    assert alice.texts == []
    log.failing_reads = None
    site.advance(3)
    assert len(alice.texts) == 100
    assert {each["log_format"] for each in site.take_failures()} == {
        "a subscription waits for the log: {reason}"
    }


def test_a_client_that_takes_nothing_is_paused_and_misses_nothing(make_site: MakeSite) -> None:
    site = make_site(tail=100)
    alice = Client(site, name="alice").joined("/chat/lobby", "/chat/dev")
    alice.pump()
    held = alice.held
    for number in range(100):
        site.fill(50, ("lobby", "dev")[number % 2], text="y" * 500 + "{}")
    assert held is not None
    assert held.complete
    assert [each["data"]["id"] for each in alice.delivered] == list(range(1, 5001))


@pytest.mark.parametrize("late", ["/chat/dev", "/chat/*"])
def test_a_room_that_joins_late_is_in_order_from_then_on(make_site: MakeSite, late: str) -> None:
    """What a full queue refused of several rooms comes again as it was said."""
    site = make_site(tail=100)
    cursor = site.now
    site.fill(300, "dev")
    alice = Client(site, name="alice").joined("/chat/lobby")
    alice.joined(late, ext={"cursor": cursor})
    assert len(alice.texts) == 300
    alice.pump()
    for number in range(100):
        site.fill(50, ("lobby", "dev")[number % 2], text="y" * 500 + "{}")
    ids = [each["data"]["id"] for each in alice.delivered]
    assert ids == list(range(1, 5301))


def test_what_is_said_while_somebody_joins_comes_once(
    site: MemorySite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the walk through those who are told is cut."""
    monkeypatch.setattr(slices, "SLICE", 0.0)
    cursor = site.now
    clients = [Client(site, SOCKET, name=f"client-{n}").joined("/chat/lobby") for n in range(40)]
    for number in range(20):
        site.fill(3, ("lobby", "dev")[number % 2])
        clients[number].subscribe("/chat/dev", ext={"cursor": cursor})
    site.advance(1)
    for client in clients[:20]:
        ids = [each["data"]["id"] for each in client.delivered]
        assert sorted(ids) == list(range(1, 61))


def test_a_room_that_joins_while_others_are_told_hides_nothing_of_them(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some have been told what was said, and one who has not yet begins to read another room."""
    monkeypatch.setattr(slices, "SLICE", 0.0)
    servers: list[BayeuxServer] = []
    site = make_site(embed=servers.append)
    clients = [Client(site, SOCKET, name=f"client-{n}").joined("/chat/lobby") for n in range(40)]
    (rooms,) = servers[0].channels.sources_of("/chat/lobby")
    site.log.append(Draft("/chat/lobby", "message", "s", "filler", {"text": "hi"}))
    last = servers[0].client(clients[-1].id)
    assert last is not None
    now(rooms.open(last, "/chat/dev", {}))()
    site.advance(1)
    assert [client.texts for client in clients] == [["hi"]] * 40


def test_a_room_by_name_does_not_confirm_what_came_by_a_wildcard(site: MemorySite) -> None:
    alice = Client(site, name="alice").joined("/chat/*")
    alice.pump()
    site.say("on its way")
    alice.subscribe("/chat/lobby")
    # The answer that it was in was never taken.
    alice.leave()
    site.advance(2)
    back = Client(site, token=alice.token).joined("/chat/lobby")
    assert back.texts == ["on its way"]


def test_one_for_whom_too_much_waits_has_to_go_and_misses_nothing(make_site: MakeSite) -> None:
    """At the ceiling its session is let go of; the log has what it had."""
    site = make_site(memory_ceiling=4 * 2**20)
    alice = Client(site, name="alice").joined("/chat/lobby")
    bob = Client(site, name="bob").joined("/chat/dev")
    for room, count in (("lobby", 148), ("dev", 140)):
        site.fill(count, room, text="y" * 7000 + "{}")
    memory = site.factory.memory
    assert memory.shed == 1
    assert memory.of("bayeux") < memory.limit * 3 // 4
    told = alice.ask("/meta/connect", connectionType=alice.kind)
    assert told["error"].startswith("402")
    assert told["advice"]["reconnect"] == "handshake"
    assert [text.removeprefix("y" * 7000) for text in bob.texts] == list(map(str, range(149, 289)))
    back = Client(site, token=alice.token).joined("/chat/lobby")
    assert [text.removeprefix("y" * 7000) for text in back.texts] == list(map(str, range(1, 149)))


# -- who is there


def test_a_client_is_in_its_rooms(site: MemorySite) -> None:
    bob = Client(site, name="bob").joined("/members/lobby")
    assert bob.delivered[0]["data"] == {
        "type": "people",
        "room": "lobby",
        "count": 0,
        "people": [],
    }
    alice = Client(site, name="alice").joined("/chat/lobby", "/chat/*")
    assert [each["name"] for each in people(site, "lobby")] == ["alice"]
    assert people(site, "dev") == []
    assert alice.ask("/meta/disconnect")["successful"]
    site.advance(11)
    assert people(site, "lobby") == []
    told = [(each["data"]["type"], each["data"].get("from")) for each in bob.delivered[1:]]
    assert told == [("join", "alice"), ("leave", "alice")]


def test_members_by_wildcard(site: MemorySite) -> None:
    Client(site, name="alice").joined("/chat/dev")
    bob = Client(site, name="bob").joined("/members/*", "/members/**")
    (told, _) = bob.delivered
    assert told["channel"] == "/members/dev"
    assert told["data"]["people"] == [{"name": "alice", "role": "guest"}]
    site.log_in("carol")
    site.say("hi", "lobby", "carol")
    assert [each["data"]["type"] for each in bob.delivered[2:]] == ["join"]
    assert bob.ask("/meta/unsubscribe", subscription="/members/*")["successful"]
    assert bob.ask("/meta/unsubscribe", subscription="/members/**")["successful"]
    site.say("hi", "dev", "carol")
    assert len(bob.delivered) == 3


def test_a_list_of_many_rooms_comes_a_slice_at_a_time(
    site: MemorySite, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = [f"room-{number}" for number in range(100)]
    token = site.log_in("alice")
    for name in rooms:
        assert site.post("/api/v1/rooms", {"name": name}, token=token).status == 201
        assert site.get(f"/api/v1/rooms/{name}/people", token=token).status == 200
    monkeypatch.setattr(slices, "SLICE", 0.0)
    bob = Client(site, SOCKET, name="bob")
    bob.subscribe("/members/*")
    assert sorted(each["data"]["room"] for each in bob.delivered) == sorted(rooms)


@pytest.mark.parametrize("channel", ["/chat/**", "/members/**"])
def test_reading_all_rooms_costs_no_more_where_there_are_many(channel: str) -> None:
    """The first who did so stopped the daemon for 0.2 ms a room."""

    def cost(count: int) -> float:
        names = ["lobby", *(f"room-{number}" for number in range(count))]
        sites = [MemorySite(rooms=names) for _ in range(5)]

        def subscribe() -> None:
            site = sites.pop()
            Client(site).subscribe(channel)
            site.say("hi")

        return cpu_seconds(subscribe)

    assert cost(2000) < 3 * cost(20)


def test_nobody_publishes_who_is_there(site: MemorySite) -> None:
    alice = Client(site, name="alice")
    assert alice.ask("/members/lobby", data={"type": "join"})["error"].startswith("400:")


def people(site: MemorySite, room: str) -> Any:
    """Who is in a room."""
    return site.get(f"/api/v1/rooms/{room}/people").json()["people"]


def test_who_is_sent_away_shakes_hands_anew_and_goes_on(site: MemorySite) -> None:
    alice = Client(site, name="alice", jar={})
    alice.joined("/chat/lobby")
    assert alice.held is not None
    site.chat.readers.send_away(3.0)
    site.turn()
    (reply,) = alice.read(alice.held)
    assert reply["advice"]["reconnect"] == "handshake"
    assert reply["advice"]["interval"] <= 3000
    again = Client(site, name="alice", jar=alice.jar).joined("/chat/lobby")
    site.say("hi")
    assert again.texts == ["hi"]


def test_who_is_sent_away_while_they_subscribe_shakes_hands_anew(site: MemorySite) -> None:
    """It is no mistake of theirs, and their cursor is as good as it was."""
    opened = site.chat.positions.open

    async def send_away_and_open(*args: Any, **named: Any) -> Any:
        site.chat.readers.send_away(3.0)
        return await opened(*args, **named)

    site.chat.positions.open = send_away_and_open  # type: ignore[method-assign]
    reply = Client(site, name="alice").subscribe("/chat/lobby")
    assert reply["error"] == "402::session_unknown"
    assert reply["advice"]["reconnect"] == "handshake"
