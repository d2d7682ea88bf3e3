"""The pages by which a house is run: what axe says of each, and their forms without a script."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.browser import test_accounts
from tests.browser.test_accessible import look
from tests.browser.test_accounts import come, enter, owner_link
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


def test_a_house_is_calmed_and_somebody_silenced_without_a_script(
    daemon: Daemon, chromium: Browser, contexts: list[BrowserContext]
) -> None:
    ada, bob = come(chromium, contexts), come(chromium, contexts, 360)
    ada.goto(owner_link(daemon))
    enter(ada, "Ada")
    ada.wait_for_url("**/rooms/lobby**")
    bob.goto(daemon.url)
    bob.get_by_label("Your name").fill("Bob")
    bob.get_by_role("button", name="Enter").click()
    # From the list of who is there to what may be done about them.
    ada.goto(f"{daemon.url}/rooms/lobby")
    ada.locator("#people-list").get_by_role("link", name="Bob").click()
    ada.get_by_label("Minutes").fill("10")
    ada.get_by_label("Why").fill("noise")
    ada.get_by_role("button", name="Silence").click()
    bob.goto(f"{daemon.url}/rooms/lobby")
    expect(bob.locator("#standing")).to_contain_text("noise")
    ada.get_by_role("button", name="Lift").click()
    bob.reload()
    expect(bob.locator("#standing")).to_be_hidden()
    # And from the page of the house: it is calm, and everybody reads why.
    ada.goto(f"{daemon.url}/admin")
    form = ada.locator("form[action='/admin/calm']").first
    form.locator("button[value=members], input[value=members]").first.click()
    bob.reload()
    expect(bob.locator("#quiet")).to_contain_text("only members speak")
