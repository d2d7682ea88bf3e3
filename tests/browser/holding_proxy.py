"""A proxy that does not stream: it collects what a response sends and passes it on when it is over.

What it is: `HoldingProxy` listens on a port of its own in front of a daemon, in threads.

What it may know: bytes of HTTP, as far as it takes to tell one request from the next.

Invariant: while it holds, not a byte of a body passes that has not ended, as in a proxy that
buffers whole responses; complete answers pass at once.
"""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler

from tests.sites import Quiet, Server
from tests.support import Daemon

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "content-length"}


class HoldingProxy(Server):
    """``with HoldingProxy(daemon) as proxy: ... proxy.url ...``"""

    def __init__(self, daemon: Daemon) -> None:
        proxy = self

        class Handler(Quiet):
            def do_GET(self) -> None:
                proxy.pass_on(self)

            do_POST = do_GET

        super().__init__(Handler)
        self._daemon = daemon
        #: Whether it collects.
        self.holding = True

    def pass_on(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer a request with the daemon's answer."""
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        headers = {
            name: value
            for name, value in handler.headers.items()
            if name.lower() not in _HOP_BY_HOP
        }
        # A proxy of this kind knows no WebSockets: without its Upgrade the daemon refuses one.
        connection = HTTPConnection("127.0.0.1", self._daemon.port)
        try:
            connection.request(handler.command, handler.path, body, headers)
            response = connection.getresponse()
            handler.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in _HOP_BY_HOP:
                    handler.send_header(name, value)
            handler.send_header("Connection", "close")
            handler.end_headers()
            handler.wfile.flush()
            collected = b""
            while data := response.read1(65536):
                collected += data
                if not self.holding:
                    handler.wfile.write(collected)
                    collected = b""
            handler.wfile.write(collected)
        except (OSError, HTTPException):
            # One of the two has gone; so does the other.
            pass
        finally:
            connection.close()
            handler.close_connection = True
