"""What people take out of what was said, on every transport, and bring back."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import pytest
from msgspec.structs import replace
from sqlalchemy import update
from twisted.internet.defer import Deferred

from cometd_chat.chat import purge_rows
from cometd_chat.chat.roles import Role
from cometd_chat.log.tables import audit, members, purges, room_members, sessions
from tests.chat.parts import appoint, now
from tests.memory import MakeSite, MemorySite
from tests.transport_paths import POLLS
from tests.web.bayeux import Client as BayeuxClient
from tests.web.refusals import problem
from tests.web.talkers import Duplex, Socket
from tests.web.transports import JSON, Client

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}

SECRET = "xyzzy-the-secret"

LOBBY = "/api/v1/rooms/lobby"


@pytest.fixture
def site(make_site: MakeSite) -> MemorySite:
    return make_site()


def promote(site: MemorySite, name: str, role: Role = Role.MODERATOR) -> str:
    """The token of somebody who is more than a guest."""
    token = site.log_in(name)
    appoint(site.chat.changes, now(site.chat.sessions.by_token(token)), role)
    return token


def delete(site: MemorySite, id: object, token: str, room: str = "lobby") -> int:
    return site.request("DELETE", f"/api/v1/rooms/{room}/messages/{id}", token=token).status


def history(site: MemorySite, room: str = "lobby") -> list[Any]:
    """What is said in a room, or who has deleted it."""
    answer = site.get(f"/api/v1/rooms/{room}/messages?limit=200").json()
    return [each.get("text", each.get("deleted")) for each in answer["messages"]]


def said(site: MemorySite) -> str:
    """Bob says three things, of which the second one is the secret; his token."""
    token = site.log_in("bob")
    for number, text in enumerate(["one", SECRET, "three"]):
        body = {"text": text, "client_id": f"c{number}"}
        assert site.post(f"{LOBBY}/messages", body, token=token).status == 201
    return token


class TestOne:
    def test_of_ones_own_is_gone_from_history(self, site: MemorySite) -> None:
        token = said(site)
        assert delete(site, 2, token) == 204
        assert history(site) == ["one", "own", "three"]
        message = site.get(f"{LOBBY}/messages/2").json()
        assert "text" not in message
        assert (message["id"], message["from"], message["deleted"]) == (2, "bob", "own")

    def test_of_somebody_else_needs_a_moderator(self, site: MemorySite) -> None:
        said(site)
        carol = site.log_in("carol")
        refusal = site.request("DELETE", f"{LOBBY}/messages/2", token=carol)
        problem(site, refusal, 403, "not-allowed")
        assert history(site)[1] == SECRET
        assert delete(site, 2, promote(site, "maud")) == 204
        assert history(site)[1] == "moderator"

    def test_nobody_touches_who_is_not_below_them(self, site: MemorySite) -> None:
        mod, owner = promote(site, "maud"), promote(site, "olga", Role.OWNER)
        site.post(f"{LOBBY}/messages", {"text": "mine"}, token=owner)
        session = site.chat.presence.people("lobby")
        (olga,) = [each for each in session if each.name == "olga"]
        row = {"identity": olga.identity, "name": "olga", "role": "owner"}
        site.directory.store.write_now(
            lambda connection: connection.exec_driver_sql(
                "INSERT INTO members (identity, name, role, created_at, seen_at)"
                " VALUES (:identity, :name, :role, 0, 0)",
                row,
            )
        )
        refusal = site.request("DELETE", f"{LOBBY}/messages/1", token=mod)
        problem(site, refusal, 403, "not-below")
        assert history(site) == ["mine"]

    def test_without_a_session(self, site: MemorySite) -> None:
        said(site)
        assert site.request("DELETE", f"{LOBBY}/messages/2").status == 401

    @pytest.mark.parametrize("id", ["9", "0", "-1", "x", "99999999999999999999", "4"])
    def test_that_is_not_there(self, site: MemorySite, id: str) -> None:
        token = said(site)
        site.say("elsewhere", "dev")
        answer = site.request("DELETE", f"{LOBBY}/messages/{id}", token=token)
        problem(site, answer, 404, "not-found")

    def test_twice_and_by_two_is_true_both_times(self, site: MemorySite) -> None:
        token, mod = said(site), promote(site, "maud")
        assert [delete(site, 2, each) for each in (token, mod, token)] == [204, 204, 204]
        assert history(site)[1] == "own"
        assert site.log.last_id == 4

    def test_what_is_not_a_message_can_not_be_deleted(self, site: MemorySite) -> None:
        token = said(site)
        delete(site, 2, token)
        assert delete(site, 4, token) == 404

    def test_a_client_id_again_says_what_has_become_of_it(self, site: MemorySite) -> None:
        token = said(site)
        delete(site, 2, token)
        for text in (SECRET, "something else"):
            again = site.post(f"{LOBBY}/messages", {"text": text, "client_id": "c1"}, token=token)
            assert again.status == 200
            assert (again.json()["id"], again.json()["deleted"]) == (2, "own")
            assert SECRET not in again.text

    def test_what_a_moderator_did_is_noted(self, site: MemorySite) -> None:
        token, mod = said(site), promote(site, "maud")
        delete(site, 1, token)
        delete(site, 2, mod)
        delete(site, 2, mod)
        rows = site.directory.store.read_now(
            lambda connection: connection.execute(audit.select()).all()
        )
        assert [(row.who_name, row.what, row.whom, row.room) for row in rows] == [
            ("maud", "delete", "bob", "lobby")
        ]


class TestIsTold:
    @pytest.mark.parametrize("transport", [*JSON, "ws"])
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_in_its_place(self, site: MemorySite, transport: str, when: str) -> None:
        token = said(site)
        cursor = site.log.cursor(0)

        def reader() -> Any:
            if transport == "ws":
                return Socket(site, cursor=cursor)
            return Client(site, transport, cursor=cursor)

        one = reader() if when == "after" else None
        delete(site, 2, token)
        site.say("four")
        one = reader() if one is None else one
        seen = [event for event in one.events() if "id" in event]
        assert [event["id"] for event in seen] == [1, 2, 3, 4, 5]
        gone = {"type": "delete", "refers": 2, "from": "bob", "deleted": "own", "room": "lobby"}
        assert gone.items() <= seen[3].items()
        assert "text" not in seen[3]
        if when == "before":
            # It resumes before the message was said, and hears no more of what it was.
            assert ("text" in seen[1], seen[1]["deleted"]) == (False, "own")

    @pytest.mark.parametrize("tail", [None, 1])
    @pytest.mark.parametrize("transport", [*JSON, "text", "openchat"])
    def test_and_nobody_hears_what_it_was(
        self, make_site: MakeSite, transport: str, tail: int | None
    ) -> None:
        site = make_site(tail=tail)
        token = said(site)
        delete(site, 2, token)
        reader = Client(site, transport, cursor=site.log.cursor(0))
        assert SECRET.encode() not in reader.response.body
        assert b"three" in reader.response.body
        assert transport in JSON or b"deleted by its author" in reader.response.body

    def test_to_people(self, site: MemorySite) -> None:
        token = said(site)
        text = Client(site, "text")
        duplex = Duplex(site, name="dan")
        delete(site, 2, token)
        for each in (text, duplex):
            assert each.response.body.endswith(b"* bob deleted a message\n")

    def test_on_pages(self, site: MemorySite) -> None:
        token = said(site)
        delete(site, 2, token)
        for path in ("/", "/rooms/lobby/plain"):
            page = site.get(path, token=token)
            assert SECRET not in page.text, path
            assert "deleted by its author" in page.text, path

    def test_in_bayeux(self, site: MemorySite) -> None:
        live = BayeuxClient(site, name="carol").joined("/chat/lobby")
        token = said(site)
        delete(site, 2, token)
        told = [each["data"] for each in live.delivered]
        assert [each.get("type", "message") for each in told] == ["message"] * 3 + ["delete"]
        assert {"refers": 2, "deleted": "own", "from": "bob"}.items() <= told[3].items()
        late = BayeuxClient(site, name="dora").joined(
            "/chat/lobby", ext={"cursor": site.log.cursor(0)}
        )
        texts = [each["data"].get("text", each["data"].get("deleted")) for each in late.delivered]
        assert texts == ["one", "own", "three", "own"]

    def test_a_page_that_was_read_before_is_shown_as_it_is_now(self, site: MemorySite) -> None:
        """It was read from the log a moment before, and is made an answer a moment later."""
        token = said(site)
        site.log.holding_reads = True
        connection = site.connect()
        reading = connection.request("GET", f"{LOBBY}/messages")
        site.log.holding_reads = False
        delete(site, 2, token)
        site.log.answer_read()
        site.turn()
        assert SECRET.encode() not in reading.body
        assert b'"deleted":"own"' in reading.body

    def test_it_does_not_count_as_unread(self, site: MemorySite) -> None:
        token = said(site)
        delete(site, 2, token)
        assert site.get(LOBBY).json()["last_id"] == 3

    @pytest.mark.parametrize("transport", POLLS)
    def test_a_poll_that_stands_is_answered(self, site: MemorySite, transport: str) -> None:
        token = said(site)
        reader = Client(site, transport, cursor=site.now)
        delete(site, 2, token)
        assert [event["type"] for event in reader.events() if "id" in event] == ["delete"]


def purge(site: MemorySite, token: str, **fields: object) -> Any:
    return site.post(f"{LOBBY}/purge", fields, token=token)


def undo(site: MemorySite, id: str, token: str) -> Any:
    return site.request("DELETE", f"{LOBBY}/purge/{id}", token=token)


class TestAPurge:
    def test_hides_all_that_somebody_said_there(self, site: MemorySite) -> None:
        for number in range(5):
            site.say(f"spam {number}", name="spammer")
            site.say(f"talk {number}")
        site.say("spam elsewhere", "dev", "spammer")
        mod = promote(site, "maud")
        reader = Client(site, "stream")
        made = purge(site, mod, who="spammer", reason="spam")
        assert made.status == 201, made.text
        assert history(site) == [
            each for number in range(5) for each in ("moderator", f"talk {number}")
        ]
        assert history(site, "dev") == ["spam elsewhere"]
        told = reader.of("delete")
        # The newest goes first.
        assert [event["refers"] for event in told] == [9, 7, 5, 3, 1]
        assert {event["purge"] for event in told} == {made.json()["id"]}

    def test_and_brings_it_back(self, site: MemorySite) -> None:
        for number in range(3):
            site.say(f"spam {number}", name="spammer")
        mod = promote(site, "maud")
        id = purge(site, mod, who="spammer").json()["id"]
        reader = Client(site, "stream")
        assert undo(site, id, mod).status == 204
        assert history(site) == ["spam 0", "spam 1", "spam 2"]
        assert [event["refers"] for event in reader.of("restore")] == [1, 2, 3]
        # So does who reads it from the tail, or from the log.
        late = Client(site, "stream", cursor=site.log.cursor(0))
        assert [event["text"] for event in late.of("message")] == ["spam 0", "spam 1", "spam 2"]
        assert undo(site, id, mod).status == 204
        assert site.log.last_id == 9

    @pytest.mark.parametrize("slices", [1, 600])
    def test_in_slices(self, site: MemorySite, slices: int) -> None:
        site.fill(slices)
        mod = promote(site, "maud")
        made = purge(site, mod, message=slices)
        assert made.json()["who"] == "filler"
        assert set(history(site)) == {"moderator"}
        assert site.log.last_id == 2 * slices
        assert undo(site, made.json()["id"], mod).status == 204
        assert site.log.last_id == 3 * slices
        assert "moderator" not in history(site)

    def test_only_of_the_last_minutes(self, site: MemorySite) -> None:
        site.fill(2)
        records = site.log._kept.records
        records[0] = replace(records[0], at=records[0].at - 10 * 60_000)
        mod = promote(site, "maud")
        assert purge(site, mod, message=2, minutes=5).status == 201
        assert history(site) == ["said 1", "moderator"]

    def test_of_a_guest_looks_no_further_back_than_they_came(
        self, site: MemorySite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.fill(1200)
        records = site.log._kept.records
        for at, record in enumerate(records):
            records[at] = replace(record, at=record.at - 2 * 3_600_000)
        site.say("spam", name="spammer")
        maud, reads = promote(site, "maud"), 0
        read = site.log.read

        def counted(*arguments: Any, **bounds: Any) -> Any:
            nonlocal reads
            reads += 1
            return read(*arguments, **bounds)

        monkeypatch.setattr(site.log, "read", counted)
        assert purge(site, maud, who="spammer").status == 201
        assert history(site)[-1] == "moderator"
        # One page with the spam in it, one of what is older, and the history.
        assert reads == 3

    def test_reads_on_while_it_takes_out(
        self, site: MemorySite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where the reactor is busy its turns take time: a page costs one, not one for each thing
        that is asked of the log."""
        site.fill(1200)
        promote(site, "maud")
        done: list[str] = []
        read, redact, touch = site.log.read, site.log.redact, purge_rows.touch

        def noted(what: str, work: Any) -> Any:
            def run(*arguments: Any, **more: Any) -> Any:
                done.append(what)
                return work(*arguments, **more)

            return run

        held: list[Deferred[Any]] = []

        def waits(redaction: Any) -> Any:
            held.append(Deferred())
            return held[-1].addCallback(lambda _: redact(redaction))

        monkeypatch.setattr(site.log, "read", noted("read", read))
        monkeypatch.setattr(site.log, "redact", noted("take out", waits))
        monkeypatch.setattr(purge_rows, "touch", noted("touch", touch))
        maud = next(each for each in site.chat.sessions.all_in_use() if each.name == "maud")
        room = site.chat.rooms.named("lobby")
        assert room is not None
        whom = now(site.chat.deletions.author(room, "filler"))
        done.clear()
        purging = Deferred.fromCoroutine(site.chat.deletions.purge(maud, room, [whom]))
        turns = []
        while held:
            turns.append(list(done))
            done.clear()
            held.pop().callback(None)
        # The next page is here when the one before is gone.
        assert turns == [
            ["read", "take out", "touch", "read"],
            ["take out", "touch", "read"],
            ["take out", "touch", "read"],
        ]
        assert purging.called
        assert set(history(site)) == {"moderator"}

    def test_can_not_be_undone_for_ever(self, site: MemorySite) -> None:
        site.fill(3)
        mod = promote(site, "maud")
        id = purge(site, mod, message=2).json()["id"]
        now = site.chat.deletions.now
        site.chat.deletions.now = lambda: now() + 31 * 60_000
        problem(site, undo(site, id, mod), 410, "too-late")
        site.clock.advance(31)
        assert site.log._kept.hidden == {id: {}}
        problem(site, undo(site, id, mod), 410, "too-late")

    def test_goes_on_after_a_restart(self, make_site: MakeSite, site: MemorySite) -> None:
        """One that was begun, and one that was being undone."""
        site.fill(4)
        mod = promote(site, "maud")
        id = purge(site, mod, message=2).json()["id"]
        assert undo(site, id, mod).status == 204
        store = site.directory.store
        for state, wanted in (("hiding", "moderator"), ("undoing", "said 4")):
            store.write_now(
                lambda connection: connection.execute(
                    update(purges).values(state=state)  # noqa: B023
                )
            )
            # At once: nobody else can be at it, though somebody was a moment ago.
            again = make_site(log=site.log, directory=site.directory)
            again.clock.advance(1)
            again.turn()
            assert history(again)[-1] == wanted
            again.stop()

    def test_is_noted(self, site: MemorySite) -> None:
        site.fill(1)
        mod = promote(site, "maud")
        id = purge(site, mod, who="filler", reason="spam").json()["id"]

        def rows() -> list[tuple[Any, ...]]:
            found = site.directory.store.read_now(
                lambda connection: connection.execute(audit.select()).all()
            )
            return [
                (row.who_name, row.what, row.whom, row.room, row.reason, row.undone_at is None)
                for row in found
            ]

        assert rows() == [("maud", "purge", "filler", "lobby", "spam", True)]
        undo(site, id, mod)
        assert rows() == [("maud", "purge", "filler", "lobby", "spam", False)]

    def test_of_who_is_not_below(self, site: MemorySite) -> None:
        said(site)
        carol = site.log_in("carol")
        problem(site, purge(site, carol, who="bob"), 403, "not-allowed")
        problem(site, undo(site, "x", carol), 403, "not-allowed")

    @pytest.mark.parametrize(
        ("fields", "status"),
        [
            ({}, 400),
            ({"who": 5}, 400),
            ({"who": "nobody-here"}, 404),
            ({"who": "bob", "minutes": 0}, 400),
            ({"who": "bob", "minutes": 10**9}, 400),
            ({"who": "bob", "minutes": "5"}, 400),
            ({"who": "bob", "minutes": True}, 400),
            ({"who": "bob", "reason": "x" * 501}, 400),
            ({"who": "bob", "reason": 5}, 400),
            ({"message": "1"}, 400),
            ({"who": []}, 400),
            ({"who": ["bob", 5]}, 400),
            ({"who": ["bob"] * 201}, 400),
            ({"who": ["bob", "nobody-here"]}, 404),
            ({"who": "bob", "guests": True}, 400),
            ({"who": "bob", "message": 1}, 400),
            ({"guests": True}, 400),
            ({"guests": False, "minutes": 5}, 400),
            ({"guests": "yes", "minutes": 5}, 400),
            ({"guests": True, "minutes": 0}, 400),
            ({"message": 99}, 404),
        ],
    )
    def test_that_makes_no_sense(
        self, site: MemorySite, fields: dict[str, Any], status: int
    ) -> None:
        said(site)
        assert purge(site, promote(site, "maud"), **fields).status == status
        assert history(site) == ["one", SECRET, "three"]

    def test_that_is_not_there(self, site: MemorySite) -> None:
        mod = promote(site, "maud")
        problem(site, undo(site, "0" * 24, mod), 404, "not-found")


def member(site: MemorySite, name: str, role: str = "member") -> None:
    """Let who is called so have an account."""
    identity = next(
        each.identity for each in site.chat.presence.people("lobby") if each.name == name
    )
    site.directory.store.write_now(
        lambda connection: connection.execute(
            members.insert().values(
                identity=identity, name=name, role=role, created_at=0, seen_at=0
            )
        )
    )


def audited(site: MemorySite) -> list[tuple[str, str, bool]]:
    rows = site.directory.store.read_now(lambda c: c.execute(audit.select()).all())
    return [(row.what, row.whom, row.undone_at is None) for row in rows]


class TestAPurgeOfMany:
    """After a raid: one act, and one look through the room."""

    def test_takes_all_whom_it_names(self, site: MemorySite) -> None:
        for number in range(3):
            for name in ("ann", "ben", "cy"):
                site.say(f"{name} {number}", name=name)
        mod = promote(site, "maud")
        made = purge(site, mod, who=["ann", "ben", "ann"])
        assert (made.status, made.json()["who"]) == (201, ["ann", "ben", "ann"])
        kept = [text for text in history(site) if text != "moderator"]
        assert kept == ["cy 0", "cy 1", "cy 2"]
        assert undo(site, made.json()["id"], mod).status == 204
        assert "moderator" not in history(site)

    def test_names_some_in_the_audit_log(self, site: MemorySite) -> None:
        names = [f"spammer{number}" for number in range(12)]
        for name in names:
            site.say("spam", name=name)
        purge(site, promote(site, "maud"), who=names)
        assert set(history(site)) == {"moderator"}
        assert audited(site) == [("purge", ", ".join(names[:10]) + " and 2 more", True)]

    def test_is_refused_whole_where_one_is_not_below(self, site: MemorySite) -> None:
        site.say("spam", name="spammer")
        owner = promote(site, "olga", Role.OWNER)
        site.post(f"{LOBBY}/messages", {"text": "mine"}, token=owner)
        member(site, "olga", "owner")
        problem(site, purge(site, promote(site, "maud"), who=["spammer", "olga"]), 403, "not-below")
        assert history(site) == ["spam", "mine"]

    def test_of_guests_takes_what_they_said_lately(self, site: MemorySite) -> None:
        site.say("long ago", name="old")
        records = site.log._kept.records
        records[0] = replace(records[0], at=records[0].at - 11 * 60_000)
        for name in ("member", "boss", "maud", "op"):
            token = promote(site, name, Role.GUEST)
            site.post(f"{LOBBY}/messages", {"text": f"by {name}"}, token=token)
        member(site, "member")
        member(site, "boss", "admin")
        (op,) = [each for each in site.chat.presence.people("lobby") if each.name == "op"]
        raised = update(sessions).where(sessions.c.name == "maud").values(role="moderator")
        site.directory.store.write_now(lambda connection: connection.execute(raised))
        site.directory.store.write_now(
            lambda connection: connection.execute(
                room_members.insert().values(
                    room="lobby", identity=op.identity, role="moderator", by="", at=0
                )
            )
        )
        site.say("elsewhere", "dev", "raider")
        for number in range(3):
            site.say(f"spam {number}", name=f"raider{number}")
        mod = promote(site, "marta")
        made = purge(site, mod, guests=True, minutes=10, reason="raid")
        assert made.status == 201, made.text
        assert made.json()["guests"] is True
        assert history(site) == [
            "long ago",
            *(f"by {name}" for name in ("member", "boss", "maud", "op")),
            *["moderator"] * 3,
        ]
        assert history(site, "dev") == ["elsewhere"]
        assert undo(site, made.json()["id"], mod).status == 204
        assert "moderator" not in history(site)
        assert audited(site) == [("purge", "guests", False)]

    def test_of_two_hundred_looks_through_the_room_once(
        self, site: MemorySite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(200):
            site.say("spam", name=f"raider{number}")
        site.fill(1000)
        mod, reads, asked = promote(site, "maud"), 0, 0
        read, more = site.log.read, purge_rows.more_than_guests

        def counted(*arguments: Any, **bounds: Any) -> Any:
            nonlocal reads
            reads += 1
            return read(*arguments, **bounds)

        def counted_too(*arguments: Any) -> Any:
            nonlocal asked
            asked += 1
            return more(*arguments)

        monkeypatch.setattr(site.log, "read", counted)
        monkeypatch.setattr(purge_rows, "more_than_guests", counted_too)
        assert purge(site, mod, guests=True, minutes=10).status == 201
        # Three pages, and one that is empty; who spoke on two of them was looked up before.
        assert (reads, asked) == (4, 2)
        assert set(history(site)) == {"moderator"}

    def test_needs_a_moderator(self, site: MemorySite) -> None:
        said(site)
        refusal = purge(site, site.log_in("carol"), guests=True, minutes=10)
        problem(site, refusal, 403, "not-allowed")
        assert history(site) == ["one", SECRET, "three"]

    def test_goes_on_after_a_restart(self, make_site: MakeSite, site: MemorySite) -> None:
        site.say("spam", name="ann")
        site.say("spam", name="ben")
        mod = promote(site, "maud")
        for fields in ({"who": ["ann", "ben"]}, {"guests": True, "minutes": 10}):
            id = purge(site, mod, **fields).json()["id"]
            assert undo(site, id, mod).status == 204
            site.directory.store.write_now(
                lambda connection: connection.execute(
                    update(purges)
                    .where(purges.c.id == id)  # noqa: B023
                    .values(state="hiding")
                )
            )
            again = make_site(log=site.log, directory=site.directory)
            again.clock.advance(2)
            again.turn()
            assert history(again) == ["moderator", "moderator"]
            again.stop()
            assert undo(site, id, mod).status == 204


class TestByAForm:
    """The page of a message, for who has no script, or no menu."""

    def send(
        self,
        site: MemorySite,
        token: str,
        act: str,
        id: int = 2,
        reason: str = "",
        minutes: str = "10",
    ) -> Any:
        name = site.get("/api/v1/session", token=token).json()["name"]
        cookie = {"Cookie": f"comet_session_memory={token}"}
        path = f"/rooms/lobby/messages/{id}"
        page = site.get(path, headers=cookie).text
        assert name
        form_token = page.partition('name="form_token" value="')[2].partition('"')[0]
        fields = {"form_token": form_token, "act": act, "reason": reason, "minutes": minutes}
        headers = {**cookie, **FORM, "Origin": "http://127.0.0.1:8080"}
        return site.request("POST", path, body=urlencode(fields).encode(), headers=headers)

    def buttons(self, site: MemorySite, token: str, id: int = 2) -> set[str]:
        cookie = {"Cookie": f"comet_session_memory={token}"}
        page = site.get(f"/rooms/lobby/messages/{id}", headers=cookie)
        assert page.status == 200
        return set(re.findall('name="act" value="([a-z-]+)"', page.text))

    def test_its_buttons_are_for_who_may_press_them(self, site: MemorySite) -> None:
        bob, carol, maud = said(site), site.log_in("carol"), promote(site, "maud")
        assert self.buttons(site, bob) == {"delete"}
        assert self.buttons(site, carol) == {"report"}
        assert self.buttons(site, maud) == {
            "delete",
            "report",
            "purge",
            "purge-guests",
            "ban-guests",
            "unpurge",
        }
        assert "/rooms/lobby/messages/2" in site.get("/rooms/lobby/plain").text
        assert site.get("/rooms/lobby/messages/2").status == 200
        assert site.get("/rooms/lobby/messages/9").status == 404
        assert site.get("/rooms/lobby/messages/x").status == 404

    def test_a_message_is_deleted(self, site: MemorySite) -> None:
        bob = said(site)
        answer = self.send(site, bob, "delete")
        assert answer.status == 200
        assert "It is deleted." in answer.text
        assert SECRET not in answer.text
        assert history(site)[1] == "own"
        assert self.buttons(site, bob) == set()

    def test_what_one_may_not(self, site: MemorySite) -> None:
        said(site)
        carol = site.log_in("carol")
        for act, status in (("delete", 403), ("purge", 403), ("purge-guests", 403), ("other", 400)):
            assert self.send(site, carol, act).status == status
        assert history(site)[1] == SECRET

    def test_all_else(self, site: MemorySite) -> None:
        said(site)
        carol, maud = site.log_in("carol"), promote(site, "maud")
        assert "The moderators are told." in self.send(site, carol, "report", reason="rude").text
        assert "All that bob said in this room is gone." in self.send(site, maud, "purge").text
        assert set(history(site)) == {"moderator"}
        assert "is back." in self.send(site, maud, "unpurge").text
        assert history(site)[1] == SECRET

    def test_what_guests_said(self, site: MemorySite) -> None:
        said(site)
        maud = promote(site, "maud")
        for wrong in ("", "0", "x", "99999999"):
            answer = self.send(site, maud, "purge-guests", minutes=wrong)
            assert answer.status == 400, wrong
            assert re.search("A whole number is|1 to 5270400 are", answer.text), wrong
        assert history(site)[1] == SECRET
        answer = self.send(site, maud, "purge-guests", minutes="5")
        assert "What guests said in this room lately is gone." in answer.text
        assert set(history(site)) == {"moderator"}
        assert "is back." in self.send(site, maud, "unpurge").text
        assert history(site)[1] == SECRET


# -- topics


def with_topic(site: MemorySite) -> tuple[str, int]:
    """Bob has made a room, and says the secret by its topic, and then another one; his token."""
    bob = site.log_in("bob")
    assert site.post("/api/v1/rooms", {"name": "attic"}, token=bob).status == 201
    for topic in (SECRET, "calm"):
        answer = site.request("PATCH", "/api/v1/rooms/attic", json={"topic": topic}, token=bob)
        assert answer.status == 200
    messages = site.get("/api/v1/rooms/attic/messages").json()["messages"]
    return bob, messages[0]["id"]


def topics(site: MemorySite) -> list[Any]:
    answer = site.get("/api/v1/rooms/attic/messages").json()
    return [each.get("topic", each.get("deleted")) for each in answer["messages"]]


def shown(site: MemorySite, path: str) -> str:
    page = site.get(path, headers={"Accept": "text/html"})
    assert page.status == 200
    return page.text


def test_a_topic_is_deleted_like_a_message(site: MemorySite) -> None:
    before = site.now
    bob, id = with_topic(site)
    maud = promote(site, "maud", Role.ADMIN)
    other = Client(site, "stream", rooms="attic", cursor=site.now)
    reported = site.post(
        f"/api/v1/rooms/attic/messages/{id}/report", {"reason": "look"}, token=maud
    )
    assert reported.status == 201
    assert SECRET in site.get("/admin/reports", token=maud, headers={"Accept": "text/html"}).text
    assert delete(site, id, maud, room="attic") == 204
    (told,) = other.of("delete")
    assert (told["refers"], told["deleted"]) == (id, "moderator")
    assert topics(site) == ["moderator", "calm"]
    for path in ("/rooms/attic", "/rooms/attic/plain", "/rooms/attic.txt?limit=9"):
        assert SECRET not in site.get(path).text
    # And by who has read nothing yet.
    late = Client(site, "stream", rooms="attic", cursor=before)
    assert [each.get("deleted") for each in late.of("topic")] == ["moderator", None]
    assert SECRET not in late.response.text
    assert "deleted by a moderator" in shown(site, "/rooms/attic/plain")
    # One's own, too.
    own = site.get("/api/v1/rooms/attic/messages").json()["messages"][1]["id"]
    assert delete(site, own, bob, room="attic") == 204
    assert topics(site) == ["moderator", "own"]


def test_and_purged_and_brought_back(site: MemorySite) -> None:
    bob, _ = with_topic(site)
    site.post("/api/v1/rooms/attic/messages", {"text": "said"}, token=bob)
    maud = promote(site, "maud", Role.ADMIN)
    made = site.post("/api/v1/rooms/attic/purge", {"who": "bob"}, token=maud)
    assert made.status == 201
    assert topics(site) == ["moderator", "moderator", "moderator"]
    path = f"/api/v1/rooms/attic/purge/{made.json()['id']}"
    assert site.request("DELETE", path, token=maud).status == 204
    assert topics(site)[:2] == [SECRET, "calm"]
