"""A TCP proxy that loses what the daemon sends, and cuts.

What it is: `CuttingProxy` listens on a port of its own in front of a daemon, in threads.

What it may know: bytes. Nothing of what they mean.

Invariant: until it is told otherwise, every byte goes through unchanged.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from threading import Event, Lock, Thread
from types import TracebackType

#: Closes with a reset, as a network does that has forgotten a connection.
_RESET = struct.pack("ii", 1, 0)


class CuttingProxy:
    """``with CuttingProxy(daemon.port) as proxy: ... proxy.port ... proxy.cut()``"""

    def __init__(self, port: int) -> None:
        self._daemon = ("127.0.0.1", port)
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listening.getsockname()[1]
        self._lock = Lock()
        self._open: set[socket.socket] = set()
        self._losing = False
        self._lost = Event()
        self._thread = Thread(target=self._accept, daemon=True)

    def lose(self) -> None:
        """From now to the next cut, what the daemon sends is lost."""
        self._lost.clear()
        self._losing = True

    def wait_until_lost(self, seconds: float) -> None:
        """Wait until something has been lost."""
        assert self._lost.wait(seconds), "the daemon sent nothing"

    def cut(self) -> None:
        """Reset all connections; new ones are passed on again."""
        with self._lock:
            those, self._open = self._open, set()
            self._losing = False
        for each in those:
            with suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                # Wakes the thread that reads it, too; a close alone would not.
                each.shutdown(socket.SHUT_RD)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        try:
            daemon = socket.create_connection(self._daemon)
        except OSError:
            client.close()
            return
        with self._lock:
            self._open |= {client, daemon}
        Thread(target=self._pass, args=(client, daemon, False), daemon=True).start()
        self._pass(daemon, client, True)

    def _pass(self, here: socket.socket, there: socket.socket, may_lose: bool) -> None:
        with suppress(OSError):
            while data := here.recv(65536):
                if may_lose and self._losing:
                    self._lost.set()
                else:
                    there.sendall(data)
        with suppress(OSError):
            there.shutdown(socket.SHUT_WR)

    def __enter__(self) -> CuttingProxy:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()
        self.cut()
