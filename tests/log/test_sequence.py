"""Records in any order, told in the one order."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st

from cometd_chat.log.sequence import Missing, Sequence


@attrs.frozen
class Item:
    """A record, and what it says."""

    id: int
    text: str = ""


def items(*ids: int) -> list[Item]:
    return [Item(id, f"said {id}") for id in ids]


def test_what_joins_on_is_told_at_once() -> None:
    sequence = Sequence[Item](10)
    assert sequence.take(items(11, 12)) == items(11, 12)
    assert sequence.told == 12
    assert sequence.missing() is None


def test_what_comes_too_early_waits() -> None:
    sequence = Sequence[Item](0)
    assert sequence.take(items(3, 4)) == []
    assert sequence.missing() == Missing(0, 3)
    assert sequence.lag == 4
    assert sequence.take(items(2)) == []
    assert sequence.missing() == Missing(0, 2)
    assert sequence.take(items(1)) == items(1, 2, 3, 4)
    assert sequence.lag == 0


def test_what_was_told_is_not_told_again() -> None:
    sequence = Sequence[Item](0)
    assert sequence.take(items(1, 2)) == items(1, 2)
    assert sequence.take(items(2, 1, 3, 3)) == items(3)


def test_what_is_said_to_be_there_is_missing() -> None:
    sequence = Sequence[Item](5)
    sequence.note(7)
    sequence.note(6)
    assert sequence.missing() == Missing(5, 8)
    assert sequence.take(items(6)) == items(6)
    assert sequence.missing() == Missing(6, 8)


def test_what_comes_too_early_is_bounded_and_read_again() -> None:
    sequence = Sequence[Item](0, most_early=3)
    assert sequence.take(items(9, 8, 7, 6, 5)) == []
    assert sequence.lag == 9
    assert sequence.take(items(1, 2, 3, 4)) == items(1, 2, 3, 4, 5, 6, 7)
    assert sequence.missing() == Missing(7, 10)


def test_where_there_is_nothing_nothing_is_waited_for() -> None:
    sequence = Sequence[Item](2)
    sequence.take(items(9, 10))
    assert sequence.take(items(5), whole_below=9) == items(5, 9, 10)
    assert sequence.missing() is None
    assert sequence.take([], whole_below=14) == []
    assert (sequence.told, sequence.known) == (13, 13)
    assert sequence.take(items(12), whole_below=4) == []


def test_what_is_not_told_can_be_forgotten() -> None:
    sequence = Sequence[Item](2)
    sequence.take(items(9))
    sequence.forget()
    assert sequence.missing() is None
    assert sequence.take(items(3)) == items(3)


def test_it_begins_again_where_it_is_told() -> None:
    sequence = Sequence[Item](0)
    sequence.take(items(3))
    sequence.skip(7)
    assert sequence.missing() is None
    assert sequence.take(items(3, 8)) == items(8)


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[int, list[list[int]]]:
    """How many records there are, and batches of them as a process may get them: in any order,
    more than once, with any of them lost."""
    last = draw(st.integers(0, 40))
    spans = st.tuples(st.integers(1, max(last, 1)), st.integers(1, 8))
    found = draw(st.lists(spans, max_size=40)) if last else []
    batches = [list(range(first, min(first + size, last + 1))) for first, size in found]
    return last, [draw(st.permutations(batch)) for batch in batches]


@given(arrivals(), st.integers(0, 10), st.integers(1, 7), st.sets(st.integers(1, 39)))
def test_told_is_all_of_the_log_in_order_once(
    arriving: tuple[int, list[list[int]]], most_early: int, page: int, holes: set[int]
) -> None:
    last, batches = arriving
    there = [id for id in range(1, last + 1) if id not in holes]
    batches = [[id for id in batch if id not in holes] for batch in batches]
    sequence = Sequence[Item](0, most_early=most_early)
    told: list[Item] = []
    for batch in batches:
        told += sequence.take(items(*batch))
        assert told == items(*range(1, sequence.told + 1))
        assert sequence.told <= last
    sequence.note(last)
    reads = 0
    while (missing := sequence.missing()) is not None:
        assert missing.after == sequence.told
        between = [id for id in there if missing.after < id < missing.before]
        read = between[:page]
        whole_below = read[-1] + 1 if len(read) == page else missing.before
        told += sequence.take(items(*read), whole_below=whole_below)
        reads += 1
        assert reads <= last
    assert told == items(*there)
    assert sequence.lag == 0


@given(arrivals())
def test_whatever_joins_on_is_told(arriving: tuple[int, list[list[int]]]) -> None:
    sequence = Sequence[Item](0)
    came: set[int] = set()
    for batch in arriving[1]:
        came |= set(batch)
        sequence.take(items(*batch))
        assert sequence.told + 1 not in came
        missing = sequence.missing()
        assert (missing is None) == (sequence.told == max(came))
        if missing is not None:
            assert not came & set(range(missing.after + 1, missing.before))
