"""The daemon as a service: options in, parts joined, started and stopped in order.

What it is: `build` joins the parts; `makeService` is what twistd and ``chat.tac`` call. Here are
also the parts that only a process has: its directory, its ports, its limit on open files.

What it may know: everything. Nobody imports it.

Invariant: `makeService` opens nothing. `startService` opens, migrates and binds, all before the
reactor runs; what can't be is one sentence on the real stderr and exit status 1. On stop the ports
close first, the lock on the directory goes last.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import resource
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs
from twisted.application.service import MultiService, Service
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from cometd_chat import __version__
from cometd_chat.chat.chat import Chat
from cometd_chat.chat.feed import Feed
from cometd_chat.chat.limits import Limits
from cometd_chat.chat.presence import Presence
from cometd_chat.chat.rooms import Rooms
from cometd_chat.chat.sessions import Sessions
from cometd_chat.comet import CometEngine, Reaper
from cometd_chat.errors import ChatError
from cometd_chat.log.database import Database
from cometd_chat.log.directory import Directory, SqlDirectory
from cometd_chat.log.log import EventLog, Tail
from cometd_chat.log.sql import SqlEventLog
from cometd_chat.settings import Options, Settings, print_sentence
from cometd_chat.systemd import Notifier
from cometd_chat.transports.http import ChatSite
from cometd_chat.transports.ledger import Ledger
from cometd_chat.web.addresses import shown_address
from cometd_chat.web.app import ChatApp, reads_early
from cometd_chat.web.auth import Auth
from cometd_chat.web.classic import ClassicServlet
from cometd_chat.web.doors import Doors, Holding
from cometd_chat.web.front import Front
from cometd_chat.web.metrics import Metrics
from cometd_chat.web.origins import Origins
from cometd_chat.web.pages import Pages
from cometd_chat.web.peers import Peers
from cometd_chat.web.problems import Problems
from cometd_chat.web.screens import Screens

__all__ = ["CannotStart", "Options", "Settings", "build", "makeService"]

#: Seconds that a part may take to stop before the next one has its turn.
STOP_TIMEOUT = 20.0

#: What this daemon calls itself, to clients and in its answers.
SERVER = f"comet-chat/{__version__}"

#: The newest events in memory: so many, and so many bytes.
TAIL = (10_000, 16 * 2**20)

#: Length of the key of the forms' hidden tokens.
SECRET_BYTES = 32

#: Seconds for the last answers to leave, once nothing new is written.
FLUSH = 0.1

#: Open files that are no connections: database, logs, the reactor's own.
SPARE_FILES = 64

#: How many new connections may wait for us; Twisted's 50 is short for readers who all come back
#: at once after a restart.
BACKLOG = 1024

#: An address that stands for all of them, and one of those on which it can be reached.
_REACHED_BY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - shown, not bound


class CannotStart(Exception):
    """The daemon can't run here; the text says why and what to do about it."""


class DataDirectory(Service):
    """The directory of everything that is kept, made when missing, and ours alone.

    :param path: of the directory.
    """

    name = "data directory"

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    def startService(self) -> None:
        """Make and lock the directory.

        :raises CannotStart: it can't be used, or another daemon uses it.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = self._take_lock()
        except (FileExistsError, NotADirectoryError) as error:
            raise CannotStart(
                f"--data {self.path}: that is not a directory; name another one"
            ) from error
        except OSError as error:
            raise CannotStart(
                f"--data {self.path}: can't be written to ({error.strerror}); give this user the "
                "right to, or name another directory"
            ) from error
        super().startService()

    def _take_lock(self) -> int:
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(lock, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(lock)
            raise CannotStart(
                f"--data {self.path}: another daemon (process {holder}) uses this directory; stop "
                "it, or name another directory"
            ) from error
        except OSError:
            os.close(lock)
            raise
        os.truncate(lock, 0)
        os.write(lock, b"%d\n" % os.getpid())
        return lock

    def stopService(self) -> None:
        if self._lock is not None:
            # The file stays: were it removed, two daemons could each hold a lock of that name.
            os.close(self._lock)
            self._lock = None
        super().stopService()


@implementer(IReactorTime)
class SteadyClock:
    """The reactor's clock, but for jumps of the system's: setting the time expires nobody.

    :param reactor: runs the calls.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor

    def seconds(self) -> float:
        """Seconds since some time, never set back (CLOCK_MONOTONIC)."""
        return time.monotonic()

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kwargs: object
    ) -> Any:
        """See `IReactorTime.callLater`."""
        return self._reactor.callLater(delay, callable, *args, **kwargs)

    def getDelayedCalls(self) -> Any:
        """See `IReactorTime.getDelayedCalls`."""
        return self._reactor.getDelayedCalls()


class SecretFile(Service):
    """A key that is made once and kept in a file of its own.

    :param path: of the file, in a directory that is ours.
    """

    name = "secret"

    def __init__(self, path: Path) -> None:
        self._path = path
        self.key = b""

    def startService(self) -> None:
        """Read the key, or make it."""
        if not self._path.exists():
            # Whole or not at all: a kill in between must not leave a short key behind.
            fresh = self._path.with_suffix(".new")
            with suppress(FileNotFoundError):
                fresh.unlink()
            file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(file, "wb") as writing:
                writing.write(secrets.token_bytes(SECRET_BYTES))
            fresh.replace(self._path)
        self.key = self._path.read_bytes()
        if len(self.key) != SECRET_BYTES:
            raise CannotStart(f"{self._path}: not a key of {SECRET_BYTES} bytes; remove the file")
        super().startService()


class Lifetime(Service):
    """A part that begins and ends, as a service.

    :param begin: called before the reactor runs.
    :param end: its Deferred, if it returns one, is waited for.
    """

    def __init__(
        self,
        name: str,
        *,
        begin: Callable[[], object] = lambda: None,
        end: Callable[[], object] = lambda: None,
    ) -> None:
        self.name = name
        self._begin = begin
        self._end = end

    def startService(self) -> None:
        self._begin()
        super().startService()

    def stopService(self) -> Deferred[Any]:
        super().stopService()
        return maybeDeferred(self._end)


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
        host = _REACHED_BY.get(self.address.host, self.address.host)
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if self.secure else 'http'}://{host}:{self.address.port}/"

    @property
    def curl(self) -> str:
        """A command that shows the lobby live."""
        if not isinstance(self.address, UNIXAddress):
            return f"curl -N {self.url}rooms/lobby.txt"
        path = os.fsdecode(self.address.name or b"")
        return f"curl -N --unix-socket {path} {self.url}rooms/lobby.txt"


class ListeningPorts(Service):
    """The open ports.

    :param listen: endpoint descriptions that are known to parse.
    :param announce: told what is open, once all of it is.
    """

    name = "ports"

    def __init__(
        self,
        listen: Sequence[str],
        factory: IProtocolFactory,
        reactor: Any,
        announce: Callable[[Sequence[Bound]], None],
    ) -> None:
        self._endpoints = [(each, serverFromString(reactor, with_backlog(each))) for each in listen]
        self._factory = factory
        self._announce = announce
        self._ports: list[IListeningPort] = []
        self.bound: tuple[Bound, ...] = ()

    def startService(self) -> None:
        """Bind them all.

        :raises CannotStart: one of them can't be had.
        """
        for description, endpoint in self._endpoints:
            self._ports.append(listen_now(description, endpoint, self._factory))
        self.bound = tuple(
            Bound(port.getHost(), description.startswith("ssl:"))  # type: ignore[arg-type]
            for port, (description, _) in zip(self._ports, self._endpoints, strict=True)
        )
        super().startService()
        self._announce(self.bound)

    def stopService(self) -> Deferred[Any]:
        super().stopService()
        ports, self._ports = self._ports, []
        return DeferredList([maybeDeferred(port.stopListening) for port in ports])


def with_backlog(description: str) -> str:
    """The endpoint description with our backlog, where it has one and doesn't say."""
    kind = description.partition(":")[0]
    if kind not in ("tcp", "tcp6", "ssl", "unix") or ":backlog=" in description:
        return description
    return f"{description}:backlog={BACKLOG}"


def listen_now(description: str, endpoint: Any, factory: IProtocolFactory) -> IListeningPort:
    """Bind an endpoint at once.

    :raises CannotStart: that was not possible.
    """
    results: list[Any] = []
    listening = endpoint.listen(factory).addBoth(results.append)
    if not results:
        listening.cancel()
        raise CannotStart(f"--listen {description}: can't be bound at once; use tcp, ssl or unix")
    (result,) = results
    if not isinstance(result, Failure):
        port: IListeningPort = result
        return port
    error = result.value
    cause = error.socketError if isinstance(error, CannotListenError) else error
    if isinstance(cause, PermissionError):
        reason = "this user may not bind it; use a port above 1023, or a systemd socket"
    elif getattr(cause, "errno", None) == errno.EADDRINUSE or cause is None:
        reason = "it is taken; stop the program that has it, or choose another"
    else:
        reason = f"can't be bound ({getattr(cause, 'strerror', None) or cause}); choose another"
    raise CannotStart(f"--listen {description}: {reason}") from error


class OrderedServices(MultiService):
    """Parts that start one after the other and stop in the reverse order, each waiting for the one
    before. (A plain MultiService stops them all at once.)

    :param clock: of the limit on how long a part may take to stop.
    """

    _log = Logger()

    def __init__(self, parts: Sequence[Service], clock: IReactorTime) -> None:
        super().__init__()
        self._clock = clock
        for part in parts:
            part.setServiceParent(self)

    def startService(self) -> None:
        """Start the parts; when one can't, those that did are stopped again."""
        Service.startService(self)
        for part in self:
            try:
                part.startService()
            except BaseException:
                self.stopService()
                raise

    def stopService(self) -> Deferred[None]:
        Service.stopService(self)
        return self._stop_parts()

    @inlineCallbacks
    def _stop_parts(self) -> Any:
        for part in reversed(list(self)):
            if not part.running:
                continue
            stopping = maybeDeferred(part.stopService)
            # Without a running reactor nothing would ever time out; nor is there who could wait.
            stopping.addTimeout(STOP_TIMEOUT, self._clock)
            stopping.addErrback(self._stop_failed, part)
            yield stopping

    def _stop_failed(self, failure: Failure, part: Service) -> None:
        self._log.failure("Could not stop the {part} properly", failure, part=part.name)


class Daemon(OrderedServices):
    """All parts, as the one service that twistd sees; says why it can't start and lets twistd
    clean up and leave with status 1."""

    def startService(self) -> None:
        try:
            super().startService()
        except (CannotStart, ChatError) as error:
            self._log.critical("Can't start: {reason}", reason=str(error))
            # Twistd removes its pid file and answers a waiting parent for an Exception, not for a
            # SystemExit. Only the traceback at the end of the process has to go.
            sys.excepthook = partial(tell_without_traceback, sys.excepthook)
            raise CannotStart(str(error)) from error


def tell_without_traceback(
    otherwise: Callable[..., object],
    kind: type[BaseException],
    error: BaseException,
    traceback: TracebackType | None,
) -> None:
    """A ``sys.excepthook`` that gives a CannotStart one line on the real stderr."""
    if isinstance(error, CannotStart):
        print_sentence(str(error))
    else:
        otherwise(kind, error, traceback)


def raise_open_file_limit() -> None:
    """Raise the soft limit on open files to the hard one: each connection is an open file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # An endless hard limit can be more than the kernel gives.
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def announce(data: DataDirectory, bound: Sequence[Bound]) -> None:
    """Say on the real stdout what runs where and how to try it."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    connections = max(files - SPARE_FILES, 0)
    lines = [f"Comet Chat {__version__}, data in {data.path}"]
    for port in bound:
        if isinstance(port.address, UNIXAddress):
            lines.append(f"  listening on {os.fsdecode(port.address.name or b'')}")
        else:
            lines.append(f"  {port.url} in two browser windows: talk to yourself")
        lines.append(f"  {port.curl}")
    lines.append(f"  open files: {files}, enough for {connections} connections")
    print_lines(lines)


def print_lines(lines: Sequence[str]) -> None:
    """Lines on the real stdout, in whatever encoding it has: ``sys.stdout`` may be the log."""
    stdout = sys.__stdout__
    if stdout is None:
        return
    encoding = stdout.encoding or "utf-8"
    text = "\n".join(lines).encode(encoding, "backslashreplace").decode(encoding)
    print(text, file=stdout, flush=True)


def build(settings: Settings, reactor: Any) -> Daemon:
    """Join the parts. Nothing is opened yet.

    :param reactor: the clock, the threads and the sockets of everything.
    """
    data = DataDirectory(settings.data)
    secret = SecretFile(data.path / "secret")
    clock = SteadyClock(reactor)
    engine = CometEngine(clock, Reaper(clock, resolution(settings)))
    database = Database(data.path / "chat.sqlite", reactor, max_bytes=settings.max_log)
    log = SqlEventLog(database)
    chat = build_chat(settings, engine, log, SqlDirectory(database))
    site = build_site(settings, chat, lambda: secret.key, reactor)
    ports = ListeningPorts(settings.listen, site, reactor, partial(announce, data))
    return Daemon(
        [
            data,
            secret,
            Lifetime("open files", begin=raise_open_file_limit),
            # After the log has stored what it had taken: whoever posted that is told.
            Lifetime("last answers", end=partial(deferLater, reactor, FLUSH)),
            Lifetime("log", begin=database.open, end=database.close),
            Lifetime("feed", begin=lambda: chat.start(log.recent(*TAIL)), end=chat.feed.stop),
            Lifetime("readers", end=chat.stop),
            ports,
            Notifier.from_environment(os.environ, reactor),
        ],
        reactor,
    )


def resolution(settings: Settings) -> float:
    """Seconds that the sweep may be late: as few as a backlog can wait for between two of its
    pages, or less where the settings ask for less."""
    return min(0.1, settings.heartbeat / 5, settings.poll_timeout / 5)


def build_chat(
    settings: Settings, engine: CometEngine, log: EventLog, directory: Directory
) -> Chat:
    """Join the parts of the conversation, which know no HTTP."""
    return Chat(
        feed=Feed(log, engine, Tail(*TAIL)),
        sessions=Sessions(
            directory,
            engine.reaper,
            wall_clock=time.time,
            random_bytes=secrets.token_bytes,
            guest_timeout=settings.guest_timeout,
        ),
        rooms=Rooms(
            directory,
            engine,
            wall_clock=time.time,
            expiration_delay=settings.expiration_delay,
        ),
        presence=Presence(engine, wall_clock=time.time),
        limits=Limits(engine.reaper, on=settings.limits),
        heartbeat=settings.heartbeat,
        server=SERVER,
        shown=partial(shown_address, shown=settings.show_addresses),
        random=random.random,
    )


def build_site(
    settings: Settings, chat: Chat, secret: Callable[[], bytes], reactor: Any
) -> ChatSite:
    """Join the parts that make the chat a web site.

    :param secret: gives the key of the forms' hidden tokens.
    """
    make_nonce = partial(secrets.token_urlsafe, 16)
    pages = Pages(__version__)
    problems = Problems(pages, make_nonce)
    ledger = Ledger()
    origins = Origins(settings.allow_origin)
    peers = Peers(settings.trusted_proxy)
    auth = Auth(
        chat.sessions,
        secret=secret,
        hosts=settings.hosts,
        public_reading=settings.public_reading,
        origins=origins,
        peers=peers,
    )
    holding = Holding(
        heartbeat=settings.heartbeat,
        poll_timeout=settings.poll_timeout,
        reader_budget=settings.reader_budget,
        expiration_delay=settings.expiration_delay,
    )
    doors = Doors(
        chat,
        auth,
        peers,
        ledger,
        chat.feed.engine.reaper,
        holding,
        nonce=make_nonce(),
        boundary=secrets.token_hex(16),
        origins=origins.allowed,
        random=random.random,
    )
    screens = Screens(chat, auth, pages, peers=peers, make_nonce=make_nonce, wall_clock=time.time)
    app = ChatApp(
        chat=chat,
        auth=auth,
        doors=doors,
        screens=screens,
        classic=ClassicServlet(chat, auth, peers, doors, screens),
        pages=pages,
        problems=problems,
        metrics=Metrics(chat, ledger),
        make_nonce=make_nonce,
        peers=peers,
    )
    front = Front(app.app.resource(), auth, origins, problems, SERVER)
    return ChatSite(front, problems.refusal, reactor, reads_early=reads_early)


def makeService(options: Options, reactor: Any = None) -> Daemon:
    """The daemon, ready to be started.

    :param options: parsed.
    :param reactor: by default the one that twistd installed.
    """
    if reactor is None:
        from twisted.internet import reactor
    return build(options.settings, reactor)
