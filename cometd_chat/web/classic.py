"""The classic chat servlet: one path, actions by form (interface, section 5).

What it is: what `/chat` does, for browsers without script.

What it may know: the chat, views, transports. Not other routes.

Invariant: every action ends in a page from which the talk goes on, with what was typed in it.
"""

from __future__ import annotations

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.command_line import command_of, said_by
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session
from cometd_chat.chat.sink import HeldSink
from cometd_chat.errors import InvalidRequest, NoSession
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web import answers, parameters
from cometd_chat.web.answers import shielded
from cometd_chat.web.auth import Auth
from cometd_chat.web.browser_pages import BrowserPages
from cometd_chat.web.commanding import Commanding
from cometd_chat.web.forms import MESSAGE_KEPT, Form
from cometd_chat.web.parameters import Parameters, refused
from cometd_chat.web.peers import Peers
from cometd_chat.web.submissions import Submissions
from cometd_chat.web.transports import Transports
from cometd_chat.web.views import Views, chat_url, fits_in_address


class ClassicServlet(BrowserPages):
    """Responds to every request for `/chat`."""

    def __init__(
        self,
        chat: Chat,
        auth: Auth,
        peers: Peers,
        transports: Transports,
        views: Views,
        submissions: Submissions,
        commanding: Commanding,
    ) -> None:
        super().__init__(chat, auth, peers, views, submissions)
        self._commanding = commanding
        self._transports = transports

    async def respond(self, request: HttpRequest) -> bytes | HeldSink:
        """Do what ``action=`` says; without one, show the chat."""
        asked = parameters.query(request)
        posted = request.method == b"POST"
        fields = parameters.form(request) if posted else asked
        action = fields.text("action")
        if action == "openchat":
            session = await self._auth.visitor(request, query_token=asked.optional("token"))
        elif posted:
            session = await self._submissions.sender(request, fields)
        else:
            session = await self._auth.visitor(request)
        name = fields.text("room") or asked.text("room") or "lobby"
        if not self._auth.may_read(session):
            # Whoever may not read is not told whether the room is there.
            return await self._outside(request, name, action if posted else "", fields)
        room = await self._chat.room(name, session)
        if action == "openchat":
            return await self._open(request, session, room, fields)
        if posted:
            return await self._act(request, session, room, action, fields)
        return await self._show(request, session, room, action, fields)

    async def _outside(
        self, request: HttpRequest, room: str, action: str, fields: Parameters
    ) -> bytes | HeldSink:
        """What somebody can do who has to log in before she may read.

        :param action: of what was posted; else empty.
        """
        if action == "login":
            return await self._log_in(request, None, room, fields)
        if action == "openchat":
            raise _log_in_first()
        if action == "post":
            return self._log_in_again(request, room, fields)
        waiting = Form(text=fields.text("message"))
        return self._views.classic_log_in(request, room, waiting, view=fields.text("view"))

    async def _open(
        self, request: HttpRequest, session: Session | None, room: Room, fields: Parameters
    ) -> bytes | HeldSink:
        if session is None or session.name_key is None:
            if request.method == b"POST":
                raise _log_in_first()
            return self._views.classic_log_in(request, room.name, Form(), session=session)
        resumed = fields.optional("cursor") is not None
        framing = self._views.classic_stream(request, session, room, resumed=resumed)
        return await self._transports.open_classic(request, session, room, framing, fields)

    async def _act(
        self,
        request: HttpRequest,
        session: Session | None,
        room: Room,
        action: str,
        fields: Parameters,
    ) -> bytes:
        """What is posted."""
        if action == "login":
            return await self._log_in(request, session, room.name, fields)
        if action == "post":
            return await self._post(request, session, room, fields)
        raise _unknown_action()

    async def _show(
        self,
        request: HttpRequest,
        session: Session | None,
        room: Room,
        action: str,
        fields: Parameters,
    ) -> bytes:
        """What is only looked at."""
        if action not in ("", "form", "side"):
            raise _unknown_action()
        view, waiting = fields.text("view"), Form(text=fields.text("message"))
        if session is None or session.name_key is None:
            return self._views.classic_log_in(
                request, room.name, waiting, session=session, view=view
            )
        if action == "side":
            return await self._views.classic_side(request, session, room, view)
        if action == "form":
            return self._views.classic_form(request, session, room, waiting, view)
        return self._views.classic(request, session, room, view, waiting.text)

    @shielded
    async def _log_in(
        self, request: HttpRequest, session: Session | None, room: str, fields: Parameters
    ) -> bytes:
        form, view = Form.sent_to_servlet(fields), fields.text("view")
        entered = await self._submissions.attempt(
            request,
            form,
            self._submissions.enter(request, session, form.name, fields.text("password")),
        )
        if isinstance(entered, Form):
            return self._views.classic_log_in(request, room, entered, session=session, view=view)
        session, _ = entered
        there = await self._chat.room(room, session)
        self._chat.arrive(session, there, self._peers.address(request))
        if not fits_in_address(form.text):
            return await self._views.plain(request, session, there, Form(text=form.text))
        return self._to_chat(request, room, new=view != "", view=view, message=form.text)

    @shielded
    async def _post(
        self, request: HttpRequest, session: Session | None, room: Room, fields: Parameters
    ) -> bytes:
        form, view = Form.sent_to_servlet(fields), fields.text("view")
        if session is None:
            return self._log_in_again(request, room.name, fields)
        line = command_of(form.text)
        if line is not None:
            return await self._command(request, session, room, form, line, view)
        address, text = self._peers.address(request), said_by(form.text)
        said = await self._submissions.attempt(
            request,
            form,
            self._chat.messages.say(session, room, text, form.client_id or None, address=address),
        )
        if isinstance(said, Form) and session.name_key is None:
            # Somebody else has her name by now.
            return self._views.classic_log_in(request, room.name, said, session=session, view=view)
        if isinstance(said, Form):
            return self._views.classic_form(request, session, room, said, view)
        # The whole of a frameset, or the form alone in its frame.
        if view == "frameset":
            return self._to_chat(request, room.name, new=True, view=view)
        return self._to_chat(request, room.name, new=view != "", action="form")

    async def _command(
        self,
        request: HttpRequest,
        session: Session,
        room: Room,
        form: Form,
        line: str,
        view: str,
    ) -> bytes:
        outcome = await self._submissions.attempt(
            request, form, self._commanding.run(request, session, room, line)
        )
        if isinstance(outcome, Form):
            return self._views.classic_form(request, session, room, outcome, view)
        if outcome.ended:
            return self._to_chat(request, room.name, new=view != "", view=view)
        if outcome.room:
            return self._to_chat(request, outcome.room, new=view != "", view=view)
        shown = Form(notice=outcome.notice)
        return self._views.classic_form(request, session, room, shown, view)

    def _log_in_again(self, request: HttpRequest, room: str, fields: Parameters) -> bytes:
        waiting = Form(text=fields.text("message")).without_session(MESSAGE_KEPT)
        return self._views.classic_log_in(request, room, waiting, view=fields.text("view"))

    def _to_chat(
        self,
        request: HttpRequest,
        room: str,
        *,
        new: bool,
        action: str = "",
        view: str = "",
        message: str = "",
    ) -> bytes:
        """Go on with a page of the chat.

        :param new: at an address that is new, as our own forms need it, which say which view they
            want: links shows a page that it has, whatever its headers say.
        """
        number = str(self._chat.feed.last_id) if new else ""
        there = "" if room == "lobby" else room
        path = chat_url(action=action, room=there, view=view, message=message, n=number)
        return answers.see_other(request, path)


def _unknown_action() -> InvalidRequest:
    return refused("action", "login, post or openchat is needed")


def _log_in_first() -> NoSession:
    return NoSession("Log in first: /chat has the form.")
