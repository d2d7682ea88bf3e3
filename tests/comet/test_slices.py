"""Long work, a slice at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from twisted.internet.task import Clock

from cometd_chat.comet.slices import SLICE, Slices


def test_work_makes_way_for_others_and_goes_on() -> None:
    clock = Clock()
    waiting: list[Callable[[], None]] = []
    taken: list[int] = []
    ends: list[int] = []

    def step(number: int) -> int:
        taken.append(number)
        clock.advance(SLICE / 40)
        return number

    slices = Slices(clock.seconds, waiting.append)
    slices.walk((step(number) for number in range(200)), lambda: ends.append(len(taken)))
    assert 0 < len(taken) < 100
    turns = 1
    while waiting:
        waiting.pop()()
        turns += 1
    assert taken == list(range(200))
    assert ends == [200]
    assert turns >= 4


def test_short_work_is_done_at_once() -> None:
    waiting: list[Callable[[], None]] = []
    taken: list[int] = []

    def steps() -> Iterator[None]:
        for number in range(100):
            taken.append(number)
            yield None

    Slices(lambda: 0.0, waiting.append).walk(steps())
    assert (len(taken), waiting) == (100, [])
