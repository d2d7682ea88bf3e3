"""A client that asks a little all the time, to see how long others wait meanwhile.

What it is: `Prober`: a request every few milliseconds, in turn of several kinds.

What it may know: bytes of requests.

Invariant: the time of a request counts from when it was due, so that a server which holds the
prober up can't make its own figures better.
"""

from __future__ import annotations

import time
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.processes import Address
from benchmarks.wire import connect, exchange


class Prober:
    """One client on connections of its own, one a kind of request."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self.told: Connection | None = None

    def run(self, requests: dict[str, bytes], every: float, limit: float) -> dict[str, Any]:
        """Ask until told to stop, or until the limit in seconds.

        :param requests: by their kind.
        :param every: seconds from one request to the next.
        :returns: milliseconds of each request, by kind.
        """
        streams = {kind: connect(self._address) for kind in requests}
        found: dict[str, list[float]] = {kind: [] for kind in requests}
        began = time.perf_counter()
        number, kinds = 0, list(requests)
        while not self._stopped():
            due = began + number * every
            if due - began > limit:
                break
            time.sleep(max(0.0, due - time.perf_counter()))
            kind = kinds[number % len(kinds)]
            exchange(streams[kind], requests[kind])
            found[kind].append((time.perf_counter() - due) * 1e3)
            number += 1
        for stream in streams.values():
            stream.close()
        return found

    def _stopped(self) -> bool:
        if self.told is None or not self.told.poll():
            return False
        self.told.recv()
        return True
