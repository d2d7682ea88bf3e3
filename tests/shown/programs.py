"""What the documents show, run as a reader of them would.

What it is: `block` is a program or some commands, for the daemon of a test instead of the one that
is shown; `Reading` runs one; the rest talks to the daemon.

What it may know: the documents, the daemon's HTTP.

Invariant: whatever is waited for has a limit, and what was started is stopped.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from playwright.sync_api import Browser, Page

from tests.documents import blocks
from tests.support import PATIENCE, Daemon, environment

#: Where the documents' daemon is, and its directory.
SHOWN_URL = "http://127.0.0.1:8080"
SHOWN_DATA = "comet-chat-data"

LINES = [f'line {n} "quoted" \\ {{}} ü 🙂' for n in range(1, 11)]


def block(document: Path, name: str, daemon: Daemon) -> str:
    """The body of a block that is to be run, for this daemon instead of the shown one."""
    (body,) = [each.body for each in blocks(document) if each.name == name]
    # Without the scheme, which is another one for WebSockets.
    shown, real = SHOWN_URL.partition(":")[2], daemon.url.partition(":")[2]
    return body.replace(shown, real).replace(SHOWN_DATA, str(daemon.data))


class Reading:
    """A program that runs until it is stopped, and what it prints.

    :param command: the program.
    """

    def __init__(self, directory: Path, *command: str) -> None:
        self._path = directory / f"{Path(command[1]).name}.out"
        with self._path.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=directory,
                env=documented_environment(),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._path.read_text()

    def type(self, lines: Sequence[str]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("".join(f"{line}\n" for line in lines).encode())
        self.process.stdin.flush()

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.output, lambda: f"{text!r} in {self.output!r}")


def documented_environment() -> dict[str, str]:
    """Ours, with ``python3`` being the Python of the tests."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return environment({"PATH": path, "PYTHONUNBUFFERED": "1"})


def wait_until(happened: Callable[[], bool], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, f"did not happen: {what()}"
        time.sleep(0.05)


@contextmanager
def reading(directory: Path, *command: str) -> Iterator[Reading]:
    program = Reading(directory, *command)
    try:
        yield program
    finally:
        # With whatever it has started: a shell would leave its curl behind.
        os.killpg(program.process.pid, signal.SIGKILL)
        program.process.communicate()


def script(directory: Path, document: Path, name: str, daemon: Daemon) -> str:
    path = directory / name
    path.write_text(block(document, name, daemon))
    return str(path)


@contextmanager
def browser_page(chromium: Browser, url: str) -> Iterator[Page]:
    """A page of the daemon in Chromium, without any script of its own."""
    with chromium.new_page() as page:
        page.goto(f"{url}/healthz")
        yield page


def call(daemon: Daemon, path: str, body: object = None, token: str = "") -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(daemon.url + path, data, headers), timeout=PATIENCE) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def texts(daemon: Daemon) -> list[str]:
    """All messages of the lobby."""
    messages = call(daemon, "/api/v1/rooms/lobby/messages?limit=200")["messages"]
    return [message["text"] for message in messages]


def say(daemon: Daemon, token: str, text: str) -> dict[str, Any]:
    return call(daemon, "/api/v1/rooms/lobby/messages", {"text": text}, token)


def poll(daemon: Daemon, event: dict[str, Any]) -> list[dict[str, Any]]:
    """What comes after an event, of what is kept and of what a client is told about that."""
    answer = call(daemon, f"/api/v1/events/poll?wait=0&cursor={event['cursor']}")
    kept: list[dict[str, Any]] = answer["events"]
    return [each for each in kept if each["type"] not in ("join", "leave")]


def run_shown(document: Path, name: str, daemon: Daemon) -> str:
    """Run a block of shell commands; what they print."""
    done = subprocess.run(
        ["sh", "-e", "-c", block(document, name, daemon)],
        cwd=daemon.directory,
        env=documented_environment(),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
    )
    return done.stdout


def holds(daemon: Daemon) -> bool:
    """Whether the daemon holds any request."""
    with urlopen(f"{daemon.url}/metrics", timeout=PATIENCE) as answer:
        held = re.findall(r"^comet_chat_held_requests\{.*\} (\S+)$", answer.read().decode(), re.M)
    return any(float(count) for count in held)


def say_until_heard(daemon: Daemon, token: str, text: str, reader: Reading) -> bool:
    """Between two polls nothing is held: what is said then comes with the next one."""
    if text not in reader.output:
        say(daemon, token, text)
    return text in reader.output


def end(daemon: Daemon, how: signal.Signals) -> None:
    if how == signal.SIGKILL:
        daemon.kill()
    else:
        daemon.terminate()
