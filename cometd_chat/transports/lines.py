"""What somebody wrote, as lines for people: nobody else's line can be faked by it.

What it is: pure functions from a text to what a terminal, or a page without script, shows of it.

What it may know: Unicode. Not events, not HTML.

Invariant: what begins a line of the output is ours, whatever the text holds; and nothing of it
changes the order in which anything else is shown.
"""

from __future__ import annotations

import re

#: What stands before each further line of a message.
INDENT = "  "

#: Ends of lines that are no control characters, as which they would be refused (UAX 14, class BK).
_LINE_ENDS = re.compile("[\u2028\u2029]")

#: What changes how its neighbours are shown and shows nothing itself: directions (UAX 9, property
#: Bidi_Control), the deprecated formats, annotations, and tags, by which a text can carry another
#: one that nobody sees.
_FORMATS = (
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u206a-\u206f\ufff9-\ufffb\U000e0000-\U000e007f"
)
_UNSEEN = re.compile(f"[{_FORMATS}]")

#: What is read from right to left, or changes the direction.
_TURNING = re.compile(
    f"[{_FORMATS}\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff\U0001e800-\U0001efff]"
)


def split(text: str) -> list[str]:
    """The lines of a text, whatever ends them."""
    return _LINE_ENDS.sub("\n", text).split("\n")


def for_terminal(line: str) -> str:
    """A line and what belongs to it, for a terminal: it does what it is told by a byte."""
    return f"\n{INDENT}".join(split(_UNSEEN.sub("", line)))


def turns(text: str) -> bool:
    """Whether a text has to be kept apart from its neighbours, lest it changes their order."""
    return _TURNING.search(text) is not None
