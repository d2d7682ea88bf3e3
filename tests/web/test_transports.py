"""One battery for every transport: what a reader gets, in which order, from where on."""

from __future__ import annotations

import re

import pytest

from cometd_chat.chat.awaited import PATIENCE
from cometd_chat.errors import StorageUnavailable
from tests import decoders
from tests.memory import HeldLog, MakeSite, MemorySite
from tests.web.transports import (
    ALL,
    EVENTS,
    JSON,
    OUR_SCRIPT,
    POLLS,
    STREAMS,
    Client,
    headers_of,
    transport_path,
)
from tests.wire import Response

#: A tail of this many events makes a reader ask the log for the rest.
SHORT = 10

#: Cursors that some other release might have given out, by what clients are told of them.
LIKE_NONE_OF_OURS = ["17", "x.y", "-1.abcd", "1.abcd.1", "1.AB", "_~", "a.B_~-9" * 73 + "."]


def said(first: int, last: int) -> list[str]:
    """What `MemorySite.fill` says, by id."""
    return [f"said {id}" for id in range(first, last + 1)]


def ids(response: Response) -> list[int]:
    """Of the messages that an event stream brought."""
    return [event["id"] for event in decoders.read_sse(response.body) if "id" in event]


class TestBeginning:
    @pytest.mark.parametrize("transport", ["frame", "stream", "sse", "multipart"])
    def test_hello_comes_first_and_with_the_head(self, site: MemorySite, transport: str) -> None:
        site.fill(3)
        client = Client(site, transport)
        assert client.response.status == 200
        (hello,) = client.events()
        assert (hello["type"], hello["cursor"], hello["heartbeat"]) == ("hello", site.now, 15)
        assert hello["server"].startswith("comet-chat/")

    def test_text_and_openchat_begin_at_once_too(self, site: MemorySite) -> None:
        assert Client(site, "text").response.text == f"* cursor {site.now}\n"
        plain = site.get("/rooms/lobby.txt")
        assert (plain.status, plain.text) == (200, "")
        (welcome,) = Client(site, "openchat", token=site.log_in("alice")).events()
        assert welcome == {"type": "hello", "name": "alice"}

    @pytest.mark.parametrize("transport", ALL)
    def test_without_a_cursor_it_starts_now(self, site: MemorySite, transport: str) -> None:
        site.fill(3)
        client = Client(site, transport)
        assert client.texts() == []
        site.say("hi")
        assert client.texts() == ["hi"]

    @pytest.mark.parametrize("transport", ALL)
    @pytest.mark.parametrize("tail", [None, SHORT])
    def test_a_backlog_is_the_newest_of_what_was_said(
        self, make_site: MakeSite, transport: str, tail: int | None
    ) -> None:
        site = make_site(tail=tail)
        site.fill(50)
        site.fill(5, room="dev")
        client = Client(site, transport, backlog=30)
        assert client.texts() == said(21, 50)
        site.say("hi")
        assert client.texts() == [*said(21, 50), "hi"]

    @pytest.mark.parametrize("transport", ALL)
    def test_a_backlog_is_at_most_200(self, site: MemorySite, transport: str) -> None:
        site.fill(300)
        assert Client(site, transport, backlog=1000).texts() == said(101, 300)

    @pytest.mark.parametrize("transport", ALL)
    def test_a_backlog_of_less_is_all_there_is(self, site: MemorySite, transport: str) -> None:
        assert Client(site, transport, backlog=30).texts() == []
        site.fill(3)
        assert Client(site, transport, backlog=30).texts() == said(1, 3)

    @pytest.mark.parametrize("transport", ALL)
    def test_with_a_cursor_there_is_no_backlog(self, site: MemorySite, transport: str) -> None:
        site.fill(5)
        assert Client(site, transport, cursor=site.log.cursor(3), backlog=5).texts() == said(4, 5)


class TestLive:
    @pytest.mark.parametrize("transport", JSON)
    def test_an_event_is_the_object_that_its_sender_got(
        self, site: MemorySite, transport: str
    ) -> None:
        client = Client(site, transport)
        event = site.say("hi")
        (seen,) = client.of("message")
        seen.pop("last_event_id", None)
        assert seen == event
        assert set(event) == {"id", "cursor", "room", "type", "from", "text", "at"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["at"])

    @pytest.mark.parametrize("transport", EVENTS)
    def test_several_rooms_come_in_the_order_of_the_log(
        self, site: MemorySite, transport: str
    ) -> None:
        client = Client(site, transport, rooms="dev,lobby")
        before = Client(site, transport, rooms="dev,lobby", cursor=site.now)
        for number in range(20):
            site.say(str(number), "dev" if number % 3 else "lobby")
        late = Client(site, transport, rooms="dev,lobby", cursor=site.log.cursor(0))
        for each in (client, before, late):
            assert each.texts() == [str(number) for number in range(20)]
            rooms = [event["room"] for event in each.of("message")]
            assert rooms == ["dev" if number % 3 else "lobby" for number in range(20)]

    @pytest.mark.parametrize("transport", ALL)
    def test_other_rooms_are_not_heard(self, site: MemorySite, transport: str) -> None:
        client = Client(site, transport, rooms="dev")
        site.say("for others")
        site.say("for her", "dev")
        assert client.texts() == ["for her"]

    @pytest.mark.parametrize("transport", EVENTS)
    def test_a_room_named_twice_is_read_once(self, site: MemorySite, transport: str) -> None:
        client = Client(site, transport, rooms="lobby,LOBBY,lobby")
        site.say("hi")
        assert client.texts() == ["hi"]

    @pytest.mark.parametrize("transport", ALL)
    def test_what_is_committed_together_comes_together(
        self, site: MemorySite, transport: str
    ) -> None:
        client = Client(site, transport)
        site.log.hold()
        site.fill(5)
        assert client.texts() == []
        site.log.release()
        site.turn()
        # (`fill` counts from the last id, which stood still.)
        assert len(client.texts()) == 5
        if transport in STREAMS:
            assert [
                chunk.count(b"said") for chunk in client.response.chunks if b"said" in chunk
            ] == [5]

    @pytest.mark.parametrize("transport", ALL)
    def test_a_text_of_many_lines_and_hostile_markup_arrives(
        self, site: MemorySite, transport: str
    ) -> None:
        client = Client(site, transport)
        text = "</script><!--\n\ndata: x\n* bob left\u2028\n&amp; <b>"
        site.say(text)
        # To people U+2028 is the end of a line like any other.
        shown = text if transport in JSON else text.replace("\u2028", "\n")
        assert client.texts() == [shown]

    @pytest.mark.parametrize("transport", JSON)
    def test_joins_leaves_and_typing_are_seen(self, site: MemorySite, transport: str) -> None:
        client = Client(site, transport)
        token = site.log_in("alice")
        client.events()
        other = Client(site, "stream", token=token)
        client.events()
        site.post("/api/v1/rooms/lobby/typing", {}, token=token)
        client.events()
        other.leave()
        site.advance(11)
        seen = client.of("join", "typing", "leave")
        assert [(each["type"], each["from"]) for each in seen] == [
            ("join", "alice"),
            ("typing", "alice"),
            ("leave", "alice"),
        ]
        assert not [each for each in seen if "id" in each or "cursor" in each]

    @pytest.mark.parametrize("transport", ["text", "openchat"])
    def test_joins_and_leaves_are_lines_for_people(self, site: MemorySite, transport: str) -> None:
        client = Client(site, transport)
        other = Client(site, "stream", token=site.log_in("alice"))
        other.leave()
        site.advance(11)
        seen = [each for each in client.of("join", "leave") if each["from"] == "alice"]
        assert [each["type"] for each in seen] == ["join", "leave"]


class TestHeartbeats:
    @pytest.mark.parametrize("transport", ["frame", "stream", "sse", "multipart", "text"])
    def test_say_how_far_the_stream_is(self, site: MemorySite, transport: str) -> None:
        client = Client(site, transport)
        site.say("for others", "dev")
        site.advance(31)
        beats = client.of("heartbeat")
        assert len(beats) >= 2
        # Complete up to there, even though nothing of that was for her.
        assert beats[-1]["cursor"] == site.now
        if transport == "sse":
            assert beats[-1]["last_event_id"] == site.now

    def test_without_cursors_are_empty_lines(self, site: MemorySite) -> None:
        plain = site.get("/rooms/lobby.txt")
        site.advance(16)
        assert plain.text == "\n"

    def test_keep_openchat_alive_without_a_line(self, site: MemorySite) -> None:
        client = Client(site, "openchat")
        before = len(client.response.body)
        site.advance(16)
        assert len(client.response.body) > before
        assert [event["type"] for event in client.events()] == ["hello"]


class TestResuming:
    @pytest.mark.parametrize("transport", ALL)
    @pytest.mark.parametrize("tail", [None, SHORT])
    def test_everything_after_the_cursor_comes_once(
        self, make_site: MakeSite, transport: str, tail: int | None
    ) -> None:
        site = make_site(tail=tail)
        site.fill(500)
        clients = {
            behind: Client(site, transport, cursor=site.log.cursor(500 - behind))
            for behind in (1, SHORT, SHORT + 1, 450)
        }
        for behind, client in clients.items():
            assert client.texts() == said(501 - behind, 500), behind
        site.fill(3)
        for behind, client in clients.items():
            assert client.texts() == said(501 - behind, 503), behind

    @pytest.mark.parametrize("transport", ALL)
    def test_while_messages_keep_coming(self, make_site: MakeSite, transport: str) -> None:
        """The log answers with what was there when it was asked; meanwhile more is said."""
        site = make_site(tail=SHORT)
        site.fill(500)
        site.log.holding_reads = True
        client = Client(site, transport, cursor=site.log.cursor(0))
        for _ in range(30):
            site.fill(SHORT // 2)
            if site.log.waiting_reads:
                site.log.answer_read()
                site.turn()
            client.go_on()
        site.log.holding_reads = False
        while site.log.waiting_reads:
            site.log.answer_read()
            site.turn()
        assert client.texts() == said(1, 650)
        site.say("hi")
        assert client.texts()[-1] == "hi"

    @pytest.mark.parametrize("transport", ALL)
    def test_a_long_silence_of_the_rooms_is_skipped_over(
        self, make_site: MakeSite, transport: str
    ) -> None:
        """The tail is full of other rooms' events; the log has none of hers any more."""
        site = make_site(tail=SHORT)
        site.fill(1, room="dev")
        site.fill(100)
        client = Client(site, transport, rooms="dev", cursor=site.log.cursor(1))
        site.say("hi", "dev")
        assert client.texts() == ["hi"]

    @pytest.mark.parametrize("transport", ALL)
    def test_what_is_said_while_the_log_finds_nothing_is_not_skipped(
        self, make_site: MakeSite, transport: str
    ) -> None:
        site = make_site(tail=SHORT)
        site.fill(100)
        site.log.holding_reads = True
        client = Client(site, transport, rooms="dev", cursor=site.log.cursor(1))
        site.say("hi", "dev")
        site.fill(2 * SHORT)
        site.log.holding_reads = False
        site.log.answer_read()
        site.turn()
        assert client.texts() == ["hi"]

    def test_transports_are_changed_in_mid_conversation(self, make_site: MakeSite) -> None:
        site = make_site(tail=SHORT)
        transports = [*EVENTS, *reversed(EVENTS)]
        heard: list[str] = []
        cursor = site.now
        for number, transport in enumerate(transports):
            site.fill(SHORT + 7)
            client = Client(site, transport, cursor=cursor)
            site.fill(3)
            # The text transport tells where it is by its heartbeats.
            site.advance(16)
            heard += client.texts()
            cursor = client.cursor
            client.leave()
            assert cursor == site.now, number
        assert heard == said(1, len(transports) * (SHORT + 10))

    def test_a_cursor_for_several_rooms_is_the_same_one(self, site: MemorySite) -> None:
        first = Client(site, "stream", rooms="lobby")
        site.say("a")
        site.say("b", "dev")
        second = Client(site, "poll", rooms="lobby,dev", cursor=first.cursor)
        assert second.texts() == ["b"]

    @pytest.mark.parametrize("transport", JSON)
    def test_each_event_can_be_resumed_from(self, site: MemorySite, transport: str) -> None:
        client = Client(site, transport, cursor=site.log.cursor(0))
        site.fill(5)
        for event in client.of("message"):
            again = Client(site, transport, cursor=event["cursor"])
            assert again.texts() == said(event["id"] + 1, 5)

    @pytest.mark.parametrize(
        "name", ["lastEventId", "lastEventID", "Last-Event-ID", "evs_last_event_id"]
    )
    def test_scripts_that_stand_in_for_it_say_so_in_the_address(
        self, site: MemorySite, name: str
    ) -> None:
        site.fill(10)
        first, later, last = (site.log.cursor(id) for id in (2, 5, 7))
        path = f"/api/v1/events/sse?cursor={first}&{name}={later}"
        assert ids(site.get(path)) == [6, 7, 8, 9, 10]
        # The page's own, and what the script adds to it each time, by whatever name.
        assert ids(site.get(f"{path}&{name}={last}")) == [8, 9, 10]
        assert ids(site.get(f"{path}&lastEventId={last}&x=1")) == [8, 9, 10]
        # The header is newer than any address.
        header = {"Last-Event-ID": site.log.cursor(9)}
        assert ids(site.get(f"{path}&{name}={last}", headers=header)) == [10]
        # It says nothing yet.
        assert ids(site.get(f"/api/v1/events/sse?cursor={first}&{name}=")) == list(range(3, 11))
        # At other transports it is one of those that nobody knows.
        response = site.get(f"/api/v1/events/poll?wait=0&cursor={first}&{name}={last}")
        assert len(response.json()["events"]) == 8

    def test_the_browsers_last_event_id_wins_over_the_address(self, site: MemorySite) -> None:
        site.fill(10)
        client = Client(
            site, "sse", cursor=site.log.cursor(2), headers={"Last-Event-ID": site.log.cursor(7)}
        )
        assert client.texts() == said(8, 10)
        # Nobody else sends it; to the others it is a header like any.
        other = Client(
            site, "stream", cursor=site.log.cursor(2), headers={"Last-Event-ID": "non sense"}
        )
        assert other.texts() == said(3, 10)


class TestForeignCursors:
    @pytest.mark.parametrize("transport", ALL)
    @pytest.mark.parametrize("lost", ["2.zzzzzz", "5.{epoch}"])
    def test_get_a_reset_and_go_on_from_now(
        self, make_site: MakeSite, transport: str, lost: str
    ) -> None:
        """Those of another log, and those that a restored backup has undone."""
        log = HeldLog()
        epoch = log.cursor(0).partition(".")[2]
        log.put_back(3)
        site = make_site(log=log)
        site.fill(2)
        cursor = lost.format(epoch=epoch)
        client = Client(site, transport, cursor=cursor)
        site.say("hi")
        (reset,) = client.of("reset")
        assert reset["cursor"] == site.log.cursor(5)
        assert client.texts() == ["hi"]
        types = [event["type"] for event in client.events() if event["type"] != "join"]
        assert types.index("reset") < types.index("message")
        # Whoever is cut in between comes back with the foreign cursor, and is told again.
        shown = [hello["cursor"] for hello in client.of("hello") if "cursor" in hello]
        assert shown in ([], [cursor])

    @pytest.mark.parametrize("transport", ALL)
    def test_so_do_those_that_look_otherwise(self, site: MemorySite, transport: str) -> None:
        site.fill(5)
        clients = [Client(site, transport, cursor=cursor) for cursor in LIKE_NONE_OF_OURS]
        for cursor, client in zip(LIKE_NONE_OF_OURS, clients, strict=True):
            (reset,) = client.of("reset")
            assert reset["cursor"] == site.log.cursor(5), cursor
        site.say("hi")
        assert [client.texts() for client in clients] == [["hi"]] * len(clients)

    def test_so_do_they_by_a_header(self, site: MemorySite) -> None:
        for cursor in LIKE_NONE_OF_OURS:
            client = Client(site, "sse", headers={"Last-Event-ID": cursor})
            assert client.of("reset"), cursor

    @pytest.mark.parametrize(
        "transport", ["stream", "multipart", "text", "sse", "poll", "openchat"]
    )
    def test_what_cannot_be_one_is_400(self, site: MemorySite, transport: str) -> None:
        for cursor in ("", "1 .abcd", "+1.abcd", "١.abcd", "1,2", "x" * 513):
            client = Client(site, transport, cursor=cursor)
            assert client.response.status == 400, cursor
            assert client.response.json()["type"] == "/problems/invalid-cursor"


class TestCursorsAheadOfThisProcess:
    """Given out by another one that has the same log, where it was told a moment earlier."""

    @pytest.mark.parametrize("transport", ALL)
    def test_go_on_once_the_log_comes_there(self, site: MemorySite, transport: str) -> None:
        site.fill(5)
        site.fill_elsewhere(3)
        client = Client(site, transport, cursor=site.log.cursor(7))
        site.advance(PATIENCE / 2)
        assert client.response.status == 0
        site.hear_elsewhere()
        assert client.of("reset") == []
        assert client.texts() == ["said 8"]
        site.advance(PATIENCE)
        site.say("hi")
        assert client.of("reset") == []
        assert client.texts() == ["said 8", "hi"]

    @pytest.mark.parametrize("transport", ALL)
    def test_are_foreign_when_it_does_not(self, site: MemorySite, transport: str) -> None:
        site.fill(5)
        client = Client(site, transport, cursor=site.log.cursor(7))
        (reset,) = client.of("reset")
        assert reset["cursor"] == site.log.cursor(5)
        site.say("hi")
        assert client.texts() == ["hi"]

    @pytest.mark.parametrize("transport", ALL)
    @pytest.mark.parametrize("cursor", ["7.{}", "2.zzzzzz"])
    def test_are_not_foreign_while_the_log_is_out_of_reach(
        self, site: MemorySite, transport: str, cursor: str
    ) -> None:
        site.fill(5)
        site.log.cut = StorageUnavailable("cut off", retry_after=1)
        client = Client(site, transport, cursor=cursor.format(site.log.cursor(5)[2:]))
        site.advance(PATIENCE + 1)
        assert client.response.status in (200, 503)
        if client.response.status == 200:
            # Where no status can be seen, it is told.
            assert "reset" not in client.response.text
            assert client.of("reopen") or client.of("error")

    def test_do_not_wait_while_the_daemon_stops(self, site: MemorySite) -> None:
        site.fill(1)
        site.fill_elsewhere(1)
        client = Client(site, "stream", cursor=site.log.cursor(2))
        site.stop()
        assert client.response.status == 503
        assert client.response.json()["type"] == "/problems/shutting-down"

    def test_are_forgotten_when_their_client_goes(self, site: MemorySite) -> None:
        site.fill(1)
        waiting = site.chat.feed.engine.reaper.scheduled
        client = Client(site, "stream", cursor=site.log.cursor(2))
        assert site.chat.feed.engine.reaper.scheduled > waiting
        client.leave()
        site.turn()
        assert site.chat.feed.engine.reaper.scheduled <= waiting


class TestFarBehind:
    """The daemon's bound is a round number; that it is that one is tested with its readers."""

    @pytest.mark.parametrize("transport", ["stream", "text", "poll", "openchat"])
    @pytest.mark.parametrize("tail", [None, SHORT])
    def test_as_many_as_the_bound_are_all_sent(
        self, make_site: MakeSite, transport: str, tail: int | None
    ) -> None:
        site = make_site(tail=tail, max_behind=500)
        site.fill(501)
        site.fill(1, room="dev")
        client = Client(site, transport, cursor=site.log.cursor(1))
        assert client.texts() == said(2, 501)
        assert client.of("gap") == []

    @pytest.mark.parametrize("transport", ALL)
    @pytest.mark.parametrize("tail", [None, SHORT])
    def test_one_more_is_a_gap_and_the_newest_200(
        self, make_site: MakeSite, transport: str, tail: int | None
    ) -> None:
        site = make_site(tail=tail, max_behind=500)
        site.fill(502)
        client = Client(site, transport, cursor=site.log.cursor(1))
        assert client.texts() == said(303, 502)
        (gap,) = client.of("gap")
        assert int(gap["missing"]) == 301
        site.say("hi")
        assert client.texts() == [*said(303, 502), "hi"]

    @pytest.mark.parametrize("transport", ["stream", "poll", "text"])
    def test_each_room_has_its_gap(self, make_site: MakeSite, transport: str) -> None:
        site = make_site(max_behind=500)
        site.fill(300)
        site.fill(290, room="dev")
        site.fill(100)
        client = Client(site, transport, rooms="lobby,dev", cursor=site.log.cursor(0))
        gaps = {gap["room"]: gap for gap in client.of("gap")} if transport != "text" else {}
        if transport == "text":
            assert "* 300 messages left out" in client.response.text
            assert "* 190 messages left out" in client.response.text
        else:
            missing = {room: gap["missing"] for room, gap in gaps.items()}
            assert missing == {"lobby": 300, "dev": 190}
        assert client.texts() == said(491, 690)

    @pytest.mark.parametrize("transport", ["stream", "poll", "text"])
    def test_more_than_can_be_counted_is_so_many_at_least(
        self, make_site: MakeSite, transport: str
    ) -> None:
        site = make_site(max_behind=500)
        site.fill(1400)
        client = Client(site, transport, cursor=site.log.cursor(0))
        if transport == "text":
            assert "* at least 1000 messages left out" in client.response.text
        else:
            (gap,) = client.of("gap")
            assert (gap["missing"], gap["at_least"], gap["before"]) == (1000, True, 1201)
        assert client.texts() == said(1201, 1400)

    def test_what_is_left_out_can_be_loaded_as_history(self, make_site: MakeSite) -> None:
        site = make_site(max_behind=500)
        site.fill(550)
        client = Client(site, "stream", cursor=site.log.cursor(0))
        (gap,) = client.of("gap")
        path = f"/api/v1/rooms/lobby/messages?before={gap['before']}&limit=200"
        older = site.get(path).json()["messages"]
        assert [each["text"] for each in older] == said(151, 350)
        assert client.texts()[0] == "said 351"

    @pytest.mark.parametrize("transport", ["stream", "poll"])
    def test_what_other_rooms_said_does_not_count(
        self, make_site: MakeSite, transport: str
    ) -> None:
        site = make_site(max_behind=500)
        site.fill(10, room="dev")
        site.fill(600)
        site.fill(10, room="dev")
        client = Client(site, transport, rooms="dev", cursor=site.log.cursor(0))
        assert client.texts() == [*said(1, 10), *said(611, 620)]

    @pytest.mark.parametrize("transport", ["stream", "sse", "frame"])
    def test_a_heartbeat_before_the_gap_does_not_hide_it(
        self, make_site: MakeSite, transport: str
    ) -> None:
        """A client that comes back before the gap was sent has to be told of it yet."""
        site = make_site(tail=SHORT, max_behind=500)
        site.fill(550)
        site.log.holding_reads = True
        client = Client(site, transport, cursor=site.log.cursor(0))
        site.log.answer_read()  # Where to begin; what is read then takes long.
        site.advance(16)
        assert (len(client.of("heartbeat")), client.of("gap")) == (1, [])
        cursor = client.cursor
        client.leave()
        site.log.holding_reads = False
        again = Client(site, transport, cursor=cursor)
        assert len(again.of("gap")) == 1
        assert again.texts() == said(351, 550)


class TestPolling:
    @pytest.mark.parametrize("transport", POLLS)
    def test_without_a_cursor_it_is_answered_at_once(
        self, site: MemorySite, transport: str
    ) -> None:
        site.fill(3)
        response = site.get(transport_path(transport), headers=headers_of(transport))
        assert response.complete
        assert site.now in response.text
        assert response.header("content-length") == str(len(response.body))

    def test_it_is_held_for_as_long_as_the_daemon_says(self, site: MemorySite) -> None:
        response = site.get(f"/api/v1/events/poll?cursor={site.now}")
        site.advance(24.5)
        assert response.status == 0
        site.advance(1.5)
        assert response.json() == {"events": [], "cursor": site.now}

    @pytest.mark.parametrize(("wait", "at_most"), [("3", 4.5), ("0.5", 2), ("100", 26.5)])
    def test_or_shorter_when_it_asks_for_less(
        self, site: MemorySite, wait: str, at_most: float
    ) -> None:
        response = site.get(f"/api/v1/events/poll?cursor={site.now}&wait={wait}")
        site.advance(min(float(wait), 25) - 0.5)
        assert response.status == 0
        site.advance(at_most - min(float(wait), 25) + 0.5)
        assert response.json()["events"] == []

    @pytest.mark.parametrize("wait", ["0", "0.0"])
    def test_or_not_at_all(self, site: MemorySite, wait: str) -> None:
        site.fill(3)
        path = f"/api/v1/events/poll?wait={wait}&cursor="
        assert site.get(path + site.now).json() == {"events": [], "cursor": site.now}
        events = site.get(path + site.log.cursor(1)).json()["events"]
        assert [event["id"] for event in events] == [2, 3]

    @pytest.mark.parametrize("wait", ["-1", "x", "", "1e3", "inf", "nan", "."])
    def test_what_is_no_time_is_400(self, site: MemorySite, wait: str) -> None:
        response = site.get(f"/api/v1/events/poll?wait={wait}")
        assert response.status == 400
        assert response.json()["errors"][0]["field"] == "wait"

    def test_an_answer_has_at_most_200_events(self, site: MemorySite) -> None:
        site.fill(450)
        cursor, sizes = site.log.cursor(0), []
        for _ in range(3):
            answer = site.get(f"/api/v1/events/poll?cursor={cursor}").json()
            sizes.append(len(answer["events"]))
            assert answer["cursor"] == answer["events"][-1]["cursor"]
            cursor = answer["cursor"]
        assert sizes == [200, 200, 50]

    def test_and_at_most_256_kib(self, site: MemorySite) -> None:
        site.fill(100, text="{}" + "x" * 7990)
        cursor, ids = site.log.cursor(0), []
        while cursor != site.now:
            response = site.get(f"/api/v1/events/poll?cursor={cursor}")
            assert len(response.body) <= 256 * 1024 + 100
            ids += [event["id"] for event in response.json()["events"]]
            cursor = response.json()["cursor"]
        assert ids == list(range(1, 101))

    def test_one_event_is_always_sent(self, site: MemorySite) -> None:
        site.fill(2, text="{}" + "\u2028" * 100_000)
        answer = site.get(f"/api/v1/events/poll?cursor={site.log.cursor(0)}").json()
        assert [event["id"] for event in answer["events"]] == [1]

    def test_a_batch_that_is_too_much_for_one_is_gone_on_with(self, site: MemorySite) -> None:
        client = Client(site, "poll", cursor=site.now)
        site.log.hold()
        site.fill(300)
        site.log.release()
        site.turn()
        assert len(client.response.json()["events"]) == 200
        assert len(client.texts()) == 300

    def test_it_can_be_asked_on_one_connection_for_ever(self, site: MemorySite) -> None:
        client = Client(site, "poll")
        for number in range(50):
            client.events()
            site.say(str(number))
        assert client.texts() == [str(number) for number in range(50)]
        assert not client.connection.closed

    def test_the_answer_of_jsonp_calls_what_was_asked_for(self, site: MemorySite) -> None:
        response = site.get("/api/v1/events/jsonp?callback=a.b", headers=OUR_SCRIPT)
        assert decoders.read_jsonp(response.body)["callback"] == "a.b"
