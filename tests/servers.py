"""Real listening ports and what connects to them, in the reactor of the test.

What it is: `Servers` accepts, `spin_until` lets the reactor work until something is so.

What it may know: Twisted's ports, sockets, TLS.

Invariant: nobody sleeps; what never comes fails.
"""

from __future__ import annotations

import datetime
import socket
import ssl
from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet import reactor as global_reactor
from twisted.internet import ssl as twisted_ssl
from twisted.internet.protocol import Factory, Protocol

reactor: Any = global_reactor

#: More than the kernel takes of what nobody reads.
MUCH = 16 * 2**20

#: Rounds of the reactor after which something that should happen never does.
PATIENCE = 10_000


class Servers:
    """Real listening ports, and what connects to them."""

    def __init__(self) -> None:
        self.accepted: list[Any] = []
        self.closing: list[Callable[[], object]] = []

    def factory(self) -> Factory:
        accepted = self.accepted

        class Accepting(Protocol):
            def connectionMade(self) -> None:
                accepted.append(self.transport)

        return Factory.forProtocol(Accepting)

    def connected(self, port: Any, client: socket.socket, address: Any) -> Any:
        """The server's transport of a client that has connected."""
        self.closing += [client.close, port.stopListening]
        client.connect(address)
        client.setblocking(False)
        spin_until(lambda: self.accepted)
        self.closing.insert(0, self.accepted[0].abortConnection)
        return self.accepted[0]

    def close(self) -> None:
        for each in self.closing:
            each()
        for _ in range(5):
            reactor.iterate(0)


def spin_until(done: Callable[[], object]) -> None:
    """Let the reactor work until something is so."""
    for _ in range(PATIENCE):
        if done():
            return
        reactor.iterate(0.001)
    raise AssertionError("it never came to that")


def take(client: Any, size: int) -> int:
    """Read up to so many bytes; how many there were."""
    taken = 0
    while taken < size:
        try:
            data = client.recv(min(65536, size - taken))
        except (BlockingIOError, ssl.SSLWantReadError):
            break
        if not data:
            break
        taken += len(data)
    return taken


def tls_context() -> tuple[Any, ssl.SSLContext]:
    """A context for the server, and one for a client that trusts anybody."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    return twisted_ssl.PrivateCertificate.loadPEM(pem).options(), client


def shake_hands(client: ssl.SSLSocket) -> None:
    def shaken() -> bool:
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    spin_until(shaken)
