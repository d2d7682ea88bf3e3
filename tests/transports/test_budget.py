"""The bound on what is held for all connections together."""

from __future__ import annotations

import weakref

from cometd_chat.transports.budget import MemoryBudget


class Stream:
    """A stream that is so many bytes behind.

    :param counted: what it counts for now, as far as the budget knows.
    """

    def __init__(self, memory: MemoryBudget, cut: list[Stream]) -> None:
        self._memory = memory
        self._cut = cut
        self.counted = self.behind = 0
        self.over = False
        memory.add(self)

    def write(self, size: int, taken: int = 0) -> None:
        """Write to a reader who takes some of it at once, which is found when it is measured."""
        self.counted += size
        self.behind += size - taken
        self._memory.account(size)

    def measure(self) -> int:
        change, self.counted = self.behind - self.counted, self.behind
        self._memory.account(change)
        return self.behind

    def shed(self, size: int) -> None:
        assert size == self.behind
        self.over = True
        self._cut.append(self)
        self._memory.remove(self, self.counted)


class Channel:
    """What holds a request for a moment."""

    over = False

    def measure(self) -> int:
        return 10

    def shed(self, size: int) -> None: ...


def test_the_furthest_behind_are_cut_until_there_is_room() -> None:
    cut: list[Stream] = []
    memory = MemoryBudget(1000)
    streams = [Stream(memory, cut) for _ in range(5)]
    for stream, size in zip(streams, (100, 300, 50, 250, 200), strict=True):
        stream.write(size)
    assert cut == []
    streams[2].write(101)
    assert cut == [streams[1]]
    assert memory.held == 701


def test_as_many_as_it_takes() -> None:
    cut: list[Stream] = []
    memory = MemoryBudget(1000)
    streams = [Stream(memory, cut) for _ in range(101)]
    for stream in streams:
        stream.write(10)
    assert len(cut) == 26
    assert memory.held == 750


def test_who_has_taken_it_is_not_cut() -> None:
    """What was written counts wholly until it is measured; then nobody is behind."""
    cut: list[Stream] = []
    memory = MemoryBudget(1000)
    quick = [Stream(memory, cut) for _ in range(10)]
    for stream in quick:
        stream.write(200, taken=200)
    assert cut == []
    assert memory.held <= 1000


def test_who_is_quick_does_not_pay_for_who_is_slow() -> None:
    cut: list[Stream] = []
    memory = MemoryBudget(1000)
    quick, slow = Stream(memory, cut), Stream(memory, cut)
    slow.write(900)
    for _ in range(100):
        quick.write(150, taken=150)
    assert quick not in cut
    assert cut == [slow]


def test_one_that_has_ended_counts_no_longer() -> None:
    memory = MemoryBudget(1000)
    stream = Stream(memory, [])
    stream.write(600)
    memory.remove(stream, stream.counted)
    assert memory.held == 0
    memory.remove(stream, 0)
    assert memory.held == 0


def test_of_what_comes_and_goes_nothing_stays_however_many_streams_there_are() -> None:
    memory = MemoryBudget(1000)
    streams = [Stream(memory, []) for _ in range(1000)]
    channel = Channel()
    memory.add(channel, "requests")
    memory.account(10, "requests")
    channel.over = True
    memory.remove(channel, 10, "requests")
    assert memory.held == 0
    gone = weakref.ref(channel)
    del channel
    assert gone() is None
    assert len(streams) == 1000


def test_who_wants_to_know_is_told_once_of_each_shedding() -> None:
    cut: list[Stream] = []
    told: list[int] = []
    memory = MemoryBudget(1000)
    memory.relieved.add(lambda: told.append(memory.held))
    streams = [Stream(memory, cut) for _ in range(11)]
    for stream in streams[:10]:
        stream.write(100)
    assert told == []
    streams[10].write(100)
    assert told == [700]
