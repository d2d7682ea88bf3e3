"""The pages of accounts: what axe says of each. Their forms: `test_every_form`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

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
