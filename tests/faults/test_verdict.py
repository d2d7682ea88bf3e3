"""The judgement itself: it finds what is lost, doubled, out of order or wrongly left out."""

from __future__ import annotations

import pytest

from tests.decoders import Seen
from tests.faults.reader import CUTS, Plan
from tests.faults.verdict import differences


def said(id: int, room: str = "lobby") -> Seen:
    return {"id": id, "room": room, "type": "message", "from": "al", "text": f"t{id}", "at": "now"}


def gap(room: str, missing: int, before: int) -> Seen:
    return {"type": "gap", "room": room, "missing": missing, "before": before}


ALL = [said(1), said(2, "dev"), said(3), said(4, "dev"), said(5)]


@pytest.mark.parametrize(
    "accepted",
    [
        ALL,
        [{"type": "message", "from": "al", "text": event["text"]} for event in ALL],
        [ALL[0], gap("dev", 2, 5), gap("lobby", 1, 5), ALL[4]],
    ],
)
def test_what_is_right(accepted: list[Seen]) -> None:
    assert differences(ALL, accepted) == []


def test_lines_for_people_say_less_of_a_gap() -> None:
    one_room = [said(1), said(2), said(3)]
    assert differences(one_room, [one_room[0], {"type": "gap", "missing": "1"}, one_room[2]]) == []
    assert differences(one_room, [one_room[0], {"type": "gap", "missing": "2"}, one_room[2]])


@pytest.mark.parametrize(
    ("accepted", "wrong"),
    [
        (ALL[1:], "lost before number 0"),
        (ALL[:2] + ALL[3:], "lost before number 2"),
        (ALL[:4], "lost at the end"),
        ([], "lost at the end"),
        ([*ALL[:3], *ALL[2:]], "doubled or out of order"),
        ([ALL[1], ALL[0], *ALL[2:]], "doubled or out of order"),
        ([*ALL[:4], {**ALL[4], "at": "then"}], "never said like that"),
        ([*ALL[:4], said(6)], "never said like that"),
        ([ALL[0], gap("dev", 1, 5), gap("lobby", 1, 5), ALL[4]], "lost before"),
        ([ALL[0], gap("dev", 2, 5), ALL[4]], "lost before"),
        ([ALL[0], gap("dev", 2, 4), gap("lobby", 1, 4), ALL[4]], "lost before"),
        ([*ALL, gap("dev", 1, 6)], "lost at the end"),
        ([ALL[0], gap("dev", 1, 3), *ALL[1:]], "lost before"),
    ],
)
def test_what_is_wrong(accepted: list[Seen], wrong: str) -> None:
    assert any(wrong in each for each in differences(ALL, accepted))


def test_a_seed_decides_the_same_again() -> None:
    seeds = [f"1/reader0/{number}" for number in range(500)]
    plans = [Plan.draw(seed, CUTS) for seed in seeds]
    assert plans == [Plan.draw(seed, CUTS) for seed in seeds]
    assert {plan.cut for plan in plans} == set(CUTS)
    assert plans != [Plan.draw(f"2{seed[1:]}", CUTS) for seed in seeds]
