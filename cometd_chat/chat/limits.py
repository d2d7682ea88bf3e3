"""How much is too much.

What it is: token buckets, and the table of the limits that the interface promises.

What it may know: a clock's seconds. Not who is behind a key.

Invariant: a bucket that is full again is forgotten, so memory is bounded by what was used lately.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence

import attrs

from cometd_chat.addresses import limit_key
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import TooMany


@attrs.frozen
class Rate:
    """So many at once, and then so many a second.

    :param burst: the size of the bucket.
    :param each_second: how fast it fills again.
    :param what: what is too much, to finish the sentence "Too ...".
    """

    burst: float
    each_second: float
    what: str


MESSAGES = Rate(20, 5.0, "many messages")
TEXT = Rate(64 * 1024, 64 * 1024 / 60, "much text")
SESSIONS = Rate(30, 1.0, "many new sessions from this address")
ROOMS = Rate(5, 1 / 60, "many new rooms")
NAMES = Rate(10, 1 / 6, "many new names")
TYPING = Rate(10, 1.0, "many signs of typing")

#: Bayeux handshakes. Many, for all who share an address come back at once after a restart.
HANDSHAKES = Rate(300, 10.0, "many handshakes from this address")

#: Requests that one address may hold at a time.
HELD_BY_ADDRESS = 256

#: What sums of fractions may be off by: who waited as long as was said is not sent away again.
_ROUNDING = 1e-6

#: Seconds between looks for buckets that are full again.
FORGET_EVERY = 60.0


class Limits:
    """The buckets of everybody.

    :param reaper: whose seconds count, and who has full buckets forgotten.
    :param on: False lets everything pass.
    """

    def __init__(self, reaper: Reaper, *, on: bool = True) -> None:
        self.on = on
        self.due_bucket = 0
        self._reaper = reaper
        self._seconds: Callable[[], float] = reaper.seconds
        # What is left in the bucket, and when it was.
        self._buckets: dict[tuple[Rate, Hashable], tuple[float, float]] = {}
        #: How many requests each address holds, by `limit_key`.
        self.held: Counter[str] = Counter()

    def take(self, rate: Rate, key: Hashable, amount: float = 1) -> None:
        """Take from a bucket.

        :raises TooMany: with the seconds after which there is enough; nothing was taken.
        """
        self.take_all([(rate, amount)], key)

    def take_all(self, amounts: Sequence[tuple[Rate, float]], key: Hashable) -> None:
        """Take from several buckets of one key, or from none.

        :raises TooMany: as `take`.
        """
        if not self.on:
            return
        now = self._seconds()
        left = [self._left(rate, key, now) for rate, _ in amounts]
        for (rate, amount), there in zip(amounts, left, strict=True):
            if there < amount - _ROUNDING:
                wait = (amount - there) / rate.each_second
                detail = f"Too {rate.what}: try again in {math.ceil(wait)} s."
                raise TooMany(detail, retry_after=wait)
        if not self._buckets:
            self._reaper.schedule(self, FORGET_EVERY)
        for (rate, amount), there in zip(amounts, left, strict=True):
            self._buckets[rate, key] = (there - amount, now)

    def hold(self, address: str) -> None:
        """Count a request that is to be held.

        :param address: where from; empty where that isn't known.
        :raises TooMany: its address holds as many as it may.
        """
        key = limit_key(address)
        if self.on and key and self.held[key] >= HELD_BY_ADDRESS:
            raise TooMany(
                f"Your address holds {HELD_BY_ADDRESS} requests: close one first.", retry_after=5
            )
        self.held[key] += 1

    def let_go(self, address: str) -> None:
        """Count it no longer."""
        key = limit_key(address)
        self.held[key] -= 1
        if not self.held[key]:
            del self.held[key]

    def _left(self, rate: Rate, key: Hashable, now: float) -> float:
        left, at = self._buckets.get((rate, key), (rate.burst, now))
        return min(rate.burst, left + (now - at) * rate.each_second)

    def on_due(self, now: float) -> float | None:
        """Forget what is full again; see `Reaper.schedule`."""
        full = [
            (rate, key) for rate, key in self._buckets if self._left(rate, key, now) >= rate.burst
        ]
        for each in full:
            del self._buckets[each]
        return FORGET_EVERY if self._buckets else None
