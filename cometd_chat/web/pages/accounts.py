"""Pages of accounts, invitations and links.

What it is: a class for each.

What it may know: see `page`.

Invariant: each class says where its forms are sent, and by which fields.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from markupsafe import Markup

from cometd_chat.web.forms import Form
from cometd_chat.web.pages.page import Page


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
