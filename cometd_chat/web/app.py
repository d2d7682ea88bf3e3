"""Every route there is.

What it is: one Klein app. A route reads what was sent, asks the chat, and says how it is shown.

What it may know: everything below it. Nothing above it is: the service hands this app its parts.

Invariant: a route that changes something first checks that its request was meant, and is shielded
against a client that leaves in the middle.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from klein import Klein
from klein.interfaces import IKleinRequest
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as KleinMethodNotAllowed

from cometd_chat import errors
from cometd_chat.chat.chat import Chat
from cometd_chat.chat.presence import GRACE
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import (
    ChatError,
    ClientIdReused,
    LogFull,
    MethodNotAllowed,
    NoSession,
    NotFound,
)
from cometd_chat.events.event import Event
from cometd_chat.fastlane.connection import HotRoute
from cometd_chat.transports.held import HeldRequest
from cometd_chat.transports.http import LimitedRequest
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web import answers, parameters
from cometd_chat.web.answers import api_path, room_path, shielded
from cometd_chat.web.auth import Auth
from cometd_chat.web.bayeux_http import Bayeux
from cometd_chat.web.classic import ClassicServlet
from cometd_chat.web.forms import RefusedForm, typed_room
from cometd_chat.web.metrics import CONTENT_TYPE, Metrics
from cometd_chat.web.pages import Pages
from cometd_chat.web.peers import Peers
from cometd_chat.web.problems import Problems
from cometd_chat.web.screens import Screens, chat_url, fits_in_address
from cometd_chat.web.static_files import StaticFile, static_files
from cometd_chat.web.transports import Transports

_DUPLEX = re.compile(rb"/rooms/[^/]+\.txt|/api/v1/events/duplex")

MAX_PAGE = 200
PAGE = 50


class ChatApp:
    """The daemon's routes.

    :param metrics: None where they have a port of their own.
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
        auth: Auth,
        transports: Transports,
        bayeux: Bayeux,
        screens: Screens,
        classic: ClassicServlet,
        pages: Pages,
        problems: Problems,
        metrics: Metrics | None,
        make_nonce: Callable[[], str],
        peers: Peers,
    ) -> None:
        self._peers = peers
        self._chat = chat
        self._auth = auth
        self._transports = transports
        self._bayeux = bayeux
        self._screens = screens
        self._classic = classic
        self._pages = pages
        self._problems = problems
        self._metrics = metrics
        self._make_nonce = make_nonce
        self._static = static_files()

    # -- sessions

    @app.route("/api/v1/session", methods=["POST"])
    @shielded
    async def start_session(self, request: HttpRequest) -> bytes:
        session = await self._auth.visitor(request)
        self._auth.check_csrf(request, session)
        name = parameters.string(parameters.json_object(request), "name")
        if session is not None:
            renewed = await self._chat.rename(session, name, self._peers.address(request))
            return answers.json(request, _session(session, self._auth.renew(request, renewed)))
        session, token = await self._chat.log_in(name, self._peers.address(request))
        self._auth.set_cookie(request, token)
        return answers.created(request, _session(session, token), "/api/v1/session")

    @app.route("/api/v1/session", methods=["GET"])
    async def show_session(self, request: HttpRequest) -> bytes:
        session = await self._auth.speaker(request)
        return answers.json(request, {"name": session.name, "role": session.role})

    @app.route("/api/v1/session", methods=["DELETE"])
    @shielded
    async def end_session(self, request: HttpRequest) -> bytes:
        session = await self._auth.required(request)
        self._auth.check_csrf(request, session)
        await self._chat.log_out(session)
        self._auth.clear_cookie(request)
        return answers.nothing(request)

    # -- rooms

    @app.route("/api/v1/rooms", methods=["GET"])
    async def list_rooms(self, request: HttpRequest) -> bytes:
        await self._auth.reader(request)
        asked = parameters.query(request)
        rooms, more = self._chat.rooms.page(
            asked.optional("after"), asked.number("limit", MAX_PAGE, 1, MAX_PAGE) or MAX_PAGE
        )
        return answers.json(request, {"rooms": [self._room(each) for each in rooms], "more": more})

    @app.route("/api/v1/rooms/<name>", methods=["GET"])
    async def show_room(self, request: HttpRequest, name: str) -> bytes:
        await self._auth.reader(request)
        return answers.json(request, self._room(self._chat.rooms.find(name)))

    @app.route("/api/v1/rooms", methods=["POST"])
    @shielded
    async def make_room(self, request: HttpRequest) -> bytes:
        session = await self._auth.speaker(request)
        self._auth.check_csrf(request, session)
        fields = parameters.json_object(request)
        room = await self._chat.make_room(
            session,
            parameters.string(fields, "name"),
            parameters.string(fields, "topic", ""),
            self._peers.address(request),
        )
        return answers.created(request, self._room(room), api_path(room.name))

    @app.route("/api/v1/rooms/<name>/people", methods=["GET"])
    async def list_people(self, request: HttpRequest, name: str) -> bytes:
        room = await self._asked_room(request, name)
        people = self._chat.presence.people(room.name)
        told: dict[str, Any] = {
            "people": [{"name": each.name, "role": each.role} for each in people]
        }
        count = self._chat.presence.count(room.name)
        if count > len(people):
            told["count"] = count
        return answers.json(request, told)

    # -- messages

    @app.route("/api/v1/rooms/<name>/messages", methods=["GET"])
    async def list_messages(self, request: HttpRequest, name: str) -> bytes:
        room = await self._asked_room(request, name)
        asked = parameters.query(request)
        messages, more = await self._chat.history(
            room,
            before=asked.number("before", None, 0, 2**62),
            after=asked.number("after", None, 0, 2**62),
            limit=asked.number("limit", PAGE, 1, MAX_PAGE) or PAGE,
        )
        return answers.json(
            request, {"messages": [event.fields for event in messages], "more": more}
        )

    @app.route("/api/v1/rooms/<name>/messages", methods=["POST"])
    @shielded
    async def post_message(self, request: HttpRequest, name: str) -> bytes:
        return await self._post_message(request, name)

    async def _post_message(self, request: HttpRequest, name: str) -> bytes:
        session = await self._auth.speaker(request)
        self._auth.check_csrf(request, session)
        fields = parameters.json_object(request)
        room = self._chat.rooms.find(name)
        event, repeated = await self._say(
            request, session, room, fields.get("text"), fields.get("client_id")
        )
        if repeated:
            return answers.json(request, event.fields)
        return answers.created(request, event.fields, api_path(room.name, event.id))

    @app.route("/api/v1/rooms/<name>/messages/<id>", methods=["GET"])
    async def show_message(self, request: HttpRequest, name: str, id: str) -> bytes:
        room = await self._asked_room(request, name)
        number = int(id) if id.isascii() and id.isdigit() and len(id) < 20 else 0
        messages, _ = await self._chat.history(room, before=number + 1, after=number - 1, limit=1)
        if not messages or number < 1:
            raise NotFound("There is no such message in this room.")
        return answers.event(request, messages[0])

    @app.route("/api/v1/rooms/<name>/typing", methods=["POST"])
    async def typing(self, request: HttpRequest, name: str) -> bytes:
        session = await self._auth.speaker(request)
        self._auth.check_csrf(request, session)
        room = self._chat.rooms.find(name)
        self._chat.type(session, room, self._peers.address(request))
        return answers.nothing(request)

    @app.route("/api/v1/rooms/<name>/leave", methods=["POST"])
    async def leave(self, request: HttpRequest, name: str) -> bytes:
        session = await self._auth.speaker(request)
        self._auth.check_csrf(request, session)
        self._chat.presence.leave(self._chat.rooms.find(name).name, session)
        return answers.nothing(request)

    # -- transports

    @app.route("/api/v1/events/<transport>", methods=["GET"])
    async def open_transport(self, request: HttpRequest, transport: str) -> bytes | None:
        return await _complete(request, await self._transports.open(request, transport))

    @app.route("/rooms/<name>.txt", methods=["GET"])
    async def open_text(self, request: HttpRequest, name: str) -> bytes | None:
        return await _complete(request, await self._open_text(request, name))

    async def _open_text(self, request: HttpRequest, name: str) -> bytes | HeldRequest:
        return await self._transports.open_text(request, name)

    @app.route("/api/v1/events/duplex", methods=["POST", "PUT"])
    async def open_duplex(self, request: HttpRequest) -> bytes | None:
        return await _complete(request, await self._transports.open_duplex(request))

    @app.route("/rooms/<name>.txt", methods=["POST", "PUT"])
    async def open_duplex_text(self, request: HttpRequest, name: str) -> bytes | None:
        return await _complete(request, await self._transports.open_duplex(request, name))

    # -- Bayeux

    @app.route("/cometd", methods=["GET", "POST", "OPTIONS"])
    @app.route("/cometd/", methods=["GET", "POST", "OPTIONS"])
    @app.route("/cometd/<path:rest>", methods=["GET", "POST", "OPTIONS"])
    async def bayeux(self, request: HttpRequest, rest: str = "") -> bytes | None:
        return await _complete(request, await self._open_bayeux(request, rest))

    async def _open_bayeux(self, request: HttpRequest, rest: str) -> bytes | None:
        return self._bayeux.open(request, rest)

    # -- the same for the fast lane

    def hot_routes(self) -> Sequence[HotRoute]:
        """What the fast lane takes of the routes above: method, path, what answers it.

        A path stands for itself alone; written in another way, it is Klein's.
        """
        room = rb"((?:[A-Za-z0-9_-]|%[0-9A-Fa-f]{2})+)"
        transports = rb"(poll|stream|sse|frame|jsonp|multipart|text)"
        return (
            HotRoute(b"GET", rb"/api/v1/events/" + transports, self._transports.open),
            HotRoute(b"GET", rb"/rooms/" + room + rb"\.txt", self._open_text),
            HotRoute(
                b"POST", rb"/api/v1/rooms/" + room + rb"/messages", self._post_message, writes=True
            ),
            HotRoute(b"POST", rb"/cometd((?:/[a-z]*)?)", self._open_bayeux),
        )

    # -- pages

    @app.route("/", methods=["GET"])
    async def home(self, request: HttpRequest) -> bytes:
        session = await self._auth.visitor(request)
        if session is None:
            return self._screens.log_in(request, "lobby")
        return await self._screens.room(request, session, self._chat.rooms.find("lobby"))

    @app.route("/rooms/<name>", methods=["GET"])
    async def room_page(self, request: HttpRequest, name: str) -> bytes:
        session = await self._auth.visitor(request)
        if not self._auth.may_read(session):
            return self._screens.log_in(request, name)
        return await self._screens.room(request, session, self._chat.rooms.find(name))

    @app.route("/rooms/<name>/plain", methods=["GET"])
    async def plain_page(self, request: HttpRequest, name: str) -> bytes:
        session = await self._auth.visitor(request)
        if not self._auth.may_read(session):
            return self._screens.log_in(request, name, plain=True)
        asked = parameters.query(request)
        return await self._screens.plain(
            request,
            session,
            self._chat.rooms.find(name),
            before=asked.number("before", None, 0, 2**62),
            after=asked.number("after", None, 0, 2**62),
        )

    @app.route("/log-in", methods=["POST"])
    @shielded
    async def log_in(self, request: HttpRequest) -> bytes:
        form = parameters.form(request)
        session = await self._auth.visitor(request)
        self._auth.check_csrf(request, session, form.optional("form_token"))
        room = self._known(session, form.text("room", "lobby"))
        text, plain = form.text("text"), form.text("view") == "plain"
        try:
            session = await self._logged_in(request, session, form.text("name"))
        except ChatError as error:
            self._problems.begin(request, error)
            return self._screens.log_in(
                request,
                room,
                name=form.text("name"),
                text=text,
                problem=error.detail,
                status=error.status,
                session=session,
                plain=plain,
            )
        # Without script the page of the room stands still; the classic one does not.
        live = form.text("view") == "live"
        if live and fits_in_address(text):
            return answers.see_other(request, chat_url(room=room, message=text))
        if text:
            # Somebody wrote before she was in: it waits in the composer.
            show = self._screens.plain if plain or live else self._screens.room
            return await show(request, session, self._chat.rooms.find(room), draft=text)
        view = self._new_plain() if plain else ""
        return answers.see_other(request, room_path(room) + view)

    @app.route("/log-out", methods=["POST"])
    @shielded
    async def log_out(self, request: HttpRequest) -> bytes:
        form = parameters.form(request)
        session = await self._auth.visitor(request)
        self._auth.check_csrf(request, session, form.optional("form_token"))
        if session is not None:
            await self._chat.log_out(session)
            self._auth.clear_cookie(request)
        return answers.see_other(request, "/")

    @app.route("/rename", methods=["POST"])
    @shielded
    async def rename(self, request: HttpRequest) -> bytes:
        form = parameters.form(request)
        session = await self._auth.visitor(request)
        self._auth.check_csrf(request, session, form.optional("form_token"))
        room = self._known(session, form.text("room", "lobby"))
        if session is None:
            problem = "Your session is over. Log in again."
            return self._screens.log_in(
                request, room, name=form.text("name"), problem=problem, status=401
            )
        name = form.text("name")
        try:
            token = await self._chat.rename(session, name, self._peers.address(request))
        except ChatError as error:
            self._problems.begin(request, error)
            refused = RefusedForm.of(error, name)
            return await self._screens.room(
                request, session, self._chat.rooms.find(room), rename=refused, status=error.status
            )
        self._auth.renew(request, token)
        return answers.see_other(request, room_path(room))

    @app.route("/rooms", methods=["GET"])
    async def rooms_page(self, request: HttpRequest) -> bytes:
        session = await self._auth.visitor(request)
        if session is None and not self._auth.public_reading:
            return self._screens.log_in(request, "lobby")
        return self._screens.rooms(request, parameters.query(request).optional("after"))

    @app.route("/rooms", methods=["POST"])
    @shielded
    async def make_room_by_form(self, request: HttpRequest) -> bytes:
        form = parameters.form(request)
        session = await self._auth.visitor(request)
        self._auth.check_csrf(request, session, form.optional("form_token"))
        if session is None:
            raise NoSession("Your session is over: log in again, then make the room.")
        here = self._chat.rooms.find(form.text("room", "lobby"))
        typed, topic = form.text("name"), form.text("topic")
        try:
            # The second button of a form that was refused says what would do.
            name = typed_room(form.text("instead") or typed)
            room = await self._chat.make_room(session, name, topic, self._peers.address(request))
        except ChatError as error:
            self._problems.begin(request, error)
            refused = RefusedForm.of(error, typed, topic)
            return await self._screens.room(
                request, session, here, new_room=refused, status=error.status
            )
        return answers.see_other(request, room_path(room.name))

    @app.route("/rooms/<name>", methods=["POST"])
    @shielded
    async def post_by_form(self, request: HttpRequest, name: str) -> bytes:
        return await self._post_form(request, name, plain=False)

    @app.route("/rooms/<name>/plain", methods=["POST"])
    @shielded
    async def post_by_plain_form(self, request: HttpRequest, name: str) -> bytes:
        return await self._post_form(request, name, plain=True)

    # -- the classic servlet

    @app.route("/chat", methods=["GET", "POST"])
    async def chat_servlet(self, request: HttpRequest) -> bytes | None:
        return await _complete(request, await self._classic.respond(request))

    # -- what belongs to pages, and to errors

    @app.route("/static/<name>", methods=["GET"])
    def static(self, request: HttpRequest, name: str) -> bytes:
        return self._file(request, self._static.named.get(name), lasting=False)

    @app.route("/static/<version>/<name>", methods=["GET"])
    def joined(self, request: HttpRequest, version: str, name: str) -> bytes:
        # Another version is asked for by a page from before an upgrade: the new file may suit it,
        # and none would not.
        lasting = version == self._static.version
        return self._file(request, self._static.joined.get(name), lasting=lasting)

    def _file(self, request: HttpRequest, file: StaticFile | None, *, lasting: bool) -> bytes:
        if file is None:
            raise NotFound("There is no such file.")
        return answers.file(request, file, lasting=lasting)

    @app.route("/problems/<slug>", methods=["GET"])
    def problem_page(self, request: HttpRequest, slug: str) -> bytes:
        kind = errors.by_slug().get(slug)
        if kind is None:
            raise NotFound("There is no such problem.")
        nonce = self._make_nonce()
        page = self._pages.problem_kind(
            nonce=nonce, slug=slug, title=kind.title, status=kind.status
        )
        return answers.html(request, page, nonce)

    # -- operating it

    @app.route("/healthz", methods=["GET"])
    def healthz(self, request: HttpRequest) -> bytes:
        return answers.text(request, "alive\n")

    @app.route("/readyz", methods=["GET"])
    def readyz(self, request: HttpRequest) -> bytes:
        self._chat.admit()
        usage = self._chat.feed.log.usage
        if usage is None or not usage.nearly_full:
            return answers.text(request, "ready\n")
        room = f"{usage.size} of {usage.limit} bytes; raise --max-log and restart"
        if usage.full:
            raise LogFull(f"The log takes nothing new: {room}.")
        return answers.text(request, f"ready, but the log is nearly full: {room}\n")

    @app.route("/metrics", methods=["GET"])
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

    # -- what several routes do

    async def _asked_room(self, request: HttpRequest, name: str) -> Room:
        """The room that somebody asks about, who is present in it from now."""
        session = await self._auth.reader(request)
        room = self._chat.rooms.find(name)
        if session is not None:
            self._chat.arrive(session, room, self._peers.address(request), GRACE)
        return room

    def _known(self, session: Session | None, room: str) -> str:
        """A room's name, as it is kept where whoever asks may know whether it is there, and as it
        was typed where she may not.

        :raises RoomNotFound: it isn't there, and she may know.
        """
        return self._chat.rooms.find(room).name if self._auth.may_read(session) else room

    async def _say(
        self, request: HttpRequest, session: Session, room: Room, text: object, client_id: object
    ) -> tuple[Event, bool]:
        address = self._peers.address(request)
        return await self._chat.say(session, room, text, client_id, address=address)

    async def _logged_in(self, request: HttpRequest, session: Session | None, name: str) -> Session:
        """The session of somebody who gave a name; a new one, or hers renamed."""
        if session is not None:
            renewed = await self._chat.rename(session, name, self._peers.address(request))
            self._auth.renew(request, renewed)
            return session
        session, token = await self._chat.log_in(name, self._peers.address(request))
        self._auth.set_cookie(request, token)
        return session

    async def _post_form(self, request: HttpRequest, name: str, *, plain: bool) -> bytes:
        form = parameters.form(request)
        session = await self._auth.visitor(request)
        self._auth.check_csrf(request, session, form.optional("form_token"))
        text, client_id = form.text("text"), form.text("client_id")
        name = self._known(session, name)
        if session is None:
            problem = "Your session is over. Log in again: your message is kept."
            return self._screens.log_in(
                request, name, text=text, problem=problem, status=401, plain=plain
            )
        room = self._chat.rooms.find(name)
        show = self._screens.plain if plain else self._screens.room
        try:
            await self._say(request, session, room, text, client_id or None)
        except ChatError as error:
            self._problems.begin(request, error)
            return await show(
                request,
                session,
                room,
                draft=text,
                # See `ClassicServlet`: sending it again must not say it twice.
                client_id="" if isinstance(error, ClientIdReused) else client_id,
                problem=error.detail,
                status=error.status,
            )
        return answers.see_other(
            request, room_path(room.name) + (self._new_plain() if plain else "")
        )

    def _new_plain(self) -> str:
        """What follows a room's path to its plain page, new: links shows a page that it has."""
        return f"/plain?n={self._chat.feed.last_id}#text"

    def _room(self, room: Room) -> dict[str, Any]:
        return {
            "name": room.name,
            "topic": room.topic,
            "people": self._chat.presence.count(room.name),
            "last_id": self._chat.feed.newest.get(room.context.path, 0),
        }


async def _complete(request: HttpRequest, answer: bytes | HeldRequest | None) -> bytes | None:
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


def _session(session: Session, token: str) -> dict[str, str]:
    return {"name": session.name, "role": session.role, "token": token}


def reads_early(method: bytes, path: bytes) -> bool:
    """Whether a route begins before the request's body has come: those of the transport `duplex`.

    However the path is spelt: what the router takes for that transport has to be read early.
    """
    spelt = unquote_to_bytes(path.partition(b"?")[0])
    return method in (b"POST", b"PUT") and _DUPLEX.fullmatch(spelt) is not None
