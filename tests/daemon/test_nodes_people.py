"""People, rooms and typing over three real daemons that share a PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.daemon.talk import Held, log_in, make_room, once, people, wait_until
from tests.daemon.test_nodes import nodes
from tests.postgresql import PostgresServer
from tests.support import PATIENCE, Daemon


@pytest.fixture(scope="module")
def three(
    postgresql: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Daemon]]:
    """Whoever stops one of them starts it again."""
    name = postgresql.fresh_database()
    folder = tmp_path_factory.mktemp("people")
    url = postgresql.url(name)
    with nodes(folder, url, "a", "b", "c", options=("--limits=off",)) as daemons:
        yield daemons
    postgresql.drop_database(name)


@pytest.fixture
def room(three: list[Daemon]) -> str:
    """A room of the test's own, found at each node."""
    made = make_room(three[0].port)
    for daemon in three:
        path = f"/api/v1/rooms/{made}"
        wait_until(lambda: once(daemon.port, "GET", path).status == 200, "it is found")  # noqa: B023
    return made


def stream(room: str) -> str:
    return f"/api/v1/events/stream?rooms={room}"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def comings(told: bytes) -> list[tuple[str, str]]:
    """The joins and leaves of a stream, whose body is a JSON object a line."""
    found = []
    for line in told.decode().splitlines():
        if line.startswith("{"):
            event = json.loads(line)
            if event["type"] in ("join", "leave"):
                found.append((event["type"], event["from"]))
    return found


def test_a_node_that_is_killed_leaves_nobody_behind(three: list[Daemon], room: str) -> None:
    from cometd_chat.log.nodes import LEASE, RENEW_AFTER

    a, b, c = three
    alice, bob = log_in(a.port, "alice"), log_in(b.port, "bob")
    try:
        with Held(c.port, stream(room), timeout=LEASE + RENEW_AFTER + PATIENCE) as watching:
            watching.until(b"hello")
            with (
                Held(a.port, stream(room), headers=bearer(alice)),
                Held(b.port, stream(room), headers=bearer(alice)) as second,
                Held(a.port, stream(room), headers=bearer(bob)),
            ):
                second.until(b"hello")
                wait_until(lambda: people(c.port, room) == {"alice", "bob"}, "all are seen")
                a.kill()
                # Who was there by the node that died is gone, and nobody else.
                told = watching.until(b'"leave"')
                assert people(c.port, room) == {"alice"}
    finally:
        a.kill()
        a.start()
    assert sorted(comings(told)) == [("join", "alice"), ("join", "bob"), ("leave", "bob")]


def test_whoever_is_told_of_a_room_finds_it_at_once(three: list[Daemon]) -> None:
    tokens = [log_in(daemon.port, f"p{number}") for number, daemon in enumerate(three)]
    for number in range(12):
        here, there = three[number % 3], three[(number + 1) % 3]
        token = tokens[number % 3]
        made = once(here.port, "POST", "/api/v1/rooms", token=token, body={"name": f"r{number}"})
        assert made.status == 201, made
        path = f"/api/v1/rooms/r{number}/messages"
        said = once(there.port, "POST", path, token=token, body={"text": "hi"})
        assert said.status == 201, said


def test_of_those_who_make_a_room_at_each_node_at_once_one_does(three: list[Daemon]) -> None:
    tokens = [log_in(daemon.port, f"q{number}") for number, daemon in enumerate(three)]
    with ThreadPoolExecutor(3) as pool:
        for name in ("attic", "cellar", "garden"):
            asked = [
                pool.submit(
                    once, daemon.port, "POST", "/api/v1/rooms", token=token, body={"name": name}
                )
                for daemon, token in zip(three, tokens, strict=True)
            ]
            assert sorted(each.result().status for each in asked) == [201, 409, 409]


def test_who_writes_is_seen_at_other_nodes(three: list[Daemon], room: str) -> None:
    a, b, _ = three
    carol = log_in(a.port, "carol")
    with Held(b.port, stream(room)) as watching:
        watching.until(b"hello")
        assert once(a.port, "POST", f"/api/v1/rooms/{room}/typing", token=carol).status == 204
        watching.until(b'"typing"')


def test_who_comes_from_a_node_that_stops_has_not_left(three: list[Daemon], room: str) -> None:
    a, b, c = three
    dora, erik = log_in(a.port, "dora"), log_in(b.port, "erik")
    try:
        with Held(c.port, stream(room)) as watching:
            watching.until(b"hello")
            with Held(a.port, stream(room), headers=bearer(dora)) as first:
                first.until(b"hello")
                wait_until(lambda: people(c.port, room) == {"dora"}, "she is seen at each node")
                a.terminate()
                with Held(b.port, stream(room), headers=bearer(dora)) as second:
                    second.until(b"hello")
                    with Held(b.port, stream(room), headers=bearer(erik)):
                        # All is told in order, but for her leave, if there were one, by its time.
                        watching.until(b'"erik"')
                        wait_until(
                            lambda: b'"leave"' in watching.read or b"heartbeat" in watching.more(),
                            "silence, for longer than she may take",
                            timeout=3 * PATIENCE,
                        )
            assert comings(watching.read)[:2] == [("join", "dora"), ("join", "erik")]
    finally:
        a.kill()
        a.start()
