"""Writing in Chromium: what was typed is never lost, and what was sent is said once."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Request, Route, expect

from tests.browser.visits import Room, Visitor, Visits, make_room

pytestmark = pytest.mark.slow

MESSAGES = "**/api/v1/rooms/*/messages"


class Post:
    """What happens to posts: held, refused, let go; and what was posted."""

    def __init__(self, visitor: Visitor) -> None:
        self.held: list[Route] = []
        self.bodies: list[dict[str, str]] = []
        self._page = visitor.page
        self._page.on("request", self._note)

    def _note(self, request: Request) -> None:
        if request.method == "POST" and urlsplit(request.url).path.endswith("/messages"):
            self.bodies.append(json.loads(request.post_data or ""))

    def hold(self) -> None:
        """Let none through."""
        self._page.route(MESSAGES, lambda route: self.held.append(route))

    def refuse(self, status: int) -> None:
        """Answer each as the daemon would that can't."""
        detail = "The log can't be reached just now."
        problem = json.dumps({"type": "/problems/x", "detail": detail, "status": status})
        headers = {"Retry-After": "60"}
        kind = "application/problem+json"
        self._page.route(
            MESSAGES,
            lambda route: route.fulfill(
                status=status, headers=headers, content_type=kind, body=problem
            ),
        )

    def let_go(self) -> None:
        """Let all through, those that were held too."""
        for route in self.held:
            route.continue_()
        self._page.unroute(MESSAGES)


def test_a_line_is_pending_until_it_comes_back_or_the_page_does(visits: Visits) -> None:
    ada = visits.enter("Ada")
    posts = Post(ada)
    posts.hold()
    ada.say("on its way")
    pending = ada.page.locator(".message.pending")
    expect(pending.locator(".text")).to_have_text("on its way")
    expect(pending.locator(".state")).to_have_text("sending…")
    soft = pending.locator(".text").evaluate("each => getComputedStyle(each).color")
    # The box is free for the next one at once.
    expect(ada.page.locator("#text")).to_have_value("")
    expect(ada.page.locator("#text")).to_be_focused()
    posts.let_go()
    ada.hears("on its way")
    expect(ada.page.locator(".pending")).to_have_count(0)
    line = ada.page.locator(".message[data-id] .text")
    assert line.evaluate("each => getComputedStyle(each).color") != soft

    # What was not acknowledged is said after a reload, once.
    def lose_the_answer(route: Route) -> None:
        route.fetch()

    ada.page.route(MESSAGES, lose_the_answer)
    ada.say("said")
    ada.hears("said")
    posts.hold()
    ada.say("not yet")
    ada.page.unroute(MESSAGES)
    ada.page.reload()
    ada.hears("not yet")
    assert ada.lines() == ["on its way", "said", "not yet"]
    expect(ada.page.locator(".failed, .pending")).to_have_count(0)


def test_what_failed_can_be_copied_and_sent_again_or_discarded(visits: Visits) -> None:
    ada = visits.enter("Ada", permissions=["clipboard-read", "clipboard-write"])
    grace = visits.enter("Grace")
    posts = Post(ada)
    posts.refuse(503)
    ada.say("once\nand no more")
    failed = ada.page.locator(".message.failed")
    expect(failed).to_contain_text("Not sent. The log can't be reached just now.")
    failed.get_by_role("button", name="Copy").click()
    expect(failed.get_by_role("button", name="Copied")).to_be_visible()
    assert ada.page.evaluate("navigator.clipboard.readText()") == "once\nand no more"
    posts.let_go()
    failed.get_by_role("button", name="Retry").click()
    for each in (ada, grace):
        expect(each.page.locator(".message[data-id] .text")).to_have_text(["once\nand no more"])
    expect(ada.page.locator(".failed, .pending")).to_have_count(0)
    first, *again = posts.bodies
    assert again
    assert all(body == first for body in again)
    posts.refuse(503)
    ada.say("better not")
    ada.page.get_by_role("button", name="Discard").click()
    posts.let_go()
    ada.say("this")
    ada.hears("this")
    ada.page.reload()
    ada.is_live()
    assert ada.lines() == ["once\nand no more", "this"]
    expect(ada.page.locator(".failed, .pending")).to_have_count(0)
    ada.forgive_all()


def test_a_draft_is_kept_for_each_room(visits: Visits, room: Room) -> None:
    other = make_room(room.daemon, f"{room.name}-other")
    ada = visits.enter("Ada")
    box = ada.page.locator("#text")
    box.fill("half a thought\nand a half")
    ada.go(other.url)
    expect(box).to_have_value("")
    box.fill("another")
    ada.go(room.url)
    expect(box).to_have_value("half a thought\nand a half")
    ada.page.reload()
    expect(box).to_have_value("half a thought\nand a half")
    box.press("Enter")
    ada.hears("half a thought\nand a half")
    ada.page.reload()
    expect(box).to_have_value("")
    ada.go(other.url)
    expect(box).to_have_value("another")


def test_a_lost_session_keeps_the_text_and_comes_back(visits: Visits, room: Room) -> None:
    ada = visits.enter("Ada")
    for cookie in ("", "nonsense"):
        # Her name is free again, her cookie is gone or was spoilt.
        ada.log_out_elsewhere()
        expect(ada.page.locator("#notice")).to_contain_text("logged out")
        (name,) = (each["name"] for each in ada.window.context.cookies())
        ada.window.context.clear_cookies()
        if cookie:
            place = {"name": name, "value": cookie, "url": ada.room.daemon.url}
            ada.window.context.add_cookies([place])  # type: ignore[list-item]
        ada.say(f"said without a session, but {cookie!r}")
        ada.hears(f"said without a session, but {cookie!r}")
        ada.is_live()
        expect(ada.page.locator(".failed, .pending")).to_have_count(0)
        expect(ada.page.locator("#notice")).to_be_hidden()
        now = ada.window.context.cookies()
        ada.token = next(each["value"] for each in now if each["name"] == name)
        assert all(each.startswith("401 ") for each in ada.window.failures)

    # A name that was taken meanwhile is asked for.
    ada.log_out_elsewhere()
    expect(ada.page.locator("#notice")).to_contain_text("logged out")
    ada.window.context.clear_cookies()
    room.token("Ada")
    ada.say("kept")
    notice = ada.page.locator("#notice")
    expect(notice).to_contain_text("Your session has ended.")
    expect(ada.page.locator(".pending .text")).to_have_text("kept")
    notice.get_by_label("Your name").fill("Ada2")
    notice.get_by_role("button", name="Log in").click()
    ada.hears("kept")
    expect(ada.page.locator("#me")).to_have_text("Ada2")
    last = ada.page.locator(".message[data-id]").last
    expect(last.locator(".text")).to_have_text("kept")
    expect(last.locator(".name")).to_have_text("Ada2")
    expect(ada.page.locator(".failed, .pending")).to_have_count(0)
    ada.is_live()
    ada.token = ada.window.context.cookies()[0]["value"]
    ada.forgive_all()


def test_enter_sends_and_shift_enter_breaks_the_line_and_typing_is_told(visits: Visits) -> None:
    ada = visits.enter("Ada")
    box = ada.page.locator("#text")
    box.press("Enter")
    box.press_sequentially("first")
    box.press("Shift+Enter")
    box.press_sequentially("second")
    expect(box).to_have_value("first\nsecond")
    box.press("Enter")
    ada.hears("first\nsecond")
    # Nothing, and blanks, are no messages.
    box.fill("  \n ")
    box.press("Enter")
    box.fill("last")
    box.press("Control+Enter")
    ada.hears("last")
    assert ada.lines() == ["first\nsecond", "last"]
    # The Enter of an input method does not send.
    box.focus()
    cdp = ada.window.context.new_cdp_session(ada.page)
    cdp.send("Input.imeSetComposition", {"text": "にほん", "selectionStart": 3, "selectionEnd": 3})
    # What chooses a word is the method's, and comes as 229 or as part of a composition.
    key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 229}
    cdp.send("Input.dispatchKeyEvent", {"type": "rawKeyDown", **key})
    cdp.send("Input.dispatchKeyEvent", {"type": "keyUp", **key})
    box.dispatch_event("keydown", {"key": "Enter", "isComposing": True})
    expect(box).to_have_value("にほん")
    expect(ada.page.locator(".message")).to_have_count(2)
    cdp.send("Input.insertText", {"text": "日本"})
    expect(box).to_have_value("日本")
    box.press("Enter")
    ada.hears("日本")
    assert ada.lines() == ["first\nsecond", "last", "日本"]

    # Typing is told though the clock was set back.
    told: list[Request] = []

    def note(request: Request) -> None:
        if urlsplit(request.url).path.endswith("/typing"):
            told.append(request)

    ada.go(ada.room.url)
    ada.is_live()
    ada.page.on("request", note)
    ada.page.clock.install()
    with ada.page.expect_request("**/typing"):
        ada.page.type("#text", "a")
    ada.page.evaluate("() => { const now = Date.now; Date.now = () => now() - 7_200_000; }")
    ada.page.clock.fast_forward(4000)
    with ada.page.expect_request("**/typing"):
        ada.page.type("#text", "b")
    assert len(told) == 2
