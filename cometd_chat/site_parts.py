"""The web site of a chat, joined of its parts: routes, transports, Bayeux, the fast lane.

What it is: `build_sites`, and a function for each part.

What it may know: everything; it joins things, as `service.py` does. It opens nothing.

Invariant: what most parts are given is one `SiteParts`.
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
from cometd_chat.gateways.bayeux_lost_rights import LostBayeuxRights
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


@attrs.frozen(kw_only=True)
class SiteParts:
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
    parts: SiteParts, embed: Embed | None = None, cluster: Cluster | None = None
) -> tuple[ChatSite, ChatSite]:
    """Join the parts that make the chat a web site, and those of `--metrics`.

    :param parts: see `build_parts`.
    """
    settings, linked = parts.settings, parts.linked
    server = build_bayeux_server(parts)
    if embed is not None:
        embed(server)
    most = settings.connections_per_address if settings.limits else None
    connections = Connections(most, parts.peers.is_trusted)
    metrics = Metrics(parts.chat, parts.stats)
    metrics.watch_bayeux(server)
    metrics.watch_connections(connections)
    if cluster is not None:
        numbers = tuple if linked is None else linked.numbers
        metrics.watch_cluster(cluster.nodes, cluster.condition, numbers)
    trouble = partial(trouble_of, cluster)
    site = build_site(parts, build_app(parts, server, metrics, trouble), connections)
    return site, build_metrics_site(parts, metrics)


def trouble_of(cluster: Cluster | None) -> str:
    """Why a node should get no new readers just now; empty when it may."""
    return "" if cluster is None else cluster.condition().trouble


def build_parts(
    settings: Settings,
    chat: Chat,
    passwords: Passwords,
    stats: TransportStats,
    secret: Callable[[], bytes],
    reactor: Any,
    linked: Linked | None = None,
) -> SiteParts:
    """Who asks, whether it was meant, and how refusals are told.

    :param secret: gives the key of the forms' hidden tokens.
    """
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
    return SiteParts(
        settings=settings,
        chat=chat,
        accounts=accounts,
        invites=invites,
        stats=stats,
        reactor=reactor,
        auth=auth,
        origins=origins,
        peers=peers,
        problems=problems,
        make_nonce=make_nonce,
        linked=linked,
    )


def build_bayeux_server(parts: SiteParts) -> BayeuxServer:
    """Join the parts of the Bayeux server, with the chat behind it."""
    settings, chat = parts.settings, parts.chat
    call_soon = partial(parts.reactor.callLater, 0)
    members = MemberSource(chat, call_soon)
    rooms = RoomSource(chat, call_soon, members.told)
    policy = ChatPolicy(chat, secrets.token_bytes, rooms.ended)
    linked = parts.linked
    server = BayeuxServer(
        parts.reaper,
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
        memory=parts.stats.memory,
        node=(lambda: None) if linked is None else linked.number,
        bus=None if linked is None else linked.bus,
    )
    policy.watch(server)
    LostBayeuxRights(chat, server, policy, rooms, members)
    if linked is not None:
        linked.renumbered.add(lambda number: server.renew_all())
    return server


def build_bayeux(parts: SiteParts, server: BayeuxServer) -> Bayeux:
    """The Bayeux server by HTTP and WebSocket."""
    settings, chat = parts.settings, parts.chat
    hold_policy = HoldPolicy(
        transport="bayeux",
        reaper=parts.reaper,
        stats=parts.stats,
        heartbeat=settings.heartbeat,
        budget=settings.reader_budget,
    )
    bayeux = Bayeux(
        server,
        parts.auth,
        parts.peers,
        parts.origins,
        chat.limits,
        parts.stats,
        parts.reaper,
        hold_policy,
        chat.feed.engine.register(LINES, settings.expiration_delay),
        build_forwarding(parts, server),
    )
    chat.call_at_stop(bayeux.stop)
    return bayeux


def build_forwarding(parts: SiteParts, server: BayeuxServer) -> Forwarding | None:
    """The way to the nodes whose Bayeux clients come to this one."""
    linked = parts.linked
    if linked is None:
        return None
    return Forwarding(server, linked.links, parts.reaper, linked.number)


def build_transports(parts: SiteParts) -> Transports:
    """What holds requests."""
    settings = parts.settings
    hold_settings = HoldSettings(
        heartbeat=settings.heartbeat,
        poll_timeout=settings.poll_timeout,
        reader_budget=settings.reader_budget,
    )
    return Transports(
        parts.chat,
        parts.auth,
        parts.peers,
        parts.problems,
        parts.stats,
        parts.reaper,
        hold_settings,
        nonce=parts.make_nonce(),
        boundary=secrets.token_hex(16),
        origins=parts.origins.allowed,
        random=random.random,
    )


def only_here(settings: Settings) -> bool:
    """Whether nobody but who is on this very machine can reach a daemon."""
    return all(
        each.startswith(("tcp:", "ssl:")) and "interface=127." in each for each in settings.listen
    )


def build_live(parts: SiteParts) -> Live:
    """What shows how the daemon is to who runs it."""
    settings, chat = parts.settings, parts.chat
    hold_policy = HoldPolicy(
        transport="live",
        reaper=parts.reaper,
        stats=parts.stats,
        heartbeat=settings.heartbeat,
        budget=settings.reader_budget,
    )
    numbers = LiveNumbers(chat, parts.stats, parts.reaper.seconds)
    watchers = chat.feed.engine.register(WATCHERS, settings.expiration_delay)
    return Live(numbers, chat, hold_policy, watchers)


def build_app(
    parts: SiteParts, server: BayeuxServer, metrics: Metrics, trouble: Callable[[], str]
) -> ChatApp:
    """All routes.

    :param trouble: see `ChatApp`.
    """
    chat, auth, peers, problems = parts.chat, parts.auth, parts.peers, parts.problems
    views = Views(chat, auth, peers=peers, make_nonce=parts.make_nonce, wall_clock=time.time)
    lookup = Lookup(chat.changes, chat.sessions)
    accounts, invites = parts.accounts, parts.invites
    users = Users(chat, lambda: int(time.time() * 1000))
    submissions = Submissions(chat, accounts, auth, peers, problems)
    transports = build_transports(parts)
    commanding = Commanding(chat, auth, peers)
    first_screen = FirstScreen(
        chat, invites, auth, peers, submissions, lambda: only_here(parts.settings)
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
        admin_pages=AdminPages(chat, users, auth, peers, views, submissions, build_live(parts)),
        first_screen=first_screen,
        transports=transports,
        bayeux=build_bayeux(parts, server),
        policies=PoliciesApi(chat, auth, peers),
        rooms=RoomsApi(chat, auth, peers),
        room_pages=RoomPages(chat, auth, peers, views, submissions),
        views=views,
        problems=problems,
        metrics=metrics if parts.settings.metrics is None else None,
        peers=peers,
        trouble=trouble,
    )


def build_site(parts: SiteParts, app: ChatApp, connections: Connections) -> ChatSite:
    """The site that serves the routes, with the fast lane beside it."""
    settings, memory = parts.settings, parts.stats.memory
    hosts = Hosts(settings.hosts)
    behind = app.app.resource()
    guard = RequestGuard(behind, hosts, parts.auth, parts.origins, parts.problems, SERVER)
    lane = None
    if settings.fast_lane:
        lane = Lane(
            app.hot_routes(),
            guard,
            parts.reaper,
            memory,
            direct_write=settings.direct_write,
            wall_clock=time.time,
            timeout=IDLE,
        )
    return ChatSite(
        guard,
        parts.problems.refusal,
        parts.reactor,
        parts.reaper,
        memory=memory,
        connections=connections,
        timeout=IDLE,
        reads_early=reads_early,
        direct_write=settings.direct_write,
        lane=lane,
        access_log=settings.log_level == "debug",
    )


def build_metrics_site(parts: SiteParts, metrics: Metrics) -> ChatSite:
    """The site of `--metrics`."""
    problems, memory = parts.problems, parts.stats.memory
    port = MetricsPort(metrics, Hosts(parts.settings.hosts), problems, SERVER)
    return ChatSite(
        port, problems.refusal, parts.reactor, parts.reaper, memory=memory, timeout=IDLE
    )
