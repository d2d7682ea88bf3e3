"""Ports that another process has bound: adopted, used in the short way, and left as they were."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as global_reactor
from twisted.internet import tcp
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory

from cometd_chat.daemon.lifecycle import CannotStart
from cometd_chat.daemon.ports import BoundPorts, Inherited, ListeningPorts
from cometd_chat.transports import twisted_internals
from tests.daemon.tls import certificate
from tests.servers import spin_until

reactor: Any = global_reactor


class Site(Factory):
    """Writes down who has come."""

    noisy = False

    def __init__(self) -> None:
        self.come: list[object] = []

    def buildProtocol(self, addr: object) -> Protocol:
        self.come.append(addr)
        return Protocol()

    def build_for(self, host: str) -> Protocol:
        """See `twisted_internals.accept_directly`."""
        return self.buildProtocol(host)


class Adopted:
    """What is bound by one part and served by another, as by two processes.

    :param description: of the endpoint.
    """

    def __init__(self, description: str) -> None:
        self.site = Site()
        self.ports: list[Any] = []
        self.bound = BoundPorts([description], reactor)
        self.bound.startService()
        (inherited,) = self.bound.inherited
        self.descriptor = inherited.descriptor
        # By another number, as over an exec.
        theirs = Inherited(inherited.description, os.dup(inherited.descriptor))
        self.serving = ListeningPorts(
            (), self.site, reactor, prepare=self.prepare, inherited=[theirs]
        )
        self.serving.startService()

    def prepare(self, port: Any) -> None:
        twisted_internals.use_slotted_transports(port, self.site)
        twisted_internals.accept_directly(port, self.site)
        self.ports.append(port)

    def stop(self) -> None:
        for part in (self.serving, self.bound):
            wait_for(part.stopService())


def wait_for(deferred: Deferred[Any]) -> None:
    spin_until(lambda: deferred.called)


def come(family: int, address: Any) -> socket.socket:
    client = socket.socket(family)
    try:
        client.connect(address)
    except OSError:
        client.close()
        raise
    return client


def test_tcp_is_accepted_in_the_short_way() -> None:
    adopted = Adopted("tcp:0:interface=127.0.0.1")
    (port,) = adopted.ports
    assert type(port) is tcp.Port
    assert port.transport is twisted_internals.SlottedServer
    assert "doRead" in vars(port)
    (bound,) = adopted.serving.bound
    assert bound == adopted.bound.bound[0]
    with come(socket.AF_INET, ("127.0.0.1", port.getHost().port)):
        spin_until(lambda: adopted.site.come)
    assert adopted.site.come == ["127.0.0.1"]
    adopted.stop()


def test_who_stops_leaves_the_queue_to_others() -> None:
    adopted = Adopted("tcp:0:interface=127.0.0.1")
    address = ("127.0.0.1", adopted.bound.bound[0].address.port)  # type: ignore[union-attr]
    wait_for(adopted.serving.stopService())
    with come(socket.AF_INET, address), socket.socket(fileno=os.dup(adopted.descriptor)) as queue:
        queue.setblocking(True)
        queue.accept()[0].close()
    adopted.stop()
    with pytest.raises(ConnectionRefusedError):
        come(socket.AF_INET, address)


def test_who_bound_it_ends_it_for_nobody_else() -> None:
    adopted = Adopted("tcp:0:interface=127.0.0.1")
    address = ("127.0.0.1", adopted.bound.bound[0].address.port)  # type: ignore[union-attr]
    wait_for(adopted.bound.stopService())
    with come(socket.AF_INET, address):
        spin_until(lambda: adopted.site.come)
    adopted.stop()


def test_a_socket_that_blocks_does_not_block_us() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert listening.getblocking()
        theirs = Inherited("tcp:0", os.dup(listening.fileno()))
        serving = ListeningPorts((), Site(), reactor, inherited=[theirs])
        serving.startService()
        assert not os.get_blocking(listening.fileno())
        wait_for(serving.stopService())


def test_a_unix_socket_keeps_mode_and_path(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    adopted = Adopted(f"unix:{path}:mode=620")
    (port,) = adopted.ports
    assert port.transport is twisted_internals.SlottedUnixServer
    with come(socket.AF_UNIX, str(path)):
        spin_until(lambda: adopted.site.come)
    wait_for(adopted.serving.stopService())
    assert stat.S_IMODE(path.stat().st_mode) == 0o620
    # It is not shut down either.
    come(socket.AF_UNIX, str(path)).close()
    adopted.stop()
    assert not path.exists()


def test_tls_is_spoken_as_the_endpoint_says(tmp_path: Path) -> None:
    certificate(tmp_path)
    both = tmp_path / "both.pem"
    adopted = Adopted(f"ssl:0:interface=127.0.0.1:privateKey={both}:certKey={both}")
    (port,) = adopted.ports
    assert isinstance(port.factory, TLSMemoryBIOFactory)
    assert adopted.serving.bound[0].secure
    adopted.stop()


def test_a_certificate_that_is_gone_is_told_as_at_the_start(tmp_path: Path) -> None:
    description = f"ssl:0:privateKey={tmp_path / 'gone.pem'}"
    with pytest.raises(CannotStart, match=r"gone\.pem"):
        Inherited(description, 99).endpoint(reactor)
