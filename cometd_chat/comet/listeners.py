"""Who wants to hear of something that happens, besides those that an engine tells.

What it is: `Listeners`, a list that any number may join; so that nobody takes the place of another
by wanting to hear the same.

What it may know: nothing.

Invariant: one that raises is logged, and the others hear.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, ParamSpec

from twisted.logger import Logger

P = ParamSpec("P")


class Listeners(Generic[P]):
    """All who want to hear of one thing, in the order in which they came.

    :param what: that thing, for the log.
    """

    _log = Logger()

    def __init__(self, what: str) -> None:
        self._what = what
        self._listeners: list[Callable[P, object]] = []

    def add(self, listener: Callable[P, object]) -> None:
        """Tell this one, too."""
        self._listeners.append(listener)

    def tell(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Tell all of them."""
        for listener in self._listeners:
            try:
                listener(*args, **kwargs)
            except Exception:
                self._log.failure("a listener for {what} failed", what=self._what)
