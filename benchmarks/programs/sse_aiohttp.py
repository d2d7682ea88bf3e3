"""Server-sent events the usual way of aiohttp: a task and a queue a client.

What it is: a program: ``sse_aiohttp.py PORT``.

What it may know: aiohttp's public interface.

Invariant: it is written as an application of aiohttp is, with no tricks for or against it.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

CLIENTS: web.AppKey[set[asyncio.Queue[bytes]]] = web.AppKey("clients")


async def subscribe(request: web.Request) -> web.StreamResponse:
    """Hold the request and write each message of its queue."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    clients = request.app[CLIENTS]
    clients.add(queue)
    try:
        while True:
            await response.write(await queue.get())
    finally:
        clients.discard(queue)


async def publish(request: web.Request) -> web.Response:
    """The body to every queue."""
    event = b"data: %s\n\n" % await request.read()
    for queue in request.app[CLIENTS]:
        queue.put_nowait(event)
    return web.Response(status=201)


async def nobody(request: web.Request) -> web.Response:
    """The body to no queue."""
    await request.read()
    return web.Response(status=201)


def main(port: int) -> None:
    """Serve until a signal comes."""
    app = web.Application()
    app[CLIENTS] = set()
    app.router.add_get("/subscribe", subscribe)
    app.router.add_post("/publish", publish)
    app.router.add_post("/nobody", nobody)
    web.run_app(
        app, host="127.0.0.1", port=port, backlog=4096, access_log=None, shutdown_timeout=0.1
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
