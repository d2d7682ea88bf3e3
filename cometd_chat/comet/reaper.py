"""The one sweep that runs everything which is due: heartbeats, time limits, expiry.

What it is: time cut into buckets of one resolution each, and a single delayed call on the clock
for the first bucket that has something in it.

What it may know: a clock, and that items can be due.

Invariant: an item is never called early, and not later than one resolution after its time (but
for what a busy reactor adds); the cost follows what is due, not what is held; when nothing is
scheduled there is no delayed call either.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from math import ceil
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from cometd_chat.comet.slices import CLOCK_EVERY, SLICE, TimeSlice
from cometd_chat.comet.tombstones import TombstoneList

#: Seconds for which `Reaper.coarse_now` gives the same number.
STEP = 0.01

#: Seconds by which `Reaper.past_moment` may be late, and how many of them it keeps.
PAST_STEP = 0.1
_KEEP_PAST = 64


class Due(Protocol):
    """Something that is due at some time. Told apart by identity; must be hashable."""

    #: Belongs to the reaper: the bucket in which the item is, 0 when it is not scheduled.
    due_bucket: int

    def on_due(self, now: float) -> float | None:
        """The time has come.

        :param now: seconds of the reaper's clock.
        :returns: seconds until it is due again; None when it is done. An item that raises is
            logged and dropped.
        """


class _Bucket(TombstoneList[Due]):
    """Items that are due in one span of time; one that is cancelled is marked by the number of its
    bucket."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        super().__init__()
        #: The one object that all its items have for their number.
        self.number = number

    def there(self) -> list[Due]:
        """Those that are not cancelled."""
        number = self.number
        # One that was cancelled and scheduled again is here twice.
        return list(dict.fromkeys(item for item in self.items if item.due_bucket == number))


class Reaper:
    """One sweep over time buckets.

    :param clock: where time comes from.
    :param resolution: width of a bucket in seconds; an item is at most so late.
    :param slice_seconds: after so long a sweep makes way for other work and then goes on.
    """

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, resolution: float = 1.0, *, slice_seconds: float = SLICE
    ) -> None:
        if resolution <= 0:
            raise ValueError(f"A resolution is more than 0 seconds, not {resolution}.")
        self._clock = clock
        self._now = clock.seconds()
        self._past: dict[int, float] = {}
        self._resolution = resolution
        self._slice = TimeSlice(clock.seconds, slice_seconds)
        self._buckets: dict[int, _Bucket] = {}
        self._numbers: list[int] = []  # the buckets' numbers, as a heap
        self._scheduled = 0
        self._call: IDelayedCall | None = None
        self._armed_for = 0  # the bucket that the call is for
        self._sweeping = False

    def seconds(self) -> float:
        """The time by the reaper's clock, which is that of `Due.on_due`."""
        return self._clock.seconds()

    def coarse_now(self) -> float:
        """The same, up to `STEP` ago: for noting when something was.

        Who asks within a step is given the same object, so that thousands who come at once, or are
        looked at in one sweep, keep one number among them.
        """
        now = self._clock.seconds()
        if not 0 <= now - self._now < STEP:
            self._now = now
        return self._now

    def past_moment(self, seconds_ago: float) -> float:
        """A moment that is so long ago, or up to `PAST_STEP` less.

        Who asks for about the same moments one after the other is given the same objects, too.
        """
        now = self.coarse_now()
        if seconds_ago < PAST_STEP:
            return now
        step = ceil((now - seconds_ago) / PAST_STEP)
        found = self._past.get(step)
        if found is None:
            if len(self._past) >= _KEEP_PAST:
                self._past.clear()
            found = self._past[step] = step * PAST_STEP
        return found

    @property
    def scheduled(self) -> int:
        """How many items are scheduled."""
        return self._scheduled

    def schedule(self, item: Due, delay_seconds: float) -> None:
        """Call ``item.on_due`` in ``delay_seconds``; one that is scheduled already is moved."""
        if item.due_bucket:
            self.cancel(item)
        number = self._bucket_number(delay_seconds)
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = _Bucket(number)
            heappush(self._numbers, number)
        item.due_bucket = bucket.number
        bucket.items.append(item)
        self._scheduled += 1
        self._arm()

    def _bucket_number(self, delay_seconds: float) -> int:
        """The first bucket that is not before the time, and always one that lies ahead: an item
        that is due at once, again and again, may not keep a sweep from ending."""
        now = self._clock.seconds()
        due = now + delay_seconds if delay_seconds > 0 else now
        number = ceil(due / self._resolution) or 1
        # At most a step or two: `ceil` of a float that was rounded, or due at this very moment.
        while number * self._resolution < due or number * self._resolution <= now:
            number += 1
        return number

    def cancel(self, item: Due) -> None:
        """Forget an item; nothing happens when it is not scheduled."""
        if item.due_bucket <= 0:
            return
        bucket = self._buckets[item.due_bucket]
        item.due_bucket = 0
        bucket.forget_one()
        self._scheduled -= 1
        if not self._scheduled:
            self._arm()

    def _arm(self) -> None:
        """See to it that the one delayed call is there when, and only when, it is needed."""
        if self._sweeping:
            return
        if not self._scheduled:
            self._buckets.clear()
            self._numbers.clear()
            if self._call is not None:
                self._call.cancel()
                self._call = None
            return
        number = self._numbers[0]
        if self._call is not None:
            if self._armed_for <= number:
                return  # too early at most, and then the sweep finds nothing and arms again
            self._call.cancel()
        self._armed_for = number
        delay = number * self._resolution - self._clock.seconds()
        self._call = self._clock.callLater(max(0.0, delay), self._sweep)

    def _sweep(self) -> None:
        self._call = None
        now = self._clock.seconds()
        self._sweeping = True
        try:
            self._slice.take(self._due(now), every=1)
        finally:
            self._sweeping = False
            self._arm()

    def _due(self, now: float) -> Iterator[None]:
        """Call what is due, `CLOCK_EVERY` items a step.

        What is left when the slice is used up stays in its bucket, whose time has passed, so that
        `_arm` comes back to it at once.
        """
        called = 0
        while self._numbers and self._numbers[0] * self._resolution <= now:
            bucket = self._buckets[self._numbers[0]]
            while bucket.items:
                item = bucket.items.pop()
                if item.due_bucket != bucket.number:
                    continue  # It was cancelled.
                item.due_bucket = 0
                self._scheduled -= 1
                self._call_item(item, now)
                called += 1
                if called % CLOCK_EVERY == 0:
                    yield
            del self._buckets[heappop(self._numbers)]

    def _call_item(self, item: Due, now: float) -> None:
        try:
            delay = item.on_due(now)
        except Exception:
            self._log.failure("{item} raised when it was due and is dropped", item=_name(item))
            return
        if delay is not None:
            self.schedule(item, delay)


def _name(item: object) -> str:
    """The class of an item, for the log: an item itself might show more than a log may hold."""
    return type(item).__name__
