"""``kill -9`` at random moments: what was acknowledged is there once, in order, by every way."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPException
from pathlib import Path
from threading import Event, Thread
from typing import Any

from tests.daemon.talk import Held, ask, connect, history, log_in, once, wait_until
from tests.support import PATIENCE, Daemon

KILLS = 20
POSTERS = 8

#: One kill in so many comes while the daemon is starting.
IN_START = 4

#: Otherwise it comes when fewer than so many posts have been acknowledged since the start.
LIFE = 40

#: What a client of the standard library raises when its server is killed.
BROKEN = (OSError, HTTPException)


class Worker(Thread):
    """A thread whose error is an error of the test."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.over = Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:
            self.error = error

    def work(self) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        self.join(PATIENCE)
        if self.error is not None:
            raise self.error
        assert not self.is_alive(), f"{type(self).__name__} did not finish"


class Poster(Worker):
    """Posts one message after the other; one that broke is sent again, or given up."""

    def __init__(self, port: int, name: str, seed: int) -> None:
        super().__init__(port)
        self.name = name
        self.token = log_in(port, name)
        self.random = random.Random(seed)
        self.acknowledged: dict[str, int] = {}
        self.given_up: set[str] = set()
        self.breaks = 0
        #: Whether it has asked and got no answer yet.
        self.is_waiting = False

    def work(self) -> None:
        number = 0
        connection = connect(self.port, PATIENCE)
        while not self.over.is_set():
            number += 1
            self._post(connection, f"{self.name}-{number}")
            time.sleep(self.random.uniform(0, 0.03))
        connection.close()

    def _post(self, connection: Any, client_id: str) -> None:
        text = client_id + " " * self.random.choice((0, 1)) + "x" * self.random.randrange(3000)
        body = {"text": text, "client_id": client_id}
        while True:
            self.is_waiting = True
            try:
                answer = ask(
                    connection,
                    "POST",
                    "/api/v1/rooms/lobby/messages",
                    token=self.token,
                    body=body,
                )
            except BROKEN as error:
                self.is_waiting = False
                connection.close()
                refused = isinstance(error, ConnectionRefusedError)
                self.breaks += not refused
                if not refused and self.random.random() < 0.2:
                    self.given_up.add(client_id)
                    return
                time.sleep(0.03)
                continue
            self.is_waiting = False
            assert answer.status in (200, 201), answer
            self.acknowledged[client_id] = answer.json["id"]
            return


class Reader(Worker):
    """Reads all the time by one transport, and comes back with its cursor.

    :param cursor: where it begins.
    """

    def __init__(self, port: int, cursor: str) -> None:
        super().__init__(port)
        self.cursor = cursor
        self.messages: list[dict[str, Any]] = []
        self.returns = 0

    def work(self) -> None:
        while not self.over.is_set():
            try:
                self.follow()
            except BROKEN:
                self.returns += 1
                time.sleep(0.03)

    def follow(self) -> None:
        raise NotImplementedError

    def note(self, event: dict[str, Any]) -> None:
        if event["type"] == "message":
            self.messages.append(event)
        # A reset, a gap or an error would mean that it missed something.
        assert event["type"] in ("message", "hello", "heartbeat", "join", "leave"), event
        self.cursor = event.get("cursor", self.cursor)


class StreamReader(Reader):
    def follow(self) -> None:
        with Held(self.port, f"/api/v1/events/stream?cursor={self.cursor}") as held:
            for event in held.events():
                self.note(event)
                if self.over.is_set():
                    return


class PollReader(Reader):
    def follow(self) -> None:
        with closing(connect(self.port, PATIENCE)) as connection:
            while not self.over.is_set():
                answer = ask(connection, "GET", f"/api/v1/events/poll?cursor={self.cursor}&wait=1")
                assert answer.status == 200, answer
                for event in answer.json["events"]:
                    self.note(event)
                self.cursor = answer.json["cursor"]


def kill_again_and_again(daemon: Daemon, posters: Sequence[Poster], moments: random.Random) -> None:
    """Kill and start the daemon: some of the times before it is ready, else while they post."""
    took = 0.1

    def acknowledged() -> int:
        return sum(len(poster.acknowledged) for poster in posters)

    for number in range(KILLS):
        if number % IN_START == 1:
            daemon.kill()
            daemon.begin()
            time.sleep(moments.uniform(0, took))
        else:
            enough = acknowledged() + moments.randrange(LIFE)
            wait_until(lambda: acknowledged() >= enough, "they post")  # noqa: B023
            wait_until(lambda: any(poster.is_waiting for poster in posters), "one waits")
        daemon.kill()
        began = time.monotonic()
        daemon.begin()
        daemon.wait_until_ready()
        took = time.monotonic() - began


@contextmanager
def at_work(workers: Sequence[Worker]) -> Iterator[None]:
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        for worker in workers:
            worker.over.set()


def read_all_by_stream(port: int, cursor: str, last_id: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with Held(port, f"/api/v1/events/stream?cursor={cursor}") as held:
        for event in held.events():
            assert event["type"] != "gap"
            if event["type"] == "message":
                found.append(event)
                if event["id"] >= last_id:
                    break
    return found


def read_all_by_poll(port: int, cursor: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        answer = once(port, "GET", f"/api/v1/events/poll?cursor={cursor}&wait=0").json
        if not answer["events"]:
            return found
        found += [event for event in answer["events"] if event["type"] == "message"]
        cursor = answer["cursor"]


def test_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("KILL_SEED") or random.randrange(2**32))
    print(f"KILL_SEED={seed} kills at the same moments again")
    with Daemon(tmp_path, "--limits=off") as daemon:
        start = once(daemon.port, "GET", "/api/v1/events/poll").json["cursor"]
        posters = [Poster(daemon.port, f"poster{n}", seed + n) for n in range(POSTERS)]
        readers = [StreamReader(daemon.port, start), PollReader(daemon.port, start)]
        with at_work(readers):
            with at_work(posters):
                kill_again_and_again(daemon, posters, random.Random(seed))
            for poster in posters:
                poster.finish()
            kept = history(daemon.port)
            for reader in readers:
                catch_up(reader, kept[-1]["id"])
        check_what_is_kept(kept, posters)
        assert read_all_by_stream(daemon.port, start, kept[-1]["id"]) == kept
        assert read_all_by_poll(daemon.port, start) == kept
        for reader in readers:
            reader.finish()
            assert reader.messages == kept
            assert reader.returns >= KILLS // 2
    # A start is no new epoch, however the one before it ended.
    assert kept[-1]["cursor"].partition(".")[2] == start.partition(".")[2]
    check_file(daemon.data / "chat.sqlite", len(kept))


def catch_up(reader: Reader, last_id: int) -> None:
    """Wait until somebody has read up to an id."""
    deadline = time.monotonic() + PATIENCE
    while not reader.messages or reader.messages[-1]["id"] < last_id:
        assert reader.is_alive(), reader.error
        assert time.monotonic() < deadline
        time.sleep(0.01)


def check_what_is_kept(kept: list[dict[str, Any]], posters: list[Poster]) -> None:
    ids = [message["id"] for message in kept]
    assert ids == sorted(set(ids))
    place = {message["client_id"]: message["id"] for message in kept}
    assert len(place) == len(kept), "a message is there twice"
    for poster in posters:
        lost = {key: id for key, id in poster.acknowledged.items() if place.get(key) != id}
        assert not lost, f"acknowledged, but not there as that: {lost}"
        in_order = [message for message in kept if message["from"] == poster.name]
        numbers = [int(message["client_id"].partition("-")[2]) for message in in_order]
        assert numbers == sorted(numbers), "not in the order in which they were sent"
        strangers = {m["client_id"] for m in in_order} - set(poster.acknowledged)
        assert strangers <= poster.given_up
    acknowledged = sum(len(poster.acknowledged) for poster in posters)
    breaks = sum(poster.breaks for poster in posters)
    print(f"{KILLS} kills broke {breaks} posts; {acknowledged} acknowledged, {len(kept)} kept")
    # Without these the test would have shown nothing.
    assert acknowledged >= 10 * KILLS
    assert breaks >= KILLS // 2


def check_file(path: Path, count: int) -> None:
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("SELECT count(*) FROM records").fetchall() == [(count,)]
