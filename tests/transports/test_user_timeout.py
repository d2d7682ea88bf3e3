"""When the kernel may give a peer up: on held streams only, and in time."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometd_chat.transports.held import user_timeout
from tests.memory import MemorySite
from tests.wire import Connection

STREAMS = ("frame", "stream", "sse", "multipart", "text")

#: In seconds; by `user_timeout` 44 for the kernel.
EXPIRATION_DELAY, HEARTBEAT = 60.0, 15.0


@given(delay=st.floats(0.2, 86400), share=st.floats(0.01, 0.5))
def test_a_heartbeat_and_the_timeout_are_within_the_expiration_delay(
    delay: float, share: float
) -> None:
    seconds = user_timeout(delay, share * delay)
    # What is left is for the first time that the kernel sends the same again.
    assert delay / 4 <= seconds <= max(delay - share * delay - 1, delay / 4)
    assert share * delay + seconds <= delay * 0.75 or share * delay + seconds <= delay - 1 + 1e-6


def milliseconds(connection: Connection) -> object:
    """What the kernel was told, None when nothing."""
    return connection.socket.options.get((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))


@pytest.fixture
def site() -> MemorySite:
    return MemorySite(expiration_delay=EXPIRATION_DELAY, heartbeat=HEARTBEAT)


@pytest.mark.parametrize("door", STREAMS)
def test_a_stream_has_it(site: MemorySite, door: str) -> None:
    connection = site.connect()
    connection.request("GET", f"/api/v1/events/{door}")
    assert milliseconds(connection) == 44_000


def test_a_duplex_request_has_it(site: MemorySite) -> None:
    connection = site.connect()
    head = {"Transfer-Encoding": "chunked"}
    connection.request("POST", "/rooms/lobby.txt?name=alice", headers=head)
    assert milliseconds(connection) == 44_000


def test_a_poll_and_a_plain_request_have_none(site: MemorySite) -> None:
    connection = site.connect()
    connection.request("GET", "/api/v1/rooms")
    connection.request("GET", f"/api/v1/events/poll?cursor={site.now}")
    assert milliseconds(connection) is None


def test_the_connection_goes_on_without_it(site: MemorySite) -> None:
    connection = site.connect()
    token = site.log_in("alice")
    response = connection.request("GET", f"/api/v1/events/stream?token={token}")
    site.request("DELETE", "/api/v1/session", token=token)
    assert response.complete
    assert milliseconds(connection) == 0
    assert connection.request("GET", "/api/v1/rooms").status == 200
