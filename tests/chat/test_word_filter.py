"""Words that are not said here: what is the same word, and how long it takes to see."""

from __future__ import annotations

import pytest

from cometd_chat.chat.word_filter import Found, WordFilter, Words
from cometd_chat.errors import InvalidRequest


def refusing(*words: str) -> WordFilter:
    return WordFilter(Words(refuse=words))


@pytest.mark.parametrize(
    "text",
    [
        "badword",
        "what a BadWord!",
        "bàdwörd",
        "b.a.d.w.o.r.d",
        "b a d w o r d",
        "b-a-d_w*o*r*d, they said",
        "bad-word",
        "b4dw0rd",
        "b@dword",
        "(badword)",
        "@badword",
        "b\N{CYRILLIC SMALL LETTER A}dw\N{GREEK SMALL LETTER OMICRON}rd",
        "\N{CYRILLIC CAPITAL LETTER VE}\N{CYRILLIC CAPITAL LETTER A}DWORD",
        "ba\N{ZERO WIDTH SPACE}dword",
        "ba\N{SOFT HYPHEN}dword",
        "b\N{COMBINING LONG STROKE OVERLAY}adword",
        "\N{FULLWIDTH LATIN SMALL LETTER B}adword",
        "\N{MATHEMATICAL BOLD CAPITAL B}ADWORD",
        "first line\nbadword",
    ],
)
def test_the_same_word_is_found(text: str) -> None:
    assert refusing("badword").look(text) is Found.REFUSE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "!!!",
        "badwords",
        "notbadword",
        "bad word",
        "a bad, word",
        "badwor",
        "b a d w o r",
        "wordbad",
    ],
)
def test_another_word_is_not(text: str) -> None:
    assert refusing("badword").look(text) is Found.FINE


def test_a_word_inside_another_one_is_not_the_word() -> None:
    looks = refusing("ass", "hell", "penis")
    for text in ("class", "a classic assessment", "hello", "the pen is mine", "Scunthorpe"):
        assert looks.look(text) is Found.FINE, text


def test_words_of_other_scripts_are_found_in_any_case() -> None:
    looks = refusing("вор", "κακός", "Straße")
    for text in ("ВОР", "Вор!", "в о р", "ΚΑΚΟΣ", "STRASSE"):
        assert looks.look(text) is Found.REFUSE, text


def test_several_words_stand_together() -> None:
    looks = refusing("buy now")
    for text in ("Buy   now", "BUY NOW!", "please buy\nnow"):
        assert looks.look(text) is Found.REFUSE, text
    for text in ("buy it now", "buynowhere", "now buy"):
        assert looks.look(text) is Found.FINE, text


def test_what_is_held_is_found_where_nothing_is_refused() -> None:
    looks = WordFilter(Words(refuse=("worse",), hold=("bad",)))
    assert looks.look("bad") is Found.HOLD
    assert looks.look("bad and worse") is Found.REFUSE
    assert looks.look("good") is Found.FINE


def test_no_list_finds_nothing() -> None:
    assert WordFilter().look("anything") is Found.FINE
    assert not WordFilter()
    assert refusing("x")


@pytest.mark.parametrize(
    "value",
    [
        7,
        "bad",
        {"refuse": "bad"},
        {"refuse": [7]},
        {"other": []},
        ["..."],
        ["\N{ZERO WIDTH SPACE}"],
        ["x" * 65],
        [f"w{n}" for n in range(1001)],
    ],
)
def test_what_is_no_list_of_words_is_refused_in_words(value: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Words.parsed(value)
    assert refused.value.fields[0].field == "words"


def test_a_list_is_kept_as_it_is_written_each_word_once() -> None:
    words = Words.parsed(["  Bad   word ", "Bad word", ""])
    assert words.json == {"refuse": ["Bad word"], "hold": []}
    assert Words.parsed(words.json) == words
    assert Words.parsed({}) == Words()


class CountedKeys(frozenset[str]):
    """Counts how often it is asked."""

    asked = 0

    def __contains__(self, item: object) -> bool:
        CountedKeys.asked += 1
        return super().__contains__(item)


@pytest.mark.parametrize("text", ["a " * 4000, "a" * 8000, "a." * 4000, "ab " * 2600])
def test_it_looks_once_a_letter_or_so_whatever_the_text_is(text: str) -> None:
    """The worst is a text that goes on as a word begins."""
    words = [f"{'a' * 20}{chr(98 + n % 20)}{n}" for n in range(1000)]
    looks = WordFilter(Words(refuse=tuple(words)))
    for _, matchers in looks._lists:
        for each in matchers:
            each._begins = CountedKeys(each._begins)
    CountedKeys.asked = 0
    assert looks.look(text) is Found.FINE
    # Three ways to read it, and a word's beginning of 20 letters.
    assert CountedKeys.asked <= 3 * 22 * len(text)
