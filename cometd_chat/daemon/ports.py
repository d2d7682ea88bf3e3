"""The ports: endpoints that are bound at once, and how they are announced.

What it is: one part of the daemon, started last and stopped first.

What it may know: endpoints, sockets' limits. Not what is served.

Invariant: either all endpoints are bound when the part has started, or none is left open.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    UNIXServerEndpoint,
    serverFromString,
)
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from cometd_chat import __version__
from cometd_chat.daemon.data_directory import DataDirectory
from cometd_chat.daemon.lifecycle import CannotStart
from cometd_chat.daemon.option_values import parse_listen
from cometd_chat.daemon.tls import as_intermediate
from cometd_chat.transports import twisted_internals
from cometd_chat.transports.listener import Shortage, keep_back

#: Open files that are no connections: database, logs, the reactor's own. Half of them are open once
#: the daemon runs.
SPARE_FILES = 64

#: So many of them are kept back from connections, for what is opened later.
KEPT_BACK = 32

#: How many new connections may wait for us; Twisted's 50 is short for readers who all come back
#: at once after a restart.
BACKLOG = 1024

#: An address that stands for all of them, and one of those on which it can be reached.
_REACHED_BY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - shown, not bound


@attrs.frozen
class Bound:
    """A port that is open.

    :param secure: whether it speaks TLS.
    """

    address: IPv4Address | IPv6Address | UNIXAddress
    secure: bool

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        if isinstance(self.address, UNIXAddress):
            return "http://localhost/"
        return self.url_at(_REACHED_BY.get(self.address.host, self.address.host))

    def url_at(self, host: str) -> str:
        """Where a browser finds it at an address of this machine."""
        assert not isinstance(self.address, UNIXAddress)
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if self.secure else 'http'}://{host}:{self.address.port}/"

    @property
    def curl(self) -> str:
        """A command that shows the lobby live."""
        return self.curl_of("rooms/lobby.txt", "-N")

    def curl_of(self, path: str, *options: str) -> str:
        """A command that shows what is at a path."""
        if isinstance(self.address, UNIXAddress):
            options = (*options, "--unix-socket", os.fsdecode(self.address.name or b""))
        return " ".join(["curl", *options, self.url + path])


@attrs.frozen
class Inherited:
    """A port that this process's parent has bound.

    :param description: of the endpoint.
    :param descriptor: of its socket.
    """

    description: str
    descriptor: int

    def endpoint(self, reactor: Any) -> InheritedEndpoint:
        """What listens on it.

        :raises CannotStart: its certificate can't be read any more.
        """
        described = None
        if self.description.startswith("ssl:"):
            try:
                parse_listen(self.description)
            except ValueError as error:
                raise CannotStart(f"--listen {self.description!r}: {error}") from error
            described = serverFromString(reactor, self.description)
        return InheritedEndpoint(reactor, self.descriptor, described)


class ListeningPorts(Service):
    """The open ports.

    :param listen: endpoint descriptions that are known to parse.
    :param announce: told what is open, once all of it is.
    :param prepare: told of each port before it accepts anything; None for nobody.
    :param option: by which they were asked for.
    :param inherited: these are bound already, and none of ``listen`` is bound.
    """

    def __init__(
        self,
        listen: Sequence[str],
        factory: IProtocolFactory,
        reactor: Any,
        announce: Callable[[Sequence[Bound]], None] = lambda bound: None,
        *,
        prepare: Callable[[IListeningPort], None] | None = None,
        option: str = "--listen",
        inherited: Sequence[Inherited] | None = None,
    ) -> None:
        self.name = f"ports of {option}"
        self._option = option
        self._reactor = reactor
        self._prepare = prepare
        self._endpoints: list[tuple[str, Any]]
        if inherited is None:
            self._endpoints = [(each, endpoint_of(each, reactor)) for each in listen]
        else:
            self._endpoints = [(each.description, each.endpoint(reactor)) for each in inherited]
        for _, endpoint in self._endpoints:
            as_intermediate(getattr(endpoint, "described", endpoint))
        self._factory = factory
        self._announce = announce
        self._ports: list[IListeningPort] = []
        self.bound: tuple[Bound, ...] = ()

    def startService(self) -> None:
        """Bind them all.

        :raises CannotStart: one of them can't be had.
        """
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        shortage = Shortage(time.monotonic, files)
        try:
            for description, endpoint in self._endpoints:
                port = listen_now(self._option, description, endpoint, self._factory)
                self._ports.append(port)
                twisted_internals.accept_few(port)
                keep_back(port, self._reactor, max(files - KEPT_BACK, files // 2), shortage)
                if self._prepare is not None:
                    self._prepare(port)
        except CannotStart:
            self._close()
            raise
        self.bound = tuple(
            Bound(port.getHost(), description.startswith("ssl:"))  # type: ignore[arg-type]
            for port, (description, _) in zip(self._ports, self._endpoints, strict=True)
        )
        super().startService()
        self._announce(self.bound)

    def stopService(self) -> Deferred[Any]:
        super().stopService()
        return self._close()

    def _close(self) -> Deferred[Any]:
        ports, self._ports = self._ports, []
        return DeferredList([maybeDeferred(port.stopListening) for port in ports])


def accept_nothing(port: Any) -> None:
    """Let a port alone: others accept, and go on when this process lets go of it."""
    port.stopReading()
    twisted_internals.leave_open(port)


class BoundPorts(ListeningPorts):
    """Ports that are bound, and on which others accept: this process never does.

    :param listen: see `ListeningPorts`.
    """

    def __init__(self, listen: Sequence[str], reactor: Any, *, option: str = "--listen") -> None:
        nobody = Factory()
        nobody.noisy = False
        super().__init__(listen, nobody, reactor, prepare=accept_nothing, option=option)
        self._listen = listen

    @property
    def inherited(self) -> Sequence[Inherited]:
        """What another process is told of them."""
        return tuple(
            Inherited(description, port.fileno())  # type: ignore[attr-defined]
            for description, port in zip(self._listen, self._ports, strict=True)
        )


class InheritedEndpoint:
    """An endpoint whose socket has been bound by another process: the supervisor, or systemd.

    :param descriptor: of the socket; it is closed once there is a port of its own for it.
    :param described: an endpoint that says how TLS is spoken there; None for none.
    """

    def __init__(self, reactor: Any, descriptor: int, described: object | None) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self.described = described

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See `IStreamServerEndpoint.listen`."""
        with socket.socket(fileno=self._descriptor) as inherited:
            # A port accepts until there is nobody: accept(2) would wait for them.
            inherited.setblocking(False)
            options = twisted_internals.tls_options(self.described)
            if options is not None:
                factory = TLSMemoryBIOFactory(options, False, factory)
            if inherited.family == socket.AF_UNIX:
                return succeed(
                    twisted_internals.adopt_unix(self._reactor, inherited.dup(), factory)
                )
            return succeed(
                self._reactor.adoptStreamPort(inherited.fileno(), inherited.family, factory)
            )


def endpoint_of(description: str, reactor: Any) -> Any:
    """The endpoint of a description, with our backlog."""
    endpoint = serverFromString(reactor, with_backlog(description))
    if isinstance(endpoint, AdoptedStreamServerEndpoint):
        # A socket of systemd.
        return InheritedEndpoint(reactor, endpoint.fileno, None)
    return endpoint


def with_backlog(description: str) -> str:
    """The endpoint description with our backlog, where it has one and doesn't say."""
    kind = description.partition(":")[0]
    if kind not in ("tcp", "tcp6", "ssl", "unix") or ":backlog=" in description:
        return description
    return f"{description}:backlog={BACKLOG}"


def listen_now(
    option: str, description: str, endpoint: Any, factory: IProtocolFactory
) -> IListeningPort:
    """Bind an endpoint at once.

    :param option: by which it was asked for.
    :raises CannotStart: that was not possible.
    """
    results: list[Any] = []
    listening = endpoint.listen(factory).addBoth(results.append)
    if not results:
        listening.cancel()
        raise CannotStart(f"{option} {description}: can't be bound at once; use tcp, ssl or unix")
    (result,) = results
    if not isinstance(result, Failure):
        port: IListeningPort = result
        return port
    _remove_lock(endpoint)
    error = result.value
    cause = error.socketError if isinstance(error, CannotListenError) else error
    if isinstance(cause, PermissionError) and isinstance(endpoint, UNIXServerEndpoint):
        reason = "this user may not make it; give a path in a directory that can be written"
    elif isinstance(cause, PermissionError):
        reason = "this user may not bind it; use a port above 1023, or a systemd socket"
    elif getattr(cause, "errno", None) == errno.EADDRINUSE or cause is None:
        reason = "it is taken; stop the program that has it, or choose another"
    else:
        reason = f"can't be bound ({getattr(cause, 'strerror', None) or cause}); choose another"
    raise CannotStart(f"{option} {description}: {reason}") from error


def _remove_lock(endpoint: object) -> None:
    """Remove the lock that Twisted leaves beside a Unix socket which it could not make."""
    path = twisted_internals.socket_path(endpoint)
    if path is None:
        return
    lock = Path(f"{path}.lock")
    with suppress(OSError):
        # A link to the process that has it (`twisted.python.lockfile`).
        if str(lock.readlink()) == str(os.getpid()):
            lock.unlink()


def own_addresses() -> Sequence[str]:
    """The addresses from which this machine reaches others, and by which they reach it.

    Asked of the kernel's routes (connect(2) on a datagram socket); nothing is sent. The addresses
    asked about are for documentation (RFC 5737, RFC 3849) and belong to nobody.
    """
    found = []
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))
            found.append(probe.getsockname()[0])
    return found


def who_reaches(port: Bound, own: Sequence[str]) -> str:
    """A line that says who else can open the chat, and where.

    :param own: addresses of this machine.
    """
    assert not isinstance(port.address, UNIXAddress)
    bound = ip_address(port.address.host.partition("%")[0])
    if bound.is_loopback:
        return "only this machine can reach it; --listen tcp:8080 opens it to others"
    if not bound.is_unspecified:
        return "others use that address, too"
    # A port on :: takes IPv4 as well, where the system has not been told otherwise (ipv6(7)).
    reached = [each for each in own if bound.version == 6 or ip_address(each).version == 4]
    if not reached:
        return "others reach it once this machine is in a network"
    return f"others use {' or '.join(port.url_at(each) for each in reached)}"


def raise_open_file_limit() -> None:
    """Raise the soft limit on open files to the hard one: each connection is an open file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # An endless hard limit can be more than the kernel gives.
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def announce(
    data: DataDirectory,
    metrics: ListeningPorts,
    owner_code: Callable[[], str | None],
    bound: Sequence[Bound],
    workers: int = 1,
) -> None:
    """Say on the real stdout what runs where and how to try it.

    :param metrics: the port of the metrics, if there is one.
    :param owner_code: gives what makes its reader the owner, where there is none; here it is shown,
        and nowhere else.
    :param workers: how many processes serve.
    """
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    connections = max(files - SPARE_FILES, 0)
    lines = [f"Comet Chat {__version__}, data in {data.path}"]
    for port in bound:
        if isinstance(port.address, UNIXAddress):
            lines.append(f"  listening on {os.fsdecode(port.address.name or b'')}")
        else:
            lines.append(f"  {port.url} in two browser windows: talk to yourself")
            lines.append(f"  {who_reaches(port, own_addresses())}")
        lines.append(f"  {port.curl}")
    code = owner_code()
    if code is not None and bound:
        lines.append(f"  yours by {bound[0].url}claim/{code} (once, within 60 minutes)")
    lines += [f"  metrics: {port.curl_of('metrics')}" for port in metrics.bound]
    each = f" in each of {workers} workers" if workers > 1 else ""
    lines.append(f"  open files: {files}, enough for {connections} connections{each}")
    print_lines(lines)


def print_lines(lines: Sequence[str]) -> None:
    """Lines on the real stdout, in whatever encoding it has: ``sys.stdout`` may be the log."""
    stdout = sys.__stdout__
    if stdout is None:
        return
    encoding = stdout.encoding or "utf-8"
    text = "\n".join(lines).encode(encoding, "backslashreplace").decode(encoding)
    print(text, file=stdout, flush=True)
