"""Names: what PRECIS lets through, what we leave of it, and what counts as the same."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometd_chat.chat.names import (
    MAX_NAME,
    MAX_ROOM,
    person_key,
    person_name,
    room_instead,
    room_name,
)
from cometd_chat.errors import InvalidRequest


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
        ("ＡＬＩＣＥ", "ALICE"),  # full-width letters are mapped to narrow ones
        ("ａ．ｂ", "a.b"),
        ("Ame\u0301lie", "Am\u00e9lie"),  # a letter and its mark become one character
        ("\uff76\uff9e", "\u30ac"),  # half-width katakana
        ("Jürgen", "Jürgen"),
        ("søren", "søren"),
        ("日本語", "日本語"),
        ("אבג", "אבג"),
        ("علي", "علي"),
        ("अनिल", "अनिल"),
        ("๓๔", "๓๔"),  # digits of other scripts
        ("علي٣", "علي٣"),
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
        "two words",
        "tab\tbed",
        "new\nline",
        "nul\0",
        "no\u00a0break",
        "a/b",
        "a@b",
        "a#b",
        "<b>",
        "a&b",
        "a\u2024b",  # one dot leader
        "a\u3002b",  # ideographic full stop
        "a\u00b7b",  # middle dot
        "a\u2013b",  # en dash
        "a\u200db",  # zero width joiner
        "क्\u200dष",  # the same where PRECIS would allow it
        "a\u200bb",
        "a\u202eb",  # right-to-left override
        "\ufeffa",
        "a\ufe0f\u20e3",
        "😀",
        "ﬁ",  # a ligature
        "①",
        "½",
        "Ⅷ",
        "a\ud800",
        "aא",  # letters of both directions
        "אa",
        "א1٣",  # digits of both kinds
        "٣٤",  # digits that need a letter of their direction before them
    ],
)
def test_names_that_are_refused(typed: str) -> None:
    refusal(person_name, typed)


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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Alice", "alice"),
        ("ALICE", "aLiCe"),
        ("ＡＬＩＣＥ", "alice"),
        ("Ame\u0301lie", "AMÉLIE"),
        ("Ωmega", "ωmega"),
        ("Я", "я"),
    ],
)
def test_names_that_are_the_same(one: str, other: str) -> None:
    assert person_key(person_name(one)) == person_key(person_name(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [("alice", "alicе"), ("ß", "ss"), ("a.b", "ab"), ("o", "ø"), ("1", "१")],
)
def test_names_that_are_not_the_same(one: str, other: str) -> None:
    """PRECIS does not know about letters of two scripts that look alike."""
    assert person_key(person_name(one)) != person_key(person_name(other))


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
    st.sampled_from("aAßİıǅΣσςЯяאעب٣۴०क्ा\u0301\u0327\u200d\u200c.-_ ﬁＡ．ー가𐐀😀\ud800")
)


@given(st.text(max_size=40) | _LIVELY)
def test_whatever_is_typed(typed: str) -> None:
    """A name is refused in words, or it is good, stays what it is and has a key that does."""
    for make, signs in ((person_name, "-_."), (room_name, "-_")):
        try:
            name = make(typed)
        except InvalidRequest:
            continue
        assert make(name) == name
        kinds = [unicodedata.category(each) for each in name]
        for each, kind in zip(name, kinds, strict=True):
            assert each in signs or kind[0] in "LM" or kind == "Nd"
        assert any(kind[0] in "LN" for kind in kinds)
        assert person_key(person_key(name)) == person_key(name)


@pytest.mark.parametrize(("make", "longest"), [(person_name, MAX_NAME), (room_name, MAX_ROOM)])
def test_what_is_far_too_long_is_not_even_looked_at(
    make: Callable[[str], str], longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PRECIS takes a second for a body's worth of characters, and everybody would wait."""
    monkeypatch.setattr("cometd_chat.chat.names._CASE_PRESERVED", None)
    monkeypatch.setattr("cometd_chat.chat.names._CASE_MAPPED", None)
    size = 10 * longest + 1
    assert refusal(make, "a" * size) == f"{size} characters are too many: at most {longest}"


def test_characters_that_become_one_count_as_one() -> None:
    # A Hangul syllable of three parts, and a letter with three marks.
    assert person_name("\u1112\u1161\u11ab" * MAX_NAME) == "\ud55c" * MAX_NAME
    assert len(person_name("\u03b1\u0313\u0301\u0345" * MAX_NAME)) == MAX_NAME
