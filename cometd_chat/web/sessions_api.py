"""The API of one's own devices: which there are, and ending one.

What it is: from what a program sends to what the chat does, and how it is told.

What it may know: the chat. Not pages.

Invariant: nobody learns of a session that is not theirs.
"""

from __future__ import annotations

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.rights import Act
from cometd_chat.chat.sessions import Device
from cometd_chat.events.kinds import timestamp
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web import answers, parameters
from cometd_chat.web.answers import shielded
from cometd_chat.web.auth import Auth

MAX_PAGE = 200


class SessionsApi:
    """Responds to programs."""

    def __init__(self, chat: Chat, auth: Auth) -> None:
        self._chat = chat
        self._auth = auth

    async def list_sessions(self, request: HttpRequest) -> bytes:
        session = await self._auth.allowed(request, Act.OWN_ACCOUNT)
        asked = parameters.query(request)
        limit = asked.number("limit", MAX_PAGE, 1, MAX_PAGE) or MAX_PAGE
        devices = await self._chat.devices(session)
        after = asked.optional("after")
        begins = next((at + 1 for at, each in enumerate(devices) if each.id == after), 0)
        page = devices[begins : begins + limit]
        told = [_told(each) for each in page]
        more = len(devices) > begins + limit
        return answers.json(request, {"sessions": told, "more": more})

    @shielded
    async def end_one(self, request: HttpRequest, id: str) -> bytes:
        session = await self._auth.allowed(request, Act.OWN_ACCOUNT, changes=True)
        await self._chat.end_device(session, id)
        if id == session.id:
            self._auth.clear_cookie(request)
        return answers.nothing(request)


def _told(device: Device) -> dict[str, object]:
    return {
        "id": device.id,
        "began": timestamp(device.began),
        "seen": timestamp(device.seen),
        "agent": device.agent,
        "current": device.current,
    }
