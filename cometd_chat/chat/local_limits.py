"""The limits as one process counts them.

What it is: token buckets and counts.

What it may know: a clock's seconds, addresses. Not who is behind a session's id.

Invariant: a bucket that is full again is forgotten, so memory is bounded by what was used lately;
and forgetting costs what is forgotten, not what is kept.
"""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Sequence

from cometd_chat.addresses import limit_key
from cometd_chat.chat.limits import HELD, Limit, Quota, Rate
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import TooMany

#: What sums of fractions may be off by: who waited as long as was said is not sent away again.
_ROUNDING = 1e-6

#: Seconds between looks for buckets that are full again.
FORGET_EVERY = 60.0

#: So many of them are forgotten before others have their turn.
_FORGET_AT_ONCE = 1000

#: What is left in each bucket of a rate, and when it was; the one that was used last comes last.
_Buckets = OrderedDict[str, tuple[float, float]]


class LocalLimits:
    """The `Limits` of one process: its buckets and counts.

    :param reaper: whose seconds count, and who has full buckets forgotten.
    :param on: False lets everything pass.
    """

    #: So many times its size is taken to fill a bucket, at most.
    deepest = 1.0

    def __init__(self, reaper: Reaper, *, on: bool = True) -> None:
        self.on = on
        self.due_bucket = 0
        self._reaper = reaper
        self._seconds: Callable[[], float] = reaper.seconds
        self._buckets: dict[Rate, _Buckets] = {}
        #: How many of something each address has, by `limit_key`.
        self.held: defaultdict[Quota, dict[str, int]] = defaultdict(dict)

    # -- rates

    def take(
        self, limit: Limit, amount: float = 1, *, session: str = "", address: str = ""
    ) -> None:
        """See `Limits.take`."""
        self.take_all([(limit, amount)], session=session, address=address)

    def take_all(
        self, amounts: Sequence[tuple[Limit, float]], *, session: str = "", address: str = ""
    ) -> None:
        """See `Limits.take_all`."""
        if not self.on:
            return
        now = self._seconds()
        taken = []
        for limit, amount in amounts:
            for rate, key, whose in self._rates(limit, session, address):
                there = self._left(rate, key, now)
                if there < amount - _ROUNDING:
                    wait = (amount - there) / rate.each_second
                    detail = f"Too {limit.what}{whose}: try again in {math.ceil(wait)} s."
                    raise TooMany(detail, retry_after=wait)
                taken.append((rate, key, there - amount))
        for rate, key, left in taken:
            buckets = self._buckets.setdefault(rate, OrderedDict())
            buckets[key] = (left, now)
            buckets.move_to_end(key)
        if not self.due_bucket:
            self._reaper.schedule(self, FORGET_EVERY)

    def posting(self, session: str) -> Callable[[bool], None]:
        """See `Limits.posting`: nobody else says anything."""
        return _nothing

    def _rates(self, limit: Limit, session: str, address: str) -> Iterator[tuple[Rate, str, str]]:
        """The rates of a limit, each with its key, and whose it is for a sentence."""
        if limit.session is not None and session:
            yield limit.session, session, ""
        if limit.address is not None and address:
            yield limit.address, limit_key(address), " from your address"

    def _left(self, rate: Rate, key: str, now: float) -> float:
        buckets = self._buckets.get(rate)
        found = None if buckets is None else buckets.get(key)
        if found is None:
            return rate.burst
        left, at = found
        return min(rate.burst, left + (now - at) * rate.each_second)

    def on_due(self, now: float) -> float | None:
        """Forget what is full again; see `Reaper.schedule`.

        What was not used for as long as a bucket takes to fill is full, and stands before all that
        was used since.
        """
        budget = _FORGET_AT_ONCE
        for rate, buckets in self._buckets.items():
            fills_in = self.deepest * rate.burst / rate.each_second
            while buckets and budget and now - next(iter(buckets.values()))[1] >= fills_in:
                buckets.popitem(last=False)
                budget -= 1
        if not budget:
            return 0.0
        return FORGET_EVERY if any(self._buckets.values()) else None

    # -- quotas

    def hold(self, address: str, quota: Quota = HELD) -> None:
        """See `Limits.hold`."""
        # Spelt out for IPv4, here and where it is let go of: both are on the hot path of polls.
        key = limit_key(address) if ":" in address else address
        held = self.held[quota]
        count = held.get(key, 0)
        if self.on and key and count >= quota.most:
            detail = quota.full.format(most=quota.most)
            raise TooMany(detail, retry_after=quota.retry_after)
        held[key] = count + 1

    def let_go(self, address: str, quota: Quota = HELD) -> None:
        """See `Limits.let_go`."""
        key = limit_key(address) if ":" in address else address
        held = self.held[quota]
        left = held[key] - 1
        if left:
            held[key] = left
        else:
            del held[key]


def _nothing(told: bool) -> None: ...
