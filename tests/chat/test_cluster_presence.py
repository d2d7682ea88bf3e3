"""Presence on several nodes: one person however many nodes, each join with its leave, and one view
in the end, whatever was lost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import LogEvent

from cometd_chat.chat.presence import GRACE, LEAVING_GRACE, SLOW_GRACE, SMALL_ROOM
from cometd_chat.chat.presence_parts import MOST_BYTES, PULSE_EVERY
from cometd_chat.chat.roles import Role
from cometd_chat.log.nodes import LEASE, RENEW_AFTER
from tests.chat.halls import ROOMS, Halls
from tests.examples import examples

#: Seconds in which news has come to all, and in which the dead are buried.
SOON = 1.0
AT_LAST = LEASE + RENEW_AFTER + 2 * PULSE_EVERY


@pytest.fixture
def halls(failures: list[LogEvent]) -> Halls:
    return Halls(3)


def views(halls: Halls) -> list[dict[str, list[str]]]:
    return [hall.view() for hall in halls.all]


def heard(halls: Halls, room: str = "lobby") -> list[list[str]]:
    return [hall.ears[room].take() for hall in halls.all]


def test_all_are_told_who_comes_and_goes_on_any_node(halls: Halls) -> None:
    first = halls.all[0]
    alice = first.session("alice")
    first.presence.hold("lobby", alice, "192.0.2.0/24")
    halls.pass_time(SOON)
    assert heard(halls) == [["join alice"]] * 3
    assert views(halls) == [{"lobby": ["alice"]}] * 3
    assert [hall.presence.count("lobby") for hall in halls.all] == [1] * 3
    assert [hall.presence.people("lobby")[0].role for hall in halls.all] == [Role.GUEST] * 3
    first.presence.release("lobby", alice)
    halls.pass_time(GRACE + SOON)
    assert heard(halls) == [["leave alice"]] * 3
    assert views(halls) == [{}] * 3


def test_who_moves_between_nodes_has_neither_left_nor_come(halls: Halls) -> None:
    for _ in range(2):
        for hall in halls.all:
            alice = hall.session("alice")
            hall.presence.hold("lobby", alice)
            halls.pass_time(3)
            hall.presence.release("lobby", alice)
            halls.pass_time(3)
    assert heard(halls) == [["join alice"]] * 3
    halls.pass_time(GRACE + SOON)
    assert heard(halls) == [["leave alice"]] * 3


def test_who_says_that_she_leaves_is_gone_from_all_nodes_soon(halls: Halls) -> None:
    for hall in halls.all:
        hall.presence.seen("lobby", hall.session("alice"), SLOW_GRACE)
    halls.pass_time(SOON)
    halls.all[0].presence.leave("lobby", halls.all[0].session("alice"))
    halls.pass_time(LEAVING_GRACE + SOON)
    assert heard(halls) == [["join alice", "leave alice"]] * 3


def test_who_leaves_one_window_and_holds_another_on_another_node_stays(halls: Halls) -> None:
    first, second, _ = halls.all
    first.presence.seen("lobby", first.session("alice"))
    second.presence.hold("lobby", second.session("alice"))
    halls.pass_time(SOON)
    first.presence.leave("lobby", first.session("alice"))
    halls.pass_time(60)
    assert heard(halls) == [["join alice"]] * 3


def test_a_node_that_comes_late_is_told_who_is_there(halls: Halls) -> None:
    for number in range(100):
        hall = halls.all[number % 3]
        hall.presence.hold("lobby", hall.session(f"somebody-with-a-long-name-{number:03}"))
    halls.pass_time(2)
    late = halls.add()
    halls.pass_time(3)
    assert late.view() == halls.all[0].view()
    assert late.presence.count("lobby") == 100


def test_a_node_that_dies_leaves_nobody_behind(halls: Halls) -> None:
    first, second, _ = halls.all
    first.presence.hold("lobby", first.session("alice"))
    first.presence.hold("lobby", first.session("bob"))
    second.presence.hold("lobby", second.session("bob"))
    halls.pass_time(SOON)
    halls.kill(first)
    heard(halls)
    halls.pass_time(LEASE - RENEW_AFTER - SOON)
    assert heard(halls) == [[], []]
    halls.pass_time(2 * RENEW_AFTER + SOON)
    assert heard(halls) == [["leave alice"]] * 2
    assert views(halls) == [{"lobby": ["bob"]}] * 2


def test_who_was_on_a_node_that_stops_may_come_to_another(halls: Halls) -> None:
    first, second, _ = halls.all
    for name in ("alice", "bob"):
        first.presence.hold("lobby", first.session(name))
    halls.pass_time(SOON)
    first.nodes.stop()
    halls.kill(first)
    halls.pass_time(3)
    second.presence.hold("lobby", second.session("alice"))
    halls.pass_time(GRACE)
    assert heard(halls) == [["join alice", "join bob", "leave bob"]] * 2


def test_a_node_whose_lease_was_over_is_there_again() -> None:
    halls = Halls(3)
    first = halls.all[0]
    first.presence.hold("lobby", first.session("alice"))
    halls.pass_time(SOON)
    heard(halls)
    halls.table._remove(first.nodes.number)
    halls.pass_time(RENEW_AFTER + SOON)
    assert heard(halls)[1:] == [["leave alice", "join alice"]] * 2
    assert views(halls) == [{"lobby": ["alice"]}] * 3


def test_a_node_that_was_cut_from_the_bus_is_told_what_it_missed(halls: Halls) -> None:
    first, second, third = halls.all
    first.presence.hold("lobby", first.session("alice"))
    second.presence.hold("lobby", second.session("bob"))
    halls.pass_time(SOON)
    third.bus.cut = True
    first.presence.ended(first.session("alice"))
    second.presence.hold("dev", second.session("bob"))
    third.presence.hold("dev", third.session("carol"))
    halls.pass_time(30)
    assert third.view() == {"dev": ["carol"], "lobby": ["alice", "bob"]}
    third.bus.cut = False
    halls.pass_time(2 * PULSE_EVERY)
    assert views(halls) == [{"dev": ["bob", "carol"], "lobby": ["bob"]}] * 3
    assert third.ears["lobby"].there == {"bob"}


def test_another_name_is_told_once_on_each_node(halls: Halls) -> None:
    first, second, _ = halls.all
    for hall in (first, second):
        hall.presence.hold("lobby", hall.session("alice"))
    halls.pass_time(SOON)
    halls.rename("alice", "carol")
    first.presence.renamed(first.session("alice"), "alice")
    halls.pass_time(AT_LAST)
    assert heard(halls) == [["join alice", "leave alice", "join carol"]] * 3
    assert views(halls) == [{"lobby": ["carol"]}] * 3


def test_another_name_is_told_by_the_part_where_the_log_came_first(halls: Halls) -> None:
    """A node hears that somebody is there after it heard that they are called otherwise."""
    first, _, third = halls.all
    third.bus.hold()
    first.presence.hold("lobby", first.session("alice"))
    halls.pass_time(SOON)
    halls.rename("alice", "carol")
    halls.pass_time(SOON)
    third.bus.release()
    assert third.view() == {"lobby": ["carol"]}


def test_an_old_name_that_comes_late_is_not_told(halls: Halls) -> None:
    first, second, third = halls.all
    first.presence.hold("lobby", first.session("alice"))
    halls.pass_time(SOON)
    third.bus.hold()
    second.presence.hold("lobby", second.session("alice"))
    halls.pass_time(SOON)
    halls.rename("alice", "carol")
    third.bus.release()
    halls.pass_time(SOON)
    assert third.ears["lobby"].take() == ["join alice", "leave alice", "join carol"]


def test_typing_is_told_on_other_nodes(halls: Halls) -> None:
    first = halls.all[0]
    alice = first.session("alice")
    first.presence.hold("lobby", alice)
    halls.pass_time(SOON)
    heard(halls)
    first.presence.typing("lobby", alice)
    assert heard(halls) == [["typing alice"]] * 3


def test_a_room_that_is_full_on_all_nodes_together_is_told_its_count(halls: Halls) -> None:
    for number in range(SMALL_ROOM + 4):
        hall = halls.all[number % 3]
        hall.presence.hold("lobby", hall.session(f"p{number:03}"))
    halls.pass_time(SOON)
    for hall in halls.all:
        told = hall.ears["lobby"].take()
        assert len([line for line in told if line.startswith("join")]) == SMALL_ROOM
    halls.pass_time(10)
    assert [told[-1:] for told in heard(halls)] == [["people 54"]] * 3


def test_a_session_that_is_over_is_gone_from_all(halls: Halls) -> None:
    for hall in halls.all:
        hall.presence.hold("lobby", hall.session("alice"))
    halls.pass_time(SOON)
    for hall in halls.all:
        hall.presence.ended(hall.session("alice"))
    halls.pass_time(SOON)
    assert heard(halls) == [["join alice", "leave alice"]] * 3
    assert views(halls) == [{}] * 3


#: What may happen: what, to which node, with whom, where.
OFTEN = ("hold", "seen", "release", "leave", "wait")
SELDOM = ["cut", "heal", "slow", "go on", "ended", "rename", "kill", "add", "lapse", "stop"]
steps = st.lists(
    st.tuples(
        st.sampled_from([*OFTEN, *OFTEN, *OFTEN, *SELDOM]),
        st.integers(0, 3),
        st.sampled_from(["alice", "bob", "carol"]),
        st.sampled_from(ROOMS),
    ),
    max_size=60,
)


class Fate:
    """Lets things happen to nodes, so that each can happen."""

    def __init__(self, halls: Halls) -> None:
        self.halls = halls
        self.held: dict[Any, int] = {}
        self.names = {name: name for name in ("alice", "bob", "carol")}

    def happen(self, what: str, which: int, name: str, room: str) -> None:
        hall = self.halls.all[which % len(self.halls.all)]
        session = hall.session(name)
        session.name = self.names[name]
        holds = (hall, name, room)
        if what == "hold":
            hall.presence.hold(room, session)
            self.held[holds] = self.held.get(holds, 0) + 1
        elif what == "seen":
            hall.presence.seen(room, session)
        elif what == "release" and self.held.get(holds):
            self.held[holds] -= 1
            hall.presence.release(room, session)
        elif what == "leave":
            hall.presence.leave(room, session)
        elif what == "ended":
            hall.presence.ended(session)
            for each in ROOMS:
                self.held.pop((hall, name, each), None)
        elif what == "rename":
            self.names[name] = f"{name}-{which}"
            self.halls.rename(name, self.names[name])
        elif what == "wait":
            self.halls.pass_time((0.3, 2, 6, 15)[which])
        elif what in ("cut", "heal"):
            hall.bus.cut = what == "cut"
        elif what == "slow":
            hall.bus.hold()
        elif what == "go on":
            hall.bus.release()
        elif what == "lapse":
            if hall.nodes.number in {row.number for row in self.halls.table.rows_now()}:
                self.halls.table._remove(hall.nodes.number)
        elif what == "add" and len(self.halls.all) < 4:
            self.halls.add()
        elif what in ("kill", "stop") and len(self.halls.all) > 1:
            if what == "stop":
                hall.nodes.stop()
            self.halls.kill(hall)


@settings(max_examples=examples(60), deadline=None)
@given(steps)
def test_whatever_happens_each_join_has_its_leave_and_all_see_the_same_in_the_end(
    happened: list[tuple[str, int, str, str]],
) -> None:
    halls = Halls(3)
    fate = Fate(halls)
    for step in happened:
        fate.happen(*step)
    for hall in halls.all:
        hall.bus.cut = False
        hall.bus.release()
    halls.pass_time(AT_LAST + SLOW_GRACE)
    there: dict[str, list[str]] = {}
    for (hall, name, room), count in fate.held.items():
        if count and hall in halls.all and fate.names[name] not in there.setdefault(room, []):
            there[room].append(fate.names[name])
    there = {room: sorted(names) for room, names in there.items() if names}
    for hall in halls.all:
        assert hall.view() == there
        assert {room: sorted(ear.there) for room, ear in hall.ears.items() if ear.there} == there


def test_what_ten_thousand_people_cost_is_bounded(halls: Halls) -> None:
    """Each coming is one entry of a message, whatever else is there, and no message is large."""
    halls.pass_time(SOON)
    sizes: list[int] = []
    for hall in halls.all:
        hall.bus.subscribe("presence", lambda node, message: sizes.append(len(message)))
    count = 10_000
    for number in range(count):
        hall = halls.all[number % 3]
        hall.presence.hold("lobby", hall.session(f"p{number}"))
    halls.pass_time(15)
    assert [hall.presence.count("lobby") for hall in halls.all] == [count] * 3
    # Each message is heard by two.
    assert max(sizes) < MOST_BYTES + 200
    assert sum(sizes) < 2 * count * 60
    sent = [hall.sent for hall in halls.all]
    assert max(sent) < 150
    sizes.clear()
    late = halls.add()
    halls.pass_time(15)
    assert late.presence.count("lobby") == count
    assert sum(sizes) < 3.2 * count * 60
    sent = [hall.sent for hall in halls.all]
    halls.pass_time(60)
    assert [hall.sent - before for hall, before in zip(halls.all, sent, strict=True)] == [12] * 4
