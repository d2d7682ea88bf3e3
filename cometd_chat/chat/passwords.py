"""Passwords: which can be one, what is kept of it, and whether somebody knows it.

What it is: `Passwords`, over argon2id (RFC 9106) with the parameters that OWASP gives for it.

What it may know: hashes. Not whose they are, nor where they are kept.

Invariant: to look at a password takes one hash, whether there is somebody of that name or not, so
that nobody learns from the time it takes who has an account.
"""

from __future__ import annotations

import argon2
import attrs
from argon2.exceptions import InvalidHashError, VerificationError
from precis_i18n import get_profile

from cometd_chat.chat.hashing import Hashing
from cometd_chat.errors import FieldError, InvalidRequest

#: How many characters a password has, after enforcement.
LEAST, MOST = 8, 1024

#: Two passes over 19 MiB by one thread: some 30 ms of a processor, whatever tries to be faster
#: needs as much memory for each guess. A hash says by which parameters it was made, so that these
#: can be raised: see `Passwords.verify`.
_PARAMETERS = argon2.Parameters(
    type=argon2.Type.ID,
    version=argon2.low_level.ARGON2_VERSION,
    salt_len=16,
    hash_len=32,
    time_cost=2,
    memory_cost=19 * 1024,
    parallelism=1,
)

#: RFC 8265, section 4.2: what is typed in two ways and looks the same is one password.
_PROFILE = get_profile("OpaqueString")


@attrs.frozen
class Verified:
    """What became of a password.

    :param good: it is the one.
    :param renewed: what is to be kept of it from now, if the parameters have changed since; or
        None.
    """

    good: bool
    renewed: str | None = None


class Passwords:
    """Hashes passwords, elsewhere than in the reactor's thread.

    :param hashing: does it.
    :param hasher: by which parameters.
    """

    def __init__(self, hashing: Hashing, hasher: argon2.PasswordHasher | None = None) -> None:
        self._hashing = hashing
        self._hasher = (
            argon2.PasswordHasher.from_parameters(_PARAMETERS) if hasher is None else hasher
        )

    async def hash(self, password: str, address: str = "") -> str:
        """What is kept of a password.

        :param password: by `new_password`.
        :param address: who wants it; see `Hashing.run`, also for what is raised.
        """
        return await self._hashing.run(lambda: self._hasher.hash(password), address)

    async def verify(self, kept: str | None, password: str, address: str = "") -> Verified:
        """Whether a password is the one.

        :param kept: what was kept of that; None where there is nobody, or nothing.
        :param password: as it was typed.
        :param address: who asks; see `Hashing.run`, also for what is raised.
        """
        return await self._hashing.run(lambda: self._verified(kept, password), address)

    def _verified(self, kept: str | None, password: str) -> Verified:
        enforced = _enforced(password)
        if kept is None or enforced is None or len(enforced) > MOST:
            # It takes as long as to look, and nobody hears of it.
            self._hasher.hash("")
            return Verified(good=False)
        try:
            self._hasher.verify(kept, enforced)
        except (VerificationError, InvalidHashError):
            return Verified(good=False)
        stale = self._hasher.check_needs_rehash(kept)
        return Verified(good=True, renewed=self._hasher.hash(enforced) if stale else None)


def new_password(password: str, field: str = "password") -> str:
    """What somebody chose as a password, as it is hashed.

    :param field: of the request.
    :raises InvalidRequest: it can't be one.
    """
    enforced = _enforced(password) if password else ""
    if enforced is None:
        detail = "a password has no control characters, such as the end of a line"
    elif len(enforced) < LEAST:
        detail = f"at least {LEAST} characters are needed; three or four words are easy to remember"
    elif len(enforced) > MOST:
        detail = f"at most {MOST} characters"
    else:
        return enforced
    sentence = f"A password like that can't be: {detail}."
    raise InvalidRequest(sentence, fields=[FieldError(field, detail)])


def _enforced(password: str) -> str | None:
    """A password in its one form; None when it can't be one."""
    try:
        enforced: str = _PROFILE.enforce(password)
    except UnicodeError:
        return None
    return enforced
