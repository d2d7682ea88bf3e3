"""What the client makes of a line's signs of life: dead, held back on the way, or well."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.tabs import Window
from tests.support import Daemon

#: Seconds of silence before it, and what comes then; a message is the seconds after which it was
#: said.
Signs = list[tuple[float, str | float]]

#: Moves a clock by hand, lets things come, and gives the verdict of each moment, the last one kept.
JUDGE = """
async ([transport, signs, silence]) => {
  const { TRANSPORTS } = await import("/static/transports.js");
  const { Line } = await import("/static/line.js");
  let now = Date.UTC(2026, 10, 21);
  const start = now;
  performance.now = () => now - start + 1000;
  TRANSPORTS[transport].open = () => ({ close() {}, alive: () => true });
  const line = new Line(transport, ["lobby"]);
  line.open({});
  let verdict = null;
  const pass = (seconds) => {
    for (const end = now + seconds * 1000; now < end && !verdict; ) {
      now = Math.min(end, now + 1000);
      verdict = line.judge(15000, 6000);
    }
  };
  for (const [after, what] of signs) {
    pass(after);
    const at = typeof what === "number" ? new Date(start + what * 1000).toISOString() : undefined;
    line.heard(at ? { type: "message", at } : { type: what });
    line.openedAt ||= performance.now();
    verdict ??= line.judge(15000, 6000);
  }
  pass(silence);
  return [verdict, (now - start) / 1000];
}
"""

BEATS: Signs = [(0.1, "hello"), (15, "heartbeat"), (15, "heartbeat")]
LUMP: Signs = [(20, 30.0), (0, 36.0), (0, 42.0)]

WELL: dict[str, Signs] = {
    "heartbeats": BEATS,
    "a backlog of hours": [
        (0.1, "hello"),
        *((0.0 if n % 20 else 0.5, 600.0 * n - 60000) for n in range(100)),
    ],
    "a lively talk": [(0.1, "hello"), *((1.0, 0.1 + n) for n in range(60))],
    "two said at once": [*BEATS, *((8.0, 30.0 + n) for n in range(4)), (0, 62.0), (0, 62.1)],
    "one lump, after a sleep": [*BEATS, *LUMP],
}

HELD_BACK: dict[str, Signs] = {
    "nothing": [],
    "only the beginning": [(0.1, "hello")],
    "messages in lumps": [*BEATS, *LUMP, *((wait, 30.0 + float(at)) for wait, at in LUMP)],
    "heartbeats in lumps": [
        (0.1, "hello"),
        (30, "heartbeat"),
        (0, "heartbeat"),
        (30, "heartbeat"),
        (0, "heartbeat"),
    ],
}


@pytest.fixture(scope="module")
def page(chromium: Browser, shared_daemon: Daemon) -> Iterator[Page]:
    """A page of the daemon's origin without a policy, so that the test may load modules in it."""
    window = Window(chromium.new_context())
    page = window.page()
    blank = f"{shared_daemon.url}/blank"
    page.route(blank, lambda route: route.fulfill(content_type="text/html", body=""))
    page.goto(blank)
    yield page
    window.close()
    assert window.errors == []


def judge(
    page: Page, signs: Signs, silence: float, transport: str = "frame"
) -> tuple[dict[str, Any] | None, float]:
    # Its clock and its modules are new.
    page.reload()
    verdict, seconds = page.evaluate(JUDGE, [transport, signs, silence])
    return verdict, seconds


@pytest.mark.slow
@pytest.mark.parametrize("signs", WELL.values(), ids=WELL)
def test_a_line_that_is_well(page: Page, signs: Signs) -> None:
    assert judge(page, signs, 30)[0] is None


@pytest.mark.slow
@pytest.mark.parametrize("signs", HELD_BACK.values(), ids=HELD_BACK)
def test_a_line_that_is_held_back(page: Page, signs: Signs) -> None:
    verdict, _ = judge(page, signs, 60)
    assert verdict is not None
    assert verdict["heldBack"]


@pytest.mark.slow
def test_a_dead_line_is_found_in_time(page: Page) -> None:
    verdict, seconds = judge(page, BEATS, 60)
    assert verdict == {"why": "it fell silent", "heldBack": False}
    # 2.5 heartbeats, and 2 s for what waits when the machine wakes up.
    assert 37.5 + 2 <= seconds - 30.1 <= 37.5 + 4


@pytest.mark.slow
def test_silence_of_a_poll_is_no_sign(page: Page) -> None:
    assert judge(page, [(0.1, "hello")], 300, transport="poll")[0] is None
