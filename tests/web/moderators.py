"""People with roles, for tests of what they may.

What it is: logs somebody in and gives them a role, and does what moderators do, by the API.

What it may know: the interface's section 13.

Invariant: a role that is given here is as good as that of an account.
"""

from __future__ import annotations

from typing import Any

from cometd_chat.chat.roles import Role
from tests.chat.parts import appoint, now
from tests.memory import MemorySite
from tests.net import ADDRESS
from tests.wire import Response


def with_role(site: MemorySite, name: str, role: Role, address: str = ADDRESS) -> str:
    """The token of somebody new who has a role."""
    token = site.log_in(name, address=address)
    session = now(site.chat.sessions.by_token(token))
    appoint(site.chat.changes, session, role)
    return token


def moderator(site: MemorySite, name: str = "marta", address: str = ADDRESS) -> str:
    """The token of a new moderator of the house."""
    return with_role(site, name, Role.MODERATOR, address)


def sanction(site: MemorySite, token: str, kind: object, who: object, **fields: Any) -> Response:
    """Somebody sanctions somebody."""
    return site.post("/api/v1/sanctions", {"kind": kind, "who": who, **fields}, token=token)


def sanctioned(site: MemorySite, token: str, kind: str, who: str, **fields: Any) -> dict[str, Any]:
    """The same, where it is done."""
    response = sanction(site, token, kind, who, **fields)
    assert response.status == 201, response.text
    made: dict[str, Any] = response.json()
    return made
