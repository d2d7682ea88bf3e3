"""Pages of one person and of one message, with what may be done about them.

What it is: a class for each.

What it may know: see `page`.

Invariant: each class says where its forms are sent, and by which fields.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from cometd_chat.web.forms import Form
from cometd_chat.web.pages.page import Page
from cometd_chat.web.pages.rooms import PersonView
from cometd_chat.web.transcript import RenderedMessage


@attrs.frozen(kw_only=True)
class SanctionView:
    """A sanction, as those see it who may lift it."""

    id: str
    text: str
    by: str


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
