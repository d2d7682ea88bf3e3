"""Reading in Chromium: what is shown where, and that nothing jumps, doubles or turns to markup."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Route, expect

from cometd_chat.web.transcript import colour_of, initials_of
from tests.bounds import frame_of, most_behind
from tests.browser.conftest import MakeWindow, room_numbers
from tests.browser.small_page import KEEP, LUMP, keep_few
from tests.browser.tabs import held
from tests.browser.visits import Room, Visitor, Visits, make_room
from tests.daemon.talk import Held, once, wait_until
from tests.support import Daemon

pytestmark = pytest.mark.slow

LINKS: list[tuple[str, list[tuple[str, str]]]] = json.loads(
    (Path(__file__).parent.parent / "web/links.json").read_text("utf-8")
)
#: Events after which a frame of the small daemon ends, and how far a reader may fall behind there.
FRAME, MOST_BEHIND = 200, 300
MINUTE = 60_000
DAY = 24 * 60 * MINUTE

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "</textarea></p><b>bold</b><style>*{display:none}</style>",
    "<iframe srcdoc='<script>parent.alert(1)</script>'></iframe>",
    "&lt;b&gt; &amp; {{7*7}} ${7*7} %3Cb%3E",
    "line\u2028separator\u2029paragraph \u202e overridden \u202c",
    "<!-- --><![CDATA[ ]]>",
    "a\tb",
    "🧑‍🚀 日本語 עברית العربية",
]


def numbers(texts: list[str]) -> list[int]:
    """The numbers at the ends of lines."""
    return [int(text.rpartition(" ")[2]) for text in texts]


def place(line: Locator) -> float:
    """How far below the top of the window a line begins when the next frame is drawn, px."""
    y: float = line.evaluate(
        """async line => {
            await new Promise(requestAnimationFrame);
            return line.getBoundingClientRect().y;
        }"""
    )
    return y


def hide(visitor: Visitor, hidden: bool) -> None:
    """The tab is put behind another, or before it; a browser without a screen hides none."""
    visitor.page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def scroll_up(visitor: Visitor, by: int) -> None:
    """Turn the wheel over the conversation."""
    visitor.page.locator("#scroller").hover()
    visitor.page.mouse.wheel(0, -by)


def set_back(daemon: Daemon, ages: Callable[[str], int]) -> None:
    """Make messages older, while the daemon is stopped; ``ages`` gives the ms by the text."""
    daemon.terminate()
    with sqlite3.connect(daemon.data / "chat.sqlite") as database:
        for id, text in database.execute(
            "SELECT id, json_extract(data, '$.text') FROM records"
        ).fetchall():
            database.execute("UPDATE records SET at = at - ? WHERE id = ?", (ages(text), id))
    database.close()
    daemon.start()


def test_what_people_write_is_text(visits: Visits, room: Room) -> None:
    ada = visits.borrow("Ada")
    for text in HOSTILE:
        room.say("Mallory", text)
    for came in ("before", "after"):
        ada.hears(HOSTILE[-1])
        assert ada.lines() == HOSTILE, came
        # What turns the direction of letters is shut in.
        inside = ada.page.locator(".message .text :not(bdi), .message .name *")
        expect(inside).to_have_count(0)
        assert ada.page.evaluate("document.querySelectorAll('iframe').length") == 1
        if came == "before":
            ada.page.reload()
            ada.is_live()
    # What she sends herself goes another way at first.
    for text in HOSTILE[:4]:
        ada.say(text)
    expect(ada.page.locator(".message[data-id]")).to_have_count(len(HOSTILE) + 4)
    expect(inside).to_have_count(0)
    ada.page.reload()
    ada.is_live()
    expect(ada.page.locator(".message[data-id]")).to_have_count(len(HOSTILE) + 4)
    expect(inside).to_have_count(0)


def test_names_have_their_colours_and_links_are_those_of_the_server(
    visits: Visits, room: Room
) -> None:
    names = ["Zoë", "日本", "Иван", "a.b-c_d", "ß", "ﬁn".replace("ﬁ", "fi"), "x", "עברית", "9lives"]
    ada = visits.borrow("Ada")
    for name in names:
        room.say(name, f"I am {name}")
    last = ada.page.locator(".message[data-id]").nth(len(names) - 1)
    expect(last).to_be_visible()
    shown = ada.page.locator(".message[data-id]").evaluate_all(
        """lines => lines.map(line => {
            const square = line.querySelector(".avatar");
            const name = line.querySelector(".name").textContent;
            return [name, square.className, square.dataset.initials];
        })"""
    )
    wanted = [[name, f"avatar colour-{colour_of(name)}", initials_of(name)] for name in names]
    assert shown == wanted
    # The server's own lines are the same.
    own = ada.page.evaluate(
        """async () => {
            const answer = await fetch(location.href);
            const page = new DOMParser().parseFromString(await answer.text(), "text/html");
            return [...page.querySelectorAll(".message")].map(line => {
                const square = line.querySelector(".avatar");
                const name = line.querySelector(".name").textContent;
                return [name, square.className, square.dataset.initials];
            });
        }"""
    )
    assert own == wanted
    table = [(text, pieces) for text, pieces in LINKS if text]
    for text, _ in table:
        room.say("Grace", text)
    expect(ada.page.locator(".message[data-id]")).to_have_count(len(names) + len(table))
    # Text that is in several nodes is one piece.
    pieces = """texts => texts.map(text => Array.from(text.childNodes).reduce((pieces, node) => {
        const href = node.nodeName === "A" ? node.getAttribute("href") : "";
        const last = pieces.at(-1);
        if (last && !last[1] && !href) last[0] += node.textContent;
        else if (node.textContent) pieces.push([node.textContent, href]);
        return pieces;
    }, []))"""
    texts = ada.page.locator(".message .text")
    assert texts.evaluate_all(pieces)[len(names) :] == [
        [list(piece) for piece in pieces] for _, pieces in table
    ]
    for link in ada.page.locator(".message .text a").all():
        assert link.get_attribute("rel") == "noopener noreferrer nofollow"
        assert link.get_attribute("target") == "_blank"
        assert re.match("https?:|mailto:", link.get_attribute("href") or "", re.I)


def test_finding_links_takes_as_long_as_the_text(
    make_window: MakeWindow, shared_daemon: Daemon
) -> None:
    """A reader's page stood still for a quarter of a second for each message of brackets. Counted
    in letters that are looked at or copied, since a busy machine makes of seconds what it likes."""
    letters = """async () => {
        const { linkify } = await import("/static/links.js");
        const text = "http://a" + ").".repeat(4_000);
        const { slice, split, indexOf } = String.prototype;
        let letters = 0;
        String.prototype.slice = function (...range) {
            const part = slice.apply(this, range);
            letters += part.length;
            return part;
        };
        String.prototype.split = function (...by) {
            letters += this.length;
            return split.apply(this, by);
        };
        String.prototype.indexOf = function (what, from = 0) {
            const at = indexOf.call(this, what, from);
            letters += (at < 0 ? this.length : at) - from;
            return at;
        };
        const pieces = linkify(text);
        Object.assign(String.prototype, { slice, split, indexOf });
        return [letters / text.length, pieces.length];
    }"""
    # The page of a file has no policy that would keep a test's scripts out.
    page = make_window().tab(f"{shared_daemon.url}/static/links.js").page
    times, pieces = page.evaluate(letters)
    assert pieces == 2
    assert times < 20


def test_reading_above_is_not_disturbed(visits: Visits, room: Room) -> None:
    room.say_all("Grace", [f"line {n}" for n in range(40)])
    ada = visits.borrow("Ada")
    expect(ada.page.locator("#jump")).to_be_hidden()
    scroll_up(ada, 600)
    jump = ada.page.locator("#jump")
    expect(jump).to_have_text("To the newest ↓")
    line = ada.page.get_by_text("line 20", exact=True)
    before = place(line)
    for n in range(40, 43):
        room.say("Grace", f"line {n}")
        ada.hears(f"line {n}")
    assert place(line) == pytest.approx(before, abs=1)
    expect(jump).to_have_text("3 new messages ↓")
    # What is new begins at a line that says so.
    new = ada.page.locator(".new + .message .text")
    expect(new).to_have_text("line 40")
    jump.click()
    expect(jump).to_be_hidden()
    expect(ada.page.get_by_text("line 42", exact=True)).to_be_in_viewport()
    # At the end again, it stays there.
    room.say("Grace", "line 43")
    expect(ada.page.get_by_text("line 43", exact=True)).to_be_in_viewport()
    expect(jump).to_be_hidden()


def test_lines_that_come_together_cost_one_look(visits: Visits, room: Room) -> None:
    """Each was a layout, and was written down: a lively room took 9 ms of a processor a line."""
    room.say_all("Grace", [f"line {n}" for n in range(40)])
    ada = visits.come("Ada")
    ada.page.clock.install()
    ada.go(room.url)
    ada.is_live()
    # No frame is drawn from here on but by the test.
    ada.page.clock.pause_at(ada.page.evaluate("Date.now() + 1000"))
    ada.page.evaluate(
        """() => {
            window.looks = { height: 0, kept: 0 };
            const count = (target, name, kind) => {
                const real = Object.getOwnPropertyDescriptor(target, name);
                const way = real.get ? "get" : "value";
                Object.defineProperty(target, name, {
                    ...real,
                    [way]: function (...given) {
                        // Which transport a line had, that was opened anew meanwhile, is another
                        // thing to keep.
                        if (this !== sessionStorage) looks[kind]++;
                        return real[way].apply(this, given);
                    },
                });
            };
            count(Element.prototype, "scrollHeight", "height");
            count(Storage.prototype, "setItem", "kept");
        }"""
    )

    def come(first: int, last: int) -> dict[str, int]:
        ada.page.evaluate("looks.height = looks.kept = 0")
        room.say_all("Grace", [f"line {n}" for n in range(first, last)])
        ada.hears(f"line {last - 1}")
        looks: dict[str, int] = ada.page.evaluate("looks")
        return looks

    assert come(40, 70) == {"height": 0, "kept": 0}
    ada.page.clock.run_for(100)
    assert ada.page.evaluate("looks.kept") == 1
    scroll_up(ada, 600)
    expect(ada.page.locator("#jump")).to_be_visible()
    ada.page.clock.run_for(100)
    line = ada.page.get_by_text("line 50", exact=True)
    before = line.evaluate("line => line.getBoundingClientRect().y")
    assert come(70, 100) == {"height": 1, "kept": 0}
    ada.page.clock.run_for(100)
    assert line.evaluate("line => line.getBoundingClientRect().y") == pytest.approx(before, abs=1)
    expect(ada.page.locator("#jump")).to_have_text("30 new messages ↓")


def test_older_lines_load_without_a_jump(visits: Visits, room: Room) -> None:
    room.say_all("Grace", [f"line {n}" for n in range(230)])
    ada = visits.borrow("Ada")
    lines = ada.page.locator(".message[data-id]")
    shown = lines.count()
    assert 40 <= shown <= 150
    # Its name goes when lines of the same author come above it; what is read is its text.
    text = ada.page.get_by_text(f"line {230 - shown}", exact=True)
    text.scroll_into_view_if_needed()
    before = place(text)

    wait_until(lambda: lines.count() > shown, "older lines")
    assert place(text) == pytest.approx(before, abs=1)

    def all_come() -> bool:
        scroll_up(ada, 3000)
        return lines.count() == 230

    wait_until(all_come, "all lines")
    assert numbers(ada.lines()) == list(range(230))


def test_a_page_of_large_messages_is_filled_up(visits: Visits, room: Room) -> None:
    """The server's page holds 256 KiB of messages, which is some 30 of these."""
    for number in range(61):
        room.say("Bob", f"{number} {'x' * 7990}")
    ada = visits.borrow("Ada")
    expect(ada.page.locator(".message[data-id]").nth(59)).to_be_attached()
    lines = ada.lines()
    assert [int(line.split()[0]) for line in lines] == list(range(61 - len(lines), 61))
    assert ada.page.evaluate("document.getElementById('scroller').scrollTop") == 0


def test_what_is_unread_is_counted_in_the_title_and_marked_elsewhere(
    visits: Visits, room: Room
) -> None:
    ada = visits.borrow("Ada")
    room.say("Grace", "seen")
    ada.hears("seen")
    title = f"#{room.name} · Comet Chat"
    expect(ada.page).to_have_title(title)
    hide(ada, True)
    room.say("Grace", "unseen")
    expect(ada.page).to_have_title(f"(1) {title}")
    room.say("Linus", "unseen too")
    expect(ada.page).to_have_title(f"(2) {title}")
    hide(ada, False)
    expect(ada.page).to_have_title(title)
    expect(ada.page.locator(".new + .message .text")).to_have_text("unseen")
    # In another room.
    ada.go(ada.room.daemon.url)
    ada.is_live()
    link = ada.page.locator(f"#room-list a[data-room={room.name}]")
    expect(link).to_be_visible()
    expect(link).not_to_have_class("unread")
    room.say("Grace", "not read")
    ada.page.reload()
    expect(link).to_have_class("unread")
    link.click()
    expect(ada.page.locator(".new + .message .text")).to_have_text("not read")


def test_an_empty_room_says_what_to_do_and_folds_who_comes_and_goes(
    visits: Visits, room: Room
) -> None:
    ada = visits.borrow("Ada")
    empty = ada.page.locator(".empty")
    commands: Any = empty.locator("code").all_text_contents()
    assert room.url in commands
    assert f"curl -N '{room.url}.txt'" in commands
    assert f"curl -d hi '{room.url}.txt?name=you'" in commands
    port = room.daemon.port
    with ExitStack() as present:
        for name in ("Grace", "Linus", "Margaret"):
            head = {"Authorization": f"Bearer {room.token(name)}"}
            held = Held(port, f"/api/v1/events/stream?rooms={room.name}", headers=head)
            present.enter_context(held).until(b"hello")
        status = ada.page.locator(".status")
        expect(status).to_have_text("Grace and 2 others came")
        expect(ada.page.locator("#people-total")).to_have_text("4")
        people = ada.page.locator("#people-list li")
        expect(people).to_have_text(["Ada", "Grace", "Linus", "Margaret"])
        once(port, "DELETE", "/api/v1/session", token=room.tokens.pop("Margaret"))
        expect(status).to_have_text("Grace and Linus came")
        room.say("Grace", "hello")
        ada.hears("hello")
        expect(empty).to_have_count(0)
        once(port, "DELETE", "/api/v1/session", token=room.tokens.pop("Linus"))
        expect(status).to_have_text(["Grace and Linus came", "Linus left"])
        expect(people).to_have_text(["Ada", "Grace"])


def test_days_and_authors_are_grouped(lobby_visits: Visits, daemon: Daemon) -> None:
    room = lobby_visits.room
    ages = {
        "long ago": 40 * DAY,
        "yesterday": DAY + 4 * MINUTE,
        "soon after": DAY + MINUTE,
        "by another": DAY,
        "today": 8 * MINUTE,
        "later than five minutes": 0,
    }
    for text in ages:
        room.say("Grace" if text == "by another" else "Linus", text)
    set_back(daemon, ages.__getitem__)
    # Where it is about noon, so that a few minutes ago is the same day.
    hours = 12 - datetime.now(timezone.utc).hour
    ada = lobby_visits.enter("Ada", timezone_id=f"Etc/GMT{-hours:+d}", locale="en-GB")
    first = ada.page.locator(".message.first .text")
    alone = [text for text in ages if text != "soon after"]
    expect(first).to_have_text(alone)
    labels = ada.page.locator(".day").all_text_contents()
    assert labels[-2:] == ["Yesterday", "Today"]
    assert len(labels) == 3
    # Her own time, and the whole date where she points at it.
    time = ada.page.locator(".message time").last
    said_at = datetime.fromisoformat((time.get_attribute("datetime") or "").replace("Z", "+00:00"))
    there = said_at + timedelta(hours=hours)
    assert time.text_content() == f"{there:%H:%M}"
    assert f"{there.day} {there:%B %Y} at {there:%H:%M:%S}" in (time.get_attribute("title") or "")


@pytest.fixture(scope="module")
def small_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon whose frames grow no longer, and whose readers fall no further behind than this."""
    bounds = frame_of(FRAME) + most_behind(MOST_BEHIND)
    directory = tmp_path_factory.mktemp("daemon")
    with Daemon(directory, "--heartbeat=2", "--limits=off", before=bounds) as running:
        yield running


@pytest.fixture
def small_visits(chromium: Browser, small_daemon: Daemon) -> Iterator[Visits]:
    """Who visits a room of the test's own there."""
    those = Visits(chromium, make_room(small_daemon, f"room-{next(room_numbers)}"))
    yield those
    those.close()


def test_many_lines_come_once(small_visits: Visits, small_daemon: Daemon) -> None:
    room = small_visits.room
    ada = small_visits.come("Ada")
    keep_few(ada.page)
    ada.go(room.url)
    ada.is_live()
    frames: list[str] = []
    ada.page.on("request", lambda each: frames.append(each.url) if "/frame?" in each.url else None)
    ada.page.evaluate(
        """() => {
            window.placed = [];
            const note = ({ addedNodes }) => {
                for (const node of addedNodes) {
                    if (node.dataset?.id) window.placed.push(Number(node.dataset.id));
                }
            };
            new MutationObserver(those => those.forEach(note))
                .observe(document.getElementById("log"), { childList: true });
        }"""
    )
    many = FRAME + 40
    for start in range(0, many, many // 4):
        room.say_all("Grace", [f"line {n}" for n in range(start, start + many // 4)])
        ada.hears(f"line {start + many // 4 - 1}")
    placed = ada.page.evaluate("window.placed")
    assert len(placed) == many
    assert placed == sorted(set(placed))
    wait_until(lambda: len(frames) >= 1, "another frame, since the first has grown large")
    wait_until(lambda: held(small_daemon, "frame") == 1, "one frame")
    ada.is_live("frame")
    room.say("Grace", f"line {many}")
    ada.hears(f"line {many}")
    shown = numbers(ada.lines())
    # The page does not grow for ever.
    assert KEEP <= len(shown) < KEEP + 3 * LUMP
    assert shown == list(range(many + 1 - len(shown), many + 1))


def test_a_gap_is_shown_and_loads(small_visits: Visits) -> None:
    room = small_visits.room
    room.say("Grace", "line 0")
    ada = small_visits.come("Ada")
    ada.page.route("**/api/v1/events/**", lambda route: route.abort())
    ada.go(room.url)
    newest = 540
    assert newest > MOST_BEHIND
    room.say_all("Grace", [f"line {n}" for n in range(1, newest + 1)])
    ada.page.unroute("**/api/v1/events/**")
    ada.is_live()
    ada.hears(f"line {newest}")
    gap = ada.page.locator(".gap")
    expect(gap).to_contain_text("340 messages left out.")
    assert numbers(ada.lines()) == [0, *range(341, 541)]
    gap.get_by_role("button", name="Load").click()
    expect(gap).to_contain_text("140 messages left out.")
    assert numbers(ada.lines()) == [0, *range(141, 541)]
    ada.forgive_all()


def test_a_restored_backup_is_shown_as_it_is(lobby_visits: Visits, daemon: Daemon) -> None:
    room = lobby_visits.room
    room.say("Grace", "saved")
    ada = lobby_visits.enter("Ada")
    ada.hears("saved")
    daemon.terminate()
    shutil.copytree(daemon.data, daemon.directory / "backup")
    daemon.start()
    ada.is_live()
    room.say("Grace", "lost with the disk")
    ada.hears("lost with the disk")
    daemon.terminate()
    shutil.rmtree(daemon.data)
    (daemon.directory / "backup").rename(daemon.data)
    held: list[Route] = []
    ada.page.route(
        "**/rooms/lobby/messages",
        lambda route: held.append(route) if route.request.method == "GET" else route.continue_(),
    )
    daemon.start()

    def is_asked_for() -> bool:
        ada.page.wait_for_timeout(10)
        return bool(held)

    wait_until(is_asked_for, "the history is asked for")
    # It has the id of what was lost, and is told before an answer comes that does not have it yet.
    history = held[0].fetch()
    room.say("Grace", "said since")
    ada.hears("said since")
    held[0].fulfill(response=history)
    ada.hears("saved")
    assert ada.lines() == ["saved", "said since"]
    ada.is_live()
    ada.say("goes on")
    ada.hears("goes on")
    ada.forgive_all()


def test_who_has_no_name_reads_along(make_window: MakeWindow, room: Room) -> None:
    room.say("Grace", "for all")
    tab = make_window().tab(room.url)
    tab.is_live()
    tab.hears("for all")
    room.say("Grace", "for all, live")
    tab.hears("for all, live")
    expect(tab.page.locator(".composer")).to_contain_text("You are reading along.")
