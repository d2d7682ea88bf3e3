"""The doors as stock clients read them: curl, the standard library, treq, a bare socket."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
import pytest_twisted
import treq

from tests.daemon.talk import (
    Held,
    Running,
    ask,
    connect,
    history,
    log_in,
    metric,
    once,
    say,
    wait_until,
)
from tests.support import PATIENCE, Daemon, read_until, run

ENDLESS = ("frame", "stream", "sse", "text")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("doors"), "--limits=off", "--heartbeat=1") as running:
        yield running


@pytest.fixture(scope="module")
def alice(daemon: Daemon) -> str:
    """Her token."""
    return log_in(daemon.port, "alice")


def cursor_of(text: str, name: str = '"cursor":"') -> str:
    return text.rpartition(name)[2].partition('"')[0]


# -- curl


def test_curl_shows_the_lobby_while_somebody_types(daemon: Daemon, alice: str) -> None:
    with Running("curl", "-sN", f"{daemon.url}/rooms/lobby.txt") as curl:
        wait_until(lambda: metric(daemon.port, held("text")) == 1, "curl is held")
        for number in range(3):
            said = time.monotonic()
            say(daemon.port, alice, f"line {number}\nand more")
            # Each line comes when it is said, not when a buffer is full.
            curl.until(f"[alice] line {number}\n  and more\n", timeout=5)
            assert time.monotonic() - said < 5
        # Silence is an empty line: the connection lives.
        curl.until("and more\n\n")
    wait_until(lambda: metric(daemon.port, held("text")) == 0, "curl is gone")


def test_one_curl_is_a_whole_chat_client(daemon: Daemon, alice: str) -> None:
    """Whoever types nothing for five seconds sees each line of another as it is said."""
    url = f"{daemon.url}/rooms/lobby.txt?name=dora"
    with Running("curl", "-sNT.", url, keyboard=True) as curl:
        wait_until(lambda: metric(daemon.port, held("duplex")) == 1, "curl is held")
        silent_until = time.monotonic() + 5
        number = 0
        while time.monotonic() < silent_until:
            number += 1
            say(daemon.port, alice, f"line {number} for dora")
            curl.until(f"[alice] line {number} for dora\n", timeout=1)
            # A heartbeat's silence, so that nothing but the next line can bring it out.
            curl.until(f"line {number} for dora\n\n")
        curl.write("typed at last")
        curl.until("[dora] typed at last\n")
        assert number >= 3
    wait_until(lambda: metric(daemon.port, held("duplex")) == 0, "curl is gone")


def held(door: str) -> str:
    return f'comet_chat_held_requests{{door="{door}"}}'


def test_a_name_makes_curl_somebody_for_as_long_as_it_runs(daemon: Daemon) -> None:
    people = "/api/v1/rooms/lobby/people"
    with Running("curl", "-sN", f"{daemon.url}/rooms/lobby.txt") as other:
        wait_until(lambda: metric(daemon.port, held("text")) == 1, "the other is held")
        with Running("curl", "-sN", f"{daemon.url}/rooms/lobby.txt?name=Carol") as carol:
            other.until("* Carol joined\n")
            present = once(daemon.port, "GET", people).json["people"]
            assert {"name": "Carol", "role": "guest"} in present
            taken = once(daemon.port, "GET", "/rooms/lobby.txt?name=carol")
            assert (taken.status, taken.json["type"]) == (409, "/problems/name-taken")
            carol.until("\n")
        other.until("* Carol left\n")
        # The name was hers for the length of the request, and is free again.
        with Running("curl", "-sN", f"{daemon.url}/rooms/lobby.txt?name=carol"):
            other.until("* carol joined\n")


@pytest.mark.parametrize("door", ["stream", "sse"])
def test_curl_reads_the_doors_of_programs(daemon: Daemon, alice: str, door: str) -> None:
    with Running("curl", "-sN", f"{daemon.url}/api/v1/events/{door}") as curl:
        curl.until('"type":"hello"')
        event = say(daemon.port, alice, f"for {door}").json
        read = curl.until(f"for {door}")
        curl.until('"type":"heartbeat"')
    (line,) = [line for line in read.splitlines() if f"for {door}" in line]
    assert json.loads(line.removeprefix("data: ")) == event
    if door == "sse":
        assert f"id: {event['cursor']}\n{line}\n" in read


@pytest.mark.parametrize("door", ENDLESS)
def test_http_1_0_gets_a_stream_that_ends_with_the_connection(
    daemon: Daemon, alice: str, door: str
) -> None:
    url = f"{daemon.url}/api/v1/events/{door}"
    with Running("curl", "-sNi", "--http1.0", url) as curl:
        # The head comes at once, before anybody has said anything.
        head = curl.until("\r\n\r\n").lower()
        assert "transfer-encoding" not in head
        assert "content-length" not in head
        wait_until(lambda: metric(daemon.port, held(door)) == 1, "curl is held")
        say(daemon.port, alice, f"old {door}")
        curl.until(f"old {door}")


@pytest.mark.parametrize("door", [*ENDLESS, "poll"])
def test_head_gets_the_head_and_ends(daemon: Daemon, door: str) -> None:
    path = f"/api/v1/events/{door}"
    kind = once(daemon.port, "GET", f"{path}?wait=0") if door == "poll" else None
    began = time.monotonic()
    status, out, err = run("curl", "-sSI", daemon.url + path)
    assert (status, err) == (0, "")
    assert time.monotonic() - began < 5
    head = out.lower().splitlines()
    assert head[0].startswith("http/1.1 200 ")
    assert "cache-control: no-store, no-transform" in head
    assert "x-accel-buffering: no" in head
    assert "x-content-type-options: nosniff" in head
    if kind is not None:
        assert f"content-type: {kind.headers['content-type']}" in head
    assert metric(daemon.port, held(door)) == 0


def test_head_of_a_name_takes_no_name(daemon: Daemon) -> None:
    answer = once(daemon.port, "HEAD", "/rooms/lobby.txt?name=dave")
    assert (answer.status, answer.body) == (200, b"")
    people = once(daemon.port, "GET", "/api/v1/rooms/lobby/people").json["people"]
    assert "dave" not in [each["name"] for each in people]


# -- connections


def test_many_requests_go_over_one_connection(daemon: Daemon, alice: str) -> None:
    with closing(connect(daemon.port)) as connection:
        before = ask(connection, "GET", "/api/v1/events/poll").json["cursor"]
        local = connection.sock.getsockname()
        posted = ask(
            connection, "POST", "/api/v1/rooms/lobby/messages", token=alice, body={"text": "one"}
        )
        assert posted.status == 201
        polled = ask(connection, "GET", f"/api/v1/events/poll?cursor={before}").json
        assert polled["events"] == [posted.json]
        # An answer that is refused, one without a body and one with nothing new keep it open too.
        assert ask(connection, "GET", "/nowhere").status == 404
        assert ask(connection, "HEAD", "/api/v1/events/stream").status == 200
        idle = f"/api/v1/events/poll?cursor={polled['cursor']}&wait=0.1"
        assert ask(connection, "GET", idle).json["events"] == []
        assert connection.sock.getsockname() == local


def test_a_bare_socket_sees_well_formed_chunks(daemon: Daemon, alice: str) -> None:
    with socket.create_connection(("127.0.0.1", daemon.port), PATIENCE) as stream:
        stream.sendall(b"GET /api/v1/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = read_until(stream, b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head.lower()
        rest = head.partition(b"\r\n\r\n")[2]
        hello, rest = chunk(stream, rest)
        assert json.loads(hello)["type"] == "hello"
        event = say(daemon.port, alice, "in a chunk").json
        said, rest = chunk(stream, rest)
        while json.loads(said)["type"] == "heartbeat":
            said, rest = chunk(stream, rest)
        assert json.loads(said) == event


def chunk(stream: socket.socket, data: bytes) -> tuple[bytes, bytes]:
    """The next chunk (RFC 9112, section 7.1), and what was read after it."""
    if b"\r\n" not in data:
        data += read_until(stream, b"\r\n")
    size, _, data = data.partition(b"\r\n")
    while len(data) < int(size, 16) + 2:
        data += read_until(stream, b"\r\n")
    length = int(size, 16)
    assert data[length : length + 2] == b"\r\n"
    return data[:length], data[length + 2 :]


@pytest_twisted.ensureDeferred  # type: ignore[untyped-decorator]
async def test_treq_reads_a_stream_to_its_end(daemon: Daemon, alice: str) -> None:
    said = say(daemon.port, alice, "for treq").json
    bob = log_in(daemon.port, "bob")
    url = f"{daemon.url}/api/v1/events/stream?backlog=1&token={bob}"
    response = await treq.get(url, timeout=PATIENCE, persistent=False, unbuffered=True)
    assert response.headers.getRawHeaders("content-type") == ["application/x-ndjson"]
    read = bytearray()

    def collect(data: bytes) -> None:
        read.extend(data)
        if b"for treq" in data:
            # What closes a stream from outside: its session is over.
            assert once(daemon.port, "DELETE", "/api/v1/session", token=bob).status == 204

    await response.collect(collect)
    events = [json.loads(line) for line in bytes(read).splitlines()]
    kept = [event for event in events if event["type"] in ("hello", "message", "bye")]
    assert [event["type"] for event in kept] == ["hello", "message", "bye"]
    assert kept[1] == said
    assert once(daemon.port, "GET", "/api/v1/events/poll", token=bob).status == 401


# -- cursors


def test_one_cursor_works_in_every_door(daemon: Daemon, alice: str) -> None:
    start = once(daemon.port, "GET", "/api/v1/events/poll").json["cursor"]
    said = [say(daemon.port, alice, f"walk {number}").json for number in range(4)]
    with Held(daemon.port, f"/api/v1/events/stream?cursor={start}") as stream:
        events = stream.events()
        assert next(events)["type"] == "hello"
        assert next(events) == said[0]
    after_first = said[0]["cursor"]
    with Held(daemon.port, f"/api/v1/events/text?cursor={after_first}&cursors=1") as text:
        read = text.until(b"walk 3").decode()
        assert "walk 0" not in read
        assert read.count("walk") == 3
        beat = text.until(f"* cursor {said[3]['cursor']}\n".encode())
        assert b"walk 3\n* cursor" in beat
    with Held(
        daemon.port,
        f"/api/v1/events/sse?cursor={start}",
        headers={"Last-Event-ID": said[1]["cursor"]},
    ) as sse:
        read = sse.until(b"walk 3").decode()
        assert "walk 1" not in read
        assert "walk 2" in read
    with Held(daemon.port, f"/api/v1/events/frame?cursor={said[2]['cursor']}") as frame:
        assert b"walk 2" not in frame.until(b"walk 3")
    polled = once(daemon.port, "GET", f"/api/v1/events/poll?cursor={said[3]['cursor']}&wait=0")
    assert polled.json["events"] == []


def test_a_long_backlog_comes_as_fast_as_it_is_read(daemon: Daemon, alice: str) -> None:
    start = once(daemon.port, "GET", "/api/v1/events/poll").json["cursor"]
    said = [say(daemon.port, alice, f"{n} " + "\N{GRINNING FACE}" * 7900).json for n in range(200)]
    began = time.monotonic()
    with Held(daemon.port, f"/api/v1/events/stream?cursor={start}") as stream:
        read = []
        for event in stream.events():
            if event["type"] == "message":
                read.append(event)
            if len(read) == len(said):
                break
    took = time.monotonic() - began
    print(f"{len(said)} messages, 6 MB, in {took:.2f} s")
    assert read == said
    assert took < 10
    assert history(daemon.port)[-200:] == said
