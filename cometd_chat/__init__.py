"""Comet Chat: one ordered, durable conversation, pushed to any client over plain HTTP."""

__version__ = "1.0.0"
