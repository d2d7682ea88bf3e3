"""A body that is read while it arrives: lines come out as they went in, however they are cut."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from cometd_chat.transports.body import MAX_LINE, IncomingBody
from cometd_chat.transports.paced_reader import MOST_A_TURN
from tests.growth import growth


class Transport:
    """What is read from."""

    connected = True
    reading = True

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True


#: What is to be done after this turn.
later: list[Callable[[], None]] = []


class Incoming(IncomingBody):
    """A body, and what it is read from."""

    def __init__(self) -> None:
        self.transport = Transport()
        super().__init__(self.transport, later.append)


def incoming() -> Incoming:
    later.clear()
    return Incoming()


def turns() -> int:
    """Do what is to be done later, until there is nothing; how many turns that took."""
    count = 0
    while later:
        count += 1
        later.pop(0)()
    return count


class Said:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.refused: list[str] = []
        self.ended = self.held = 0

    def line_received(self, line: str) -> None:
        self.lines.append(line)

    def line_refused(self, why: str) -> None:
        self.refused.append(why)

    def body_ended(self) -> None:
        self.ended += 1


def read(pieces: list[bytes], listen_after: int = 0) -> Said:
    """What is heard of a body that comes in pieces."""
    said = Said()
    body = incoming()
    for number, piece in enumerate(pieces):
        if number == listen_after:
            body.listen(said)
        body.feed(piece)
    if len(pieces) <= listen_after:
        body.listen(said)
    body.end()
    turns()
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
        said, body = Said(), incoming()
        body.feed(b"one\ntwo\n" + rest)
        body.listen(said)
        body.break_off()
        body.break_off()
        body.end()
        assert (said.lines, len(said.refused), said.ended) == (["one", "two"], refused, 1)


def test_one_that_breaks_off_before_anybody_listens() -> None:
    said, body = Said(), incoming()
    body.feed(b"one\ntw")
    body.break_off()
    body.listen(said)
    assert (said.lines, len(said.refused), said.ended) == (["one"], 1, 1)


def test_a_line_that_trickles_in_is_looked_through_once() -> None:
    pieces = {size: [b"x"] * size for size in (6_000, 60_000)}
    assert growth(lambda: read(pieces[6_000]), lambda: read(pieces[60_000])) < 30


class TestPace:
    """No more is made of what has come than is wanted."""

    def test_a_few_lines_a_turn(self) -> None:
        said, body = Said(), incoming()
        body.listen(said)
        body.feed(b"x\n" * 1000)
        assert len(said.lines) == MOST_A_TURN
        assert body.held == 2 * (1000 - MOST_A_TURN)
        assert not body.transport.reading
        body.end()
        assert said.ended == 0, "before what came before it"
        assert turns() == 1000 // MOST_A_TURN
        assert len(said.lines) == 1000
        assert said.ended == 1
        assert body.transport.reading

    def test_none_while_none_is_wanted(self) -> None:
        said, body = Said(), incoming()
        body.listen(said)
        body.pause()
        body.feed(b"one\ntwo\n")
        assert not body.transport.reading
        body.transport.resumeProducing()
        body.feed(b"thr")
        assert not body.transport.reading, "whoever has let it be read meanwhile"
        body.end()
        assert not turns()
        assert said.lines == []
        said.held = 100
        assert body.held == 111
        body.resume()
        assert said.lines == ["one", "two", "thr"]
        assert said.ended == 1

    def test_who_has_enough_in_the_middle(self) -> None:
        body = incoming()

        class Full(Said):
            def line_received(self, line: str) -> None:
                super().line_received(line)
                body.pause()

        said = Full()
        body.listen(said)
        body.feed(b"1\n2\n3\n")
        for number in range(1, 4):
            assert len(said.lines) == number
            assert not body.transport.reading
            body.resume()
        assert body.transport.reading

    def test_a_connection_that_is_gone_is_left_alone(self) -> None:
        said, body = Said(), incoming()
        body.listen(said)
        body.transport.connected = False
        body.feed(b"x\n" * 100)
        turns()
        assert len(said.lines) == 100
        assert body.transport.reading
