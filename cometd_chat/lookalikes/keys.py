"""By what two names are one.

What it is: from a name to its keys.

What it may know: PRECIS (RFC 8266), skeletons.

Invariant: names that differ in case, in width or in spaces only share their first key; those that
look the same share the second. A migration makes both anew whenever this or Unicode's data changes.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from precis_i18n import get_profile

from cometd_chat.lookalikes.skeletons import skeleton

#: Names that would be taken for those who run the place, for the place itself, or for everybody.
RESERVED = (
    "admin",
    "administrator",
    "moderator",
    "mod",
    "owner",
    "operator",
    "root",
    "staff",
    "support",
    "system",
    "server",
    "comet-chat",
    "comet chat",
    "comet_chat",
    "cometchat",
    "deleted user",
    "everybody",
    "everyone",
    "here",
)

_COMPARED = get_profile("NicknameCaseMapped")


class NameKeys(NamedTuple):
    """What a name is compared by: two names are one when they share either.

    :param folded: the same in whatever case it is written, and for what looks like it then.
    :param looks: the same for all that look like the name as it is written: ``Ivan`` with a capital
        i and ``lvan`` with an l, which are two in small letters.
    """

    folded: str
    looks: str


def name_keys(name: str) -> NameKeys:
    """The keys of a name, be it one that would be refused today."""
    try:
        compared: str = _COMPARED.enforce(name)
    except UnicodeError:
        compared = name.lower()
    return NameKeys(skeleton(compared).lower(), skeleton(name).lower())


def is_reserved(keys: NameKeys) -> bool:
    """Whether a name is one of those that nobody can have, or looks like one."""
    return not _reserved().isdisjoint(keys)


@cache
def _reserved() -> frozenset[str]:
    return frozenset(key for name in RESERVED for key in name_keys(name))
