"""Python's `websockets` over TLS, for tests that are no coroutines.

What it is: `TlsWebSocket`, the library's client for asyncio, on a loop in a thread of its own.

What it may know: that library.

Invariant: one thread alone touches the connection. The library's client for threads reads in one
and writes in another, and OpenSSL's objects are not for two at a time: Python locks them from 3.13
on, and before that either of them may meet with an "internal error". So tests take that client for
what is not encrypted, and this one for TLS (`tests.test_layers` holds that).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine
from threading import Thread
from typing import Any, TypeVar

from websockets.asyncio.client import ClientConnection, connect

from tests.support import PATIENCE

Result = TypeVar("Result")


class TlsWebSocket:
    """``with closing(TlsWebSocket("wss://chat.example.org/...", context, 443)) as ws: ...``.

    All the while it reads, and answers pings; it sends none.

    :param context: says whom it trusts.
    :param port: of 127.0.0.1, whatever the URL says.
    """

    def __init__(self, url: str, context: ssl.SSLContext, port: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="WebSocket", daemon=True)
        self._thread.start()
        try:
            self._connection = self._done(opened(url, context, port))
        except BaseException:
            self._end()
            raise

    def send(self, text: str) -> None:
        self._done(self._connection.send(text))

    def recv(self, timeout: float = PATIENCE) -> str:
        """The next message, a text.

        :raises TimeoutError: none came in so many seconds.
        """
        text = self._done(asyncio.wait_for(self._connection.recv(), timeout))
        assert isinstance(text, str)
        return text

    def close(self) -> None:
        self._done(self._connection.close())
        self._end()

    def _done(self, what: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(2 * PATIENCE)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()


async def opened(url: str, context: ssl.SSLContext, port: int) -> ClientConnection:
    return await connect(
        url,
        ssl=context,
        host="127.0.0.1",
        port=port,
        open_timeout=PATIENCE,
        close_timeout=PATIENCE,
        ping_interval=None,
    )
