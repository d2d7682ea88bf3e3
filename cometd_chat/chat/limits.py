"""How much is too much.

What it is: token buckets and counts, and the table of the limits that the interface promises.

What it may know: a clock's seconds, addresses. Not who is behind a session's id.

Invariant: a bucket that is full again is forgotten, so memory is bounded by what was used lately;
and forgetting costs what is forgotten, not what is kept.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence

import attrs

from cometd_chat.addresses import limit_key
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import TooMany


@attrs.frozen(eq=False)
class Rate:
    """So many at once, and then so many a second.

    :param burst: the size of the bucket.
    :param each_second: how fast it fills again.
    """

    burst: float
    each_second: float


@attrs.frozen(eq=False)
class Limit:
    """How much of something is too much, for a session and for all who share an address.

    A session costs one request, so what bounds sessions alone bounds nobody. An address may be that
    of a school, so it has several times as much.

    :param what: what is too much, to finish the sentence "Too ...".
    """

    what: str
    session: Rate | None = None
    address: Rate | None = None


MESSAGES = Limit("many messages", Rate(20, 5.0), Rate(60, 10.0))
TEXT = Limit("much text", Rate(2**16, 2**16 / 60), Rate(2**18, 2**18 / 60))
TYPING = Limit("many signs of typing", Rate(10, 1.0), Rate(100, 20.0))
ROOMS = Limit("many new rooms", Rate(5, 1 / 60), Rate(20, 1 / 15))
NAMES = Limit("many new names", Rate(10, 1 / 6), Rate(60, 1.0))
SESSIONS = Limit("many new sessions", address=Rate(30, 1.0))

#: Bayeux handshakes. Many, for all who share an address come back at once after a restart.
HANDSHAKES = Limit("many handshakes", address=Rate(300, 10.0))


@attrs.frozen(eq=False)
class Quota:
    """How many of something an address may have at a time.

    :param most: so many.
    :param full: what its visitor is told, and can do.
    :param retry_after: seconds after which that may help.
    """

    most: int
    full: str
    retry_after: float


HELD = Quota(256, "Your address holds {most} requests: close one first.", 5)
IN_USE = Quota(
    1000, "Your address has {most} sessions in use: log out of one, or come back later.", 60
)
MADE = Quota(100, "Your address has made {most} rooms: use one of those there are.", 3600)

#: What sums of fractions may be off by: who waited as long as was said is not sent away again.
_ROUNDING = 1e-6

#: Seconds between looks for buckets that are full again.
FORGET_EVERY = 60.0

#: So many of them are forgotten before others have their turn.
_FORGET_AT_ONCE = 1000

#: What is left in each bucket of a rate, and when it was; the one that was used last comes last.
_Buckets = OrderedDict[str, tuple[float, float]]


class Limits:
    """The buckets and counts of everybody.

    :param reaper: whose seconds count, and who has full buckets forgotten.
    :param on: False lets everything pass.
    """

    def __init__(self, reaper: Reaper, *, on: bool = True) -> None:
        self.on = on
        self.due_bucket = 0
        self._reaper = reaper
        self._seconds: Callable[[], float] = reaper.seconds
        self._buckets: dict[Rate, _Buckets] = {}
        #: How many of something each address has, by `limit_key`.
        self.held: dict[Quota, Counter[str]] = {}

    # -- rates

    def take(
        self, limit: Limit, amount: float = 1, *, session: str = "", address: str = ""
    ) -> None:
        """Take from the buckets of a session and of its address, or from none of them.

        :param session: its id; empty where there is none.
        :param address: where from; empty where that isn't known.
        :raises TooMany: with the seconds after which there is enough; nothing was taken.
        """
        self.take_all([(limit, amount)], session=session, address=address)

    def take_all(
        self, amounts: Sequence[tuple[Limit, float]], *, session: str = "", address: str = ""
    ) -> None:
        """Take of several limits, or of none.

        :raises TooMany: as `take`.
        """
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
            fills_in = rate.burst / rate.each_second
            while buckets and budget and now - next(iter(buckets.values()))[1] >= fills_in:
                buckets.popitem(last=False)
                budget -= 1
        if not budget:
            return 0.0
        return FORGET_EVERY if any(self._buckets.values()) else None

    # -- quotas

    def hold(self, address: str, quota: Quota = HELD) -> None:
        """Count one more of something that an address has.

        :param address: where from; empty where that isn't known.
        :raises TooMany: it has as many as it may.
        """
        key = limit_key(address)
        held = self.held.setdefault(quota, Counter())
        if self.on and key and held[key] >= quota.most:
            detail = quota.full.format(most=quota.most)
            raise TooMany(detail, retry_after=quota.retry_after)
        held[key] += 1

    def let_go(self, address: str, quota: Quota = HELD) -> None:
        """Count it no longer."""
        key = limit_key(address)
        held = self.held[quota]
        held[key] -= 1
        if not held[key]:
            del held[key]
