"""Words that are not said here.

What it is: `WordFilter`, from a list of plain words to whether a text has one of them; and how a
text is folded for that.

What it may know: texts, Unicode. Not who speaks, nor what becomes of what is refused.

Invariant: words are compared whole, as people read them: in whatever case, with or without accents,
in letters that look like them, and with dots or spaces between the letters. Nothing is a pattern,
so that no list, and no text, takes longer than the text is long.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from functools import lru_cache
from itertools import pairwise

import attrs

from cometd_chat.errors import InvalidRequest
from cometd_chat.events.texts import is_visible, refused
from cometd_chat.lookalikes.skeletons import skeleton

#: So many words may be on each list, and so many code points in one of them.
MOST_WORDS = 1000
MOST_LETTERS = 64

#: Digits that are read as letters, and letters that are not told apart in passing. What looks like
#: a letter by Unicode's own tables, such as one of another script, is folded by these.
_READ_AS = {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "l": "i"}

#: Signs that may be letters, and may be signs.
_SIGNS = {"@": "a", "$": "s", "\N{EURO SIGN}": "e", "!": "i", "|": "i"}


class Found(Enum):
    """What is done about a text."""

    #: Nothing.
    FINE = "fine"
    #: It waits for a moderator.
    HOLD = "hold"
    #: It is not said.
    REFUSE = "refuse"


@attrs.frozen
class Words:
    """The policy ``words``: what is refused, and what waits for a moderator.

    :param refuse: as an admin wrote them; so are those of ``hold``.
    """

    refuse: tuple[str, ...] = ()
    hold: tuple[str, ...] = ()

    @classmethod
    def parsed(cls, value: object) -> Words:
        """The value of the policy, as JSON: an object of the two lists, or one list, of what is
        refused.

        :raises InvalidRequest: it is none.
        """
        if isinstance(value, list):
            value = {"refuse": value}
        if not isinstance(value, dict) or not value.keys() <= {"refuse", "hold"}:
            raise refused("words", 'an object is needed: {"refuse": [...], "hold": [...]}')
        return cls(_words(value.get("refuse", [])), _words(value.get("hold", [])))

    @property
    def json(self) -> dict[str, list[str]]:
        """The same as JSON."""
        return {"refuse": list(self.refuse), "hold": list(self.hold)}

    def since(self, before: Words) -> str:
        """What is another than it was, as people read it."""
        lists = ("refused", before.refuse, self.refuse), ("held", before.hold, self.hold)
        changes = []
        for what, old, new in lists:
            # A word that is held now and was refused is in both.
            for when, words in (
                ("from now", [each for each in new if each not in old]),
                ("no longer", [each for each in old if each not in new]),
            ):
                if words:
                    changes.append(f"{what} {when}: {', '.join(words)}")
        return "; ".join(changes) or "in another order"


def _words(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise refused("words", "a list of words is needed")
    words = tuple(dict.fromkeys(word for each in value if (word := " ".join(each.split()))))
    if len(words) > MOST_WORDS:
        raise refused("words", f"at most {MOST_WORDS} words are possible")
    for word in words:
        if len(word) > MOST_LETTERS:
            raise refused("words", f"a word has at most {MOST_LETTERS} characters: {word[:20]}...")
        if not is_visible(word) or not _key(word, _by_case):
            raise refused("words", f"there is no letter in this: {word}")
    return words


class WordFilter:
    """Looks for words in texts.

    :param words: which.
    """

    def __init__(self, words: Words | None = None) -> None:
        self.words = words or Words()
        self._lists = [
            (found, [_Matcher(fold, listed) for fold in _FOLDS])
            for found, listed in ((Found.REFUSE, self.words.refuse), (Found.HOLD, self.words.hold))
            if listed
        ]

    def __bool__(self) -> bool:
        return bool(self._lists)

    def look(self, text: str) -> Found:
        """What is done about a text."""
        if not self._lists:
            return Found.FINE
        read = [list(_parts(text, fold)) for fold in _FOLDS]
        for found, matchers in self._lists:
            if any(each.is_in(parts) for each, parts in zip(matchers, read, strict=True)):
                return found
        return Found.FINE


def refusal() -> InvalidRequest:
    """The refusal of a text. It does not say which word it was: whoever wrote it knows, and a list
    that can be asked is a list of ways around it."""
    return refused("text", "there is a word in it that is not said here: say it in another way")


#: A run of letters, folded, and whether a space stands before it: else it is a sign that does.
_Part = tuple[str, bool]


#: What somebody reads where a character stands: letters; empty for what parts letters, None for
#: what is to be passed over.
_Fold = Callable[[str], str | None]

#: Marks on a letter, and what shows nothing.
_PASSED_OVER = ("Mn", "Me", "Cf", "Cs")


@lru_cache(maxsize=8192)
def _by_case(character: str) -> str | None:
    """Case first: a capital of another script is that script's letter."""
    return _read(character, _looks(character.casefold()))


@lru_cache(maxsize=8192)
def _by_case_and_signs(character: str) -> str | None:
    """The same, where signs are letters."""
    return _by_case(_SIGNS.get(character, character))


@lru_cache(maxsize=8192)
def _by_looks(character: str) -> str | None:
    """Looks first: a capital of another script may look like one of ours, and its small letter like
    none."""
    sign = _SIGNS.get(character, character)
    return _read(character, _looks(_looks(sign).casefold()))


_FOLDS: Sequence[_Fold] = (_by_case, _by_case_and_signs, _by_looks)


def _looks(text: str) -> str:
    """Letters without accents, in the letters that they look like."""
    plain = unicodedata.normalize("NFKD", text)
    return skeleton("".join(each for each in plain if unicodedata.category(each) != "Mn"))


def _read(character: str, looks: str) -> str | None:
    letters = "".join(_READ_AS.get(each, each) for each in looks.casefold() if each.isalnum())
    if letters or unicodedata.category(character) not in _PASSED_OVER:
        return letters
    return None


class _Matcher:
    """A list of words as a set of their keys, with all that these begin with: a text is read on
    only for as long as what was read may yet become one of them."""

    def __init__(self, fold: _Fold, words: Sequence[str]) -> None:
        # In capitals a word may look like another one.
        written = {*words, *(word.upper() for word in words)}
        self._keys = frozenset(_key(word, fold) for word in written) - {""}
        self._begins = frozenset(key[:end] for key in self._keys for end in range(1, len(key) + 1))

    def is_in(self, parts: Sequence[_Part]) -> bool:
        """Whether one of them is in a text."""
        return any(self._begins_at(parts, at) for at in range(len(parts)))

    def _begins_at(self, parts: Sequence[_Part], at: int) -> bool:
        read = parts[at][0]
        while read in self._begins:
            if read in self._keys:
                return True
            at += 1
            if at == len(parts):
                return False
            read += _joined(parts[at - 1], parts[at])
        return False


def _joined(before: _Part, part: _Part) -> str:
    """What is read on: letters that a sign parts may be one word, and those that a space parts are
    one when it is spelt out."""
    letters, spaced = part
    spelt = len(letters) == 1 and len(before[0]) == 1
    return f" {letters}" if spaced and not spelt else letters


def _key(word: str, fold: _Fold) -> str:
    """What a word, or several, are compared by."""
    parts = list(_parts(word, fold))
    rest = (_joined(*pair) for pair in pairwise(parts))
    return "".join([parts[0][0], *rest]) if parts else ""


def _parts(text: str, fold: _Fold) -> Iterator[_Part]:
    """The runs of letters of a text."""
    run: list[str] = []
    spaced = False
    for character in text:
        letters = fold(character)
        if letters is None:
            continue
        if letters:
            run.append(letters)
            continue
        if run:
            yield "".join(run), spaced
            run, spaced = [], False
        spaced = spaced or character.isspace()
    if run:
        yield "".join(run), spaced
