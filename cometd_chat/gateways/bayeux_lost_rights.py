"""What becomes of Bayeux clients that may not be here any longer, or not read what they read.

What it is: `LostBayeuxRights`, which looks at all whom a change of the rights may concern: the
clients of who may hold nothing any more end, and of the others what they may not read any longer.

What it may know: the chat, Bayeux clients, and what they read. Not why a right is gone.

Invariant: a right is lost at once, though the end of thousands takes seconds: whoever has not been
looked at yet is looked at before anything is told to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cometd_chat.bayeux.client import BayeuxClient
from cometd_chat.bayeux.server import BayeuxServer
from cometd_chat.chat.chat import Chat
from cometd_chat.chat.lost_rights import Looking
from cometd_chat.chat.rights import Affected
from cometd_chat.events import kinds
from cometd_chat.gateways.bayeux_members import MemberSource
from cometd_chat.gateways.bayeux_policy import ChatPolicy, tell, visitor_of
from cometd_chat.gateways.bayeux_rooms import RoomSource


class LostBayeuxRights:
    """Ends what Bayeux clients do by rights that are gone."""

    def __init__(
        self,
        chat: Chat,
        server: BayeuxServer,
        policy: ChatPolicy,
        rooms: RoomSource,
        members: MemberSource,
    ) -> None:
        self._server = server
        self._policy = policy
        self._rooms = rooms
        self._members = members
        self._rights = chat.rights
        self._looking = Looking(chat.feed.engine.slices, self._steps, self._ask)
        chat.rights.changed.add(self._changed)

    def _changed(self, affected: Affected) -> None:
        """The rights have changed."""
        if affected.identities is None:
            self._looking.look(affected)
        else:
            # What it costs is what these few hold.
            for identity in affected.identities:
                for client in self._policy.clients_of(identity):
                    self._look_at(client)

    def _ask(self, asks: bool) -> None:
        self._server.ask_before_telling(self._still_hears if asks else None)

    def _steps(self, affected: Affected) -> Iterator[None]:
        comes_from = affected.comes_from
        for client in self._readers_of(affected):
            if comes_from is None or comes_from(visitor_of(client).address):
                self._look_at(client)
            yield

    def _readers_of(self, affected: Affected) -> Iterable[BayeuxClient]:
        """Whom a change may concern. Of who reads by a wildcard nothing ends with a room: what they
        may not read is left out when they are told."""
        if affected.rooms is None:
            return self._policy.clients
        found: dict[BayeuxClient, None] = {}
        for name in affected.rooms:
            found.update(dict.fromkeys(self._rooms.readers_of(name)))
            found.update(dict.fromkeys(self._members.readers_of(name)))
        return found

    def _still_hears(self, client: BayeuxClient) -> bool:
        self._look_at(client)
        return not client.ended

    def _look_at(self, client: BayeuxClient) -> None:
        # Who is there when the daemon stops is told where to go on.
        if client.ended or self._rights.stopping:
            return
        if self._policy.end_if_refused(client):
            return
        lost = self._rooms.end_what_is_not_allowed(client)
        lost.update(self._members.end_what_is_not_allowed(client))
        for name, why in lost.items():
            tell(client, kinds.bye(why, name))
