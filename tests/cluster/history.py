"""What happened in a run, as those saw it who took part: frozen values, in the order of their time.

What it is: `History` collects what posters and readers did and were told, what was done to the
cluster, and how the log was found at the end. `tests.cluster.checker` judges it.

What it may know: events as plain dicts. Not how they came.

Invariant: what is written here is never changed; whoever writes is some thread of the test.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from math import inf
from threading import Lock
from typing import TypeAlias, TypeVar

import attrs

from tests.decoders import Seen


@attrs.frozen(kw_only=True)
class Happened:
    """Something that happened.

    :param who: a poster, a reader, an observer of who is present.
    :param at: seconds of the monotonic clock; now, unless it is said.
    """

    who: str
    at: float = attrs.field(factory=time.monotonic)


@attrs.frozen(kw_only=True)
class Posted(Happened):
    """A poster began to say something, which they go on with until it is acknowledged or refused.

    :param client_id: None for a line that is said once, and may have been stored or not.
    """

    room: str
    text: str
    client_id: str | None


@attrs.frozen(kw_only=True)
class Acknowledged(Happened):
    """A poster was told that it is stored.

    :param repeated: it had been before.
    """

    client_id: str
    event: Mapping[str, object]
    repeated: bool = False


@attrs.frozen(kw_only=True)
class InDoubt(Happened):
    """A poster has no answer, or one that says to try again: it may have been stored."""

    client_id: str
    why: str


@attrs.frozen(kw_only=True)
class Refused(Happened):
    """Somebody was refused what no fault refuses, such as 404 or 401."""

    status: int
    what: str


@attrs.frozen(kw_only=True)
class Reads(Happened):
    """A reader begins.

    :param rooms: where.
    :param after: the id after which.
    """

    rooms: tuple[str, ...]
    after: int


@attrs.frozen(kw_only=True)
class Told(Happened):
    """A reader was told a message.

    :param event: as much of it as the transport shows.
    :param by: the transport.
    :param upto: the cursor that came with it, of what is shown without its own.
    """

    event: Mapping[str, object]
    by: str = ""
    upto: str = ""

    @property
    def cursor(self) -> str:
        """By which it is known when it was told."""
        return str(self.event.get("cursor", self.upto))


@attrs.frozen(kw_only=True)
class LeftOut(Happened):
    """A reader was told that messages are left out (the event `gap`)."""

    event: Mapping[str, object]


@attrs.frozen(kw_only=True)
class WasReset(Happened):
    """A reader was told that their cursor is foreign, and begins anew.

    :param after: the id after which, where they are told.
    """

    reason: str
    after: int | None = None


@attrs.frozen(kw_only=True)
class ReadToTheEnd(Happened):
    """A reader has read all there is, so they say."""


@attrs.frozen(kw_only=True)
class Opened(Happened):
    """An observer of who is present hears of everybody who comes and goes from now on.

    :param present: who is there already, by room.
    """

    present: Mapping[str, frozenset[str]]


@attrs.frozen(kw_only=True)
class Joined(Happened):
    """An observer was told that somebody came."""

    room: str
    name: str


@attrs.frozen(kw_only=True)
class Left(Happened):
    """An observer was told that somebody went."""

    room: str
    name: str


@attrs.frozen(kw_only=True)
class Closed(Happened):
    """An observer hears no more.

    :param present: who is there now, by room; None if nobody could be asked, since their connection
        was cut.
    """

    present: Mapping[str, frozenset[str]] | None


@attrs.frozen(kw_only=True)
class Caused:
    """A fault.

    :param kind: its name in `tests.cluster.faults`.
    :param began, ended: seconds of the monotonic clock.
    :param what: to which node, for how long.
    """

    kind: str
    began: float
    ended: float = inf
    what: str = ""


@attrs.frozen(kw_only=True)
class PutBack(Caused):
    """A fault by which the log may have lost its end, as by a restored backup.

    :param kept: the last id that is the same as before.
    """

    kept: int


Anything: TypeAlias = (
    Posted
    | Acknowledged
    | InDoubt
    | Refused
    | Reads
    | Told
    | LeftOut
    | WasReset
    | ReadToTheEnd
    | Opened
    | Joined
    | Left
    | Closed
)

Kind = TypeVar("Kind", bound=Happened)


@attrs.define
class History:
    """All of a run.

    :param seed: decides what happens.
    :param log: all messages at the end, in the one order of the log, as the history request shows
        them.
    :param views: the same as each node shows it.
    """

    seed: str = ""
    happened: list[Happened] = attrs.field(factory=list)
    caused: list[Caused] = attrs.field(factory=list)
    log: Sequence[Seen] = ()
    views: Mapping[str, Sequence[Seen]] = attrs.field(factory=dict)
    _lock: Lock = attrs.field(factory=Lock)

    def note(self, what: Anything) -> None:
        """Write down what happened."""
        with self._lock:
            self.happened.append(what)

    def all(self, kind: type[Kind]) -> list[Kind]:
        """All of a kind, in their order."""
        return [each for each in self.happened if isinstance(each, kind)]

    def of(self, who: str) -> list[Happened]:
        """All that one of them saw, in its order."""
        return [each for each in self.happened if each.who == who]

    @property
    def put_back(self) -> list[PutBack]:
        """When the log may have lost its end."""
        return [each for each in self.caused if isinstance(each, PutBack)]
