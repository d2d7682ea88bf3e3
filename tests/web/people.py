"""People with accounts, for tests of a site.

What it is: the owner, members, invitations, as they come to be by the API.

What it may know: the API.

Invariant: nobody gets a role by another way than people do.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from cometd_chat.log.owner_link import make_owner_code
from tests.memory import MemorySite
from tests.wire import Response

SESSION = "/api/v1/session"
ACCOUNT = "/api/v1/account"
CLAIM = "/api/v1/claim"
INVITES = "/api/v1/invites"

PASSWORD = "four words of mine"


def owner_code(site: MemorySite, at: float | None = None) -> str:
    """The code of an owner link."""
    now = time.time() if at is None else at
    return site.directory.store.write_now(
        lambda connection: make_owner_code(connection, secrets.token_bytes, now)
    )


def token_of(response: Response, status: int = 201) -> str:
    """The token that an answer gives."""
    assert response.status == status, response.text
    token: str = response.json()["token"]
    return token


def owner(site: MemorySite, name: str = "ada") -> str:
    """The owner's token."""
    asked = {"code": owner_code(site), "name": name, "password": PASSWORD}
    return token_of(site.post(CLAIM, asked))


def invitation(site: MemorySite, by: str, **asked: Any) -> str:
    """The code of an invitation.

    :param by: the token of who makes it.
    """
    response = site.post(INVITES, asked, token=by)
    assert response.status == 201, response.text
    code: str = response.json()["code"]
    return code


def member(site: MemorySite, name: str, invite: str) -> str:
    """The token of somebody who has an account.

    :param invite: the code of an invitation.
    """
    guest = site.log_in(name)
    asked = {"password": PASSWORD, "invite": invite}
    return token_of(site.post(ACCOUNT, asked, token=guest))


def log_in(site: MemorySite, name: str, password: str = PASSWORD, **options: Any) -> Response:
    """Log in by a password."""
    return site.post(SESSION, {"name": name, "password": password}, **options)
