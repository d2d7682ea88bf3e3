"""What a session opens on one of many nodes, and what makes way for it on the others.

What it is: `Openings`, the seam by which the chat tells and hears of it, and `NoOpenings`, that of
a process that is alone.

What it may know: sessions, what they hold. Not how it is told.

Invariant: nothing depends on it. What is not told goes by its own time.
"""

from __future__ import annotations

from typing import Protocol

import attrs

from cometd_chat.chat.sessions import HeldResource, Session
from cometd_chat.comet.listeners import Listeners


@attrs.frozen
class Opening:
    """A session holds something new on another node.

    :param session: its id.
    :param client: the window that a poll is for, see `HeldResource.client`.
    :param most: see `HeldResource.most`.
    :param count: so many of that kind the session holds there.
    """

    session: str
    client: str | None
    most: int | None
    count: int


class Openings(Protocol):
    """What sessions open, on all nodes.

    It is called in the reactor's thread, waits for nothing and promises nothing: where there is
    much to tell, some of it is not.
    """

    @property
    def elsewhere(self) -> Listeners[[Opening]]:
        """Told of what was opened on other nodes."""

    def opened(self, session: Session, newest: HeldResource) -> None:
        """Tell the others what a session holds now."""


class NoOpenings:
    """There are no other nodes."""

    def __init__(self) -> None:
        self.elsewhere: Listeners[[Opening]] = Listeners("openings elsewhere")

    def opened(self, session: Session, newest: HeldResource) -> None:
        """See `Openings.opened`."""
