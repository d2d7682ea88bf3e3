"""A tab of a browser that is driven from outside, by whatever it has for that.

What it is: `ScriptedPage`, what can be looked at and done on a page once there is a way to run a
script in it, to click and to press keys.

What it may know: HTML. Nothing of the chat, nor of any one browser.

Invariant: whatever is waited for has a limit.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any

from tests.support import PATIENCE

#: Keys, as WebDriver names them (section 17.4.2).
ENTER, ESCAPE = "\ue007", "\ue00c"

#: Whether the one element is shown, at rest, and nothing lies over its middle.
_CLICKABLE = """
(async () => {
  const [element] = document.querySelectorAll(args[0]);
  const place = () => JSON.stringify(element.getBoundingClientRect());
  if (!element?.getClientRects().length || element.disabled) return false;
  element.scrollIntoView({ block: "nearest", inline: "nearest", behavior: "instant" });
  const before = place();
  await new Promise((resolve) => setTimeout(resolve, 20));
  const { x, y, width, height } = element.getBoundingClientRect();
  const hit = document.elementFromPoint(x + width / 2, y + height / 2);
  return place() === before && element.contains(hit);
})()
"""


class ScriptedPage(ABC):
    """A tab."""

    @abstractmethod
    def go(self, url: str) -> None:
        """Go to a page, and wait until it has loaded."""

    @abstractmethod
    def back(self) -> None:
        """Go back in the tab's history."""

    @abstractmethod
    def forward(self) -> None:
        """Go forward in the tab's history."""

    @abstractmethod
    def close(self) -> None:
        """Close the tab."""

    @abstractmethod
    def evaluate(self, expression: str, *arguments: str) -> Any:
        """The value of an expression, as JSON; ``arguments`` are in ``args``."""

    @abstractmethod
    def press(self, selector: str) -> None:
        """Press the mouse on the middle of an element and release it, wherever that is now."""

    @abstractmethod
    def write(self, text: str) -> None:
        """Press the keys of a text."""

    def click(self, selector: str) -> None:
        """Click an element with the mouse as soon as it is there to be clicked."""
        self.wait(_CLICKABLE, selector)
        self.press(selector)

    def wait(self, expression: str, *arguments: str) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.evaluate(expression, *arguments):
            assert time.monotonic() < deadline, f"never true: {expression} {arguments}"
            time.sleep(0.05)

    def texts(self, selector: str) -> list[str]:
        """The text of each element that there is."""
        found = "[...document.querySelectorAll(args[0])].map((each) => each.textContent)"
        return [str(each) for each in self.evaluate(found, selector)]

    def text(self, selector: str) -> str:
        """The text of the one element."""
        (text,) = self.texts(selector)
        return text

    def wait_text(self, selector: str, text: str) -> None:
        """Wait until an element has this text."""
        self.wait("document.querySelector(args[0])?.textContent === args[1]", selector, text)
