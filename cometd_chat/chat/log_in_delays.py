"""How long to wait after wrong passwords.

What it is: `LogInDelays`: who fails to log in waits a second before the next try, then two, then
four, up to a minute, by account and by address.

What it may know: a clock's seconds, keys of names, addresses. Not whether there is such an account.

Invariant: nobody is locked out: the longest wait is a minute, it is the same whether the account is
there or not, and where an account has been logged in from lately others' failures are not counted.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

from cometd_chat.addresses import limit_key
from cometd_chat.errors import TooMany

#: So many failures cost nothing.
FREE = 5

#: Seconds: the first wait, which doubles, and the longest.
FIRST, LONGEST = 1.0, 60.0

#: Seconds after its last failure that something is forgotten.
FORGOTTEN_AFTER = 900.0

#: So many accounts and addresses are remembered; of more, who failed longest ago is forgotten.
REMEMBERED = 20_000

#: Where an account was logged in from: so many addresses.
_PLACES = 4


class Attempt:
    """Somebody tries to log in, which counts as a failure of the account until it is over.

    :param account: what it counts for.
    :param name: of the account.
    :param place: where from.
    """

    def __init__(self, delays: LogInDelays, account: str, name: str, place: str) -> None:
        self._delays = delays
        self._account = account
        self._name = name
        self._place = place

    def failed(self) -> None:
        """It was the wrong password."""
        self._delays.count(_of_place(self._place), 1)

    def succeeded(self) -> None:
        """It was the right one: what failed before is forgiven."""
        self._delays.forgive(self._account, self._name, self._place)

    def given_up(self) -> None:
        """It was not looked at."""
        self._delays.count(self._account, -1)


class LogInDelays:
    """Who has failed lately, at this process.

    :param seconds: by which clock.
    :param on: False lets everybody try at once.
    """

    def __init__(self, seconds: Callable[[], float], *, on: bool = True) -> None:
        self._seconds = seconds
        self._on = on
        #: How often something failed, and when it did so last; the newest comes last.
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        #: Where each account was logged in from lately, the newest last.
        self._places: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def begin(self, name: str, address: str) -> Attempt:
        """Somebody tries.

        :param name: the key of the account's name.
        :param address: where from; empty where that isn't known.
        :raises TooMany: it is too early, with the seconds that are left; it was not counted.
        """
        place = limit_key(address)
        at_home = place and place in self._places.get(name, ())
        account = f"account {name} {place if at_home else ''}"
        if self._on:
            wait = max(self._left(account), self._left(_of_place(place)))
            if wait > 0:
                raise TooMany(
                    "Too many wrong passwords: try again in "
                    f"{math.ceil(wait)} s. Who has a device that is logged in can let this one in "
                    "from there.",
                    retry_after=wait,
                )
        self.count(account, 1)
        return Attempt(self, account, name, place)

    def _left(self, key: str) -> float:
        """Seconds that are left to wait."""
        count, at = self._failures.get(key, (0, 0.0))
        if count < FREE:
            return 0.0
        wait: float = min(LONGEST, FIRST * 2 ** min(count - FREE, 10))
        return at + wait - self._seconds()

    def count(self, key: str, change: int) -> None:
        """Something failed, or did not after all."""
        if not key:
            return
        now = self._seconds()
        count, at = self._failures.pop(key, (0, 0.0))
        if now - at > FORGOTTEN_AFTER:
            count = 0
        count = max(0, count + change)
        if count:
            self._failures[key] = (count, now if change > 0 else at)
        while self._failures:
            _, at = next(iter(self._failures.values()))
            if len(self._failures) <= REMEMBERED and now - at <= FORGOTTEN_AFTER:
                break
            self._failures.popitem(last=False)

    def forgive(self, account: str, name: str, place: str) -> None:
        """An account was logged in."""
        self._failures.pop(account, None)
        if not place:
            return
        before = [each for each in self._places.pop(name, ()) if each != place]
        self._places[name] = (*before, place)[-_PLACES:]
        if len(self._places) > REMEMBERED:
            self._places.popitem(last=False)


def _of_place(place: str) -> str:
    return f"address {place}" if place else ""
