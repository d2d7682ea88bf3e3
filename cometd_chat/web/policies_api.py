"""The API of the house: policies, and who waits to be let in.

What it is: from what a program sends to what is changed.

What it may know: the chat. Not pages.

Invariant: see `api.py`.
"""

from __future__ import annotations

from typing import Any

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.rights import Act
from cometd_chat.events.kinds import timestamp
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web import answers, parameters
from cometd_chat.web.answers import shielded
from cometd_chat.web.auth import Auth
from cometd_chat.web.parameters import refused
from cometd_chat.web.peers import Peers

MAX_PAGE = 200


class PoliciesApi:
    """Responds to programs of admins and moderators."""

    def __init__(self, chat: Chat, auth: Auth, peers: Peers) -> None:
        self._chat = chat
        self._auth = auth
        self._peers = peers

    async def show_policies(self, request: HttpRequest) -> bytes:
        await self._auth.allowed(request, Act.CALM)
        return answers.json(request, self._policies())

    @shielded
    async def change_policies(self, request: HttpRequest) -> bytes:
        # Which right it takes is said by what is to be changed.
        actor = await self._auth.allowed(request, Act.OWN_ACCOUNT, changes=True)
        await self._chat.policies.change(actor, parameters.json_object(request))
        return answers.json(request, self._policies())

    async def list_waiting(self, request: HttpRequest) -> bytes:
        await self._auth.allowed(request, Act.LET_IN)
        asked = parameters.query(request)
        limit = asked.number("limit", MAX_PAGE, 1, MAX_PAGE) or MAX_PAGE
        rows = await self._chat.waiting.page(asked.optional("after"), limit + 1)
        waiting = [{"name": row.name, "since": timestamp(row.since)} for row in rows[:limit]]
        return answers.json(request, {"waiting": waiting, "more": len(rows) > limit})

    @shielded
    async def let_in(self, request: HttpRequest, name: str) -> bytes:
        actor = await self._auth.allowed(request, Act.LET_IN, changes=True)
        asked = parameters.json_object(request).get("let_in")
        if not isinstance(asked, bool):
            raise refused("let_in", "true is needed to let them in, or false to turn them away")
        if asked:
            await self._chat.waiting.admit(actor, name)
        else:
            await self._chat.waiting.turn_away(actor, name)
        return answers.nothing(request)

    def _policies(self) -> dict[str, Any]:
        policies = self._chat.policies
        pinned = {name: pin.option for name, pin in policies.pins.items()}
        return {**policies.values, "pinned": pinned}
