"""The pages by which a house is run: what axe says of each. Their forms: `test_every_form`."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.browser import test_accounts
from tests.browser.test_accessible import look
from tests.browser.test_accounts import enter, owner_link
from tests.daemon.talk import log_in, say
from tests.support import Daemon

pytestmark = pytest.mark.slow

daemon = test_accounts.daemon
contexts = test_accounts.contexts

WIDTHS = (1200, 320)


def test_axe_finds_nothing(
    daemon: Daemon, chromium: Browser, contexts: list[BrowserContext]
) -> None:
    # It looks by a script, which our policy forbids to all but ours.
    context = chromium.new_context(bypass_csp=True)
    contexts.append(context)
    ada = context.new_page()
    ada.goto(owner_link(daemon))
    enter(ada, "Ada")
    ada.wait_for_url("**/rooms/lobby**")
    look(ada, WIDTHS)
    bob = log_in(daemon.port, "Bob")
    said = say(daemon.port, bob, "something").json
    from cometd_chat.web.admin_pages import SECTIONS

    paths = [f"/admin/{each.name}" for each in SECTIONS]
    assert len(paths) > 5
    about = ["/rooms/lobby/people/Bob", f"/rooms/lobby/messages/{said['id']}"]
    for path in ["/admin", *paths, *about, "/rooms/lobby/members"]:
        ada.goto(daemon.url + path, wait_until="domcontentloaded")
        look(ada, WIDTHS)
