"""Debian's Chromium, for tests that look at pages.

What it is: one browser for all tests of a process, started when the first one asks for it: all that
pages are to Chromium, but without the window that a person has around them, which takes more of a
processor than they do. `whole_chromium` has it, for what is shown there.

Invariant: Playwright is started once in a process. It leaves a running event loop behind, beside
which it can't be started a second time.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

PROGRAM = "/usr/bin/chromium-headless-shell"
WHOLE = "/usr/bin/chromium"

#: A name of this machine that is none of a secure context's, to them.
NAMED = "chat.test"

#: The last two are pages of the browser's own below its address bar, which nobody sees here and
#: each window loads: they cost twice what a page of ours does. The others are what Playwright turns
#: off, whose list is lost by another.
WITHOUT = (
    "AimEnabled",
    "AvoidCorsURLLoaderRestartOnRedirect",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades",
    "LensOverlay",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    "ThirdPartyStoragePartitioning",
    "WebUIOmniboxAimPopup",
    "WebUIOmniboxPopup",
)
#: What Playwright turns on, whose list is lost by another; and the network in the browser's own
#: process, where what puts pages together is as well: each in a process of its own takes a seventh
#: more to start the browser and look at a few pages.
WITH = ("CDPScreenshotNewSurface", "NetworkServiceInProcess2")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--in-process-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--enable-features={','.join(WITH)}",
    f"--disable-features={','.join(WITHOUT)}",
    f"--host-resolver-rules=MAP {NAMED} 127.0.0.1",
]


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """What drives them."""
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """The browser; who wants cookies of their own makes a context in it."""
    browser = playwright.chromium.launch(executable_path=PROGRAM, args=ARGUMENTS)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def whole_chromium(playwright: Playwright) -> Iterator[Browser]:
    """One with tabs, their pictures and an address bar, though nobody sees them."""
    browser = playwright.chromium.launch(executable_path=WHOLE, args=ARGUMENTS)
    yield browser
    browser.close()
