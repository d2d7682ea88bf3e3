"""The transport ``ws``: its frames, as a strict peer, a sloppy one and a hostile one make them.

The ideas of the Autobahn suite: fragments, pings, reserved bits, UTF-8, sizes, close codes.
"""

from __future__ import annotations

import struct
from typing import Any

import pytest

from cometd_chat.transports import websocket
from cometd_chat.transports.websocket import CLOSE_TIMEOUT, MAX_FRAGMENTS, MAX_MESSAGE
from tests.memory import MakeSite, MemorySite
from tests.net import fake_kernel
from tests.web.talkers import (
    BINARY,
    CLOSE,
    MORE,
    PING,
    PONG,
    TEXT,
    Socket,
    client_frame,
    message,
    said,
)

KIB = 1024


@pytest.fixture
def alice(site: MemorySite) -> str:
    """A token of hers."""
    return site.log_in("alice")


def close_code(socket: Socket) -> int | None:
    """The code of the server's close frame, if it has sent one."""
    closed = socket.closed_by()
    return None if closed is None else closed[0]


def done(socket: Socket) -> bool:
    """Whether the server has closed its half of the connection."""
    return socket.connection.socket.server_done


# -- frames


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[begin : begin + size] for begin in range(0, len(data), size)]


class TestFrames:
    @pytest.mark.parametrize("size", [1, 2, 7, 130])
    def test_bytes_come_as_they_like(self, site: MemorySite, alice: str, size: int) -> None:
        text = "h\u00e9 \U0001f984 " + "x" * 200
        socket = Socket(site, token=alice)
        for piece in pieces(client_frame(TEXT, message(text)), size):
            socket.connection.send(piece)
        assert socket.texts() == [text]

    @pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65535, 65536])
    def test_sizes_at_the_edges_of_the_length(
        self, site: MemorySite, alice: str, size: int
    ) -> None:
        socket = Socket(site, token=alice)
        socket.frame(TEXT, b" " * size)
        (error,) = socket.of("error")
        assert error["status"] == 400
        assert close_code(socket) is None

    def test_fragments_are_one_message(self, site: MemorySite, alice: str) -> None:
        socket = Socket(site, token=alice)
        whole = message("in pieces: h\u00e9 \U0001f984")
        for index, piece in enumerate(pieces(whole, 5)):
            socket.frame(MORE if index else TEXT, piece, end=False)
        assert socket.texts() == []
        socket.frame(MORE, b"", end=True)
        assert socket.texts() == ["in pieces: h\u00e9 \U0001f984"]

    def test_pings_between_fragments_are_answered_at_once(
        self, site: MemorySite, alice: str
    ) -> None:
        socket = Socket(site, token=alice)
        whole = message("hi")
        socket.frame(TEXT, whole[:5], end=False)
        socket.frame(PING, b"between")
        assert socket.frames(PONG) == [(PONG, b"between")]
        socket.frame(PONG, b"nobody asked")
        socket.frame(MORE, whole[5:])
        assert socket.texts() == ["hi"]

    @pytest.mark.parametrize("payload", [b"", b"x", b"\x00\xff\xfe", b"x" * 125])
    def test_a_ping_comes_back_as_it_was(self, site: MemorySite, payload: bytes) -> None:
        socket = Socket(site)
        socket.frame(PING, payload)
        assert socket.frames(PONG) == [(PONG, payload)]

    def test_pongs_that_nobody_asked_for_are_fine(self, site: MemorySite) -> None:
        socket = Socket(site)
        socket.frame(PONG, b"x")
        site.say("hi")
        assert socket.texts() == ["hi"]

    WRONG = {
        "reserved bit 1": (client_frame(TEXT, message("x"), reserved=4), 1002),
        "reserved bit 2": (client_frame(TEXT, message("x"), reserved=2), 1002),
        "reserved bit 3": (client_frame(PING, b"x", reserved=1), 1002),
        **{f"opcode {code}": (client_frame(code, b"x"), 1002) for code in (3, 4, 5, 6, 7)},
        **{f"opcode {code}": (client_frame(code, b"x"), 1002) for code in (11, 12, 13, 14, 15)},
        "not masked": (client_frame(TEXT, message("x"), mask=False), 1002),
        "a ping that is not masked": (client_frame(PING, b"", mask=False), 1002),
        "a fragment of nothing": (client_frame(MORE, b"x"), 1002),
        "a message within a message": (client_frame(TEXT, b"x", end=False) * 2, 1002),
        "a long ping": (client_frame(PING, b"x" * 126), 1002),
        "a long close": (client_frame(CLOSE, b"\x03\xe8" + b"x" * 124), 1002),
        "half a ping": (client_frame(PING, b"x", end=False), 1002),
        "half a close": (client_frame(CLOSE, b"", end=False), 1002),
        "a length that is longer than needed": (b"\x81\xfe\x00\x05" + b"\0" * 9, 1002),
        "one that is much longer": (b"\x81\xff" + b"\0" * 7 + b"\x05" + b"\0" * 9, 1002),
        "a length beyond all": (b"\x81\xff\x80" + b"\0" * 7 + b"\0" * 9, 1002),
        "binary": (client_frame(BINARY, b"\x00\x01"), 1003),
        "an empty binary one": (client_frame(BINARY), 1003),
        "the first piece of a binary one": (client_frame(BINARY, b"x", end=False), 1003),
        "no UTF-8": (client_frame(TEXT, b"\xff"), 1007),
        "UTF-8 too long": (client_frame(TEXT, b"\xc0\xaf"), 1007),
        "a surrogate": (client_frame(TEXT, b"\xed\xa0\x80"), 1007),
        "beyond Unicode": (client_frame(TEXT, b"\xf4\x90\x80\x80"), 1007),
        "half a character": (client_frame(TEXT, b"\xc3"), 1007),
        "half of one over two fragments": (
            client_frame(TEXT, b"\xf0\x9f", end=False) + client_frame(MORE, b"\xa6"),
            1007,
        ),
        "a reason that is no UTF-8": (client_frame(CLOSE, b"\x03\xe8\xff"), 1007),
    }

    @pytest.mark.parametrize("what", WRONG)
    @pytest.mark.parametrize("size", [1, 10**6])
    def test_wrong_ones_end_it_and_say_why(
        self, site: MemorySite, alice: str, what: str, size: int
    ) -> None:
        data, code = self.WRONG[what]
        socket = Socket(site, token=alice)
        for piece in pieces(data + client_frame(TEXT, message("after it")), size):
            socket.connection.send(piece)
        assert close_code(socket) == code
        assert said(site) == []
        assert done(socket)
        assert site.engine.context("/chat/lobby").handlers == []  # type: ignore[union-attr]

    def test_invalid_utf_8_ends_it_before_its_message_does(self, site: MemorySite) -> None:
        socket = Socket(site)
        frame = client_frame(TEXT, b"ok \xff and then much more" + b"x" * 1000)
        socket.connection.send(frame[:20])
        assert close_code(socket) == 1007


class TestSize:
    def test_the_largest(self, site: MemorySite, alice: str) -> None:
        socket = Socket(site, token=alice)
        body = message("hi", padding="")
        socket.frame(TEXT, body[:-2] + b"x" * (MAX_MESSAGE - len(body)) + body[-2:])
        assert socket.texts() == ["hi"]

    def test_one_byte_more(self, site: MemorySite, alice: str) -> None:
        socket = Socket(site, token=alice)
        body = message("hi", padding="")
        socket.frame(TEXT, body[:-2] + b"x" * (MAX_MESSAGE + 1 - len(body)) + body[-2:])
        assert close_code(socket) == 1009
        assert said(site) == []

    def test_bytes_count_and_not_characters(self, site: MemorySite, alice: str) -> None:
        socket = Socket(site, token=alice)
        socket.frame(TEXT, "\u20ac".encode() * (MAX_MESSAGE // 3 + 1))
        assert close_code(socket) == 1009

    def test_a_huge_one_is_cut_while_it_arrives(self, site: MemorySite) -> None:
        socket = Socket(site)
        head = client_frame(TEXT, b"x" * 70000)[:2] + struct.pack("!Q", 40_000_000) + b"\0" * 4
        socket.connection.send(head)
        assert close_code(socket) is None
        sent = 0
        while close_code(socket) is None:
            socket.connection.send(b"x" * 4096)
            sent += 4096
            assert sent <= MAX_MESSAGE + 2 * 4096
        assert close_code(socket) == 1009
        assert sent >= MAX_MESSAGE

    def test_so_is_one_of_many_fragments(self, site: MemorySite) -> None:
        socket = Socket(site)
        for index in range(100):
            socket.frame(MORE if index else TEXT, b"x" * 4096, end=False)
            if close_code(socket) is not None:
                break
        assert close_code(socket) == 1009
        assert index <= MAX_MESSAGE // 4096

    def test_the_most_fragments(self, site: MemorySite, alice: str) -> None:
        socket = Socket(site, token=alice)
        body = message("hi")
        socket.frame(TEXT, body, end=False)
        for _ in range(MAX_FRAGMENTS - 2):
            socket.frame(MORE, b"", end=False)
        socket.frame(MORE, b"")
        assert socket.texts() == ["hi"]

    def test_one_more_is_too_many(self, site: MemorySite) -> None:
        socket = Socket(site)
        socket.frame(TEXT, b"", end=False)
        for _ in range(MAX_FRAGMENTS):
            socket.frame(MORE, b"", end=False)
        assert close_code(socket) == 1009

    def test_what_comes_after_that_is_neither_kept_nor_answered(self, site: MemorySite) -> None:
        """The peer may be in the middle of it: closing at once would destroy our close frame."""
        socket = Socket(site)
        socket.frame(TEXT, b"x" * (MAX_MESSAGE + 1))
        before = socket.read
        for _ in range(10):
            socket.connection.send(client_frame(TEXT, b"x" * 60000) + client_frame(PING))
            assert not socket.connection.closed
        assert len(socket.connection.socket.to_server) == 0
        assert socket.read == before
        socket.connection.close()
        assert socket.connection.closed
        assert not socket.connection.socket.reset

    def test_that_is_not_for_ever(self, site: MemorySite) -> None:
        socket = Socket(site)
        socket.frame(BINARY, b"x")
        site.advance(3)
        assert socket.connection.closed


# -- the end


class TestClosing:
    @pytest.mark.reads
    @pytest.mark.parametrize(
        "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]
    )
    def test_a_close_is_answered_with_its_code(self, site: MemorySite, code: int) -> None:
        socket = Socket(site)
        socket.frame(CLOSE, struct.pack("!H", code) + "sch\u00f6n".encode())
        assert close_code(socket) == code
        assert done(socket)

    def test_one_without_a_code(self, site: MemorySite) -> None:
        socket = Socket(site)
        socket.frame(CLOSE)
        assert close_code(socket) in (1000, 1005)
        assert done(socket)

    @pytest.mark.reads
    @pytest.mark.parametrize(
        "code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]
    )
    def test_a_code_that_is_none(self, site: MemorySite, code: int) -> None:
        socket = Socket(site)
        socket.frame(CLOSE, struct.pack("!H", code))
        assert close_code(socket) == 1002

    def test_one_byte_of_a_code(self, site: MemorySite) -> None:
        socket = Socket(site)
        socket.frame(CLOSE, b"\x03")
        assert close_code(socket) == 1002

    def test_nothing_after_a_close_counts(self, site: MemorySite, alice: str) -> None:
        socket = Socket(site, token=alice)
        rest = client_frame(TEXT, message("too late")) + client_frame(PING, b"x")
        socket.connection.send(client_frame(CLOSE, b"\x03\xe8") + rest)
        socket.connection.send(rest)
        assert said(site) == []
        assert socket.frames(PONG) == []
        assert len(socket.frames(CLOSE)) == 1

    def test_who_closes_is_counted_out_and_leaves(self, site: MemorySite, alice: str) -> None:
        socket = Socket(site, token=alice)
        counts = site.metrics
        assert 'comet_chat_held_requests{transport="ws"} 1.0' in counts
        socket.frame(CLOSE, b"\x03\xe8")
        assert 'comet_chat_held_requests{transport="ws"} 0.0' in site.metrics
        site.advance(11)
        assert site.get("/api/v1/rooms/lobby/people").json() == {"people": []}

    def test_nothing_follows_our_answer_however_slow_its_reader(self, site: MemorySite) -> None:
        socket = Socket(site, window=400)
        site.fill(5, text="x" * 40_000 + "{}")
        socket.connection.send(client_frame(CLOSE, b"\x03\xe8"))
        site.fill(3)
        site.advance(1)
        socket.connection.open_window(None)
        assert close_code(socket) == 1000
        assert done(socket)

    def test_a_peer_that_just_goes(self, site: MemorySite, alice: str) -> None:
        for how in ("close", "reset"):
            socket = Socket(site, token=alice)
            getattr(socket.connection, how)()
            assert socket.connection.closed
        assert site.engine.context("/chat/lobby").handlers == []  # type: ignore[union-attr]

    def test_a_stop_says_come_back(self, site: MemorySite) -> None:
        socket = Socket(site)
        site.stop()
        (reopen,) = socket.of("reopen")
        assert 0 <= reopen["after"] <= 3
        assert reopen["cursor"] == site.now
        assert close_code(socket) == websocket.COME_BACK == 1012

    def test_the_end_of_a_session_says_stay_away(self, site: MemorySite, alice: str) -> None:
        socket = Socket(site, token=alice)
        assert site.request("DELETE", "/api/v1/session", token=alice).status == 204
        (bye,) = socket.of("bye")
        assert bye["reason"] == "logged out"
        assert socket.closed_by() == (4000, "logged out")
        assert websocket.STAY_AWAY == 4000

    def test_after_our_close_we_wait_for_the_peers(self, site: MemorySite, alice: str) -> None:
        socket = Socket(site, token=alice)
        site.request("DELETE", "/api/v1/session", token=alice)
        assert not done(socket)
        socket.frame(CLOSE, struct.pack("!H", 4000))
        assert done(socket)
        assert len(socket.frames(CLOSE)) == 1

    def test_but_not_for_ever(self, site: MemorySite, alice: str) -> None:
        socket = Socket(site, token=alice)
        site.request("DELETE", "/api/v1/session", token=alice)
        site.advance(CLOSE_TIMEOUT - 0.5)
        assert not done(socket)
        site.advance(1)
        assert done(socket)
        site.advance(3)
        assert socket.connection.closed

    def test_what_it_says_after_our_close_is_not_answered(
        self, site: MemorySite, alice: str
    ) -> None:
        socket = Socket(site, token=alice)
        site.request("DELETE", "/api/v1/session", token=alice)
        socket.frame(PING, b"x")
        socket.frame(BINARY, b"x")
        assert socket.closed_by() == (4000, "logged out")
        assert len(socket.frames(CLOSE)) == 1

    def test_nor_is_it_posted(self, site: MemorySite, alice: str) -> None:
        socket = Socket(site, token=alice)
        site.request("DELETE", "/api/v1/session", token=alice)
        socket.say("from beyond")
        assert said(site) == []
        assert site.get("/api/v1/rooms/lobby/people").json() == {"people": []}

    def test_a_peer_that_goes_after_our_close(self, site: MemorySite, alice: str) -> None:
        socket = Socket(site, token=alice)
        site.request("DELETE", "/api/v1/session", token=alice)
        socket.connection.reset()
        assert socket.connection.closed
        site.advance(2 * CLOSE_TIMEOUT)

    @pytest.mark.parametrize("size", [119, 120, 121, 200])
    def test_a_long_reason_is_cut_between_characters(self, size: int) -> None:
        frame = websocket.close_frame(4000, "\u00fc" * size)
        assert len(frame) <= 2 + 125
        assert set(frame[4:].decode()) == {"\u00fc"}


class TestHolding:
    def test_heartbeats_are_events_and_pings(self, site: MemorySite) -> None:
        socket = Socket(site)
        site.say("for others", "dev")
        site.advance(31)
        beats = socket.of("heartbeat")
        assert len(beats) == 2
        assert beats[-1]["cursor"] == site.now
        assert socket.frames(PING) == [(PING, b"")] * 2
        socket.frame(PONG, b"")
        assert close_code(socket) is None

    @pytest.mark.parametrize(
        "said_by_it",
        [client_frame(PONG), client_frame(PING), client_frame(TEXT, b"{}"), b"\x81"],
        ids=["pong", "ping", "text", "part of a frame"],
    )
    def test_anything_that_it_says_is_progress(
        self, make_site: MakeSite, monkeypatch: pytest.MonkeyPatch, said_by_it: bytes
    ) -> None:
        site = make_site(expiration_delay=60)
        fake_kernel(monkeypatch, site)
        talking, silent = Socket(site), Socket(site)
        for socket in (talking, silent):
            socket.connection.socket.acknowledges = False
        for number in range(10):
            site.advance(10)
            if number == 0 or said_by_it != b"\x81":
                talking.connection.send(said_by_it)
            elif number == 1:
                talking.connection.send(b"\xff" + struct.pack("!Q", 70000) + b"\0" * 4)
            else:
                talking.connection.send(b"x")
        assert silent.connection.closed
        assert not talking.connection.closed

    def test_a_batch_is_framed_once_for_all(self, site: MemorySite) -> None:
        sockets = [Socket(site) for _ in range(3)]
        framed: list[bytes] = []
        real = websocket.WebSocketFrames.one

        def one(self: Any, event: Any) -> bytes:
            framed.append(event.json)
            return real(self, event)

        websocket.WebSocketFrames.one = one  # type: ignore[method-assign]
        try:
            site.fill(5)
        finally:
            websocket.WebSocketFrames.one = real  # type: ignore[method-assign]
        assert len(framed) == 5
        for socket in sockets:
            assert len(socket.texts()) == 5

    def test_pings_that_nobody_reads_the_answers_to_cost_little(self, site: MemorySite) -> None:
        socket = Socket(site, window=400)
        for _ in range(40):
            socket.connection.send(client_frame(PING, b"x" * 125) * 500)
        assert socket.connection.closed or socket.connection.buffered < 256 * KIB

    def test_a_message_that_is_taken_is_answered_even_to_a_slow_reader(
        self, site: MemorySite, alice: str
    ) -> None:
        socket = Socket(site, token=alice, window=300)
        socket.say("hi")
        socket.connection.open_window(None)
        assert socket.texts() == ["hi"]
