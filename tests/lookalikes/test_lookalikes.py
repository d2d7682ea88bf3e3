"""What looks like what: the examples of UTS #39, and the data against what Python knows."""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path

import pytest

import cometd_chat.lookalikes
from cometd_chat.lookalikes.data_files import lines
from cometd_chat.lookalikes.keys import RESERVED, is_reserved, name_keys
from cometd_chat.lookalikes.scripts import has_mixed_digits, is_highly_restrictive
from cometd_chat.lookalikes.skeletons import skeleton

FOLDER = Path(cometd_chat.lookalikes.__file__).parent / "data"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("paypal", "p\u0430yp\u0430l"),
        ("toys-\u044f-us", "toys-\u044f-us"),
        ("scope", "\u0455\u0441\u043e\u0440\u0435"),
        ("search", "\u0455\u0435arch"),
        ("m", "rn"),
        ("lI1", "Il1"),
        ("\u0627", "l"),
        ("\u00fe\u0301", "p\u0301"),
        ("Ame\u0301lie", "Am\u00e9lie"),
    ],
)
def test_texts_that_look_the_same(one: str, other: str) -> None:
    assert skeleton(one) == skeleton(other)


@pytest.mark.parametrize(
    "text", ["paypal", "\u0430\u0431\u0432", "I1l0O", "\u65e5\u672c", "e\u0301"]
)
def test_a_skeleton_is_its_own(text: str) -> None:
    assert skeleton(skeleton(text)) == skeleton(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ASCII only 123",
        "\u0430\u0431\u0432 123",
        "\u03b1\u03b2\u03b3",
        "\u65e5\u672c \u30ab\u30ca \u3072\u3089 abc",
        "\u4e2d\u6587 \u3105\u3106 abc",
        "\ud55c\uad6d \u97d3\u570b abc",
        "\u05d0\u05d1\u05d2",
        "\u0627\u0628 \u0663",
        "e\u0301a\u0327",
        "\u0915\u094d\u0937",
        "\u30fc\u30a2\u3042",
    ],
)
def test_scripts_that_stand_together(text: str) -> None:
    assert is_highly_restrictive(text)


@pytest.mark.parametrize(
    "text",
    [
        "a\u0431",
        "a\u03b2",
        "\u03b1\u0431",
        "a\u05d0",
        "a\u0e01",  # moderately restrictive, and no more
        "\ud55c\u30ab",
        "\u3105\u30ab",
        "\u0430\u65e5",
        "a\u0663",
    ],
)
def test_scripts_that_do_not(text: str) -> None:
    assert not is_highly_restrictive(text)


def test_digits_of_one_system() -> None:
    assert not has_mixed_digits("a0b9")
    assert not has_mixed_digits("\u0661\u0662")
    assert has_mixed_digits("1\u0662")
    assert has_mixed_digits("\u0661\u06f1")


def test_every_reserved_name_is() -> None:
    for name in RESERVED:
        for typed in (name, name.upper(), name.title()):
            assert is_reserved(name_keys(typed))
    assert not is_reserved(name_keys("alice"))


def test_the_data_covers_every_letter_that_python_knows() -> None:
    points = [False] * (sys.maxunicode + 1)
    for first, last, scripts in lines("scripts.txt"):
        assert first <= last
        assert all(len(each) == 4 for each in scripts.split())
        assert not any(points[first : last + 1]), "a character stands in one line"
        points[first : last + 1] = [True] * (last + 1 - first)
    missing = [
        point
        for point in range(sys.maxunicode + 1)
        if not points[point] and unicodedata.category(chr(point))[0] in "LMN"
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("prefix", "script"),
    [("LATIN SMALL", "Latn"), ("CYRILLIC SMALL", "Cyrl"), ("HEBREW LETTER", "Hebr")],
)
def test_the_data_says_what_names_say(prefix: str, script: str) -> None:
    for first, last, scripts in lines("scripts.txt"):
        for point in range(first, last + 1):
            if unicodedata.name(chr(point), "").startswith(prefix):
                assert script in scripts.split(), hex(point)


def test_prototypes_have_no_prototypes() -> None:
    """So that one step makes a skeleton."""
    table = {chr(first): said for first, _, said in lines("confusables.txt")}
    assert len(table) > 6000
    for said in table.values():
        assert not any(chr(int(each, 16)) in table for each in said.split())


def test_the_data_says_whose_it_is() -> None:
    for name in ("scripts.txt", "confusables.txt"):
        head = (FOLDER / name).read_text("utf-8")[:600]
        assert "17.0.0" in head
        assert "Unicode, Inc." in head
    assert "UNICODE LICENSE V3" in (FOLDER / "LICENSE.txt").read_text("utf-8")
