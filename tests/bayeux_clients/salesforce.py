"""Visitors of a room with ``aiosfstream-ng``, the client library of Salesforce's streaming.

One after the other, each in a loop of its own, is told what to do by a line of JSON on stdin, and
prints JSON, a line each: what it got when it subscribed, then each text that it hears, then its
replay markers. An empty line is the end of a visit.
"""

from __future__ import annotations

import asyncio
import json
import sys
from http import HTTPStatus
from typing import Any

from aiosfstream_ng.auth import AuthenticatorBase
from aiosfstream_ng.client import Client
from aiosfstream_ng.exceptions import ServerError
from aiosfstream_ng.replay import ReplayMarker, ReplayOption


class Token(AuthenticatorBase):
    """Logs in with a token of the chat's, in place of Salesforce's."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__()
        self._url = url
        self._token = token

    async def _authenticate(self) -> tuple[int, dict[str, Any]]:
        answer = {"id": "", "signature": "", "issued_at": "", "instance_url": self._url}
        return HTTPStatus.OK, {**answer, "access_token": self._token, "token_type": "Bearer"}


def tell(what: object) -> None:
    print(json.dumps(what), flush=True)


async def visit(
    url: str,
    token: str,
    channel: str,
    count: int,
    replay: int | None,
    fallback: int | None,
    markers: dict[str, list[Any]],
) -> None:
    """Hear so many messages.

    :param replay: one of the library's options; None for the markers.
    """
    known = {each: ReplayMarker(*marker) for each, marker in markers.items()}
    client = Client(
        Token(url, token),
        replay=known if replay is None else ReplayOption(replay),
        replay_fallback=None if fallback is None else ReplayOption(fallback),
        connection_timeout=0,
    )
    async with client:
        try:
            await client.subscribe(channel)
        except ServerError as error:
            tell({"error": error.error})
            return
        tell({"subscribed": True})
        for _ in range(count):
            tell((await client.receive())["data"]["text"])
    tell(known)


if __name__ == "__main__":
    for line in sys.stdin:
        asyncio.run(visit(**json.loads(line)))
        print(flush=True)
