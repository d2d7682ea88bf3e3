"""What is kept beside the log by many nodes together.

What it is: `SharedDirectory`, which is a `Directory` whose changes all nodes are told of, and which
knows the names of sessions that are kept nowhere else; and `MemorySharedDirectory`, the one of
several nodes in one process.

What it may know: rows, numbers of nodes, control records. Not what a name or a token means.

Invariant: a key of a name is one session's, whether a row has it or a claim; and a change that
others must not miss is made and told, or neither.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred

from cometd_chat.log.control import SessionRenamed
from cometd_chat.log.directory import Directory, SessionRow

#: How much of a token's hash the control record of a new one tells, in bytes: as much as nodes know
#: sessions by.
KNOWN_BY = 15

#: At most so many names are freed, and so many sessions ended, by one change: each is told.
MOST_SWEPT = 500


@attrs.frozen
class Claim:
    """A name that a node has for a session, and that no row has.

    :param node: its number: the claim is over when the node is gone.
    :param keys: by which the name is compared.
    :param browser: what the browser hashes to whose guest the session is; None for any other.
    """

    node: int
    keys: tuple[str, ...]
    browser: bytes | None = None


class SharedDirectory(Directory, Protocol):
    """A directory that many nodes have.

    What every one keeps, beside what each `Directory` does:

    * `add_room`, `remove_silent_room`, `rename_session`, `free_name`, `end_session` and
      `drop_expired` append control records in the transaction of the change, where they change
      anything.
    * A key that a claim has, no other session is given, and the other way round.
    * When a session was seen is noted by the clock of the database.
    """

    def add_session(self, row: SessionRow, claim: Claim | None = None) -> Deferred[None]:
        """See `Directory.add_session`. It counts as seen now.

        :param claim: of its name, which its row has not.
        """

    def clock(self) -> float:
        """Seconds since 1970 by the clock of the database, which is that of all nodes. Blocks: for
        the start."""

    def session_by_id(self, id: str) -> Deferred[SessionRow | None]:
        """The session of an id."""

    def rename_session(
        self,
        id: str,
        name: str,
        name_key: str | None,
        name_looks: str | None,
        token_hash: bytes | None = None,
        claim: Claim | None = None,
    ) -> Deferred[None]:
        """See `Directory.rename_session`. It counts as seen now.

        :param claim: of the new name, which its row has not; it takes the place of those of this
            node that it had.
        """

    def claim(self, session: str, claim: Claim) -> Deferred[None]:
        """Claim keys, for a session that may have no row.

        :raises NameTaken: another session has one of them; then none was claimed.
        :raises NodeIsGone: so is the node.
        """

    def guest(self, keys: Collection[str], browser: bytes) -> Deferred[SessionRow | None]:
        """The session that a browser's guest has, by any of the keys of its name."""

    def release(self, session: str, claim: Claim) -> Deferred[None]:
        """Give up keys, as far as they are this session's and this node's. Tells `NameFreed` if
        there is a row of the session that has no name either."""

    def see(self, ids: Collection[str]) -> Deferred[None]:
        """Note that sessions are in use now."""

    def see_all(self) -> Deferred[None]:
        """The same of all that have names."""

    def free_unseen(self, seconds: float) -> Deferred[int]:
        """Free the names of sessions that were not seen for so long, at most `MOST_SWEPT`; says how
        many. `drop_expired` drops no more at once either."""


class NodeIsGone(Exception):
    """This node's lease is over, by what the database says."""


def keys_of(claim: Claim) -> tuple[str, str]:
    """The two keys of the name that is claimed, which may be the same."""
    return claim.keys[0], claim.keys[-1]


def renamed(
    id: str, name: str, key: str | None, looks: str | None, token_hash: bytes | None
) -> SessionRenamed:
    """What is told of a new name."""
    known_by = None if token_hash is None else token_hash[:KNOWN_BY].hex()
    return SessionRenamed(id, name, key or "", looks or "", known_by)
