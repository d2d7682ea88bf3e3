"""The chat in Firefox: each of its doors hears what is said, and misses nothing over a restart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.firefox import Firefox, FirefoxPage
from tests.daemon.talk import log_in, metric, say, wait_until
from tests.support import Daemon

pytestmark = pytest.mark.slow

ENTER, ESCAPE = "\ue007", "\ue00c"

LABELS = {
    "frame": "hidden iframe",
    "stream": "fetch stream",
    "sse": "server-sent events",
    "ws": "WebSocket",
    "poll": "long polling",
}


@pytest.fixture(scope="module")
def firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    with Firefox(tmp_path_factory.mktemp("firefox")) as running:
        yield running
        assert running.errors == []


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("daemon")) as running:
        yield running


@pytest.fixture(scope="module")
def page(firefox: Firefox, daemon: Daemon) -> FirefoxPage:
    """Rita's chat, logged in by the form."""
    page = firefox.open(f"{daemon.url}/")
    page.click("input[name=name]")
    page.write("Rita" + ENTER)
    page.wait_text("#chip-state", "live")
    return page


@pytest.fixture(scope="module")
def grace(daemon: Daemon) -> str:
    """The token of somebody else."""
    return log_in(daemon.port, "Grace")


def choose(page: FirefoxPage, door: str) -> None:
    """Take a door by the menu behind the chip."""
    page.click("#chip")
    page.click(f"#connection input[value={door}]")
    page.write(ESCAPE)
    page.wait_text("#chip-door", LABELS[door])


def lines(page: FirefoxPage) -> list[str]:
    return page.texts(".message[data-id] .text")


@pytest.mark.parametrize("door", LABELS)
def test_a_door_hears_and_goes_on_after_a_restart(
    door: str, page: FirefoxPage, daemon: Daemon, grace: str
) -> None:
    choose(page, door)
    held = f'comet_chat_held_requests{{door="{door}"}}'
    wait_until(lambda: metric(daemon.port, held) == 1, f"a held {door}")
    said = [f"{door} before", f"{door} after", f"{door} at last"]
    say(daemon.port, grace, said[0])
    page.wait("document.querySelector('#log').textContent.includes(args[0])", said[0])
    daemon.restart()
    # Before the page is back.
    say(daemon.port, grace, said[1])
    page.wait("document.querySelector('#log').textContent.includes(args[0])", said[1])
    page.wait_text("#chip-state", "live")
    assert page.text("#chip-door") == LABELS[door]
    page.click("#text")
    page.write(said[2] + ENTER)
    page.wait(
        "[...document.querySelectorAll('.message[data-id]')].at(-1).textContent.includes(args[0])",
        said[2],
    )
    assert [line for line in lines(page) if line.startswith(door)] == said


def test_tabs_share_one_request_and_hand_it_on(
    firefox: Firefox, page: FirefoxPage, daemon: Daemon, grace: str
) -> None:
    choose(page, "frame")
    second = firefox.open(f"{daemon.url}/")
    second.wait_text("#chip-state", "live")
    assert second.text("#chip-door") == LABELS["frame"]
    assert metric(daemon.port, 'comet_chat_held_requests{door="frame"}') == 1
    say(daemon.port, grace, "to both tabs")
    for each in (page, second):
        each.wait("document.querySelector('#log').textContent.includes(args[0])", "to both tabs")
    page.close()
    say(daemon.port, grace, "to the one that is left")
    second.wait("document.querySelector('#log').textContent.includes('to the one that is left')")
    wait_until(
        lambda: metric(daemon.port, 'comet_chat_held_requests{door="frame"}') == 1, "a new leader"
    )
    assert lines(second)[-2:] == ["to both tabs", "to the one that is left"]
