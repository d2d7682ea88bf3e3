"""How many connections there are, and how many of them an address may have.

What it is: a count for each address, and of those that were refused and yet linger.

What it may know: addresses. Nothing of what comes by a connection.

Invariant: whoever has an address has so many connections at most; what counts is forgotten with the
last one. A proxy that is trusted stands for many addresses and has no bound of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from cometd_chat.addresses import limit_key


class Connections:
    """All connections of a site.

    :param most: of one address; None for any number.
    :param is_proxy: whether an address is that of a proxy that is trusted.
    """

    def __init__(
        self,
        most: int | None = None,
        is_proxy: Callable[[str], bool] = lambda address: False,
    ) -> None:
        self.most = most
        #: How many there are.
        self.open = 0
        #: How many were refused since the start, and how many of these are there yet.
        self.refused = 0
        self.lingering = 0
        self._is_proxy = is_proxy
        self._by_address: Counter[str] = Counter()

    def admit(self, address: str) -> bool:
        """Count one more, unless its address has as many as it may.

        :param address: where from; empty where that isn't known, as on a Unix socket.
        """
        if self._counts(address):
            key = limit_key(address)
            if self._by_address[key] >= (self.most or 0):
                self.refused += 1
                return False
            self._by_address[key] += 1
        self.open += 1
        return True

    def left(self, address: str) -> None:
        """One that was admitted is over."""
        self.open -= 1
        if self._counts(address):
            key = limit_key(address)
            self._by_address[key] -= 1
            if not self._by_address[key]:
                del self._by_address[key]

    def _counts(self, address: str) -> bool:
        return self.most is not None and bool(address) and not self._is_proxy(address)
