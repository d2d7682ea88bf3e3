"""The few lines that the page of transports shows for each transport hear what others say."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.documents import TRANSPORTS
from tests.shown.programs import (
    block,
    browser_page,
    call,
    holds,
    reading,
    say,
    say_until_heard,
    script,
    wait_until,
)
from tests.support import Daemon


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["stream.py", "ws.py", "poll.py", "multipart.py", "text.sh", "duplex.sh"]
)
def test_a_transport_by_a_program(name: str, transports: Daemon, tmp_path: Path) -> None:
    """The few lines that the page shows for a transport hear what others say."""
    token = str(call(transports, "/api/v1/session", {"name": f"by-{name}"})["token"])
    runner = "sh" if name.endswith(".sh") else "python3"
    with reading(tmp_path, runner, script(tmp_path, TRANSPORTS, name, transports)) as reader:
        wait_until(lambda: holds(transports) or name == "poll.py", lambda: f"{name} is held")
        hello = f"hello {name}"
        wait_until(lambda: say_until_heard(transports, token, hello, reader), lambda: reader.output)
        if name == "duplex.sh":
            reader.type(["typed by hand"])
            reader.wait_for("[alice] typed by hand")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["frame.js", "sse.js", "jsonp.js"])
def test_a_transport_by_a_page(name: str, transports: Daemon, chromium: Browser) -> None:
    """The few lines that the page shows for a transport hear what others say."""
    token = str(call(transports, "/api/v1/session", {"name": f"by-{name}"})["token"])
    wait_until(lambda: not holds(transports), lambda: "nobody else is held")
    with (
        browser_page(chromium, transports.url) as page,
        page.expect_console_message(lambda message: f"hello {name}" in message.text),
    ):
        page.add_script_tag(content=block(TRANSPORTS, name, transports))
        wait_until(lambda: holds(transports), lambda: f"{name} is held")
        say(transports, token, f"hello {name}")


@pytest.mark.slow
def test_the_client_library(transports: Daemon, chromium: Browser) -> None:
    token = str(call(transports, "/api/v1/session", {"name": "by-library"})["token"])
    wait_until(lambda: not holds(transports), lambda: "nobody else is held")
    with (
        browser_page(chromium, transports.url) as page,
        page.expect_console_message(lambda message: message.text == "by-library hello library"),
    ):
        page.add_script_tag(content=block(TRANSPORTS, "client.js", transports), type="module")
        wait_until(lambda: holds(transports), lambda: "the library holds a request")
        say(transports, token, "hello library")
