"""The classic chat servlet: one path, actions by form (interface, section 5).

What it is: what `/chat` does, for browsers without script.

What it may know: the chat, screens, transports. Not other routes.

Invariant: every action ends in a page from which the talk goes on, with what was typed in it.
"""

from __future__ import annotations

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import ChatError, ClientIdReused, NameTaken, NoSession
from cometd_chat.transports.held import HeldRequest
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web import answers, parameters
from cometd_chat.web.answers import shielded
from cometd_chat.web.auth import Auth
from cometd_chat.web.parameters import Parameters, refused
from cometd_chat.web.peers import Peers
from cometd_chat.web.problems import Problems
from cometd_chat.web.screens import Screens, chat_url, fits_in_address
from cometd_chat.web.transports import Transports


class ClassicServlet:
    """Responds to every request for `/chat`."""

    def __init__(
        self,
        chat: Chat,
        auth: Auth,
        peers: Peers,
        transports: Transports,
        screens: Screens,
        problems: Problems,
    ) -> None:
        self._problems = problems
        self._peers = peers
        self._chat = chat
        self._auth = auth
        self._transports = transports
        self._screens = screens

    async def respond(self, request: HttpRequest) -> bytes | HeldRequest:
        """Do what ``action=`` says; without one, show the chat."""
        asked = parameters.query(request)
        posted = request.method == b"POST"
        form = parameters.form(request) if posted else asked
        action = form.text("action")
        token = asked.optional("token") if action == "openchat" else None
        session = await self._auth.visitor(request, query_token=token)
        if posted and action != "openchat":
            self._auth.check_csrf(request, session, form.optional("form_token"))
        name = form.text("room") or asked.text("room") or "lobby"
        if not self._auth.may_read(session):
            # Whoever may not read is not told whether the room is there.
            return await self._outside(request, name, action if posted else "", form)
        room = self._chat.rooms.find(name)
        if action == "openchat":
            return await self._open(request, session, room, form)
        if posted and action == "login":
            return await self._log_in(request, session, room.name, form)
        if posted and action == "post":
            return await self._post(request, session, room, form)
        if action not in ("", "form", "side") or posted:
            raise refused("action", "login, post or openchat is needed")
        view, message = form.text("view"), form.text("message")
        if session is None or session.name_key is None:
            return self._screens.classic_log_in(
                request, room.name, message=message, session=session, view=view
            )
        if action == "side":
            return self._screens.classic_side(request, session, room, view)
        if action == "form":
            return self._screens.classic_form(request, session, room, view=view, message=message)
        return self._screens.classic(request, session, room, view, message)

    async def _outside(
        self, request: HttpRequest, room: str, action: str, form: Parameters
    ) -> bytes | HeldRequest:
        """What somebody can do who has to log in before she may read.

        :param action: of what was posted; else empty.
        """
        if action == "login":
            return await self._log_in(request, None, room, form)
        if action == "openchat":
            raise _log_in_first()
        if action == "post":
            return self._log_in_again(request, room, form)
        return self._screens.classic_log_in(
            request, room, message=form.text("message"), view=form.text("view")
        )

    async def _open(
        self, request: HttpRequest, session: Session | None, room: Room, form: Parameters
    ) -> bytes | HeldRequest:
        if session is None or session.name_key is None:
            if request.method == b"POST":
                raise _log_in_first()
            return self._screens.classic_log_in(request, room.name, session=session)
        resumed = form.optional("cursor") is not None
        framing = self._screens.classic_stream(request, session, room, resumed=resumed)
        return await self._transports.open_classic(request, session, room, framing, form)

    @shielded
    async def _log_in(
        self, request: HttpRequest, session: Session | None, room: str, form: Parameters
    ) -> bytes:
        name, message, view = form.text("username"), form.text("message"), form.text("view")
        try:
            if session is not None:
                renewed = await self._chat.rename(session, name, self._peers.address(request))
                self._auth.renew(request, renewed)
            else:
                session, token = await self._chat.log_in(name, self._peers.address(request))
                self._auth.set_cookie(request, token)
        except ChatError as error:
            self._problems.begin(request, error)
            return self._screens.classic_log_in(
                request,
                room,
                name=name,
                message=message,
                problem=error.detail,
                status=error.status,
                session=session,
                view=view,
            )
        there = self._chat.rooms.find(room)
        self._chat.arrive(session, there, self._peers.address(request))
        if not fits_in_address(message):
            return await self._screens.plain(request, session, there, draft=message)
        # Our own form says which view it wants, and gets an address that is new: links shows a page
        # that it has, whatever its headers say, and here that would be the log-in form.
        new = self._newest() if view else ""
        return answers.see_other(
            request, chat_url(room=_unless_lobby(room), view=view, message=message, n=new)
        )

    @shielded
    async def _post(
        self, request: HttpRequest, session: Session | None, room: Room, form: Parameters
    ) -> bytes:
        message, view = form.text("message"), form.text("view")
        client_id = form.text("client_id")
        if session is None:
            return self._log_in_again(request, room.name, form)
        try:
            await self._chat.say(
                session,
                room,
                message,
                client_id or None,
                address=self._peers.address(request),
            )
        except NameTaken as error:
            return self._screens.classic_log_in(
                request,
                room.name,
                message=message,
                problem=error.detail,
                status=error.status,
                session=session,
                view=view,
            )
        except ChatError as error:
            self._problems.begin(request, error)
            return self._screens.classic_form(
                request,
                session,
                room,
                view=view,
                message=message,
                # The same one: sending it again must not say it twice. Unless it was used up, as by
                # somebody who went back to a form that she had sent.
                client_id="" if isinstance(error, ClientIdReused) else client_id,
                problem=error.detail,
                status=error.status,
            )
        new = self._newest() if view else ""
        if view == "frameset":
            return answers.see_other(
                request, chat_url(room=_unless_lobby(room.name), view=view, n=new)
            )
        return answers.see_other(
            request, chat_url(action="form", room=_unless_lobby(room.name), n=new)
        )

    def _log_in_again(self, request: HttpRequest, room: str, form: Parameters) -> bytes:
        return self._screens.classic_log_in(
            request,
            room,
            message=form.text("message"),
            problem="Your session is over. Log in again: your message is kept.",
            status=401,
            view=form.text("view"),
        )

    def _newest(self) -> str:
        return str(self._chat.feed.last_id)


def _unless_lobby(room: str) -> str:
    return "" if room == "lobby" else room


def _log_in_first() -> NoSession:
    return NoSession("Log in first: /chat has the form.")
