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
import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import globalLogPublisher

from cometd_chat import __version__, shell_table
from cometd_chat.addresses import shown_address
from cometd_chat.bayeux.extensions import AckExtension, ReplayExtension, TimesyncExtension
from cometd_chat.bayeux.options import BayeuxOptions
from cometd_chat.bayeux.server import BayeuxServer
from cometd_chat.chat.accounts import Accounts
from cometd_chat.chat.chat import Chat
from cometd_chat.chat.deletions import Deletions
from cometd_chat.chat.feed import Feed
from cometd_chat.chat.hashing import HashingThreads
from cometd_chat.chat.invites import Invites
from cometd_chat.chat.log_in_delays import LogInDelays
from cometd_chat.chat.moderation import Moderation
from cometd_chat.chat.outage import Outage
from cometd_chat.chat.passwords import Passwords
from cometd_chat.chat.people_lookup import Lookup
from cometd_chat.chat.policies import POLICIES, Pin, Policies
from cometd_chat.chat.rights import Rights
from cometd_chat.chat.waiting import WaitingList
from cometd_chat.chat.whereabouts import ClusterWhereabouts, LocalWhereabouts
from cometd_chat.chat_parts import Neighbours, parts_of_node, parts_of_one
from cometd_chat.comet import CometEngine, Reaper
from cometd_chat.comet.slices import call_before_slices
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
from cometd_chat.daemon.machine import memory_limit
from cometd_chat.daemon.option_values import Percent
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
from cometd_chat.fastlane.connection import Lane
from cometd_chat.gateways.bayeux_members import MemberSource
from cometd_chat.gateways.bayeux_policy import ChatPolicy
from cometd_chat.gateways.bayeux_rooms import RoomSource
from cometd_chat.log.directory import Directory
from cometd_chat.log.gathering import Gathering
from cometd_chat.log.log import EventLog, Tail
from cometd_chat.log.owner_link import first_owner_code
from cometd_chat.log.store import Blocking, Store
from cometd_chat.peering import Linked, Peering
from cometd_chat.storage import Cluster, Storage, build_storage, prepare_for_others
from cometd_chat.transports import twisted_internals
from cometd_chat.transports.budget import MemoryBudget
from cometd_chat.transports.connections import Connections
from cometd_chat.transports.held import HoldPolicy
from cometd_chat.transports.stats import TransportStats
from cometd_chat.web.account_pages import AccountPages
from cometd_chat.web.accounts_api import AccountsApi
from cometd_chat.web.admin_pages import AdminPages
from cometd_chat.web.api import Api
from cometd_chat.web.app import ChatApp, reads_early
from cometd_chat.web.auth import Auth
from cometd_chat.web.bayeux_forwarding import Forwarding
from cometd_chat.web.bayeux_http import Bayeux
from cometd_chat.web.classic import ClassicServlet
from cometd_chat.web.commanding import Commanding
from cometd_chat.web.deletions_api import DeletionsApi
from cometd_chat.web.first_screen import FirstScreen
from cometd_chat.web.guard import RequestGuard
from cometd_chat.web.holding import HoldSettings
from cometd_chat.web.hosts import Hosts
from cometd_chat.web.live import WATCHERS, Live, LiveNumbers
from cometd_chat.web.message_pages import MessagePages
from cometd_chat.web.metrics import Metrics
from cometd_chat.web.metrics_port import MetricsPort
from cometd_chat.web.moderation_api import ModerationApi
from cometd_chat.web.origins import Origins
from cometd_chat.web.page_routes import PageRoutes
from cometd_chat.web.pages import House
from cometd_chat.web.peers import Peers
from cometd_chat.web.person_pages import PersonPages
from cometd_chat.web.policies_api import PoliciesApi
from cometd_chat.web.problems import Problems
from cometd_chat.web.room_pages import RoomPages
from cometd_chat.web.rooms_api import RoomsApi
from cometd_chat.web.sessions_api import SessionsApi
from cometd_chat.web.site import ChatSite
from cometd_chat.web.submissions import Submissions
from cometd_chat.web.transports import Transports
from cometd_chat.web.views import Views

__all__ = ["Options", "Settings", "build", "makeService"]

#: What this daemon calls itself, to clients and in its answers.
SERVER = f"comet-chat/{__version__}"

#: The newest events in memory: so many, and so many bytes.
TAIL = (10_000, 16 * 2**20)

#: A share of the memory is never less, in bytes.
LEAST_MEMORY = 16 * 2**20

#: Seconds after which a connection without a request is closed.
IDLE = 60

#: The context of Bayeux's WebSockets and event streams, which expire like all that is held; no
#: room has this path.
LINES = "/bayeux/lines"

#: Seconds for the last answers to leave, once nothing new is written.
FLUSH = 0.1


#: Adds to the Bayeux server what an embedder has of its own: services, listeners, extensions.
Embed = Callable[[BayeuxServer], object]


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
    site, metrics_site = build_sites(
        settings,
        chat,
        Passwords(hashing),
        stats,
        storage.secret,
        reactor,
        embed,
        linked,
        cluster,
    )
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


def memory_ceiling(settings: Settings) -> int:
    """Bytes that may be held for all connections together."""
    ceiling = settings.memory_ceiling
    if isinstance(ceiling, Percent):
        return max(LEAST_MEMORY, int(memory_limit() * ceiling.value / 100))
    return ceiling


def build_stats(settings: Settings) -> TransportStats:
    """What transports count into, and the bound of their memory."""
    return TransportStats(memory=MemoryBudget(memory_ceiling(settings)))


def build_chat(
    settings: Settings,
    engine: CometEngine,
    log: EventLog,
    store: Store,
    directory: Directory,
    memory: MemoryBudget,
    reactor: Any,
    neighbours: Neighbours | None = None,
) -> Chat:
    """Join the parts of the conversation, which know no HTTP.

    :param store: where all else is than what was said.
    :param memory: where posts count that wait to be durable.
    :param neighbours: what this node has of the others; None for a process that is alone.
    """
    rights = Rights()
    feed = Feed(log, engine, Tail(*TAIL))
    if neighbours is None:
        parts = parts_of_one(settings, feed, store, directory, rights)
    else:
        parts = parts_of_node(settings, feed, store, directory, rights, neighbours, reactor)
    moderation = Moderation(
        parts.changes,
        rights,
        engine.reaper,
        now=lambda: parts.lasting.seconds() * 1000,
        random_bytes=secrets.token_bytes,
        room_named=parts.rooms.named,
    )
    here = LocalWhereabouts(
        parts.sessions.of_identity, moderation.hashes, Peers(settings.trusted_proxy).is_trusted
    )
    if neighbours is None:
        moderation.ask(here)
    else:
        bus, nodes = neighbours.bus, neighbours.nodes
        moderation.ask(
            ClusterWhereabouts(here, bus, engine.reaper, lambda: nodes.number, moderation.have_key)
        )

    def now() -> int:
        return int(time.time() * 1000)

    return Chat(
        moderation=moderation,
        feed=feed,
        rights=rights,
        sessions=parts.sessions,
        rooms=parts.rooms,
        presence=parts.presence,
        positions=parts.positions,
        limits=parts.limits,
        openings=parts.openings,
        changes=parts.changes,
        deletions=Deletions(
            feed,
            rights,
            parts.changes,
            now=lambda: time.time() * 1000,
            random_bytes=secrets.token_bytes,
        ),
        policies=Policies(parts.changes, rights, pins(settings), now),
        waiting=WaitingList(parts.changes, rights, parts.sessions, now),
        gathering=Gathering(log, partial(call_before_slices, reactor), memory),
        heartbeat=settings.heartbeat,
        server=SERVER,
        shown=partial(shown_address, shown=settings.show_addresses),
        random=random.random,
    )


def pins(settings: Settings) -> Mapping[str, Pin]:
    """What options say of policies, which is all that is given of these."""
    given = {name: getattr(settings, name) for name in POLICIES if hasattr(settings, name)}
    return {
        name: Pin(f"--{name.replace('_', '-')}", value)
        for name, value in given.items()
        if value is not None
    }


@attrs.frozen
class Shared:
    """What most parts of the site are given.

    :param make_nonce: an unguessable value for one response.
    :param linked: the other nodes; None for a single process.
    """

    settings: Settings
    chat: Chat
    accounts: Accounts
    invites: Invites
    stats: TransportStats
    reactor: Any
    auth: Auth
    origins: Origins
    peers: Peers
    problems: Problems
    make_nonce: Callable[[], str]
    linked: Linked | None = None

    @property
    def reaper(self) -> Reaper:
        """The one sweep, and its clock."""
        return self.chat.feed.engine.reaper


def build_sites(
    settings: Settings,
    chat: Chat,
    passwords: Passwords,
    stats: TransportStats,
    secret: Callable[[], bytes],
    reactor: Any,
    embed: Embed | None = None,
    linked: Linked | None = None,
    cluster: Cluster | None = None,
) -> tuple[ChatSite, ChatSite]:
    """Join the parts that make the chat a web site, and those of `--metrics`.

    :param secret: gives the key of the forms' hidden tokens.
    """
    shared = build_shared(settings, chat, passwords, stats, secret, reactor, linked)
    server = build_bayeux_server(shared)
    if embed is not None:
        embed(server)
    most = settings.connections_per_address if settings.limits else None
    connections = Connections(most, shared.peers.is_trusted)
    metrics = Metrics(chat, stats)
    metrics.watch_bayeux(server)
    metrics.watch_connections(connections)
    if cluster is not None:
        numbers = tuple if linked is None else linked.numbers
        metrics.watch_cluster(cluster.nodes, cluster.condition, numbers)
    trouble = partial(trouble_of, cluster)
    site = build_site(shared, build_app(shared, server, metrics, trouble), connections)
    return site, build_metrics_site(shared, metrics)


def trouble_of(cluster: Cluster | None) -> str:
    """Why a node should get no new readers just now; empty when it may."""
    return "" if cluster is None else cluster.condition().trouble


def build_shared(
    settings: Settings,
    chat: Chat,
    passwords: Passwords,
    stats: TransportStats,
    secret: Callable[[], bytes],
    reactor: Any,
    linked: Linked | None = None,
) -> Shared:
    """Who asks, whether it was meant, and how refusals are told."""
    make_nonce = partial(secrets.token_urlsafe, 16)
    origins = Origins(settings.allow_origin)
    peers = Peers(settings.trusted_proxy, settings.trust_user_header)
    reaper = chat.feed.engine.reaper
    invites = Invites(
        chat.changes, chat.rights, wall_clock=time.time, random_bytes=secrets.token_bytes
    )
    accounts = Accounts(
        chat,
        passwords,
        LogInDelays(reaper.seconds, on=settings.limits),
        registration=lambda: chat.policies.registration,
        wall_clock=time.time,
        random_bytes=secrets.token_bytes,
    )
    auth = Auth(
        chat.sessions,
        chat.rights,
        chat.moderation,
        secret=secret,
        installation=lambda: chat.feed.log.origin,
        origins=origins,
        peers=peers,
        random_bytes=secrets.token_bytes,
        by_proxy=accounts.by_proxy,
    )
    problems = Problems(
        make_nonce,
        stats.refused,
        reaper.seconds,
        lambda: House(chat.policies.title, chat.policies.welcome),
    )
    return Shared(
        settings,
        chat,
        accounts,
        invites,
        stats,
        reactor,
        auth,
        origins,
        peers,
        problems,
        make_nonce,
        linked,
    )


def build_bayeux_server(shared: Shared) -> BayeuxServer:
    """Join the parts of the Bayeux server, with the chat behind it."""
    settings, chat = shared.settings, shared.chat
    call_soon = partial(shared.reactor.callLater, 0)
    members = MemberSource(chat, call_soon)
    rooms = RoomSource(chat, call_soon, members.told)
    policy = ChatPolicy(chat, secrets.token_bytes, rooms.ended)
    linked = shared.linked
    server = BayeuxServer(
        shared.reaper,
        call_soon,
        secrets.token_bytes,
        policy,
        free=settings.bayeux_channels,
        sources=[rooms, members],
        extensions=[AckExtension(), TimesyncExtension(time.time), ReplayExtension()],
        options=BayeuxOptions(
            timeout=settings.poll_timeout, max_interval=settings.expiration_delay
        ),
        log=chat.feed.log,
        memory=shared.stats.memory,
        node=(lambda: None) if linked is None else linked.number,
        bus=None if linked is None else linked.bus,
    )
    policy.watch(server)
    if linked is not None:
        linked.renumbered.add(lambda number: server.renew_all())
    return server


def build_bayeux(shared: Shared, server: BayeuxServer) -> Bayeux:
    """The Bayeux server by HTTP and WebSocket."""
    settings, chat = shared.settings, shared.chat
    hold_policy = HoldPolicy(
        transport="bayeux",
        reaper=shared.reaper,
        stats=shared.stats,
        heartbeat=settings.heartbeat,
        budget=settings.reader_budget,
    )
    bayeux = Bayeux(
        server,
        shared.auth,
        shared.peers,
        shared.origins,
        chat.limits,
        shared.stats,
        shared.reaper,
        hold_policy,
        chat.feed.engine.register(LINES, settings.expiration_delay),
        build_forwarding(shared, server),
    )
    chat.call_at_stop(bayeux.stop)
    return bayeux


def build_forwarding(shared: Shared, server: BayeuxServer) -> Forwarding | None:
    """The way to the nodes whose Bayeux clients come to this one."""
    linked = shared.linked
    if linked is None:
        return None
    return Forwarding(server, linked.links, shared.reaper, linked.number)


def build_transports(shared: Shared) -> Transports:
    """What holds requests."""
    settings = shared.settings
    hold_settings = HoldSettings(
        heartbeat=settings.heartbeat,
        poll_timeout=settings.poll_timeout,
        reader_budget=settings.reader_budget,
    )
    return Transports(
        shared.chat,
        shared.auth,
        shared.peers,
        shared.problems,
        shared.stats,
        shared.reaper,
        hold_settings,
        nonce=shared.make_nonce(),
        boundary=secrets.token_hex(16),
        origins=shared.origins.allowed,
        random=random.random,
    )


def only_here(settings: Settings) -> bool:
    """Whether nobody but who is on this very machine can reach a daemon."""
    return all(
        each.startswith(("tcp:", "ssl:")) and "interface=127." in each for each in settings.listen
    )


def build_live(shared: Shared) -> Live:
    """What shows how the daemon is to who runs it."""
    settings, chat = shared.settings, shared.chat
    hold_policy = HoldPolicy(
        transport="live",
        reaper=shared.reaper,
        stats=shared.stats,
        heartbeat=settings.heartbeat,
        budget=settings.reader_budget,
    )
    numbers = LiveNumbers(chat, shared.stats, shared.reaper.seconds)
    watchers = chat.feed.engine.register(WATCHERS, settings.expiration_delay)
    return Live(numbers, chat, hold_policy, watchers)


def build_app(
    shared: Shared, server: BayeuxServer, metrics: Metrics, trouble: Callable[[], str]
) -> ChatApp:
    """All routes.

    :param trouble: see `ChatApp`.
    """
    chat, auth, peers, problems = shared.chat, shared.auth, shared.peers, shared.problems
    views = Views(chat, auth, peers=peers, make_nonce=shared.make_nonce, wall_clock=time.time)
    lookup = Lookup(chat.changes, chat.sessions)
    accounts, invites = shared.accounts, shared.invites
    submissions = Submissions(chat, accounts, auth, peers, problems)
    transports = build_transports(shared)
    commanding = Commanding(chat, auth, peers)
    first_screen = FirstScreen(
        chat, invites, auth, peers, submissions, lambda: only_here(shared.settings)
    )
    return ChatApp(
        chat=chat,
        api=Api(chat, auth, peers, submissions),
        deletions=DeletionsApi(chat, auth, peers),
        sessions=SessionsApi(chat, auth),
        moderation=ModerationApi(chat, auth, peers, lookup, chat.audit),
        message_pages=MessagePages(chat, auth, peers, views, submissions),
        person_pages=PersonPages(chat, auth, peers, views, submissions, lookup),
        commanding=commanding,
        page_routes=PageRoutes(chat, auth, peers, views, submissions, commanding, first_screen),
        classic=ClassicServlet(chat, auth, peers, transports, views, submissions, commanding),
        accounts_api=AccountsApi(chat, accounts, invites, auth, peers, submissions),
        account_pages=AccountPages(
            chat, accounts, invites, auth, peers, views, submissions, first_screen
        ),
        admin_pages=AdminPages(chat, accounts, auth, peers, views, submissions, build_live(shared)),
        first_screen=first_screen,
        transports=transports,
        bayeux=build_bayeux(shared, server),
        policies=PoliciesApi(chat, auth, peers),
        rooms=RoomsApi(chat, auth, peers),
        room_pages=RoomPages(chat, auth, peers, views, submissions),
        views=views,
        problems=problems,
        metrics=metrics if shared.settings.metrics is None else None,
        peers=peers,
        trouble=trouble,
    )


def build_site(shared: Shared, app: ChatApp, connections: Connections) -> ChatSite:
    """The site that serves the routes, with the fast lane beside it."""
    settings, memory = shared.settings, shared.stats.memory
    hosts = Hosts(settings.hosts)
    behind = app.app.resource()
    guard = RequestGuard(behind, hosts, shared.auth, shared.origins, shared.problems, SERVER)
    lane = None
    if settings.fast_lane:
        lane = Lane(
            app.hot_routes(),
            guard,
            shared.reaper,
            memory,
            direct_write=settings.direct_write,
            wall_clock=time.time,
            timeout=IDLE,
        )
    return ChatSite(
        guard,
        shared.problems.refusal,
        shared.reactor,
        shared.reaper,
        memory=memory,
        connections=connections,
        timeout=IDLE,
        reads_early=reads_early,
        direct_write=settings.direct_write,
        lane=lane,
        access_log=settings.log_level == "debug",
    )


def build_metrics_site(shared: Shared, metrics: Metrics) -> ChatSite:
    """The site of `--metrics`."""
    problems, memory = shared.problems, shared.stats.memory
    port = MetricsPort(metrics, Hosts(shared.settings.hosts), problems, SERVER)
    return ChatSite(
        port, problems.refusal, shared.reactor, shared.reaper, memory=memory, timeout=IDLE
    )


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
