"""Names of people and rooms.

What it is: pure functions from what somebody typed to the name that is kept.

What it may know: PRECIS (RFC 8264 to 8266), Unicode and what looks like what. Nothing of who has
which name.

Invariant: no name holds a character that is neither letter, digit, mark nor one of a few signs, nor
letters of scripts that are mixed to deceive; and what is typed costs no more than a name may be
long.
"""

from __future__ import annotations

import re
import unicodedata

from precis_i18n import get_profile

from cometd_chat.errors import FieldError, InvalidRequest
from cometd_chat.events.texts import bound_marks
from cometd_chat.lookalikes.keys import NameKeys, is_reserved, name_keys
from cometd_chat.lookalikes.scripts import has_mixed_digits, is_highly_restrictive

MAX_NAME = 32
MAX_ROOM = 64

#: Marks that may be put on one character of a name (UTS #39, section 5.4).
MAX_MARKS = 4

#: What is this many times too long as it was typed is too long after enforcement, too, which puts a
#: few characters together at most; looking at a whole body's worth of them would take too long.
_MAX_RAW_FACTOR = 10

_NICKNAME = get_profile("NicknameCasePreserved")
_CASE_MAPPED = get_profile("UsernameCaseMapped")

_PERSON_SIGNS = "-_.' "
_ROOM_SIGNS = "-_"

#: A mark that stands on nothing, or on a sign.
_LOOSE_MARK = re.compile("(?:^|[-_.' ])(.)")


def new_person(text: str) -> tuple[str, NameKeys]:
    """The name that somebody wants to have, and what it is compared by.

    :raises InvalidRequest: it can't be a name, or nobody can have it.
    """
    name = person_name(text)
    keys = name_keys(name)
    if is_reserved(keys):
        raise _refused("name", "it is kept for those who run this place, so that nobody is misled")
    # One object where they are the same, as for most: thousands are kept.
    folded = name if keys.folded == name else keys.folded
    return name, NameKeys(folded, folded if keys.looks == folded else keys.looks)


def person_name(text: str, field: str = "name") -> str:
    """The name of a person as it is kept and shown (RFC 8266, section 2).

    :param field: the field that it came in, for the error.
    :raises InvalidRequest: it can't be a name.
    """
    typed = unicodedata.normalize("NFKC", _typed(text, MAX_NAME, field))
    # Phones write this one for an apostrophe.
    typed = re.sub(" +", " ", typed.replace("\u2019", "'"))
    name = _enforce(bound_marks(typed, MAX_MARKS), _NICKNAME, _PERSON_SIGNS, MAX_NAME, field)
    refuse_mixed(name, field)
    return name


def are_one(name: str, other: str) -> bool:
    """Whether two names of people are one to all who read them."""
    return name == other or name_keys(name) == name_keys(other)


def room_name(text: str, field: str = "name") -> str:
    """The name of a room as it is kept, shown and compared (RFC 8265, section 3.3).

    :raises InvalidRequest: it can't be a name.
    """
    typed = _typed(text, MAX_ROOM, field)
    return _enforce(typed, _CASE_MAPPED, _ROOM_SIGNS, MAX_ROOM, field)


def refuse_mixed(name: str, field: str = "name") -> None:
    """Refuse a new name that is mixed of scripts or digits as nobody writes them.

    :raises InvalidRequest: it is less than highly restrictive (UTS #39, section 5.2), or has digits
        of several systems (section 5.3).
    """
    if not is_highly_restrictive(name):
        raise _refused(
            field, "it mixes letters of different scripts, and could be taken for another name"
        )
    if has_mixed_digits(name):
        raise _refused(field, "it mixes digits of different scripts")


def room_instead(text: str) -> str:
    """A name that a room can have, near to what somebody typed; empty when there is none."""
    words = re.split(r"[^\w-]+", text)
    try:
        return room_name("-".join(word for word in words if word)[:MAX_ROOM].strip("-_"))
    except InvalidRequest:
        return ""


def _typed(text: str, longest: int, field: str) -> str:
    """What was typed, without white space around it, if it is not far too long."""
    typed = text.strip()
    if not typed:
        raise _refused(field, "a name is needed")
    if len(typed) > _MAX_RAW_FACTOR * longest:
        raise _too_long(field, len(typed), longest)
    return typed


def _enforce(typed: str, profile: object, signs: str, longest: int, field: str) -> str:
    # PRECIS looks through the whole text for each of some characters, so it is given no long one.
    # What is several characters in compatibility form is either refused by it or counts as these.
    length = len(unicodedata.normalize("NFKC", typed))
    if length > longest:
        _refuse_characters(typed, signs, field)
        raise _too_long(field, length, longest)
    try:
        name: str = profile.enforce(typed)  # type: ignore[attr-defined]
    except UnicodeError:
        # Not the library's own words: they name rules of the RFC, not what to do.
        _refuse_characters(typed, signs, field)
        raise _refused(field, "these characters can't stand together in a name") from None
    _refuse_characters(name, signs, field)
    if len(name) > longest:
        raise _too_long(field, len(name), longest)
    if not any(unicodedata.category(each)[0] in "LN" for each in name):
        raise _refused(field, "a name needs at least one letter or digit")
    if any(unicodedata.category(each)[0] == "M" for each in _LOOSE_MARK.findall(name)):
        raise _refused(field, "a mark in it stands on no letter")
    return name


def _refuse_characters(name: str, signs: str, field: str) -> None:
    for each in name:
        kind = unicodedata.category(each)
        if kind[0] not in "LM" and kind != "Nd" and each not in signs:
            allowed = " ".join(signs.replace(" ", "")) + (" and spaces" if " " in signs else "")
            raise _refused(
                field,
                f"{_in_words(each)} can't be in it, only letters, digits and {allowed}",
            )


def _in_words(character: str) -> str:
    """What a character is called by somebody who typed it."""
    if character.isspace():
        return "a space" if character in " \u00a0" else "a tab or line break"
    return character if character.isprintable() else "a character that can't be seen"


def _too_long(field: str, length: int, longest: int) -> InvalidRequest:
    return _refused(field, f"{length} characters are too many: at most {longest}")


def _refused(field: str, detail: str) -> InvalidRequest:
    return InvalidRequest(f"That can't be the name: {detail}.", fields=[FieldError(field, detail)])
