"""What was let go is given back, once for many, and only where the C library knows how."""

from __future__ import annotations

from twisted.internet.task import Clock

from cometd_chat.daemon.allocator import LARGE, SOON, Allocator


class Library:
    """A C library that knows both."""

    def __init__(self) -> None:
        self.settings: dict[int, int] = {}
        self.pads: list[int] = []

    def mallopt(self, parameter: int, value: int) -> int:
        self.settings[parameter] = value
        return 1

    def malloc_trim(self, pad: int) -> int:
        self.pads.append(pad)
        return 1


def test_large_things_get_pages_of_their_own_and_threads_no_heaps() -> None:
    library = Library()
    Allocator(Clock(), library).begin()
    assert library.settings == {-8: 1, -3: LARGE, -1: LARGE}


def test_what_was_let_go_goes_back_once_for_many() -> None:
    clock, library = Clock(), Library()
    allocator = Allocator(clock, library)
    allocator.give_back_soon()
    allocator.give_back_soon()
    assert library.pads == []
    clock.advance(SOON)
    assert library.pads == [0]
    allocator.give_back_soon()
    clock.advance(SOON)
    assert library.pads == [0, 0]


def test_nothing_happens_with_another_library() -> None:
    clock = Clock()
    allocator = Allocator(clock, object())
    allocator.begin()
    allocator.give_back_soon()
    assert not clock.getDelayedCalls()


def test_the_library_of_this_process_takes_it() -> None:
    clock = Clock()
    allocator = Allocator(clock)
    allocator.give_back_soon()
    clock.advance(SOON)
