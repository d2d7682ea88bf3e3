"""What somebody is: the roles of the server, from the lowest to the highest.

What it is: `Role`, and its word in rows and on the wire.

What it may know: nothing. What a role may do is in `matrix.py`.

Invariant: of two roles one is above the other, and nobody touches who is not below them.
"""

from __future__ import annotations

from enum import IntEnum


class Role(IntEnum):
    """A role of the server; a room has moderators and members of its own, which are of these.

    None is 0, so that ``Role.of(word) or Role.GUEST`` is what it says.
    """

    #: A guest who is not let in yet: reads what the public may.
    WAITING = 1
    GUEST = 2
    #: Who has an account.
    MEMBER = 3
    MODERATOR = 4
    ADMIN = 5
    OWNER = 6

    @property
    def word(self) -> str:
        """How it is written, in rows and on the wire."""
        return _WORDS[self]

    @classmethod
    def of(cls, word: str) -> Role | None:
        """The role of a word; None for one that is none here, as of a later release."""
        return _ROLES.get(word)


_WORDS = {role: role.name.lower() for role in Role}

_ROLES = {word: role for role, word in _WORDS.items()}
