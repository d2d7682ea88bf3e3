"""Every route there is.

What it is: one Klein app, and `ROUTES`, its table of contents. What a route does is said in
`api.py`, `page_routes.py`, `classic.py`, `transports.py` and `bayeux_http.py`; what is held, what
serves operating, and how errors are answered, is here.

What it may know: everything below it. Nothing above it is: the service hands this app its parts.

Invariant: no route exists that is not in the table.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from urllib.parse import quote, unquote_to_bytes

from klein import Klein
from klein.interfaces import IKleinRequest
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as KleinMethodNotAllowed

from cometd_chat import errors
from cometd_chat.chat.chat import Chat
from cometd_chat.chat.rights import Act
from cometd_chat.chat.sink import HeldSink
from cometd_chat.errors import (
    ChatError,
    LogFull,
    MethodNotAllowed,
    NotFound,
    StorageUnavailable,
)
from cometd_chat.fastlane.routes import HotRoute
from cometd_chat.transports.limited_request import LimitedRequest
from cometd_chat.transports.request import HttpRequest
from cometd_chat.transports.table import TABLE, Transport
from cometd_chat.web import answers
from cometd_chat.web.account_pages import AccountPages
from cometd_chat.web.accounts_api import AccountsApi
from cometd_chat.web.admin_pages import SECTIONS, AdminPages
from cometd_chat.web.api import Api
from cometd_chat.web.bayeux_http import Bayeux
from cometd_chat.web.classic import ClassicServlet
from cometd_chat.web.commanding import Commanding
from cometd_chat.web.deletions_api import DeletionsApi
from cometd_chat.web.downloads import send_pages
from cometd_chat.web.first_screen import FirstScreen
from cometd_chat.web.message_pages import MessagePages
from cometd_chat.web.metrics import CONTENT_TYPE, Metrics
from cometd_chat.web.moderation_api import ModerationApi
from cometd_chat.web.page_routes import PageRoutes
from cometd_chat.web.pages.problems import ProblemKindPage
from cometd_chat.web.peers import Peers
from cometd_chat.web.person_pages import PersonPages
from cometd_chat.web.policies_api import PoliciesApi
from cometd_chat.web.problems import Problems
from cometd_chat.web.room_pages import RoomPages
from cometd_chat.web.rooms_api import RoomsApi
from cometd_chat.web.sessions_api import SessionsApi
from cometd_chat.web.static_files import StaticFile, static_files
from cometd_chat.web.transports import Transports
from cometd_chat.web.views import Views

#: What responds to a request, with what stands in the path for the names in it.
Responder = Callable[..., bytes | Awaitable[bytes | None] | None]


class ChatApp:
    """The daemon's routes.

    :param metrics: None where they have a port of their own.
    :param trouble: why others should be asked instead, as of now; empty when there is no reason.
    """

    app = Klein()
    # One path is one path, as it is for a proxy that keeps some to itself: with two slashes, or one
    # more at its end, it is another. (Klein's own redirects would be absolute.)
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = True

    def __init__(
        self,
        *,
        chat: Chat,
        api: Api,
        deletions: DeletionsApi,
        moderation: ModerationApi,
        person_pages: PersonPages,
        message_pages: MessagePages,
        sessions: SessionsApi,
        commanding: Commanding,
        accounts_api: AccountsApi,
        page_routes: PageRoutes,
        account_pages: AccountPages,
        admin_pages: AdminPages,
        first_screen: FirstScreen,
        classic: ClassicServlet,
        transports: Transports,
        bayeux: Bayeux,
        policies: PoliciesApi,
        rooms: RoomsApi,
        room_pages: RoomPages,
        views: Views,
        problems: Problems,
        metrics: Metrics | None,
        peers: Peers,
        trouble: Callable[[], str],
    ) -> None:
        self.api = api
        self.deletions = deletions
        self.moderation = moderation
        self.person_pages = person_pages
        self.message_pages = message_pages
        self.commanding = commanding
        self.policies = policies
        self.rooms = rooms
        self.room_pages = room_pages
        self.accounts = accounts_api
        self.pages = page_routes
        self.sessions = sessions
        self.account = account_pages
        self.admin = admin_pages
        self.first_screen = first_screen
        self._chat = chat
        self._classic = classic
        self._transports = transports
        self._bayeux = bayeux
        self._views = views
        self._problems = problems
        self._metrics = metrics
        self._peers = peers
        self._trouble = trouble
        self._static = static_files()

    # -- what is held

    async def open_transport(self, request: HttpRequest, transport: str) -> bytes | None:
        return await _complete(request, await self._transports.open(request, transport))

    def no_transport(self, request: HttpRequest, transport: str) -> bytes:
        raise self._transports.missing(transport)

    async def open_by_room(self, request: HttpRequest, name: str) -> bytes | None:
        return await _complete(request, await self._transports.open_by_room(request, name))

    async def bayeux(self, request: HttpRequest, rest: str = "") -> bytes | None:
        return await _complete(request, await self._open_bayeux(request, rest))

    async def _open_bayeux(self, request: HttpRequest, rest: str) -> bytes | None:
        return self._bayeux.open(request, rest)

    async def watch(self, request: HttpRequest) -> None:
        await self.admin.watch(request)
        await _routed(request).until_released()

    async def chat_servlet(self, request: HttpRequest) -> bytes | None:
        return await _complete(request, await self._classic.respond(request))

    # -- the same for the fast lane

    def hot_routes(self) -> Sequence[HotRoute]:
        """What the fast lane takes of the routes above: method, path, what answers it.

        A path stands for itself alone; written in another way, it is Klein's.
        """
        room = rb"((?:[A-Za-z0-9_-]|%[0-9A-Fa-f]{2})+)"
        # The handshake of a WebSocket is not plain.
        names = "|".join(row.name for row in TABLE if "GET" in row.methods and not row.upgrade)
        return (
            HotRoute(b"GET", b"/api/v1/events/(%b)" % names.encode(), self._transports.open),
            HotRoute(b"GET", rb"/rooms/" + room + rb"\.txt", self._transports.open_by_room),
            HotRoute(b"POST", rb"/api/v1/rooms/" + room + rb"/messages", self.api.say, writes=True),
            HotRoute(b"POST", rb"/cometd((?:/[a-z]*)?)", self._open_bayeux),
        )

    # -- what takes long to tell

    async def export_account(self, request: HttpRequest) -> None:
        pages = await self.accounts.export(request)
        await send_pages(_routed(request), "application/x-ndjson", pages)

    # -- what belongs to pages, and to errors

    def static(self, request: HttpRequest, name: str) -> bytes:
        return self._file(request, self._static.named.get(name), lasting=False)

    def static_version(self, request: HttpRequest, version: str, name: str) -> bytes:
        # Another version is asked for by a page from before an upgrade: the new file may suit it,
        # and none would not.
        lasting = version == self._static.version
        return self._file(request, self._static.joined.get(name), lasting=lasting)

    def _file(self, request: HttpRequest, file: StaticFile | None, *, lasting: bool) -> bytes:
        if file is None:
            raise NotFound("There is no such file.")
        return answers.file(request, file, lasting=lasting)

    def problem_page(self, request: HttpRequest, slug: str) -> bytes:
        kind = errors.by_slug().get(slug)
        if kind is None:
            raise NotFound("There is no such problem.")
        page = ProblemKindPage(slug=slug, title=kind.title, status=kind.status)
        return self._views.respond(request, page)

    # -- operating it

    def healthz(self, request: HttpRequest) -> bytes:
        return answers.text(request, "alive\n")

    def readyz(self, request: HttpRequest) -> bytes:
        self._chat.rights.require(None, Act.ENTER)
        trouble = self._trouble()
        if trouble:
            raise StorageUnavailable(f"Others serve better just now: {trouble}.", retry_after=1)
        usage = self._chat.feed.log.usage
        if usage is None or not usage.nearly_full:
            return answers.text(request, "ready\n")
        room = f"{usage.size} of {usage.limit} bytes; raise --max-log and restart"
        if usage.full:
            raise LogFull(f"The log takes nothing new: {room}.")
        return answers.text(request, f"ready, but the log is nearly full: {room}\n")

    def metrics(self, request: HttpRequest) -> bytes:
        if self._metrics is None or not self._peers.is_local(request):
            raise _nothing_here()
        return answers.text(request, self._metrics.text().decode(), CONTENT_TYPE)

    # -- errors

    @app.handle_errors(ChatError)
    def refused(self, request: IRequest, failure: Failure) -> bytes:
        assert isinstance(failure.value, ChatError)
        return self._problems.respond(_routed(request), failure.value)

    @app.handle_errors(HTTPException)
    def unknown(self, request: IRequest, failure: Failure) -> bytes:
        asked = _routed(request)
        if isinstance(failure.value, KleinMethodNotAllowed):
            allow = sorted(failure.value.valid_methods or ())
            error: ChatError = MethodNotAllowed(
                "Nothing is to be seen at this address by itself.",
                hint=f"Use {' or '.join(allow)} here.",
                allow=allow,
            )
        else:
            path = _without_slash(asked)
            if path is not None:
                return answers.moved(asked, path)
            error = _nothing_here()
        return self._problems.respond(asked, error)

    @app.handle_errors(Exception)
    def broken(self, request: IRequest, failure: Failure) -> bytes:
        return self._problems.broken(_routed(request), failure)


def _opener(row: Transport) -> Callable[[ChatApp], Responder]:
    return lambda app: partial(app.open_transport, transport=row.name)


def _section(method: str, name: str) -> Callable[[ChatApp], Responder]:
    if method == "GET":
        return lambda app: partial(app.admin.show, section=name)
    return lambda app: partial(app.admin.act, section=name)


#: Methods, path, what responds, and the right that it takes; None where that is nobody's business.
#: HEAD comes with GET. Where a room is named, the right is one in that room. What takes several
#: (who reads by a transport may also speak) has the first one; a test walks all of them for every
#: role.
ROUTES: Sequence[tuple[str, str, Callable[[ChatApp], Responder], Act | None]] = (
    # The API.
    ("POST", "/api/v1/session", lambda app: app.api.start_session, Act.COME_AS_GUEST),
    ("GET", "/api/v1/session", lambda app: app.api.show_session, Act.OWN_ACCOUNT),
    ("DELETE", "/api/v1/session", lambda app: app.api.end_session, Act.OWN_ACCOUNT),
    ("GET", "/api/v1/sessions", lambda app: app.sessions.list_sessions, Act.OWN_ACCOUNT),
    ("DELETE", "/api/v1/sessions/<id>", lambda app: app.sessions.end_one, Act.OWN_ACCOUNT),
    ("GET", "/api/v1/rooms", lambda app: app.rooms.list_rooms, Act.SEE),
    ("POST", "/api/v1/rooms", lambda app: app.rooms.make_room, Act.MAKE_ROOM),
    ("GET", "/api/v1/rooms/<name>", lambda app: app.rooms.show_room, Act.SEE),
    ("PATCH", "/api/v1/rooms/<name>", lambda app: app.rooms.change_room, Act.CHANGE_ROOM),
    ("DELETE", "/api/v1/rooms/<name>", lambda app: app.rooms.remove_room, Act.REMOVE_ROOM),
    ("GET", "/api/v1/rooms/<name>/members", lambda app: app.rooms.list_members, Act.SEE),
    ("PUT", "/api/v1/rooms/<name>/members/<who>", lambda app: app.rooms.put_member, Act.JOIN),
    ("DELETE", "/api/v1/rooms/<name>/members/<who>", lambda app: app.rooms.drop_member, Act.LEAVE),
    ("POST", "/api/v1/direct", lambda app: app.rooms.direct, Act.DIRECT),
    ("POST", "/api/v1/session/link", lambda app: app.accounts.make_link, Act.OWN_ACCOUNT),
    ("POST", "/api/v1/claim", lambda app: app.accounts.claim, Act.ENTER),
    ("POST", "/api/v1/account", lambda app: app.accounts.make_account, Act.OWN_ACCOUNT),
    ("PUT", "/api/v1/account", lambda app: app.accounts.change_password, Act.OWN_ACCOUNT),
    ("DELETE", "/api/v1/account", lambda app: app.accounts.delete_account, Act.OWN_ACCOUNT),
    ("GET", "/api/v1/account/export", lambda app: app.export_account, Act.OWN_ACCOUNT),
    ("POST", "/api/v1/invites", lambda app: app.accounts.invite, Act.INVITE),
    ("GET", "/api/v1/invites", lambda app: app.accounts.list_invites, Act.INVITE),
    ("DELETE", "/api/v1/invites/<code>", lambda app: app.accounts.revoke_invite, Act.OWN_ACCOUNT),
    ("GET", "/api/v1/users", lambda app: app.accounts.list_users, Act.SEE_USERS),
    ("PATCH", "/api/v1/users/<name>", lambda app: app.accounts.change_user, Act.SET_ROLE),
    ("DELETE", "/api/v1/users/<name>", lambda app: app.accounts.remove_user, Act.REMOVE_ACCOUNT),
    ("GET", "/api/v1/rooms/<name>/people", lambda app: app.api.list_people, Act.SEE),
    ("GET", "/api/v1/rooms/<name>/messages", lambda app: app.api.list_messages, Act.SEE),
    ("POST", "/api/v1/rooms/<name>/messages", lambda app: app.api.post_message, Act.SPEAK),
    ("GET", "/api/v1/rooms/<name>/messages/<id>", lambda app: app.api.show_message, Act.SEE),
    (
        "DELETE",
        "/api/v1/rooms/<name>/messages/<id>",
        lambda app: app.deletions.delete,
        Act.DELETE_OWN,
    ),
    (
        "POST",
        "/api/v1/rooms/<name>/messages/<id>/report",
        lambda app: app.deletions.report,
        Act.REPORT,
    ),
    ("GET", "/api/v1/reports", lambda app: app.deletions.list_reports, Act.SEE_REPORTS),
    ("DELETE", "/api/v1/reports/<id>", lambda app: app.deletions.settle, Act.SEE_REPORTS),
    ("POST", "/api/v1/rooms/<name>/purge", lambda app: app.deletions.purge, Act.PURGE),
    ("DELETE", "/api/v1/rooms/<name>/purge/<id>", lambda app: app.deletions.undo, Act.PURGE),
    ("POST", "/api/v1/rooms/<name>/commands", lambda app: app.commanding.respond, Act.SEE),
    ("POST", "/api/v1/rooms/<name>/typing", lambda app: app.api.typing, Act.SPEAK),
    ("POST", "/api/v1/rooms/<name>/leave", lambda app: app.api.leave, Act.SEE),
    # Keeping it civil.
    ("POST", "/api/v1/sanctions", lambda app: app.moderation.impose, Act.SANCTION),
    ("GET", "/api/v1/sanctions", lambda app: app.moderation.list_sanctions, Act.SEE_SANCTIONS),
    ("DELETE", "/api/v1/sanctions/<id>", lambda app: app.moderation.lift, Act.SANCTION),
    (
        "POST",
        "/api/v1/sanctions/forget-networks",
        lambda app: app.moderation.forget_networks,
        Act.SET_POLICY,
    ),
    ("GET", "/api/v1/held", lambda app: app.moderation.list_screened, Act.DELETE_OTHERS),
    ("POST", "/api/v1/held/<id>", lambda app: app.moderation.decide, Act.DELETE_OTHERS),
    ("GET", "/api/v1/ignored", lambda app: app.moderation.list_ignored, Act.IGNORE),
    ("PUT", "/api/v1/ignored/<name>", lambda app: app.moderation.ignore, Act.IGNORE),
    ("DELETE", "/api/v1/ignored/<name>", lambda app: app.moderation.unignore, Act.IGNORE),
    ("GET", "/api/v1/audit", lambda app: app.moderation.list_audit, Act.SEE_AUDIT),
    ("GET", "/api/v1/policies", lambda app: app.policies.show_policies, Act.CALM),
    ("PATCH", "/api/v1/policies", lambda app: app.policies.change_policies, Act.CALM),
    ("GET", "/api/v1/waiting", lambda app: app.policies.list_waiting, Act.LET_IN),
    ("POST", "/api/v1/waiting/<name>", lambda app: app.policies.let_in, Act.LET_IN),
    # What is held.
    *((" ".join(row.methods), row.path, _opener(row), Act.FOLLOW) for row in TABLE),
    ("GET", "/api/v1/events/<transport>", lambda app: app.no_transport, None),
    *(
        (" ".join(row.methods), "/rooms/<name>.txt", lambda app: app.open_by_room, Act.FOLLOW)
        for row in TABLE
        if row.by_room
    ),
    ("GET POST OPTIONS", "/cometd", lambda app: app.bayeux, Act.ENTER),
    ("GET POST OPTIONS", "/cometd/", lambda app: app.bayeux, Act.ENTER),
    ("GET POST OPTIONS", "/cometd/<path:rest>", lambda app: app.bayeux, Act.ENTER),
    ("GET POST", "/chat", lambda app: app.chat_servlet, Act.SEE),
    # Pages and their forms.
    ("GET", "/", lambda app: app.pages.home, Act.SEE),
    ("GET", "/rooms", lambda app: app.pages.rooms, Act.SEE),
    ("POST", "/rooms", lambda app: app.pages.make_room, Act.MAKE_ROOM),
    ("GET", "/rooms/<name>", lambda app: app.pages.room, Act.SEE),
    ("POST", "/rooms/<name>", lambda app: app.pages.post, Act.SPEAK),
    ("GET", "/rooms/<name>/plain", lambda app: app.pages.plain, Act.SEE),
    ("POST", "/rooms/<name>/plain", lambda app: app.pages.post_plain, Act.SPEAK),
    ("GET", "/rooms/<name>/members", lambda app: app.room_pages.show, Act.SEE),
    ("POST", "/rooms/<name>/members", lambda app: app.room_pages.act, Act.SEE),
    ("GET", "/rooms/<name>/messages/<id>", lambda app: app.message_pages.show, Act.SEE),
    ("POST", "/rooms/<name>/messages/<id>", lambda app: app.message_pages.act, Act.SEE),
    ("GET", "/rooms/<name>/people/<who>", lambda app: app.person_pages.show, Act.SEE),
    ("POST", "/rooms/<name>/people/<who>", lambda app: app.person_pages.act, Act.IGNORE),
    ("POST", "/log-in", lambda app: app.pages.log_in, Act.COME_AS_GUEST),
    ("POST", "/log-out", lambda app: app.pages.log_out, None),
    ("POST", "/rename", lambda app: app.pages.rename, Act.OWN_ACCOUNT),
    ("GET", "/claim/<code>", lambda app: app.account.show_claim, None),
    ("POST", "/claim/<code>", lambda app: app.account.claim, Act.ENTER),
    ("GET", "/invite/<code>", lambda app: app.account.show_invite, None),
    ("POST", "/invite/<code>", lambda app: app.account.take_invite, Act.ENTER),
    ("GET", "/link/<code>", lambda app: app.account.show_link, None),
    ("POST", "/link/<code>", lambda app: app.account.follow_link, Act.ENTER),
    ("GET", "/account", lambda app: app.account.show, Act.OWN_ACCOUNT),
    ("POST", "/account", lambda app: app.account.become_member, Act.OWN_ACCOUNT),
    ("POST", "/account/link", lambda app: app.account.make_link, Act.OWN_ACCOUNT),
    ("POST", "/account/sessions", lambda app: app.account.end_session, Act.OWN_ACCOUNT),
    ("POST", "/account/invites", lambda app: app.account.make_invite, Act.INVITE),
    ("POST", "/account/invites/revoke", lambda app: app.account.revoke_invite, Act.OWN_ACCOUNT),
    ("POST", "/account/password", lambda app: app.account.change_password, Act.OWN_ACCOUNT),
    ("POST", "/account/delete", lambda app: app.account.delete, Act.OWN_ACCOUNT),
    # For who runs the house, or keeps it civil.
    ("GET", "/api/v1/live", lambda app: app.admin.numbers, Act.SEE_LIVE),
    ("GET", "/api/v1/live/events", lambda app: app.watch, Act.SEE_LIVE),
    ("GET", "/admin", lambda app: app.admin.first, Act.CALM),
    ("POST", "/admin/first/guests", lambda app: app.first_screen.let_in, Act.SET_POLICY),
    ("POST", "/admin/first/invite", lambda app: app.first_screen.invite, Act.SET_POLICY),
    ("POST", "/admin/calm", lambda app: app.admin.calm, Act.CALM),
    *(
        (method, f"/admin/{each.name}", _section(method, each.name), each.act)
        for each in SECTIONS
        for method in ("GET", "POST")
    ),
    # What belongs to pages, and to errors.
    ("GET", "/static/<name>", lambda app: app.static, None),
    ("GET", "/static/<version>/<name>", lambda app: app.static_version, None),
    ("GET", "/problems/<slug>", lambda app: app.problem_page, None),
    # Operating it.
    ("GET", "/healthz", lambda app: app.healthz, None),
    ("GET", "/readyz", lambda app: app.readyz, Act.ENTER),
    ("GET", "/metrics", lambda app: app.metrics, None),
)


def _add(methods: str, path: str, responder: Callable[[ChatApp], Responder]) -> None:
    @ChatApp.app.route(path, methods=methods.split(), endpoint=f"{methods} {path}")
    def respond(
        self: ChatApp, request: HttpRequest, **named: str
    ) -> bytes | Awaitable[bytes | None] | None:
        return responder(self)(request, **named)


for _methods, _path, _responder, _ in ROUTES:
    _add(_methods, _path, _responder)


async def _complete(request: HttpRequest, answer: bytes | HeldSink | None) -> bytes | None:
    """Wait until a request that is held has had its response."""
    if isinstance(answer, bytes):
        return answer
    await _routed(request).until_released()
    return None


def _routed(request: object) -> LimitedRequest:
    """A request as Klein hands it on."""
    assert isinstance(request, LimitedRequest)
    return request


def _without_slash(request: HttpRequest) -> bytes | None:
    """Where somebody goes who put a slash too many at the end of a path; None where that leads
    nowhere, or where she sends something."""
    _, mark, query = request.uri.partition(b"?")
    path = unquote_to_bytes(request.path).decode("utf-8")
    if request.method not in (b"GET", b"HEAD") or not path.endswith("/"):
        return None
    leads = IKleinRequest(request).mapper.test(path[:-1], method="GET")
    return quote(path[:-1]).encode("ascii") + mark + query if leads else None


def _nothing_here() -> NotFound:
    return NotFound("There is nothing at this path.")


def reads_early(method: bytes, path: bytes) -> bool:
    """Whether a route begins before the request's body has come: those of some transports.

    However the path is spelt: what the router takes for such a transport has to be read early.
    """
    early = _EARLY.get(method)
    return early is not None and bool(early.fullmatch(unquote_to_bytes(path.partition(b"?")[0])))


def _early_paths() -> dict[bytes, re.Pattern[bytes]]:
    """By method the paths of the transports that begin early."""
    paths: dict[str, list[str]] = {}
    for row in TABLE:
        for method in row.methods if row.reads_early else ():
            found = paths.setdefault(method, [])
            found += [re.escape(row.path), *([r"/rooms/[^/]+\.txt"] if row.by_room else [])]
    return {
        method.encode(): re.compile("|".join(found).encode()) for method, found in paths.items()
    }


_EARLY = _early_paths()
