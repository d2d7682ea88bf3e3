"""The transports as stock clients read them: curl, the standard library, treq, a bare socket."""

from __future__ import annotations

import json
import socket
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
    held,
    history,
    log_in,
    once,
    say,
    wait_until,
)
from tests.support import PATIENCE, Daemon, read_until, run

ENDLESS = ("frame", "stream", "sse", "text")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("transports"), "--limits=off", "--heartbeat=1") as running:
        yield running


@pytest.fixture(scope="module")
def alice(daemon: Daemon) -> str:
    """Her token."""
    return log_in(daemon.port, "alice")


# -- curl


def silence(curl: Running) -> None:
    """Wait until curl shows an empty line, which is what silence is: so it is held."""
    curl.until("\n")


def test_curl_shows_a_room_while_somebody_types(daemon: Daemon, alice: str, room: str) -> None:
    with Running("curl", "-sN", f"{daemon.url}/rooms/{room}.txt") as curl:
        silence(curl)
        for number in range(3):
            say(daemon.port, alice, f"line {number}\nand more", room=room)
            # Each line comes when it is said, not when a buffer is full.
            curl.until(f"[alice] line {number}\n  and more\n")
        # Silence is an empty line: the connection lives.
        curl.until("and more\n\n")
    wait_until(lambda: "text" not in held(daemon.port), "curl is gone")


def test_one_curl_is_a_whole_chat_client(daemon: Daemon, alice: str, room: str) -> None:
    """Whoever types nothing sees each line of another as it is said."""
    url = f"{daemon.url}/rooms/{room}.txt?name=dora"
    with Running("curl", "-sNT.", url, keyboard=True) as curl:
        silence(curl)
        # A curl that waits for what is typed looks for it all the while, which takes a processor.
        for number in range(2):
            say(daemon.port, alice, f"line {number} for dora", room=room)
            # With a heartbeat's silence after it, so that nothing but itself can bring it out.
            curl.until(f"[alice] line {number} for dora\n\n")
        curl.write("typed at last")
        curl.until("[dora] typed at last\n")
    wait_until(lambda: "duplex" not in held(daemon.port), "curl is gone")


def test_a_name_makes_curl_somebody_for_as_long_as_it_runs(daemon: Daemon, room: str) -> None:
    with Running("curl", "-sN", f"{daemon.url}/rooms/{room}.txt") as other:
        silence(other)
        with Running("curl", "-sN", f"{daemon.url}/rooms/{room}.txt?name=Carol") as carol:
            other.until("* Carol joined\n")
            present = once(daemon.port, "GET", f"/api/v1/rooms/{room}/people").json["people"]
            assert {"name": "Carol", "role": "guest"} in present
            taken = once(daemon.port, "GET", f"/rooms/{room}.txt?name=carol")
            assert (taken.status, taken.json["type"]) == (409, "/problems/name-taken")
            silence(carol)
        other.until("* Carol left\n")
        # The name was hers for the length of the request, and is free again.
        with Running("curl", "-sN", f"{daemon.url}/rooms/{room}.txt?name=carol"):
            other.until("* carol joined\n")


@pytest.mark.parametrize("transport", ["stream", "sse"])
def test_curl_reads_the_transports_of_programs(
    daemon: Daemon, alice: str, room: str, transport: str
) -> None:
    with Running("curl", "-sN", f"{daemon.url}/api/v1/events/{transport}?rooms={room}") as curl:
        curl.until('"type":"hello"')
        event = say(daemon.port, alice, f"for {transport}", room=room).json
        read = curl.until(f"for {transport}")
        curl.until('"type":"heartbeat"')
    (line,) = [line for line in read.splitlines() if f"for {transport}" in line]
    assert json.loads(line.removeprefix("data: ")) == event
    if transport == "sse":
        assert f"id: {event['cursor']}\n{line}\n" in read


@pytest.mark.parametrize("transport", ENDLESS)
def test_http_1_0_gets_a_stream_that_ends_with_the_connection(
    daemon: Daemon, alice: str, room: str, transport: str
) -> None:
    url = f"{daemon.url}/api/v1/events/{transport}?rooms={room}"
    with Running("curl", "-sNi", "--http1.0", url) as curl:
        # The head comes at once, before anybody has said anything.
        head = curl.until("\r\n\r\n").lower()
        assert "transfer-encoding" not in head
        assert "content-length" not in head
        say(daemon.port, alice, f"old {transport}", room=room)
        curl.until(f"old {transport}")


@pytest.mark.parametrize("transport", [*ENDLESS, "poll"])
def test_head_gets_the_head_and_ends(daemon: Daemon, transport: str) -> None:
    path = f"/api/v1/events/{transport}"
    kind = once(daemon.port, "GET", f"{path}?wait=0") if transport == "poll" else None
    status, out, err = run("curl", "-sSI", daemon.url + path)
    assert (status, err) == (0, "")
    head = out.lower().splitlines()
    assert head[0].startswith("http/1.1 200 ")
    assert "cache-control: no-store, no-transform" in head
    assert "x-accel-buffering: no" in head
    assert "x-content-type-options: nosniff" in head
    if kind is not None:
        assert f"content-type: {kind.headers['content-type']}" in head
    wait_until(lambda: transport not in held(daemon.port), "nothing is held")


def test_head_of_a_name_takes_no_name(daemon: Daemon) -> None:
    answer = once(daemon.port, "HEAD", "/rooms/lobby.txt?name=dave")
    assert (answer.status, answer.body) == (200, b"")
    people = once(daemon.port, "GET", "/api/v1/rooms/lobby/people").json["people"]
    assert "dave" not in [each["name"] for each in people]


# -- connections


def test_many_requests_go_over_one_connection(daemon: Daemon, alice: str, room: str) -> None:
    poll, messages = f"/api/v1/events/poll?rooms={room}", f"/api/v1/rooms/{room}/messages"
    with closing(connect(daemon.port)) as connection:
        before = ask(connection, "GET", poll).json["cursor"]
        local = connection.sock.getsockname()
        posted = ask(connection, "POST", messages, token=alice, body={"text": "one"})
        assert posted.status == 201
        polled = ask(connection, "GET", f"{poll}&cursor={before}").json
        kept = [event for event in polled["events"] if event["type"] == "message"]
        assert kept == [posted.json]
        # An answer that is refused, one without a body and one with nothing new keep it open too.
        assert ask(connection, "GET", "/nowhere").status == 404
        assert ask(connection, "HEAD", "/api/v1/events/stream").status == 200
        idle = f"{poll}&cursor={polled['cursor']}&wait=0.1"
        assert ask(connection, "GET", idle).json["events"] == []
        assert connection.sock.getsockname() == local


def test_a_bare_socket_sees_well_formed_chunks(daemon: Daemon, alice: str, room: str) -> None:
    target = f"/api/v1/events/stream?rooms={room}"
    with socket.create_connection(("127.0.0.1", daemon.port), PATIENCE) as stream:
        stream.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = read_until(stream, b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head.lower()
        rest = head.partition(b"\r\n\r\n")[2]
        hello, rest = chunk(stream, rest)
        assert json.loads(hello)["type"] == "hello"
        event = say(daemon.port, alice, "in a chunk", room=room).json
        said, rest = chunk(stream, rest)
        while json.loads(said)["type"] != "message":
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
async def test_treq_reads_a_stream_to_its_end(daemon: Daemon, alice: str, room: str) -> None:
    said = say(daemon.port, alice, "for treq", room=room).json
    bob = log_in(daemon.port, "bob")
    url = f"{daemon.url}/api/v1/events/stream?rooms={room}&backlog=1&token={bob}"
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


def test_one_cursor_works_in_every_transport(daemon: Daemon, alice: str, room: str) -> None:
    start = once(daemon.port, "GET", "/api/v1/events/poll").json["cursor"]
    said = [say(daemon.port, alice, f"walk {number}", room=room).json for number in range(4)]
    here = f"rooms={room}"
    with Held(daemon.port, f"/api/v1/events/stream?{here}&cursor={start}") as stream:
        events = stream.events()
        assert next(events)["type"] == "hello"
        assert next(events) == said[0]
    after_first = said[0]["cursor"]
    with Held(daemon.port, f"/api/v1/events/text?{here}&cursor={after_first}&cursors=1") as text:
        read = text.until(b"walk 3").decode()
        assert "walk 0" not in read
        assert read.count("walk") == 3
        beat = text.until(f"* cursor {said[3]['cursor']}\n".encode())
        assert b"walk 3\n* cursor" in beat
    with Held(
        daemon.port,
        f"/api/v1/events/sse?{here}&cursor={start}",
        headers={"Last-Event-ID": said[1]["cursor"]},
    ) as sse:
        read = sse.until(b"walk 3").decode()
        assert "walk 1" not in read
        assert "walk 2" in read
    with Held(daemon.port, f"/api/v1/events/frame?{here}&cursor={said[2]['cursor']}") as frame:
        assert b"walk 2" not in frame.until(b"walk 3")
    rest = f"/api/v1/events/poll?{here}&cursor={said[3]['cursor']}&wait=0"
    polled = once(daemon.port, "GET", rest)
    assert polled.json["events"] == []


def test_a_long_backlog_comes_as_fast_as_it_is_read(daemon: Daemon, alice: str, room: str) -> None:
    start = once(daemon.port, "GET", "/api/v1/events/poll").json["cursor"]
    text = "\N{GRINNING FACE}" * 7900
    said = [say(daemon.port, alice, f"{n} {text}", room=room).json for n in range(200)]
    beats = 0
    with Held(daemon.port, f"/api/v1/events/stream?rooms={room}&cursor={start}") as stream:
        read = []
        for event in stream.events():
            if event["type"] == "message":
                read.append(event)
            beats += event["type"] == "heartbeat"
            if len(read) == len(said):
                break
    assert read == said
    # It is never left in silence until there is a reason to go on.
    assert beats < len(said) / 10
    assert history(daemon.port, room) == said
