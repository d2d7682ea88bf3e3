"""Pages of what went wrong.

What it is: the page of a refusal, and that of its kind.

What it may know: see `page`.

Invariant: what could not be sent stands in the page's form, so that nothing typed is lost.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from cometd_chat.web.pages.page import Page


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
