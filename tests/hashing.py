"""Hashing for tests: at once, and as weak as argon2 can be.

What it is: `AtOnce`, a `Hashing` without threads, and `weak_passwords`.

What it may know: passwords.

Invariant: what it makes is as good a hash as any, by other parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from twisted.internet.defer import Deferred, fail, succeed

from cometd_chat.chat.passwords import Passwords
from cometd_chat.errors import TooBusy

T = TypeVar("T")


class AtOnce:
    """A `Hashing` that does it at once, or refuses it."""

    def __init__(self) -> None:
        self.full = False
        #: How often something was done.
        self.done = 0

    def run(self, work: Callable[[], T], address: str = "") -> Deferred[T]:
        """See `Hashing.run`."""
        if self.full:
            return fail(TooBusy("Later.", retry_after=2))
        self.done += 1
        return succeed(work())


class CountingHasher(PasswordHasher):
    """It counts how often it did its work."""

    worked = 0

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        """Make a hash."""
        self.worked += 1
        return super().hash(password, salt=salt)

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]
        """Look at one."""
        self.worked += 1
        return super().verify(hash, password)


def weak(time_cost: int = 1) -> CountingHasher:
    """A hasher that takes no time."""
    return CountingHasher(time_cost=time_cost, memory_cost=8, parallelism=1)


def weak_passwords() -> tuple[Passwords, AtOnce, CountingHasher]:
    """Passwords for a site in memory, and what does their work."""
    hashing, hasher = AtOnce(), weak()
    return Passwords(hashing, hasher), hashing, hasher
