"""The pages of the chat, filled in.

What it is: from the chat's state to the arguments of `Pages`, a method a page.

What it may know: the chat, pages. Not routes.

Invariant: a page says up to which cursor it is complete, so that a stream can go on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from urllib.parse import urlencode

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session
from cometd_chat.transports.framings import Classic
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web import answers
from cometd_chat.web.auth import Auth
from cometd_chat.web.classic_lines import ClassicLines
from cometd_chat.web.forms import RefusedForm
from cometd_chat.web.pages import (
    CLASSIC_HEARTBEAT,
    ClassicView,
    Pages,
    PersonView,
    RoomView,
    content_security_policy,
)
from cometd_chat.web.peers import Peers
from cometd_chat.web.transcript import html_size

#: Messages that a page shows at first.
NEWEST = 60
PLAIN_NEWEST = 40

#: Rooms that it lists; the others are a page away.
ROOMS_LISTED = 100

#: Characters that an address carries at most.
MOST_IN_ADDRESS = 1000


class Screens:
    """All pages that show the chat.

    :param make_nonce: an unguessable value for one response.
    :param wall_clock: seconds since 1970.
    """

    def __init__(
        self,
        chat: Chat,
        auth: Auth,
        pages: Pages,
        *,
        peers: Peers,
        make_nonce: Callable[[], str],
        wall_clock: Callable[[], float],
    ) -> None:
        self._peers = peers
        self._chat = chat
        self._auth = auth
        self._pages = pages
        self._make_nonce = make_nonce
        self._wall_clock = wall_clock

    # -- the page with script

    async def room(
        self,
        request: HttpRequest,
        session: Session | None,
        room: Room,
        *,
        draft: str = "",
        client_id: str = "",
        problem: str = "",
        new_room: RefusedForm | None = None,
        rename: RefusedForm | None = None,
        status: int = 200,
    ) -> bytes:
        """The chat in one room.

        :param new_room: a form of hers that was refused, as is ``rename``.
        """
        nonce = self._make_nonce()
        self._seen(request, session, room)
        # Taken before the history is read: what is said in between comes by the stream again, and
        # the page knows the ids that it has.
        cursor = self._chat.feed.log.cursor(self._chat.feed.last_id)
        messages, more = await self._chat.history(
            room, before=None, after=None, limit=NEWEST, size_of=html_size
        )
        page = self._pages.room(
            nonce=nonce,
            me=_name(session),
            form_token=self._form_token(session),
            client_id=client_id or self._make_nonce(),
            rooms=self._rooms(room),
            more_rooms=len(self._chat.rooms) > ROOMS_LISTED,
            room=self._view(room),
            people=self._people(room),
            messages=messages,
            more=more,
            cursor=cursor,
            heartbeat=self._chat.heartbeat,
            draft=draft,
            problem=problem,
            new_room=new_room,
            rename=rename,
            base_url=_base_url(request, self._peers.is_secure(request)),
            now=self._now(),
        )
        return answers.html(request, page, nonce, status)

    def log_in(
        self,
        request: HttpRequest,
        room: str,
        *,
        name: str = "",
        text: str = "",
        problem: str = "",
        status: int = 200,
        session: Session | None = None,
        plain: bool = False,
    ) -> bytes:
        """The log-in form; what somebody wanted to say waits in it.

        :param session: hers, if she has one and needs a name for it.
        :param plain: she comes from the page for text browsers, and goes back there.
        """
        nonce = self._make_nonce()
        page = self._pages.log_in(
            nonce=nonce,
            action_url="/log-in",
            room=room,
            name=name,
            problem=problem,
            room_text=text,
            form_token=self._form_token(session),
            plain=plain,
        )
        return answers.html(request, page, nonce, status)

    # -- the page for text browsers

    async def plain(
        self,
        request: HttpRequest,
        session: Session | None,
        room: Room,
        *,
        before: int | None = None,
        after: int | None = None,
        draft: str = "",
        client_id: str = "",
        problem: str = "",
        status: int = 200,
    ) -> bytes:
        """One complete page of a room: the newest, or those around an id."""
        nonce = self._make_nonce()
        self._seen(request, session, room)
        messages, more = await self._chat.history(
            room, before=before, after=after, limit=PLAIN_NEWEST, size_of=html_size
        )
        newest = self._chat.feed.newest.get(room.context.path, 0)
        page = self._pages.plain(
            nonce=nonce,
            me=_name(session),
            form_token=self._form_token(session),
            client_id=client_id or self._make_nonce(),
            rooms=self._rooms(room),
            more_rooms=len(self._chat.rooms) > ROOMS_LISTED,
            room=self._view(room),
            people=self._people(room),
            messages=messages,
            now=self._now(),
            older=bool(after) or (more and after is None),
            newer=bool(messages) and (messages[-1].id or 0) < newest,
            after=after,
            draft=draft,
            problem=problem,
        )
        return answers.html(request, page, nonce, status)

    def rooms(self, request: HttpRequest, after: str | None) -> bytes:
        """A page of the list of all rooms.

        :param after: the name of the last one of the page before; None for the first page.
        """
        nonce = self._make_nonce()
        rooms, more = self._chat.rooms.page(after, ROOMS_LISTED)
        page = self._pages.rooms(
            nonce=nonce,
            rooms=[self._view(each) for each in rooms],
            more=more,
            first=after is None,
            total=len(self._chat.rooms),
        )
        return answers.html(request, page, nonce)

    # -- the classic servlet

    def classic_log_in(
        self,
        request: HttpRequest,
        room: str,
        *,
        name: str = "",
        message: str = "",
        problem: str = "",
        status: int = 200,
        session: Session | None = None,
        view: str = "",
    ) -> bytes:
        """Its log-in form.

        :param room: where she wants to go; whether it is there is not looked at.
        :param session: hers, if she has one and needs a name for it.
        """
        nonce = self._make_nonce()
        page = self._pages.classic_log_in(
            nonce=nonce,
            room=room,
            name=name,
            problem=problem,
            message=message,
            form_token=self._form_token(session),
            view=_classic_view(view),
        )
        return answers.html(request, page, nonce, status)

    def classic(
        self, request: HttpRequest, session: Session, room: Room, view: str, message: str = ""
    ) -> bytes:
        """Its page of two frames: the endless one and the form.

        :param message: a text that waits in the form.
        """
        nonce = self._make_nonce()
        # New addresses each time: links shows a page that it has, whatever its headers say.
        new = self._make_nonce()
        # A text browser doesn't follow the end of a frame: few enough that new lines are in view.
        backlog = "5" if view == "frameset" else "40"
        stream_url = chat_url(action="openchat", room=room.name, backlog=backlog, n=new)
        if view == "frameset":
            form_url = chat_url(action="form", room=room.name, view=view, n=new)
            page = self._pages.classic_frameset(
                room=room.name, stream_url=stream_url, form_url=form_url
            )
        else:
            page = self._pages.classic_frames(
                nonce=nonce,
                me=session.name,
                form_token=self._form_token(session),
                room=room.name,
                stream_url=stream_url,
                form_url=chat_url(action="form", room=room.name, message=message, n=new),
                side_url=chat_url(action="side", room=room.name, view="frames"),
                frameset_url=chat_url(room=room.name, view="frameset"),
            )
        return answers.html(request, page, nonce)

    def classic_form(
        self,
        request: HttpRequest,
        session: Session,
        room: Room,
        *,
        view: str = "",
        message: str = "",
        client_id: str = "",
        problem: str = "",
        status: int = 200,
    ) -> bytes:
        """Its form, alone in a frame."""
        nonce = self._make_nonce()
        page = self._pages.classic_form(
            nonce=nonce,
            form_token=self._form_token(session),
            client_id=client_id or self._make_nonce(),
            room=room.name,
            message=message,
            problem=problem,
            view=_classic_view(view),
        )
        return answers.html(request, page, nonce, status)

    def classic_side(self, request: HttpRequest, session: Session, room: Room, view: str) -> bytes:
        """Rooms and people, beside the endless page."""
        nonce = self._make_nonce()
        self._seen(request, session, room)
        page = self._pages.classic_side(
            nonce=nonce,
            room=self._view(room),
            rooms=self._rooms(room),
            more_rooms=len(self._chat.rooms) > ROOMS_LISTED,
            people=self._people(room),
            framed=view == "frames",
        )
        return answers.html(request, page, nonce)

    def classic_stream(
        self, request: HttpRequest, session: Session, room: Room, *, resumed: bool
    ) -> Classic:
        """The framing of its endless page, with the page's policy set.

        :param resumed: it goes on from another one, so that nobody asks for what is older.
        """
        nonce = self._make_nonce()
        request.setHeader("content-security-policy", content_security_policy(nonce))
        head = self._pages.classic_stream_head(
            nonce=nonce, room=room.name, heartbeat=self._chat.heartbeat
        )

        def tail(cursor: str | None) -> str:
            if cursor is None:
                # Were she taken back at once, five windows would send each other away for ever.
                return self._pages.classic_stream_tail(chat_url(room=room.name), by_itself=False)
            next_url = chat_url(action="openchat", room=room.name, cursor=cursor)
            return self._pages.classic_stream_tail(next_url)

        lines = ClassicLines(room.name, now=self._now, older=not resumed)
        return Classic(head, session.name, CLASSIC_HEARTBEAT, tail, lines)

    # -- what pages show

    def _rooms(self, current: Room) -> list[RoomView]:
        """The rooms that a page lists: as many as fit, and always the one that it shows."""
        rooms, _ = self._chat.rooms.page(None, ROOMS_LISTED)
        if current not in rooms:
            rooms.append(current)
        return [self._view(room) for room in rooms]

    def _view(self, room: Room) -> RoomView:
        return RoomView(
            name=room.name,
            topic=room.topic,
            people=self._chat.presence.count(room.name),
            last_id=self._chat.feed.newest.get(room.context.path, 0),
        )

    def _people(self, room: Room) -> list[PersonView]:
        return [
            PersonView(name=session.name, role=session.role)
            for session in self._chat.presence.people(room.name)
        ]

    def _seen(self, request: HttpRequest, session: Session | None, room: Room) -> None:
        if session is not None and session.name_key is not None:
            self._chat.arrive(session, room, self._peers.address(request))

    def _form_token(self, session: Session | None) -> str:
        return "" if session is None else self._auth.form_token(session)

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


def _name(session: Session | None) -> str:
    return "" if session is None or session.name_key is None else session.name


def _base_url(request: HttpRequest, secure: bool) -> str:
    scheme = "https" if secure else "http"
    return f"{scheme}://{request.getHeader('host') or 'localhost'}"
