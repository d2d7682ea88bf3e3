"""The reader by Bayeux: what becomes of it when an answer is lost, over a server of a few lines."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.cluster import bayeux
from tests.cluster.bayeux import BayeuxReader, channel
from tests.cluster.history import History, Refused

Json = dict[str, Any]

ROOMS = ("lobby", "dev")


@attrs.define
class Server:
    """Answers everything; some answers are lost once it has done what it was asked.

    :param lost: the numbers of those, from 0.
    :param replaced: the numbers of what a newer connect has taken the place of.
    """

    lost: frozenset[int]
    replaced: frozenset[int] = frozenset()
    asked: list[str] = attrs.field(factory=list)
    reads: set[str] = attrs.field(factory=set)

    def exchange(self, messages: list[Json]) -> list[Json]:
        """See `Way.exchange`."""
        [message] = messages
        number = len(self.asked)
        self.asked.append(message["channel"])
        if message["channel"] == "/meta/subscribe":
            self.reads.add(message["subscription"])
        if number in self.lost:
            raise ConnectionError("the answer is lost")
        reply = {"id": message["id"], "channel": message["channel"], "successful": True}
        if number in self.replaced:
            return [{**reply, "successful": False, "error": "409:A newer:connect_replaced"}]
        return [{**reply, "clientId": "a"}]

    @property
    def answered(self) -> list[str]:
        """What was asked and not lost."""
        return [name for number, name in enumerate(self.asked) if number not in self.lost]

    def close(self) -> None:
        """See `Way.close`."""


def reader_at(server: Server, monkeypatch: pytest.MonkeyPatch) -> BayeuxReader:
    """One that has not begun, and waits for nothing."""
    monkeypatch.setitem(bayeux.WAYS, "long-polling", lambda port: server)
    reader = BayeuxReader(
        History(seed="1"), "1", 1, "reader", "token", "long-polling", ROOMS, "0.a", 0
    )
    reader.over.set()
    return reader


@pytest.mark.parametrize("lost", [*({n} for n in range(4)), {0, 1}, {1, 2, 3}])
def test_it_connects_when_it_reads_all_its_rooms(
    monkeypatch: pytest.MonkeyPatch, lost: set[int]
) -> None:
    server = Server(frozenset(lost))
    reader = reader_at(server, monkeypatch)
    while "/meta/connect" not in server.answered:
        assert len(server.asked) < 10, server.asked
        reader.step()
    assert server.answered == ["/meta/handshake", *["/meta/subscribe"] * 2, "/meta/connect"]
    assert server.reads == set(map(channel, ROOMS))


def test_it_disconnects_by_another_connection_if_one_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(frozenset({3, 4}))
    reader = reader_at(server, monkeypatch)
    for _ in range(3):
        reader.step()
    reader.read_to_the_end([])
    assert server.asked[3:] == ["/meta/disconnect"] * 3


@pytest.mark.parametrize("given_up", [True, False])
def test_only_a_connect_that_it_gave_up_may_replace_one(
    monkeypatch: pytest.MonkeyPatch, given_up: bool
) -> None:
    server = Server(frozenset({3} if given_up else ()), replaced=frozenset({4}))
    reader = reader_at(server, monkeypatch)
    for _ in range(6):
        reader.step()
    strange = [each.status for each in reader.history.all(Refused)]
    assert strange == ([] if given_up else [409])
    assert server.asked[5] == ("/meta/connect" if given_up else "/meta/handshake")
