"""What a device calls itself, in words that its owner knows it by.

What it is: from the header User-Agent to a few words.

What it may know: requests. Nothing of who sends them.

Invariant: it is short, and nothing that a terminal or a page must not be shown.
"""

from __future__ import annotations

from cometd_chat.transports.request import HttpRequest

#: What stands in the header, and what that is called. Browsers name each other: the first counts.
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("Lynx/", "lynx"),
    ("w3m/", "w3m"),
    ("ELinks/", "ELinks"),
    ("Links ", "links"),
    ("curl/", "curl"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Macintosh", "Mac"),
    ("Linux", "Linux"),
)

#: Characters, of what is none of these.
MOST = 60


def agent_of(request: HttpRequest) -> str:
    """What a request's device is called; empty when it says nothing."""
    return called(request.getHeader("user-agent") or "")


def called(said: str) -> str:
    """What a device is called that says this of itself, such as ``Firefox on Linux``."""
    browser = _first(said, _BROWSERS)
    if browser:
        system = _first(said, _SYSTEMS)
        return f"{browser} on {system}" if system else browser
    name = said.partition("(")[0].partition("/")[0]
    return "".join(each for each in name if each.isprintable()).strip()[:MOST]


def _first(said: str, table: tuple[tuple[str, str], ...]) -> str:
    return next((name for sign, name in table if sign in said), "")
