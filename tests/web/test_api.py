"""The JSON API: section 3 of the interface, each request and each answer."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from twisted.internet.defer import Deferred

from cometd_chat.chat.shared_state import PAGE_BYTES
from cometd_chat.errors import StorageUnavailable
from cometd_chat.log.directory import RoomRow
from cometd_chat.log.memory_directory import MemoryDirectory
from tests.growth import cpu_seconds
from tests.memory import MakeSite, MemorySite
from tests.web.refusals import fields, problem
from tests.wire import Response

SESSION = "/api/v1/session"
ROOMS = "/api/v1/rooms"
MESSAGES = "/api/v1/rooms/lobby/messages"
PEOPLE = "/api/v1/rooms/lobby/people"

#: What most rooms are.
PLAIN = {"kind": "public", "slow": 0, "locked": False, "archived": False}


@pytest.fixture
def alice(site: MemorySite) -> str:
    return site.log_in("alice")


def answer(response: Response, status: int = 200) -> Any:
    """What is in a complete answer in JSON."""
    assert response.status == status, response.text
    assert response.header("content-type") == "application/json"
    assert "no-store" in (response.header("cache-control") or "")
    assert response.header("content-length") == str(len(response.body))
    return response.json()


def ids(site: MemorySite, query: str, room: str = "lobby") -> tuple[list[int], bool]:
    page = answer(site.get(f"/api/v1/rooms/{room}/messages?{query}"))
    assert set(page) == {"messages", "more"}
    return [event["id"] for event in page["messages"]], page["more"]


# -- sessions


def test_a_session(site: MemorySite) -> None:
    session = answer(site.post(SESSION, {"name": " Alice "}), 201)
    assert session == {"name": "Alice", "role": "guest", "token": session["token"]}
    assert re.fullmatch("[A-Za-z0-9_-]{32}", session["token"])


def test_the_same_name_again_is_the_same_session(site: MemorySite, alice: str) -> None:
    again = answer(site.post(SESSION, {"name": "alice"}, token=alice))
    assert again == {"name": "alice", "role": "guest", "token": alice}
    assert len(site.chat.sessions) == 1


def test_what_was_made_is_somewhere(site: MemorySite) -> None:
    """A Location is a path of ours, at which it can be had (RFC 9110, section 15.3.2)."""
    response = site.post(SESSION, {"name": "alice"})
    token = answer(response, 201)["token"]
    assert response.header("location") == SESSION
    me = answer(site.get(SESSION, token=token))
    assert {**me, "rights": []} == {"name": "alice", "role": "guest", "rights": []}
    assert {"speak", "make-room"} < set(me["rights"])
    assert "set-policy" not in me["rights"]
    problem(site, site.get(SESSION), 401, "no-session")
    response = site.post(ROOMS, {"name": "Кино"}, token=token)
    room = answer(response, 201)
    assert response.header("location") == "/api/v1/rooms/" + quote("кино")
    assert answer(site.get(response.header("location") or "")) == room
    said = f"{response.header('location')}/messages"
    for _ in range(2):
        response = site.post(said, {"text": "hi", "client_id": "c-1"}, token=token)
        assert response.header("location") in (f"{said}/1", None)
    assert response.status == 200, "the second one made nothing"
    event = response.json()
    assert answer(site.get(f"{said}/1")) == event


@pytest.mark.parametrize("id", ["0", "2", "3", "-1", "x", "1.k3f9", "9" * 19, "9" * 5000, "١"])
def test_a_message_that_is_not_there(site: MemorySite, id: str) -> None:
    site.say("in the lobby")
    site.say("elsewhere", "dev")
    problem(site, site.get(f"{MESSAGES}/{quote(id)}"), 404, "not-found")


def test_another_name_renames_it(site: MemorySite, alice: str) -> None:
    stream = site.get("/api/v1/events/stream", token=alice)
    first = answer(site.post(MESSAGES, {"text": "hi", "client_id": "c-1"}, token=alice), 201)
    renamed = answer(site.post(SESSION, {"name": "carol"}, token=alice))
    carol = renamed.pop("token")
    assert renamed == {"name": "carol", "role": "guest"}
    told = [json.loads(line) for line in stream.text.splitlines()]
    assert [(each["type"], each.get("from")) for each in told[-3:]] == [
        ("leave", "alice"),
        ("join", "carol"),
        ("reopen", None),
    ]
    assert answer(site.post(MESSAGES, {"text": "hi", "client_id": "c-1"}, token=carol)) == first
    assert answer(site.get(PEOPLE))["people"] == [{"name": "carol", "role": "guest"}]
    site.log_in("alice")


@pytest.mark.parametrize("name", ["Alice", "ａｌｉｃｅ", "ALICE "])
def test_a_name_in_use(site: MemorySite, alice: str, name: str) -> None:
    response = site.post(SESSION, {"name": name})
    problem(site, response, 409, "name-taken")
    assert "set-cookie" not in response.headers
    bob = site.log_in("bob")
    problem(site, site.post(SESSION, {"name": name}, token=bob), 409, "name-taken")


@pytest.mark.reads
@pytest.mark.parametrize("name", ["", "..", "x" * 33, "😀", "a\0b", "a/b"])
def test_a_name_that_is_none(site: MemorySite, name: str) -> None:
    found = problem(site, site.post(SESSION, {"name": name}), 400, "invalid-request")
    assert fields(found) == ["name"]
    assert len(site.chat.sessions) == 0


def test_the_end_of_a_session(site: MemorySite, alice: str) -> None:
    response = site.request("DELETE", SESSION, token=alice)
    assert (response.status, response.body) == (204, b"")
    problem(site, site.request("DELETE", SESSION, token=alice), 401, "invalid-token")
    site.log_in("alice")


def test_a_restart_keeps_sessions(site: MemorySite, make_site: MakeSite, alice: str) -> None:
    again = make_site(log=site.log, directory=site.directory)
    problem(again, again.post(SESSION, {"name": "alice"}), 409, "name-taken")
    event = answer(again.post(MESSAGES, {"text": "hi"}, token=alice), 201)
    assert event["from"] == "alice"


# -- rooms


def test_rooms(site: MemorySite, alice: str) -> None:
    assert answer(site.get(ROOMS)) == {
        "rooms": [
            {"name": "lobby", "topic": "", "people": 0, "last_id": 0, **PLAIN},
            {"name": "dev", "topic": "", "people": 0, "last_id": 0, **PLAIN},
        ],
        "more": False,
        "calm": "off",
    }
    made = answer(site.post(ROOMS, {"name": "Attic", "topic": " old  things "}, token=alice), 201)
    assert made == {"name": "attic", "topic": "old things", "people": 0, "last_id": 0, **PLAIN}
    site.say("hi", room="attic")
    site.say("ho", room="attic")
    site.say("hi", room="dev")
    rooms = {room["name"]: room for room in answer(site.get(ROOMS))["rooms"]}
    assert rooms["attic"] == {
        "name": "attic",
        "topic": "old things",
        "people": 1,
        "last_id": 2,
        **PLAIN,
    }
    assert rooms["dev"]["last_id"] == 3
    assert rooms["lobby"] == {"name": "lobby", "topic": "", "people": 0, "last_id": 0, **PLAIN}


def test_one_room(site: MemorySite) -> None:
    path = f"{ROOMS}/dev"
    site.say("hi", room="dev")
    assert answer(site.get(path)) == {
        "name": "dev",
        "topic": "",
        "people": 1,
        "last_id": 1,
        **PLAIN,
    }
    assert answer(site.get(f"{ROOMS}/DEV"))["name"] == "dev"
    problem(site, site.get(f"{ROOMS}/nowhere"), 404, "room-not-found")


def test_rooms_by_the_page(make_site: MakeSite) -> None:
    names = [f"r{number:03}" for number in range(450)]
    site = make_site(rooms=("lobby", *names))
    found: list[str] = []
    pages = []
    after = ""
    while True:
        told = answer(site.get(f"{ROOMS}{after}"))
        pages.append(len(told["rooms"]))
        found += [room["name"] for room in told["rooms"]]
        if not told["more"]:
            break
        after = f"?after={found[-1]}"
    assert found == ["lobby", *names]
    assert pages == [200, 200, 51]
    few = answer(site.get(f"{ROOMS}?after=r004&limit=2"))
    assert [room["name"] for room in few["rooms"]] == ["r005", "r006"]
    assert len(answer(site.get(f"{ROOMS}?limit=1000"))["rooms"]) == 200
    assert fields(problem(site, site.get(f"{ROOMS}?limit=0"), 400)) == ["limit"]


@pytest.mark.parametrize("path", [ROOMS, "/rooms/r1", "/rooms/r1/plain", "/rooms"])
def test_many_rooms_cost_no_more_than_a_hundred(path: str) -> None:
    """A page with 10,000 rooms took 0.3 s of the only thread, and the list 0.1 s."""

    def cost(count: int) -> float:
        site = MemorySite(rooms=["lobby", *(f"r{number}" for number in range(count))])
        return cpu_seconds(lambda: site.get(path))

    # What grew with the rooms grew twentyfold, and was hundreds of times what is left; memory that
    # another's work has pushed out of the caches makes twice.
    assert cost(5000) < 5 * cost(250)


def test_a_room_is_usable_at_once(site: MemorySite, alice: str) -> None:
    answer(site.post(ROOMS, {"name": "кино"}, token=alice), 201)
    path = "/api/v1/rooms/%D0%BA%D0%B8%D0%BD%D0%BE/messages"
    event = answer(site.post(path, {"text": "hi"}, token=alice), 201)
    assert event["room"] == "кино"
    assert answer(site.get(path))["messages"] == [event]


@pytest.mark.parametrize("name", ["lobby", "LOBBY", "dev"])
def test_a_room_that_is_there(site: MemorySite, alice: str, name: str) -> None:
    problem(site, site.post(ROOMS, {"name": name}, token=alice), 409, "room-exists")


@pytest.mark.parametrize("name", ["", "a.b", "a b", "r" * 65, "_"])
def test_a_room_that_can_be_none(site: MemorySite, alice: str, name: str) -> None:
    found = problem(site, site.post(ROOMS, {"name": name}, token=alice), 400)
    assert fields(found) == ["name"]


def test_a_topic_that_is_too_long(site: MemorySite, alice: str) -> None:
    response = site.post(ROOMS, {"name": "attic", "topic": "x" * 201}, token=alice)
    assert fields(problem(site, response, 400)) == ["topic"]


def test_people(site: MemorySite) -> None:
    assert answer(site.get(PEOPLE)) == {"people": []}
    for name in ("carol", "Bob", "alice"):
        site.get("/api/v1/events/stream", token=site.log_in(name))
    assert answer(site.get(PEOPLE)) == {
        "people": [{"name": name, "role": "guest"} for name in ("alice", "Bob", "carol")]
    }
    assert answer(site.get(ROOMS))["rooms"][0]["people"] == 3


@pytest.mark.parametrize(
    ("method", "path", "json"),
    [
        ("GET", PEOPLE, None),
        ("GET", MESSAGES, None),
        ("POST", MESSAGES, {"text": "hi"}),
        ("POST", "/api/v1/rooms/lobby/typing", {}),
    ],
)
def test_who_asks_anything_about_a_room_is_in_it_for_ten_seconds(
    site: MemorySite, alice: str, method: str, path: str, json: Any
) -> None:
    site.request(method, path, json=json, token=alice)
    assert answer(site.get(PEOPLE))["people"] == [{"name": "alice", "role": "guest"}]
    site.advance(9)
    assert len(answer(site.get(PEOPLE))["people"]) == 1
    site.advance(2.5)
    assert answer(site.get(PEOPLE))["people"] == []


# -- messages


def test_a_message(site: MemorySite, alice: str) -> None:
    event = answer(site.post(MESSAGES, {"text": " hi\r\n", "client_id": "c-1"}, token=alice), 201)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["at"])
    assert event == {
        "id": 1,
        "cursor": site.now,
        "room": "lobby",
        "type": "message",
        "from": "alice",
        "text": "hi",
        "at": event["at"],
        "client_id": "c-1",
    }
    assert answer(site.get(MESSAGES)) == {"messages": [event], "more": False}


def test_the_same_event_through_every_transport_that_speaks_json(
    site: MemorySite, alice: str
) -> None:
    stream = site.get("/api/v1/events/stream")
    event = answer(site.post(MESSAGES, {"text": "hi\n</script>\u2028"}, token=alice), 201)
    assert json.loads(stream.text.splitlines()[-1]) == event
    polled = answer(site.get("/api/v1/events/poll?backlog=5"))
    assert polled["events"] == [event]


def test_a_message_without_client_id(site: MemorySite, alice: str) -> None:
    for body in ({"text": "hi"}, {"text": "hi", "client_id": None}):
        event = answer(site.post(MESSAGES, body, token=alice), 201)
        assert "client_id" not in event
    assert site.log.last_id == 2


def test_a_message_can_be_repeated(site: MemorySite, alice: str) -> None:
    body = {"text": "hi", "client_id": "c-1"}
    first = answer(site.post(MESSAGES, body, token=alice), 201)
    assert answer(site.post(MESSAGES, body, token=alice), 200) == first
    reused = {"text": "ho", "client_id": "c-1"}
    problem(site, site.post(MESSAGES, reused, token=alice), 409, "client-id-reused")
    elsewhere = "/api/v1/rooms/dev/messages"
    problem(site, site.post(elsewhere, body, token=alice), 409, "client-id-reused")
    assert answer(site.post(MESSAGES, body, token=site.log_in("bob")), 201)["id"] == 2
    assert site.log.last_id == 2


@pytest.mark.parametrize("client_id", ["", "x" * 65, "é", "a\nb", "\x7f"])
def test_a_client_id_that_is_none(site: MemorySite, alice: str, client_id: str) -> None:
    response = site.post(MESSAGES, {"text": "hi", "client_id": client_id}, token=alice)
    assert fields(problem(site, response, 400)) == ["client_id"]


@pytest.mark.parametrize("text", ["", " \n ", "x" * 8001, "bell\x07", "esc\x1b[31m", "a\x85a"])
def test_a_text_that_is_none(site: MemorySite, alice: str, text: str) -> None:
    response = site.post(MESSAGES, {"text": text}, token=alice)
    assert fields(problem(site, response, 400, "invalid-request")) == ["text"]
    assert site.log.last_id == 0


@pytest.mark.parametrize(
    "text", ["x" * 8000, "😀" * 8000, "a\n\tb", "👩\u200d👧", "</script>", "a\u2028b"]
)
def test_a_text_comes_back_as_it_was(site: MemorySite, alice: str, text: str) -> None:
    answer(site.post(MESSAGES, {"text": text}, token=alice), 201)
    assert answer(site.get(MESSAGES))["messages"][0]["text"] == text


def test_ids_are_of_the_one_log(site: MemorySite, alice: str) -> None:
    rooms = ["lobby", "dev", "dev", "lobby"]
    assert [site.say("hi", room=room)["id"] for room in rooms] == [1, 2, 3, 4]


def test_typing(site: MemorySite, alice: str) -> None:
    stream = site.get("/api/v1/events/stream", token=alice)
    response = site.post("/api/v1/rooms/lobby/typing", {}, token=alice)
    assert (response.status, response.body) == (204, b"")
    told = json.loads(stream.text.splitlines()[-1])
    assert (told["type"], told["from"], told["room"]) == ("typing", "alice", "lobby")
    assert "id" not in told
    assert site.log.last_id == 0, "it is not kept"


@pytest.mark.parametrize("action", ["typing", "leave"])
def test_nobody_types_or_leaves_where_no_room_is(site: MemorySite, alice: str, action: str) -> None:
    response = site.post(f"/api/v1/rooms/attic/{action}", {}, token=alice)
    problem(site, response, 404, "room-not-found")


def test_leaving(site: MemorySite, alice: str) -> None:
    site.get(PEOPLE, token=alice)
    assert site.post("/api/v1/rooms/lobby/leave", token=alice, body=b"").status == 204
    site.advance(3)
    assert answer(site.get(PEOPLE))["people"] == []


# -- history


def test_history(site: MemorySite) -> None:
    for number in range(1, 11):
        site.say(str(number), room="lobby" if number % 2 else "dev")
    assert ids(site, "") == ([1, 3, 5, 7, 9], False)
    assert ids(site, "limit=2") == ([7, 9], True)
    assert ids(site, "limit=2&before=7") == ([3, 5], True)
    assert ids(site, "limit=2&before=5") == ([1, 3], False)
    assert ids(site, "before=1") == ([], False)
    assert ids(site, "before=0") == ([], False)
    assert ids(site, "limit=2&after=0") == ([1, 3], True)
    assert ids(site, "limit=2&after=3") == ([5, 7], True)
    assert ids(site, "limit=2&after=5") == ([7, 9], False)
    assert ids(site, "after=9") == ([], False)
    assert ids(site, "limit=2&after=1&before=9") == ([3, 5], True)
    assert ids(site, "limit=5&after=1&before=9") == ([3, 5, 7], False)
    assert ids(site, "limit=1", room="dev") == ([10], True)
    assert ids(site, "other=1&limit=1") == ([9], True), "what is not known does not matter"


def test_how_much_history_comes_at_once(site: MemorySite) -> None:
    site.fill(205)
    assert ids(site, "") == (list(range(156, 206)), True)
    assert ids(site, "limit=200") == (list(range(6, 206)), True)
    assert ids(site, "limit=201") == (list(range(6, 206)), True)
    assert ids(site, "limit=1") == ([205], True)
    assert ids(site, "limit=200&after=0") == (list(range(1, 201)), True)
    assert ids(site, "limit=200&after=5") == (list(range(6, 206)), False)


@pytest.mark.parametrize("text", ["{}", "{}" + "x" * 7000, "{}" + "\N{GRINNING FACE}" * 7990])
def test_history_can_be_walked_both_ways(site: MemorySite, text: str) -> None:
    site.fill(123, text=text)
    back: list[int] = []
    page, more = ids(site, "limit=50")
    while True:
        back = page + back
        if not more:
            break
        page, more = ids(site, f"limit=50&before={page[0]}")
    forth: list[int] = []
    page, more = ids(site, "limit=50&after=0")
    while True:
        forth += page
        if not more:
            break
        page, more = ids(site, f"limit=50&after={page[-1]}")
    assert back == forth == list(range(1, 124))


@pytest.mark.parametrize("direction", ["", "&before=150", "&after=0", "&after=20"])
def test_a_page_of_history_has_256_kib_at_most(site: MemorySite, direction: str) -> None:
    site.fill(200, text="{}" + "\N{GRINNING FACE}" * 7990)
    response = site.get(f"/api/v1/rooms/lobby/messages?limit=200{direction}")
    assert 200 * 1024 < len(response.body) < PAGE_BYTES + 1024
    assert response.json()["more"] is True


# -- routes that write are shielded


def test_a_message_is_said_though_its_sender_has_left(site: MemorySite, alice: str) -> None:
    stream = site.get("/api/v1/events/stream")
    site.log.hold()
    connection = site.connect()
    response = connection.request("POST", MESSAGES, json={"text": "still"}, token=alice)
    assert response.status == 0, "it is not durable yet"
    assert "still" not in stream.text
    connection.reset()
    site.log.release()
    site.turn()
    assert response.status == 0
    assert json.loads(stream.text.splitlines()[-1])["text"] == "still"
    assert [event["text"] for event in answer(site.get(MESSAGES))["messages"]] == ["still"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/rooms/lobby", b"text=still"),
        ("/rooms/lobby/plain", b"text=still"),
        ("/chat", b"action=post&message=still"),
    ],
)
def test_so_it_is_by_form(site: MemorySite, alice: str, path: str, body: bytes) -> None:
    stream = site.get("/api/v1/events/stream")
    site.log.hold()
    connection = site.connect()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", path, body=body, headers=kind, token=alice)
    connection.reset()
    site.log.release()
    site.turn()
    assert json.loads(stream.text.splitlines()[-1])["text"] == "still"


class SlowDirectory(MemoryDirectory):
    """A directory that ends and renames sessions when it is told to."""

    def __init__(self) -> None:
        super().__init__([RoomRow("lobby", "", "", 0)])
        self.held: list[Deferred[None]] = []

    def _later(self, done: Deferred[None]) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self.held.append(waiting)
        return waiting.addCallback(lambda _: done)

    def end_session(self, id: str) -> Deferred[None]:
        return self._later(super().end_session(id))

    def rename_session(
        self,
        id: str,
        name: str,
        name_key: str | None,
        name_looks: str | None,
        token_hash: bytes | None = None,
    ) -> Deferred[None]:
        return self._later(super().rename_session(id, name, name_key, name_looks, token_hash))


@pytest.mark.parametrize(
    ("method", "path", "body", "told"),
    [
        ("DELETE", SESSION, b"", [("leave", "alice")]),
        ("POST", "/log-out", b"", [("leave", "alice")]),
        ("POST", SESSION, b'{"name": "carol"}', [("leave", "alice"), ("join", "carol")]),
        ("POST", "/rename", b"name=carol", [("leave", "alice"), ("join", "carol")]),
        ("POST", "/log-in", b"name=carol", [("leave", "alice"), ("join", "carol")]),
    ],
)
def test_what_was_begun_is_done_to_its_end(
    make_site: MakeSite, method: str, path: str, body: bytes, told: list[tuple[str, str]]
) -> None:
    """Others hear of a new name, and of an end, though whoever asked for it has left."""
    directory = SlowDirectory()
    site = make_site(directory=directory)
    alice = site.log_in("alice")
    site.get("/api/v1/events/stream", token=alice)
    stream = site.get("/api/v1/events/stream")
    connection = site.connect()
    kind = "application/json" if path == SESSION else "application/x-www-form-urlencoded"
    connection.request(method, path, body=body, headers={"Content-Type": kind}, token=alice)
    (waiting,) = directory.held
    connection.reset()
    waiting.callback(None)
    site.turn()
    events = [json.loads(line) for line in stream.text.splitlines()[-len(told) :]]
    assert [(event["type"], event["from"]) for event in events] == told


def test_an_error_after_the_sender_has_left_is_nobodys_defect(site: MemorySite, alice: str) -> None:
    answer(site.post(MESSAGES, {"text": "hi", "client_id": "c-1"}, token=alice), 201)
    site.log.hold()
    connection = site.connect()
    reused = {"text": "ho", "client_id": "c-1"}
    connection.request("POST", MESSAGES, json=reused, token=alice)
    connection.reset()
    site.log.release()
    site.turn()
    assert site.log.last_id == 1


def test_nothing_is_answered_before_it_is_durable(site: MemorySite, alice: str) -> None:
    site.log.hold()
    responses = [
        site.post(MESSAGES, {"text": str(number), "client_id": "c-1"}, token=alice)
        for number in (1, 1, 2)
    ]
    assert [response.status for response in responses] == [0, 0, 0]
    site.log.release()
    site.turn()
    assert [response.status for response in responses] == [201, 200, 409]


def test_storage_that_is_away_takes_nothing(site: MemorySite, alice: str) -> None:
    stream = site.get("/api/v1/events/stream")
    before = stream.text
    site.log.failure = StorageUnavailable("The disk is full.", retry_after=4.2)
    response = site.post(MESSAGES, {"text": "hi"}, token=alice)
    problem(site, response, 503, "storage-unavailable")
    assert response.header("retry-after") == "5"
    told = [json.loads(line)["type"] for line in stream.text.removeprefix(before).splitlines()]
    assert "message" not in told


# -- addresses


#: What brings somebody into the lobby.
WAYS_IN: list[tuple[str, str, dict[str, str] | None]] = [
    ("GET", "/api/v1/events/stream", None),
    ("GET", PEOPLE, None),
    ("GET", "/rooms/lobby", None),
    ("GET", "/rooms/lobby/plain", None),
    ("GET", "/chat?action=openchat", None),
    ("POST", MESSAGES, {"text": "hi"}),
    ("POST", "/api/v1/rooms/lobby/typing", {}),
]


@pytest.mark.parametrize(
    ("shown", "address", "seen"),
    [
        ("full", "192.0.2.7", "192.0.2.7"),
        ("network", "192.0.2.7", "192.0.2.0/24"),
        ("none", "192.0.2.7", None),
        ("full", "2001:db8:1:2::7", "2001:db8:1:2::7"),
        ("network", "2001:db8:1:2::7", "2001:db8:1::/48"),
    ],
)
def test_what_others_see_of_an_address(
    make_site: MakeSite, shown: str, address: str, seen: str | None
) -> None:
    """However they came into the room."""
    site = make_site(show_addresses=shown)
    for number, (method, path, body) in enumerate(WAYS_IN):
        token = site.log_in(f"alice{number}")
        stream = site.get("/api/v1/events/stream")
        site.request(method, path, json=body, token=token, address=address)
        told = [json.loads(line) for line in stream.text.splitlines()]
        (join,) = [event for event in told if event["type"] == "join"]
        assert (join["from"], join.get("address")) == (f"alice{number}", seen), path
