"""Networks of a test's own: for peers that vanish, and links that can be taken down.

What it is: `own_network` moves whoever calls it into a network that has nothing but its loopback;
`Elsewhere` is a second network, joined to the caller's by a cable of two ends, `Star` one that is
joined to it by several.

What it may know: network namespaces (network_namespaces(7), unshare(2), setns(2)) and ``ip``.

Invariant: nothing is made in the network that all tests share. When an address comes or goes there,
every browser in it gives up what it is fetching (``net::ERR_NETWORK_CHANGED``).
"""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import attrs
import pytest

from tests.support import Daemon, run

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET, see unshare(2).


def may_make_networks() -> bool:
    """Whether this user may, as far as that can be known without trying."""
    return os.geteuid() == 0 and shutil.which("ip") is not None


def ip(*arguments: str) -> None:
    """Run ``ip`` (iproute2), as root."""
    status, _, error = run("ip", *arguments)
    if status:
        pytest.fail(
            f"ip {' '.join(arguments)}: {error.strip()}. These tests make a network namespace: run "
            "them as root, on a machine or in a container that may (CAP_SYS_ADMIN, CAP_NET_ADMIN)."
        )


def _enter(path: str) -> None:
    """Move the calling thread, and it alone, into a network."""
    handle = os.open(path, os.O_RDONLY)
    try:
        _do("setns", handle, _NEW_NETWORK)
    finally:
        os.close(handle)


def _do(call: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, call)(*arguments):
        number = ctypes.get_errno()
        pytest.fail(f"{call}: {os.strerror(number)}. These tests make networks: run them as root.")


@contextmanager
def own_network() -> Iterator[None]:
    """This thread, and whatever it starts meanwhile, threads, programs and daemons, in a new
    network; at the end it is back where it was."""
    former = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _do("unshare", _NEW_NETWORK)
        try:
            ip("link", "set", "lo", "up")
            with Daemon.own_starter():
                yield
        finally:
            _do("setns", former, _NEW_NETWORK)
    finally:
        os.close(former)


@attrs.frozen
class Elsewhere:
    """A network that is joined to the caller's by a cable of two ends.

    :param name: of the network, which no other test run on this machine has.
    :param here: the end on this side.
    :param there: the end on the other.
    :param server: the address of this side.
    :param client: the address of the other.
    """

    name: str = attrs.field(factory=lambda: f"comet-chat-{os.getpid()}")
    here: str = "here"
    there: str = "there"
    # Of the addresses for tests between networks (RFC 2544).
    server: str = "198.18.0.1"
    client: str = "198.18.0.2"

    def make(self) -> None:
        ip("netns", "add", self.name)
        ip("link", "add", self.here, "type", "veth", "peer", self.there, "netns", self.name)
        ip("address", "add", f"{self.server}/30", "dev", self.here)
        ip("link", "set", self.here, "up")
        ip("-n", self.name, "address", "add", f"{self.client}/30", "dev", self.there)
        ip("-n", self.name, "link", "set", self.there, "up")

    def take(self, state: str) -> None:
        """Take the cable ``down`` or ``up``."""
        ip("-n", self.name, "link", "set", self.there, state)

    def cut(self) -> None:
        """From now on nothing comes back from there."""
        ip("-n", self.name, "route", "add", "blackhole", self.server)

    def remove(self) -> None:
        run("ip", "netns", "delete", self.name)

    @contextmanager
    def inhabited(self) -> Iterator[ThreadPoolExecutor]:
        """A thread that lives there; sockets that it makes are there, whoever uses them then."""
        path = f"/run/netns/{self.name}"
        with ThreadPoolExecutor(1, initializer=_enter, initargs=(path,)) as thread:
            yield thread


@contextmanager
def joined_networks() -> Iterator[Elsewhere]:
    """The caller in a network of its own, and one elsewhere."""
    place = Elsewhere()
    with own_network():
        try:
            place.make()
            yield place
        finally:
            place.remove()


@attrs.frozen
class Star:
    """A network that is joined to the caller's by several cables, which fail one by one.

    :param cables: how many.
    """

    cables: int
    name: str = attrs.field(factory=lambda: f"comet-chat-star-{os.getpid()}")

    def address(self, number: int) -> str:
        """By which address the other side is reached over a cable."""
        return f"198.19.{number}.2"

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put in front of a command that is to run there."""
        return ("ip", "netns", "exec", self.name)

    def make(self) -> None:
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "set", "lo", "up")
        for number in range(self.cables):
            near, far = f"near{number}", f"far{number}"
            ip("link", "add", near, "type", "veth", "peer", far, "netns", self.name)
            ip("address", "add", f"198.19.{number}.1/30", "dev", near)
            ip("link", "set", near, "up")
            ip("-n", self.name, "address", "add", f"{self.address(number)}/30", "dev", far)
            ip("-n", self.name, "link", "set", far, "up")

    def take(self, number: int, state: str) -> None:
        """Take a cable ``down`` or ``up``. While it is down nothing comes through, and nobody is
        told so."""
        ip("-n", self.name, "link", "set", f"far{number}", state)

    def remove(self) -> None:
        run("ip", "netns", "delete", self.name)


@contextmanager
def star(cables: int) -> Iterator[Star]:
    """The caller in a network of its own, and one in the middle of a star."""
    middle = Star(cables)
    with own_network():
        try:
            middle.make()
            yield middle
        finally:
            middle.remove()
