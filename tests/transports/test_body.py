"""A body that is read while it arrives: lines come out as they went in, however they are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cometd_chat.transports.body import MAX_LINE, IncomingBody
from tests.growth import growth


class Said:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.refused: list[str] = []
        self.ended = 0

    def line_received(self, line: str) -> None:
        self.lines.append(line)

    def line_refused(self, why: str) -> None:
        self.refused.append(why)

    def body_ended(self) -> None:
        self.ended += 1


def read(pieces: list[bytes], listen_after: int = 0) -> Said:
    """What is heard of a body that comes in pieces."""
    said = Said()
    body = IncomingBody()
    for number, piece in enumerate(pieces):
        if number == listen_after:
            body.listen(said)
        body.feed(piece)
    if len(pieces) <= listen_after:
        body.listen(said)
    body.end()
    return said


@given(st.lists(st.sampled_from(["", "a", "bc", "d e", "é", "\u65e5" * 3])), st.data())
def test_lines_are_the_same_however_they_are_cut(lines: list[str], data: st.DataObject) -> None:
    whole = "\n".join(lines).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)))))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    said = read(pieces, data.draw(st.integers(0, len(pieces))))
    assert said.lines == [each for each in lines if each.strip()]
    assert not said.refused
    assert said.ended == 1


def test_what_is_too_long_ends_with_its_line() -> None:
    said = read([b"x" * MAX_LINE, b"y", b"z\nnext\n", b"w" * (MAX_LINE + 1) + b"\nlast"])
    assert said.lines == ["next", "last"]
    assert len(said.refused) == 2


def test_one_that_breaks_off_has_no_last_line() -> None:
    for rest, refused in ((b"", 0), (b"thr", 1), (b"x" * (MAX_LINE + 1), 1)):
        said, body = Said(), IncomingBody()
        body.feed(b"one\ntwo\n" + rest)
        body.listen(said)
        body.break_off()
        body.break_off()
        body.end()
        assert (said.lines, len(said.refused), said.ended) == (["one", "two"], refused, 1)


def test_one_that_breaks_off_before_anybody_listens() -> None:
    said, body = Said(), IncomingBody()
    body.feed(b"one\ntw")
    body.break_off()
    body.listen(said)
    assert (said.lines, len(said.refused), said.ended) == (["one"], 1, 1)


def test_a_line_that_trickles_in_is_looked_through_once() -> None:
    pieces = {size: [b"x"] * size for size in (6_000, 60_000)}
    assert growth(lambda: read(pieces[6_000]), lambda: read(pieces[60_000])) < 30
