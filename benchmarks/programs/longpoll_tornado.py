"""Long polling the usual way of Tornado: a handler that awaits a condition.

What it is: a program: ``longpoll_tornado.py PORT``. ``GET /poll?cursor=N`` is answered with the
messages after N, once there are any.

What it may know: Tornado's public interface.

Invariant: it is written as an application of Tornado is, with no tricks for or against it.
"""

from __future__ import annotations

import asyncio
import sys

from tornado.locks import Condition
from tornado.web import Application, RequestHandler

KEPT = 200


class Messages:
    """The newest messages, and who waits for the next."""

    def __init__(self) -> None:
        self.changed = Condition()
        self.newest: list[tuple[int, str]] = []
        self.last = 0

    def append(self, text: str) -> None:
        """One more; everybody wakes up."""
        self.last += 1
        self.newest = [*self.newest[-KEPT:], (self.last, text)]
        self.changed.notify_all()

    def after(self, cursor: int) -> list[str]:
        """What somebody who has come so far does not have."""
        return [text for number, text in self.newest if number > cursor]


class Poll(RequestHandler):
    """A poll."""

    def initialize(self, messages: Messages) -> None:
        """Take what all handlers share."""
        self.messages = messages

    async def get(self) -> None:
        """Wait until there is something after the cursor."""
        cursor = self.get_argument("cursor", "")
        if cursor:
            while self.messages.last <= int(cursor):
                await self.messages.changed.wait()
        found = self.messages.after(int(cursor)) if cursor else []
        self.write({"cursor": str(self.messages.last), "messages": found})


class Publish(RequestHandler):
    """A post."""

    def initialize(self, messages: Messages) -> None:
        """Take what all handlers share."""
        self.messages = messages

    def post(self) -> None:
        """Keep it and wake everybody."""
        self.messages.append(self.request.body.decode())
        self.set_status(201)


async def main(port: int) -> None:
    """Serve until killed."""
    shared = {"messages": Messages()}
    application = Application(
        [(r"/poll", Poll, shared), (r"/publish", Publish, shared)], log_function=lambda _: None
    )
    application.listen(port, "127.0.0.1", backlog=4096)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
