"""A list from which things go by being marked.

What it is: thousands of items in order, each of which says of itself whether it is there yet.

What it may know: nothing of the items but that.

Invariant: an item costs 8 bytes, where a dict takes 55; those that are gone are never much more
than those that are there, so that removing one costs the same however many there are.
"""

from __future__ import annotations

from typing import Generic, TypeVar

#: So many that are gone may stay, however few others there are.
_KEEP = 8

Item = TypeVar("Item")


class TombstoneList(Generic[Item]):
    """The items, those that are gone among them."""

    __slots__ = ("_gone", "items")

    def __init__(self) -> None:
        #: For appending, and for walks that look at each item's mark.
        self.items: list[Item] = []
        self._gone = 0

    def there(self) -> list[Item]:
        """A copy without those that are gone, each once: one that came back is in `items` twice.

        Each kind of list says this by a comprehension of its own: a call for each item would be
        most of what looking at it costs.
        """
        raise NotImplementedError

    def forget_one(self) -> None:
        """One more of them is marked as gone."""
        self._gone += 1
        if self._gone * 2 > len(self.items) + _KEEP:
            self.items = self.there()
            self._gone = 0
