"""What happens in a private room, and those who moderate the house without belonging to it: it is
not there for them, in whatever is listed, told or done."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from cometd_chat.chat.roles import Role
from cometd_chat.log.tables import audit, reports, screened
from tests.chat.parts import appoint, now
from tests.memory import MemorySite
from tests.web.moderators import sanctioned
from tests.web.people import INVITES, invitation, member, owner
from tests.web.transports import Client

ROOM = "attic-of-bob"


@pytest.fixture
def ada(site: MemorySite) -> str:
    """The owner's token, who does not belong to the room."""
    return owner(site, "ada")


@pytest.fixture
def bob(site: MemorySite, ada: str) -> str:
    """The token of who made the private room."""
    bob = member(site, "bob", invitation(site, ada))
    made = site.post("/api/v1/rooms", {"name": ROOM, "kind": "private"}, token=bob)
    assert made.status == 201
    return bob


def put(site: MemorySite, by: str, who: str) -> None:
    path = f"/api/v1/rooms/{ROOM}/members/{who}"
    assert site.request("PUT", path, headers={"Authorization": f"Bearer {by}"}).status == 201


def say(site: MemorySite, token: str, text: str, room: str = ROOM) -> Any:
    return site.post(f"/api/v1/rooms/{room}/messages", {"text": text}, token=token)


def happen(site: MemorySite, bob: str) -> None:
    """Something of each kind that moderators are told of, in the private room."""
    carol = site.log_in("carol")
    put(site, bob, "carol")
    now(site.chat.policies.set({"words": {"hold": ["secretly"]}}, who="", who_name="shell"))
    site.turn()
    assert say(site, carol, "this is said secretly").status == 202
    said = say(site, carol, "hello in the attic").json()["id"]
    path = f"/api/v1/rooms/{ROOM}/messages/{said}/report"
    assert site.post(path, {"reason": "look at that"}, token=bob).status == 201
    sanctioned(site, bob, "silence", "carol", room=ROOM)
    assert site.post(f"/api/v1/rooms/{ROOM}/purge", {"who": "carol"}, token=bob).status == 201
    invitation(site, bob, room=ROOM)


LISTS = (
    "/api/v1/held",
    "/api/v1/reports",
    "/api/v1/sanctions",
    "/api/v1/audit",
    INVITES,
    "/api/v1/rooms",
    "/admin/reports",
    "/admin/sanctions",
    "/admin/audit",
    "/admin/rooms",
    "/account",
)


@pytest.mark.parametrize("path", LISTS)
def test_no_list_has_it(site: MemorySite, ada: str, bob: str, path: str) -> None:
    happen(site, bob)
    for token, seen in ((ada, False), (bob, True)):
        answer = site.get(path, token=token)
        if seen and answer.status == 200 and path.startswith("/api/v1/rooms"):
            assert ROOM in answer.text
        if not seen:
            assert answer.status == 200
            assert ROOM not in answer.text
            assert "carol" not in answer.text


def test_nobody_is_told(site: MemorySite, ada: str, bob: str) -> None:
    owner, other = (Client(site, "sse", token=each) for each in (ada, bob))
    happen(site, bob)
    site.turn()
    told = [event for event in owner.events() if event["type"] in ("held", "report")]
    assert told == []
    heard = {event["type"] for event in other.events()}
    assert {"held", "report"} <= heard


def test_who_moderates_and_belongs_sees_all(site: MemorySite, ada: str, bob: str) -> None:
    put(site, bob, "ada")
    happen(site, bob)
    for path in ("/api/v1/held", "/api/v1/reports", "/api/v1/sanctions", "/api/v1/audit", INVITES):
        assert ROOM in site.get(path, token=ada).text, path


def test_others_are_listed_however_much_there_is_of_it(
    site: MemorySite, ada: str, bob: str
) -> None:
    happen(site, bob)
    dora = site.log_in("dora")
    assert say(site, dora, "also secretly", room="lobby").status == 202
    said = say(site, dora, "hello", room="lobby").json()["id"]
    path = f"/api/v1/rooms/lobby/messages/{said}/report"
    assert site.post(path, {"reason": "spam"}, token=bob).status == 201
    sanctioned(site, ada, "silence", "dora")
    for path, name in (
        ("/api/v1/held", "held"),
        ("/api/v1/reports", "reports"),
        ("/api/v1/sanctions", "sanctions"),
        ("/api/v1/audit", "audit"),
    ):
        answer = site.get(f"{path}?limit=1", token=ada).json()
        assert len(answer[name]) == 1, path
        if path != "/api/v1/audit":
            assert answer["more"] is False, "what one may not see is not counted"


def test_nothing_is_left_when_it_is_removed(site: MemorySite, ada: str, bob: str) -> None:
    happen(site, bob)
    appoint(site.chat.changes, now(site.chat.sessions.by_token(bob)), Role.ADMIN)
    headers = {"Authorization": f"Bearer {bob}"}
    assert site.request("DELETE", f"/api/v1/rooms/{ROOM}", headers=headers).status == 204
    site.advance(20)
    for path in LISTS:
        for token in (ada, bob):
            assert ROOM not in site.get(path, token=token).text, path
    tables = (screened, reports, audit)
    kept = site.directory.store.read_now(
        lambda each: [str(each.execute(select(table)).all()) for table in tables]
    )
    assert "said secretly" not in str(kept)
    assert "look at that" not in str(kept)
    assert ROOM not in str(kept)
    assert "remove-room" in site.get("/api/v1/audit", token=ada).text


def test_what_waits_goes_with_a_room_and_with_an_account(site: MemorySite, ada: str) -> None:
    now(site.chat.policies.set({"words": {"hold": ["secretly"]}}, who="", who_name="shell"))
    site.turn()
    carol = member(site, "carol", invitation(site, ada))
    assert site.post("/api/v1/rooms", {"name": "hall"}, token=ada).status == 201
    assert say(site, carol, "this is said secretly", room="hall").status == 202
    (item,) = site.get("/api/v1/held", token=ada).json()["held"]
    headers = {"Authorization": f"Bearer {ada}"}
    assert site.request("DELETE", "/api/v1/rooms/hall", headers=headers).status == 204
    answer = site.post(f"/api/v1/held/{item['id']}", {"say": True}, token=ada)
    assert answer.status == 404
    assert site.get("/api/v1/held", token=ada).json()["held"] == []
    assert say(site, carol, "this is said secretly", room="lobby").status == 202
    assert site.request("DELETE", "/api/v1/users/carol", headers=headers).status == 204
    assert site.get("/api/v1/held", token=ada).json()["held"] == []
