"""What listeners are told, and why a listener ends.

What it is: the values that pass through the engine. A `Delivery` goes in, a `CometEvent` comes
out; a `Reason` says why it was the last one.

What it may know: paths, ids and attachments, which it never looks into.

Invariant: an event never changes, so that one object can be shown to every listener.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

if TYPE_CHECKING:
    from .context import CometContext


class CometEventType(Enum):
    """What happened. The names are Grizzly's; its WRITE has no counterpart here."""

    #: The handler is being added to the context.
    INITIALIZE = "initialize"
    #: The peer sent something.
    READ = "read"
    #: Somebody said something in the context.
    NOTIFY = "notify"
    #: The end, not of our choosing: expired, or the peer is gone.
    INTERRUPT = "interrupt"
    #: The end, of our choosing: removed, unregistered, failed, shutdown.
    TERMINATE = "terminate"


class Reason(Enum):
    """Why a handler ended: the attachment of its INTERRUPT or TERMINATE event."""

    #: INTERRUPT: no progress for the expiration delay.
    EXPIRED = "expired"
    #: INTERRUPT: the connection was lost.
    PEER_GONE = "peer-gone"
    #: TERMINATE: `CometContext.remove_handler`.
    REMOVED = "removed"
    #: TERMINATE: a context of the handler was unregistered.
    UNREGISTERED = "unregistered"
    #: TERMINATE: the engine was shut down.
    SHUTDOWN = "shutdown"
    #: TERMINATE: the handler raised.
    FAILED = "failed"


@attrs.frozen
class CometEvent:
    """What a handler is told.

    :param type: what happened.
    :param context: where it happened; for the end of a handler that is in several contexts, the
        one that caused it, or else the first it was added to.
    :param attachment: whatever the notifier passed along; a `Reason` when the engine ended the
        handler; None for INITIALIZE.
    :param id: position in the log, when the event is a committed one; else None.
    """

    type: CometEventType
    context: CometContext
    attachment: Any
    id: int | None = None


class Delivery(NamedTuple):
    """An event on its way to the handlers of a path. A tuple, for there is one of each record, also
    where nobody hears it: a frozen class of attrs sets each field by a call.

    :param path: path of a context; when nothing is registered there, nobody hears.
    :param attachment: what the event will carry.
    :param id: position in the log, in whose order deliveries come; None for what is not kept.
    """

    path: str
    attachment: Any
    id: int | None = None
