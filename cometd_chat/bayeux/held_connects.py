"""The connects that are held: how many, until when, and how many by each browser.

What it is: `HeldConnects`, which holds a connect and lets go of it again.

What it may know: connects, the reaper. Not what they are answered with.

Invariant: a connect that is held is looked at when its time is over, and counts once.
"""

from __future__ import annotations

from cometd_chat.bayeux.paths import HeldByBrowser, MetaConnect
from cometd_chat.comet.reaper import Reaper


class HeldConnects:
    """All of them.

    :param most_by_browser: so many should one browser hold.
    """

    def __init__(self, reaper: Reaper, most_by_browser: int) -> None:
        #: How many there are.
        self.count = 0
        self._reaper = reaper
        self._by_browser = HeldByBrowser(most_by_browser)

    def hold(self, connect: MetaConnect, seconds: float) -> None:
        """Hold one for so long at most."""
        path = connect.path
        path.held = connect
        self.count += 1
        if connect.browser is not None:
            self._by_browser.hold(connect.browser, path)
        connect.until = self._reaper.seconds() + seconds
        if not connect.due_bucket:
            self._reaper.schedule(connect, seconds)

    def release(self, connect: MetaConnect) -> None:
        """It is held no longer, if it was. One that may come again stays in the sweep."""
        path = connect.path
        if path.held is connect:
            path.held = None
            self.count -= 1
            if connect.standing is None:
                self._reaper.cancel(connect)
            if connect.browser is not None:
                self._by_browser.release(connect.browser, path)

    def forget(self, connect: MetaConnect) -> None:
        """It is held no longer, if it was, and does not come again."""
        self.release(connect)
        self._reaper.cancel(connect)
        standing, connect.standing = connect.standing, None
        if standing is not None:
            standing.exchange.forget()

    def is_full(self, connect: MetaConnect) -> bool:
        """Whether the browser that one comes from holds as many as it should."""
        browser = connect.browser
        return browser is not None and self._by_browser.is_full(browser)
