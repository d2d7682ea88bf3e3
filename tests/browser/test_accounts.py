"""Accounts in a browser that runs no script: every form, and what axe says of its page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.test_accessible import look
from tests.support import Daemon

pytestmark = pytest.mark.slow

PASSWORD = "four words of mine"
WIDTHS = (1200, 360)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon of the test's own, which nobody owns yet."""
    with Daemon(tmp_path, "--limits=off") as running:
        yield running
        assert "Traceback" not in running.log


@pytest.fixture
def contexts(chromium: Browser) -> Iterator[list[BrowserContext]]:
    """Those that a test made; they are closed at its end."""
    made: list[BrowserContext] = []
    yield made
    for context in made:
        context.close()


def come(chromium: Browser, contexts: list[BrowserContext], width: int = 1200) -> Page:
    """A window of somebody's own, without scripts."""
    context = chromium.new_context(
        java_script_enabled=False, viewport={"width": width, "height": 800}
    )
    contexts.append(context)
    return context.new_page()


def owner_link(daemon: Daemon) -> str:
    found = re.search(r"yours by (\S+)", daemon.output)
    assert found is not None
    return found[1]


def enter(page: Page, name: str, password: str = PASSWORD) -> None:
    """Fill in the first form of a page that asks for both, and send it."""
    form = page.locator("form").first
    form.get_by_label("Name").fill(name)
    form.get_by_label("Password").fill(password)
    form.get_by_role("button").click()


def test_from_the_owner_link_to_the_last_goodbye(
    daemon: Daemon, chromium: Browser, contexts: list[BrowserContext]
) -> None:
    ada = come(chromium, contexts)
    ada.goto(owner_link(daemon))
    enter(ada, "Ada", "short but wrong\u0007")
    expect(ada.get_by_role("alert")).to_contain_text("control characters")
    enter(ada, "Ada")
    ada.wait_for_url("**/rooms/lobby*")
    # She invites somebody, who comes by the address that is shown.
    ada.get_by_role("link", name="account").click()
    expect(ada.get_by_role("heading", name="You are Ada")).to_be_visible()
    ada.get_by_label("People").fill("3")
    ada.get_by_role("button", name="Make an invitation").click()
    expect(ada.locator("svg.qr")).to_be_visible()
    address = ada.get_by_label("The address").input_value()
    bob = come(chromium, contexts, 360)
    bob.goto(address)
    expect(bob.get_by_text("Ada invites you")).to_be_visible()
    enter(bob, "Bob")
    bob.wait_for_url("**/rooms/lobby")
    # His phone follows a log-in link.
    bob.goto(f"{daemon.url}/account")
    bob.get_by_role("button", name="Show a log-in code").click()
    link = bob.get_by_label("The address").input_value()
    phone = come(chromium, contexts, 360)
    phone.goto(link)
    phone.get_by_role("button", name="Log in on this device").click()
    phone.wait_for_url("**/rooms/lobby")
    phone.goto(link)
    expect(phone.get_by_text("good no longer").first).to_be_visible()
    # He ends it again, and changes his password.
    bob.goto(f"{daemon.url}/account")
    bob.get_by_role("button", name="End it").click()
    expect(bob.get_by_role("status")).to_have_text("That device is logged out.")
    phone.goto(f"{daemon.url}/account")
    expect(phone.get_by_text("Choose a name")).to_be_visible()
    bob.get_by_label("The password of now").fill(PASSWORD)
    bob.get_by_label("The new password").fill("another four words")
    bob.get_by_role("button", name="Change it").click()
    expect(bob.get_by_role("status")).to_contain_text("The password is changed")
    # He logs in on the phone by the new one, from the page that knows no accounts at first.
    phone.get_by_label("Your name").fill("bob")
    phone.get_by_role("button", name="Enter").click()
    phone.get_by_label("Password").fill("another four words")
    phone.get_by_role("button", name="Enter").click()
    phone.goto(f"{daemon.url}/account")
    expect(phone.get_by_role("heading", name="You are Bob")).to_be_visible()
    # And leaves for good.
    phone.get_by_text("Delete the account").click()
    phone.locator("#delete").get_by_label("Password").fill("another four words")
    phone.get_by_role("button", name="Delete my account").click()
    phone.goto(f"{daemon.url}/account")
    expect(phone.get_by_text("Choose a name")).to_be_visible()


def test_a_guest_becomes_a_member(
    daemon: Daemon, chromium: Browser, contexts: list[BrowserContext]
) -> None:
    ada = come(chromium, contexts)
    ada.goto(owner_link(daemon))
    enter(ada, "Ada")
    ada.goto(f"{daemon.url}/account")
    ada.get_by_role("button", name="Make an invitation").click()
    address = ada.get_by_label("The address").input_value()
    bob = come(chromium, contexts, 360)
    bob.goto(daemon.url)
    bob.get_by_label("Your name").fill("Bob")
    bob.get_by_role("button", name="Enter").click()
    bob.goto(f"{daemon.url}/account")
    bob.get_by_label("Password").fill(PASSWORD)
    bob.get_by_label("Invitation").fill(address)
    bob.get_by_role("button", name="Become a member").click()
    expect(bob.get_by_role("status")).to_contain_text("your name is yours")
    ada.goto(f"{daemon.url}/account")
    expect(ada.get_by_text("Good for 99 more")).to_be_visible()
    ada.get_by_role("button", name=f"Revoke {address.rpartition('/')[2]}").click()
    bob.goto(address)
    expect(bob.get_by_text("taken back")).to_be_visible()


def test_axe_finds_nothing(
    daemon: Daemon, chromium: Browser, contexts: list[BrowserContext]
) -> None:
    for _ in range(2):
        # It looks by a script, which our policy forbids to all but ours.
        contexts.append(chromium.new_context(bypass_csp=True))
    ada, bob = (context.new_page() for context in contexts)

    bob.goto(daemon.url)
    bob.get_by_label("Your name").fill("Bob")
    bob.get_by_role("button", name="Enter").click()
    bob.wait_for_url("**/rooms/lobby")
    bob.goto(f"{daemon.url}/account")
    look(bob, WIDTHS)
    ada.goto(owner_link(daemon))
    look(ada, WIDTHS)
    enter(ada, "Ada")
    ada.goto(f"{daemon.url}/account")
    look(ada, WIDTHS)
    ada.get_by_role("button", name="Make an invitation").click()
    look(ada, WIDTHS)
    bob.goto(ada.get_by_label("The address").input_value())
    look(bob, WIDTHS)
    ada.goto(f"{daemon.url}/account")
    ada.get_by_role("button", name="Show a log-in code").click()
    look(ada, WIDTHS)
    bob.goto(ada.get_by_label("The address").input_value())
    look(bob, WIDTHS)
