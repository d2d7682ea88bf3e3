"""The API of accounts: claim, account, log-in links, invitations, users.

What it is: from what a program sends to what `Accounts` and `Invites` do, and how it is told;
`docs/protocol.md` is the contract.

What it may know: the chat, accounts. Not pages, not what is held.

Invariant: as in `api.py`: what changes something was meant, and goes on when its client leaves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from cometd_chat.chat.accounts import Accounts
from cometd_chat.chat.chat import Chat
from cometd_chat.chat.export import Export
from cometd_chat.chat.invites import DAYS, USES, InviteRequest, Invites, invite_code
from cometd_chat.chat.limits import EXPORTS
from cometd_chat.chat.rights import Act
from cometd_chat.chat.roles import Role
from cometd_chat.chat.users import User, Users
from cometd_chat.events.kinds import timestamp
from cometd_chat.log.invites import InviteRow
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web import answers, parameters
from cometd_chat.web.agents import agent_of
from cometd_chat.web.answers import shielded
from cometd_chat.web.auth import Auth
from cometd_chat.web.parameters import refused
from cometd_chat.web.peers import Peers
from cometd_chat.web.submissions import Submissions

MAX_PAGE = 200
PAGE = 50


class AccountsApi:
    """Responds to programs."""

    def __init__(
        self,
        chat: Chat,
        accounts: Accounts,
        users: Users,
        invites: Invites,
        auth: Auth,
        peers: Peers,
        submissions: Submissions,
    ) -> None:
        self._chat = chat
        self._accounts = accounts
        self._users = users
        self._invites = invites
        self._auth = auth
        self._peers = peers
        self._submissions = submissions

    # -- becoming somebody

    @shielded
    async def claim(self, request: HttpRequest) -> bytes:
        before = await self._auth.visitor(request)
        self._auth.check_csrf(request, before)
        fields = parameters.json_object(request)
        session, token = await self._accounts.claim(
            parameters.string(fields, "code"),
            parameters.string(fields, "name"),
            parameters.string(fields, "password"),
            before,
            address=self._peers.address(request),
            agent=agent_of(request),
        )
        await self._submissions.became(request, before, session, token)
        return answers.created(request, told(session.name, session.role, token), "/api/v1/session")

    @shielded
    async def make_account(self, request: HttpRequest) -> bytes:
        session = await self._submissions.actor(request)
        fields = parameters.json_object(request)
        invite = parameters.string(fields, "invite", "")
        token = await self._accounts.become_member(
            session,
            parameters.string(fields, "password"),
            invite_code(invite) or None,
            address=self._peers.address(request),
        )
        self._auth.renew(request, token)
        return answers.created(request, told(session.name, session.role, token), "/api/v1/session")

    # -- one's own account

    @shielded
    async def change_password(self, request: HttpRequest) -> bytes:
        session = await self._submissions.actor(request)
        fields = parameters.json_object(request)
        token = await self._accounts.change_password(
            session,
            parameters.string(fields, "password"),
            parameters.string(fields, "new_password"),
            address=self._peers.address(request),
        )
        self._auth.renew(request, token)
        return answers.json(request, told(session.name, session.role, token))

    @shielded
    async def delete_account(self, request: HttpRequest) -> bytes:
        session = await self._submissions.actor(request)
        fields = parameters.json_object(request)
        await self._accounts.delete(
            session,
            parameters.string(fields, "password", ""),
            messages=messages_choice(parameters.string(fields, "messages")),
            address=self._peers.address(request),
        )
        self._auth.clear_cookie(request)
        return answers.nothing(request)

    @shielded
    async def make_link(self, request: HttpRequest) -> bytes:
        session = await self._submissions.actor(request)
        code, until = await self._accounts.make_link(session)
        url = f"{self._peers.base_url(request)}/link/{code}"
        return answers.created(request, {"url": url, "until": timestamp(until)}, f"/link/{code}")

    async def export(self, request: HttpRequest) -> AsyncIterator[bytes]:
        """All that is somebody's, in pages; how it is sent, the caller says."""
        session = await self._auth.speaker(request)
        self._chat.rights.require(session, Act.OWN_ACCOUNT)
        self._chat.spend(EXPORTS, session, self._peers.address(request))
        request.setHeader("content-disposition", 'attachment; filename="comet-chat.ndjson"')
        return Export(self._chat, session).pages()

    # -- invitations

    @shielded
    async def invite(self, request: HttpRequest) -> bytes:
        session = await self._submissions.actor(request)
        fields = parameters.json_object(request)
        name = parameters.string(fields, "room", "") if fields.get("room") is not None else ""
        asked = InviteRequest(
            room=await self._chat.room(name, session) if name else None,
            uses=_count(fields, "uses", USES),
            days=_count(fields, "days", DAYS),
            role=role_of(parameters.string(fields, "role", Role.MEMBER.word)),
        )
        row = await self._invites.make(session, asked)
        made = {**invite_json(row), "url": f"{self._peers.base_url(request)}/invite/{row.code}"}
        return answers.created(request, made, f"/invite/{row.code}")

    async def list_invites(self, request: HttpRequest) -> bytes:
        session = await self._auth.speaker(request)
        asked = parameters.query(request)
        limit = asked.number("limit", PAGE, 1, MAX_PAGE) or PAGE
        rows, more = await self._invites.page(session, asked.optional("after"), limit)
        return answers.json(
            request, {"invites": [invite_json(each) for each in rows], "more": more}
        )

    @shielded
    async def revoke_invite(self, request: HttpRequest, code: str) -> bytes:
        session = await self._submissions.actor(request)
        await self._invites.revoke(session, code)
        return answers.nothing(request)

    # -- users

    async def list_users(self, request: HttpRequest) -> bytes:
        session = await self._auth.speaker(request)
        asked = parameters.query(request)
        limit = asked.number("limit", PAGE, 1, MAX_PAGE) or PAGE
        users, more = await self._users.page(session, asked.optional("after"), limit)
        return answers.json(request, {"users": [user_json(each) for each in users], "more": more})

    @shielded
    async def change_user(self, request: HttpRequest, name: str) -> bytes:
        session = await self._submissions.actor(request)
        self._chat.rights.require(session, Act.SET_ROLE)
        fields = parameters.json_object(request)
        role = role_of(parameters.string(fields, "role"))
        user = await self._users.set_role(session, name, role)
        return answers.json(request, user_json(user))

    @shielded
    async def remove_user(self, request: HttpRequest, name: str) -> bytes:
        session = await self._submissions.actor(request)
        await self._users.remove(session, name)
        return answers.nothing(request)


def told(name: str, role: Role, token: str) -> dict[str, Any]:
    """What whoever logs in is told."""
    return {"name": name, "role": role.word, "token": token}


def invite_json(row: InviteRow) -> dict[str, Any]:
    """An invitation on the wire."""
    return {
        "code": row.code,
        "room": row.room,
        "role": row.role,
        "uses": row.uses,
        "left": row.left,
        "until": None if row.until is None else timestamp(row.until),
        "by": row.by_name,
    }


def user_json(user: User) -> dict[str, Any]:
    """An account on the wire."""
    return {"name": user.name, "role": user.role.word, "seen": timestamp(user.seen_at)}


def role_of(word: str, field: str = "role") -> Role:
    """The role that somebody named.

    :raises InvalidRequest: there is none.
    """
    role = Role.of(word)
    if role is None:
        raise refused(field, f"there is no role {word!r}; one of member, moderator, admin, owner")
    return role


def messages_choice(word: str) -> bool:
    """Whether what somebody said is deleted with the account.

    :raises InvalidRequest: it is neither.
    """
    if word not in ("keep", "delete"):
        raise refused("messages", 'give "keep" or "delete"')
    return word == "delete"


def _count(fields: Mapping[str, Any], name: str, default: int) -> int | None:
    """A whole number in a JSON object; null where there is none."""
    value = fields.get(name, default)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise refused(name, "a whole number is needed, or null for any")
    return value
