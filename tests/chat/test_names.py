"""Names: what PRECIS lets through, what we leave of it, and what counts as the same."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometd_chat.chat.names import (
    MAX_MARKS,
    MAX_NAME,
    MAX_ROOM,
    new_person,
    person_name,
    room_instead,
    room_name,
)
from cometd_chat.errors import InvalidRequest
from cometd_chat.lookalikes.keys import name_keys
from tests.growth import growth


def refusal(make: Callable[[str], str], text: str) -> str:
    with pytest.raises(InvalidRequest) as raised:
        make(text)
    (field,) = raised.value.fields
    assert field.field == "name"
    assert field.detail in raised.value.detail
    return field.detail


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("alice", "alice"),
        ("Alice", "Alice"),
        ("  alice\t", "alice"),
        ("a", "a"),
        ("7", "7"),
        ("a-b_c.d", "a-b_c.d"),
        ("Ada Lovelace", "Ada Lovelace"),
        ("  Ada \u3000 Lovelace ", "Ada Lovelace"),
        ("no\u00a0break", "no break"),
        ("O'Neil", "O'Neil"),
        ("O\u2019Neil", "O'Neil"),  # what phones write
        ("Jean-Luc d'Arc Jr.", "Jean-Luc d'Arc Jr."),
        ("ＡＬＩＣＥ", "ALICE"),  # full-width letters are mapped to narrow ones
        ("ａ．ｂ", "a.b"),
        ("\ufb01n", "fin"),  # a ligature
        ("\u2460", "1"),  # a digit in a circle
        ("\u2167", "VIII"),  # a Roman number
        ("Ame\u0301lie", "Am\u00e9lie"),  # a letter and its mark become one character
        ("\uff76\uff9e", "\u30ac"),  # half-width katakana
        ("Jürgen", "Jürgen"),
        ("søren", "søren"),
        ("日本語", "日本語"),
        ("山田 太郎 Taro", "山田 太郎 Taro"),  # scripts that people write together
        ("김민수 Kim", "김민수 Kim"),
        ("אבג", "אבג"),
        ("علي", "علي"),
        ("अनिल", "अनिल"),
        ("๓๔", "๓๔"),  # digits of other scripts
        ("٣٤", "٣٤"),
        ("علي٣", "علي٣"),
        ("Аня 7", "Аня 7"),
        ("𐐷", "𐐷"),  # beyond the first 65,536
        ("ß", "ß"),
    ],
)
def test_names_that_are_good(typed: str, kept: str) -> None:
    assert person_name(typed) == kept


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "   ",
        "\u3000",
        "tab\tbed",
        "new\nline",
        "nul\0",
        "line\u2028line",
        "a/b",
        "a@b",
        "a#b",
        "a,b",
        "a:b",
        '"a"',
        "(a)",
        "<b>",
        "a&b",
        "a\u3002b",  # ideographic full stop
        "a\u00b7b",  # middle dot
        "a\u2013b",  # en dash
        "a\u200db",  # zero width joiner
        "क्\u200dष",  # the same where PRECIS would allow it
        "a\u200bb",
        "a\u202eb",  # right-to-left override
        "\ufeffa",
        "\u3164",  # a blank that is a letter
        "a\ufe0f\u20e3",
        "😀",
        "½",
        "a\ud800",
        "\u0301a",  # a mark on nothing
        "a \u0301",
        "a-\u0301",
    ],
)
def test_names_that_are_refused(typed: str) -> None:
    refusal(person_name, typed)


@pytest.mark.parametrize(
    "typed",
    [
        "\u0430lice",  # Cyrillic
        "\u03b1lice",  # Greek
        "al\u0456ce",
        "a\u04cfice",
        "Ada \u041b\u043e\u0432\u043b\u0435\u0439\u0441",
        "a\u05d0",
        "\u05d01\u0663",
        "한국カ",
        "Ωmega",
    ],
)
def test_scripts_that_nobody_mixes(typed: str) -> None:
    assert "different scripts" in refusal(person_name, typed)


@pytest.mark.parametrize("typed", ["1\u0967", "\u09e7\u0967"])
def test_digits_of_several_systems(typed: str) -> None:
    assert "of different scripts" in refusal(person_name, typed)


@pytest.mark.parametrize(
    "typed",
    [
        "admin",
        "Admin",
        "ADMIN",
        "adm\u0131n",
        "rnoderator",
        "System",
        "comet-chat",
        "Comet Chat",
        "owner",
        "everyone",
    ],
)
def test_names_that_are_nobodys(typed: str) -> None:
    assert "kept for those who run this place" in refusal(lambda text: new_person(text)[0], typed)


@pytest.mark.parametrize("typed", ["administer", "systema", "the owner", "homeowner", "hereward"])
def test_names_that_only_have_such_a_word_in_them(typed: str) -> None:
    assert new_person(typed)[0] == typed


def test_marks_beyond_so_many_are_left_out() -> None:
    marks = "\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c"
    name = person_name("z" + marks * 3)
    assert name == "\u017a" + marks[1 : 1 + MAX_MARKS]
    assert person_name(name) == name


@pytest.mark.parametrize("typed", [".", "..", "-", "_", "-_.", "---", "．"])
def test_a_name_needs_a_letter_or_a_digit(typed: str) -> None:
    assert "at least one letter or digit" in refusal(person_name, typed)


def test_a_refusal_says_in_words_which_character_it_is() -> None:
    assert refusal(room_name, "a b").startswith("a space can't be in it")
    assert refusal(room_name, "a\tb").startswith("a tab or line break can't")
    assert refusal(person_name, "a\u200db").startswith("a character that can't be seen can't")
    assert refusal(person_name, "a/b").startswith("/ can't")


@pytest.mark.parametrize(
    ("typed", "instead"),
    [
        ("My Room", "my-room"),
        ("#Cats", "cats"),
        ("  Ada's  Tea & Cake! ", "ada-s-tea-cake"),
        ("Кино клуб", "кино-клуб"),
        ("茶 水間", "茶-水間"),
        ("x" * 70, "x" * 64),
        ("C++", "c"),
        ("!!!", ""),
        ("_ _", ""),
        ("", ""),
    ],
)
def test_what_a_room_could_be_called_instead(typed: str, instead: str) -> None:
    assert room_instead(typed) == instead
    if instead:
        assert room_name(instead) == instead


def test_the_length_counts_after_enforcement() -> None:
    assert MAX_NAME == 32
    assert person_name("a" * 32) == "a" * 32
    assert "33 characters" in refusal(person_name, "a" * 33)
    # 64 code points that become 32, and white space that is cut off.
    assert person_name("e\u0301" * 32 + " ") == "\u00e9" * 32
    assert "33" in refusal(person_name, "e\u0301" * 33)
    # One code point, not its two halves or four bytes.
    assert len(person_name("𐐷" * 32)) == 32
    refusal(person_name, "𐐷" * 33)


def are_one(one: str, other: str) -> bool:
    return not set(name_keys(one)).isdisjoint(name_keys(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Alice", "alice"),
        ("ALICE", "aLiCe"),
        ("Ame\u0301lie", "AMÉLIE"),
        ("Ωμέγα", "ωμέγα"),
        ("Я", "я"),
        ("Ada Lovelace", "ada lovelace"),
        # What looks the same.
        ("alice", "\u0430\u04cf\u0456\u0441\u0435"),
        ("ALICE", "\u0430\u04cf\u0456\u0441\u0435"),
        ("paypal", "paypaI"),
        ("Paypal", "paypaI"),
        ("Ivan", "lvan"),
        ("Ivan", "1van"),
        ("bob0", "bobo"),
        ("BOBO", "bob0"),
        ("modern", "modem"),
        ("BOBA", "\u0412\u041e\u0412\u0410"),
        ("O'Neil", "O\u02bcNeil"),
        ("dot", "do\U0001d42d"),
    ],
)
def test_names_that_are_the_same(one: str, other: str) -> None:
    assert are_one(one, other)
    assert are_one(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ß", "ss"),
        ("a.b", "ab"),
        ("Ada Lovelace", "AdaLovelace"),
        ("ivan", "lvan"),
        ("o", "ø"),
        ("7", "\u096d"),
        ("boba", "\u0432\u043e\u0432\u0430"),
        ("alice", "alicia"),
        ("anna", "\u0430\u043d\u043d\u0430"),
    ],
)
def test_names_that_are_not_the_same(one: str, other: str) -> None:
    assert not are_one(one, other)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [("Dev", "dev"), (" Dev-Ops_2 ", "dev-ops_2"), ("ＤＥＶ", "dev"), ("Кино", "кино")],
)
def test_rooms_are_in_small_letters(typed: str, kept: str) -> None:
    assert room_name(typed) == kept


@pytest.mark.parametrize("typed", ["a.b", "lobby.txt", "a．b", ".", "a b", "a/b", "", "--", "😀"])
def test_rooms_that_are_refused(typed: str) -> None:
    refusal(room_name, typed)


def test_the_length_of_a_room() -> None:
    assert MAX_ROOM == 64
    assert room_name("r" * 64) == "r" * 64
    assert "65 characters" in refusal(room_name, "r" * 65)


#: Letters of several scripts and cases, marks, digits, signs, and a few that are refused.
_LIVELY = st.text(
    st.sampled_from(
        "aAßİıǅΣσςЯяאעب٣۴०क्ा\u0301\u0327\u200d\u200c.-_' \u2019\u3000ﬁＡ．ー가𐐀😀\ud800"
    )
)


@given(st.text(max_size=40) | _LIVELY)
def test_whatever_is_typed(typed: str) -> None:
    """A name is refused in words, or it is good, stays what it is and has a key that does."""
    for make, signs in ((person_name, "-_.' "), (room_name, "-_")):
        try:
            name = make(typed)
        except InvalidRequest:
            continue
        assert make(name) == name
        kinds = [unicodedata.category(each) for each in name]
        for each, kind in zip(name, kinds, strict=True):
            assert each in signs or kind[0] in "LM" or kind == "Nd"
        assert any(kind[0] in "LN" for kind in kinds)
        assert name_keys(name) == name_keys(name.strip())
        assert name == " ".join(name.split())


@pytest.mark.parametrize(("make", "longest"), [(person_name, MAX_NAME), (room_name, MAX_ROOM)])
def test_what_is_far_too_long_is_not_even_looked_at(
    make: Callable[[str], str], longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PRECIS takes a second for a body's worth of characters, and everybody would wait."""
    monkeypatch.setattr("cometd_chat.chat.names._NICKNAME", None)
    monkeypatch.setattr("cometd_chat.chat.names._CASE_MAPPED", None)
    for size in (longest + 1, 10 * longest + 1):
        for letter in ("a", "\u0661", "\u30fb"):
            detail = refusal(make, letter * size)
            assert "too many" in detail or "can't be in it" in detail


@pytest.mark.parametrize(
    "letter", ["\u0661", "\u06f1", "\u30fb", "\u0375", "l\u00b7l", "\u05d0\u05f3"]
)
@pytest.mark.parametrize("make", [person_name, room_name])
def test_what_is_typed_costs_no_more_than_a_name_may_be_long(
    make: Callable[[str], str], letter: str
) -> None:
    """PRECIS looks through the whole text for each digit of Arabic: a 404 took 14 ms."""

    def refuse(size: int) -> None:
        for _ in range(5):
            with contextlib.suppress(InvalidRequest):
                make(letter * (size // len(letter)))

    assert growth(lambda: refuse(MAX_ROOM + 6), lambda: refuse(10 * MAX_NAME)) < 12


def test_characters_that_become_one_count_as_one() -> None:
    # A Hangul syllable of three parts, and a letter with three marks.
    assert person_name("\u1112\u1161\u11ab" * MAX_NAME) == "\ud55c" * MAX_NAME
    assert len(person_name("\u03b1\u0313\u0301\u0345" * MAX_NAME)) == MAX_NAME
