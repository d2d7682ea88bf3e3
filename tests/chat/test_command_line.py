"""What a line of a command means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometd_chat.chat.command_line import Words, command_of, said_by
from cometd_chat.errors import InvalidRequest

KNOWN = ["alice", "Alice Liddell", "Zoë", "al"]


@pytest.mark.parametrize(
    ("text", "command", "said"),
    [
        ("/help", "help", None),
        ("  /help me ", "help me", None),
        ("/", "", None),
        ("//etc/hosts", None, "/etc/hosts"),
        ("  //x", None, "/x"),
        ("///", None, "//"),
        ("hi /there", None, "hi /there"),
        ("", None, ""),
        (5, None, 5),
    ],
)
def test_what_is_a_command(text: object, command: str | None, said: object) -> None:
    assert command_of(text) == command
    if command is None:
        assert said_by(text) == said


@pytest.mark.parametrize(
    ("line", "name", "rest"),
    [
        ("alice spam", "alice", "spam"),
        ('"Alice Liddell" 5 spam', "Alice Liddell", "5 spam"),
        ("\u201cAlice Liddell\u201d spam", "Alice Liddell", "spam"),
        ("@Alice Liddell spam and more", "Alice Liddell", "spam and more"),
        ("@alice liddell: hi", "Alice Liddell", "hi"),
        ("@alice spam", "alice", "spam"),
        ("@ALICE, hi", "alice", "hi"),
        ("@nobody known", "nobody", "known"),
        ("@zoe\u0308", "Zoë", ""),
        ("bob line one\nline two", "bob", "line one\nline two"),
        ("@alice one\ntwo", "alice", "one\ntwo"),
    ],
)
def test_a_name(line: str, name: str, rest: str) -> None:
    words = Words(line, KNOWN)
    assert words.name() == name
    assert words.rest() == rest
    assert not words


@pytest.mark.parametrize("line", ["", '"open', '"" x', "   "])
def test_no_name(line: str) -> None:
    with pytest.raises(InvalidRequest):
        Words(line).name()


@pytest.mark.parametrize("word", ["1000000000", "9" * 5000, "-5", "+5", "0.5", "1,5", "٣"])
def test_what_is_no_whole_number_is_not_taken_for_a_reason(word: str) -> None:
    with pytest.raises(InvalidRequest, match="whole number"):
        Words(f"{word} spam").number()


@pytest.mark.parametrize("word", ["1st", "5m", "spam", "-", "", "3-4"])
def test_what_is_a_word_is_left(word: str) -> None:
    assert Words(word).number() is None


def test_numbers_and_words() -> None:
    words = Words("network 15 all the spam")
    assert words.takes("here", "network")
    assert not words.takes("here")
    assert (words.number(), words.number()) == (15, None)
    assert words.rest() == "all the spam"
    assert words.word() == ""


@given(st.text(), st.lists(st.sampled_from(KNOWN)))
def test_anything(line: str, known: list[str]) -> None:
    words = Words(line, known)
    try:
        name = words.name()
    except InvalidRequest:
        return
    assert name
    words.rest()
