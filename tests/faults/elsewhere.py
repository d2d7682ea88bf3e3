"""Sockets behind a link that can be taken down.

What it is: `Link`, a way to make sockets in another network, which any thread can use then.

What it may know: `tests.networks`.

Invariant: without the right to make networks there is none, and nothing is left behind.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import attrs

from tests.networks import Elsewhere, joined_networks, may_make_networks


@attrs.frozen
class Link:
    """The way there."""

    place: Elsewhere
    _thread: ThreadPoolExecutor

    def socket(self) -> socket.socket:
        """A socket on the other side."""
        return self._thread.submit(socket.socket).result()

    def take(self, state: str) -> None:
        """Take it ``down`` or ``up``."""
        self.place.take(state)


@contextmanager
def link() -> Iterator[Link | None]:
    """A link, or None where this user may not make one."""
    if not may_make_networks():
        yield None
        return
    with joined_networks() as place, place.inhabited() as thread:
        yield Link(place, thread)
