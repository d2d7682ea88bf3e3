"""The transport ``ws``, read by Python's `websockets`: over real sockets, with a real daemon."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.daemon.talk import log_in, metric, once, say, wait_until
from tests.support import PATIENCE, Daemon


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory: Path = tmp_path_factory.mktemp("websocket")
    with Daemon(directory, "--limits=off", "--heartbeat=1") as started:
        yield started


def open_socket(daemon: Daemon, query: str = "", **options: Any) -> ClientConnection:
    """A stock client at the transport."""
    url = f"ws://127.0.0.1:{daemon.port}/api/v1/events/ws?{query}"
    socket: ClientConnection = connect(
        url, open_timeout=PATIENCE, close_timeout=PATIENCE, **options
    )
    return socket


def receive(socket: ClientConnection, *types: str) -> dict[str, Any]:
    """The next event of some types."""
    while True:
        event: dict[str, Any] = json.loads(socket.recv(timeout=PATIENCE))
        if event["type"] in types:
            return event


def message(text: str, **fields: Any) -> str:
    return json.dumps({"type": "message", "text": text, **fields})


def closed_by(socket: ClientConnection) -> tuple[int, str]:
    """Code and reason of the daemon's close frame, after whatever else it said."""
    with suppress(ConnectionClosed):
        while True:
            socket.recv(timeout=PATIENCE)
    code, reason = socket.close_code, socket.close_reason
    assert code is not None
    assert reason is not None
    assert code != 1006, "the connection was lost without a close frame"
    return code, reason


def test_two_talk(daemon: Daemon) -> None:
    alice = log_in(daemon.port, "alice")
    with open_socket(daemon, f"token={alice}") as socket, open_socket(daemon) as reader:
        assert receive(socket, "hello")["heartbeat"] == 1
        receive(reader, "hello")
        for number in range(20):
            text = f"{number} h\u00e9 \U0001f984\n\u2028 " + "x" * 7000
            socket.send(message(text, client_id=str(number)))
            event = receive(socket, "message", "error")
            assert (event["text"], event["from"]) == (text, "alice")
            assert receive(reader, "message") == event


def test_the_kept_come_first_and_a_cursor_is_gone_on_from(daemon: Daemon) -> None:
    token = log_in(daemon.port, "backlogger")
    said = [say(daemon.port, token, f"kept {number}").json for number in range(300)]
    with open_socket(daemon, f"cursor={said[0]['cursor']}") as socket:
        assert [receive(socket, "message") for _ in said[1:]] == said[1:]


def test_pings_of_both_sides_are_answered(daemon: Daemon) -> None:
    with open_socket(daemon, ping_interval=None) as socket:
        assert socket.ping(b"are you there").wait(PATIENCE)
        # The daemon's own: a heartbeat a second, each with a ping that the client answers.
        for _ in range(3):
            receive(socket, "heartbeat")
        socket.send(message("hi"))
        assert receive(socket, "error")["status"] == 401


def test_fragments(daemon: Daemon) -> None:
    token = log_in(daemon.port, "piecemeal")
    whole = message("in " + "pieces " * 900)
    with open_socket(daemon, f"token={token}") as socket:
        socket.send(whole[begin : begin + 500] for begin in range(0, len(whole), 500))
        assert receive(socket, "message")["text"] == "in " + "pieces " * 899 + "pieces"


@pytest.mark.parametrize(("what", "code"), [("x" * 2_000_000, 1009), (b"\0" * 2_000_000, 1003)])
def test_what_is_refused_is_told_by_a_close_frame_even_to_who_goes_on_sending(
    daemon: Daemon, what: str | bytes, code: int
) -> None:
    """A connection that is closed with unread bytes is reset, and the frame is lost with it."""
    for _ in range(5):
        with open_socket(daemon, max_size=None) as socket:
            receive(socket, "hello")
            socket.send(what)
            assert closed_by(socket)[0] == code


def test_who_leaves_is_counted_out(daemon: Daemon) -> None:
    held = 'comet_chat_held_requests{transport="ws"}'
    wait_until(lambda: metric(daemon.port, held) == 0, "nobody is left of the tests before")
    with open_socket(daemon) as socket:
        receive(socket, "hello")
        assert metric(daemon.port, held) == 1
        socket.close(1001, "going away")
        assert socket.close_code == 1001
    wait_until(lambda: metric(daemon.port, held) == 0, "it is counted out")


def test_the_end_of_a_session_says_stay_away(daemon: Daemon) -> None:
    token = log_in(daemon.port, "leaver")
    with open_socket(daemon, f"token={token}") as socket:
        receive(socket, "hello")
        assert once(daemon.port, "DELETE", "/api/v1/session", token=token).status == 204
        assert receive(socket, "bye")["reason"] == "logged out"
        assert closed_by(socket) == (4000, "logged out")


def test_a_refusal_is_an_answer_in_http(daemon: Daemon) -> None:
    for query, status in (("rooms=nowhere", 404), ("token=nonsense", 401), ("cursor=x!", 400)):
        with pytest.raises(InvalidStatus) as refused:
            open_socket(daemon, query).close()
        assert refused.value.response.status_code == status
        assert json.loads(refused.value.response.body or b"{}")["status"] == status
    with pytest.raises(InvalidStatus) as refused:
        open_socket(daemon, origin="http://evil.example").close()
    assert refused.value.response.status_code == 403


def test_a_stop_says_come_back(tmp_path: Path) -> None:
    with Daemon(tmp_path) as stopped, open_socket(stopped) as socket:
        cursor = receive(socket, "hello")["cursor"]
        assert stopped.terminate() == -signal.SIGTERM
        reopen = receive(socket, "reopen")
        assert reopen["cursor"] == cursor
        assert 0 <= reopen["after"] <= 3
        assert closed_by(socket)[0] == 1012
