"""What every `EventLog` must do when something is taken out of it, and brought back."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from cometd_chat.events.record import Record
from cometd_chat.log.log import EventLog
from cometd_chat.log.redaction import Redaction, Restoration
from tests.log.support import DEV, LOBBY, block, draft, heard, in_reactor, wait, wait_all

OWN, MODERATOR = {"deleted": "own"}, {"deleted": "moderator"}


def redaction(*ids: int, **fields: Any) -> Redaction:
    given = {
        "context": LOBBY,
        "types": ["message"],
        "ids": ids,
        "how": "own",
        "says": "delete",
        "sender": "s1",
        "author": "alice",
        **fields,
    }
    return Redaction(**given)


def restoration(purge: str, limit: int = 99) -> Restoration:
    return Restoration(LOBBY, purge, limit, "restore", "m1", "mod")


def said(record: Record) -> tuple[Any, ...]:
    """What a record tells of another one."""
    return (record.type, record.refers, record.sender, record.author, dict(record.data))


async def texts(log: EventLog) -> list[Any]:
    """What is said in the messages of the lobby, or who has deleted it."""
    found = await wait(log.read([LOBBY], limit=999, types=["message"]))
    return [next(iter(record.data.values())) for record in found]


@pytest.fixture(autouse=True)
def messages(log: EventLog) -> None:
    """Five in the lobby, the third with a client_id."""
    for number in range(1, 6):
        block(log.append(draft(f"m{number}", client_id="c" if number == 3 else None)))


@in_reactor
async def test_what_is_taken_out_is_nowhere(log: EventLog) -> None:
    assert await wait(log.redact(redaction(2))) == [2]
    assert await texts(log) == ["m1", "own", "m3", "m4", "m5"]
    (record,) = await wait(log.read([LOBBY], after=1, before=3, limit=9))
    # All but what was said stays.
    assert record == replace(record, id=2, type="message", author="alice", data=OWN)
    assert log.recent(99, 2**20)[1] == record


@in_reactor
async def test_it_is_told_of_before_it_is_answered(log: EventLog) -> None:
    told = heard(log)
    seen: list[int] = []
    await wait(log.redact(redaction(4, 2)).addCallback(lambda _: seen.append(len(told))))
    assert seen == [2]
    assert [record.id for record in told] == [6, 7]
    assert [said(record) for record in told] == [
        ("delete", id, "s1", "alice", OWN) for id in (4, 2)
    ]
    assert await wait(log.read([LOBBY], after=5, limit=9)) == told


@in_reactor
async def test_again_it_changes_nothing(log: EventLog) -> None:
    await wait(log.redact(redaction(2)))
    told = heard(log)
    assert await wait(log.redact(redaction(2, 3, how="moderator"))) == [3]
    assert await wait(log.redact(redaction(2, 3))) == []
    assert [record.refers for record in told] == [3]
    assert await texts(log) == ["m1", "own", "moderator", "m4", "m5"]


@in_reactor
async def test_two_at_once_take_it_out_once(log: EventLog) -> None:
    told = heard(log)
    answers = await wait_all([log.redact(redaction(2)), log.redact(redaction(2, how="moderator"))])
    assert sorted(map(list, answers)) == [[], [2]]
    assert len(told) == 1


@pytest.mark.parametrize(
    "of", [{"context": DEV}, {"types": ["topic"]}, {"ids": (0, 99, -1)}, {"ids": ()}]
)
@in_reactor
async def test_what_it_is_not_about_stays(log: EventLog, of: dict[str, Any]) -> None:
    told = heard(log)
    assert await wait(log.redact(redaction(**{"ids": (2,), **of}))) == []
    assert told == []
    assert await texts(log) == ["m1", "m2", "m3", "m4", "m5"]


@in_reactor
async def test_its_client_id_is_known_still(log: EventLog) -> None:
    await wait(log.redact(redaction(3)))
    again = await wait(log.append(draft("m3", client_id="c")))
    assert (again.id, again.repeated, again.data) == (3, True, OWN)
    assert log.last_id == 6


@in_reactor
async def test_it_has_its_place_among_what_is_said(log: EventLog) -> None:
    told = heard(log)
    answers = [log.append(draft("before")), log.append(draft("after"))]
    deleted = log.redact(redaction(1))
    await wait_all([*answers, log.append(draft("last"))])
    await wait(deleted)
    assert [record.id for record in told] == [6, 7, 8, 9]
    assert sorted(record.type for record in told) == ["delete", "message", "message", "message"]


class TestBringingBack:
    @in_reactor
    async def test_what_a_purge_took_out_comes_back_in_order(self, log: EventLog) -> None:
        await wait(log.redact(redaction(4, 2, 1, how="moderator", purge="p")))
        assert await texts(log) == ["moderator", "moderator", "m3", "moderator", "m5"]
        told = heard(log)
        assert await wait(log.restore(restoration("p", 2))) == [1, 2]
        assert await texts(log) == ["m1", "m2", "m3", "moderator", "m5"]
        assert await wait(log.restore(restoration("p", 2))) == [4]
        assert await wait(log.restore(restoration("p", 2))) == []
        assert await texts(log) == ["m1", "m2", "m3", "m4", "m5"]
        back = {"purge": "p"}
        assert [said(record) for record in told] == [
            ("restore", id, "m1", "mod", back) for id in (1, 2, 4)
        ]

    @in_reactor
    async def test_with_its_client_id(self, log: EventLog) -> None:
        await wait(log.redact(redaction(3, purge="p")))
        await wait(log.restore(restoration("p")))
        again = await wait(log.append(draft("m3", client_id="c")))
        assert (again.id, again.data) == (3, {"text": "m3"})

    @in_reactor
    async def test_only_what_that_purge_took_out(self, log: EventLog) -> None:
        await wait(log.redact(redaction(1, purge="p")))
        await wait(log.redact(redaction(1, 2, purge="q")))
        await wait(log.redact(redaction(3)))
        assert await wait(log.restore(restoration("q"))) == [2]
        assert await texts(log) == ["own", "m2", "own", "m4", "m5"]

    @in_reactor
    async def test_not_what_was_erased(self, log: EventLog) -> None:
        await wait(log.redact(redaction(1, 2, 3, purge="p")))
        assert await wait(log.erase("p", 2)) == 2
        assert await wait(log.erase("p", 2)) == 1
        assert await wait(log.erase("p", 2)) == 0
        assert await wait(log.restore(restoration("p"))) == []
        assert await texts(log) == ["own", "own", "own", "m4", "m5"]

    @in_reactor
    async def test_not_what_was_deleted_meanwhile(self, log: EventLog) -> None:
        await wait(log.redact(redaction(1, 2, purge="p")))
        assert await wait(log.redact(redaction(1))) == []
        assert await wait(log.restore(restoration("p"))) == [2]
        assert await texts(log) == ["own", "m2", "m3", "m4", "m5"]
