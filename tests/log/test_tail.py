"""The newest part of the log in memory, against the log itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometd_chat.log.tail import Tail
from tests.growth import growth

#: Of each item how far its id is from the one before, its context and its size.
ITEMS = st.lists(st.tuples(st.integers(1, 3), st.sampled_from("ab"), st.integers(1, 30)))


@given(ITEMS, st.integers(1, 10), st.integers(1, 100), st.sampled_from(["a", "b", "ab"]))
def test_it_has_everything_above_its_floor(
    items: list[tuple[int, str, int]], max_items: int, max_bytes: int, contexts: str
) -> None:
    tail: Tail[int] = Tail(max_items, max_bytes)
    said: list[tuple[int, str]] = []
    for step, context, size in items:
        said.append((tail.last_id + step, context))
        tail.append(tail.last_id + step, context, tail.last_id + step, size)
        assert len(tail) <= max_items * 5 // 4
    held = [each for each, context in said if each > tail.floor and context in contexts]
    for limit in (1, 2, 5):
        assert tail.newest(contexts, limit) == held[-limit:]
    for id in range(tail.last_id + 1):
        found = tail.after(id, set(contexts))
        if id < tail.floor:
            assert found is None
            assert tail.after(id, None) is None
        else:
            assert tail.after(id, None) == [each for each, _ in said if each > id]
            assert found == [each for each, context in said if each > id and context in contexts]


def test_it_keeps_within_its_bytes_but_always_the_newest() -> None:
    tail: Tail[str] = Tail(100, 100)
    for id in range(1, 50):
        tail.append(id, "a", f"{id}", 10)
        assert len(tail) <= 12
    tail.append(50, "a", "large", 1000)
    assert tail.after(49, {"a"}) == ["large"]
    assert len(tail) == 1


def test_ids_must_grow() -> None:
    tail: Tail[str] = Tail(5, 5)
    tail.start(7)
    with pytest.raises(ValueError, match="7 is not after 7"):
        tail.append(7, "a", "x", 1)
    assert tail.after(7, {"a"}) == []
    assert tail.after(6, {"a"}) is None


def test_a_limit_gives_the_oldest() -> None:
    tail: Tail[int] = Tail(10, 100)
    for id in range(1, 6):
        tail.append(id, "ab"[id % 2], id, 1)
    assert tail.after(0, {"a", "b"}, limit=2) == [1, 2]
    assert tail.after(1, {"b"}, limit=1) == [3]
    assert tail.after(1, None, limit=2) == [2, 3]


def test_what_is_asked_of_it_costs_what_is_found() -> None:
    """A stranger may ask for fifty quiet rooms from far back, again and again."""
    quiet = [f"quiet {number}" for number in range(50)]

    def made(size: int) -> Tail[int]:
        tail: Tail[int] = Tail(size, size)
        for id in range(1, size + 1):
            tail.append(id, "busy", id, 1)
        return tail

    tails = {size: made(size) for size in (1_000, 100_000)}

    def ask(tail: Tail[int]) -> None:
        for _ in range(50):
            tail.after(0, quiet, 201)
            tail.newest(["busy"], 5)

    assert growth(lambda: ask(tails[1_000]), lambda: ask(tails[100_000])) < 5
