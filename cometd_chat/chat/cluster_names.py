"""Whose a name is, of those that a node has and no row: of sessions that last as long as a request,
or as long as they hold something.

What it is: `ClusterNames`, the `Names` of one of many nodes. A claim is a row that goes with the
node's lease; all other names are in the rows of their sessions, and the directory lets nobody have
one that is claimed.

What it may know: the shared directory, this node's number. Not what can be a name.

Invariant: what was given up here is given up in the directory too, however often that has to be
tried; and what is had here is claimed by the number that this node has.
"""

from __future__ import annotations

from collections.abc import Collection

from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.chat.sessions import Session
from cometd_chat.comet.listeners import Listeners
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import NameTaken, StorageUnavailable
from cometd_chat.log.nodes import Nodes
from cometd_chat.log.shared_directory import Claim, NodeIsGone, SharedDirectory

#: Seconds after which it is tried again to give up what could not be.
RETRY = 5.0


class ClusterNames:
    """The `Names` of one of many nodes. An item of the reaper while there is something to retry.

    :param directory: where claims are kept.
    :param nodes: says which node this is.
    """

    _log = Logger()

    def __init__(self, directory: SharedDirectory, nodes: Nodes, reaper: Reaper) -> None:
        self._directory = directory
        self._nodes = nodes
        self._reaper = reaper
        self._keys: dict[Session, frozenset[str]] = {}
        self._browsers: dict[Session, bytes] = {}
        # What is to be given up: by whom, by which node, what.
        self._owed: list[tuple[str, Claim]] = []
        #: Told of a session whose name somebody else has, since this node's lease was over.
        self.lost: Listeners[[Session]] = Listeners("lost names")
        self.due_bucket = 0
        nodes.renumbered.add(self._renumbered)

    def __len__(self) -> int:
        """How many sessions have names here."""
        return len(self._keys)

    async def claim(self, session: Session, keys: Collection[str]) -> Collection[str]:
        """See `Names.claim`."""
        new = [key for key in dict.fromkeys(keys) if key not in self.of(session)]
        if new:
            claim = self.to_claim(session, new)
            try:
                await self._directory.claim(session.id, claim)
            except (NameTaken, NodeIsGone) as error:
                raise refused(error) from None
            except BaseException:
                # It may have come through, or may yet.
                self.give_up(session.id, claim)
                raise
            self.note(session, self.of(session).union(new))
        return new

    def to_claim(self, session: Session, keys: Collection[str]) -> Claim:
        """What is claimed by this node for a session."""
        return Claim(self._nodes.number, tuple(keys), self._browsers.get(session))

    def is_guest_of(self, session: Session, browser: bytes | None) -> None:
        """A session is a browser's guest, or is no longer in use here."""
        if browser is not None:
            self._browsers[session] = browser
        else:
            self._browsers.pop(session, None)

    def of(self, session: Session) -> frozenset[str]:
        """The keys that are claimed for a session."""
        return self._keys.get(session, frozenset())

    def note(self, session: Session, keys: Collection[str]) -> None:
        """The directory has these claims for a session, and no others."""
        if keys:
            self._keys[session] = frozenset(keys)
        else:
            self._keys.pop(session, None)

    def release(self, session: Session, keys: Collection[str]) -> None:
        """See `Names.release`."""
        mine = self.of(session)
        gone = mine.intersection(keys)
        if gone:
            self.note(session, mine - gone)
            self.give_up(session.id, self.to_claim(session, gone))

    def give_up(self, id: str, claim: Claim) -> None:
        """Give up what the directory may have for a session."""
        releasing = self._directory.release(id, claim)
        releasing.addErrback(self._not_given_up, id, claim)

    def _not_given_up(self, failure: Failure, id: str, claim: Claim) -> None:
        if not failure.check(StorageUnavailable):
            self._log.failure("a claim stays", failure)
            return
        self._owed.append((id, claim))
        self._reaper.schedule(self, RETRY)

    def on_due(self, now: float) -> float | None:
        """Try again what could not be given up; see `Reaper.schedule`."""
        owed, self._owed = self._owed, []
        for id, claim in owed:
            self.give_up(id, claim)
        return RETRY if self._owed else None

    def _renumbered(self, old: int) -> None:
        """What was claimed by the number that this node had is nobody's."""
        for session, keys in list(self._keys.items()):
            claiming = self._directory.claim(session.id, self.to_claim(session, keys))
            claiming.addErrback(self._not_claimed, session, keys)

    def _not_claimed(self, failure: Failure, session: Session, keys: Collection[str]) -> None:
        if failure.check(NodeIsGone):
            return  # It is tried by the next number.
        if not failure.check(NameTaken):
            self._log.failure("a name may be taken by others", failure)
            return
        if self.of(session) == keys:
            self.note(session, ())
            self.lost.tell(session)


def refused(error: NameTaken | NodeIsGone) -> NameTaken | StorageUnavailable:
    """The refusal of a name."""
    if isinstance(error, NodeIsGone):
        return StorageUnavailable(
            "This daemon was out of reach for a while. Try again in a moment.", retry_after=1
        )
    return NameTaken("Somebody here has that name, or one that looks like it: choose another one.")
