"""Pages of rooms: the one that lets people in, the chat itself, the list, that of text browsers.

What it is: a class for each, and what they show of rooms and of those who are in them.

What it may know: see `page`.

Invariant: each class says where its forms are sent, and by which fields.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import attrs
from markupsafe import Markup

from cometd_chat.chat.messages import CALM_SECONDS
from cometd_chat.web.forms import Form
from cometd_chat.web.pages.page import Page
from cometd_chat.web.transcript import RenderedMessage


@attrs.frozen
class RoomView:
    """A room as others see it.

    :param people: how many are present.
    :param last_id: id of its newest message, 0 when it has none.
    :param kind: who it is for, as on the wire; so are all below.
    :param others: with whom one talks there, if it is a direct conversation.
    """

    name: str
    topic: str = ""
    people: int = 0
    last_id: int = 0
    kind: str = "public"
    slow: int = 0
    locked: bool = False
    archived: bool = False
    others: Sequence[str] = ()

    @property
    def label(self) -> str:
        """What people call it: a direct conversation by whom it is with."""
        return ", ".join(self.others) or f"#{self.name}"

    def quiet(self, calm: str) -> str:
        """Why one can't speak there as one likes, a sentence; empty where one can. In the browser
        it is `static/quiet.js` that says the same.

        :param calm: how calm the house is.
        """
        if self.archived:
            return "This room is archived: nobody speaks here."
        if self.locked:
            return "This room is locked: only moderators speak here."
        if calm == "closed":
            return "For now only moderators speak."
        if calm == "members":
            return "For now only members speak, and guests read."
        slow = max(self.slow, CALM_SECONDS if calm == "slow" else 0)
        return f"It is slow here: a message every {slow} s." if slow else ""


@attrs.frozen
class PersonView:
    """Somebody who is present."""

    name: str
    role: str = "guest"


@attrs.frozen
class Scene:
    """A room with what is around it.

    :param people: who is present.
    :param rooms: those that are listed, this one among them.
    :param more_rooms: there are others, at ``/rooms``.
    :param calm: how calm the house is.
    """

    room: RoomView
    people: Sequence[PersonView]
    rooms: Sequence[RoomView]
    more_rooms: bool = False
    calm: str = "off"

    @property
    def quiet(self) -> str:
        """See `RoomView.quiet`."""
        return self.room.quiet(self.calm)


@attrs.frozen(kw_only=True)
class LogInPage(Page):
    """The log-in page: ``POST /log-in`` with ``name``, ``room`` and ``text``, with ``form_token``
    when there is a session that needs another name, and ``view=plain`` when it leads to the page
    for text browsers.

    :param room: where the person wants to go.
    :param form: its text is a message that could not be sent yet; the form carries it on.
    :param plain: it leads to the page for text browsers.
    """

    template = "log_in.html"
    room: str
    form: Form = attrs.field(factory=Form)
    form_token: str = ""
    plain: bool = False


@attrs.frozen(kw_only=True)
class FirstStepsView:
    """What the cards of the owner's first screen show. Forms: ``POST /admin/first/guests``
    (``form_token``, ``guests``) and ``POST /admin/first/invite`` (``form_token``).

    :param guests: the policy of that name; ``pinned`` is the option that says so, or empty.
    :param address: of an invitation, and its QR code; empty where there is none.
    :param only_here: nobody but who is on this very machine can reach the daemon.
    """

    role: str
    guests: str
    pinned: str
    address: str
    qr: Markup | None
    only_here: bool


@attrs.frozen(kw_only=True)
class RoomPage(Page):
    """The chat itself, complete; `static/room.js` makes it live.

    Forms: ``POST /rooms/ROOM`` (``form_token``, ``client_id``, ``text``), ``POST /rename``
    (``form_token``, ``name``, ``room``), ``POST /rooms`` (``form_token``, ``name``, ``topic``, and
    ``room``, where one is), ``POST /log-out`` (``form_token``), and without a session ``POST
    /log-in`` (``name``, ``room``, ``text``).

    :param me: the name of the session; empty when nobody is logged in and reading is public.
    :param lines: the newest messages, oldest first.
    :param more: there are older ones.
    :param cursor: the messages are complete up to here.
    :param heartbeat: seconds between the heartbeats of a stream.
    :param base_url: scheme and host as the person reached us, for the hints.
    :param runs: they keep the house civil, and have pages for that.
    :param silent: why they may not speak; empty where they may.
    :param slow: seconds that they have to wait between two messages.
    :param new_room: the form for a room, if it was refused; as is ``rename``.
    :param first: the cards of the owner's first screen, while they are wanted.
    """

    template = "room.html"
    scene: Scene
    lines: Sequence[RenderedMessage]
    me: str
    more: bool
    cursor: str
    heartbeat: float
    base_url: str
    form_token: str
    form: Form
    runs: bool = False
    silent: str = ""
    slow: float = 0
    new_room: Form | None = None
    rename: Form | None = None
    first: FirstStepsView | None = None


@attrs.frozen(kw_only=True)
class MembersPage(Page):
    """Who belongs to a room, and what it is.

    Forms: ``POST /rooms/ROOM/members`` (``form_token``, ``act``, ``who``, or what the room is to
    be: ``topic``, ``slow``, ``private``, ``locked``, ``archived``; to remove it ``sure``).

    :param me: the name of whoever looks.
    :param belongs: they do.
    :param rights: what they may there, in the words of the wire.
    :param form: who was meant is its name.
    """

    template = "members.html"
    room: RoomView
    me: str
    is_lobby: bool
    belongs: bool
    members: Sequence[PersonView]
    rights: Collection[str]
    form_token: str
    form: Form


@attrs.frozen(kw_only=True)
class PlainPage(Page):
    """A room for text browsers. Links: ``?before=ID``, ``?after=ID``, none for the newest.

    Forms: ``POST /rooms/ROOM/plain`` (``form_token``, ``client_id``, ``text``), ``POST /rooms``
    (``name``, ``private``, ``view=plain``), ``POST /log-out`` (``form_token``), and without a
    session ``POST /log-in`` (``name``, ``room``, ``text``, ``view=plain``: come back here).

    :param me: see `RoomPage`.
    :param lines: messages, oldest first.
    :param older: there are older messages than these.
    :param newer: there are newer messages than these.
    :param after: the ``after`` of the request.
    :param runs: see `RoomPage`.
    """

    template = "plain.html"
    scene: Scene
    lines: Sequence[RenderedMessage]
    me: str
    older: bool
    newer: bool = False
    after: int | None = None
    form_token: str
    form: Form
    runs: bool = False


@attrs.frozen(kw_only=True)
class RoomsPage(Page):
    """A page of the list of all rooms. Links: ``/rooms?after=NAME``, ``/rooms`` for the first.

    :param more: there are others after these.
    :param first: there are none before these.
    :param total: how many there are in all.
    """

    template = "rooms.html"
    rooms: Sequence[RoomView]
    more: bool
    first: bool
    total: int
