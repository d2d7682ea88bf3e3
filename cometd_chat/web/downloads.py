"""Long answers that are written as they are read.

What it is: `send_pages`, from pages to the body of a response, at the pace of its reader.

What it may know: requests. Not what is in the pages.

Invariant: the next page is not asked for before the connection has taken what was written; a reader
who leaves ends it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from cometd_chat.transports.limited_request import LimitedRequest


@implementer(IPushProducer)
class _Pace:
    """Whether a connection takes more."""

    def __init__(self) -> None:
        self._goes_on: Deferred[None] | None = None

    async def wait(self) -> None:
        """Wait until it does."""
        if self._goes_on is not None:
            await self._goes_on

    def pauseProducing(self) -> None:
        if self._goes_on is None:
            self._goes_on = Deferred()

    def resumeProducing(self) -> None:
        waiting, self._goes_on = self._goes_on, None
        if waiting is not None:
            waiting.callback(None)

    def stopProducing(self) -> None:
        """The connection is lost; Klein cancels what waits."""


async def send_pages(request: LimitedRequest, kind: str, pages: AsyncIterator[bytes]) -> None:
    """Answer with pages. The connection ends in the middle when one of them can't be had, so that
    nobody takes a part for the whole.

    :param kind: their media type.
    """
    # The first one, before anything is said: what is refused is refused as anything else.
    page = await anext(pages, b"")
    request.setHeader("content-type", kind)
    request.setHeader("cache-control", "no-store")
    pace = _Pace()
    request.registerProducer(pace, True)
    try:
        request.write(page)
        async for page in pages:
            await pace.wait()
            if page:
                request.write(page)
    except CancelledError:
        raise
    except BaseException:
        request.cut()
        raise
    finally:
        request.tell_no_more()
