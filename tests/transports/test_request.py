"""Both ways of a request keep the same seam."""

from __future__ import annotations

import pytest

from cometd_chat.fastlane.request import LaneRequest
from cometd_chat.transports.limited_request import LimitedRequest
from cometd_chat.transports.request import HoldableRequest, HttpRequest, UpgradableRequest


def by_the_lane(request: LaneRequest) -> HttpRequest:
    """mypy refuses this line when the lane's request lacks something."""
    return request


def by_klein(request: LimitedRequest) -> UpgradableRequest:
    """mypy refuses this line when Klein's request lacks something."""
    return request


#: Those that are set on each request, and not in its class.
OWN = {
    LaneRequest: set(LaneRequest.__slots__),
    LimitedRequest: {
        *("method", "path", "uri", "clientproto", "requestHeaders", "responseHeaders"),
        *("received_cookies", "transport", "began"),
    },
}


@pytest.mark.parametrize("way", [LaneRequest, LimitedRequest])
@pytest.mark.parametrize("seam", [HoldableRequest, HttpRequest])
def test_a_request_has_all_that_the_seam_names(way: type, seam: type) -> None:
    names = {name for name in [*vars(seam), *seam.__annotations__] if not name.startswith("_")}
    assert len(names) > 10
    assert {name for name in names if not hasattr(way, name)} <= OWN[way]


def test_a_request_whose_channel_is_gone_has_lost_its_peer() -> None:
    """Twisted takes the channel from it; the sweep may look at what it held once more."""
    request = LimitedRequest.__new__(LimitedRequest)
    request.channel = None  # type: ignore[assignment]
    assert request.notice_end()
