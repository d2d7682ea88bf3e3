"""In a real browser: a page of one node, a post at another, a log-out at a third."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.tabs import Window
from tests.cluster.cluster import Cluster, cluster
from tests.daemon.talk import log_in, once, say

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes in the network in which the browser is."""
    with cluster(tmp_path_factory.mktemp("cluster"), 3, cables=0) as made:
        yield made


@pytest.fixture
def window(chromium: Browser) -> Iterator[Window]:
    made = Window(chromium.new_context())
    yield made
    made.close()
    assert made.errors == []


def test_a_page_here_a_post_there_and_a_log_out_elsewhere(three: Cluster, window: Window) -> None:
    first, second, third = (node.port for node in three.nodes)
    ada = window.log_in(f"http://127.0.0.1:{first}/rooms/lobby", "Ada")
    bob = log_in(third, "Bob")
    assert say(second, bob, "said at another node").status == 201
    ada.hears("said at another node")
    # What she says here is read there.
    ada.say("and answered here")
    ada.hears("and answered here")
    [answer] = once(second, "GET", "/api/v1/rooms/lobby/messages?limit=1").json["messages"]
    assert (answer["from"], answer["text"]) == ("Ada", "and answered here")
    [cookie] = (each for each in window.context.cookies() if "session" in each["name"])
    assert once(third, "DELETE", "/api/v1/session", token=cookie["value"]).status == 204
    expect(ada.page.locator("#chip-state")).not_to_have_text("live")
    assert once(first, "GET", "/api/v1/session", token=cookie["value"]).status == 401
