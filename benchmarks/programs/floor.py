"""The floor: what a loop of ``socket.send`` costs, with nothing around it.

What it is: a program: ``floor.py PORT``. A GET is held; a POST to /publish sends its body, as it
is, to every held connection; a POST to another path sends nothing.

What it may know: sockets.

Invariant: a delivery is one call of ``socket.send`` in a for loop.
"""

from __future__ import annotations

import select
import socket
import sys

HELD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
DONE = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"


def send(streams: list[socket.socket], frame: bytes) -> None:
    """All that is measured."""
    for stream in streams:
        stream.send(frame)


def answer(stream: socket.socket, request: bytes, streams: list[socket.socket]) -> None:
    """A whole request: hold it, or publish its body."""
    if request.startswith(b"GET "):
        stream.send(HELD)
        streams.append(stream)
        return
    if request.startswith(b"POST /publish "):
        send(streams, request.partition(b"\r\n\r\n")[2])
    stream.send(DONE)


def main(port: int) -> None:
    """Serve until killed. A request comes in one piece, or this program is no measure."""
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    epoll = select.epoll()
    epoll.register(listener, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    streams: list[socket.socket] = []
    while True:
        for fd, _ in epoll.poll():
            if fd == listener.fileno():
                stream, _ = listener.accept()
                stream.setblocking(False)
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[stream.fileno()] = stream
                epoll.register(stream, select.EPOLLIN)
                continue
            try:
                request = connections[fd].recv(65536)
            except OSError:
                request = b""
            if request:
                answer(connections[fd], request, streams)
                continue
            stream = connections.pop(fd)
            if stream in streams:
                streams.remove(stream)
            stream.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
