"""An event as clients see it.

What it is: the one object that every door shows in its own way.

What it may know: JSON. Not the log, not rooms, not requests.

Invariant: its JSON is made once, and its bytes on the wire once a framing, however many read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

_encode = msgspec.json.Encoder().encode


@attrs.define(eq=False)
class Event:
    """One event.

    :param fields: the JSON object, in the order in which it is shown; never changed again.
    :param id: its position in the log, or None when it is not kept.
    """

    fields: Mapping[str, Any]
    id: int | None = None
    json: bytes = attrs.field(init=False)
    #: Bytes by framing; a framing's own cache, kept here so that it lives as long as the event.
    framed: dict[object, bytes] = attrs.field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self.json = _encode(self.fields)

    @property
    def type(self) -> str:
        """The kind of event: ``message``, ``join``, ``hello`` and so on."""
        kind: str = self.fields["type"]
        return kind

    @property
    def cursor(self) -> str | None:
        """Where a client stands that has seen this event; None when it says nothing of that."""
        return self.fields.get("cursor")
