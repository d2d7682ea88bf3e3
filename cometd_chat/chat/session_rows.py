"""From what is kept of a session to the session, and from a token to what is kept of it.

What it is: pure functions that each back end of `Sessions` shares.

What it may know: rows, names. Not where they are kept.

Invariant: only a hash of a token is ever kept.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable

from cometd_chat.chat.roles import Role
from cometd_chat.chat.sessions import TOKEN_LIFETIME, Session, SessionHome
from cometd_chat.log.directory import SessionRow
from cometd_chat.log.shared_directory import KNOWN_BY
from cometd_chat.lookalikes.keys import NameKeys

__all__ = [
    "EXTEND_AFTER",
    "KNOWN_BY",
    "browser_hash",
    "hash_of",
    "new_guest",
    "new_token",
    "session_of",
]

#: A token's life is written down again when it has been used and so many seconds have gone by.
EXTEND_AFTER = 86400.0


def hash_of(token: str) -> bytes:
    """What is kept of a token."""
    # A token has 192 random bits: there is nothing to guess, so a fast hash will do.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def browser_hash(browser: str) -> bytes:
    """What is kept of what a browser shows, for as long as its guest holds something."""
    return hashlib.sha256(browser.encode("utf-8", "surrogatepass")).digest()[:16]


def new_token(random_bytes: Callable[[int], bytes]) -> str:
    """A token that nobody has."""
    return urlsafe_b64encode(random_bytes(24)).decode("ascii")


def new_guest(
    name: str,
    keys: NameKeys,
    token: str,
    home: SessionHome,
    *,
    id: str,
    created_at: float,
    now: float,
    seen_at: float,
    ephemeral: bool,
    transient: bool,
    role: Role,
    agent: str,
) -> tuple[Session, SessionRow]:
    """A new session under a name, and what is kept of it; see `Sessions.start_guest`.

    :param keys: of the name. Those of a transient session are not in its row.
    :param home: who looks after the name of one that is kept.
    :param created_at: seconds since 1970.
    :param now: the same, by the clock that says when it ends.
    :param seen_at: see `Session.seen_at`.
    :param agent: what the device calls itself.
    """
    row = SessionRow(
        id=id,
        token_hash=hash_of(token),
        name=name,
        name_key=None if transient else keys.folded,
        role=role.word,
        created_at=int(created_at * 1000),
        expires_at=int((now + TOKEN_LIFETIME) * 1000),
        name_looks=None if transient else keys.looks,
        agent=agent,
    )
    session = session_of(row, home, seen_at)
    session.name_key, session.name_looks = keys
    session.transient = transient
    if ephemeral:
        session.home = None
    return session, row


def session_of(row: SessionRow, home: SessionHome, seen_at: float) -> Session:
    """The session of a row.

    :param home: who looks after its name.
    :param seen_at: see `Session.seen_at`.
    """
    # One object where two keys, or a key and the name, are the same, as for most: thousands are
    # kept.
    return Session(
        key=bytes.fromhex(row.id),
        known_by=row.token_hash[:KNOWN_BY],
        name=row.name,
        name_key=row.name if row.name_key == row.name else row.name_key,
        name_looks=next(
            (each for each in (row.name, row.name_key) if each == row.name_looks), row.name_looks
        ),
        # One that only a later release knows may do no more than a guest here.
        role=Role.of(row.role) or Role.GUEST,
        expires_at=row.expires_at / 1000,
        seen_at=seen_at,
        home=home,
    )
