"""Connections that one test after the other has are as new."""

from __future__ import annotations

from cometd_chat.log.postgresql.connections import Server
from cometd_chat.log.postgresql.wire import Wire
from tests.log.kept_connections import connect
from tests.log.support import in_reactor, wait
from tests.postgresql import PostgresServer


def backend(server: Server) -> int:
    """Who answers a new connection, which is closed again."""
    with server.connect("ears") as connection:
        return connection.info.backend_pid


def test_nothing_is_left_of_who_had_it(database_url: str) -> None:
    server = Server(database_url, "one", driver=connect)
    first = server.connect("ears")
    pid = first.info.backend_pid
    first.execute("SET lock_timeout = '3s'")
    first.execute("LISTEN bells")
    first.execute("SELECT pg_advisory_lock(1)")
    first.execute("PREPARE it AS SELECT 1")
    first.close()
    assert first.closed
    # Whoever asks for another one gets another one.
    assert backend(Server(database_url, "two", driver=connect)) != pid
    second = server.connect("ears")
    assert second.info.backend_pid == pid
    assert not second.closed
    for query in (
        "SELECT 1 WHERE current_setting('lock_timeout') <> '0'",
        "SELECT pg_listening_channels()",
        "SELECT 1 FROM pg_locks WHERE locktype = 'advisory'",
        "SELECT 1 FROM pg_prepared_statements",
    ):
        assert second.execute(query).fetchall() == [], query
    assert second.execute(
        "SELECT 1 FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        " AND application_name = 'comet-chat one ears'"
    ).fetchall() == [(1,)]
    # What was closed before, and is closed again, takes nothing from who has it now.
    first.close()
    assert second.execute("SELECT 1").fetchall() == [(1,)]
    second.close()


def test_what_is_not_at_rest_is_not_kept(database_url: str) -> None:
    server = Server(database_url, "three", driver=connect)
    first = server.connect("ears")
    first.execute("BEGIN")
    pid = first.info.backend_pid
    first.close()
    assert backend(server) != pid


def test_what_the_server_has_ended_is_not_given_again(
    database_url: str, postgresql: PostgresServer
) -> None:
    server = Server(database_url, "five", driver=connect)
    pid = backend(server)
    # It answers once the process is gone: until then the connection looks well.
    assert postgresql.query(f"SELECT pg_terminate_backend({pid}, 20000)") == [(True,)]
    assert backend(server) != pid


@in_reactor
async def test_what_was_the_reactors_is_kept(database_url: str) -> None:
    from twisted.internet import reactor

    server = Server(database_url, "four", driver=connect)
    first = server.connect("ears")
    pid = first.info.backend_pid
    wire = Wire(first, reactor, lambda *_: None, lambda _: None)
    assert await wait(wire.ask(b"SELECT 1")) == [(b"1",)]
    wire.close()
    assert backend(server) == pid
