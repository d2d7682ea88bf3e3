"""Accounts, rights and moderation over real daemons that share a PostgreSQL: what is done at one of
them is seen at the others by who reads there, by whichever way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.daemon.following import WAYS, Following, polls
from tests.daemon.talk import Answer, history, log_in, once, people, say, wait_until
from tests.daemon.test_nodes import nodes
from tests.daemon.test_workers import Workers
from tests.postgresql import PostgresServer
from tests.support import Daemon

PASSWORD = "four words of mine"
POLICIES = "/api/v1/policies"

_numbers = count(1)


@attrs.frozen
class House:
    """Three nodes behind nothing; all have people of roles in common."""

    daemons: list[Daemon]
    ada: str

    @property
    def ports(self) -> list[int]:
        return [each.port for each in self.daemons]

    def member(self, name: str, role: str = "member") -> str:
        """The token of somebody who has an account from now: invited at one node, come at the
        next, a member at the third."""
        a, b, c = self.ports
        code = done(once(a, "POST", "/api/v1/invites", token=self.ada, body={"role": role}))["code"]
        guest = log_in(b, name)
        asked = {"password": PASSWORD, "invite": code}
        token: str = done(once(c, "POST", "/api/v1/account", token=guest, body=asked))["token"]
        return token

    def room(self, token: str, **asked: Any) -> str:
        """A room of a test's own, made at the second node."""
        name = f"room-{next(_numbers)}"
        body = {"name": name, **asked}
        done(once(self.ports[1], "POST", "/api/v1/rooms", token=token, body=body))
        return name


def done(answer: Answer) -> Any:
    assert answer.status in (200, 201, 204), answer
    return answer.json if answer.body else None


def refused(answer: Answer, status: int, slug: str) -> Any:
    assert answer.status == status, answer
    assert answer.json["type"].endswith(f"/{slug}"), answer
    return answer.json


def until_status(status: int, port: int, path: str, **request: Any) -> None:
    """Wait until a request is answered so: another node is told meanwhile."""
    ask = partial(once, port, request.pop("method", "GET"), path, **request)
    wait_until(lambda: ask().status == status, f"{status} at {path}")


def typed(daemon: Daemon, url: str, *words: str) -> str:
    """What a command from the shell says, which succeeds."""
    told = {"COMET_CHAT_DATABASE": url}
    status, said, wrong = Daemon.forked(
        daemon.directory, "comet-chat", *words, "--data", str(daemon.data), environ=told
    )
    assert status == 0, wrong
    return said


@pytest.fixture(scope="module")
def url(postgresql: PostgresServer) -> Iterator[str]:
    name = postgresql.fresh_database()
    yield postgresql.url(name)
    postgresql.drop_database(name)


@pytest.fixture(scope="module")
def house(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("civil")
    options = ("--limits=off", "--trusted-proxy=127.0.0.1")
    with nodes(folder, url, "a", "b", "c", options=options) as daemons:
        code = typed(daemons[0], url, "owner-link").splitlines()[0].removeprefix("/claim/")
        asked = {"code": code, "name": "ada", "password": PASSWORD}
        made = done(once(daemons[1].port, "POST", "/api/v1/claim", body=asked))
        assert made["role"] == "owner"
        yield House(daemons, made["token"])


@contextmanager
def all_ways(port: int, token: str, room: str = "lobby", **more: Any) -> Iterator[list[Following]]:
    """Somebody who reads by each way and holds each of them, so that what is not kept is told to
    all, too; the room has to be one where nothing else answers the poll meanwhile."""
    wait_until(lambda: not polls(port), "those of before are gone")
    with ExitStack() as stack:
        held = [stack.enter_context(Following(way, port, token, room, **more)) for way in WAYS]
        until_held(held)
        yield held


def until_held(held: list[Following]) -> None:
    """Wait until all are told what is not kept; see `Following.until_held`."""
    for each in held:
        each.until_held()


@contextmanager
def restored(port: int, token: str) -> Iterator[None]:
    """What is changed of the policies meanwhile is as it was, afterwards."""
    try:
        yield
    finally:
        usual = {"calm": "off", "guests": "open"}
        done(once(port, "PATCH", POLICIES, token=token, body=usual))


class TestAccounts:
    def test_a_member_is_one_at_all_nodes(self, house: House) -> None:
        a, b, c = house.ports
        eve = house.member("Eve")
        other = done(
            once(a, "POST", "/api/v1/session", body={"name": "eve", "password": PASSWORD})
        )["token"]
        link = done(once(b, "POST", "/api/v1/session/link", token=eve))["url"]
        assert once(c, "GET", link[link.index("/link/") :]).status == 200
        for port in house.ports:
            who = done(once(port, "GET", "/api/v1/session", token=other))
            assert (who["name"], who["role"]) == ("Eve", "member")
            refused(once(port, "POST", "/api/v1/session", body={"name": "EVE"}), 409, "name-taken")
        sessions = done(once(c, "GET", "/api/v1/sessions", token=eve))["sessions"]
        assert sorted(each["current"] for each in sessions) == [False, True]
        # A device is ended from another one, at another node.
        (id,) = (each["id"] for each in sessions if not each["current"])
        with all_ways(a, other) as held:
            done(once(b, "DELETE", f"/api/v1/sessions/{id}", token=eve))
            for each in held:
                each.until_over()
        refused(once(a, "GET", "/api/v1/session", token=other), 401, "invalid-token")

    def test_a_role_is_had_and_lost_at_all_nodes(self, house: House) -> None:
        a, b, c = house.ports
        max_ = house.member("Max", role="moderator")
        asked = {"kind": "silence", "who": "ada"}
        refused(once(c, "POST", "/api/v1/sanctions", token=max_, body=asked), 403, "not-below")
        assert done(once(b, "GET", "/api/v1/sanctions", token=max_))["sanctions"] == []
        done(once(a, "PATCH", "/api/v1/users/max", token=house.ada, body={"role": "member"}))
        for port in (b, c):
            until_status(403, port, "/api/v1/sanctions", token=max_)
        users = done(once(b, "GET", "/api/v1/users", token=house.ada))["users"]
        assert {each["name"]: each["role"] for each in users}["Max"] == "member"

    def test_a_new_name_a_new_password_and_the_end_of_an_account(self, house: House) -> None:
        a, b, c = house.ports
        room = house.room(house.ada)
        pia = house.member("Pia")
        body = {"name": "Piet"}
        with all_ways(b, house.ada, room) as held, Following("sse", c, pia, room) as hers:
            # She comes now: whoever says something is in the room from then.
            for each in held:
                each.until('"join"', "Pia") if each.way != "bayeux" else None
            said = done(say(a, pia, "mine", room=room))
            for each in held:
                each.until('"from":"Pia"', "mine")
            pia = done(once(a, "POST", "/api/v1/session", token=pia, body=body))["token"]
            hers.until("reopen")
            with Following("sse", c, pia, room):
                wait_until(lambda: "Piet" in people(b, room), "her new name is seen")
                done(say(c, pia, "called otherwise", room=room))
                for each in held:
                    each.until('"from":"Piet"', "called otherwise")
        second = done(
            once(c, "POST", "/api/v1/session", body={"name": "piet", "password": PASSWORD})
        )["token"]
        with all_ways(c, second, room) as held:
            change = {"password": PASSWORD, "new_password": "another four words"}
            pia = done(once(a, "PUT", "/api/v1/account", token=pia, body=change))["token"]
            for each in held:
                each.until_over()
        lines = once(b, "GET", "/api/v1/account/export", token=pia).text.splitlines()
        assert sum('"called otherwise"' in line for line in lines) == 1
        with all_ways(b, house.ada, room) as held:
            asked = {"password": "another four words", "messages": "delete"}
            done(once(c, "DELETE", "/api/v1/account", token=pia, body=asked))
            for each in held:
                each.until('"delete"', f'"refers":{said["id"]}')
        for port in house.ports:
            assert once(port, "GET", "/api/v1/session", token=pia).status == 401
            refused(once(port, "POST", "/api/v1/session", body={"name": "PIET"}), 409, "name-taken")
        wait_until(
            lambda: all("text" not in each for port in house.ports for each in history(port, room)),
            "what she said is gone at each node",
        )


class TestSanctions:
    @pytest.mark.parametrize("everywhere", [True, False], ids=["everywhere", "in a room"])
    @pytest.mark.parametrize("kind", ["kick", "ban"])
    def test_what_is_held_elsewhere_ends(self, house: House, kind: str, everywhere: bool) -> None:
        a, b, c = house.ports
        room, bob = house.room(house.ada), log_in(b, f"bob-{next(_numbers)}")
        name = done(once(c, "GET", "/api/v1/session", token=bob))["name"]
        asked = {"kind": kind, "who": name, **({} if everywhere else {"room": room})}
        slug = {"kick": "kicked", "ban": "banned"}[kind]
        with all_ways(c, bob, room) as held:
            made = done(once(a, "POST", "/api/v1/sanctions", token=house.ada, body=asked))
            for each in held:
                each.until('"sanction"', f'"kind":"{kind}"')
                # A Bayeux client has other rooms.
                if everywhere or each.way != "bayeux":
                    each.until_over()
        refused(say(c, bob, "no", room=room), 403, slug)
        wait_until(lambda: say(b, bob, "no", room=room).status == 403, "at the third node")
        assert say(c, bob, "yes").status == (403 if everywhere else 201)
        done(once(b, "DELETE", f"/api/v1/sanctions/{made['id']}", token=house.ada))
        wait_until(lambda: say(c, bob, "yes", room=room).status == 201, "he is back")

    def test_who_is_silenced_is_told_and_reads_on(self, house: House) -> None:
        a, b, c = house.ports
        room, sue = house.room(house.ada), log_in(b, "sue")
        asked = {"kind": "silence", "who": "Sue", "minutes": 5, "reason": "loud"}
        with all_ways(c, sue, room) as held:
            made = done(once(a, "POST", "/api/v1/sanctions", token=house.ada, body=asked))
            for each in held:
                each.until('"sanction"', "loud")
            assert "until" in refused(say(c, sue, "no", room=room), 403, "silenced")
            until_held(held)
            done(once(b, "DELETE", f"/api/v1/sanctions/{made['id']}", token=house.ada))
            for each in held:
                each.until('"lifted":true')
            done(say(c, sue, "back", room=room))
            for each in held:
                each.until("back")

    def test_a_network_is_banned_at_all_nodes(self, house: House) -> None:
        a, b, c = house.ports
        there = {"X-Forwarded-For": "8.8.8.8"}

        def come(port: int, name: str) -> Answer:
            return once(port, "POST", "/api/v1/session", body={"name": name}, headers=there)

        def is_kept_out(port: int) -> bool:
            return come(port, "robert").status == 403

        rob = done(come(c, "rob"))["token"]
        with all_ways(c, rob, headers=there) as held:
            asked = {"kind": "ban-network", "who": "rob", "minutes": 60}
            made = done(once(a, "POST", "/api/v1/sanctions", token=house.ada, body=asked))
            for each in held:
                each.until_over()
        for port in house.ports:
            wait_until(partial(is_kept_out, port), "nobody comes from there")
        done(once(b, "DELETE", f"/api/v1/sanctions/{made['id']}", token=house.ada))
        wait_until(lambda: come(c, "robert").status == 201, "they come again")


class TestPolicies:
    def test_calm_is_told_and_holds_at_all_nodes(self, house: House) -> None:
        a, b, c = house.ports
        room, gil = house.room(house.ada), log_in(b, "gil")
        with all_ways(c, gil, room) as held, restored(a, house.ada):
            for calm, status in (("members", 403), ("off", 201)):
                until_held(held)
                done(once(a, "PATCH", POLICIES, token=house.ada, body={"calm": calm}))
                # Bayeux clients are told by their next post.
                for each in held:
                    if each.way != "bayeux":
                        each.until('"calm"', f'"{calm}"')
                assert say(c, gil, "hm", room=room).status == status

    def test_who_waits_is_seen_and_let_in_from_another_node(self, house: House) -> None:
        a, b, c = house.ports
        room = house.room(house.ada)
        with restored(a, house.ada), all_ways(c, house.ada, room) as held:
            done(once(a, "PATCH", POLICIES, token=house.ada, body={"guests": "approve"}))
            wait_until(
                lambda: done(once(b, "GET", POLICIES, token=house.ada))["guests"] == "approve",
                "it is told",
            )
            kim = log_in(b, "kim")
            for each in held:
                each.until('"knock"', "kim")
            refused(say(a, kim, "hi", room=room), 403, "waiting")
            waiting = done(once(c, "GET", "/api/v1/waiting", token=house.ada))["waiting"]
            assert [each["name"] for each in waiting] == ["kim"]
            body = {"let_in": True}
            done(once(c, "POST", "/api/v1/waiting/Kim", token=house.ada, body=body))
            wait_until(lambda: say(a, kim, "hi", room=room).status == 201, "she is in")


class TestMessages:
    def test_what_is_deleted_purged_and_brought_back(self, house: House) -> None:
        a, b, c = house.ports
        room, tom = house.room(house.ada), log_in(a, "tom")
        ids = [done(say(port, tom, f"from {port}", room=room))["id"] for port in house.ports]
        path = f"/api/v1/rooms/{room}"
        with all_ways(c, house.ada, room) as held:
            done(once(a, "DELETE", f"{path}/messages/{ids[0]}", token=tom))
            for each in held:
                each.until('"delete"', f'"refers":{ids[0]}')
            shown = {each["id"]: each for each in history(b, room)}
            assert (shown[ids[0]]["deleted"], "text" in shown[ids[0]]) == ("own", False)
            purge = done(once(b, "POST", f"{path}/purge", token=house.ada, body={"who": "TOM"}))
            for each in held:
                each.until(f'"refers":{ids[1]}', f'"refers":{ids[2]}')
                each.forget()
            assert all("text" not in each for each in history(c, room))
            done(once(c, "DELETE", f"{path}/purge/{purge['id']}", token=house.ada))
            for each in held:
                each.until('"restore"', f'"refers":{ids[1]}', f'"refers":{ids[2]}')
            found = {each["id"]: each.get("text") for each in history(c, room)}
            assert found == {ids[0]: None, ids[1]: f"from {b}", ids[2]: f"from {c}"}

    def test_a_report_comes_before_moderators_at_all_nodes(self, house: House) -> None:
        a, b, c = house.ports
        room, una = house.room(house.ada), log_in(a, "una")
        said = done(say(a, una, "rude", room=room))
        # Neither what she said nor that she comes or goes answers a poll meanwhile.
        with Following("sse", a, una, room), ExitStack() as stack:
            wait_until(lambda: history(c, room) and people(c, room), "she is seen there")
            held = stack.enter_context(all_ways(c, house.ada, room))
            path = f"/api/v1/rooms/{room}/messages/{said['id']}/report"
            answer = once(b, "POST", path, token=una, body={"reason": "rude"})
            assert answer.status in (201, 202, 204), answer
            for each in held:
                each.until('"report"')
        (seen,) = (
            each
            for each in done(once(a, "GET", "/api/v1/reports", token=house.ada))["reports"]
            if each["room"] == room
        )
        done(once(c, "DELETE", f"/api/v1/reports/{seen['id']}", token=house.ada))
        assert done(once(b, "GET", "/api/v1/reports", token=house.ada))["reports"] == []


class TestRooms:
    def test_a_private_room_is_there_for_who_belongs(self, house: House) -> None:
        a, b, c = house.ports
        may, joe = house.member("May"), log_in(c, "joe")
        room = house.room(may, kind="private")
        path = f"/api/v1/rooms/{room}"
        for port in house.ports:
            assert done(once(port, "GET", path, token=may))["kind"] == "private"
            for token in (joe, house.ada):
                refused(once(port, "GET", path, token=token), 404, "room-not-found")
        with all_ways(c, joe, house.room(may)) as told:
            done(once(a, "PUT", f"{path}/members/Joe", token=may))
            for each in told:
                each.until('"invited"', room)
        with all_ways(c, joe, room) as held:
            done(say(b, may, "welcome", room=room))
            for each in held:
                each.until("welcome")
            # Its maker moderates it, at each node, and nobody else does.
            for port, seconds in zip(house.ports, (1, 2, 0), strict=True):
                body = {"slow": seconds}
                assert done(once(port, "PATCH", path, token=may, body=body))["slow"] == seconds
                refused(once(port, "PATCH", path, token=joe, body=body), 403, "not-allowed")
            done(once(a, "DELETE", f"{path}/members/joe", token=may))
            for each in held:
                if each.way != "bayeux":
                    each.until_over()
            wait_until(lambda: once(c, "GET", path, token=joe).status == 404, "he is out")
            done(say(b, may, "between us", room=room))
            # A Bayeux client goes on, and is told what comes after that.
            done(once(a, "PUT", f"{path}/members/Joe", token=may))
            (bayeux,) = (each for each in held if each.way == "bayeux")
            bayeux.until('"invited"')
            assert all("between us" not in each.read for each in held)

    def test_a_direct_conversation_is_one(self, house: House) -> None:
        a, b, c = house.ports
        lea, lou = house.member("Lea"), house.member("Lou")
        with all_ways(c, lou, house.room(lea)) as told:
            direct = done(once(a, "POST", "/api/v1/direct", token=lea, body={"with": ["lou"]}))
            for each in told:
                each.until('"invited"', direct["name"])
        again = once(b, "POST", "/api/v1/direct", token=lou, body={"with": ["Lea"]})
        assert (again.status, again.json["name"]) == (200, direct["name"])
        with all_ways(c, lou, direct["name"]) as held:
            done(say(b, lea, "between us", room=direct["name"]))
            for each in held:
                each.until("between us")
        for port in house.ports:
            refused(
                once(port, "GET", f"/api/v1/rooms/{direct['name']}", token=house.ada),
                404,
                "room-not-found",
            )

    def test_a_room_that_is_removed_is_gone_from_all_nodes(self, house: House) -> None:
        a, b, c = house.ports
        room, ned = house.room(house.ada), log_in(b, "ned")
        with all_ways(c, ned, room) as held:
            done(say(b, ned, "last words", room=room))
            for each in held:
                each.until("last words")
            # Whoever is between two polls finds that it is gone: 404.
            until_held(held)
            done(once(a, "DELETE", f"/api/v1/rooms/{room}", token=house.ada))
            for each in held:
                if each.way != "bayeux":
                    each.until("removed")
                    each.until_over()
        for port in house.ports:
            until_status(404, port, f"/api/v1/rooms/{room}")


@pytest.mark.slow
def test_the_shell_of_a_node(house: House, url: str) -> None:
    """By a socket of the node, which tells the others."""
    a, b, c = house.daemons
    zoe = log_in(c.port, "zoe")
    silence_and_calm(b, c, url, zoe, house.room(house.ada))
    assert typed(b, url, "room", "make", "attic", "--topic=work") == "attic  public: work\n"
    until_status(200, c.port, "/api/v1/rooms/attic")
    code = typed(b, url, "invite", "make", "--role=moderator").strip().removeprefix("/invite/")
    asked = {"password": PASSWORD, "invite": code}
    token = done(once(a.port, "POST", "/api/v1/account", token=zoe, body=asked))["token"]
    assert done(once(c.port, "GET", "/api/v1/session", token=token))["role"] == "moderator"
    assert typed(b, url, "user", "role", "Zoe", "member") == "zoe  member\n"
    until_status(403, c.port, "/api/v1/sanctions", token=token)
    typed(b, url, "room", "remove", "attic")
    until_status(404, c.port, "/api/v1/rooms/attic")
    typed(b, url, "user", "remove", "zoe")
    until_status(401, c.port, "/api/v1/session", token=token)


@pytest.mark.slow
def test_the_shell_of_a_node_that_has_stopped(house: House, url: str) -> None:
    """As a node for a moment, which tells the others."""
    _, b, c = house.daemons
    room = house.room(house.ada)
    b.terminate()
    try:
        silence_and_calm(b, c, url, log_in(c.port, "zora"), room)
    finally:
        b.start()


def silence_and_calm(by: Daemon, at: Daemon, url: str, token: str, room: str) -> None:
    """Do it from the shell of one node, to somebody who reads at another."""
    name = done(once(at.port, "GET", "/api/v1/session", token=token))["name"]
    with all_ways(at.port, token, room) as held:
        typed(by, url, "ban", "add", name.upper(), "--kind=silence", "--reason=loud")
        for each in held:
            each.until('"sanction"', "loud")
        refused(say(at.port, token, "no", room=room), 403, "silenced")
        assert f"silence  {name} everywhere, by the shell: loud" in typed(by, url, "ban", "list")
        until_held(held)
        typed(by, url, "ban", "lift", name)
        for each in held:
            each.until('"lifted":true')
        for calm in ("closed", "off"):
            until_held(held)
            typed(by, url, "policy", "set", "calm", calm)
            for each in held:
                if each.way != "bayeux":
                    each.until(f'"{calm}"')


@pytest.mark.slow
def test_the_shell_of_many_workers(tmp_path: Path, database_url: str) -> None:
    """Whoever reads does so by either of them, and is told what is done from the shell, by whoever
    moderates, and by whoever leaves."""
    with Workers(tmp_path, database_url, "--limits=off") as daemon, ExitStack() as stack:
        port = daemon.port
        code = typed(daemon, database_url, "owner-link").splitlines()[0].removeprefix("/claim/")
        asked = {"code": code, "name": "ada", "password": PASSWORD}
        ada = done(once(port, "POST", "/api/v1/claim", body=asked))["token"]
        zoe = log_in(port, "zoe")
        held = [stack.enter_context(Following(way, port, zoe)) for way in WAYS * 2]
        # Each worker counts its own polls, so that nobody can wait until one is held.
        streams = [each for each in held if each.way != "poll"]
        typed(daemon, database_url, "ban", "add", "Zoe", "--kind=silence", "--reason=loud")
        for each in streams:
            each.until('"sanction"', "loud")
        assert {say(port, zoe, "no").status for _ in range(8)} == {403}
        (made,) = done(once(port, "GET", "/api/v1/sanctions", token=ada))["sanctions"]
        done(once(port, "DELETE", f"/api/v1/sanctions/{made['id']}", token=ada))
        for each in streams:
            each.until('"lifted":true')
        said = done(say(port, zoe, "rude"))["id"]
        path = "/api/v1/rooms/lobby/purge"
        done(once(port, "POST", path, token=ada, body={"who": "zoe"}))
        for each in held:
            each.until('"delete"', f'"refers":{said}')
        done(once(port, "POST", "/api/v1/sanctions", token=ada, body={"kind": "ban", "who": "zoe"}))
        for each in held:
            each.until_over()
        assert "zoe" in typed(daemon, database_url, "ban", "list")
    assert "Traceback" not in daemon.log
