"""The reactor's own connection of PostgreSQL's, over a libpq of a few lines."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from psycopg import pq
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from cometd_chat.log.postgresql.wire import QueryFailed, Rows, Wire, WireLost


@attrs.frozen
class Result:
    """One result; a text is one row of one column."""

    status: pq.ExecStatus
    text: bytes = b""
    nfields: int = 1
    ntuples: int = 1

    def get_value(self, row: int, column: int) -> bytes:
        return self.text

    def get_error_message(self) -> str:
        return self.text.decode()


SYNC = Result(pq.ExecStatus.PIPELINE_SYNC)


@attrs.define(eq=False)
class Libpq:
    """What the wire needs of libpq in pipeline mode: results come in order, after each query's a
    None and then that of its sync."""

    socket: int
    nonblocking: int = 0
    pipeline: bool = False
    sent: list[bytes] = attrs.field(factory=list)
    come: deque[Result | None] = attrs.field(factory=deque)

    def enter_pipeline_mode(self) -> None:
        self.pipeline = True

    def send_query_params(self, query: bytes, parameters: object) -> None:
        assert self.pipeline
        self.sent.append(query)

    def pipeline_sync(self) -> None:
        self.sent.append(b"sync")

    def flush(self) -> int:
        return 0

    def consume_input(self) -> None: ...

    def notifies(self) -> None:
        return None

    def is_busy(self) -> bool:
        return not self.come

    def get_result(self) -> Result | None:
        return self.come.popleft()


@attrs.define(eq=False)
class Connection:
    """A connection at rest."""

    pgconn: Libpq
    closed: bool = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def connection() -> Iterator[Connection]:
    one, other = socket.socketpair()
    with one, other:
        yield Connection(Libpq(one.fileno()))


def outcome(answer: Deferred[Rows]) -> list[Any]:
    """What it is answered."""
    found: list[Any] = []
    answer.addBoth(found.append)
    return found


def wire(connection: Connection) -> Wire:
    made: Any = connection
    reactor: Any = MemoryReactorClock()
    return Wire(made, reactor, lambda channel, payload: None, lambda why: None)


def good(text: bytes) -> list[Result | None]:
    return [Result(pq.ExecStatus.TUPLES_OK, text), None, SYNC]


def test_no_query_waits_for_the_answer_to_another(connection: Connection) -> None:
    asks = wire(connection)
    answers = [outcome(asks.ask(query)) for query in (b"one", b"two", b"three")]
    assert connection.pgconn.sent == [b"one", b"sync", b"two", b"sync", b"three", b"sync"]
    assert answers == [[], [], []]
    for number, text in enumerate((b"1", b"2", b"3")):
        connection.pgconn.come += good(text)
        asks.doRead()
        assert answers[number] == [[(text,)]]
        assert answers[number + 1 :] == [[]] * (2 - number)
    asks.close()
    assert connection.closed


def test_answers_come_in_pieces_or_all_at_once(connection: Connection) -> None:
    asks = wire(connection)
    answers = [outcome(asks.ask(query)) for query in (b"one", b"two", b"three")]
    first, none, sync = good(b"1")
    for piece in (first, none):
        connection.pgconn.come.append(piece)
        asks.doRead()
    assert answers == [[], [], []]
    connection.pgconn.come += [sync, *good(b"2"), *good(b"3")]
    asks.doRead()
    assert answers == [[[(b"1",)]], [[(b"2",)]], [[(b"3",)]]]
    asks.close()


def test_one_that_is_refused_harms_no_other(connection: Connection) -> None:
    asks = wire(connection)
    bad, next_one = outcome(asks.ask(b"bad")), outcome(asks.ask(b"next"))
    refused = Result(pq.ExecStatus.FATAL_ERROR, b"ERROR:  no such thing\nLINE 1")
    connection.pgconn.come += [refused, None, SYNC, *good(b"2")]
    asks.doRead()
    [failure] = bad
    assert str(failure.check(QueryFailed) and failure.value) == "ERROR:  no such thing"
    assert next_one == [[(b"2",)]]
    asks.close()


def test_what_was_not_answered_fails_with_the_connection(connection: Connection) -> None:
    asks = wire(connection)
    answers = [outcome(asks.ask(query)) for query in (b"one", b"two")]
    # Whoever is answered may ask, and who ends it is told once.
    asks.close("enough")
    assert [str(failure.check(WireLost) and failure.value) for [failure] in answers] == [
        "enough",
        "enough",
    ]
    [failure] = outcome(asks.ask(b"three"))
    assert failure.check(WireLost)
