"""Text browsers in a terminal: read, log in and write with each browser's own keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.talk import history, log_in, say, wait_until
from tests.daemon.terminals import Terminal
from tests.support import Daemon


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("text"), "--limits=off", "--heartbeat=1") as running:
        yield running
        assert "Traceback" not in running.log


@pytest.fixture(scope="module")
def alice(daemon: Daemon) -> str:
    """Her token."""
    return log_in(daemon.port, "alice")


def plain(daemon: Daemon, room: str) -> str:
    return f"{daemon.url}/rooms/{room}/plain"


def said_by(daemon: Daemon, room: str, name: str) -> list[str]:
    return [event["text"] for event in history(daemon.port, room) if event["from"] == name]


def test_lynx(daemon: Daemon, alice: str, room: str, tmp_path: Path) -> None:
    say(daemon.port, alice, "hello, lynx", room=room)
    with Terminal(tmp_path, "lynx", "-nopause", "-accept_all_cookies", plain(daemon, room)) as lynx:
        lynx.shows("alice: hello, lynx")
        lynx.shows("Enter text into the field")
        lynx.write("lina")
        lynx.shows("lina")
        lynx.press("Down", "Enter")
        lynx.shows("Here: .*lina")
        lynx.shows("Textarea")
        lynx.write("typed with lynx")
        lynx.shows("typed with lynx")
        # Over the second line of the text to the button.
        lynx.press("Down", "Down", "Enter")
        lynx.shows(r"\d\d:\d\d lina: typed with lynx")
    assert said_by(daemon, room, "lina") == ["typed with lynx"]


def test_w3m(daemon: Daemon, alice: str, room: str, tmp_path: Path) -> None:
    say(daemon.port, alice, "hello, w3m", room=room)
    # It hands every text of more than a line to the user's editor.
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nprintf "%s" "typed with w3m" > "$1"\n')
    editor.chmod(0o700)
    with Terminal(tmp_path, "w3m", plain(daemon, room)) as w3m:
        w3m.shows("alice: hello, w3m")
        w3m.press("Tab", "Enter")
        w3m.shows("TEXT:")
        w3m.write("wim")
        w3m.press("Enter")
        w3m.shows(r"\[wim ")
        w3m.press("Tab", "Enter")
        w3m.shows(r"wim: \[")
        w3m.press("Tab", "Enter")
        w3m.shows(r"\[typed with w3m ")
        w3m.press("Tab", "Enter")
        w3m.shows(r"\d\d:\d\d wim: typed with w3m")
    assert said_by(daemon, room, "wim") == ["typed with w3m"]


def welcomed(browser: Terminal) -> None:
    """Links and ELinks greet who starts them for the first time."""
    browser.shows("Welcome")
    browser.press("Enter")
    wait_until(lambda: "Welcome" not in browser.screen, "the greeting is gone")


def confirm(browser: Terminal) -> None:
    """ELinks asks before it sends a form."""
    browser.shows("Do you want to post form data")
    browser.press("Enter")


def go_to(browser: Terminal, place: str) -> None:
    """Go down from link to link until the last line says that this is the one."""
    for _ in range(20):
        seen = browser.seen
        if place in seen[1].splitlines()[-1]:
            return
        browser.press("Down")
        # Within a text nothing but the cursor moves.
        wait_until(lambda: browser.seen != seen, "next")  # noqa: B023
    raise AssertionError(f"no {place} here:\n{browser.screen}")


def test_links(daemon: Daemon, alice: str, room: str, tmp_path: Path) -> None:
    say(daemon.port, alice, "hello, links", room=room)
    with Terminal(tmp_path, "links", plain(daemon, room)) as links:
        welcomed(links)
        links.shows("alice: hello, links")
        links.write("lisa")
        links.shows("name: lisa")
        links.press("Down", "Enter")
        links.shows("Here: .*lisa")
        links.shows("Text area, name text")
        links.write("typed with links")
        links.shows("typed with links")
        go_to(links, "form to")
        links.press("Enter")
        links.shows(r"\d\d:\d\d lisa: typed with links")
    assert said_by(daemon, room, "lisa") == ["typed with links"]


def test_elinks(daemon: Daemon, alice: str, room: str, tmp_path: Path) -> None:
    say(daemon.port, alice, "hello, elinks", room=room)
    with Terminal(tmp_path, "elinks", plain(daemon, room)) as elinks:
        welcomed(elinks)
        elinks.shows("alice: hello, elinks")
        elinks.press("Enter")
        elinks.write("ella")
        elinks.shows("name: ella")
        elinks.press("Down", "Enter")
        confirm(elinks)
        elinks.shows("Here: .*ella")
        elinks.shows("Text area, name text")
        elinks.press("Enter")
        elinks.write("typed with elinks")
        elinks.shows("typed with elinks")
        go_to(elinks, "form to")
        elinks.press("Enter")
        confirm(elinks)
        elinks.shows(r"\d\d:\d\d ella: typed with elinks")
    assert said_by(daemon, room, "ella") == ["typed with elinks"]


@pytest.mark.parametrize("program", ["links", "elinks"])
def test_frames_show_lines_as_they_come(
    daemon: Daemon, alice: str, tmp_path: Path, program: str
) -> None:
    name = f"{program}-frames"
    with Terminal(tmp_path, program, f"{daemon.url}/chat?view=frameset") as browser:
        welcomed(browser)
        browser.shows("The page that needs no script")
        if program == "elinks":
            browser.press("Enter")
        browser.write(name)
        browser.shows(name)
        browser.press("Down", "Enter")
        if program == "elinks":
            confirm(browser)
        # Logging in leads to the view that was asked for, which is held once it welcomes.
        browser.shows(f"Welcome {name}")
        for number in range(3):
            say(daemon.port, alice, f"live {number} for {program}")
            browser.shows(rf"\[ alice \] live {number} for {program}")
