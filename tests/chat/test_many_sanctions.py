"""Ten thousand sanctions, and ten thousand people who are there: what each act looks at.

Nothing here is measured by a clock: what is counted is how often something is looked at, which is
what takes the time.
"""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert

from cometd_chat.chat.held_subscription import HeldSubscription
from cometd_chat.chat.moderation import Moderation, Reach
from cometd_chat.chat.people_lookup import Person
from cometd_chat.chat.resume import ResumePoint
from cometd_chat.chat.rights import Act, Rights
from cometd_chat.chat.roles import Role
from cometd_chat.chat.sanctions import BAN, SILENCE
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import AlreadySanctioned, Banned, Silenced
from cometd_chat.log.changes import LocalChanges
from cometd_chat.log.tables import sanctions
from tests.chat.parts import House, appoint, now

MANY = 10_000


def whom(number: int) -> Person:
    return Person(f"{number + 10**9:024x}", f"guest {number}", Role.GUEST)


@pytest.fixture
def marta(house: House) -> Session:
    session = house.log_in("marta")
    appoint(house.changes, session, Role.MODERATOR)
    return session


def impose(house: House, marta: Session, number: int, minutes: int | None = None) -> None:
    now(house.moderation.impose(marta, SILENCE, whom(number), None, Reach(minutes)))


class Counted:
    """Counts calls of a method."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cls: Any, name: str) -> None:
        self.calls = 0
        there = getattr(cls, name)

        def counting(*args: Any, **named: Any) -> Any:
            self.calls += 1
            return there(*args, **named)

        monkeypatch.setattr(cls, name, counting)


@pytest.fixture
def crowded(house: House) -> House:
    """Ten thousand guests are silenced, half of them for ten minutes."""
    at = int(house.calendar() * 1000)
    rows = [
        {
            "id": f"{number}",
            "kind": "silence",
            "identity": whom(number).identity,
            "who": whom(number).name,
            "until": at + 600_000 if number % 2 else None,
            "by": "m",
            "by_name": "marta",
            "reason": "",
            "at": at,
        }
        for number in range(MANY)
    ]
    house.directory.store.write_now(lambda c: c.execute(insert(sanctions), rows).close())
    return House(directory=house.directory, log=house.log, clock=house.clock)


def test_asking_looks_at_none_but_ones_own(crowded: House) -> None:
    bob = crowded.log_in("bob")
    room = crowded.room()
    assert crowded.rights.may(bob, Act.SPEAK, room) is None
    bob.key = bytes.fromhex(whom(7).identity)
    assert isinstance(crowded.rights.may(bob, Act.SPEAK, room), Silenced)


def test_those_that_end_at_once_end_a_few_at_a_time(
    crowded: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are, none of them has any effect after its time."""
    asked = Counted(monkeypatch, Rights, "changed_by_state")
    ended: list[int] = []
    crowded.moderation.ended.add(lambda over: ended.append(len(over)))
    crowded.advance(615)
    assert sum(ended) == MANY // 2
    assert max(ended) <= 500
    assert asked.calls == len(ended)
    assert len(crowded.moderation.index) == MANY // 2
    assert len(crowded.moderation.listed(None)) == MANY // 2


def test_a_restart_takes_up_all_that_are_in_force(crowded: House) -> None:
    crowded.advance(700)
    again = House(directory=crowded.directory, log=crowded.log, clock=crowded.clock)
    assert len(again.moderation.index) == MANY // 2
    marta = again.log_in("marta")
    appoint(again.changes, marta, Role.MODERATOR)
    with pytest.raises(AlreadySanctioned):
        impose(again, marta, 0)
    impose(again, marta, 1)


def test_one_act_looks_at_what_one_person_holds(
    house: House, marta: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at what ten thousand others do."""
    room = house.room()
    bob = house.log_in("bob")

    def read(session: Session | None) -> HeldSubscription:
        return house.chat.readers.read(
            session, [room], Sink(), ResumePoint(house.feed.last_id), on_end=_ended
        )

    mine = [read(bob) for _ in range(3)]
    others = [read(None) for _ in range(300)]
    may = Counted(monkeypatch, Rights, "_may")
    now(house.moderation.impose(marta, BAN, Person(bob.identity, "bob", Role.GUEST)))
    # The moderator's own right before it, then theirs, once for each.
    assert may.calls <= 2 + len(mine)
    assert all(each.state.name == "ENDED" for each in mine)
    assert not any(each.state.name == "ENDED" for each in others)


def _ended(subscription: HeldSubscription, expired: bool) -> None: ...


class Sink:
    """Takes everything."""

    transport = "stream"
    one_shot = False
    congested = False
    together = None

    def hold(self, listener: Any, hello: Any) -> None: ...

    def offer(self, batch: Any) -> int:
        return 0

    replay = offer

    def ready(self) -> bool:
        return True

    def end(self, batch: Any) -> None: ...

    def cut(self) -> None: ...

    def look(self) -> None: ...


class Lost(LocalChanges):
    """Keeps what is changed, and dies before it tells anybody."""

    def make(self, change: Any, tell: Any, **options: Any) -> Any:
        return super().make(change, lambda result: [], **options)


def test_a_kill_between_a_ban_and_its_effect(house: House, marta: Session) -> None:
    """What was kept holds after the restart, though nobody was told of it."""
    bob = house.log_in("bob")
    dying = Moderation(
        Lost(house.directory.store, house.feed.control.tell),
        Rights(),
        house.reaper,
        now=lambda: house.calendar() * 1000,
        random_bytes=lambda count: b"x" * count,
        room_named=house.rooms.named,
    )
    now(dying.impose(marta, BAN, Person(bob.identity, "bob", Role.GUEST)))
    assert house.rights.may(bob, Act.SPEAK, house.room()) is None
    again = House(directory=house.directory, log=house.log, clock=house.clock)
    assert isinstance(again.rights.may(bob, Act.SPEAK, again.room()), Banned)
