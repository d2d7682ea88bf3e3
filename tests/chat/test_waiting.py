"""Who waits to be let in, at one process and at several nodes."""

from __future__ import annotations

import pytest
from twisted.logger import LogEvent

from cometd_chat.chat.matrix import Act
from cometd_chat.chat.roles import Role
from cometd_chat.errors import NotFound, Waiting
from tests.chat.cluster import Cluster
from tests.chat.parts import House, appoint, now
from tests.chat.test_policies import refused, set_to


def test_who_waits_reads_and_is_let_in(house: House) -> None:
    early = house.log_in("early")
    set_to(house, guests="approve")
    late = house.log_in("late")
    assert [early.role, late.role] == [Role.GUEST, Role.WAITING]
    assert refused(house, early) is None, "who was in stays in"
    assert refused(house, late) is Waiting
    assert house.rights.may(late, Act.FOLLOW, house.room()) is None
    assert [row.name for row in now(house.chat.waiting.page(None, 10))] == ["late"]
    now(house.chat.waiting.let_in("Late", who="", who_name="shell"))
    assert refused(house, late) is None
    assert now(house.chat.waiting.page(None, 10)) == []


def test_somebody_who_does_not_wait(house: House) -> None:
    house.log_in("bob")
    for name in ("bob", "nobody", "\x00", "x" * 99):
        with pytest.raises(NotFound, match="waits"):
            now(house.chat.waiting.let_in(name, who="", who_name="shell"))


def test_pages_in_the_order_in_which_they_came(house: House) -> None:
    set_to(house, guests="approve")
    for number in range(5):
        house.log_in(f"who{number}")
        house.clock.advance(1)
    found, after = [], None
    while page := [row.name for row in now(house.chat.waiting.page(after, 2))]:
        found += page
        after = page[-1]
    assert found == [f"who{number}" for number in range(5)]


def test_nobody_waits_where_nobody_has_to(house: House) -> None:
    set_to(house, guests="approve")
    late = house.log_in("late")
    set_to(house, guests="open")
    assert late.role is Role.GUEST
    set_to(house, guests="approve")
    assert refused(house, late) is None


def test_on_another_node(failures: list[LogEvent]) -> None:
    first, second = Cluster(2).nodes
    set_to(first, guests="approve")
    late = second.log_in("late")
    assert refused(second, late) is Waiting
    now(first.chat.waiting.let_in("late", who="", who_name="shell"))
    assert refused(second, late) is None


def test_who_is_turned_away_at_another_node_is_gone(failures: list[LogEvent]) -> None:
    first, second = Cluster(2).nodes
    now(first.chat.policies.set({"guests": "approve"}, who="", who_name="shell"))
    late, marta = first.log_in("late"), second.log_in("marta")
    appoint(second.changes, marta, Role.MODERATOR)
    now(second.chat.waiting.turn_away(marta, "late"))
    assert late.ended
    with pytest.raises(NotFound):
        now(first.chat.waiting.turn_away(marta, "late"))
