"""What a batch keeps of what was made of it."""

from __future__ import annotations

from cometd_chat.events.event import Batch, Event
from cometd_chat.transports.framings import JsonLines, Jsonp, Poll


def batch() -> Batch:
    return Batch([Event({"type": "message", "text": "hi"}, id=1)])


def test_a_framing_is_made_once() -> None:
    said, framing = batch(), JsonLines()
    assert said.make(framing) is said.make(framing)


def test_what_is_complete_has_no_chunks() -> None:
    said = batch()
    body, chunked, size = said.make(Poll())
    assert (chunked, size) == (b"", len(body))
    assert said.make(JsonLines())[1].endswith(b"\r\n")


def test_names_that_clients_choose_are_not_all_kept() -> None:
    """Each could have another, and a page of 256 KiB would stay for each."""
    said, shared = batch(), JsonLines()
    said.make(shared)
    for number in range(100):
        assert b"c%d(" % number in said.framed(Jsonp(f"c{number}"))
    assert len(said.made) == 2
    assert shared in said.made
    assert said.make(Jsonp("c99")) is said.make(Jsonp("c99")), "those with equal names share one"
