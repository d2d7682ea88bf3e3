"""An event as clients see it, and events that go out together.

What it is: the one object that every transport shows in its own way, and what is written at once.

What it may know: JSON. Not the log, not rooms, not requests.

Invariant: its JSON is made once, and its bytes on the wire once a framing, however many read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import attrs
import msgspec

_encode = msgspec.json.Encoder().encode


@attrs.define(eq=False)
class Event:
    """One event.

    :param fields: the JSON object, in the order in which it is shown; never changed again.
    :param id: its position in the log, or None when it is not kept.
    :param sender: the identity of whoever it is from; empty for what is from nobody.
    """

    fields: Mapping[str, Any]
    id: int | None = None
    sender: str = ""
    _json: bytes | None = attrs.field(init=False, default=None)
    #: Bytes by framing; a framing's own cache, kept here so that it lives as long as the event.
    framed: dict[object, bytes] = attrs.field(init=False, factory=dict)

    @property
    def json(self) -> bytes:
        """Its JSON, made when it is first asked for: pages and Bayeux have no use for it."""
        if self._json is None:
            self._json = _encode(self.fields)
        return self._json

    @property
    def size(self) -> int:
        """Bytes of its JSON, about."""
        return len(self.json)

    @property
    def refers(self) -> object:
        """The id of what it is about, or None."""
        return self.fields.get("refers")

    @property
    def type(self) -> str:
        """The kind of event: ``message``, ``join``, ``hello`` and so on."""
        kind: str = self.fields["type"]
        return kind

    @property
    def cursor(self) -> str | None:
        """Where a client stands that has seen this event; None when it says nothing of that."""
        return self.fields.get("cursor")


def events_json(events: Sequence[Event]) -> bytes:
    """The JSON of some events, with commas between."""
    return b",".join([event.json for event in events])


class Framed(Protocol):
    """What makes bytes of events; see `framings.Framing`."""

    @property
    def one_shot(self) -> bool:
        """Whether the first events finish the response, which then has a length and no chunks."""

    @property
    def personal(self) -> bool:
        """Whether clients have framings of their own at this transport."""

    def frame(self, events: Sequence[Event]) -> bytes:
        """A batch of events, oldest first."""


@attrs.define(eq=False)
class Batch:
    """Events that are written at once, to however many.

    :param events: oldest first.
    """

    events: Sequence[Event]
    #: How many of them are kept, and the first and the last id of these; 0 when there is none.
    kept: int = attrs.field(init=False)
    first_id: int = attrs.field(init=False)
    last_id: int = attrs.field(init=False)
    #: When it was first written, in the sweep's seconds. To ask for the time at each reader costs
    #: half as much as all else that is done for it, and a fan-out takes a moment only.
    written_at: float = attrs.field(init=False, default=0.0)
    #: For each framing its bytes in a body, the same as a chunk (RFC 9112, section 7.1), and how
    #: many bytes of body that is: one number for all readers is one less to make for each.
    made: dict[Framed, tuple[bytes, bytes, int]] = attrs.field(init=False, factory=dict)
    #: The last personal one of them. Others are forgotten: there are as many as clients like.
    _personal: Framed | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        ids = [event.id for event in self.events if event.id is not None]
        self.kept = len(ids)
        self.first_id, self.last_id = (ids[0], ids[-1]) if ids else (0, 0)

    def after(self, position: int) -> Batch | None:
        """What of it is for somebody who has all that is kept up to an id; None for nothing."""
        if self.first_id > position:
            return self
        rest = [event for event in self.events if event.id is None or event.id > position]
        if len(rest) == len(self.events):
            return self
        return Batch(rest) if rest else None

    def make(self, framing: Framed) -> tuple[bytes, bytes, int]:
        """See `made`. Where nothing is said both are empty; of what is `one_shot` the chunk is."""
        made = self.made.get(framing)
        if made is None:
            data = framing.frame(self.events)
            chunked = chunk(data) if data and not framing.one_shot else b""
            if framing.personal:
                if self._personal is not None:
                    del self.made[self._personal]
                self._personal = framing
            made = self.made[framing] = (data, chunked, len(data))
        return made

    def framed(self, framing: Framed) -> bytes:
        """Its bytes in a body."""
        return self.make(framing)[0]


def chunk(data: bytes) -> bytes:
    """A chunk of a body (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)
