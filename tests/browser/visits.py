"""A room of its own for each test, on a daemon that they share, and people who visit it.

What it is: `Room` says things as others would, over HTTP; `Visitor` is somebody's tab in it.

What it may know: the interface of the daemon, and what is on the page.

Invariant: who came leaves, so that her name is free for the next test, and an error in her window
or a request of hers that failed is a failure of the test, unless that says that it was meant.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote

import attrs
from playwright.sync_api import Browser, Page, ViewportSize

from tests.browser.tabs import Tab, Window
from tests.daemon.talk import log_in, log_in_by_cookie, once, say
from tests.support import PATIENCE, Daemon

#: How large a window is that nobody says anything of.
VIEWPORT: ViewportSize = {"width": 1280, "height": 720}


@attrs.define(eq=False)
class Room:
    """A room.

    :param tokens: of those who say something in it, by name.
    """

    daemon: Daemon
    name: str = "lobby"
    tokens: dict[str, str] = attrs.field(factory=dict)

    @property
    def url(self) -> str:
        return f"{self.daemon.url}/rooms/{quote(self.name)}"

    def say(self, author: str, text: str) -> dict[str, Any]:
        """Somebody says something; the event."""
        answer = say(self.daemon.port, self.token(author), text, room=self.name)
        assert answer.status == 201, answer
        event: dict[str, Any] = answer.json
        return event

    def delete(self, author: str, id: int) -> None:
        """Somebody deletes what they said."""
        path = f"/api/v1/rooms/{quote(self.name)}/messages/{id}"
        answer = once(self.daemon.port, "DELETE", path, token=self.token(author))
        assert answer.status == 204, answer

    def say_all(self, author: str, texts: Iterable[str]) -> None:
        """Somebody says much, quickly."""
        body = "".join(f"{text}\n" for text in texts).encode()
        connection = HTTPConnection("127.0.0.1", self.daemon.port, timeout=PATIENCE)
        head = {"Authorization": f"Bearer {self.token(author)}"}
        connection.request("POST", f"/rooms/{quote(self.name)}.txt", iter([body]), head)
        assert connection.getresponse().read().count(b"\n")
        connection.close()

    def token(self, name: str) -> str:
        """Somebody's token; she logs in if she has not."""
        if name not in self.tokens:
            self.tokens[name] = log_in(self.daemon.port, name)
        return self.tokens[name]

    def clear(self) -> None:
        """All who said something log out."""
        for token in self.tokens.values():
            once(self.daemon.port, "DELETE", "/api/v1/session", token=token)
        self.tokens.clear()


class Visitor(Tab):
    """Somebody's tab in a room.

    :param options: of the browser's context, where others may have the tab afterwards.
    """

    def __init__(
        self,
        window: Window,
        page: Page,
        room: Room,
        token: str,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(page)
        self.options = options
        self.window = window
        self.room = room
        self.token = token
        self.forgiven = False

    def go(self, url: str) -> None:
        """Go to a page."""
        self.page.goto(url)

    def log_out_elsewhere(self) -> None:
        """End her session, by another program of hers."""
        once(self.room.daemon.port, "DELETE", "/api/v1/session", token=self.token)

    def forgive(self) -> None:
        """Requests of hers were meant to fail."""
        self.window.failures.clear()

    def forgive_all(self) -> None:
        """The same, and so are those that the page may be making yet: the test is at its end."""
        self.forgiven = True

    def check(self) -> None:
        """Nothing failed.

        :raises AssertionError: something did.
        """
        assert self.window.errors == []
        failures = [] if self.forgiven else self.window.failures
        assert not failures, failures

    def leave_nothing(self) -> None:
        """Make the tab as if nobody had been there, which another one is given next."""
        self.page.goto(f"{self.room.daemon.url}/static/links.js")
        self.page.evaluate("localStorage.clear(); sessionStorage.clear();")
        self.window.context.clear_cookies()
        for other in self.window.context.pages:
            if other != self.page:
                other.close()


@attrs.define(eq=False)
class Visits:
    """Who visits a room.

    :param spare: tabs that tests before this one have left, and it leaves.
    """

    browser: Browser
    room: Room
    spare: list[Visitor] = attrs.field(factory=list)
    visitors: list[Visitor] = attrs.field(factory=list)
    _borrowed: list[Visitor] = attrs.field(factory=list)

    def enter(self, name: str, **options: Any) -> Visitor:
        """Somebody comes with a browser of her own, and is live.

        :param options: of the browser's context.
        """
        visitor = self.come(name, **options)
        visitor.go(self.room.url)
        visitor.is_live()
        return visitor

    def come(self, name: str, **options: Any) -> Visitor:
        """Somebody with a session and an empty tab."""
        cookie, token = log_in_by_cookie(self.room.daemon.port, name)
        window = Window(self.browser.new_context(**options))
        place = self.room.daemon.url
        window.context.add_cookies([{"name": cookie, "value": token, "url": place}])
        visitor = Visitor(window, window.page(), self.room, token)
        self.visitors.append(visitor)
        return visitor

    def borrow(
        self,
        name: str,
        *,
        at: str = "",
        session: tuple[str, str] | None = None,
        viewport: ViewportSize = VIEWPORT,
        **options: Any,
    ) -> Visitor:
        """As `enter`, by a tab that a test before this one has left: it costs a third of a browser
        of her own. It gets no routes, scripts, clock or colours, which the next one would have.

        :param at: the page that she comes to, the room's by default.
        :param session: the name and the value of her cookie; a guest's by default.
        :param options: of the browser's context.
        """
        cookie, token = session or log_in_by_cookie(self.room.daemon.port, name)
        alike = (each for each in self.spare if each.options == options)
        visitor = next(alike, None) or self._new_tab(options)
        if visitor in self.spare:
            self.spare.remove(visitor)
        visitor.room, visitor.token = self.room, token
        self._borrowed.append(visitor)
        visitor.page.set_viewport_size(viewport)
        place = self.room.daemon.url
        visitor.window.context.add_cookies([{"name": cookie, "value": token, "url": place}])
        visitor.go(at or self.room.url)
        visitor.is_live()
        return visitor

    def _new_tab(self, options: dict[str, Any]) -> Visitor:
        window = Window(self.browser.new_context(**options))
        return Visitor(window, window.page(), self.room, "", options)

    def _give_back(self, visitor: Visitor) -> None:
        """She leaves, and the tab is there for the next one, if all is well."""
        try:
            visitor.leave_nothing()
            visitor.check()
        except BaseException:
            visitor.window.close()
            raise
        finally:
            visitor.log_out_elsewhere()
        visitor.forgiven = False
        visitor.forgive()
        self.spare.append(visitor)

    def close(self) -> None:
        """All leave, and so do those who said something, so that their names are free.

        :raises AssertionError: something in their windows failed.
        """
        with ExitStack() as leaving:
            for visitor in self._borrowed:
                leaving.callback(self._give_back, visitor)
            leaving.callback(self.room.clear)
            for visitor in self.visitors:
                leaving.callback(visitor.check)
            for visitor in self.visitors:
                visitor.window.close()
                visitor.log_out_elsewhere()


def make_room(daemon: Daemon, name: str, topic: str = "") -> Room:
    """A new room, and whoever made it gone."""
    token = log_in(daemon.port, "maker")
    body = {"name": name, "topic": topic}
    answer = once(daemon.port, "POST", "/api/v1/rooms", token=token, body=body)
    assert answer.status == 201, answer
    once(daemon.port, "DELETE", "/api/v1/session", token=token)
    return Room(daemon, answer.json["name"])
