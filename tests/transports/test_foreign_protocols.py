"""What is no HTTP/1.1 is known for what it is, and nothing that may become HTTP/1.1 is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import LogEvent, capturedLogs

from cometd_chat.transports.foreign_protocols import (
    EVERY,
    ForeignProtocols,
    bare_lf_in,
    foreign_protocol_at,
)
from cometd_chat.transports.timeouts import FOREIGN
from tests.channels import Net, refusal

#: What others send first, and what they are called.
FIRST_BYTES = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "the PROXY protocol": b"PROXY TCP4 192.0.2.7 192.0.2.1 50000 80\r\nGET / HTTP/1.1\r\n\r\n",
    "bytes that are no text": b"\x00" * 60,
    "lines that end with a bare LF": b"GET / HTTP/1.0\n\n",
}
MORE = [
    ("bytes that are no text", b"\x03\x00\x00\x13\x0e\xe0"),  # Remote desktops.
    ("bytes that are no text", b"\xff\xfb\x1f"),  # Telnet.
    ("lines that end with a bare LF", b"\n"),
    ("lines that end with a bare LF", b"GET / HTTP/1.1\r\nHost: h\n\n"),
    ("lines that end with a bare LF", b"\r\nhello\n"),
    ("SSH", b"SSH-2.0-OpenSSH_9\n"),
]
ALL = [*FIRST_BYTES.items(), *MORE]

REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"\r\nPOST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\na\nb\x00\n\xff\n\n\n",
    b"PROPFIND / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"PRINT / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"SSH / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"!$%&'*+-.^_`|~09 / HTTP/1.1\r\nHost: h\r\n\r\n",
]


@given(request=st.sampled_from(REQUESTS), data=st.data())
def test_no_beginning_of_a_request_is_strange(request: bytes, data: st.DataObject) -> None:
    beginning = request[: data.draw(st.integers(0, len(request)))]
    assert foreign_protocol_at(beginning) is None


@pytest.mark.parametrize(("what", "sent"), ALL)
def test_each_is_known_by_its_first_bytes(what: str, sent: bytes) -> None:
    found = foreign_protocol_at(sent) or bare_lf_in(sent.rpartition(b"\r\n")[2])
    assert found is not None
    assert found.what == what


@pytest.fixture(params=[True, False], ids=["lane", "klein"])
def net(request: pytest.FixtureRequest) -> Iterator[Net]:
    with Net(lane=request.param) as made:
        yield made


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(("what", "sent"), ALL)
def test_they_are_told_and_closed(net: Net, what: str, sent: bytes, size: int) -> None:
    connection = net.connect()
    response = connection.expect()
    for at in range(0, len(sent), size):
        connection.send(sent[at : at + size])
    assert refusal(response, 400)["detail"]
    assert connection.socket.server_done
    net.advance(FOREIGN + 1)
    assert connection.closed
    said = [each for each in net.logged if "closed a connection" in (each["log_format"] or "")]
    assert [each["what"] for each in said] == [what]
    assert net.resource.bodies == []


@pytest.mark.parametrize("sent", REQUESTS)
@pytest.mark.parametrize("size", [1, 1000])
def test_requests_are_answered(net: Net, sent: bytes, size: int) -> None:
    connection = net.connect()
    for _ in range(2):
        response = connection.expect()
        for at in range(0, len(sent), size):
            connection.send(sent[at : at + size])
        assert response.status == 200
        assert response.complete


def test_the_binary_form_of_the_proxy_protocol(net: Net) -> None:
    """Byte by byte it would be two empty lines first, where one is all that is taken."""
    connection = net.connect()
    response = connection.expect()
    connection.send(b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c")
    assert "haproxy:" in refusal(response, 400)["detail"]


def test_a_foreign_protocol_behind_a_request(net: Net) -> None:
    connection = net.connect()
    response = connection.expect()
    after = connection.expect()
    connection.send(REQUESTS[0] + b"GET / HTTP/1.1\nHost: h\n\n")
    assert response.status == 200
    assert refusal(after, 400)["detail"]


def test_there_is_one_line_a_minute() -> None:
    clock = Clock()
    foreign = ForeignProtocols(clock.seconds)
    tls = foreign_protocol_at(b"\x16\x03\x01")
    assert tls is not None

    def lines() -> list[LogEvent]:
        with capturedLogs() as logs:
            for _ in range(5):
                foreign.note(tls)
        return list(logs)

    assert [(each["what"], each["more"]) for each in lines()] == [("TLS", 0)]
    clock.advance(EVERY - 1)
    assert lines() == []
    clock.advance(1)
    assert [each["more"] for each in lines()] == [9]
