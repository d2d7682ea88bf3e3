"""A command as somebody types it.

What it is: whether a line is one, and `Words`, from which a command takes its arguments one after
the other.

What it may know: text. Not which commands there are.

Invariant: what begins with a slash is never said by mistake; ``//`` says one slash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from cometd_chat.events.texts import refused
from cometd_chat.lookalikes.keys import name_keys

SLASH = "/"

#: No number here is larger than one of so many digits.
_MOST_DIGITS = 9

#: What looks like a number, of whichever script.
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?")

#: What closes a name that is quoted, by what opens it: keyboards of phones make curly ones.
_QUOTES = {'"': '"', "\u201c": "\u201d", "\u201e": "\u201c", "\u00ab": "\u00bb"}

#: A name has no more words.
_MOST_WORDS = 16

#: So many names of as many words are looked at for what they look like: 0.1 ms for each.
_MOST_COMPARED = 200


def command_of(text: object) -> str | None:
    """The command in what somebody typed, without its slash; None where it is none."""
    if not isinstance(text, str):
        return None
    line = text.strip()
    is_one = line.startswith(SLASH) and not line.startswith(2 * SLASH)
    return line[len(SLASH) :] if is_one else None


def said_by(text: object) -> object:
    """What somebody says who typed something that is no command."""
    if isinstance(text, str) and text.lstrip().startswith(2 * SLASH):
        return text.lstrip()[len(SLASH) :]
    return text


class Words:
    """What is left of a line.

    :param known: names of people who may be meant.
    """

    def __init__(self, line: str, known: Iterable[str] = ()) -> None:
        self._rest = line.strip()
        self._known = known

    def __bool__(self) -> bool:
        return bool(self._rest)

    def word(self) -> str:
        """The next word; empty where there is none."""
        word, _, rest = _partition(self._rest)
        self._rest = rest
        return word

    def takes(self, *words: str) -> bool:
        """Take the next word, if it is one of these."""
        word, _, rest = _partition(self._rest)
        if word.lower() in words:
            self._rest = rest
            return True
        return False

    def number(self) -> int | None:
        """The next word, if it is a number.

        :raises InvalidRequest: it is one that is not whole, or very large: whoever means a minute
            must not be taken to mean for ever, with that as the reason.
        """
        word, _, rest = _partition(self._rest)
        if not _NUMBER.fullmatch(word):
            return None
        if not (word.isascii() and word.isdigit()):
            raise refused("line", f"{word[:20]} can't be: a whole number is needed")
        if len(word) > _MOST_DIGITS:
            raise refused("line", f"{word[:20]} is too large: a smaller whole number is needed")
        self._rest = rest
        return int(word)

    def rest(self) -> str:
        """All that is left."""
        rest, self._rest = self._rest, ""
        return rest

    def name(self, what: str = "somebody's name") -> str:
        """The next name: quoted, the longest one that is known after an ``@``, or a word.

        :param what: is needed here.
        :raises InvalidRequest: there is none.
        """
        rest = self._rest
        if not rest:
            raise refused("line", f"{what} is needed")
        if rest[0] in _QUOTES:
            name, closing, after = rest[1:].partition(_QUOTES[rest[0]])
            if not closing or not name.strip():
                raise refused("line", "a quotation mark is open")
            self._rest = after.strip()
            return name.strip()
        if rest[0] != "@":
            return self.word()
        self._rest = rest[1:]
        known = self._longest()
        if known is None:
            return self.word()
        name, self._rest = known
        return name

    def _longest(self) -> tuple[str, str] | None:
        """The longest name that is known with which it goes on, and what is left then."""
        by_length: dict[int, list[str]] = {}
        for name in self._known:
            by_length.setdefault(len(name.split()), []).append(name)
        words = self._rest.split()
        for count in range(min(len(words), _MOST_WORDS), 0, -1):
            there = by_length.get(count)
            if there is None:
                continue
            typed = " ".join(words[:count])
            # A name before a comma or a colon, as in a letter.
            meant = _alike((typed, typed.rstrip(",:;.!?")), there)
            if meant is not None:
                return meant, _after(self._rest, count)
        return None


def _alike(typed: Iterable[str], names: Sequence[str]) -> str | None:
    """One of some names that is what somebody typed, in whatever case; or looks like it, of as many
    as can be compared in a moment: of thousands, whoever means another one types it as it is."""
    written = {name.casefold(): name for name in names}
    for each in typed:
        if each.casefold() in written:
            return written[each.casefold()]
    wanted = {name_keys(each).folded for each in typed if each}
    return next((name for name in names[:_MOST_COMPARED] if _folded(name) in wanted), None)


@lru_cache(maxsize=4096)
def _folded(name: str) -> str:
    return name_keys(name).folded


def _partition(text: str) -> tuple[str, str, str]:
    """The first word, and what comes after it."""
    parts = text.split(maxsplit=1)
    if not parts:
        return "", "", ""
    return parts[0], " ", parts[1] if len(parts) > 1 else ""


def _after(text: str, count: int) -> str:
    """What comes after so many words; lines stay as they are."""
    parts = text.split(maxsplit=count)
    return parts[count] if len(parts) > count else ""
