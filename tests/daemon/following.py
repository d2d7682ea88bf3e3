"""Somebody who reads a room by one of four ways, which look the same to a test.

What it is: `Following`, which keeps all that comes, by ``sse``, ``poll``, ``ws`` or ``bayeux``.

What it may know: the interface of the daemon, Python's `websockets`.

Invariant: it reads all the while, by a thread of its own, and where a request is over and the way
goes on (a poll, a connect), the next one follows; whatever is waited for has a limit.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from http.client import HTTPException
from threading import Condition, Thread
from types import TracebackType
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as connect_socket

from tests.cluster.bayeux import channel
from tests.daemon.talk import Answer, ask, connect, held, wait_until
from tests.support import PATIENCE

#: All of them.
WAYS = ("sse", "poll", "ws", "bayeux")


def polls(port: int) -> int:
    """How many polls a daemon holds."""
    return held(port).get("poll", 0)


class Following:
    """``with Following("sse", port, token) as bob: bob.until('"bye"')``.

    It begins after what was said before: by then a stream is held, and a first poll or connect is
    answered. For what is not kept a poll has to be held at that moment: see `until_held`.

    :param way: one of `WAYS`.
    :param headers: of each request.
    """

    def __init__(
        self,
        way: str,
        port: int,
        token: str,
        room: str = "lobby",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.way, self.port, self.room = way, port, room
        #: All that came.
        self.read = ""
        #: Whether no more will come.
        self.over = False
        self._headers = {"Authorization": f"Bearer {token}", **(headers or {})}
        self._token = token
        self._connection = connect(port)
        self._opened = ExitStack()
        self._end: Callable[[], object] = self._shut
        # Reads once more; None at the end.
        self._more: Callable[[], str | None] = getattr(self, f"_by_{way}")()
        self._changed = Condition()
        self._thread = Thread(target=self._run, name=f"following by {way}", daemon=True)
        self._thread.start()
        if way in ("sse", "ws"):
            self.until('"hello"')

    def until(self, *wanted: str) -> str:
        """Wait until all of some texts have come; what was read.

        What is not kept, such as a ``sanction``, a ``join`` and a ``bye``, is told to a poll that
        is held, and never again: wait `until_held` before the daemon is made to tell it.

        :raises AssertionError: they did not.
        """
        self._wait(lambda: all(each in self.read for each in wanted), repr(wanted))
        return self.read

    def until_held(self) -> None:
        """Wait until it is told what is not kept, too: a poll is between two after each answer.

        It goes by the daemon's count: nobody else polls there, and all that answers this one has
        come.
        """
        if self.way == "poll":
            wait_until(lambda: self.over or polls(self.port) == 1, "the poll is held")

    def until_over(self) -> str:
        """Wait until no more will come; what was read."""
        self._wait(lambda: False, "its end")
        return self.read

    def forget(self) -> None:
        """Let go of what came until now."""
        with self._changed:
            self.read = ""

    def close(self) -> None:
        """Go."""
        self._end()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), f"{self.way} goes on"
        self._connection.close()

    def _wait(self, come: Callable[[], bool], what: str) -> None:
        with self._changed:
            here = self._changed.wait_for(lambda: self.over or come(), PATIENCE)
            good = here and (what == "its end" or come())
            assert good, f"{self.way} was to have {what}, and had {self.read[-3000:]}"

    def _run(self) -> None:
        try:
            while (more := self._more()) is not None:
                with self._changed:
                    self.read += more
                    self._changed.notify_all()
        except (OSError, HTTPException, ConnectionClosed):
            pass  # So it ends, too.
        finally:
            with self._changed:
                self.over = True
                self._changed.notify_all()

    def _shut(self) -> None:
        if self._connection.sock is not None:
            with suppress(OSError):
                self._connection.sock.shutdown(socket.SHUT_RDWR)

    def _ask(self, method: str, path: str, body: object = None) -> Answer:
        return ask(self._connection, method, path, body=body, headers=self._headers)

    # -- each of them

    def _by_sse(self) -> Callable[[], str | None]:
        path = f"/api/v1/events/sse?rooms={self.room}"
        self._connection.request("GET", path, headers=self._headers)
        response = self._connection.getresponse()
        assert response.status == 200, response.read()
        return lambda: response.read1(65536).decode() or None

    def _by_ws(self) -> Callable[[], str | None]:
        url = f"ws://127.0.0.1:{self.port}/api/v1/events/ws?rooms={self.room}"
        # Without pings of its own: their answers would come in between, and a test may read late.
        opening = connect_socket(
            url, additional_headers=self._headers, open_timeout=PATIENCE, ping_interval=None
        )
        opened = self._opened.enter_context(opening)
        self._end = self._opened.close
        return lambda: str(opened.recv(timeout=PATIENCE))

    def _by_poll(self) -> Callable[[], str | None]:
        path = f"/api/v1/events/poll?rooms={self.room}"
        cursor, over = self._ask("GET", path).json["cursor"], False

        def more() -> str | None:
            nonlocal cursor, over
            if over:
                return None
            answer = self._ask("GET", f"{path}&wait=20&cursor={cursor}")
            over = answer.status != 200 or '"bye"' in answer.text
            cursor = None if over else answer.json["cursor"]
            return answer.text

        return more

    def _by_bayeux(self) -> Callable[[], str | None]:
        offer = {"version": "1.0", "supportedConnectionTypes": ["long-polling"]}
        proof = {"authentication": {"token": self._token}}
        hello = self._say(channel="/meta/handshake", ext=proof, **offer)
        client, over = hello["clientId"], False
        self._say(channel="/meta/subscribe", clientId=client, subscription=channel(self.room))

        def more() -> str | None:
            nonlocal over
            if over:
                return None
            connected = {"channel": "/meta/connect", "connectionType": "long-polling"}
            answer = self._ask("POST", "/cometd", [{**connected, "clientId": client}])
            over = answer.status != 200 or not answer.json[-1].get("successful", True)
            return answer.text

        return more

    def _say(self, **message: Any) -> dict[str, Any]:
        reply: dict[str, Any] = self._ask("POST", "/cometd", [message]).json[-1]
        assert reply["successful"], reply
        return reply

    def __enter__(self) -> Following:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
