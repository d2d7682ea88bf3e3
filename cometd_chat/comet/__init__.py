"""The engine: contexts, the handlers that listen to them, and the reaper. See docs/embedding.md.

What it may know: no HTTP, no SQL, no JSON, no chat and no reactor; time comes in.
"""

from .engine import CometContext, CometEngine
from .events import CometEvent, CometEventType, Delivery, Reason
from .handler import BatchHandler, CometHandler, ReadHandler
from .reaper import Due, Reaper

__all__ = [
    "BatchHandler",
    "CometContext",
    "CometEngine",
    "CometEvent",
    "CometEventType",
    "CometHandler",
    "Delivery",
    "Due",
    "ReadHandler",
    "Reaper",
    "Reason",
]
