"""The room's page in Chromium: narrow, by keyboard alone, in two colours; its small forms; and its
pictures, which are kept for people to look at."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack
from typing import Literal

import pytest
from playwright.sync_api import Route, expect

from tests.browser.visits import Room, Visitor, Visits, make_room
from tests.daemon.talk import Held, once
from tests.support import ROOT

pytestmark = pytest.mark.slow

PICTURES = ROOT / ".test-artifacts"
NOT_NOW = "The log can't be reached just now."
HOUR = 3_600_000
LOOKS: list[tuple[str, int, int, Literal["light", "dark"]]] = [
    ("room", 1180, 720, "light"),
    ("room-dark", 1180, 720, "dark"),
    ("room-phone", 390, 780, "light"),
]
PAPER = {"light": "rgb(255, 255, 255)", "dark": "rgb(26, 29, 34)"}


def focused(visitor: Visitor) -> str:
    """What the element that has the focus is called."""
    name: str = visitor.page.evaluate(
        """() => {
            const { id, tagName, textContent, ariaLabel, placeholder } = document.activeElement;
            return id || ariaLabel || placeholder || textContent.trim() || tagName;
        }"""
    )
    return name


def paper(visitor: Visitor) -> str:
    """The colour behind the messages."""
    colour: str = visitor.page.evaluate("getComputedStyle(document.body).backgroundColor")
    return colour


def test_nothing_scrolls_sideways_on_the_smallest_phone(visits: Visits, room: Room) -> None:
    for text in ("w" * 500, "https://example.org/" + "long/" * 60, "日" * 200, "a b " * 100):
        room.say("A-name-of-thirty-two-characters-", text)
    ada = visits.borrow("Ada", viewport={"width": 320, "height": 568})
    ada.say("x" * 300)
    ada.hears("x" * 300)
    wide = """() => [...document.querySelectorAll("html, body, main *")]
        .filter(each => each.scrollWidth > innerWidth
            || each.getBoundingClientRect().right > innerWidth + 1 && each.offsetWidth > 1)
        .map(each => each.outerHTML.slice(0, 80))"""
    assert ada.page.evaluate(wide) == []
    for button in ("#text", "#send", "#chip"):
        expect(ada.page.locator(button)).to_be_in_viewport(ratio=1)
    for path in ("/", "/chat", f"/rooms/{room.name}/plain"):
        ada.page.goto(room.daemon.url + path, wait_until="commit")
        expect(ada.page.locator("h1")).to_be_visible()
        assert ada.page.evaluate("document.documentElement.scrollWidth") <= 320


def test_the_sides_are_drawers_on_a_phone(visits: Visits) -> None:
    ada = visits.enter("Ada", viewport={"width": 390, "height": 780}, has_touch=True)
    rooms, people = ada.page.locator("#rooms"), ada.page.locator("#people")
    expect(rooms).to_be_hidden()
    expect(people).to_be_hidden()
    ada.page.get_by_role("button", name="Rooms").click()
    expect(rooms.locator("[aria-current]")).to_be_in_viewport()
    ada.page.keyboard.press("Escape")
    expect(rooms).to_be_hidden()
    ada.page.locator(".people-button").click()
    expect(people).to_contain_text("Ada")
    # A touch beside it closes it, and a swipe opens the other.
    ada.page.touchscreen.tap(20, 400)
    expect(people).to_be_hidden()
    ada.page.evaluate(
        """() => {
            const target = document.body;
            const touch = (type, x) => {
                const finger = new Touch({ identifier: 1, target, clientX: x, clientY: 300 });
                const touches = type === "touchend" ? [] : [finger];
                dispatchEvent(new TouchEvent(type, { touches, changedTouches: [finger] }));
            };
            touch("touchstart", 10);
            touch("touchend", 200);
        }"""
    )
    expect(rooms).to_be_visible()


def test_everything_is_reached_by_keyboard(lobby_visits: Visits) -> None:
    # A daemon without the rooms of other tests, each of which is a stop on the way.
    lobby_visits.room.say("Grace", "see https://example.org/")
    ada = lobby_visits.borrow("Ada")
    expect(ada.page.locator("#text")).to_be_focused()
    # The box has the focus at first; a reader begins at the top.
    ada.page.evaluate("document.body.tabIndex = -1; document.body.focus()")
    ada.page.keyboard.press("Tab")
    skip = ada.page.get_by_role("link", name="Skip to the message box")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    ada.page.keyboard.press("Enter")
    expect(ada.page.locator("#text")).to_be_focused()
    skip.focus()
    order: list[str] = []
    while "send" not in order:
        ada.page.keyboard.press("Tab")
        order.append(focused(ada))
        ring = ada.page.evaluate(
            """() => {
                const each = document.activeElement;
                const frame = each.closest(".composer") ?? each;
                return getComputedStyle(each).outlineStyle !== "none"
                    || getComputedStyle(frame).borderColor === "rgb(47, 95, 222)";
            }"""
        )
        assert ring, f"{order[-1]} does not show that it has the focus"
        assert len(order) < 40
        if order[-1] == "text":
            # The button follows the box.
            ada.page.keyboard.type("by keyboard")
    places = [order.index(each) for each in ("chip", "New room", "Rename", "Log out", "text")]
    assert places == sorted(places)
    assert order.index("https://example.org/") in range(order.index("scroller"), places[-1])
    ada.page.keyboard.press("Enter")
    ada.hears("by keyboard")
    # The panel behind the chip opens, moves and closes.
    ada.page.locator("#chip").focus()
    ada.page.keyboard.press("Enter")
    expect(ada.page.locator("#connection")).to_be_visible()
    ada.page.keyboard.press("Tab")
    expect(ada.page.locator("#connection input[value=frame]")).to_be_focused()
    ada.page.keyboard.press("ArrowDown")
    ada.is_live("stream")
    ada.page.keyboard.press("Escape")
    expect(ada.page.locator("#connection")).to_be_hidden()
    expect(ada.page.locator("#chip")).to_be_focused()


def what_screen_readers_are_told(ada: Visitor) -> None:
    log = ada.page.get_by_role("log")
    expect(log).to_have_attribute("aria-live", "polite")
    expect(ada.page.get_by_role("textbox", name=f"Message #{ada.room.name}")).to_be_visible()
    for role, name in (("navigation", "Rooms and your name"), ("complementary", "People")):
        expect(ada.page.get_by_role(role, name=name)).to_be_visible()  # type: ignore[arg-type]
    expect(ada.page.get_by_role("main")).to_be_visible()
    # The stream is nothing to read.
    expect(ada.page.locator("iframe")).to_have_attribute("aria-hidden", "true")


def test_the_colours_are_a_choice_that_is_kept(visits: Visits) -> None:
    ada = visits.enter("Ada", color_scheme="light")
    assert paper(ada) == PAPER["light"]
    ada.page.get_by_label("Dark").check()
    assert paper(ada) == PAPER["dark"]
    other = Visitor(ada.window, ada.window.page(), ada.room, ada.token)
    other.go(ada.room.url)
    ada.page.reload()
    for each in (ada, other):
        assert paper(each) == PAPER["dark"]
        expect(each.page.get_by_label("Dark")).to_be_checked()
    # Another tab follows, and "system" means what the system says.
    ada.page.get_by_label("System").check()
    for each in (ada, other):
        expect(each.page.locator("body")).to_have_css("background-color", PAPER["light"])
    ada.page.emulate_media(color_scheme="dark")
    assert paper(ada) == PAPER["dark"]


def test_a_room_is_made_by_its_form(visits: Visits, room: Room) -> None:
    ada = visits.borrow("Ada")
    what_screen_readers_are_told(ada)
    ada.page.get_by_text("New room").click()
    ada.page.get_by_label("Name of the room").fill(f"Ada's {room.name}")
    ada.page.get_by_role("button", name="Make the room").click()
    # What can't be a name is refused in the form, which keeps it and says what would do.
    refused = ada.page.locator("#new-room .refused")
    expect(refused).to_contain_text("' can't be in it")
    expect(ada.page.get_by_label("Name of the room")).to_have_value(f"Ada's {room.name}")
    expect(refused.get_by_role("button")).to_have_text(f"Take “ada-s-{room.name}”")
    assert ada.page.url == room.url
    assert [each[:3] for each in ada.window.failures] == ["400"]
    ada.forgive()
    name = f"#{room.name}-Tee-茶"
    ada.page.get_by_label("Name of the room").fill(name)
    ada.page.get_by_label("Topic of the room").fill("for <tea>")
    ada.page.get_by_role("button", name="Make the room").click()
    expect(ada.page.locator("h1")).to_have_text(name.lower())
    expect(ada.page.locator(".title .topic")).to_have_text("for <tea>")
    current = ada.page.locator("#room-list a[aria-current]")
    expect(current).to_have_text(name.lower().replace("#", "#\u00a0"))
    ada.is_live()
    ada.say("first")
    ada.hears("first")


# --- pictures


def age(room: Room, ages: list[int]) -> None:
    """Make what was said older by so many ms, and give the room its topic."""
    room.daemon.terminate()
    with sqlite3.connect(room.daemon.data / "chat.sqlite") as database:
        database.execute("UPDATE rooms SET topic = 'Everybody lands here. Be kind, say hello.'")
        ids = [id for (id,) in database.execute("SELECT id FROM records ORDER BY id")]
        for id, ms in zip(ids, ages, strict=True):
            database.execute("UPDATE records SET at = at - ? WHERE id = ?", (ms, id))
    database.close()
    room.daemon.start()


def converse(room: Room, ada: Visitor, present: ExitStack) -> None:
    """What the pictures show: two days, who came, a line that waits and one that was not sent."""
    said = {
        "The proxy at the office buffers everything again. "
        "Long poll took over by itself, nothing lost.": 25 * HOUR,
        "Moving back to the frame now — same cursor.": 25 * HOUR - 60_000,
        "Deploy at ten, the notes are at https://release.example/26. You should not notice.": HOUR,
    }
    for number, text in enumerate(said):
        room.say("Grace" if number == 2 else "Ada", text)
    age(room, list(said.values()))
    for name in ("release-26", "support", "茶水間"):
        make_room(room.daemon, name)
    for name in ("Grace", "Linus"):
        head = {"Authorization": f"Bearer {room.token(name)}"}
        path = "/api/v1/events/stream?rooms=lobby"
        present.enter_context(Held(room.daemon.port, path, headers=head)).until(b"hello")
    ada.go(room.url)
    ada.is_live("frame")
    ada.go("about:blank")
    room.say("Linus", "I did not notice. 2 s of silence, then the whole backlog, in order 🙂")
    ada.go(room.url)
    ada.is_live("frame")
    for name in ("Margaret", "Dennis", "Barbara"):
        once(room.daemon.port, "GET", "/api/v1/rooms/lobby/people", token=room.token(name))
    expect(ada.page.locator(".status")).to_have_text("Margaret and 2 others came")
    posts = "**/api/v1/rooms/*/messages"
    # Not one that passes: that would be sent again as soon as the line is looked at.
    refusal = {"status": 403, "json": {"detail": NOT_NOW}}
    ada.page.route(posts, lambda route: route.fulfill(**refusal), times=1)
    ada.say("And the plot.")
    expect(ada.page.locator(".failed .actions")).to_be_visible()

    def hold(route: Route) -> None:
        """Let it wait."""

    ada.page.route(posts, hold)
    ada.say("那就好。Writing the note for the changelog.")
    once(room.daemon.port, "POST", "/api/v1/rooms/lobby/typing", token=room.token("Grace"), body={})
    expect(ada.page.locator("#typing")).to_have_text("Grace is typing…")


def test_pictures(lobby_visits: Visits) -> None:
    room = lobby_visits.room
    ada = lobby_visits.come("Ada", color_scheme="light", locale="en-GB")
    room.tokens["Ada"] = ada.token
    with ExitStack() as present:
        converse(room, ada, present)
        for name, width, height, colours in LOOKS:
            ada.page.set_viewport_size({"width": width, "height": height})
            ada.page.emulate_media(color_scheme=colours)
            expect(ada.page.locator(".pending")).to_be_in_viewport()
            ada.page.screenshot(path=PICTURES / f"{name}.png")
        ada.page.unroute_all(behavior="ignoreErrors")
    ada.forgive_all()
