"""What a line of a command means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometd_chat.chat import command_line
from cometd_chat.chat.command_line import Words, command_of, said_by
from cometd_chat.errors import InvalidRequest
from cometd_chat.lookalikes.keys import NameKeys, name_keys

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


def test_a_name_among_thousands_is_found_by_few_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """To see what a name looks like takes a while, and a room may have thousands."""
    looks = 0

    def counted(name: str) -> NameKeys:
        nonlocal looks
        looks += 1
        return name_keys(name)

    monkeypatch.setattr(command_line, "name_keys", counted)
    known = [f"somebody {number}" for number in range(5000)]
    assert Words("@Somebody 4999, be calm", known).name() == "somebody 4999"
    assert looks == 0
    assert Words("@nobody 4999", known).name() == "nobody"
    assert looks <= 210
    # One that looks like another is found as ever, where they are not thousands.
    assert Words("@s0mebody 7 10", known[:50]).name() == "somebody 7"
