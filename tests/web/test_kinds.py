"""Kinds of events that are kept and are no messages, everywhere that events are shown.

A row is planted in the table, and what has no row is put into the log, as after a downgrade. None
of the places that show events knows of either.
"""

from __future__ import annotations

from typing import Any

import pytest

from cometd_chat.chat.rights import Act
from cometd_chat.events.kinds import KINDS, Kind
from cometd_chat.events.record import Draft
from cometd_chat.events.texts import refused
from tests.memory import MakeSite, MemorySite
from tests.transport_paths import POLLS
from tests.web.bayeux import Client as BayeuxClient
from tests.web.talkers import Duplex, Socket
from tests.web.transports import JSON, Client


def _parse(asked: Any) -> dict[str, str]:
    if asked.get("reaction") not in ("+1", "<b>"):
        raise refused("reaction", "that is none")
    return {"reaction": asked["reaction"]}


REACTION = Kind(
    "reaction",
    ("id", "cursor", "room", "from", "refers", "reaction", "at", "client_id"),
    kept=True,
    refers="message",
    text=lambda fields: f"* {fields['from']}: {fields['reaction']}",
    bayeux=("type", "id", "room", "from", "refers", "reaction"),
    asks=("refers", "reaction"),
    parse=_parse,
)

MOOD = Kind("mood", ("mood",), kept=True, page=lambda fields: f"the mood is {fields['mood']}")


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "reaction", REACTION)
    monkeypatch.setitem(KINDS, "mood", MOOD)


@pytest.fixture
def site(make_site: MakeSite) -> MemorySite:
    return make_site()


def put(site: MemorySite, type: str, refers: int | None = None, **data: Any) -> None:
    """Put something into the log, whoever may say it."""
    site.log.append(Draft("/chat/lobby", type, "s", "ann", data, refers))
    site.turn()


def converse(site: MemorySite) -> None:
    """Two messages, and between and after them what is none."""
    site.say("one")
    put(site, "reaction", 1, reaction="<b>")
    put(site, "later", 1, text="not a message", room="dev", id=99)
    site.say("two")
    put(site, "reaction", 1, reaction="+1")


def history(site: MemorySite, query: str = "") -> list[str]:
    answer = site.get(f"/api/v1/rooms/lobby/messages{query}").json()
    return [each.get("text", each["type"]) for each in answer["messages"]]


@pytest.mark.usefixtures("planted")
class TestAPlantedKind:
    @pytest.mark.parametrize("transport", [*JSON, "ws"])
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_is_told_in_its_place(self, site: MemorySite, transport: str, when: str) -> None:
        if when == "before":
            converse(site)
        start = site.log.cursor(0)
        reader: Any = (
            Socket(site, cursor=start)
            if transport == "ws"
            else Client(site, transport, cursor=start)
        )
        if when == "after":
            converse(site)
        seen = [event for event in reader.events() if "id" in event]
        types = ["message", "reaction", "later", "message", "reaction"]
        assert [event["type"] for event in seen] == types
        assert [event["id"] for event in seen] == [1, 2, 3, 4, 5]
        reaction = {"type": "reaction", "from": "ann", "refers": 1, "reaction": "<b>"}
        assert reaction.items() <= seen[1].items()
        # What it says of itself is not what the log says of it.
        assert (seen[2]["room"], seen[2]["id"]) == ("lobby", 3)
        if transport not in POLLS:
            assert reader.cursor == site.now

    def test_has_its_line_for_people(self, site: MemorySite) -> None:
        text = Client(site, "text", cursor=site.log.cursor(0))
        duplex = Duplex(site, name="dan", cursor=site.log.cursor(0))
        classic = Client(site, "openchat")
        converse(site)
        wanted = b"[bob] one\n* ann: <b>\n[bob] two\n* ann: +1\n"
        assert text.response.body.endswith(wanted)
        assert wanted in duplex.response.body
        assert b'<p dir="auto">ann: &lt;b&gt;</p>' in classic.response.body
        assert b"not a message" not in classic.response.body

    def test_is_no_message_in_histories_and_on_pages(self, site: MemorySite) -> None:
        converse(site)
        assert history(site) == ["one", "two"]
        assert history(site, "?limit=1") == ["two"]
        assert history(site, "?after=1") == ["two"]
        assert site.get("/api/v1/rooms/lobby/messages/2").status == 404
        for path in ("/rooms/lobby/plain", "/"):
            page = site.get(path, token=site.log_in(f"reader-{len(path)}")).text
            assert "one" in page, path
            assert 'id="m4"' in page, path
            assert 'id="m2"' not in page, path
            assert "not a message" not in page, path

    def test_is_on_pages_when_it_has_a_line_there(self, site: MemorySite) -> None:
        put(site, "mood", mood="<work>")
        assert history(site) == ["mood"]
        assert "the mood is &lt;work&gt;" in site.get("/rooms/lobby/plain").text

    def test_does_not_count_as_unread(self, site: MemorySite) -> None:
        converse(site)
        (lobby,) = [
            room for room in site.get("/api/v1/rooms").json()["rooms"] if room["name"] == "lobby"
        ]
        assert lobby["last_id"] == 4

    def test_does_not_count_as_unread_after_a_restart(
        self, make_site: MakeSite, site: MemorySite
    ) -> None:
        converse(site)
        again = make_site(log=site.log, directory=site.directory, tail=1)
        assert again.get("/api/v1/rooms/lobby").json()["last_id"] == 4

    @pytest.mark.parametrize("tail", [None, 1])
    def test_does_not_count_in_a_backlog(self, make_site: MakeSite, tail: int | None) -> None:
        site = make_site(tail=tail)
        converse(site)
        seen = Client(site, "stream", backlog=2).events()
        assert [event["id"] for event in seen if "id" in event] == [1, 2, 3, 4, 5]

    def test_does_not_count_as_missing(self, make_site: MakeSite) -> None:
        site = make_site(max_behind=250, tail=10)
        site.fill(100)
        for _ in range(100):
            put(site, "reaction", 1, reaction="+1")
        site.fill(200)
        reader = Client(site, "stream", cursor=site.log.cursor(10))
        (gap,) = reader.of("gap")
        assert (gap["missing"], gap["before"]) == (90, 201)
        assert len(reader.of("message")) == 200

    def test_is_told_in_bayeux_by_its_fields(self, site: MemorySite) -> None:
        client = BayeuxClient(site, name="carol").joined("/chat/lobby")
        converse(site)
        told = [each["data"] for each in client.delivered]
        assert [each.get("type", "message") for each in told] == [
            "message",
            "reaction",
            "message",
            "reaction",
        ]
        assert told[1] == {
            "type": "reaction",
            "id": 2,
            "room": "lobby",
            "from": "ann",
            "refers": 1,
            "reaction": "<b>",
        }


@pytest.mark.usefixtures("planted")
class TestSayingIt:
    def test_through_a_socket(self, site: MemorySite) -> None:
        site.say("one")
        socket = Socket(site, token=site.log_in("ann"))
        socket.post({"type": "reaction", "refers": 1, "reaction": "+1", "client_id": "k"})
        (event,) = socket.of("reaction")
        assert (event["from"], event["refers"], event["client_id"]) == ("ann", 1, "k")
        socket.post({"type": "reaction", "refers": 1, "reaction": "+1", "client_id": "k"})
        socket.post({"type": "reaction", "refers": 1, "reaction": "<b>", "client_id": "k"})
        (error,) = socket.of("error")
        assert error["status"] == 409
        assert site.log.last_id == 2

    @pytest.mark.parametrize(
        "fields",
        [
            {"refers": 99, "reaction": "+1"},
            {"refers": "1", "reaction": "+1"},
            {"refers": True, "reaction": "+1"},
            {"refers": 2, "reaction": "+1"},
            {"refers": 3, "reaction": "+1"},
            {"refers": -1, "reaction": "+1"},
            {"refers": 2**64, "reaction": "+1"},
            {"reaction": "+1"},
            {"refers": 1, "reaction": ["+1"]},
            {"refers": 1},
        ],
    )
    def test_of_what_it_can_not_be_about(self, site: MemorySite, fields: dict[str, Any]) -> None:
        site.say("one")
        put(site, "reaction", 1, reaction="+1")
        site.say("elsewhere", "dev")
        socket = Socket(site, token=site.log_in("ann"))
        socket.post({"type": "reaction", "client_id": "k", **fields})
        (error,) = socket.of("error")
        assert (error["status"], error["client_id"]) == (400, "k")
        assert site.log.last_id == 3

    def test_by_somebody_who_may_no_longer(self, site: MemorySite) -> None:
        """What it is about is looked for in the log, which takes its time."""
        site.say("one")
        socket = Socket(site, token=site.log_in("ann"))
        site.log.holding_reads = True
        socket.post({"type": "reaction", "refers": 1, "reaction": "+1", "client_id": "k"})
        assert site.log.waiting_reads == 1
        site.chat.rights.change(lambda session, act, room: act is not Act.SPEAK)
        site.log.answer_read()
        site.turn()
        assert [error["status"] for error in socket.of("error")] == [403]
        assert site.log.last_id == 1


class TestAKindWithoutARow:
    def test_is_told_as_it_is_to_clients_of_json_and_to_nobody_else(self, site: MemorySite) -> None:
        reader = Client(site, "stream")
        text = Client(site, "text")
        bayeux = BayeuxClient(site, name="carol").joined("/chat/lobby")
        put(site, "later", text="not a message", of={"what": [1, 2]})
        site.say("after it")
        (event,) = reader.of("later")
        assert (event["id"], event["of"]) == (1, {"what": [1, 2]})
        assert text.texts() == bayeux.texts == history(site) == ["after it"]

    def test_does_not_swallow_what_bayeux_is_told_is_missing(self, make_site: MakeSite) -> None:
        """The first event after a gap carries the number; this one is not told."""
        site = make_site(max_behind=500)
        cursor = site.now
        site.fill(330)
        put(site, "later")
        site.fill(199)
        alice = BayeuxClient(site, name="alice").joined("/chat/lobby", ext={"cursor": cursor})
        assert len(alice.texts) == 199
        assert alice.delivered[0]["ext"]["missing"] == 330

    def test_is_passed_over_by_pages_of_history(self, site: MemorySite) -> None:
        for number in range(5):
            site.say(f"said {number}")
            put(site, "later", text="not a message")
        found: list[str] = []
        query = "?limit=2"
        while True:
            answer = site.get(f"/api/v1/rooms/lobby/messages{query}").json()
            found = [each["text"] for each in answer["messages"]] + found
            if not answer["more"]:
                break
            query = f"?limit=2&before={answer['messages'][0]['id']}"
        assert found == [f"said {number}" for number in range(5)]

    def test_can_not_be_said(self, site: MemorySite) -> None:
        socket = Socket(site, token=site.log_in("ann"))
        for type in ("later", "join", "", None, ["message"]):
            socket.post({"type": type, "text": "hi", "room": "lobby"})
        assert len(socket.of("error")) == 5
        assert site.log.last_id == 0
