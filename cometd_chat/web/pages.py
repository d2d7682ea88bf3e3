"""The HTML pages: everything a person sees that is not pushed.

What it is: a page is a value, and its template draws it, by Jinja2 with autoescape. The names of
all form fields are in `templates/`; each class says where its forms are sent.

What it may know: the public form of rooms, people and lines; not requests, sessions or the log.

Invariant: a page works without script, and nothing that a person wrote is ever markup in it. No
page has inline styles, inline handlers or anything from another host, so `content_security_policy`
can forbid them all. Its template is given the fields of its class and no others: one that is
missing or misspelt is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Literal

import attrs
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cometd_chat import __version__
from cometd_chat.chat.messages import CALM_SECONDS
from cometd_chat.web.forms import Form
from cometd_chat.web.static_files import static_files
from cometd_chat.web.transcript import RenderedMessage, tamed, tamed_lines

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
    :param kind: who it is for, as on the wire; so are all below.
    """

    name: str
    topic: str = ""
    people: int = 0
    last_id: int = 0
    kind: str = "public"
    slow: int = 0
    locked: bool = False
    archived: bool = False

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
    environment.globals |= {"version": __version__, "static": static_files().folder}
    for name in environment.list_templates(extensions=["html"]):
        environment.get_template(name)
    return environment


@attrs.frozen
class House:
    """What a page says of the house, whatever else it shows.

    :param title: what it is called.
    :param welcome: what it says to whoever comes in; empty for nothing.
    """

    title: str = "Comet Chat"
    welcome: str = ""


@attrs.frozen(kw_only=True)
class Page:
    """What one template draws: it is given each field by its name.

    ``form`` is, in every page, what stands in its form, and ``form_token`` the hidden token of the
    session (see `Auth.form_token`), empty without one.
    """

    #: In ``templates/``.
    template: ClassVar[str]

    def draw(self, nonce: str, house: House = House()) -> str:
        """The HTML.

        :param nonce: the value given to `content_security_policy` for this response.
        """
        values = {each.name: getattr(self, each.name) for each in attrs.fields(type(self))}
        return _templates().get_template(self.template).render(values, nonce=nonce, house=house)


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
class SanctionView:
    """A sanction, as those see it who may lift it."""

    id: str
    text: str
    by: str


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
class PersonPage(Page):
    """Somebody in a room, and what can be done about them.

    Forms: ``POST /rooms/ROOM/people/NAME`` (``form_token``, ``act``, and for a sanction ``where``,
    ``minutes``, ``reason``, to lift one ``id``).

    :param room: its name.
    :param is_me: it is whoever looks.
    :param ignores: who looks ignores them.
    :param sanctions: what they are under there.
    :param may_sanction: who looks may sanction them there.
    :param everywhere: and in the house.
    :param form: minutes are its name, the reason is its text, where is its topic.
    """

    template = "person.html"
    room: str
    person: PersonView
    is_me: bool
    ignores: bool
    sanctions: Sequence[SanctionView]
    may_sanction: bool
    everywhere: bool
    form_token: str
    form: Form


@attrs.frozen(kw_only=True)
class MessagePage(Page):
    """A message, and what can be done about it.

    Forms: ``POST /rooms/ROOM/messages/ID`` (``form_token``, ``act``, ``reason``).

    :param room: its name.
    :param may_delete: who looks may delete it; and so on.
    :param form: the reason is its text.
    """

    template = "message.html"
    room: str
    line: RenderedMessage
    may_delete: bool
    may_report: bool
    may_purge: bool
    form_token: str
    form: Form


@attrs.frozen(kw_only=True)
class PlainPage(Page):
    """A room for text browsers. Links: ``?before=ID``, ``?after=ID``, none for the newest.

    Forms: ``POST /rooms/ROOM/plain`` (``form_token``, ``client_id``, ``text``), ``POST /log-out``
    (``form_token``), and without a session ``POST /log-in`` (``name``, ``room``, ``text``,
    ``view=plain``: come back here).

    :param me: see `RoomPage`.
    :param lines: messages, oldest first.
    :param older: there are older messages than these.
    :param newer: there are newer messages than these.
    :param after: the ``after`` of the request.
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


@attrs.frozen(kw_only=True)
class ClassicLogInPage(Page):
    """Log-in of the classic chat: ``POST /chat`` with ``action=login``, ``username``, ``room``,
    ``view`` and, when there is one, ``message``: a text that could not be sent yet.

    Its answer is for the whole window: it may be shown in one of the frames, when a session ended
    meanwhile.
    """

    template = "classic_log_in.html"
    room: str
    form: Form = attrs.field(factory=Form)
    form_token: str = ""
    view: ClassicView = "frames"


@attrs.frozen(kw_only=True)
class ClassicFramesPage(Page):
    """The classic chat for graphic browsers without script: the stream above, the form below, rooms
    and people beside them. Form: ``POST /log-out`` (``form_token``).

    :param stream_url: the endless page, see `ClassicStreamHead`.
    :param form_url: of a `ClassicFormPage`.
    :param side_url: of a `ClassicSidePage`.
    :param frameset_url: of a `ClassicFramesetPage`.
    """

    template = "classic_frames.html"
    me: str
    form_token: str
    room: str
    stream_url: str
    form_url: str
    side_url: str
    frameset_url: str


@attrs.frozen(kw_only=True)
class ClassicSidePage(Page):
    """Rooms and people. Its links are for the whole window.

    :param framed: it is in a frame beside the stream, so that it need not lead back there, and
        loads itself anew now and then.
    """

    template = "classic_side.html"
    scene: Scene
    framed: bool


@attrs.frozen(kw_only=True)
class ClassicFramesetPage(Page):
    """The classic chat as a frameset, for links and ELinks, which know no iframe.

    :param form_url: of a `ClassicFormPage` with ``view="frameset"``.
    """

    template = "classic_frameset.html"
    room: str
    stream_url: str
    form_url: str


@attrs.frozen(kw_only=True)
class ClassicFormPage(Page):
    """The form frame: ``POST /chat`` with ``action=post``, ``message``, ``form_token``,
    ``client_id``, ``room`` and ``view``.

    :param view: ``frameset`` targets the whole window; the answer then is a redirect there.
    :param quiet: see `RoomView.quiet`.
    """

    template = "classic_form.html"
    room: str
    form_token: str
    form: Form
    view: ClassicView = "frames"
    quiet: str = ""


@attrs.frozen(kw_only=True)
class ClassicStreamHead(Page):
    """The beginning of the endless page. After it come lines, each a ``<p dir="auto">``, and
    `CLASSIC_HEARTBEAT`; in the end `ClassicStreamTail`.

    :param heartbeat: seconds between two heartbeats; 2.5 of them without one and it says so.
    :param comes_in: its reader does, and goes on from no other one.
    """

    template = "classic_stream_head.html"
    room: str
    heartbeat: float
    comes_in: bool = False


@attrs.frozen(kw_only=True)
class ClassicStreamTail(Page):
    """The end of the endless page: a link and a refresh to the page that goes on from there.

    :param by_itself: False for the link alone, to the whole chat: its reader was sent away and
        comes back when she wants to.
    """

    template = "classic_stream_tail.html"
    next_url: str
    by_itself: bool = True


@attrs.frozen
class DeviceView:
    """A session of somebody, as its owner sees it.

    :param agent: what it calls itself; empty when it says nothing.
    :param current: it is the one that shows the page.
    """

    id: str
    agent: str
    began: str
    seen: str
    current: bool


@attrs.frozen
class InviteView:
    """An invitation, as who made it sees it.

    :param room: empty for none in particular.
    :param good_for: for how many, and until when.
    """

    code: str
    room: str
    role: str
    good_for: str


@attrs.frozen(kw_only=True)
class ClaimPage(Page):
    """Where an owner link leads: ``POST /claim/CODE`` with ``name`` and ``password``.

    :param until: it is good for so long.
    """

    template = "claim.html"
    code: str
    until: str
    form: Form
    form_token: str


@attrs.frozen(kw_only=True)
class InvitePage(Page):
    """Where an invitation leads: ``POST /invite/CODE`` with ``name`` and ``password``, and
    ``account=yes`` where they are those of an account; a member is shown it to be handed on.

    :param room: where it leads; empty for none in particular.
    :param good_for: for whom, and until when, a sentence without its point.
    :param me: see `RoomPage`.
    :param member: who looks at it has an account.
    :param guests: one can come in without a password.
    :param address: of this page.
    """

    template = "invite.html"
    code: str
    room: str
    role: str
    by: str
    good_for: str
    me: str
    member: bool
    guests: bool
    address: str
    qr: Markup
    form: Form
    form_token: str


@attrs.frozen(kw_only=True)
class LinkPage(Page):
    """Where a log-in link leads: ``POST /link/CODE``.

    :param name: as whom one logs in.
    :param me: who one is until then; empty for nobody.
    """

    template = "link.html"
    code: str
    name: str
    me: str
    form: Form
    form_token: str


@attrs.frozen(kw_only=True)
class DeviceLinkPage(Page):
    """A log-in link, for another device.

    :param address: where it leads.
    """

    template = "device_link.html"
    address: str
    qr: Markup


@attrs.frozen(kw_only=True)
class AccountPage(Page):
    """One's own account. Forms, each with ``form_token``: of a guest, ``POST /account``
    (``password``, ``invite``); of a member, ``POST /account/link``, ``/account/invites`` (``room``,
    ``uses``, ``days``, ``role``), ``/account/invites/revoke`` (``code``), ``/account/sessions``
    (``id``), ``/account/password`` (``password``, ``new_password``), ``/account/delete``
    (``password``, ``messages``).

    :param registration: who can become a member: ``open``, ``invite`` or ``off``.
    :param roles: those of whom one may invite; empty where there is no choice.
    :param section: whose form was refused; empty for none.
    :param done: what a form has just done, a sentence; empty for nothing.
    """

    template = "account.html"
    me: str
    role: str
    member: bool
    has_password: bool
    registration: str
    devices: Sequence[DeviceView]
    may_invite: bool
    invites: Sequence[InviteView]
    roles: Sequence[str]
    section: str
    done: str
    form: Form
    form_token: str


@attrs.frozen(kw_only=True)
class AdminFrame:
    """What is around each page of those who run the house.

    :param sections: names and titles of the pages that one may see.
    :param name: of this one.
    :param house: what the house is called.
    :param calm: how calm it is, of ``calms``.
    :param calm_pinned: the option that says so; empty where it can be changed.
    """

    sections: Sequence[tuple[str, str]]
    name: str
    title: str
    house: str
    calm: str
    calms: Sequence[str]
    calm_pinned: str
    form_token: str


@attrs.frozen(kw_only=True)
class AdminPage(Page):
    """One of these pages. Its forms go to ``POST /admin/NAME``, with ``form_token`` and ``act``;
    that of the calm switch, to ``POST /admin/calm`` (``calm``, ``section``)."""

    frame: AdminFrame
    form: Form


@attrs.frozen(kw_only=True)
class AdminNowPage(AdminPage):
    """What the daemon does just now.

    :param now: see `live.LiveNumbers.look`.
    """

    template = "admin_now.html"
    now: Mapping[str, Any]


@attrs.frozen(kw_only=True)
class AdminWaitingPage(AdminPage):
    """Who waits to be let in. Form: ``let-in`` (``name``).

    :param guests: the policy of that name.
    :param waiting: names, and since when.
    """

    template = "admin_waiting.html"
    guests: str
    waiting: Sequence[tuple[str, str]]
    more: bool


@attrs.frozen(kw_only=True)
class ReportView:
    """A message that somebody wants looked at."""

    id: str
    room: str
    message: int
    author: str
    text: str
    by: str
    reason: str
    at: str


@attrs.frozen(kw_only=True)
class AdminReportsPage(AdminPage):
    """What was reported, and what the word filter holds. Forms: ``settle`` (``id``), ``delete``
    (``id``, ``room``, ``message``); ``say`` and ``drop`` (``id``).

    :param held: ids, rooms, names and texts.
    """

    template = "admin_reports.html"
    reports: Sequence[ReportView]
    held: Sequence[tuple[str, str, str, str]]


@attrs.frozen(kw_only=True)
class AdminSanctionsPage(AdminPage):
    """The sanctions in force. Form: ``lift`` (``id``).

    :param following: where the next page begins; 0 where there is none.
    """

    template = "admin_sanctions.html"
    sanctions: Sequence[SanctionView]
    total: int
    following: int


@attrs.frozen(kw_only=True)
class AdminRoomView:
    """A room as those see it who may change it."""

    name: str
    topic: str
    kind: str
    people: int
    slow: int
    locked: bool
    archived: bool


@attrs.frozen(kw_only=True)
class AdminRoomsPage(AdminPage):
    """The rooms. Forms: ``change`` (``room``, ``topic``, ``slow``, ``locked``, ``archived``),
    ``remove`` (``room``, ``sure``)."""

    template = "admin_rooms.html"
    rooms: Sequence[AdminRoomView]
    may_remove: bool
    more: bool


@attrs.frozen(kw_only=True)
class AdminPeoplePage(AdminPage):
    """The accounts. Forms: ``role`` (``name``, ``role``), ``end`` (``name``); to search, ``GET``
    with ``name``.

    :param wanted: what names were searched for that begin with it.
    :param people: names, roles, and when they were seen.
    """

    template = "admin_people.html"
    wanted: str
    people: Sequence[tuple[str, str, str]]
    roles: Sequence[str]
    more: bool


@attrs.frozen(kw_only=True)
class AdminPoliciesPage(AdminPage):
    """The policies. Form: ``change`` (their names; of the filter ``refuse`` and ``hold``, a word a
    line).

    :param pins: options that say what a policy is, by its name.
    """

    template = "admin_policies.html"
    values: Mapping[str, Any]
    pins: Mapping[str, str]
    refuse: str
    hold: str


@attrs.frozen(kw_only=True)
class AdminAuditPage(AdminPage):
    """Who did what, the newest first.

    :param following: after which the next page begins; 0 where there is none.
    """

    template = "admin_audit.html"
    deeds: Sequence[Mapping[str, Any]]
    following: int


@attrs.frozen(kw_only=True)
class ProblemPage(Page):
    """An error page that hands back what was typed.

    :param typed: the fields of the form that are the person's own, name to value.
    :param back_url: a relative path.
    """

    template = "problem.html"
    status: int
    title: str
    detail: str
    typed: Mapping[str, str]
    back_url: str


@attrs.frozen(kw_only=True)
class ProblemKindPage(Page):
    """What a ``type`` of an error means, at ``/problems/SLUG``."""

    template = "problem_kind.html"
    slug: str
    title: str
    status: int
