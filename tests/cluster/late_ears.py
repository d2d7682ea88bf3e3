"""A way to PostgreSQL on which bells come late.

What it is: a TCP proxy in threads. What comes back on a connection that listens is held back for a
while, in its order; all other connections are as fast as ever.

What it may know: that who listens says LISTEN.

Invariant: nothing is lost and nothing changed; all ends with the block.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from queue import Queue
from threading import Lock, Thread
from types import TracebackType

import attrs

#: Seconds.
LATE = 0.5


@attrs.define(eq=False)
class LateEars:
    """The proxy: ``with LateEars(host, port) as late: ... late.port ...``.

    :param host, to: where the server is.
    """

    host: str
    to: int
    late: float = LATE
    listening: int = 0
    _port: socket.socket = attrs.field(factory=lambda: socket.create_server(("127.0.0.1", 0)))
    _open: set[socket.socket] = attrs.field(factory=set)
    _lock: Lock = attrs.field(factory=Lock)
    _threads: list[Thread] = attrs.field(factory=list)

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        port: int = self._port.getsockname()[1]
        return port

    def __enter__(self) -> LateEars:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Neither accept() nor recv() ends by a close() of another thread's.
        with suppress(OSError):
            self._port.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._port.close()

    def _start(self, run: object, *arguments: object) -> None:
        assert callable(run)
        self._threads.append(Thread(target=run, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._port.accept()
                try:
                    there = socket.create_connection((self.host, self.to), 10)
                    there.settimeout(None)
                except OSError:
                    here.close()
                    continue
                line = _Line(self, here, there)
                with self._lock:
                    self._open |= {here, there}
                self._start(line.up)
                self._start(line.down)
                self._start(line.on)

    def closed(self, line: _Line) -> None:
        """Both ways of a connection are over."""
        with self._lock:
            self._open -= {line.here, line.there}
        line.here.close()
        line.there.close()


@attrs.define(eq=False)
class _Line:
    """One connection."""

    proxy: LateEars
    here: socket.socket
    there: socket.socket
    listens: bool = False
    ends: int = 0
    waiting: Queue[tuple[float, bytes]] = attrs.field(factory=Queue)

    def up(self) -> None:
        with suppress(OSError):
            while data := self.here.recv(65536):
                if b"LISTEN" in data.upper() and not self.listens:
                    self.listens = True
                    self.proxy.listening += 1
                self.there.sendall(data)
        self._end(self.there)

    def down(self) -> None:
        """Read what comes, and note when each piece may go on."""
        with suppress(OSError):
            while data := self.there.recv(65536):
                late = self.proxy.late if self.listens else 0.0
                self.waiting.put((time.monotonic() + late, data))
        self.waiting.put((0.0, b""))

    def on(self) -> None:
        """Send each piece on, when it may."""
        with suppress(OSError):
            while (piece := self.waiting.get())[1]:
                time.sleep(max(0.0, piece[0] - time.monotonic()))
                self.here.sendall(piece[1])
        self._end(self.here)

    def _end(self, other: socket.socket) -> None:
        with suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)
        self.ends += 1
        if self.ends == 2:
            self.proxy.closed(self)
