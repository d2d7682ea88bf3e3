"""The newest part of a log, in memory.

What it is: `Tail`, which keeps whatever is made of records, by their ids and their contexts.

What it may know: ids, paths of contexts, sizes. Not what it keeps.

Invariant: it has every item above its floor, in the order of their ids, and is bounded.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from typing import Generic, TypeVar

import attrs

Item = TypeVar("Item")


@attrs.define(eq=False)
class Tail(Generic[Item]):
    """The newest part of a log in memory, bounded in count and in bytes.

    It holds every item with an id above `floor`, so a reader whose cursor is not below `floor`
    can be served without asking the log. What is asked of it costs what is found and the number of
    contexts, not what it holds.

    :param max_items: how many to keep.
    :param max_bytes: how much to keep, by the sizes given to `append`.
    """

    max_items: int
    max_bytes: int
    floor: int = 0
    last_id: int = 0
    _bytes: int = 0
    _ids: list[int] = attrs.field(factory=list)
    _sizes: list[int] = attrs.field(factory=list)
    _items: list[Item] = attrs.field(factory=list)
    # The same ids, of each context alone.
    _by_context: dict[str, list[int]] = attrs.field(factory=dict)

    def __len__(self) -> int:
        return len(self._items)

    def start(self, last_id: int) -> None:
        """Begin empty, after ``last_id``."""
        self.floor = self.last_id = last_id
        self._bytes = 0
        self._by_context.clear()
        for column in (self._ids, self._sizes, self._items):
            column.clear()

    def append(self, id: int, context: str, item: Item, size: int) -> None:
        """Add the next item; ids must grow."""
        if id <= self.last_id:
            raise ValueError(f"id {id} is not after {self.last_id}")
        self._ids.append(id)
        self._by_context.setdefault(context, []).append(id)
        self._sizes.append(size)
        self._items.append(item)
        self._bytes += size
        self.last_id = id
        # Trimmed in lumps of a quarter: the front of a list costs its whole length to remove.
        if len(self._ids) > self.max_items * 5 // 4 or self._bytes > self.max_bytes * 5 // 4:
            self._trim()

    def at(self, id: int) -> Item | None:
        """What has an id; None where it has no item of that id."""
        place = bisect_left(self._ids, id)
        known = place < len(self._ids) and self._ids[place] == id
        return self._items[place] if known else None

    def items(self) -> Sequence[Item]:
        """All that it has, oldest first."""
        return list(self._items)

    def replace(self, id: int, item: Item, size: int) -> bool:
        """Let another item be what has an id; False where it has no item of that id."""
        place = bisect_left(self._ids, id)
        if place == len(self._ids) or self._ids[place] != id:
            return False
        self._bytes += size - self._sizes[place]
        self._sizes[place] = size
        self._items[place] = item
        return True

    def drop(self, context: str) -> None:
        """Have nothing of a context any more. It costs what is held."""
        gone = set(self._by_context.pop(context, ()))
        if not gone:
            return
        kept = [place for place, id in enumerate(self._ids) if id not in gone]
        self._items = [self._items[place] for place in kept]
        self._sizes = [self._sizes[place] for place in kept]
        self._ids = [self._ids[place] for place in kept]
        self._bytes = sum(self._sizes)

    def pass_over(self, id: int) -> None:
        """What has this id is no item; ids must grow."""
        if id <= self.last_id:
            raise ValueError(f"id {id} is not after {self.last_id}")
        self.last_id = id

    def _trim(self) -> None:
        keep, size = 0, 0
        for each in reversed(self._sizes):
            if keep == self.max_items or (size + each > self.max_bytes and keep):
                break
            keep += 1
            size += each
        cut = len(self._ids) - keep
        self.floor = self._ids[cut - 1]
        self._bytes = size
        for column in (self._ids, self._sizes, self._items):
            del column[:cut]
        for context, ids in list(self._by_context.items()):
            del ids[: bisect_right(ids, self.floor)]
            if not ids:
                del self._by_context[context]

    def after(
        self, id: int, contexts: Collection[str] | None, limit: int | None = None
    ) -> list[Item] | None:
        """Items of some contexts above ``id``, oldest first; None when that reaches below `floor`.

        :param contexts: None for all there are.
        :param limit: at most so many, the oldest.
        """
        if id < self.floor:
            return None
        if contexts is None:
            begin = bisect_right(self._ids, id)
            return self._items[begin : None if limit is None else begin + limit]
        columns = [column for column in map(self._by_context.get, set(contexts)) if column]
        rests = [_rest(column, bisect_right(column, id), limit) for column in columns]
        found = rests[0] if len(rests) == 1 else islice(heapq.merge(*rests), limit)
        return self._of(found)

    def newest(
        self, contexts: Collection[str], limit: int, wanted: Callable[[Item], bool] = lambda _: True
    ) -> list[Item]:
        """The newest items of some contexts that it holds, oldest first.

        :param limit: at most so many, at least 1.
        :param wanted: whether an item is one of those.
        """
        columns = [column for column in map(self._by_context.get, set(contexts)) if column]
        ids = heapq.merge(*map(reversed, columns), reverse=True)
        return list(islice(filter(wanted, map(self._at, ids)), limit))[::-1]

    def _of(self, ids: Iterable[int]) -> list[Item]:
        return list(map(self._at, ids))

    def _at(self, id: int) -> Item:
        return self._items[bisect_left(self._ids, id)]


def _rest(column: Sequence[int], begin: int, limit: int | None) -> Sequence[int]:
    return column[begin : None if limit is None else begin + limit]
