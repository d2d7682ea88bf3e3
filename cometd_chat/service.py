"""The daemon as a service: options in, parts joined, started and stopped in order.

What it is: `build` joins the parts; `makeService` is what twistd and ``chat.tac`` call. With
several workers `build` is for each of them, and what twistd starts is their supervisor.

What it may know: everything. Nobody imports it.

Invariant: `makeService` opens nothing. `startService` opens, migrates and binds, all before the
reactor runs; what can't be is one sentence on the real stderr and exit status 1. On stop the ports
close first, the lock on the directory goes last.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import globalLogPublisher

from cometd_chat import __version__, shell_table
from cometd_chat.chat.chat import Chat
from cometd_chat.chat.hashing import HashingThreads
from cometd_chat.chat.outage import Outage
from cometd_chat.chat.passwords import Passwords
from cometd_chat.chat_parts import TAIL, build_chat
from cometd_chat.comet import CometEngine, Reaper
from cometd_chat.daemon import self_check
from cometd_chat.daemon.allocator import Allocator
from cometd_chat.daemon.data_directory import DataDirectory
from cometd_chat.daemon.gc_tuning import GcTuning
from cometd_chat.daemon.launcher import Launcher
from cometd_chat.daemon.lifecycle import (
    Daemon,
    FunctionService,
    call_at_hangup,
    stop_by_signals,
)
from cometd_chat.daemon.log_output import LogOutput
from cometd_chat.daemon.machine import memory_ceiling
from cometd_chat.daemon.ports import (
    BoundPorts,
    ListeningPorts,
    announce,
    raise_open_file_limit,
)
from cometd_chat.daemon.settings import Options, Settings
from cometd_chat.daemon.shell_socket import ShellSocket
from cometd_chat.daemon.steady_clock import make_steady
from cometd_chat.daemon.supervisor import Supervisor
from cometd_chat.daemon.systemd import Notifier
from cometd_chat.daemon.worker import Departure, Link, Orders, share_of
from cometd_chat.log.owner_link import first_owner_code
from cometd_chat.log.store import Blocking
from cometd_chat.peering import Peering
from cometd_chat.site_parts import Embed, build_parts, build_sites
from cometd_chat.storage import Cluster, Storage, build_storage, prepare_for_others
from cometd_chat.transports import twisted_internals
from cometd_chat.transports.budget import MemoryBudget
from cometd_chat.transports.stats import TransportStats
from cometd_chat.web.site import ChatSite

__all__ = ["Options", "Settings", "build", "makeService"]

#: Seconds for the last answers to leave, once nothing new is written.
FLUSH = 0.1


def build(
    settings: Settings, reactor: Any, *, embed: Embed | None = None, orders: Orders | None = None
) -> Daemon:
    """Join the parts of a daemon that serves. Nothing is opened yet.

    :param reactor: the clock, the threads and the sockets of everything.
    :param orders: of a worker, to be followed; see `build_worker`.
    """
    missing = twisted_internals.missing()
    asked, settings = settings, self_check.reduce(settings, missing)
    make_steady(reactor)
    if settings.direct_write:
        twisted_internals.read_directly(reactor)
    allocator = Allocator(reactor)
    data = DataDirectory(settings.data)
    stats = build_stats(settings)
    stats.memory.relieved.add(allocator.give_back_soon)
    engine = CometEngine(reactor, Reaper(reactor, resolution(settings)))
    storage = build_storage(settings, data, engine.reaper, reactor)
    cluster = storage.cluster
    neighbours = None if cluster is None else cluster.neighbours
    chat = build_chat(
        settings,
        engine,
        storage.log,
        storage.store,
        storage.directory,
        stats.memory,
        reactor,
        neighbours,
    )
    peering = None if cluster is None else build_peering(settings, cluster, chat, stats, reactor)
    linked = None if peering is None else peering.linked
    hashing = HashingThreads(reactor)
    parts = build_parts(settings, chat, Passwords(hashing), stats, storage.secret, reactor, linked)
    site, metrics_site = build_sites(parts, embed, cluster)
    place = (
        Alone(data, partial(owner_code_in, storage.store))
        if orders is None
        else AmongOthers(orders, Link(orders.control, reactor))
    )
    return Daemon(
        [
            LogOutput.of_process(settings.log_level, globalLogPublisher, os.environ),
            FunctionService("self-check", begin=partial(self_check.report, asked, missing)),
            FunctionService("allocator", begin=allocator.begin),
            *place.directory,
            FunctionService("open files", begin=raise_open_file_limit),
            *chat_services(chat, storage, peering, reactor),
            *(
                (ShellSocket(data.path, partial(shell_table.run, chat), reactor),)
                if orders is None
                else ()
            ),
            FunctionService("hashing", begin=hashing.start, end=hashing.close),
            # Once the port is announced, whoever started this may stop it.
            FunctionService("signals", begin=partial(stop_by_signals, reactor)),
            *place.ports(settings, site, metrics_site, reactor),
            GcTuning(),
            place.supervision(reactor),
        ],
        reactor,
    )


def chat_services(
    chat: Chat, storage: Storage, peering: Peering | None, reactor: Any
) -> Sequence[Service]:
    """What the conversation begins and ends with."""
    log = storage.log
    return (
        # After the log has stored what it had taken: whoever posted that is told.
        FunctionService("last answers", end=partial(deferLater, reactor, FLUSH)),
        *storage.services,
        *(
            ()
            if storage.cluster is None or peering is None
            else node_services(storage.cluster, peering)
        ),
        FunctionService("feed", begin=lambda: chat.start(log.recent(*TAIL)), end=chat.feed.stop),
        FunctionService("readers", end=chat.stop),
    )


def node_services(cluster: Cluster, peering: Peering) -> Sequence[Service]:
    """How a node comes and goes: the others must find it at its port, and it them."""
    node = FunctionService("node", begin=cluster.nodes.start, end=cluster.nodes.stop)
    return peering.port, node, peering.links


def build_peering(
    settings: Settings, cluster: Cluster, chat: Chat, stats: TransportStats, reactor: Any
) -> Peering:
    """Join what a node has to do with the others, and with a log that is elsewhere."""
    reaper, neighbours = chat.feed.engine.reaper, cluster.neighbours
    Outage(reaper, lambda: cluster.condition().unreachable_for, chat.readers.send_away)
    cluster.left_history.add(chat.leave_history)
    cluster.put_back_to.add(chat.put_back)
    return Peering(
        settings,
        cluster.nodes,
        neighbours.bus,
        cluster.peer_key,
        stats.memory,
        reaper,
        reactor,
        __version__,
    )


def owner_code_in(store: Blocking) -> str | None:
    """See `first_owner_code`."""
    return first_owner_code(store, secrets.token_bytes, time.time)


@attrs.frozen
class Alone:
    """What a daemon has of its own when it is one process."""

    data: DataDirectory
    owner_code: Callable[[], str | None]

    @property
    def directory(self) -> Sequence[Service]:
        return (self.data,)

    def ports(
        self, settings: Settings, site: ChatSite, metrics_site: ChatSite, reactor: Any
    ) -> Sequence[Service]:
        """The ports: that of the metrics first, since the others are announced with it."""
        metrics = () if settings.metrics is None else (settings.metrics,)
        metrics_ports = ListeningPorts(metrics, metrics_site, reactor, option="--metrics")
        ports = ListeningPorts(
            settings.listen,
            site,
            reactor,
            partial(announce, self.data, metrics_ports, self.owner_code),
            prepare=partial(prepare_port, settings, site),
        )
        return metrics_ports, ports

    def supervision(self, reactor: Any) -> Service:
        """Who is told how it is."""
        return Notifier.from_environment(os.environ, reactor)


@attrs.frozen
class AmongOthers:
    """What a worker has instead: its supervisor has the directory, the ports and systemd."""

    orders: Orders
    link: Link

    @property
    def directory(self) -> Sequence[Service]:
        return ()

    def ports(
        self, settings: Settings, site: ChatSite, metrics_site: ChatSite, reactor: Any
    ) -> Sequence[Service]:
        """The ports, which are bound already; connections are shared with the other workers."""
        share = share_of(self.orders, lambda: site.connections.open, reactor, time.monotonic)

        def prepare(port: IListeningPort) -> None:
            prepare_port(settings, site, port)
            share.watch(port)

        return (
            ListeningPorts(
                (), metrics_site, reactor, option="--metrics", inherited=self.orders.metrics
            ),
            Departure(self.link, site.part, lambda: site.close_idle(reactor.getReaders()), reactor),
            ListeningPorts((), site, reactor, prepare=prepare, inherited=self.orders.listen),
            share,
        )

    def supervision(self, reactor: Any) -> Service:
        """Who is told how it is."""
        return self.link


def prepare_port(settings: Settings, site: ChatSite, port: IListeningPort) -> None:
    """Let a port accept in the short way."""
    if settings.fast_lane:
        twisted_internals.use_slotted_transports(port, site)
        if settings.direct_write:
            twisted_internals.accept_directly(port, site)


def resolution(settings: Settings) -> float:
    """Seconds that the sweep may be late: as few as a backlog can wait for between two of its
    pages, or less where the settings ask for less."""
    return min(0.1, settings.heartbeat / 5, settings.poll_timeout / 5)


def build_stats(settings: Settings) -> TransportStats:
    """What transports count into, and the bound of their memory."""
    return TransportStats(memory=MemoryBudget(memory_ceiling(settings)))


def build_worker(settings: Settings, orders: Orders, reactor: Any) -> Daemon:
    """Join the parts of one daemon among several that share their ports.

    :param settings: of all of them.
    """
    return build(orders.applied_to(settings), reactor, orders=orders)


def build_supervisor(options: Options, reactor: Any) -> Daemon:
    """Join the parts of the process that starts workers. Nothing is opened yet."""
    settings = options.settings
    missing = twisted_internals.missing()
    make_steady(reactor)
    data = DataDirectory(settings.data)
    metrics = () if settings.metrics is None else (settings.metrics,)
    metrics_ports = BoundPorts(metrics, reactor, option="--metrics")
    ports = BoundPorts(settings.listen, reactor)
    launcher = Launcher(options, ports, metrics_ports, os.environ, reactor)
    owner_codes: list[str | None] = []
    supervisor = Supervisor(
        settings.workers,
        launcher.launch,
        reactor,
        let_go=lambda: (ports.stopService(), metrics_ports.stopService()),
        forget=launcher.forget,
    )
    notifier = Notifier.from_environment(os.environ, reactor, supervisor.all_live)
    supervisor.watch(notifier)
    return Daemon(
        [
            LogOutput.of_process(settings.log_level, globalLogPublisher, os.environ),
            FunctionService("self-check", begin=partial(self_check.report, settings, missing)),
            data,
            FunctionService("open files", begin=raise_open_file_limit),
            FunctionService(
                "database",
                begin=lambda: owner_codes.append(
                    prepare_for_others(settings, reactor, owner_code_in)
                ),
            ),
            metrics_ports,
            ports,
            supervisor,
            FunctionService("signals", begin=partial(stop_by_signals, reactor)),
            FunctionService("hang-up", begin=partial(call_at_hangup, reactor, supervisor.replace)),
            FunctionService(
                "announcement",
                begin=lambda: announce(
                    data, metrics_ports, owner_codes.pop, ports.bound, settings.workers
                ),
            ),
            notifier,
        ],
        reactor,
    )


def makeService(options: Options, reactor: Any = None) -> Daemon:
    """The daemon, ready to be started.

    :param options: parsed.
    :param reactor: by default the one that twistd installed.
    """
    if reactor is None:
        from twisted.internet import reactor
    if options.settings.workers > 1:
        return build_supervisor(options, reactor)
    return build(options.settings, reactor)
