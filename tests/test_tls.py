"""TLS on our own ports: what is spoken, what is not, and who need not shake hands again."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock

from cometd_chat.daemon.ports import ListeningPorts
from cometd_chat.daemon.tls import CIPHERS, as_intermediate
from tests.daemon.tls import certificate
from tests.servers import reactor, spin_until

pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


class Greeting(Protocol):
    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"hello")


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A port that speaks TLS and says hello."""
    certificate(tmp_path)
    file = tmp_path / "both.pem"
    where = f"ssl:0:interface=127.0.0.1:privateKey={file}:certKey={file}"
    factory = Factory.forProtocol(Greeting)
    ports = ListeningPorts([where], factory, reactor, lambda bound: None)
    ports.startService()
    address: Any = ports.bound[0].address
    yield address.port
    ports.stopService()
    for _ in range(5):
        reactor.iterate(0)


def context(version: ssl.TLSVersion, ciphers: str = "") -> ssl.SSLContext:
    """A client's."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = made.maximum_version = version
    if ciphers:
        made.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    return made


def shake(
    port: int, client: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[tuple[str, str, int] | None, bool, ssl.SSLSession | None]:
    """Connect and read the greeting: the cipher, whether the session was resumed, and the session.

    :raises ssl.SSLError: nothing was agreed upon.
    """
    with socket.create_connection(("127.0.0.1", port)) as plain:
        plain.setblocking(False)
        with client.wrap_socket(plain, do_handshake_on_connect=False, session=session) as tls:
            read = b""

            def greeted() -> bool:
                nonlocal read
                try:
                    tls.do_handshake()
                    read += tls.recv(100)
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    return False
                return read == b"hello"

            spin_until(greeted)
            found = tls.cipher(), bool(tls.session_reused), tls.session
    for _ in range(5):
        reactor.iterate(0)
    return found


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_who_was_here_need_not_shake_hands_from_the_beginning(
    port: int, version: ssl.TLSVersion
) -> None:
    """Though she closes without a goodbye."""
    client = context(version)
    _, resumed, session = shake(port, client)
    assert not resumed
    for _ in range(2):
        _, resumed, session = shake(port, client, session)
        assert resumed


@pytest.mark.parametrize("cipher", [each for each in CIPHERS if each.startswith("ECDHE-ECDSA")])
def test_the_good_ciphers_are_spoken(port: int, cipher: str) -> None:
    found, _, _ = shake(port, context(ssl.TLSVersion.TLSv1_2, cipher))
    assert found is not None
    assert found[0] == cipher


@pytest.mark.parametrize(
    "cipher",
    [
        "ECDHE-ECDSA-AES128-SHA",  # No authenticated encryption.
        "ECDHE-ECDSA-AES256-SHA384",
        "ECDHE-ECDSA-AES128-CCM8",  # A tag of 8 bytes.
    ],
)
def test_others_are_not(port: int, cipher: str) -> None:
    with pytest.raises(ssl.SSLError):
        shake(port, context(ssl.TLSVersion.TLSv1_2, cipher))


def test_the_client_chooses(port: int) -> None:
    """Who has no AES in hardware asks for ChaCha first."""
    wanted = ["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256"]
    for ciphers in (wanted, wanted[::-1]):
        found, _, _ = shake(port, context(ssl.TLSVersion.TLSv1_2, ":".join(ciphers)))
        assert found is not None
        assert found[0] == ciphers[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_older_versions_are_not_spoken(port: int) -> None:
    with pytest.raises(ssl.SSLError):
        shake(port, context(ssl.TLSVersion.TLSv1_1, "ALL"))


def test_what_speaks_none_stays_as_it_is() -> None:
    for endpoint in (object(), Clock()):
        as_intermediate(endpoint)
        assert not hasattr(endpoint, "enableSessions")
