"""Follow a room with the library ``websockets``, over any break: ``python follow.py URL CURSOR``.

Prints each event, a line of JSON each.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

from msgspec.json import decode
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

STAY_AWAY = 4000


async def follow(url: str, cursor: str) -> None:
    """Come back until told to stay away."""
    while True:
        with suppress(OSError, InvalidHandshake):
            async with connect(f"{url}&cursor={cursor}") as socket:
                print('{"state": "open"}', flush=True)
                try:
                    async for message in socket:
                        print(message, flush=True)
                        cursor = decode(message).get("cursor", cursor)
                except ConnectionClosed as closed:
                    print(f'{{"state": {closed.rcvd.code if closed.rcvd else 1006}}}', flush=True)
                if socket.close_code == STAY_AWAY:
                    return
        await asyncio.sleep(0.2)


asyncio.run(follow(*sys.argv[1:]))
