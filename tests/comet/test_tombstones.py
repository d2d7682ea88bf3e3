"""A list from which things go by being marked."""

from __future__ import annotations

import sys

import attrs
import pytest

from cometd_chat.comet.tombstones import TombstoneList


@attrs.define(eq=False)
class Item:
    number: int
    gone: bool = False


class Items(TombstoneList[Item]):
    looked = 0

    def there(self) -> list[Item]:
        self.looked += len(self.items)
        return list(dict.fromkeys(each for each in self.items if not each.gone))


def filled(count: int) -> tuple[Items, list[Item]]:
    items, added = Items(), [Item(number) for number in range(count)]
    items.items.extend(added)
    return items, added


def mark(items: Items, item: Item) -> None:
    item.gone = True
    items.forget_one()


def test_what_is_gone_is_not_there_and_the_rest_keeps_its_order() -> None:
    items, added = filled(100)
    for item in added[::3]:
        mark(items, item)
    assert items.there() == [each for each in added if each.number % 3]


@pytest.mark.parametrize("count", [1, 100, 10_000])
def test_what_is_gone_is_never_much_more_than_what_is_there(count: int) -> None:
    items, added = filled(count)
    for left, item in enumerate(added, 1):
        mark(items, item)
        assert len(items.items) <= 2 * (count - left) + 8
    assert items.looked <= 4 * count


def test_one_that_came_back_is_there_once() -> None:
    items, added = filled(20)
    mark(items, added[0])
    added[0].gone = False
    items.items.append(added[0])
    for item in added[1:]:
        mark(items, item)
    assert items.there() == [added[0]]


def test_an_item_costs_eight_bytes() -> None:
    items, _ = filled(10_000)
    assert sys.getsizeof(items.items) <= 10_000 * 8 * 9 // 8 + 100
