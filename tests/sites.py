"""Other sites than the daemon's, in threads of the test's process.

What it is: `Server` is an HTTP server with whatever answers a request, `Site` serves a folder.

What it may know: HTTP. Nothing of the chat.

Invariant: a burst of connections waits to be accepted, and is not refused or tried again a second
later.
"""

from __future__ import annotations

from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, TypeVar

Self = TypeVar("Self", bound="Server")


class _Listening(ThreadingHTTPServer):
    #: Connections that may wait; of Python's five a page with six at a time takes more.
    request_queue_size = 128
    daemon_threads = True


class Server:
    """A server at a port that the system chooses: ``with Server(handler) as server: ...``.

    :param handler: answers requests.
    :param host: the address of this machine that it listens at, and is called by.
    """

    def __init__(self, handler: Any, host: str = "127.0.0.1") -> None:
        self._server = _Listening((host, 0), handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self.url = f"http://{host}:{self._server.server_port}"

    def __enter__(self: Self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Quiet(BaseHTTPRequestHandler):
    """A handler that keeps connections, and says nothing on the terminal."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


class _Files(Quiet, SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()


class Site(Server):
    """It serves a folder, to scripts of every origin.

    It is called by an address of its own, not as ``localhost``, of which there may be two (::1,
    and whoever has this port of that), and not as the daemon's, whose cookies it must not get.
    """

    def __init__(self, folder: Path, host: str = "127.0.0.2") -> None:
        super().__init__(partial(_Files, directory=str(folder)), host)
