"""Which scripts a text is written in, and whether they may stand together.

What it is: pure functions, the restriction levels of UTS #39, section 5.2, down to the one that we
ask for.

What it may know: Unicode.

Invariant: a text of one script may stand, whatever script it is.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from functools import cache, lru_cache

from cometd_chat.lookalikes.data_files import lines

#: Scripts that are written together in one language (UTS #39, section 5.1).
_TOGETHER = {
    "Hani": {"Hanb", "Jpan", "Kore"},
    "Hira": {"Jpan"},
    "Kana": {"Jpan"},
    "Hang": {"Kore"},
    "Bopo": {"Hanb"},
}

#: What belongs to every script: digits, signs, marks.
_ANY = {"Zyyy", "Zinh"}

#: With Latin these may stand, and no others.
_BESIDE_LATIN = {"Hanb", "Jpan", "Kore"}


@cache
def _ranges() -> tuple[list[int], list[tuple[int, frozenset[str]]]]:
    """Where ranges of characters begin; and for each where it ends, and its scripts."""
    begins, rest = [], []
    for first, last, said in lines("scripts.txt"):
        scripts = set(said.split())
        for each in tuple(scripts):
            scripts |= _TOGETHER.get(each, set())
        begins.append(first)
        rest.append((last, frozenset(scripts)))
    return begins, rest


@lru_cache(maxsize=4096)
def _scripts_of(character: str) -> frozenset[str] | None:
    """The scripts in which a character is used; None for all of them."""
    begins, rest = _ranges()
    at = bisect_right(begins, ord(character)) - 1
    last, scripts = rest[at]
    if ord(character) > last:
        return frozenset({"Zzzz"})
    return None if scripts & _ANY else scripts


def is_highly_restrictive(text: str) -> bool:
    """Whether a text is of one script, or of scripts that people write together: Latin beside
    Chinese, Japanese or Korean (UTS #39, section 5.2, level 3)."""
    sets = [each for each in map(_scripts_of, text) if each is not None]
    if not sets or frozenset.intersection(*sets):
        return True
    others = [each for each in sets if "Latn" not in each]
    return bool(frozenset.intersection(*others) & _BESIDE_LATIN)


def has_mixed_digits(text: str) -> bool:
    """Whether there are digits of different systems in it (UTS #39, section 5.3)."""
    zeros = {
        ord(each) - unicodedata.decimal(each) for each in text if unicodedata.category(each) == "Nd"
    }
    return len(zeros) > 1
