"""The newest part of the log in memory, against the log itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometd_chat.log.log import Tail

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
    for id in range(tail.last_id + 1):
        found = tail.after(id, set(contexts))
        if id < tail.floor:
            assert found is None
        else:
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
