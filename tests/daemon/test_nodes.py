"""Daemons that share a PostgreSQL: real ones, each with a port of its own and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.talk import (
    Held,
    history,
    log_in,
    log_in_by_cookie,
    make_room,
    metric,
    once,
    people,
    say,
    wait_until,
)
from tests.postgresql import PASSWORD, PostgresServer
from tests.support import Daemon


@contextmanager
def nodes(
    folder: Path, url: str, *names: str, options: Sequence[str] = (), before: str = ""
) -> Iterator[list[Daemon]]:
    """Daemons on one database; nothing that they say has the password.

    :param before: see `Daemon`.
    """
    with ExitStack() as stack:
        daemons = []
        for name in names:
            (folder / name).mkdir()
            environ = {"COMET_CHAT_DATABASE": url}
            more = (f"--node={name}", *options)
            daemon = Daemon(folder / name, *more, environ=environ, before=before)
            daemons.append(stack.enter_context(daemon))
        yield daemons
    for daemon in daemons:
        assert PASSWORD not in daemon.log
        assert "Traceback" not in daemon.log


@pytest.fixture(scope="module")
def three(
    postgresql: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Daemon]]:
    """Three of them, for tests that have people of their own; who kills one starts it again."""
    name = postgresql.fresh_database()
    folder = tmp_path_factory.mktemp("three")
    with nodes(folder, postgresql.url(name), "a", "b", "c") as daemons:
        yield daemons
    postgresql.drop_database(name)


def test_two_daemons_are_one_conversation(tmp_path: Path, empty_url: str) -> None:
    with nodes(tmp_path, empty_url, "a", "b") as (a, b):
        cookie, token = log_in_by_cookie(a.port, "alice")
        stream = "/api/v1/events/stream?rooms=lobby"
        with Held(b.port, stream, headers={"Cookie": f"{cookie}={token}"}) as held:
            held.until(b"hello")
            # Said at one, read at the other, and its author is known there.
            said = say(a.port, token, "first", client_id="c1")
            assert said.status == 201
            held.until(b'"first"')
            again = say(b.port, token, "first", client_id="c1")
            assert (again.status, again.json["id"]) == (200, said.json["id"])
            assert say(b.port, token, "second").json["id"] > said.json["id"]
            assert [each["text"] for each in history(a.port)] == ["first", "second"]
            wait_until(lambda: "alice" in people(a.port), "she is there at both")
            # Of one name there is one person, and of one room one.
            taken = once(b.port, "POST", "/api/v1/session", body={"name": "Alice"})
            assert taken.status == 409
            made = once(a.port, "POST", "/api/v1/rooms", token=token, body={"name": "attic"})
            assert made.status == 201
            wait_until(
                lambda: once(b.port, "GET", "/api/v1/rooms/attic").status == 200, "a room at both"
            )
            assert (
                once(b.port, "POST", "/api/v1/rooms", token=token, body={"name": "attic"}).status
                == 409
            )
            # Who logs out at one is out at the other.
            assert once(a.port, "DELETE", "/api/v1/session", token=token).status == 204
            held.until(b"bye")
        assert say(b.port, token, "third").status == 401
        assert not (a.data / "chat.sqlite").exists()
        assert not (a.data / "secret").exists(), "it is the database's"


def test_a_session_is_one_at_three_nodes(three: list[Daemon]) -> None:
    """Log in at one, rename and post at the next, log out at the third."""
    first, second, third = (daemon.port for daemon in three)
    token = log_in_by_cookie(first, "alice")[1]
    path = "/api/v1/events/stream?rooms=lobby"
    with Held(second, f"{path}&token={token}") as old, Held(third, path) as other:
        old.until(b"hello")
        other.until(b"hello")
        asked = {"name": "Carol"}
        renamed = once(third, "POST", "/api/v1/session", token=token, body=asked)
        assert renamed.status == 200, renamed
        old.until(b"reopen")
        token = renamed.json["token"]
        said = say(second, token, "hi from Carol")
        assert (said.status, said.json["from"]) == (201, "Carol")
        other.until(b"hi from Carol")
        with Held(second, f"{path}&token={token}") as stream:
            stream.until(b"hello")
            assert once(third, "DELETE", "/api/v1/session", token=token).status == 204
            stream.until(b"bye")
    for port in (first, second, third):
        assert say(port, token, "no more").status == 401
    log_in_by_cookie(first, "carol")
    log_in_by_cookie(second, "alice")


def test_a_log_out_is_brought_by_its_bell(tmp_path: Path, database_url: str) -> None:
    """A stream at another node ends by what the bell itself brings: for that nothing is read, and
    it does not wait for the look of each second."""
    with nodes(tmp_path, database_url, "a", "b") as (a, b), ExitStack() as stack:
        held = []
        for number in range(5):
            token = log_in(a.port, f"guest {number}")
            stream = Held(b.port, f"/api/v1/events/stream?rooms=lobby&token={token}")
            held.append((token, stack.enter_context(stream)))
            stream.until(b"hello")
        inline, read = (f'comet_chat_bells_total{{kind="{kind}"}}' for kind in ("inline", "read"))
        before = metric(b.port, inline), metric(b.port, read)
        for token, stream in held:
            assert once(a.port, "DELETE", "/api/v1/session", token=token).status == 204
            stream.until(b"bye")
        assert metric(b.port, inline) >= before[0] + len(held)
        assert metric(b.port, read) == before[1]


def test_what_a_node_had_is_free_after_a_kill(three: list[Daemon]) -> None:
    """A name that lasts as long as a request goes with the lease of its node."""
    a, b, _ = three
    try:
        with Held(a.port, "/rooms/lobby.txt?name=dave"):
            wait_until(lambda: "dave" in people(b.port), "he is there")
            body = {"name": "dave"}
            assert once(b.port, "POST", "/api/v1/session", body=body).status == 409
            a.kill()
        taken = once(b.port, "POST", "/api/v1/session", body=body)
        assert taken.status == 409, "its lease goes on"

        def free() -> bool:
            return once(b.port, "POST", "/api/v1/session", body=body).status == 201

        wait_until(free, "the name is free")
    finally:
        a.kill()
        a.start()


def test_a_form_of_one_node_is_good_at_another(three: list[Daemon]) -> None:
    """The key of hidden tokens is that of all nodes."""
    a, b, _ = three
    room = make_room(a.port)
    path = f"/rooms/{room}"
    wait_until(lambda: once(b.port, "GET", f"/api/v1{path}").status == 200, "a room at both")
    cookie, token = log_in_by_cookie(a.port, "fay")
    mine = {"Cookie": f"{cookie}={token}"}
    page = once(a.port, "GET", path, headers=mine).text
    hidden = page.partition('name="form_token" value="')[2].partition('"')[0]
    assert hidden
    form = {"form_token": hidden, "text": "by a form"}
    origin = {"Origin": a.url, **mine}
    answer = once(b.port, "POST", path, form=form, headers={**origin, "Host": a.url[7:]})
    assert answer.status in (302, 303), answer
    assert [each["text"] for each in history(a.port, room)] == ["by a form"]


def test_a_database_that_is_not_there_is_a_sentence(tmp_path: Path, database_url: str) -> None:
    missing = database_url.replace("/test_", "/missing_")
    daemon = Daemon(tmp_path, environ={"COMET_CHAT_DATABASE": missing})
    daemon.begin()
    assert daemon.process is not None
    assert daemon.process.wait(60) == 1
    daemon.process = None
    assert "does not exist" in daemon.log
    assert PASSWORD not in daemon.log
    assert "Traceback" not in daemon.log


def test_streams_stay_while_the_database_restarts(
    tmp_path: Path, own_postgresql: PostgresServer
) -> None:
    url = own_postgresql.url(own_postgresql.fresh_database())
    with nodes(tmp_path, url, "a", "b") as (a, b):
        _, token = log_in_by_cookie(a.port, "alice")
        with Held(b.port, "/api/v1/events/stream?rooms=lobby") as held:
            held.until(b"hello")
            own_postgresql.restart("immediate")
            assert say(a.port, token, "after", client_id="c1").status in (200, 201)
            assert b"reset" not in held.until(b'"after"')


def test_a_bayeux_client_of_one_node_is_served_by_another(three: list[Daemon]) -> None:
    def bayeux(port: int, **message: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = once(port, "POST", "/cometd", body=[message]).json
        return found

    a, b, _ = three
    offer = {"version": "1.0", "supportedConnectionTypes": ["long-polling"]}
    (hello,) = bayeux(a.port, channel="/meta/handshake", **offer)
    client = hello["clientId"]
    (joined,) = bayeux(
        b.port, channel="/meta/subscribe", clientId=client, subscription="/chat/lobby"
    )
    assert joined["successful"], joined
    _, token = log_in_by_cookie(a.port, "bea")
    say(b.port, token, "to a client of the first")
    connect = {"channel": "/meta/connect", "clientId": client, "connectionType": "long-polling"}
    heard: list[dict[str, Any]] = []

    def is_heard() -> bool:
        heard.extend(bayeux(b.port, **connect))
        return any(each["channel"] == "/chat/lobby" for each in heard)

    wait_until(is_heard, "what was said comes by the other node")


def test_with_a_database_that_stands_still_nobody_waits_for_long(
    tmp_path: Path, own_postgresql: PostgresServer
) -> None:
    url = own_postgresql.url(own_postgresql.fresh_database())
    with nodes(tmp_path, url, "a") as (a,):
        _, token = log_in_by_cookie(a.port, "alice")
        with Held(a.port, "/api/v1/events/stream?rooms=lobby") as held:
            held.until(b"hello")
            assert say(a.port, token, "before").status == 201
            with own_postgresql.frozen():
                refused = say(a.port, token, "kept", client_id="c1")
                assert refused.status == 503
                assert int(refused.headers["retry-after"]) > 0
                assert "may have been stored" in refused.text
                wait_until(
                    lambda: once(a.port, "GET", "/readyz").status == 503, "others serve instead"
                )
                assert once(a.port, "GET", "/healthz").status == 200
            wait_until(lambda: once(a.port, "GET", "/readyz").status == 200, "it is back")
            # The stream was held all the time, and nothing is there twice.
            assert say(a.port, token, "kept", client_id="c1").status in (200, 201)
            assert b"reset" not in held.until(b'"kept"')
            assert [each["text"] for each in history(a.port)] == ["before", "kept"]
