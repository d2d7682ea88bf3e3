"""The HTML pages: everything a person sees that is not pushed.

What it is: typed arguments in, complete pages out, through Jinja2 with autoescape. The names of all
form fields are in `templates/`; each method says where its forms are sent.

What it may know: the public form of rooms, people and events; not requests, sessions or the log.
Time comes as an argument.

Invariant: a page works without script, and nothing that a person wrote is ever markup in it. No
page has inline styles, inline handlers or anything from another host, so `content_security_policy`
can forbid them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Literal

import attrs
from jinja2 import Environment, PackageLoader, StrictUndefined

from cometd_chat.events.event import Event
from cometd_chat.web.forms import RefusedForm
from cometd_chat.web.static_files import static_files
from cometd_chat.web.transcript import tamed, tamed_lines, transcript

#: Where the form of the classic chat lives: in a frame of its own, answered by the form again, or
#: in a frameset (links, ELinks), answered by the whole frameset because those stop every frame.
ClassicView = Literal["frames", "frameset"]

#: What a heartbeat is on the endless page of the classic chat; the stylesheet makes the newest one
#: cover the others and turn into a warning when no other follows.
CLASSIC_HEARTBEAT = '<b class="beat"></b>\n'


@attrs.frozen
class RoomView:
    """A room as others see it.

    :param people: how many are present.
    :param last_id: id of its newest message, 0 when it has none.
    """

    name: str
    topic: str = ""
    people: int = 0
    last_id: int = 0


@attrs.frozen
class PersonView:
    """Somebody who is present."""

    name: str
    role: str = "guest"


def content_security_policy(nonce: str, host: str = "") -> str:
    """The policy of every page: our own files, scripts only by ``nonce`` or from their folder.

    Scripts are not allowed by `'self'`: an endpoint that echoes a callback would be a way in.

    :param host: by which the page was asked for. Whoever tries the library in the browser's console
        on a page of ours needs its folder; a policy can't name one without a host, nor at an IPv6
        literal (CSP 3, section 2.3.1).
    """
    folder = f" {host}/static/" if host and "[" not in host else ""
    return (
        f"default-src 'none'; script-src 'nonce-{nonce}'{folder}; "
        f"style-src 'self' 'nonce-{nonce}'; "
        "connect-src 'self'; frame-src 'self'; img-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'self'"
    )


@cache
def _templates() -> Environment:
    """The templates, all of them read and compiled at the start: once in a process."""
    environment = Environment(
        loader=PackageLoader("cometd_chat.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
        cache_size=-1,
    )
    environment.filters |= {"tamed": tamed, "tamed_lines": tamed_lines}
    for name in environment.list_templates(extensions=["html"]):
        environment.get_template(name)
    return environment


class Pages:
    """Renders each page to a string.

    ``nonce`` is, in every method, the value given to `content_security_policy` for this response.

    :param version: of the daemon.
    """

    def __init__(self, version: str) -> None:
        self._version = version
        self._templates = _templates()

    def _render(self, template: str, **values: object) -> str:
        found = self._templates.get_template(template)
        return found.render(values, version=self._version, static=static_files().folder)

    def log_in(
        self,
        *,
        nonce: str,
        action_url: str,
        room: str,
        name: str = "",
        problem: str = "",
        room_text: str = "",
        form_token: str = "",
        plain: bool = False,
    ) -> str:
        """The log-in page. Its form is posted with ``name``, ``room`` and ``text``, with
        ``form_token`` when there is a session that needs another name, and ``view=plain`` when it
        leads to the page for text browsers.

        :param action_url: where the form is posted to.
        :param room: where the person wants to go.
        :param name: what was typed before.
        :param problem: why it was not accepted, a sentence.
        :param room_text: a message that could not be sent yet; the form carries it on.
        """
        return self._render(
            "log_in.html",
            nonce=nonce,
            action_url=action_url,
            room=room,
            name=name,
            problem=problem,
            room_text=room_text,
            form_token=form_token,
            plain=plain,
        )

    def room(
        self,
        *,
        nonce: str,
        me: str,
        form_token: str,
        client_id: str,
        rooms: Sequence[RoomView],
        more_rooms: bool = False,
        room: RoomView,
        people: Sequence[PersonView],
        messages: Sequence[Event],
        more: bool,
        cursor: str,
        heartbeat: float,
        base_url: str,
        now: datetime,
        draft: str = "",
        problem: str = "",
        new_room: RefusedForm | None = None,
        rename: RefusedForm | None = None,
    ) -> str:
        """The chat itself, complete; `static/room.js` makes it live.

        Forms: ``POST /rooms/ROOM`` (``form_token``, ``client_id``, ``text``), ``POST /rename``
        (``form_token``, ``name``, ``room``), ``POST /rooms`` (``form_token``, ``name``, ``topic``,
        and ``room``, where one is), ``POST /log-out`` (``form_token``), and without a session
        ``POST /log-in`` (``name``, ``room``, ``text``).

        :param me: the name of the session; empty when nobody is logged in and reading is public.
        :param more_rooms: there are others than these ``rooms``, at ``/rooms``.
        :param messages: events of type ``message``, oldest first.
        :param more: there are older ones.
        :param cursor: the messages are complete up to here.
        :param heartbeat: seconds between the heartbeats of a stream.
        :param draft: text to put into the composer.
        :param problem: why the draft was not accepted, a sentence.
        :param new_room: the form for a room, if it was refused; as is ``rename``.
        :param base_url: scheme and host as the person reached us, for the hints.
        """
        return self._render(
            "room.html",
            nonce=nonce,
            me=me,
            form_token=form_token,
            client_id=client_id,
            rooms=rooms,
            more_rooms=more_rooms,
            room=room,
            people=people,
            lines=transcript(messages, now),
            draft=draft,
            problem=problem,
            new_room=new_room,
            rename=rename,
            base_url=base_url,
            page_data={
                "room": room.name,
                "me": me,
                "cursor": cursor,
                "heartbeat": heartbeat,
                "more": more,
                "lastId": room.last_id,
                "draft": draft,
            },
            more=more,
        )

    def plain(
        self,
        *,
        nonce: str,
        me: str,
        form_token: str,
        client_id: str,
        rooms: Sequence[RoomView],
        more_rooms: bool = False,
        room: RoomView,
        people: Sequence[PersonView],
        messages: Sequence[Event],
        now: datetime,
        older: bool,
        newer: bool = False,
        after: int | None = None,
        draft: str = "",
        problem: str = "",
    ) -> str:
        """A room for text browsers. Links: ``?before=ID``, ``?after=ID``, none for the newest.

        Forms: ``POST /rooms/ROOM/plain`` (``form_token``, ``client_id``, ``text``), ``POST
        /log-out`` (``form_token``), and without a session ``POST /log-in`` (``name``, ``room``,
        ``text``, ``view=plain``: come back here).

        :param older: there are older messages than these.
        :param newer: there are newer messages than these.
        :param after: the ``after`` of the request.
        """
        return self._render(
            "plain.html",
            nonce=nonce,
            me=me,
            form_token=form_token,
            client_id=client_id,
            rooms=rooms,
            more_rooms=more_rooms,
            room=room,
            people=people,
            lines=transcript(messages, now),
            older=older,
            newer=newer,
            after=after,
            draft=draft,
            problem=problem,
        )

    def rooms(
        self, *, nonce: str, rooms: Sequence[RoomView], more: bool, first: bool, total: int
    ) -> str:
        """A page of the list of all rooms. Links: ``/rooms?after=NAME``, ``/rooms`` for the first.

        :param more: there are others after these.
        :param first: there are none before these.
        :param total: how many there are in all.
        """
        return self._render(
            "rooms.html", nonce=nonce, rooms=rooms, more=more, first=first, total=total
        )

    def classic_log_in(
        self,
        *,
        nonce: str,
        room: str,
        name: str = "",
        problem: str = "",
        message: str = "",
        form_token: str = "",
        view: ClassicView = "frames",
    ) -> str:
        """Log-in of the classic chat: ``POST /chat`` with ``action=login``, ``username``, ``room``,
        ``view`` and, when there is one, ``message``: a text that could not be sent yet.

        Its answer is for the whole window: it may be shown in one of the frames, when a session
        ended meanwhile.
        """
        return self._render(
            "classic_log_in.html",
            nonce=nonce,
            room=room,
            name=name,
            problem=problem,
            message=message,
            form_token=form_token,
            view=view,
        )

    def classic_frames(
        self,
        *,
        nonce: str,
        me: str,
        form_token: str,
        room: str,
        stream_url: str,
        form_url: str,
        side_url: str,
        frameset_url: str,
    ) -> str:
        """The classic chat for graphic browsers without script: the stream above, the form below,
        rooms and people beside them.

        :param stream_url: the endless page, see `classic_stream_head`.
        :param form_url: the page of `classic_form`.
        :param side_url: the page of `classic_side`.
        :param frameset_url: the page of `classic_frameset`.
        """
        return self._render(
            "classic_frames.html",
            nonce=nonce,
            me=me,
            form_token=form_token,
            room=room,
            stream_url=stream_url,
            form_url=form_url,
            side_url=side_url,
            frameset_url=frameset_url,
        )

    def classic_side(
        self,
        *,
        nonce: str,
        room: RoomView,
        rooms: Sequence[RoomView],
        more_rooms: bool,
        people: Sequence[PersonView],
        framed: bool,
    ) -> str:
        """Rooms and people. Its links are for the whole window.

        :param more_rooms: there are more than these.
        :param framed: it is in a frame beside the stream, so that it need not lead back there, and
            loads itself anew now and then.
        """
        return self._render(
            "classic_side.html",
            nonce=nonce,
            room=room,
            rooms=rooms,
            more_rooms=more_rooms,
            people=people,
            framed=framed,
        )

    def classic_frameset(self, *, room: str, stream_url: str, form_url: str) -> str:
        """The classic chat as a frameset, for links and ELinks, which know no iframe.

        :param form_url: the page of `classic_form` with ``view="frameset"``.
        """
        return self._render(
            "classic_frameset.html", room=room, stream_url=stream_url, form_url=form_url
        )

    def classic_form(
        self,
        *,
        nonce: str,
        form_token: str,
        client_id: str,
        room: str,
        message: str = "",
        problem: str = "",
        view: ClassicView = "frames",
    ) -> str:
        """The form frame: ``POST /chat`` with ``action=post``, ``message``, ``form_token``,
        ``client_id``, ``room`` and ``view``.

        :param message: text to put into the field again.
        :param view: ``frameset`` targets the whole window; the answer then is a redirect there.
        """
        return self._render(
            "classic_form.html",
            nonce=nonce,
            form_token=form_token,
            client_id=client_id,
            room=room,
            message=message,
            problem=problem,
            view=view,
        )

    def classic_stream_head(self, *, nonce: str, room: str, heartbeat: float) -> str:
        """The beginning of the endless page. After it come lines, each a ``<p dir="auto">``, and
        `CLASSIC_HEARTBEAT`; in the end `classic_stream_tail`.

        :param heartbeat: seconds between two heartbeats; 2.5 of them without one and it says so.
        """
        late = round(heartbeat * 2.5 + 2)
        head = self._render("classic_stream_head.html", nonce=nonce, room=room, late=late)
        return head + CLASSIC_HEARTBEAT

    def classic_stream_tail(self, next_url: str, *, by_itself: bool = True) -> str:
        """The end of the endless page: a link and a refresh to the page that goes on from there.

        :param by_itself: False for the link alone, to the whole chat: its reader was sent away and
            comes back when she wants to.
        """
        return self._render("classic_stream_tail.html", next_url=next_url, by_itself=by_itself)

    def problem(
        self,
        *,
        nonce: str,
        status: int,
        title: str,
        detail: str,
        typed: Mapping[str, str],
        back_url: str,
    ) -> str:
        """An error page that hands back what was typed.

        :param typed: the fields of the form that are the person's own, name to value.
        :param back_url: a relative path.
        """
        return self._render(
            "problem.html",
            nonce=nonce,
            status=status,
            title=title,
            detail=detail,
            typed=typed,
            back_url=back_url,
        )

    def problem_kind(self, *, nonce: str, slug: str, title: str, status: int) -> str:
        """What a ``type`` of an error means, at ``/problems/SLUG``."""
        return self._render("problem_kind.html", nonce=nonce, slug=slug, title=title, status=status)
