"""The system's clock is set while the daemon runs, and while it does not: nothing waits for it.

Only the daemon's own is: a ``sitecustomize`` of the process that it is forked from adds what a file
says.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import attrs
import pytest

from tests.daemon.talk import Held, log_in, metric, once, say, wait_until
from tests.support import PATIENCE, Daemon

HEARTBEAT, POLL_TIMEOUT, EXPIRATION_DELAY = 0.5, 1.0, 3.0

#: Variables of a process whose daemons have clocks that can be set. That is done before anything of
#: the daemon's is imported: Twisted keeps `time.time` itself.
SETTABLE_CLOCKS = {"PYTHONPATH": str(Path(__file__).parent / "stand_ins" / "clock")}

YEAR = 400 * 86400.0
JUMPS = (-7200.0, -YEAR, YEAR)


@attrs.frozen
class Machine:
    """A daemon, and the clock of its machine."""

    daemon: Daemon
    ahead: Path
    watchdog: socket.socket

    def set(self, seconds: float) -> None:
        """Set the clock by so many seconds from the true time."""
        new = self.ahead.with_suffix(".new")
        new.write_text(str(seconds))
        new.rename(self.ahead)

    def beats(self) -> int:
        """How often systemd was told that the reactor turns, since the last look."""
        count = 0
        while True:
            try:
                count += self.watchdog.recv(100) == b"WATCHDOG=1"
            except BlockingIOError:
                return count


@pytest.fixture(scope="module")
def settable_clocks() -> Iterator[None]:
    """Daemons that start meanwhile have clocks that can be set."""
    with Daemon.own_starter(SETTABLE_CLOCKS):
        yield


@pytest.fixture
def machine(tmp_path: Path, settable_clocks: None) -> Iterator[Machine]:
    ahead = tmp_path / "ahead"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as watchdog:
        watchdog.bind(str(tmp_path / "notify"))
        watchdog.setblocking(False)
        daemon = Daemon(
            tmp_path,
            f"--heartbeat={HEARTBEAT:g}",
            f"--poll-timeout={POLL_TIMEOUT:g}",
            f"--expiration-delay={EXPIRATION_DELAY:g}",
            environ={
                "AHEAD": str(ahead),
                "NOTIFY_SOCKET": str(tmp_path / "notify"),
                "WATCHDOG_USEC": "1000000",
            },
        )
        made = Machine(daemon, ahead, watchdog)
        made.set(0)
        with daemon:
            yield made


@pytest.mark.parametrize("jump", JUMPS)
def test_it_is_set_while_the_daemon_runs(machine: Machine, jump: float) -> None:
    port = machine.daemon.port
    token = log_in(port, "ada")
    with Held(port, f"/api/v1/events/stream?token={token}") as held:
        held.until(b'"type":"heartbeat"')
        cursor = once(port, "GET", "/api/v1/events/poll").json["cursor"]
        for seconds in (jump, 0.0):
            machine.set(seconds)
            # It sees the new time, where times are shown.
            earliest = time.time() + seconds
            said = say(port, token, f"set by {seconds}").json
            at = datetime.fromisoformat(said["at"].replace("Z", "+00:00")).timestamp()
            assert earliest - 1 < at < time.time() + seconds + 1
            cursor = said["cursor"]
            machine.beats()
            held.read = b""
            for _ in range(3):
                held.until(b'"type":"heartbeat"')
                held.read = b""
            began = time.monotonic()
            assert once(port, "GET", f"/api/v1/events/poll?cursor={cursor}").json["events"] == []
            assert time.monotonic() - began < POLL_TIMEOUT + PATIENCE / 2
            wait_until(machine.beats, "the watchdog is told")
            assert once(port, "GET", f"/api/v1/rooms/lobby/people?token={token}").status == 200
        assert [each["name"] for each in _people(port)] == ["ada"]
    assert metric(port, 'comet_chat_expired_total{transport="stream"}') == 0
    assert once(port, "DELETE", "/api/v1/session", token=token).status == 204


@pytest.mark.parametrize("jump", JUMPS)
def test_it_is_set_while_the_daemon_is_away(machine: Machine, jump: float) -> None:
    daemon = machine.daemon
    token = log_in(daemon.port, "ada")
    first = say(daemon.port, token, "before").json
    for seconds in (jump, 0.0):
        machine.set(seconds)
        daemon.restart()
        said = say(daemon.port, token, f"set by {seconds}")
        assert said.status == 201, "her token is as good as before"
    events = once(daemon.port, "GET", f"/api/v1/events/poll?cursor={first['cursor']}").json
    assert [each["text"] for each in events["events"]] == [f"set by {jump}", "set by 0.0"]
    assert once(daemon.port, "GET", "/rooms/lobby/plain").status == 200


def _people(port: int) -> list[dict[str, str]]:
    people: list[dict[str, str]] = once(port, "GET", "/api/v1/rooms/lobby/people").json["people"]
    return people
