"""A load client that holds streams over TLS, and does nothing with them.

What it is: `TlsStreams`, for what an idle connection takes.

What it may know: TLS, by the standard library.

Invariant: it checks no certificate. One connection after the other shakes hands, so this is no
measure of time.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.load.streams import connection
from benchmarks.processes import Address, BenchmarkFailed


class TlsStreams:
    """Many held connections to one server.

    :param address: of the server.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._context = ssl.create_default_context()
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._streams: list[ssl.SSLSocket] = []

    def open(self, requests: Sequence[bytes], ready: bytes) -> None:
        """Open a stream a request and wait until each has shown that it is held.

        :raises BenchmarkFailed: one was refused.
        """
        for request in requests:
            stream = self._context.wrap_socket(connection(self._address, blocking=True))
            stream.sendall(request)
            head = b""
            while ready not in head:
                if not (data := stream.recv(65536)):
                    raise BenchmarkFailed(f"the server refused a stream: {head[:500]!r}")
                head += data
            self._streams.append(stream)

    def idle(self, seconds: float) -> dict[str, Any]:
        """Be there. What comes, such as a heartbeat, waits in the kernel."""
        time.sleep(seconds)
        return {"closed": 0}
