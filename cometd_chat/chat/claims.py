"""Whose a name is.

What it is: `Names`, the seam behind which the keys of names are claimed, with the rules that every
back end keeps, and `LocalNames`, the one of a single process; `cluster_names.py` is that of a node.

What it may know: sessions, keys. Not what can be a name, nor what it looks like.

Invariant: a key belongs to one session at a time.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from cometd_chat.chat.sessions import Session
from cometd_chat.errors import NameTaken


class Names(Protocol):
    """Which session has which keys.

    What every back end keeps, over all processes:

    * **One holder a key.** Of two who claim one at the same moment, one gets it.
    * **All or none.** A claim that is refused has claimed nothing.
    * **A claim lasts** until it is released, or until the process that has it is gone for good, as
      its lease says where there are several. Of ephemeral and transient sessions it is kept nowhere
      else; the names of all others are in the directory, whose word is the last.
    * **Releasing is quiet**: what somebody else has by now is left alone, and a release that gets
      lost only keeps a name taken for as long as the lease.

    All is called in the reactor's thread.
    """

    async def claim(self, session: Session, keys: Collection[str]) -> Collection[str]:
        """Claim keys for a session.

        :returns: those of them that it did not have before: to be released if it does not get the
            name in the end.
        :raises NameTaken: another session has one of them.
        """

    def release(self, session: Session, keys: Collection[str]) -> None:
        """Let others have keys, as far as they are this session's."""


def claimed_by(session: Session) -> set[str]:
    """The keys that are a session's as long as its name is."""
    return {key for key in (session.name_key, session.name_looks) if key is not None}


class LocalNames:
    """The `Names` of one process, which every claim comes to."""

    def __init__(self) -> None:
        self._holders: dict[str, Session] = {}

    async def claim(self, session: Session, keys: Collection[str]) -> Collection[str]:
        """See `Names.claim`."""
        if not self._are_free(session, keys):
            raise NameTaken(
                "Somebody here has that name, or one that looks like it: choose another one."
            )
        new = [key for key in set(keys) if key not in self._holders]
        self._holders.update(dict.fromkeys(new, session))
        return new

    def adopt(self, session: Session) -> bool:
        """Note what the directory says that a session has; for the start, and for one whose row was
        read.

        :returns: False when another one has claimed some of it since: then nothing was noted.
        """
        keys = claimed_by(session)
        if not self._are_free(session, keys):
            return False
        self._holders.update(dict.fromkeys(keys, session))
        return True

    def holder(self, key: str) -> Session | None:
        """Whose a key is, or will be in a moment."""
        return self._holders.get(key)

    def release(self, session: Session, keys: Collection[str]) -> None:
        """See `Names.release`."""
        for key in keys:
            if self._holders.get(key) is session:
                del self._holders[key]

    def _are_free(self, session: Session, keys: Collection[str]) -> bool:
        return all(self._holders.get(key, session) is session for key in keys)
