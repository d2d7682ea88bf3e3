"""What a stream makes of hints, deaths, refusals and what it hears: transports that the test holds,
and a clock that it moves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.tabs import Window
from tests.support import Daemon

pytestmark = pytest.mark.slow

#: A stream through transports that do nothing by themselves. `there` says whether the daemon
#: answers.
START = """
async () => {
  window.stream?.stop();
  clearInterval(window.ticking);
  sessionStorage.clear();
  Date.now = window.realNow ??= Date.now;
  const { TRANSPORTS } = await import("/static/transports.js");
  const { Stream } = await import("/static/stream.js");
  Object.assign(window, { lines: [], phases: [], heard: [], there: true, trip: 0 });
  Math.random = () => 1;
  window.fetch = async () => {
    await new Promise((resolve) => setTimeout(resolve, trip));
    if (!there) throw new TypeError("nobody");
    return new Response("{}");
  };
  for (const [name, transport] of Object.entries(TRANSPORTS)) {
    transport.open = (call) => {
      const line = { name, call, closed: false, alive: true };
      lines.push(line);
      return { close: () => (line.closed = true), alive: () => line.alive };
    };
  }
  const transports = ["frame", "stream", "sse"];
  const place = { cursor: "1.abcdef", lastIds: new Map([["lobby", 1]]) };
  const own = { rooms: ["lobby", "dev"], place, backlog: 0, transports };
  const settings = { ...own, origin: location.origin, token: "", client: "" };
  const note = () => phases.push(stream.state.phase);
  const hears = { event: (event) => heard.push(event), state: note };
  window.stream = new Stream(settings, hears);
  window.ticking = setInterval(() => stream.tick(), 1000);
  stream.start();
}
"""

#: Two tabs that hold one request, and what each was told: the ids in its own room.
TABS = """
async () => {
  const { Shared } = await import("/static/leader.js");
  Object.assign(window, { tabs: {}, told: {}, missed: [], deaf: false });
  const say = BroadcastChannel.prototype.postMessage;
  BroadcastChannel.prototype.postMessage = function (word) {
    if (!deaf) say.call(this, word);
  };
  window.fetch = async () => {
    const events = missed.splice(0);
    return new Response(JSON.stringify({ events, cursor: events.at(-1)?.cursor ?? null }));
  };
  for (const room of ["lobby", "dev"]) {
    const place = { cursor: "0.abcdef", lastIds: new Map() };
    const own = { rooms: [room], place, backlog: 0, transports: ["frame"], client: room };
    told[room] = [];
    const hears = { event: ({ id }) => id && told[room].push(id), state() {} };
    tabs[room] = new Shared("tabs", { ...own, origin: location.origin, token: "" }, hears);
    tabs[room].start();
    // The timers stand still.
    while (!tabs.lobby.state.leading) await navigator.locks.query();
  }
}
"""


class Played:
    """A stream in a page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def ask(self, expression: str) -> Any:
        return self.page.evaluate(expression)

    def tell(self, line: int, event: str) -> None:
        """Let something come by a line, counted from 0."""
        self.ask(f"void lines[{line}].call.receive({event})")

    def live(self) -> Played:
        self.tell(0, '{ type: "hello" }')
        self.ask("void (phases.length = 0)")
        return self

    def die(self, line: int, refusal: str = "undefined") -> None:
        """Let a line's transport say that it is over."""
        self.ask(f"void lines[{line}].call.died('it broke off', {refusal})")

    def pass_time(self, seconds: float) -> None:
        self.page.clock.run_for(round(seconds * 1000))

    @property
    def phase(self) -> str:
        return str(self.ask("stream.state.phase"))

    @property
    def phases(self) -> list[str]:
        """All since it was live first."""
        found: list[str] = self.ask("phases")
        return found

    @property
    def open(self) -> list[int]:
        """The lines that are held."""
        found: list[int] = self.ask("[...lines.keys()].filter((n) => !lines[n].closed)")
        return found

    @property
    def wait(self) -> float:
        """Seconds until the next try."""
        return float(self.ask("(stream.state.nextAt - Date.now()) / 1000"))

    @property
    def transport(self) -> str:
        """The one that was opened last."""
        return str(self.ask("lines.at(-1).name"))


@pytest.fixture(scope="module")
def page(chromium: Browser, shared_daemon: Daemon) -> Iterator[Page]:
    window = Window(chromium.new_context())
    page = window.page()
    blank = f"{shared_daemon.url}/blank"
    page.route(blank, lambda route: route.fulfill(content_type="text/html", body=""))
    page.clock.install(time="2026-11-21T12:00:00Z")
    page.clock.pause_at("2026-11-21T13:00:00Z")
    page.goto(blank)
    yield page
    window.close()
    assert window.errors == []


@pytest.fixture
def stream(page: Page) -> Played:
    """One of the test's own; that of the test before it has stopped."""
    page.evaluate(START)
    return Played(page)


class TestAHint:
    def test_that_was_wrong_costs_a_line_and_nobody_sees_it(self, stream: Played) -> None:
        stream.live().ask("void stream.check()")
        assert stream.open == [0, 1]
        stream.pass_time(0.5)
        stream.tell(1, '{ type: "hello" }')
        assert set(stream.phases) == {"live"}
        assert stream.open == [1]
        stream.pass_time(10)
        assert set(stream.phases) == {"live"}

    def test_is_looked_after_once_at_a_time(self, stream: Played) -> None:
        stream.live()
        for _ in range(3):
            stream.ask("void stream.check()")
        assert stream.open == [0, 1]

    def test_that_nothing_speaks_against_ends_being_live(self, stream: Played) -> None:
        stream.live().ask("void stream.check()")
        stream.pass_time(0.7)
        assert stream.phase == "live"
        stream.pass_time(0.3)
        assert stream.phase == "connecting"
        stream.tell(1, '{ type: "hello" }')
        assert stream.phase == "live"

    @pytest.mark.parametrize("after", [0.5, 2])
    def test_is_doubted_while_the_old_line_speaks(self, stream: Played, after: float) -> None:
        stream.live().ask("void stream.check()")
        stream.pass_time(after)
        stream.tell(0, '{ type: "heartbeat" }')
        assert stream.phase == "live"
        # What has come may have waited since before the machine slept.
        assert stream.open == [0, 1]

    @pytest.mark.parametrize(
        "refusal",
        ["undefined", '{ status: 502, detail: "", retryAfter: 0, problem: {} }'],
        ids=["nobody", "a proxy alone"],
    )
    def test_is_right_where_nobody_answers(self, stream: Played, refusal: str) -> None:
        stream.live().ask("void (there = false, stream.check())")
        stream.die(1, refusal)
        assert stream.open == []
        assert stream.phase == "waiting"
        stream.pass_time(0.1)
        assert stream.ask("stream.state.reason") == "the server can't be reached"
        stream.ask("void (there = true)")
        stream.pass_time(1)
        # The transport is not to blame.
        assert stream.open == [2]
        assert stream.transport == "frame"

    def test_ends_with_any_answer_of_the_daemon(self, stream: Played) -> None:
        stream.live().ask("void stream.check()")
        stream.pass_time(1)
        stream.tell(1, '{ type: "error", status: 429, detail: "too many" }')
        stream.die(1)
        assert stream.phase == "live"
        assert stream.open == [0]

    def test_shows_that_the_session_is_over(self, stream: Played) -> None:
        stream.live().ask("void stream.check()")
        stream.tell(1, '{ type: "error", status: 401, detail: "no session" }')
        stream.die(1)
        assert stream.phase == "away"
        assert stream.open == []

    def test_saves_a_line_when_it_was_right(self, stream: Played) -> None:
        stream.live().ask("void stream.check()")
        stream.die(0)
        assert stream.phase == "connecting"
        assert stream.open == [1]
        stream.tell(1, '{ type: "hello" }')
        assert stream.phase == "live"

    def test_says_nothing_new_while_it_waits(self, stream: Played) -> None:
        stream.ask("void (there = false)")
        stream.live().die(0)
        wait = stream.wait
        stream.ask("void stream.check()")
        assert stream.phase == "waiting"
        assert stream.wait == wait
        assert stream.open == []


class TestWaking:
    def test_ends_a_wait(self, stream: Played) -> None:
        stream.live().die(0)
        stream.ask("void stream.wake()")
        assert stream.open == [1]

    def test_begins_a_try_that_hangs_anew(self, stream: Played) -> None:
        stream.live().die(0)
        stream.ask("void stream.wake()")
        stream.pass_time(0.5)
        stream.ask("void stream.wake()")
        assert stream.open == [1]
        stream.pass_time(1)
        stream.ask("void stream.wake()")
        assert stream.open == [2]

    def test_leaves_what_was_sent_away(self, stream: Played) -> None:
        stream.live().tell(0, '{ type: "bye", reason: "replaced" }')
        stream.ask("void stream.wake()")
        assert stream.phase == "away"

    def test_a_post_that_was_taken_ends_a_wait(self, stream: Played) -> None:
        stream.live().die(0)
        stream.ask("void stream.expect('lobby', 2)")
        assert stream.open == [1]


#: What was heard, a line each: the room and the text.
HEARD = "heard.filter(({ id }) => id).map(({ room, text }) => `${room} ${text}`)"


def said(room: str, id: int, text: str = "") -> str:
    """An event of a room, as a server sends it whose cursors say nothing of ids."""
    event = {"type": "message", "room": room, "id": id, "cursor": f"{room}~{id}"}
    return json.dumps({**event, "text": text or str(id)})


class TestRoomsWhoseIdsCanNotBeCompared:
    """A day may come when rooms are kept in logs of their own."""

    @pytest.fixture
    def stream(self, stream: Played) -> Played:
        return stream.live()

    def test_hear_all_and_nothing_twice(self, stream: Played) -> None:
        for event in (said("lobby", 900), said("dev", 7), said("lobby", 901), said("dev", 8)):
            stream.tell(0, event)
        # Another line goes on where the first one was: some of it comes again.
        stream.ask("void stream.check()")
        assert "cursor=dev~8&" in stream.ask("lines[1].call.address('stream')")
        for event in (said("dev", 8), said("lobby", 901), said("dev", 9), said("lobby", 902)):
            stream.tell(1, event)
        texts = ["lobby 900", "dev 7", "lobby 901", "dev 8", "dev 9", "lobby 902"]
        assert stream.ask(HEARD) == texts

    @pytest.mark.parametrize(("room", "id"), [("lobby", 900), ("dev", 7)])
    def test_wait_for_what_was_posted_there(self, stream: Played, room: str, id: int) -> None:
        """Whatever has come in the other room."""
        other, far = ("dev", 5000) if room == "lobby" else ("lobby", 5000)
        stream.tell(0, said(other, far))
        stream.ask(f"void stream.expect('{room}', {id})")
        stream.pass_time(3)
        assert stream.phase == "live"
        stream.pass_time(2)
        assert stream.phase != "live"

    @pytest.mark.parametrize(("room", "id"), [("lobby", 900), ("dev", 7)])
    def test_are_content_once_it_has_come(self, stream: Played, room: str, id: int) -> None:
        stream.ask(f"void stream.expect('{room}', {id})")
        stream.tell(0, said("dev", 7))
        stream.tell(0, said("lobby", 900))
        stream.tell(0, said("dev", 8))
        stream.pass_time(5)
        assert stream.phase == "live"
        assert stream.open == [0]

    def test_begin_anew_in_another_log(self, stream: Played) -> None:
        stream.tell(0, said("lobby", 900))
        stream.tell(0, said("dev", 7))
        stream.tell(0, json.dumps({"type": "reset", "cursor": "new"}))
        assert stream.ask("stream.state.cursor") == "new"
        stream.tell(0, said("lobby", 3, "first"))
        stream.tell(0, said("dev", 2, "first"))
        texts = [each for each in stream.ask(HEARD) if each.endswith("first")]
        assert texts == ["lobby first", "dev first"]

    def test_keep_the_longest_cursor_as_it_is(self, stream: Played) -> None:
        cursor = "a.B_~-9" * 73 + "."
        stream.tell(0, json.dumps({"type": "heartbeat", "cursor": cursor}))
        stream.ask("void stream.check()")
        assert f"cursor={cursor}&" in stream.ask("lines[1].call.address('stream')")

    @pytest.fixture
    def page_of_tabs(self, page: Page) -> Iterator[Page]:
        """They are gone with the document."""
        yield page
        page.reload()

    def test_are_told_to_the_tabs_that_read_them(self, page_of_tabs: Page, stream: Played) -> None:
        """One tab leads and reads the lobby, another one hears of dev from it."""
        page_of_tabs.evaluate(TABS)
        page_of_tabs.wait_for_function("lines.at(-1).call.address('').includes('rooms=lobby,dev&')")
        line = len(stream.ask("lines")) - 1
        stream.tell(line, '{ type: "hello" }')
        page_of_tabs.wait_for_function("tabs.dev.state.phase === 'live'")
        for event in (said("lobby", 900), said("dev", 7), said("lobby", 901), said("dev", 8)):
            stream.tell(line, event)
        page_of_tabs.wait_for_function("told.dev.length > 1")
        assert page_of_tabs.evaluate("told") == {"lobby": [900, 901], "dev": [7, 8]}
        # What the leader hears does not reach the other one, who knows that it was said.
        page_of_tabs.evaluate("void (deaf = true)")
        stream.tell(line, said("dev", 9))
        page_of_tabs.evaluate("void (deaf = false)")
        page_of_tabs.evaluate(
            "void (missed = [{ room: 'dev', id: 9, cursor: 'dev~9', type: 'message' }])"
        )
        page_of_tabs.evaluate("void tabs.dev.expect('dev', 9)")
        stream.pass_time(5)
        page_of_tabs.wait_for_function("told.dev.length > 2")
        assert page_of_tabs.evaluate("told") == {"lobby": [900, 901], "dev": [7, 8, 9]}


def test_waits_begin_anew_at_each_transport_but_not_in_each_round(stream: Played) -> None:
    waits = []
    for _ in range(8):
        stream.die(len(stream.ask("lines")) - 1)
        waits.append((stream.transport, stream.wait))
        stream.pass_time(stream.wait + 0.1)
    assert waits == [
        *(("frame", 0.5), ("frame", 1)),
        *(("stream", 0.5), ("stream", 1)),
        *(("sse", 0.5), ("sse", 1)),
        *(("frame", 4), ("frame", 8)),
    ]


def test_a_slow_network_gets_more_time(stream: Played) -> None:
    stream.ask("void (trip = 4000)")
    # Nothing came by the first transport; then it is asked whether there is a daemon, for 4 s.
    stream.pass_time(12)
    assert stream.transport == "stream"
    stream.pass_time(18)
    assert stream.open == [1]
    stream.tell(1, '{ type: "hello" }')
    assert stream.phase == "live"


def test_silence_is_noticed_though_the_clock_is_set_back(stream: Played) -> None:
    stream.live().ask("void (Date.now = () => 0)")
    stream.pass_time(30)
    assert stream.open == [0]
    stream.pass_time(12)
    assert 0 not in stream.open
