"""Stock clients that come back: npm's ``eventsource``, Python's ``websockets``, curl.

Each connects, hears, loses the daemon to SIGTERM and to ``kill -9``, comes back by itself, and has
missed nothing and heard nothing twice.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.talk import Running, log_in, metric, once, say, wait_until
from tests.support import Daemon

HERE = Path(__file__).parent

#: Said at once, and so many times.
SAID = 20

Seen = dict[str, Any]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path, "--limits=off", "--heartbeat=1") as running:
        yield running
    assert "Traceback" not in running.log


class Client:
    """A stock client that prints what it hears.

    :param transport: by which it reads.
    :param decode: one of its lines in, the message's text out, or None.
    """

    def __init__(
        self, running: Running, daemon: Daemon, transport: str, decode: Callable[[str], str | None]
    ) -> None:
        self.running = running
        self.daemon = daemon
        self._held = f'comet_chat_held_requests{{transport="{transport}"}}'
        self._decode = decode

    def wait_until_held(self) -> None:
        wait_until(lambda: metric(self.daemon.port, self._held) == 1, "it is held", 20)

    def hear_until(self, text: str) -> list[str]:
        """All texts that it heard, this one being the last."""
        self.running.until(text)
        heard = [self._decode(line) for line in self.running.output.decode().splitlines()]
        return [each for each in heard if each is not None]


def comes_back(client: Client, token: str) -> None:
    """Say much, end the daemon in the middle, say more; and so on."""
    daemon, texts = client.daemon, []

    def talk(name: str) -> None:
        for number in range(SAID):
            texts.append(f"{name} {number}.")
            assert say(daemon.port, token, texts[-1]).status == 201

    client.wait_until_held()
    talk("before")
    assert client.hear_until(texts[-1]) == texts
    for how in (signal.SIGTERM, signal.SIGKILL):
        # Not heard, perhaps, when the daemon ends.
        talk(f"just before {how.name}")
        daemon.restart(how)
        talk(f"while away after {how.name}")
        assert client.hear_until(texts[-1]) == texts
        client.wait_until_held()
        talk(f"back after {how.name}")
        assert client.hear_until(texts[-1]) == texts


def start(daemon: Daemon) -> tuple[str, str]:
    """A token to speak with, and the cursor of now."""
    token = log_in(daemon.port, "alice")
    say(daemon.port, token, "nobody asked for this")
    cursor: str = once(daemon.port, "GET", "/api/v1/events/poll").json["cursor"]
    return token, cursor


def message(line: str) -> str | None:
    """The text of an event in a line of JSON."""
    event: Seen = json.loads(line)
    event = event.get("event", event)
    return str(event["text"]) if event.get("type") == "message" else None


@pytest.mark.slow
def test_eventsource_comes_back_by_last_event_id(daemon: Daemon) -> None:
    token, cursor = start(daemon)
    url = f"{daemon.url}/api/v1/events/sse?cursor={cursor}"
    with Running("node", str(HERE / "eventsource.mjs"), url) as node:
        comes_back(Client(node, daemon, "sse", message), token)
        lines = [json.loads(line) for line in node.output.decode().splitlines()]
    for line in lines:
        assert "event" not in line or line["lastEventId"] in ("", line["event"].get("cursor", ""))
    states = [line["state"] for line in lines if "state" in line]
    assert states.count("open") == 3
    assert "closed" not in states


@pytest.mark.slow
def test_websockets_comes_back_with_its_cursor(daemon: Daemon) -> None:
    token, cursor = start(daemon)
    url = f"ws://127.0.0.1:{daemon.port}/api/v1/events/ws?rooms=lobby"
    with Running(sys.executable, str(HERE / "follow.py"), url, cursor) as program:
        comes_back(Client(program, daemon, "ws", message), token)
        lines = [json.loads(line) for line in program.output.decode().splitlines()]
    states = [line["state"] for line in lines if "state" in line]
    # 1012: the daemon restarts, come back; 1006: there was no close frame.
    assert states == ["open", 1012, "open", 1006, "open"]


@pytest.mark.slow
def test_curl_comes_back_with_its_cursor(daemon: Daemon) -> None:
    token, cursor = start(daemon)
    url = f"{daemon.url}/rooms/lobby.txt?cursors=1"

    def said(line: str) -> str | None:
        return line.removeprefix("[alice] ") if line.startswith("[alice] ") else None

    with Running(str(HERE / "follow.sh"), url, cursor) as shell:
        comes_back(Client(shell, daemon, "text", said), token)
