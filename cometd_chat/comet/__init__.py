"""The engine: contexts, the handlers that listen to them, and the reaper. See docs/embedding.md.

What it may know: no HTTP, no SQL, no JSON, no chat and no reactor; time comes in.
"""

from cometd_chat.comet.context import CHORUS_MEMBER_SLOTS, Chorus, ChorusMember, CometContext
from cometd_chat.comet.engine import CometEngine
from cometd_chat.comet.events import CometEvent, CometEventType, Delivery, Reason
from cometd_chat.comet.handler import BatchHandler, CometHandler, LookingHandler, ReadHandler
from cometd_chat.comet.reaper import Due, Reaper

__all__ = [
    "CHORUS_MEMBER_SLOTS",
    "BatchHandler",
    "Chorus",
    "ChorusMember",
    "CometContext",
    "CometEngine",
    "CometEvent",
    "CometEventType",
    "CometHandler",
    "Delivery",
    "Due",
    "LookingHandler",
    "ReadHandler",
    "Reaper",
    "Reason",
]
