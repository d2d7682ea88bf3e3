"""The API of those who keep it civil: sanctions, and who did what.

What it is: from what a program sends to what moderators do, and how it is told.

What it may know: the chat and what moderates it. Not pages.

Invariant: whoever may not is refused before a name is looked up: nobody learns by a refusal who is
here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cometd_chat.chat.audit import Audit
from cometd_chat.chat.chat import Chat
from cometd_chat.chat.guest_bans import MINUTES
from cometd_chat.chat.moderation import Reach
from cometd_chat.chat.people_lookup import Lookup
from cometd_chat.chat.rights import Act
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sanctions import (
    BAN_NETWORK,
    Sanction,
    SanctionKind,
    kind_named,
    minutes_of,
    reason_of,
)
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import NotFound
from cometd_chat.events.kinds import timestamp
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web import answers, parameters
from cometd_chat.web.answers import shielded
from cometd_chat.web.auth import Auth
from cometd_chat.web.peers import Peers

MAX_PAGE = 200


class ModerationApi:
    """Responds to programs of moderators."""

    def __init__(self, chat: Chat, auth: Auth, peers: Peers, lookup: Lookup, audit: Audit) -> None:
        self._chat = chat
        self._auth = auth
        self._peers = peers
        self._lookup = lookup
        self._audit = audit

    # -- sanctions

    @shielded
    async def impose(self, request: HttpRequest) -> bytes:
        actor = await self._actor(request)
        fields = parameters.json_object(request)
        name = parameters.string(fields, "room", "")
        room = await self._chat.room(name, actor) if name else None
        self._require(request, actor, Act.SANCTION, room)
        kind = kind_named(fields.get("kind"))
        reach = Reach(minutes_of(kind, fields.get("minutes")), reason_of(fields.get("reason")))
        if fields.get("guests_of") is not None:
            return await self._ban_guests(request, actor, fields, kind, room, reach)
        whom = await self._lookup.by_name(parameters.string(fields, "who"))
        sanction = await self._chat.moderation.impose(
            actor, kind, whom, room, reach, address=self._peers.address(request)
        )
        return answers.created(request, _told(sanction), f"/api/v1/sanctions/{sanction.id}")

    async def _ban_guests(
        self,
        request: HttpRequest,
        actor: Session,
        fields: dict[str, Any],
        kind: SanctionKind,
        room: Room | None,
        reach: Reach,
    ) -> bytes:
        """Ban the networks of all guests who spoke in a room lately."""
        if kind is not BAN_NETWORK or fields.get("who") is not None:
            raise parameters.refused("guests_of", "it is for ban-network alone, and without who")
        spoke_in = await self._chat.room(parameters.string(fields, "guests_of"), actor)
        within = minutes_of(BAN_NETWORK, fields.get("within", MINUTES)) or MINUTES
        imposed = await self._chat.guest_bans.ban(
            actor, spoke_in, within, room, reach, address=self._peers.address(request)
        )
        told = {"sanctions": [_told(each) for each in imposed]}
        return answers.created(request, told, "/api/v1/sanctions")

    async def list_sanctions(self, request: HttpRequest) -> bytes:
        actor = await self._auth.speaker(request)
        asked = parameters.query(request)
        room = await self._room(asked.text("room"), actor)
        self._require(request, actor, Act.SEE_SANCTIONS, room)
        listed = self._chat.moderation.listed(actor, None if room is None else room.name)
        limit = asked.number("limit", MAX_PAGE, 1, MAX_PAGE) or MAX_PAGE
        page, more = _page(listed, asked.optional("after"), limit)
        told = [_told(each) for each in page]
        return answers.json(request, {"sanctions": told, "more": more})

    @shielded
    async def lift(self, request: HttpRequest, id: str) -> bytes:
        actor = await self._actor(request)
        await self._chat.moderation.lift(actor, id)
        return answers.nothing(request)

    @shielded
    async def forget_networks(self, request: HttpRequest) -> bytes:
        actor = await self._actor(request)
        lifted = await self._chat.moderation.forget_networks(actor)
        return answers.json(request, {"lifted": lifted})

    # -- what waits for a moderator

    async def list_screened(self, request: HttpRequest) -> bytes:
        actor = await self._auth.speaker(request)
        asked = parameters.query(request)
        room = await self._room(asked.text("room"), actor)
        self._require(request, actor, Act.DELETE_OTHERS, room)
        limit = asked.number("limit", MAX_PAGE, 1, MAX_PAGE) or MAX_PAGE
        rooms = None if room is None else [room.name]
        found = await self._chat.messages.screened.listed(actor, rooms, limit + 1)
        told = [each.json for each in found[:limit]]
        return answers.json(request, {"held": told, "more": len(found) > limit})

    @shielded
    async def decide(self, request: HttpRequest, id: str) -> bytes:
        actor = await self._actor(request)
        say = parameters.json_object(request).get("say")
        if not isinstance(say, bool):
            raise parameters.refused("say", "true or false is needed")
        await self._chat.messages.screened.decide(actor, id, say=say)
        return answers.nothing(request)

    # -- who did what

    async def list_audit(self, request: HttpRequest) -> bytes:
        actor = await self._auth.speaker(request)
        asked = parameters.query(request)
        room = await self._room(asked.text("room"), actor)
        self._require(request, actor, Act.SEE_AUDIT, room)
        limit = asked.number("limit", MAX_PAGE, 1, MAX_PAGE) or MAX_PAGE
        after = asked.number("after", None, 0, 2**62)
        name = None if room is None else room.name
        found = await self._audit.page(actor.identity, after, limit + 1, name)
        told = [each.json for each in found[:limit]]
        return answers.json(request, {"audit": told, "more": len(found) > limit})

    # -- whom somebody ignores

    async def list_ignored(self, request: HttpRequest) -> bytes:
        session = await self._auth.speaker(request)
        self._require(request, session, Act.IGNORE, None)
        names = await self._chat.ignored.names(session)
        return answers.json(request, {"ignored": [{"name": name} for name in names]})

    @shielded
    async def ignore(self, request: HttpRequest, name: str) -> bytes:
        session = await self._actor(request)
        self._require(request, session, Act.IGNORE, None)
        whom = await self._lookup.by_name(name)
        await self._chat.ignored.ignore(session, whom.identity, whom.name)
        return answers.nothing(request)

    @shielded
    async def unignore(self, request: HttpRequest, name: str) -> bytes:
        session = await self._actor(request)
        self._require(request, session, Act.IGNORE, None)
        await self._unignore(session, name)
        return answers.nothing(request)

    async def _unignore(self, session: Session, name: str) -> None:
        """Somebody is heard again who is called so now, or was when they were ignored first."""
        try:
            whom = await self._lookup.by_name(name)
        except NotFound:
            whom = None
        if whom is not None and whom.identity in self._chat.ignored.by(session):
            await self._chat.ignored.unignore(session, whom.identity, name)
        else:
            await self._chat.ignored.unignore(session, None, name)

    # -- what several do

    async def _actor(self, request: HttpRequest) -> Session:
        """The session of a request that does something, which was meant."""
        session = await self._auth.speaker(request)
        self._auth.check_csrf(request, session)
        return session

    async def _room(self, name: str, asker: Session) -> Room | None:
        return await self._chat.room(name, asker) if name else None

    def _require(self, request: HttpRequest, actor: Session, act: Act, room: Room | None) -> None:
        rooms = [] if room is None else [room]
        self._chat.rights.require(actor, act, rooms, self._peers.address(request))


def _told(sanction: Sanction) -> dict[str, Any]:
    until = None if sanction.until is None else timestamp(sanction.until)
    return {
        "id": sanction.id,
        "kind": sanction.kind.value,
        "who": sanction.who,
        "room": sanction.room,
        "until": until,
        "by": sanction.by_name,
        "reason": sanction.reason,
        "at": timestamp(sanction.at),
    }


def _page(
    listed: Sequence[Sanction], after: str | None, limit: int
) -> tuple[Sequence[Sanction], bool]:
    """Some of them, and whether there are more; where the last one of the page before is gone, the
    first ones again."""
    begin = 0
    if after is not None:
        begin = next((n for n, each in enumerate(listed, 1) if each.id == after), 0)
    return listed[begin : begin + limit], len(listed) > begin + limit
