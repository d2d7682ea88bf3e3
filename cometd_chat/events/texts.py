"""What somebody says, as it is kept.

What it is: pure functions from what was typed to a text that can be said.

What it may know: Unicode. Not who says it, nor where.

Invariant: a text that is kept shows something, and its marks do not reach far over other lines.
"""

from __future__ import annotations

import re
import unicodedata

from cometd_chat.errors import FieldError, InvalidRequest

MAX_TEXT = 8000

#: Control characters other than newline and tab, and halves of surrogate pairs.
_UNSPEAKABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

#: Marks that may be put on one character; what goes beyond is left out. The largest stacks that are
#: words, of Tibetan letters, have as many.
MAX_MARKS = 8

#: Those that take no room of their own, and those that stand around a character.
_MARKS = ("Mn", "Me")

#: What takes no room or shows nothing: space, format characters (but for those of Arabic and its
#: kin, which are numbers and ends of verses), what is to be ignored by who can't show it (Unicode,
#: Default_Ignorable_Code_Point), and the blanks of Braille, Hangul and notes.
_INVISIBLE = (
    "\\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_VISIBLE = re.compile(f"[^{_INVISIBLE}]")


def bound_marks(text: str, most: int = MAX_MARKS) -> str:
    """Leave out the marks of a character beyond so many of them: hundreds are drawn over the lines
    of others (UTS #39, section 5.4, forbids more than 4 in names)."""
    if text.isascii():
        return text
    # A long text has few characters that differ, and most have no marks.
    there = {each for each in set(text) if unicodedata.category(each) in _MARKS}
    if not there:
        return text
    kept: list[str] = []
    marks = 0
    for each in text:
        marks = marks + 1 if each in there else 0
        if marks <= most:
            kept.append(each)
    return text if len(kept) == len(text) else "".join(kept)


def is_visible(text: str) -> bool:
    """Whether a text shows anything."""
    return _VISIBLE.search(text) is not None


def message_text(text: object) -> str:
    """What somebody says, as it is kept.

    :raises InvalidRequest: it can't be a message.
    """
    if not isinstance(text, str):
        raise refused("text", "a string is needed")
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if not is_visible(text):
        raise refused("text", "there is nothing in it")
    if len(text) > MAX_TEXT:
        raise refused("text", f"too long: {len(text)} of {MAX_TEXT} characters")
    wrong = _UNSPEAKABLE.search(text)
    if wrong is not None:
        # Its number is for who writes programs.
        raise InvalidRequest(
            "There is a character in it that can't be seen, and can't be sent.",
            fields=[
                FieldError("text", f"the character U+{ord(wrong[0]):04X} can't be in a message")
            ],
        )
    return bound_marks(text)


def refused(field: str, detail: str) -> InvalidRequest:
    """The refusal of one field.

    :param detail: what is wrong with it, without a capital or a full stop.
    """
    sentence = detail[0].upper() + detail[1:]
    return InvalidRequest(f"{sentence}.", fields=[FieldError(field, detail)])
