"""What may be said: something that shows, and does not reach over the lines of others."""

from __future__ import annotations

import pytest

from cometd_chat.errors import InvalidRequest
from cometd_chat.events.texts import MAX_MARKS, MAX_TEXT, bound_marks, message_text
from tests.growth import growth


def refusal(text: object) -> str:
    with pytest.raises(InvalidRequest) as raised:
        message_text(text)
    (field,) = raised.value.fields
    assert field.field == "text"
    return field.detail


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("hi", "hi"),
        ("  hi \n", "hi"),
        ("a\r\nb\rc\nd", "a\nb\nc\nd"),
        ("a\n\n\nb", "a\n\n\nb"),
        ("a\tb", "a\tb"),
        ("👩‍👩‍👧‍👦", "👩‍👩‍👧‍👦"),
        ("\u202eright to left", "\u202eright to left"),
        ("a\u2028b", "a\u2028b"),
        ("</script>", "</script>"),
        ("\ufffe", "\ufffe"),
        ("e\u0301", "e\u0301"),  # a text is not normalised: it is nobody's name
    ],
)
def test_texts_that_are_good(typed: str, kept: str) -> None:
    assert message_text(typed) == kept


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "\n\r\n\t",
        "\u3000\u2003\u00a0",
        "\u200b",  # zero width space
        "\u200d\u200c",  # joiners
        "\u2060\ufeff",  # the same of words
        "\u2800",  # Braille without a dot
        "\u3164",  # Hangul fillers
        "\u115f\u1160\uffa0",
        "\u00ad",  # a hyphen that is not shown
        "\u202e\u2067\u200f",  # directions
        "\ufe0f\ufe00",  # variations of nothing
        "\U000e0041\U000e0100",  # tags
        "\u034f\u061c\u180e",
        "\u17b4\u17b5",
        "\U0001d159\U0001d173",  # a note without a head
        "\ufff9\ufffb",
        "\u200b \u2060\n\u200c",
    ],
)
def test_nothing_is_no_message(typed: str) -> None:
    assert refusal(typed) == "there is nothing in it"


@pytest.mark.parametrize("typed", [None, 7, 1.5, True, [], {}, b"hi"])
def test_what_is_no_string(typed: object) -> None:
    assert refusal(typed) == "a string is needed"


@pytest.mark.parametrize("code", [*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0)])
def test_control_characters(code: int) -> None:
    if code == 0x0D:
        assert message_text("a\rb") == "a\nb"
    else:
        assert f"U+{code:04X}" in refusal(f"a{chr(code)}b")


@pytest.mark.parametrize("code", [0xD800, 0xDBFF, 0xDC00, 0xDFFF])
def test_halves_of_surrogate_pairs(code: int) -> None:
    assert f"U+{code:04X}" in refusal(f"a{chr(code)}b")


def test_the_length_of_a_text() -> None:
    assert MAX_TEXT == 8000
    assert message_text("x") == "x"
    assert len(message_text(" " + "😀" * 8000 + "\n")) == 8000
    assert refusal("x" * 8001) == "too long: 8001 of 8000 characters"
    # CR LF is one character.
    assert len(message_text("\r\n".join("x" * 4000) + "x")) == 8000


@pytest.mark.parametrize(
    "typed",
    [
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "\u05d0\u200f!",
        "\u2764\ufe0f",
        "\u06dd",  # the end of a verse is a format character, and is seen
        "\u2801",
        "\u0301",
        ".",
        "\ue000",
    ],
)
def test_what_shows_is_a_message(typed: str) -> None:
    assert message_text(typed) == typed


def test_marks_beyond_so_many_are_left_out() -> None:
    marks = "".join(chr(0x300 + number % 70) for number in range(300))
    assert message_text(f"Z{marks}algo") == f"Z{marks[:MAX_MARKS]}algo"
    assert message_text(f"a{marks}\nb{marks} c") == f"a{marks[:MAX_MARKS]}\nb{marks[:MAX_MARKS]} c"
    # Joining them by what shows nothing, or by rings, makes no difference.
    assert message_text("a" + "\u0301\u034f" * 50) == "a" + "\u0301\u034f" * (MAX_MARKS // 2)
    assert message_text("a" + "\u20dd" * 50) == "a" + "\u20dd" * MAX_MARKS
    assert bound_marks(f"z{marks}", 4) == f"z{marks[:4]}"


@pytest.mark.parametrize(
    "typed",
    [
        "\u0f67\u0f90\u0fb5\u0fa8\u0fb3\u0fba\u0fbc\u0fbb\u0f82",  # the largest stack of Tibetan
        "Vi\u0065\u0323\u0302t Nam",
        "\u05d1\u05b0\u05bc\u05e8\u05b5\u05d0\u05e9\u05b4\u05c1\u0596\u05d9\u05ea",
        "\u0e17\u0e35\u0e48\u0e19\u0e35\u0e48",
        "\u0915\u094d\u0937\u0924\u094d\u0930\u093f\u092f",
    ],
)
def test_words_keep_their_marks(typed: str) -> None:
    assert message_text(typed) == typed


def test_a_text_is_looked_through_once() -> None:
    short, long = ("a\u0301" * size for size in (5_000, 50_000))
    assert growth(lambda: bound_marks(short), lambda: bound_marks(long)) < 30
