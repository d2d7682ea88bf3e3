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
    def click(self, selector: str) -> None:
        """Click an element with the mouse."""

    @abstractmethod
    def write(self, text: str) -> None:
        """Press the keys of a text."""

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
