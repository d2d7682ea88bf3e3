"""The checker itself: a good history passes, and each kind of fault that is planted is found."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import attrs
import pytest

from tests.cluster.checker import RULES, check
from tests.cluster.history import (
    Acknowledged,
    Caused,
    Closed,
    Happened,
    History,
    InDoubt,
    Joined,
    Left,
    LeftOut,
    Opened,
    Posted,
    PutBack,
    Reads,
    ReadToTheEnd,
    Refused,
    Told,
    WasReset,
)
from tests.decoders import Seen

ROOMS = ("lobby", "dev")

#: What was put back in the second half of the good history: to here.
KEPT = 12


def said(id: int, text: str = "", epoch: str = "e") -> Seen:
    """A message of the log."""
    return {
        "id": id,
        "cursor": f"{id}.{epoch}",
        "room": ROOMS[id % 2],
        "type": "message",
        "from": "al",
        "text": text or f"text {id}",
        "at": "then",
        "client_id": f"c-{text or id}",
    }


def good() -> History:
    """Twelve messages; then three more, which a restore takes; then others of the same ids, the
    last of which is one of those, said again."""
    history, ticks = History(seed="planted"), count(1)
    lost = [said(13, "lost 13"), said(14, "lost 14"), said(15)]
    late = [said(13, epoch="f"), said(14, epoch="f"), said(15, epoch="f")]
    first = [said(id) for id in range(1, KEPT + 1)]
    history.log = [*first, *late]
    history.views = {"node 1": history.log, "node 2": list(history.log)}

    def note(kind: type[Happened], who: str, **rest: object) -> None:
        history.happened.append(kind(who=who, at=next(ticks), **rest))

    def talk(events: list[Seen]) -> None:
        for event in events:
            note(Posted, "al", **{k: event[k] for k in ("room", "text", "client_id")})
            note(InDoubt, "al", client_id=event["client_id"], why="no answer: reset by peer")
            note(Acknowledged, "al", client_id=event["client_id"], event=event)
            note(Told, "ada", event=event, by="sse")
            shown = {k: event[k] for k in ("type", "room", "text")}
            note(Told, "bob", event=shown, by="text", upto=event["cursor"])

    note(Reads, "ada", rooms=ROOMS, after=0)
    note(Reads, "bob", rooms=ROOMS, after=0)
    note(Opened, "eve", present={"lobby": frozenset({"ada"}), "dev": frozenset()})
    note(Joined, "eve", room="lobby", name="bob")
    talk(first)
    note(Left, "eve", room="lobby", name="bob")
    note(Joined, "eve", room="dev", name="bob")
    note(Closed, "eve", present={"lobby": frozenset({"ada"}), "dev": frozenset({"bob"})})
    talk(lost)
    began = next(ticks)
    history.caused.append(Caused(kind="kill -9", began=8, ended=9, what="node 1"))
    history.caused.append(PutBack(kind="restore", began=began, ended=next(ticks), kept=KEPT))
    note(WasReset, "ada", reason="unknown")
    note(WasReset, "bob", reason="unknown")
    talk(late)
    note(ReadToTheEnd, "ada")
    note(ReadToTheEnd, "bob")
    return history


def is_told(who: str, text: str) -> Callable[[Happened], bool]:
    return lambda each: isinstance(each, Told) and (each.who, each.event["text"]) == (who, text)


def without(history: History, true: Callable[[Happened], bool]) -> None:
    found = [each for each in history.happened if true(each)]
    assert found
    history.happened = [each for each in history.happened if not true(each)]


def change(
    history: History, true: Callable[[Happened], bool], make: Callable[[Happened], list[Happened]]
) -> None:
    """Replace the one for which something is true."""
    (place,) = [n for n, each in enumerate(history.happened) if true(each)]
    history.happened[place : place + 1] = make(history.happened[place])


def told_twice(history: History) -> None:
    change(history, is_told("ada", "text 3"), lambda each: [each, each])


def told_again_later(history: History) -> None:
    (again,) = [each for each in history.happened if is_told("ada", "text 3")(each)]
    change(history, is_told("ada", "text 9"), lambda each: [each, again])


def told_in_another_order(history: History) -> None:
    happened = history.happened
    one, other = (
        next(n for n, each in enumerate(happened) if is_told("bob", f"text {id}")(each))
        for id in (4, 5)
    )
    happened[one], happened[other] = happened[other], happened[one]


def told_what_nobody_said(history: History) -> None:
    what = Told(who="ada", at=20, event=said(90), by="sse")
    change(history, is_told("ada", "text 3"), lambda each: [each, what])


def told_something_else(history: History) -> None:
    def make(each: Happened) -> list[Happened]:
        assert isinstance(each, Told)
        return [attrs.evolve(each, event={**each.event, "from": "somebody else"})]

    change(history, is_told("ada", "text 3"), make)


def gap_that_says_too_few(history: History) -> None:
    def make(each: Happened) -> list[Happened]:
        return [LeftOut(who="ada", at=each.at, event={"type": "gap", "room": "dev", "missing": 2})]

    change(history, is_told("ada", "text 3"), make)


def not_reset_after_the_restore(history: History) -> None:
    without(history, lambda each: isinstance(each, WasReset) and each.who == "ada")


def not_reset_before_what_was_said_again(history: History) -> None:
    """What is told after what was lost is of the epoch that began with the restore."""
    without(history, lambda each: isinstance(each, WasReset) and each.who == "bob")
    for text in ("text 13", "text 14"):
        without(history, is_told("bob", text))


def put_back_again(history: History) -> None:
    """Someone is told only what a second restore takes, begins anew, and reads to the end."""
    lost = said(16, "lost 16", "f")
    posted = {name: lost[name] for name in ("room", "text", "client_id")}
    history.happened += [
        Reads(who="cy", at=200, rooms=ROOMS, after=15),
        WasReset(who="cy", at=201, reason="unknown"),
        Posted(who="al", at=202, **posted),
        Told(who="cy", at=203, event=lost, by="sse"),
        WasReset(who="cy", at=206, reason="unknown", after=15),
        ReadToTheEnd(who="cy", at=207),
    ]
    history.caused.append(PutBack(kind="restore", began=204, ended=205, kept=15))


def told_nothing_after_a_reset(history: History) -> None:
    """They were told to begin before the last message, and not told that."""
    put_back_again(history)
    reset = next(each for each in history.happened if each.at == 206)
    assert isinstance(reset, WasReset)
    history.happened[history.happened.index(reset)] = attrs.evolve(reset, after=14)


def a_hole_before_what_was_lost(history: History) -> None:
    without(history, is_told("ada", f"text {KEPT}"))


def two_texts_of_a_lost_id(history: History) -> None:
    def make(each: Happened) -> list[Happened]:
        assert isinstance(each, Told)
        other = said(14, "lost 14, too")
        posted = Posted(who="al", at=0, room="lobby", text=other["text"], client_id="c-lost")
        return [posted, attrs.evolve(each, event=other)]

    change(history, is_told("ada", "lost 14"), make)


def drop_from_the_log(history: History, id: int) -> None:
    history.log = [event for event in history.log if event["id"] != id]
    history.views = dict.fromkeys(history.views, history.log)


def acknowledged_and_not_there(history: History) -> None:
    drop_from_the_log(history, 5)
    for who in ("ada", "bob"):
        without(history, is_told(who, "text 5"))


def acknowledged_with_another_id(history: History) -> None:
    def make(each: Happened) -> list[Happened]:
        assert isinstance(each, Acknowledged)
        return [attrs.evolve(each, event={**each.event, "id": 4})]

    change(history, lambda each: isinstance(each, Acknowledged) and each.event["id"] == 5, make)


def acknowledged_twice_with_two_ids(history: History) -> None:
    change(
        history,
        lambda each: isinstance(each, Acknowledged) and each.event["id"] == 5,
        lambda each: [
            each,
            Acknowledged(who="al", at=each.at, client_id="c-5", event=said(6), repeated=True),
        ],
    )


def stored_twice(history: History) -> None:
    history.log = [*history.log, {**said(16, epoch="f"), "client_id": "c-5"}]
    history.views = {}


def text_stored_twice(history: History) -> None:
    history.log = [*history.log, {**said(16, "text 5", "f"), "client_id": "c-16"}]
    history.views = {}


def ids_that_do_not_grow(history: History) -> None:
    history.log = [history.log[1], history.log[0], *history.log[2:]]
    history.views = {}


def a_node_that_shows_less(history: History) -> None:
    history.views = {**history.views, "node 2": history.log[:-1]}


def stored_and_never_said(history: History) -> None:
    without(history, lambda each: isinstance(each, Posted) and each.client_id == "c-5")


def stored_in_another_room(history: History) -> None:
    def make(each: Happened) -> list[Happened]:
        assert isinstance(each, Posted)
        return [attrs.evolve(each, room="lobby")]

    change(history, lambda each: isinstance(each, Posted) and each.client_id == "c-5", make)


def reset_before_the_restore(history: History) -> None:
    change(
        history,
        is_told("ada", "text 9"),
        lambda each: [each, WasReset(who="ada", at=each.at, reason="unknown")],
    )


def reset_twice(history: History) -> None:
    change(
        history,
        is_told("ada", "text 14"),
        lambda each: [each, WasReset(who="ada", at=each.at, reason="unknown")],
    )


def refused(status: int) -> Callable[[History], None]:
    def plant(history: History) -> None:
        history.happened.append(Refused(who="al", at=9, status=status, what="POST /lobby"))

    return plant


def eve(kind: type[Joined | Left], room: str, name: str) -> Callable[[History], None]:
    def plant(history: History) -> None:
        change(
            history,
            lambda each: isinstance(each, Left),
            lambda each: [each, kind(who="eve", at=each.at, room=room, name=name)],
        )

    return plant


def without_the_leave(history: History) -> None:
    without(history, lambda each: isinstance(each, Left))


def without_the_join(history: History) -> None:
    without(history, lambda each: isinstance(each, Joined) and each.room == "dev")


PLANTED = [
    (told_twice, "readers miss nothing", "doubled or out of order"),
    (told_again_later, "readers miss nothing", "doubled or out of order"),
    (told_in_another_order, "readers miss nothing", "doubled or out of order"),
    (told_what_nobody_said, "readers miss nothing", "not in the log"),
    (told_something_else, "readers miss nothing", "never said like that"),
    (gap_that_says_too_few, "readers miss nothing", "lost before"),
    (lambda h: without(h, is_told("ada", "text 1")), "readers miss nothing", "lost before"),
    (lambda h: without(h, is_told("bob", "text 7")), "readers miss nothing", "lost before"),
    (lambda h: without(h, is_told("bob", "text 15")), "readers miss nothing", "lost at the end"),
    (not_reset_after_the_restore, "readers miss nothing", "no reset before"),
    (not_reset_before_what_was_said_again, "readers miss nothing", "no reset before"),
    (told_nothing_after_a_reset, "readers miss nothing", "cy: lost at the end: 1"),
    (a_hole_before_what_was_lost, "readers miss nothing", "lost at the end"),
    (two_texts_of_a_lost_id, "the lost were one order", "14 is 'lost 14'"),
    (acknowledged_and_not_there, "acknowledged is kept", "not in the log"),
    (acknowledged_with_another_id, "acknowledged is kept", "the log has"),
    (acknowledged_twice_with_two_ids, "acknowledged is kept", "acknowledged first"),
    (stored_twice, "the log is one order", "there twice"),
    (text_stored_twice, "the log is one order", "there twice"),
    (ids_that_do_not_grow, "the log is one order", "follows on"),
    (a_node_that_shows_less, "the log is one order", "another history"),
    (stored_and_never_said, "only what was said", "nobody said it"),
    (stored_in_another_room, "only what was said", "nobody said it"),
    (reset_before_the_restore, "nobody begins anew", "reset number 1: unknown"),
    (reset_twice, "nobody begins anew", "reset number 2: unknown"),
    (refused(404), "nobody begins anew", "404"),
    (refused(401), "nobody begins anew", "401"),
    (eve(Joined, "lobby", "ada"), "each join has its leave", "came, and was there"),
    (eve(Left, "dev", "ada"), "each join has its leave", "went, and was not there"),
    (eve(Joined, "dev", "al"), "each join has its leave", "no leave of ['al']"),
    (without_the_leave, "each join has its leave", "no leave of ['bob']"),
    (without_the_join, "each join has its leave", "no join of ['bob']"),
]


def test_a_good_history_has_nothing_wrong() -> None:
    verdict = check(good())
    assert verdict.violations == ()
    assert "2 faults {'kill -9': 1, 'restore': 1}" in verdict.summary
    assert "15 messages kept, 17 acknowledged after 18 doubts {'no answer': 18}" in verdict.summary
    assert verdict.summary.endswith("lost 0, doubled 0, no violation")
    assert verdict.account == ""


def test_nothing_is_wrong_with_who_was_told_only_what_was_lost() -> None:
    history = good()
    put_back_again(history)
    assert check(history).violations == ()


@pytest.mark.parametrize(("plant", "rule", "what"), PLANTED)
def test_each_planted_fault_is_found(
    plant: Callable[[History], None], rule: str, what: str
) -> None:
    history = good()
    plant(history)
    verdict = check(history)
    assert any(each.rule == rule and what in str(each) for each in verdict.violations), verdict
    assert "VIOLATIONS" in verdict.summary


def test_every_rule_can_fail() -> None:
    names = {rule.__name__.replace("_", " ") for rule in RULES}
    assert names == {rule for _, rule, _ in PLANTED}


def test_nothing_is_forgiven_without_the_restore() -> None:
    """What it took is missing, and who begins anew does so without a cause."""
    history = good()
    history.caused.pop()
    rules = {each.rule for each in check(history).violations}
    assert rules == {"acknowledged is kept", "readers miss nothing", "nobody begins anew"}


def test_the_account_tells_what_came_before() -> None:
    history = good()
    told_twice(history)
    verdict = check(history)
    assert "The first violation: readers miss nothing: ada: number 3 is doubled" in verdict.account
    assert "Told: event=" in verdict.account
    assert "bob" not in verdict.account.partition("\n")[2]
    assert "FAULT begins: kill -9 node 1" in verdict.account
