"""What takes a while, and a node that is killed in the middle of it: another node shows nothing
that is half done, and after a restart it is done, or was never begun."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPException
from typing import Any

import attrs
import psycopg
import pytest
from websockets.sync.client import connect as connect_socket

from tests.bounds import changed_at_once
from tests.daemon.talk import Held, history, log_in, once, say, wait_until
from tests.daemon.test_nodes import nodes
from tests.daemon.test_nodes_civil import PASSWORD, done, refused, typed, until_status
from tests.postgresql import PostgresServer
from tests.support import PATIENCE, Daemon

pytestmark = pytest.mark.slow

#: So much is said, and so much of it is changed by one commit: what is done about all of it takes
#: many of them.
MUCH, AT_ONCE = 400, 20


@attrs.frozen
class Pair:
    """Two nodes of one database, of which the first is killed."""

    first: Daemon
    second: Daemon
    ada: str
    database: psycopg.Connection[tuple[object, ...]]

    def member(self, name: str) -> str:
        """The token of somebody who has an account from now."""
        asked = {"uses": 1}
        code = done(once(self.second.port, "POST", INVITES, token=self.ada, body=asked))["code"]
        guest = log_in(self.first.port, name)
        asked_too = {"password": PASSWORD, "invite": code}
        made = once(self.first.port, "POST", ACCOUNT, token=guest, body=asked_too)
        token: str = done(made)["token"]
        return token

    def filled(self, token: str, name: str) -> str:
        """A room in which somebody said much."""
        done(once(self.first.port, "POST", "/api/v1/rooms", token=self.ada, body={"name": name}))
        until_status(200, self.second.port, f"/api/v1/rooms/{name}")
        url = f"ws://127.0.0.1:{self.first.port}/api/v1/events/ws?rooms={name}&token={token}"
        # Without pings of its own: their answers come behind what is not read while it sends.
        with connect_socket(url, open_timeout=PATIENCE, ping_interval=None) as socket:
            for number in range(MUCH):
                socket.send(json.dumps({"type": "message", "text": f"{number} of {name}"}))
            wait_until(lambda: self.count(name) == MUCH, "all is kept")
        return name

    def count(self, room: str, which: str = "true") -> int:
        """How many messages of a room the database has."""
        query = f"SELECT count(*) FROM records WHERE context = %s AND type = 'message' AND {which}"
        row = self.database.execute(query.encode(), [f"/chat/{room}"]).fetchone()
        assert row is not None
        found = row[0]
        assert isinstance(found, int)
        return found

    def killed_at(self, begun: Callable[[], object], ask: Callable[[], object]) -> None:
        """Ask the first node for something, and kill it once that has begun."""
        with ThreadPoolExecutor(1) as pool:

            def asked() -> None:
                with suppress(OSError, HTTPException):
                    ask()

            answer = pool.submit(asked)
            while not begun() and not answer.done():
                pass
            self.first.kill()
            answer.result(PATIENCE)


INVITES = "/api/v1/invites"
ACCOUNT = "/api/v1/account"


@pytest.fixture(scope="module")
def pair(postgresql: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    name = postgresql.fresh_database()
    url = postgresql.url(name)
    folder = tmp_path_factory.mktemp("killed")
    before = changed_at_once(AT_ONCE)
    with nodes(folder, url, "a", "b", options=["--limits=off"], before=before) as (first, second):
        code = typed(first, url, "owner-link").splitlines()[0].removeprefix("/claim/")
        asked = {"code": code, "name": "ada", "password": PASSWORD}
        ada = done(once(second.port, "POST", "/api/v1/claim", body=asked))["token"]
        with psycopg.connect(url, autocommit=True) as database:
            yield Pair(first, second, ada, database)
    postgresql.drop_database(name)


@pytest.fixture(autouse=True)
def both_serve(pair: Pair) -> Iterator[None]:
    yield
    if pair.first.process is None:
        pair.first.start()


def test_the_removal_of_a_room(pair: Pair) -> None:
    here, there = pair.first.port, pair.second.port
    room = pair.filled(log_in(here, "rob"), "attic")
    path = f"/api/v1/rooms/{room}"
    pair.killed_at(
        lambda: pair.count(room) < MUCH, lambda: once(here, "DELETE", path, token=pair.ada)
    )
    # Nobody sees a part of it, and nobody can have its name yet.
    until_status(404, there, path)
    refused(say(there, pair.ada, "hi", room=room), 404, "room-not-found")
    made = {"token": pair.ada, "body": {"name": room}}
    assert once(there, "POST", "/api/v1/rooms", **made).status == 409
    pair.first.start()
    until_status(201, there, "/api/v1/rooms", method="POST", **made)
    assert (pair.count(room), history(there, room)) == (0, [])


def test_an_account_that_goes_with_what_it_said(pair: Pair) -> None:
    here, there = pair.first.port, pair.second.port
    pia = pair.member("Pia")
    room = pair.filled(pia, "cellar")
    asked = {"password": PASSWORD, "messages": "delete"}
    emptied = "data NOT LIKE '%%of cellar%%'"
    pair.killed_at(
        lambda: pair.count(room, emptied) > 0,
        lambda: once(here, "DELETE", ACCOUNT, token=pia, body=asked),
    )
    until_status(401, there, "/api/v1/session", token=pia)
    taken = once(there, "POST", "/api/v1/session", body={"name": "pia"})
    refused(taken, 409, "name-taken")
    pair.first.start()
    wait_until(lambda: pair.count(room, emptied) == MUCH, "all that she said is gone")
    wait_until(lambda: pair.count(room, "author = 'Pia'") == 0, "and so is her name")
    for port in (here, there):
        assert all("text" not in each for each in history(port, room))


def test_a_purge(pair: Pair) -> None:
    here, there = pair.first.port, pair.second.port
    room = pair.filled(log_in(here, "tom"), "garden")
    path = f"/api/v1/rooms/{room}/purge"
    emptied = "data NOT LIKE '%%of garden%%'"
    pair.killed_at(
        lambda: pair.count(room, emptied) > 0,
        lambda: once(here, "POST", path, token=pair.ada, body={"who": "tom"}),
    )
    pair.first.start()
    wait_until(lambda: pair.count(room, emptied) == MUCH, "all that he said is hidden")
    # And nothing of it is lost, at either node.
    run = {"line": "/unpurge"}
    done(once(there, "POST", f"/api/v1/rooms/{room}/commands", token=pair.ada, body=run))
    wait_until(lambda: pair.count(room, emptied) == 0, "all of it is back")
    for port in (here, there):
        wait_until(
            lambda at=port: (
                [each["text"] for each in history(at, room)]  # type: ignore[misc]
                == [f"{number} of {room}" for number in range(MUCH)]
            ),
            "as it was said",
        )


def test_an_export(pair: Pair) -> None:
    here, there = pair.first.port, pair.second.port
    eve = pair.member("Eve")
    pair.filled(eve, "kitchen")
    path = "/api/v1/account/export"
    with Held(here, path, headers={"Authorization": f"Bearer {eve}"}) as held:
        held.more()
        pair.first.kill()
        # Whoever has a part of it knows: it does not end as a whole one does.
        with pytest.raises((HTTPException, OSError)):
            held.to_end()
    whole = once(there, "GET", path, token=eve).text.splitlines()
    assert sum("of kitchen" in line for line in whole) == MUCH


@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_invitation_that_is_being_used(pair: Pair, after: int) -> None:
    """Whoever is a member has used it up, and nobody else has."""
    here, there = pair.first.port, pair.second.port
    code = done(once(there, "POST", INVITES, token=pair.ada, body={"uses": 1}))["code"]
    name = f"sam-{after}"
    guest = log_in(here, name)
    asked = {"password": PASSWORD, "invite": code}
    looks = iter(range(10**6))
    pair.killed_at(
        lambda: next(looks) >= after * 2 or pair.count("lobby") < 0,
        lambda: once(here, "POST", ACCOUNT, token=guest, body=asked),
    )
    good = code in once(there, "GET", INVITES, token=pair.ada).text
    by_password = {"name": name, "password": PASSWORD}
    logged_in: Any = once(there, "POST", "/api/v1/session", body=by_password)
    assert (logged_in.status == 201) == (not good), logged_in
    if good:
        again = once(there, "POST", ACCOUNT, token=guest, body=asked)
        assert done(again)["token"]
    pair.first.start()
    assert done(once(here, "POST", "/api/v1/session", body=by_password))["token"]
