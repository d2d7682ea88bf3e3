"""The disk is full, or somebody else has the database: 503, nothing half-written, and then on."""

from __future__ import annotations

import html
import re
import resource
import signal
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.daemon.locks import locked, patient
from tests.daemon.talk import Answer, Held, history, log_in, metric, once, say, wait_until
from tests.support import Daemon

#: What somebody typed, which has to come back unharmed.
TYPED = 'Keep <b>this</b> & "that"\n</textarea> too'


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path, "--limits=off") as running:
        yield running
    assert "Traceback" not in running.log


@contextmanager
def full_disk(daemon: Daemon, room: int = 0) -> Iterator[None]:
    """No file of the daemon may grow past what its largest one has now.

    :param room: bytes that it may all the same.
    """
    largest = max(path.stat().st_size for path in daemon.data.iterdir())
    before = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (largest + room, before[1]))
    try:
        yield
    finally:
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, before)


def check_refusal(answer: Answer) -> None:
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json
    assert problem["type"] == "/problems/storage-unavailable"
    assert problem["status"] == 503
    assert "try again" in problem["detail"]


def fill(port: int, token: str) -> Answer:
    """Post until it is refused; a full disk has room in files that were larger once."""
    for number in range(200):
        answer = say(port, token, "x" * 8000, client_id=f"fill-{number}")
        if answer.status != 201:
            return answer
    raise AssertionError("the disk never got full")


def ids(port: int) -> list[str]:
    return [message["client_id"] for message in history(port) if "client_id" in message]


def test_posting_stops_and_reading_goes_on(daemon: Daemon) -> None:
    port, alice = daemon.port, log_in(daemon.port, "alice")
    ignored = int(
        re.findall(r"SigIgn:\s*(\w+)", Path(f"/proc/{daemon.pid}/status").read_text())[0], 16
    )
    assert ignored >> (signal.SIGXFSZ - 1) & 1, "SIGXFSZ would kill the daemon"
    before = say(port, alice, "before").json
    with Held(port, f"/api/v1/events/stream?cursor={before['cursor']}") as stream:
        with full_disk(daemon):
            check_refusal(fill(port, alice))
            refused = say(port, alice, "a " * 3000, client_id="again")
            check_refusal(refused)
            kept = history(port)
            assert kept[0] == before
            assert "again" not in ids(port)
            # Other transports open and show what there is; only what writes is refused.
            polled = once(port, "GET", f"/api/v1/events/poll?cursor={before['cursor']}&wait=0").json
            assert polled["events"] == kept[1:]
            page = once(port, "GET", "/rooms/lobby/plain")
            assert (page.status, "before" in page.text) == (200, True)
            log_ins = once(port, "POST", "/api/v1/session", body={"name": "b" * 30})
            assert log_ins.status in (201, 503)
        again = say(port, alice, "a " * 3000, client_id="again")
        # 201: what was refused was not there, not even half.
        assert again.status == 201
        assert say(port, alice, "a " * 3000, client_id="again").status == 200
        assert history(port) == [*kept, again.json]
        read = [event for event in read_to(stream, again.json["id"]) if event["type"] == "message"]
        assert read == [*kept[1:], again.json]
    assert daemon.log.count("the database can't be written") == 1
    assert "the database can be written again" in daemon.log
    check_file(daemon)


def read_to(stream: Held, id: int) -> Iterator[dict[str, object]]:
    for event in stream.events():
        yield event
        if event.get("id") == id:
            return


def check_file(daemon: Daemon) -> None:
    with closing(sqlite3.connect(daemon.data / "chat.sqlite")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_of_many_posts_at_once_each_is_kept_or_refused(daemon: Daemon) -> None:
    port, alice = daemon.port, log_in(daemon.port, "alice")
    say(port, alice, "before")

    def post(number: int) -> Answer:
        return say(port, alice, f"{number} " + "x" * 7000, client_id=f"many-{number}")

    with ThreadPoolExecutor(16) as threads:
        with full_disk(daemon, room=200_000):
            answers = list(threads.map(post, range(150)))
            kept = ids(port)
        acknowledged = [n for n, answer in enumerate(answers) if answer.status == 201]
        refused = [n for n, answer in enumerate(answers) if answer.status == 503]
        assert len(acknowledged) + len(refused) == len(answers)
        assert acknowledged
        assert refused
        assert sorted(kept) == sorted(f"many-{n}" for n in acknowledged)
        again = list(threads.map(post, refused))
    assert {answer.status for answer in again} == {201}
    assert len(ids(port)) == len(set(ids(port))) == len(answers)
    check_file(daemon)


@pytest.mark.parametrize("path", ["/rooms/lobby/plain", "/rooms/lobby", "/chat"])
def test_a_form_comes_back_with_its_text(daemon: Daemon, path: str) -> None:
    port, alice = daemon.port, log_in(daemon.port, "alice")
    page = once(port, "GET", f"{path}?action=form" if path == "/chat" else path, token=alice).text
    (client_id,) = set(re.findall(r'name="client_id" value="([^"]+)"', page))
    field = "message" if path == "/chat" else "text"
    form = {field: TYPED, "client_id": client_id, "action": "post"}
    with full_disk(daemon):
        fill(port, alice)
        refused = once(port, "POST", path, token=alice, form=form, headers={"Accept": "text/html"})
        assert refused.status == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["content-type"] == "text/html; charset=utf-8"
        assert TYPED.replace("\n", "") in html.unescape(refused.text).replace("\n", "")
        assert "<b>this</b>" not in refused.text
        # Its own key is in the form again, so that sending it twice says it once.
        assert f'name="client_id" value="{client_id}"' in refused.text
    for _ in range(2):
        sent = once(port, "POST", path, token=alice, form=form)
        assert sent.status == 303, sent
    assert ids(port).count(client_id) == 1


APPENDED = "comet_chat_events_appended_total"


def test_a_database_that_is_locked_for_a_moment(tmp_path: Path) -> None:
    with patient(tmp_path) as daemon, ThreadPoolExecutor(1) as thread:
        port, alice = daemon.port, log_in(daemon.port, "alice")
        before = say(port, alice, "before").json
        with locked(daemon):
            short = thread.submit(say, port, alice, "waits a moment", client_id="short")
            assert history(port) == [before]
            assert once(port, "GET", "/healthz").status == 200
            assert not short.done(), "the lock held up what only reads"
        # It came late, and as if nothing had been.
        assert short.result().status == 201
        assert ids(port) == ["short"]
        wait_until(lambda: metric(port, APPENDED) == 2, "both are counted")
        assert "can't be written" not in daemon.log


def test_a_database_that_is_locked_for_too_long(daemon: Daemon) -> None:
    port, alice = daemon.port, log_in(daemon.port, "alice")
    with locked(daemon):
        check_refusal(say(port, alice, "too long", client_id="long"))
    assert ids(port) == []
    assert say(port, alice, "too long", client_id="long").status == 201
    wait_until(lambda: metric(port, APPENDED) == 1, "only what is kept is counted")
