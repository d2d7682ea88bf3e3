"""The web site of a chat, joined of its parts: routes, transports, Bayeux, the fast lane.

What it is: `build_sites`, and a function for each part.

What it may know: everything; it joins things, as `service.py` does. It opens nothing.

Invariant: what most parts are given is one `Shared`.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs

from cometd_chat.bayeux.extensions import AckExtension, ReplayExtension, TimesyncExtension
from cometd_chat.bayeux.options import BayeuxOptions
from cometd_chat.bayeux.server import BayeuxServer
from cometd_chat.chat.accounts import Accounts
from cometd_chat.chat.chat import Chat
from cometd_chat.chat.invites import Invites
from cometd_chat.chat.limits import INVITATIONS
from cometd_chat.chat.log_in_delays import LogInDelays
from cometd_chat.chat.passwords import Passwords
from cometd_chat.chat.people_lookup import Lookup
from cometd_chat.chat.users import Users
from cometd_chat.chat_parts import SERVER
from cometd_chat.comet import Reaper
from cometd_chat.daemon.settings import Settings
from cometd_chat.fastlane.connection import Lane
from cometd_chat.gateways.bayeux_members import MemberSource
from cometd_chat.gateways.bayeux_policy import ChatPolicy
from cometd_chat.gateways.bayeux_rooms import RoomSource
from cometd_chat.peering import Linked
from cometd_chat.storage import Cluster
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
from cometd_chat.web.pages.page import House
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

#: Seconds after which a connection without a request is closed.
IDLE = 60

#: The context of Bayeux's WebSockets and event streams, which expire like all that is held; no
#: room has this path.
LINES = "/bayeux/lines"

#: Adds to the Bayeux server what an embedder has of its own: services, listeners, extensions.
Embed = Callable[[BayeuxServer], object]


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
        chat.changes,
        chat.rights,
        wall_clock=time.time,
        random_bytes=secrets.token_bytes,
        spend=partial(chat.spend, INVITATIONS),
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
    users = Users(chat, lambda: int(time.time() * 1000))
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
        accounts_api=AccountsApi(chat, accounts, users, invites, auth, peers, submissions),
        account_pages=AccountPages(
            chat, accounts, invites, auth, peers, views, submissions, first_screen
        ),
        admin_pages=AdminPages(chat, users, auth, peers, views, submissions, build_live(shared)),
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
