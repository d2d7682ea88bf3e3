"""A site whose daemon is replaced: each connection ends with its next answer, and says so."""

from __future__ import annotations

import re

import pytest

from tests.memory import MakeSite, MemorySite
from tests.wire import Connection

POST = "/api/v1/rooms/lobby/messages"


@pytest.fixture(params=[True, False], ids=["lane", "ordinary"])
def site(request: pytest.FixtureRequest, make_site: MakeSite) -> MemorySite:
    return make_site(fast_lane=request.param)


def raw(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: test\r\n\r\n".encode()


def taken(connection: Connection) -> bytes:
    """All that has come and was not read."""
    data: bytes = connection.surplus
    connection._unread.clear()
    return data


def poll(connection: Connection, cursor: str) -> None:
    connection.send(raw(f"/api/v1/events/poll?rooms=lobby&cursor={cursor}"))


def cursor_in(data: bytes) -> str:
    found: list[bytes] = re.findall(rb'"cursor":"([^"]+)"\}\n', data)
    return found[-1].decode()


def standing(site: MemorySite) -> tuple[Connection, str]:
    """Somebody who polls again and again, and is held just now."""
    # Who says it has come by then.
    site.say("before")
    connection = site.connect()
    poll(connection, site.now)
    for number in range(3):
        site.say(f"line {number}")
        data = taken(connection)
        assert data
        assert b"connection: close" not in data.lower()
        poll(connection, cursor_in(data))
    return connection, cursor_in(data)


def test_what_is_asked_is_answered_and_closed(site: MemorySite) -> None:
    targets = ("/api/v1/rooms", f"/api/v1/events/poll?cursor={site.now}&wait=0", "/rooms/lobby")
    connections = [site.connect() for _ in targets]
    for connection in connections:
        connection.send(raw("/healthz"))
        assert not connection.closed
        taken(connection)
    site.factory.part()
    for connection, target in zip(connections, targets, strict=True):
        connection.send(raw(target))
        site.clock.advance(1)
        data = taken(connection).lower()
        assert data.startswith(b"http/1.1 200 ")
        assert b"connection: close" in data
        assert connection.closed


def test_whoever_was_not_told_has_another_answer(site: MemorySite) -> None:
    """Their next request may be on its way when they are answered."""
    token = site.log_in("alice")
    body = {"text": "begun before"}
    poller, _ = standing(site)
    poster = site.connect()
    site.log.hold()
    answer = poster.request("POST", POST, json=body, token=token)
    # The poller is told that she comes, and asks again.
    poll(poller, cursor_in(taken(poller)))
    site.factory.part()
    site.log.release()
    site.turn()
    assert answer.status == 201
    assert "connection" not in answer.headers
    data = taken(poller)
    assert b"begun before" in data
    assert b"connection: close" not in data.lower()
    assert [poster.closed, poller.closed] == [False, False]
    poll(poller, cursor_in(data))
    answer = poster.request("POST", POST, json=body, token=token)
    site.turn()
    assert answer.header("connection") == "close"
    assert b"connection: close" in taken(poller).lower()
    assert [poster.closed, poller.closed] == [True, True]


def test_a_poll_that_is_held_is_answered_first(site: MemorySite) -> None:
    connection, _ = standing(site)
    site.factory.part()
    site.factory.close_idle(site.clock.getReaders())
    site.turn()
    assert not connection.closed
    site.say("the last")
    assert b"the last" in taken(connection)
    assert connection.closed


def test_who_polls_again_is_told_that_the_connection_ends(site: MemorySite) -> None:
    connection, cursor = standing(site)
    site.say("one more")
    cursor = cursor_in(taken(connection))
    site.factory.part()
    poll(connection, cursor)
    site.say("the last")
    data = taken(connection)
    assert b"the last" in data
    assert b"connection: close" in data.lower()
    assert connection.closed


def test_only_who_has_no_request_is_closed(site: MemorySite) -> None:
    fresh, rested, half, stream = (site.connect() for _ in range(4))
    rested.send(raw("/api/v1/rooms"))
    half.send(raw("/api/v1/rooms")[:20])
    stream.send(raw("/api/v1/events/stream?rooms=lobby"))
    site.factory.part()
    site.factory.close_idle([*site.clock.getReaders(), object()])
    site.turn()
    assert (fresh.closed, rested.closed, half.closed, stream.closed) == (True, True, False, False)
    half.send(raw("/api/v1/rooms")[20:])
    assert b"connection: close" in taken(half).lower()
    assert half.closed
