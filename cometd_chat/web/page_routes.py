"""Pages of the chat, and their forms.

What it is: what is done for each address that people see, and for each form that they send.

What it may know: the chat, views. Not the API.

Invariant: a form ends in a redirect, or in the page that it came from, with what was typed in it.
"""

from __future__ import annotations

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.command_line import command_of, said_by
from cometd_chat.chat.command_parts import Outcome
from cometd_chat.chat.matrix import RoomKind
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import NoSession
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web import answers, parameters
from cometd_chat.web.answers import room_path, shielded
from cometd_chat.web.auth import Auth
from cometd_chat.web.browser_pages import BrowserPages
from cometd_chat.web.commanding import Commanding
from cometd_chat.web.first_screen import FirstScreen
from cometd_chat.web.forms import MESSAGE_KEPT, SESSION_OVER, Form, typed_room
from cometd_chat.web.peers import Peers
from cometd_chat.web.submissions import Submissions
from cometd_chat.web.views import Views, chat_url, fits_in_address


class PageRoutes(BrowserPages):
    """Responds to browsers."""

    def __init__(
        self,
        chat: Chat,
        auth: Auth,
        peers: Peers,
        views: Views,
        submissions: Submissions,
        commanding: Commanding,
        first: FirstScreen,
    ) -> None:
        super().__init__(chat, auth, peers, views, submissions)
        self._first = first
        self._commanding = commanding

    # -- pages

    async def home(self, request: HttpRequest) -> bytes:
        session = await self._auth.visitor(request)
        if session is None:
            return self._views.log_in(request, "lobby")
        return await self._views.room(request, session, await self._chat.room("lobby", session))

    async def room(self, request: HttpRequest, name: str) -> bytes:
        session = await self._auth.visitor(request)
        if not self._auth.may_read(session):
            return self._views.log_in(request, name)
        wanted = parameters.query(request).optional("first") is not None
        first = await self._first.view(request, session) if wanted else None
        room = await self._chat.room(name, session)
        return await self._views.room(request, session, room, first=first)

    async def plain(self, request: HttpRequest, name: str) -> bytes:
        session = await self._auth.visitor(request)
        if not self._auth.may_read(session):
            return self._views.log_in(request, name, plain=True)
        asked = parameters.query(request)
        return await self._views.plain(
            request,
            session,
            await self._chat.room(name, session),
            before=asked.number("before", None, 0, 2**62),
            after=asked.number("after", None, 0, 2**62),
        )

    async def rooms(self, request: HttpRequest) -> bytes:
        session = await self._auth.visitor(request)
        if not self._auth.may_read(session):
            return self._views.log_in(request, "lobby")
        return await self._views.rooms(
            request, session, parameters.query(request).optional("after")
        )

    # -- forms

    @shielded
    async def log_in(self, request: HttpRequest) -> bytes:
        fields, session = await self._submissions.read(request)
        form, view = Form.sent(fields), fields.text("view")
        room = await self._known(session, fields.text("room", "lobby"))
        entered = await self._submissions.attempt(
            request,
            form,
            self._submissions.enter(request, session, form.name, fields.text("password")),
        )
        if isinstance(entered, Form):
            plain = view == "plain"
            return self._views.log_in(request, room, entered, session=session, plain=plain)
        session, _ = entered
        # Without script the page of the room stands still; the classic one does not.
        if view == "live" and fits_in_address(form.text):
            return answers.see_other(request, chat_url(room=room, message=form.text))
        if form.text:
            # Somebody wrote before she was in: it waits in the composer.
            show = self._views.plain if view in ("plain", "live") else self._views.room
            return await show(
                request, session, await self._chat.room(room, session), Form(text=form.text)
            )
        return self._to_room(request, room, plain=view == "plain")

    @shielded
    async def log_out(self, request: HttpRequest) -> bytes:
        _, session = await self._submissions.read(request)
        if session is not None:
            await self._chat.log_out(session)
            self._auth.clear_cookie(request)
        return answers.see_other(request, "/")

    @shielded
    async def rename(self, request: HttpRequest) -> bytes:
        fields, session = await self._submissions.read(request)
        form = Form.sent(fields)
        room = await self._known(session, fields.text("room", "lobby"))
        if session is None:
            return self._views.log_in(request, room, form.without_session(SESSION_OVER))
        renamed = await self._submissions.attempt(
            request, form, self._submissions.enter(request, session, form.name)
        )
        if isinstance(renamed, Form):
            here = await self._chat.room(room, session)
            return await self._views.room(request, session, here, rename=renamed)
        return self._to_room(request, room)

    @shielded
    async def make_room(self, request: HttpRequest) -> bytes:
        fields, session = await self._submissions.read(request)
        if session is None:
            raise NoSession("Your session is over: log in again, then make the room.")
        form = Form.sent(fields)
        here = await self._chat.room(fields.text("room", "lobby"), session)
        # The second button of a form that was refused says what would do.
        name = typed_room(fields.text("instead") or form.name)
        kind = RoomKind.PRIVATE if fields.text("private") else RoomKind.PUBLIC
        made = await self._submissions.attempt(
            request,
            form,
            self._chat.make_room(session, name, form.topic, self._peers.address(request), kind),
        )
        if isinstance(made, Form):
            return await self._views.room(request, session, here, new_room=made)
        return self._to_room(request, made.name, plain=fields.text("view") == "plain")

    @shielded
    async def post(self, request: HttpRequest, name: str) -> bytes:
        return await self._post(request, name, plain=False)

    @shielded
    async def post_plain(self, request: HttpRequest, name: str) -> bytes:
        return await self._post(request, name, plain=True)

    async def _post(self, request: HttpRequest, name: str, *, plain: bool) -> bytes:
        fields, session = await self._submissions.read(request)
        form = Form.sent(fields)
        name = await self._known(session, name)
        if session is None:
            waiting = form.without_session(MESSAGE_KEPT)
            return self._views.log_in(request, name, waiting, plain=plain)
        room = await self._chat.room(name, session)
        line = command_of(form.text)
        if line is not None:
            return await self._command(request, session, room, form, line, plain=plain)
        address, text = self._peers.address(request), said_by(form.text)
        said = await self._submissions.attempt(
            request,
            form,
            self._chat.messages.say(session, room, text, form.client_id or None, address=address),
        )
        if isinstance(said, Form):
            show = self._views.plain if plain else self._views.room
            return await show(request, session, room, said)
        return self._to_room(request, room.name, plain=plain)

    async def _command(
        self,
        request: HttpRequest,
        session: Session,
        room: Room,
        form: Form,
        line: str,
        *,
        plain: bool,
    ) -> bytes:
        outcome = await self._submissions.attempt(
            request, form, self._commanding.run(request, session, room, line)
        )
        if isinstance(outcome, Outcome) and outcome.ended:
            return answers.see_other(request, "/")
        if isinstance(outcome, Outcome) and outcome.room:
            return self._to_room(request, outcome.room, plain=plain)
        shown = outcome if isinstance(outcome, Form) else Form(notice=outcome.notice)
        show = self._views.plain if plain else self._views.room
        return await show(request, session, room, shown)

    # -- what several do

    async def _known(self, session: Session | None, room: str) -> str:
        """A room's name, as it is kept where whoever asks may know whether it is there, and as it
        was typed where she may not.

        :raises RoomNotFound: it isn't there, and she may know.
        """
        if not self._auth.may_read(session):
            return room
        return (await self._chat.room(room, session)).name

    def _to_room(self, request: HttpRequest, room: str, *, plain: bool = False) -> bytes:
        # The plain page is another one each time: links shows a page that it has.
        view = f"/plain?n={self._chat.feed.last_id}#text" if plain else ""
        return answers.see_other(request, room_path(room) + view)
