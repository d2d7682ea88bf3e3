"""Names of people and rooms.

What it is: pure functions from what somebody typed to the name that is kept, and to its key.

What it may know: PRECIS (RFC 8264, RFC 8265) and Unicode. Nothing of who has which name.

Invariant: two names that a person would take for the same have the same key as far as PRECIS
sees it, and no name holds a character that is neither letter, digit, mark nor ``- _ .``.
"""

from __future__ import annotations

import re
import unicodedata

from precis_i18n import get_profile

from cometd_chat.errors import FieldError, InvalidRequest

MAX_NAME = 32
MAX_ROOM = 64

#: What is this many times too long as it was typed is too long after enforcement, too, which puts a
#: few characters together at most; enforcing a whole body's worth of them would take too long.
_HOPELESS = 10

_CASE_PRESERVED = get_profile("UsernameCasePreserved")
_CASE_MAPPED = get_profile("UsernameCaseMapped")


def person_name(text: str, field: str = "name") -> str:
    """The name of a person as it is kept and shown.

    :param field: the field that it came in, for the error.
    :raises InvalidRequest: it can't be a name.
    """
    return _enforce(text, _CASE_PRESERVED, "-_.", MAX_NAME, field)


def person_key(name: str) -> str:
    """What a person's name is compared by."""
    key: str = _CASE_MAPPED.enforce(name)
    return key


def room_name(text: str, field: str = "name") -> str:
    """The name of a room as it is kept, shown and compared.

    :raises InvalidRequest: it can't be a name.
    """
    return _enforce(text, _CASE_MAPPED, "-_", MAX_ROOM, field)


def room_instead(text: str) -> str:
    """A name that a room can have, near to what somebody typed; empty when there is none."""
    words = re.split(r"[^\w-]+", text)
    try:
        return room_name("-".join(word for word in words if word)[:MAX_ROOM].strip("-_"))
    except InvalidRequest:
        return ""


def _enforce(text: str, profile: object, signs: str, longest: int, field: str) -> str:
    typed = text.strip()
    if not typed:
        raise _refused(field, "a name is needed")
    if len(typed) > _HOPELESS * longest:
        raise _too_long(field, len(typed), longest)
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
    return name


def _refuse_characters(name: str, signs: str, field: str) -> None:
    for each in name:
        kind = unicodedata.category(each)
        if kind[0] not in "LM" and kind != "Nd" and each not in signs:
            allowed = " ".join(signs)
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
