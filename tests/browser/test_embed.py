"""A page of another site with the chat in it: the example, from another port, by each transport."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import MakeWindow
from tests.browser.tabs import LABELS, Window, held
from tests.daemon.talk import history, log_in, once, say, wait_until
from tests.sites import Site
from tests.support import ROOT, Daemon

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """Where the examples are served: another port of the daemon's host."""
    with Site(ROOT / "examples", "127.0.0.1") as site:
        yield site.url


@pytest.fixture(scope="module")
def friend(origin: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that lets the site in."""
    with Daemon(tmp_path_factory.mktemp("daemon"), f"--allow-origin={origin}") as running:
        yield running


@pytest.fixture(scope="module")
def grace(friend: Daemon) -> str:
    return log_in(friend.port, "Grace")


@pytest.fixture(scope="module")
def guests(chromium: Browser) -> Iterator[tuple[Window, Page]]:
    """A window with a tab for one guest after another, who leave nothing in it."""
    window = Window(chromium.new_context())
    yield window, window.page()
    window.close()


@pytest.fixture
def page(guests: tuple[Window, Page]) -> Iterator[Page]:
    """The tab as a guest's; no script in it may fail."""
    window, page = guests
    yield page
    page.goto("about:blank")
    assert window.errors == []


def embed(page: Page, origin: str, daemon: Daemon, token: str, transport: str) -> None:
    """Load the example."""
    page.goto(f"{origin}/embed.html#url={daemon.url}&token={token}&transports={transport}")


@pytest.mark.parametrize(("transport", "label"), [*LABELS.items(), ("jsonp", "callback polling")])
def test_a_transport_works_from_another_site(
    transport: str, label: str, page: Page, origin: str, friend: Daemon, grace: str
) -> None:
    token = log_in(friend.port, f"guest-{transport}")
    embed(page, origin, friend, token, transport)
    expect(page.locator("#state")).to_have_text(f"live by {label}")
    if transport != "plain":
        wait_until(lambda: held(friend, transport) == 1, f"a held {transport}")
    text = f"to {transport} \u2028 </script> \N{SLIGHTLY SMILING FACE}"
    say(friend.port, grace, text)
    expect(page.locator("#log").get_by_text(f"Grace: {text}", exact=True)).to_have_count(1)
    # She is there under the token's name.
    people = once(friend.port, "GET", "/api/v1/rooms/lobby/people").json["people"]
    assert f"guest-{transport}" in [each["name"] for each in people]
    page.fill("input[name=text]", f"by {transport}")
    page.press("input[name=text]", "Enter")
    mine = page.locator("#log").get_by_text(f"guest-{transport}: by {transport}", exact=True)
    expect(mine).to_have_count(1)
    assert history(friend.port)[-1]["text"] == f"by {transport}"


def test_a_message_from_elsewhere_is_no_event(page: Page, origin: str, friend: Daemon) -> None:
    embed(page, origin, friend, log_in(friend.port, "guest"), "frame")
    expect(page.locator("#state")).to_have_text("live by hidden iframe")
    forged = '{"type": "message", "from": "mallory", "text": "forged", "id": 99999}'
    # From the page itself, from a frame of its own origin, and from the daemon's other pages.
    page.evaluate("(text) => postMessage(text, '*')", forged)
    page.evaluate(
        """(text) => {
          const frame = document.createElement('iframe');
          frame.srcdoc = `<script>parent.postMessage(${JSON.stringify(text)}, '*')</${'script'}>`;
          return new Promise((done) => { frame.onload = done; document.body.append(frame); });
        }""",
        forged,
    )
    say(friend.port, log_in(friend.port, "heidi"), "a true one")
    expect(page.locator("#log")).to_contain_text("heidi: a true one")
    expect(page.locator("#log")).not_to_contain_text("forged")


def test_a_site_that_was_not_let_in_gets_nothing(
    make_window: MakeWindow, origin: str, daemon: Daemon
) -> None:
    window = make_window()
    page = window.page()
    token = log_in(daemon.port, "guest")
    with page.expect_console_message(lambda message: "CORS" in message.text):
        page.goto(f"{origin}/embed.html#url={daemon.url}&token={token}")
    expect(page.locator("#state")).to_have_text("")
    # The refusals were meant.
    window.errors.clear()
