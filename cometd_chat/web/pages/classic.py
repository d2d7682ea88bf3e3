"""Pages of the classic chat: frames, or a frameset, around an answer that never ends.

What it is: a class for each.

What it may know: see `page`.

Invariant: each class says where its forms are sent, and by which fields.
"""

from __future__ import annotations

from typing import Literal

import attrs

from cometd_chat.web.forms import Form
from cometd_chat.web.pages.page import Page
from cometd_chat.web.pages.rooms import Scene

#: Where the form of the classic chat lives: in a frame of its own, answered by the form again, or
#: in a frameset (links, ELinks), answered by the whole frameset because those stop every frame.
ClassicView = Literal["frames", "frameset"]

#: What a heartbeat is on the endless page of the classic chat; the stylesheet makes the newest one
#: cover the others and turn into a warning when no other follows.
CLASSIC_HEARTBEAT = '<b class="beat"></b>\n'


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
