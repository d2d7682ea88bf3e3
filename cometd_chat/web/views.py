"""The pages of the chat, with what they show now.

What it is: from the chat's state to a `Page`, and its response; a method a page.

What it may know: the chat, pages. Not routes.

Invariant: a page says up to which cursor it is complete, so that a stream can go on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from urllib.parse import urlencode

import attrs

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.rights import Act
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import CalmedDown, ChatError, RoomArchived, RoomLocked
from cometd_chat.events.event import Event
from cometd_chat.transports.framings import Classic
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web import answers
from cometd_chat.web.auth import Auth
from cometd_chat.web.classic_lines import ClassicLines
from cometd_chat.web.forms import Form
from cometd_chat.web.pages.classic import (
    CLASSIC_HEARTBEAT,
    ClassicFormPage,
    ClassicFramesetPage,
    ClassicFramesPage,
    ClassicLogInPage,
    ClassicSidePage,
    ClassicStreamHead,
    ClassicStreamTail,
    ClassicView,
)
from cometd_chat.web.pages.page import House, Page, content_security_policy
from cometd_chat.web.pages.rooms import (
    FirstStepsView,
    LogInPage,
    PersonView,
    PlainPage,
    RoomPage,
    RoomsPage,
    RoomView,
    Scene,
)
from cometd_chat.web.peers import Peers
from cometd_chat.web.transcript import RenderedMessage, html_size, transcript

#: Messages that a page shows at first.
NEWEST = 60
PLAIN_NEWEST = 40

#: Rooms that it lists; the others are a page away.
ROOMS_LISTED = 100

#: Characters that an address carries at most.
MOST_IN_ADDRESS = 1000


class Views:
    """All pages that show the chat.

    ``form`` is, in every method, what stands in the page's form; its status is the response's.

    :param make_nonce: an unguessable value for one response.
    :param wall_clock: seconds since 1970.
    """

    def __init__(
        self,
        chat: Chat,
        auth: Auth,
        *,
        peers: Peers,
        make_nonce: Callable[[], str],
        wall_clock: Callable[[], float],
    ) -> None:
        self._peers = peers
        self._chat = chat
        self._auth = auth
        self._make_nonce = make_nonce
        self._wall_clock = wall_clock

    def respond(self, request: HttpRequest, page: Page, status: int = 200) -> bytes:
        """Any page, with its headers."""
        nonce = self._make_nonce()
        return answers.html(request, page.draw(nonce, self._house()), nonce, status)

    # -- the page with script

    async def room(
        self,
        request: HttpRequest,
        session: Session | None,
        room: Room,
        form: Form | None = None,
        *,
        new_room: Form | None = None,
        rename: Form | None = None,
        first: FirstStepsView | None = None,
    ) -> bytes:
        """The chat in one room.

        :param new_room: a form of hers that was refused, as is ``rename``.
        :param first: the cards of the owner's first screen.
        """
        form = self._composer(form)
        self._seen(request, session, room)
        # Taken before the history is read: what is said in between comes by the stream again, and
        # the page knows the ids that it has.
        cursor = self._chat.feed.log.cursor(self._chat.feed.last_id)
        messages, more = await self._chat.messages.history(
            room, session, before=None, after=None, limit=NEWEST, size_of=html_size
        )
        silent = self._chat.rights.may(session, Act.SPEAK, room, self._peers.address(request))
        page = RoomPage(
            scene=await self._scene(session, room),
            silent=_told(silent) if session is not None else "",
            slow=0 if session is None else self._chat.messages.seconds_between(session, room),
            lines=transcript(messages, self._now()),
            me=_name(session),
            more=more,
            cursor=cursor,
            heartbeat=self._chat.heartbeat,
            base_url=self._peers.base_url(request),
            form_token=self._form_token(session),
            form=form,
            runs=self._runs(session),
            new_room=new_room,
            rename=rename,
            first=first,
        )
        return self.respond(request, page, (new_room or rename or form).status)

    def log_in(
        self,
        request: HttpRequest,
        room: str,
        form: Form | None = None,
        *,
        session: Session | None = None,
        plain: bool = False,
    ) -> bytes:
        """The log-in form; what somebody wanted to say waits in it.

        :param session: hers, if she has one and needs a name for it.
        :param plain: she comes from the page for text browsers, and goes back there.
        """
        form = form or Form()
        token = self._form_token(session)
        page = LogInPage(room=room, form=form, form_token=token, plain=plain)
        return self.respond(request, page, form.status)

    # -- the page for text browsers

    async def plain(
        self,
        request: HttpRequest,
        session: Session | None,
        room: Room,
        form: Form | None = None,
        *,
        before: int | None = None,
        after: int | None = None,
    ) -> bytes:
        """One complete page of a room: the newest, or those around an id."""
        form = self._composer(form)
        self._seen(request, session, room)
        messages, more = await self._chat.messages.history(
            room, session, before=before, after=after, limit=PLAIN_NEWEST, size_of=html_size
        )
        newest = self._chat.feed.newest.get(room.context.path, 0)
        page = PlainPage(
            scene=await self._scene(session, room),
            lines=transcript(messages, self._now()),
            me=_name(session),
            older=bool(after) or (more and after is None),
            newer=bool(messages) and (messages[-1].id or 0) < newest,
            after=after,
            form_token=self._form_token(session),
            form=form,
            runs=self._runs(session),
        )
        return self.respond(request, page, form.status)

    async def rooms(
        self, request: HttpRequest, session: Session | None, after: str | None
    ) -> bytes:
        """A page of the list of all rooms.

        :param after: the name of the last one of the page before; None for the first page.
        """
        rooms, more = self._chat.rooms.page(after, ROOMS_LISTED, session)
        others = await self._chat.room_changes.companions(session, rooms)
        page = RoomsPage(
            rooms=[self._room(each, others.get(each.name, ())) for each in rooms],
            more=more,
            first=after is None,
            total=self._chat.rooms.count(session),
        )
        return self.respond(request, page)

    # -- the classic servlet

    def classic_log_in(
        self,
        request: HttpRequest,
        room: str,
        form: Form,
        *,
        session: Session | None = None,
        view: str = "",
    ) -> bytes:
        """Its log-in form.

        :param room: where she wants to go; whether it is there is not looked at.
        :param session: hers, if she has one and needs a name for it.
        """
        page = ClassicLogInPage(
            room=room, form=form, form_token=self._form_token(session), view=_classic_view(view)
        )
        return self.respond(request, page, form.status)

    def classic(
        self, request: HttpRequest, session: Session, room: Room, view: str, message: str = ""
    ) -> bytes:
        """Its page of two frames: the endless one and the form.

        :param message: a text that waits in the form.
        """
        # New addresses each time: links shows a page that it has, whatever its headers say.
        new = self._make_nonce()
        # A text browser doesn't follow the end of a frame: few enough that new lines are in view.
        backlog = "5" if view == "frameset" else "40"
        stream_url = chat_url(action="openchat", room=room.name, backlog=backlog, n=new)
        if view == "frameset":
            form_url = chat_url(action="form", room=room.name, view=view, n=new)
            return self.respond(
                request,
                ClassicFramesetPage(room=room.name, stream_url=stream_url, form_url=form_url),
            )
        page = ClassicFramesPage(
            me=session.name,
            form_token=self._form_token(session),
            room=room.name,
            stream_url=stream_url,
            form_url=chat_url(action="form", room=room.name, message=message, n=new),
            side_url=chat_url(action="side", room=room.name, view="frames"),
            frameset_url=chat_url(room=room.name, view="frameset"),
        )
        return self.respond(request, page)

    def classic_form(
        self, request: HttpRequest, session: Session, room: Room, form: Form, view: str = ""
    ) -> bytes:
        """Its form, alone in a frame."""
        page = ClassicFormPage(
            room=room.name,
            form_token=self._form_token(session),
            form=self._composer(form),
            view=_classic_view(view),
            quiet=self._room(room).quiet(self._chat.policies.calm.word),
        )
        return self.respond(request, page, form.status)

    async def classic_side(
        self, request: HttpRequest, session: Session, room: Room, view: str
    ) -> bytes:
        """Rooms and people, beside the endless page."""
        self._seen(request, session, room)
        page = ClassicSidePage(scene=await self._scene(session, room), framed=view == "frames")
        return self.respond(request, page)

    def classic_stream(
        self, request: HttpRequest, session: Session, room: Room, *, resumed: bool
    ) -> Classic:
        """The framing of its endless page, with the page's policy set.

        :param resumed: it goes on from another one, so that nobody asks for what is older.
        """
        nonce = self._make_nonce()
        request.setHeader("content-security-policy", content_security_policy(nonce))
        head = ClassicStreamHead(
            room=room.name, heartbeat=self._chat.heartbeat, comes_in=not resumed
        )

        def tail(cursor: str | None) -> str:
            if cursor is None:
                # Were she taken back at once, five windows would send each other away for ever.
                end = ClassicStreamTail(next_url=chat_url(room=room.name), by_itself=False)
            else:
                next_url = chat_url(action="openchat", room=room.name, cursor=cursor)
                end = ClassicStreamTail(next_url=next_url)
            return end.draw(nonce, self._house())

        lines = ClassicLines(room.name, now=self._now, older=not resumed)
        beat = CLASSIC_HEARTBEAT
        return Classic(head.draw(nonce, self._house()) + beat, session.name, beat, tail, lines)

    # -- what pages show

    def line(self, event: Event) -> RenderedMessage:
        """A message, alone."""
        (line,) = transcript([event], self._now())
        return line

    def _composer(self, form: Form | None) -> Form:
        """What stands in a form for a message, which has an id before it is sent."""
        form = form or Form()
        return form if form.client_id else attrs.evolve(form, client_id=self._make_nonce())

    async def _scene(self, session: Session | None, room: Room) -> Scene:
        rooms, more = self._chat.rooms.page(None, ROOMS_LISTED, session)
        if room not in rooms:
            rooms.append(room)
        others = await self._chat.room_changes.companions(session, rooms)
        people, role_in = self._chat.people(room, session), self._chat.rights.role_in
        return Scene(
            room=self._room(room, others.get(room.name, ())),
            people=[
                PersonView(name=each.name, role=role_in(room, each.identity, each.role).word)
                for each in people
            ],
            rooms=[self._room(each, others.get(each.name, ())) for each in rooms],
            more_rooms=more,
            calm=self._chat.policies.calm.word,
        )

    def _room(self, room: Room, others: Sequence[str] = ()) -> RoomView:
        return RoomView(
            others=others,
            kind=room.kind.value,
            name=room.name,
            topic=room.topic,
            people=self._chat.presence.count(room.name),
            last_id=self._chat.feed.newest.get(room.context.path, 0),
            slow=room.slow,
            locked=room.locked,
            archived=room.archived,
        )

    def _seen(self, request: HttpRequest, session: Session | None, room: Room) -> None:
        if session is not None and session.name_key is not None:
            self._chat.arrive(session, room, self._peers.address(request))

    def _runs(self, session: Session | None) -> bool:
        """Whether they have pages of the house."""
        return session is not None and self._chat.rights.may(session, Act.CALM) is None

    def _form_token(self, session: Session | None) -> str:
        return "" if session is None else self._auth.form_token(session)

    def _house(self) -> House:
        policies = self._chat.policies
        return House(policies.title, policies.welcome)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._wall_clock(), timezone.utc)


def chat_url(**query: str) -> str:
    """A path of the classic servlet."""
    fields = {name: value for name, value in query.items() if value}
    return "/chat?" + urlencode(fields) if fields else "/chat"


def fits_in_address(text: str) -> bool:
    """Whether a text that waits can be part of an address, which has 16 KiB at most; 12 bytes there
    may be one character."""
    return len(text) <= MOST_IN_ADDRESS


def _classic_view(view: str) -> ClassicView:
    return "frameset" if view == "frameset" else "frames"


def _told(silent: ChatError | None) -> str:
    """Why somebody may not speak, where it isn't what all are told, see `RoomView.quiet`."""
    told_all = RoomArchived | RoomLocked | CalmedDown
    return "" if silent is None or isinstance(silent, told_all) else silent.detail


def _name(session: Session | None) -> str:
    return "" if session is None or session.name_key is None else session.name
