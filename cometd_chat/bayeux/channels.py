"""Channel names and patterns: their grammar, and which patterns a channel matches.

What it is: pure functions over text, and an index from patterns to whoever subscribed to them.

What it may know: nothing but the grammar. Not clients, not who may do what.

Invariant: finding who matches a channel costs its depth, never the number of subscriptions; and
`SubscriptionIndex.matching` names everybody once, however many of their patterns match.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Generic, TypeVar

MAX_LENGTH = 600
MAX_DEPTH = 16

_META = "/meta/"
_SERVICE = "/service/"

# What CometD takes, which is more than the specification says; a star only as a whole segment.
_SEGMENT = r"[A-Za-z0-9_!~()$@ #+.{}-]+"
_CHANNEL = re.compile(rf"(?:/{_SEGMENT})+")
_PATTERN = re.compile(rf"(?:/{_SEGMENT})*/\*\*?")


class InvalidChannel(ValueError):
    """The text can't be the name of a channel, or not the pattern that was asked for."""


def parse_channel(text: object) -> str:
    """The name of one channel; one slash at its end is taken away.

    :raises InvalidChannel: it is none, or a pattern. (Bayeux 1.0, section 2.1)
    """
    name = _bounded(text)
    if not _CHANNEL.fullmatch(name):
        raise InvalidChannel("A channel is / and a name, once or more: letters, digits, -_!~()$@.")
    return name


def parse_pattern(text: object) -> str:
    """What can be subscribed to: a channel, or a pattern that ends in ``/*`` or ``/**``.

    :raises InvalidChannel: it is neither.
    """
    name = _bounded(text)
    if not _PATTERN.fullmatch(name) and not _CHANNEL.fullmatch(name):
        raise InvalidChannel("A pattern is a channel that may end in /* or /**, and nowhere else.")
    return name


def _bounded(text: object) -> str:
    if not isinstance(text, str):
        raise InvalidChannel("A channel is a string.")
    if len(text) > MAX_LENGTH:
        raise InvalidChannel(f"A channel has at most {MAX_LENGTH} characters, not {len(text)}.")
    name = text[:-1] if len(text) > 1 and text.endswith("/") else text
    if name.count("/") > MAX_DEPTH:
        raise InvalidChannel(f"A channel has at most {MAX_DEPTH} segments.")
    return name


def is_meta(channel: str) -> bool:
    """Whether a channel or pattern is below ``/meta``, the protocol's own."""
    return channel.startswith(_META) or channel == "/meta"


def is_service(channel: str) -> bool:
    """Whether a channel or pattern is below ``/service``, which only the server hears."""
    return channel.startswith(_SERVICE) or channel == "/service"


@lru_cache(maxsize=1024)
def patterns_of(channel: str) -> tuple[str, ...]:
    """All patterns that match a channel, the channel itself first."""
    parents = [channel[:end] for end, each in enumerate(channel) if each == "/"]
    return (channel, parents[-1] + "/*", *(parent + "/**" for parent in reversed(parents)))


def matches(pattern: str, channel: str) -> bool:
    """Whether a message to ``channel`` goes to the subscribers of ``pattern``."""
    return pattern in patterns_of(channel)


def intersects(one: str, other: str) -> bool:
    """Whether there can be a channel that two patterns both match."""
    if not one.endswith("*"):
        one, other = other, one
    if not other.endswith("*"):
        return matches(one, other)
    prefix, stars = _split(one)
    other_prefix, other_stars = _split(other)
    if prefix == other_prefix:
        return True
    if len(prefix) > len(other_prefix):
        prefix, other_prefix, stars = other_prefix, prefix, other_stars
    return stars == "**" and other_prefix.startswith(prefix + "/")


def _split(pattern: str) -> tuple[str, str]:
    prefix, _, stars = pattern.rpartition("/")
    return prefix, stars


Subscriber = TypeVar("Subscriber")


class SubscriptionIndex(Generic[Subscriber]):
    """Who subscribed to what. Subscribers are told apart by hash; each hears once."""

    def __init__(self) -> None:
        # Dicts as ordered sets: who subscribed first hears first.
        self._by_pattern: dict[str, dict[Subscriber, None]] = {}

    def __contains__(self, pattern: str) -> bool:
        return pattern in self._by_pattern

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_pattern)

    def add(self, pattern: str, subscriber: Subscriber) -> None:
        """Subscribe; once more changes nothing."""
        self._by_pattern.setdefault(pattern, {})[subscriber] = None

    def remove(self, pattern: str, subscriber: Subscriber) -> None:
        """Unsubscribe; nothing happens when it was not subscribed."""
        there = self._by_pattern.get(pattern)
        if there is not None:
            there.pop(subscriber, None)
            if not there:
                del self._by_pattern[pattern]

    def of(self, pattern: str) -> list[Subscriber]:
        """Who subscribed to exactly this pattern."""
        return list(self._by_pattern.get(pattern, ()))

    def matching(self, channel: str) -> list[Subscriber]:
        """Everybody with a pattern that matches a channel, each once."""
        by_pattern = self._by_pattern
        found = [by_pattern[each] for each in patterns_of(channel) if each in by_pattern]
        if len(found) < 2:
            return list(found[0]) if found else []
        merged: dict[Subscriber, None] = {}
        for each in found:
            merged.update(each)
        return list(merged)
