"""Sockets behind a link that can be taken down.

What it is: a thread that lives in a network namespace and makes sockets there; any thread can use
them then.

What it may know: setns(2), and the namespace of ``tests.daemon.test_vanished``.

Invariant: without the right to make namespaces there is none, and nothing is left behind.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import attrs

from tests.daemon.test_vanished import Elsewhere, ip

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET, see setns(2).


def _enter(path: str) -> None:
    """Move the calling thread, and it alone, into a namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.open(path, os.O_RDONLY)
    try:
        if libc.setns(handle, _NEW_NETWORK):
            raise OSError(ctypes.get_errno(), f"setns {path}")
    finally:
        os.close(handle)


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
        ip("-n", self.place.name, "link", "set", self.place.there, state)


@contextmanager
def link() -> Iterator[Link | None]:
    """A link, or None where this user may not make one."""
    if os.getuid() != 0 or shutil.which("ip") is None:
        yield None
        return
    place = Elsewhere.choose()
    try:
        place.make()
        path = f"/run/netns/{place.name}"
        with ThreadPoolExecutor(1, initializer=_enter, initargs=(path,)) as thread:
            yield Link(place, thread)
    finally:
        place.remove()
