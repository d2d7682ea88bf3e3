"""What is delivered and waits for the next fan-out.

What it is: the deliveries, and which handlers came too late for how many of them.

What it may know: deliveries, handlers by what is noted of them.

Invariant: a handler hears nothing that was delivered before it was added.
"""

from __future__ import annotations

from collections.abc import Sequence

from cometd_chat.comet.context import CometContext, Registration
from cometd_chat.comet.events import Delivery

#: Who came too late for how many of the first deliveries of a batch.
Latecomers = dict[tuple[Registration, CometContext], int]


class Waiting:
    """What waits.

    :ivar batch: the deliveries.
    """

    def __init__(self) -> None:
        self.batch: list[Delivery] = []
        self._late: Latecomers = {}

    def extend(self, batch: Sequence[Delivery]) -> None:
        """More is delivered."""
        self.batch.extend(batch)

    def joined(self, registration: Registration, context: CometContext) -> None:
        """A handler was added to a context while something waits."""
        self._late[registration, context] = len(self.batch)

    def take(self) -> tuple[list[Delivery], Latecomers]:
        """All that waits, which waits no longer."""
        taken = self.batch, self._late
        self.batch, self._late = [], {}
        return taken


class Queues:
    """What waits for those whose first event ends them, and what waits for the others.

    A handler hears what comes by one of them only, so that each keeps the order of its handlers,
    and neither has to wait for the other.
    """

    def __init__(self) -> None:
        self.one_shots = Waiting()
        self.others = Waiting()

    def of(self, registration: Registration) -> Waiting:
        """The one by which a handler hears."""
        return self.one_shots if registration.one_shot else self.others
