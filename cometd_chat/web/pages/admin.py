"""Pages of those who run the house.

What it is: a class for each, within one `AdminFrame`.

What it may know: see `page`.

Invariant: each class says what its forms do; where they are sent, `AdminPage` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from cometd_chat.web.forms import Form
from cometd_chat.web.pages.page import Page
from cometd_chat.web.pages.people import SanctionView


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
    """Who waits to be let in. Forms: ``let-in`` and ``turn-away`` (``name``).

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
