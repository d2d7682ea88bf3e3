"""Who waits to be let in, where the policy `guests` is `approve`.

What it is: `WaitingList`, who they are, and what lets them in.

What it may know: sessions, changes of what is kept. Not who may let them in.

Invariant: who is let in is so on all nodes by the same record of the log, and stays in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection
from twisted.internet.defer import Deferred

from cometd_chat.chat.audit import note, note_by
from cometd_chat.chat.mandate import Mandate
from cometd_chat.chat.names import new_person
from cometd_chat.chat.rights import Act, Affected, Rights
from cometd_chat.chat.roles import Role
from cometd_chat.chat.sessions import Session, Sessions
from cometd_chat.comet.listeners import Listeners
from cometd_chat.errors import InvalidRequest, NotFound
from cometd_chat.log.changes import Changes, Condition, always
from cometd_chat.log.control import Control, LetIn
from cometd_chat.log.members import end_sessions
from cometd_chat.log.policies import WaitingRow, let_in, waiting_rows, waiting_session
from cometd_chat.lookalikes.keys import NameKeys


class WaitingList:
    """Who waits.

    :param now: milliseconds since 1970-01-01T00:00Z.
    """

    def __init__(
        self, changes: Changes, rights: Rights, sessions: Sessions, now: Callable[[], int]
    ) -> None:
        self._changes = changes
        self._rights = rights
        self._sessions = sessions
        self._now = now
        #: Told of each who comes and has to wait, at this process.
        self.came: Listeners[[Session]] = Listeners("who waits")
        #: Told of each session in use here that was let in.
        self.let: Listeners[[Session]] = Listeners("who was let in")

    def page(self, after: str | None, limit: int) -> Deferred[Sequence[WaitingRow]]:
        """Who waits, those first who have waited for the longest.

        :param after: the name of the last one of the page before; None for the first page.
        """
        return self._changes.read(lambda connection: waiting_rows(connection, after, limit))

    async def admit(self, actor: Session, name: str) -> None:
        """Let somebody in; see `let_in`.

        :param actor: who does.
        :raises ChatError: they may not.
        """
        self._rights.require(actor, Act.LET_IN)
        mandate = Mandate(self._rights, actor, None, self._now).to(Act.LET_IN)
        await self.let_in(name, who=actor.identity, who_name=actor.name, provided=mandate)

    async def turn_away(self, actor: Session, name: str) -> None:
        """End the session of somebody who waits. They may come again, and wait again: whoever is
        not to is banned.

        :param actor: who does.
        :raises NotFound: nobody of that name waits.
        :raises ChatError: they may not.
        """
        self._rights.require(actor, Act.LET_IN)
        name, keys = _parsed(name)

        def change(connection: Connection) -> Sequence[Control]:
            session = waiting_session(connection, name, keys.folded)
            if session is None:
                raise nobody(name)
            note_by(
                connection,
                actor,
                "turn-away",
                at=self._now(),
                whom=name,
            )
            return end_sessions(connection, session)

        mandate = Mandate(self._rights, actor, None, self._now).to(Act.LET_IN)
        await self._changes.make(change, lambda told: told, provided=mandate)

    async def let_in(
        self, name: str, *, who: str, who_name: str, provided: Condition = always
    ) -> None:
        """Let somebody in.

        :param who: the identity that does, for the audit log; and what they are called.
        :param provided: see `Changes.make`.
        :raises NotFound: nobody of that name waits.
        """
        name, keys = _parsed(name)

        def change(connection: Connection) -> str | None:
            session = let_in(connection, name, keys.folded)
            if session is not None:
                at = self._now()
                note(connection, at=at, who=who, who_name=who_name, what="let-in", whom=name)
            return session

        def tell(session: str | None) -> Sequence[Control]:
            return [] if session is None else [LetIn(session)]

        if await self._changes.make(change, tell, provided=provided) is None:
            raise nobody(name)

    def told(self, control: Control) -> None:
        """What the log tells the house; see `Feed.control`."""
        if not isinstance(control, LetIn):
            return
        waited = [
            session
            for session in self._sessions.all_in_use()
            if session.role is Role.WAITING and control.session in ("", session.id)
        ]
        for session in waited:
            session.role = Role.GUEST
        if waited:
            self._rights.changed_by_state(Affected(identities={each.id for each in waited}))
        for session in waited:
            self.let.tell(session)


def _parsed(name: str) -> tuple[str, NameKeys]:
    try:
        return new_person(name)
    except InvalidRequest:
        raise nobody(name) from None


def nobody(name: str) -> NotFound:
    """The refusal for a name of nobody who waits."""
    return NotFound(f"Nobody called {name} waits to be let in.")
