"""The chat in Chromium, as somebody sees and uses it.

What it is: `Window` is somebody's browser with her cookies, `Tab` one page of the chat in it.

What it may know: what is on the page. Nothing of the scripts behind it.

Invariant: whatever is waited for has a limit; an error of a script, a violation of the page's
policy, or a request that failed, is kept until the test looks.
"""

from __future__ import annotations

from time import monotonic

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, Response, expect

from tests.daemon.talk import log_in_by_cookie, metric
from tests.support import Daemon

#: Milliseconds that something on a page may take, on a busy machine.
PATIENCE = 30_000

LABELS = {
    "frame": "hidden iframe",
    "stream": "fetch stream",
    "sse": "server-sent events",
    "ws": "WebSocket",
    "poll": "long polling",
    "plain": "plain polling",
}

expect.set_options(timeout=PATIENCE)


def held(daemon: Daemon, transport: str) -> int:
    """How many requests the daemon holds at a transport."""
    return int(metric(daemon.port, f'comet_chat_held_requests{{transport="{transport}"}}'))


class Window:
    """Somebody's browser.

    :param context: with cookies of its own.
    """

    def __init__(self, context: BrowserContext) -> None:
        context.set_default_timeout(PATIENCE)
        self.context = context
        self.errors: list[str] = []
        #: Requests that were answered by an error or not at all, but for those the page gave up.
        self.failures: list[str] = []

    def page(self) -> Page:
        """An empty tab."""
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._note)
        page.on("response", self._note_response)
        page.on("requestfailed", self._note_failure)
        return page

    def tab(self, url: str) -> Tab:
        """A tab with a page of the chat."""
        page = self.page()
        page.goto(url)
        return Tab(page)

    def log_in(self, url: str, name: str) -> Tab:
        """A tab in which somebody has logged in."""
        tab = self.tab(url)
        tab.page.fill("input[name=name]", name)
        tab.page.press("input[name=name]", "Enter")
        tab.is_live()
        return tab

    def enter(self, daemon: Daemon, name: str) -> Tab:
        """A tab in which somebody is live who had logged in elsewhere."""
        cookie, token = log_in_by_cookie(daemon.port, name)
        self.context.add_cookies([{"name": cookie, "value": token, "url": daemon.url}])
        tab = self.tab(f"{daemon.url}/rooms/lobby")
        tab.is_live()
        return tab

    def close(self) -> None:
        self.context.close()

    def _note(self, message: ConsoleMessage) -> None:
        # A request that failed is no error while the daemon is away: the page says so itself.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            network = ("WebSocket connection to", "net::ERR_")
            if not any(each in message.text for each in network):
                self.errors.append(message.text)

    def _note_response(self, response: Response) -> None:
        if response.status >= 400:
            self.failures.append(f"{response.status} {response.url}")

    def _note_failure(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":
            self.failures.append(f"{request.failure} {request.url}")


#: Seconds of a page's time in which none of its short requests is taken for lost.
STEP = 0.5


class Tab:
    """One page of the chat."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._unanswered: set[Request] = set()
        page.on("request", self._note_asked)
        page.on("requestfinished", self._note_answered)
        page.on("requestfailed", self._note_answered)

    def _note_asked(self, request: Request) -> None:
        # Those for events are answered for as long as they are held.
        if "/api/v1/events/" not in request.url:
            self._unanswered.add(request)

    def _note_answered(self, request: Request) -> None:
        self._unanswered.discard(request)

    def pass_time(self, seconds: float) -> None:
        """Let time pass on the page's clock, no faster than its requests are answered: a page that
        waits in vain for an answer has reason to doubt its line."""
        for _ in range(round(seconds / STEP)):
            self.page.clock.run_for(round(STEP * 1000))
            deadline = monotonic() + PATIENCE / 1000
            while self._unanswered:
                assert monotonic() < deadline, f"no answer to {self._unanswered}"
                self.page.wait_for_timeout(10)

    def is_live(self, transport: str | None = None) -> None:
        """Wait until it is live, by a transport."""
        expect(self.page.locator("#chip-state")).to_have_text("live")
        if transport is not None:
            expect(self.page.locator("#chip-transport")).to_have_text(LABELS[transport])

    def choose(self, transport: str) -> None:
        """Take a transport by the menu behind the chip."""
        self._open_chip()
        self.page.check(f"#connection input[value={transport}]")
        self.page.keyboard.press("Escape")
        self.is_live(transport)

    def fact(self, term: str) -> str:
        """What the panel behind the chip says."""
        self._open_chip()
        rows = self.page.locator("#connection-facts")
        terms = rows.locator("dt").all_text_contents()
        facts = rows.locator("dd").all_text_contents()
        self.page.keyboard.press("Escape")
        return dict(zip(terms, facts, strict=True)).get(term, "")

    def _open_chip(self) -> None:
        # As somebody would; a tab in the background is drawn once a second, and a click waits.
        self.page.bring_to_front()
        self.page.click("#chip")

    def say(self, text: str) -> None:
        """Write and send."""
        self.page.fill("#text", text)
        self.page.press("#text", "Enter")

    def hears(self, text: str) -> None:
        """Wait until somebody's confirmed message is there, once."""
        line = self.page.locator(".message[data-id] .text").get_by_text(text, exact=True)
        expect(line).to_have_count(1)

    def lines(self) -> list[str]:
        """All confirmed messages."""
        return self.page.locator(".message[data-id] .text").all_text_contents()
