"""What a case needs of a server that streams: the seam between cases and servers.

What it is: the protocol `Server`, and the scratch directories that servers run in.

What it may know: requests as bytes.

Invariant: cases treat all servers alike; what differs is behind this.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import mkdtemp
from typing import Protocol

from benchmarks.processes import Running

#: Where servers run and keep their data, below the checkout: the disk that is measured.
SCRATCH = Path(__file__).parent.parent.parent / ".bench"


class Server(Protocol):
    """A server that can be subscribed to and published to."""

    #: What it is called in results.
    name: str
    #: What comes on a stream once it is held.
    ready: bytes

    def start(self) -> Running:
        """Start it and make ready what its requests need."""

    def subscribe(self) -> bytes:
        """A request that is held as a stream."""

    def publish(self, payload: bytes) -> bytes:
        """A request that sends a message to all streams.

        :param payload: the message as JSON, as our daemon delivers it.
        """

    def publish_to_nobody(self, payload: bytes) -> bytes:
        """The same where nobody listens."""


def scratch(name: str) -> Path:
    """A new directory for one run of a server."""
    SCRATCH.mkdir(exist_ok=True)
    return Path(mkdtemp(prefix=f"{name.replace(' ', '-')}-", dir=SCRATCH))
