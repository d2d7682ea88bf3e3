"""Addresses: what counts as one in limits. (What others see of one: tests/web/test_peers.py.)"""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from cometd_chat.addresses import limit_key
from cometd_chat.chat.limits import HELD
from cometd_chat.chat.local_limits import LocalLimits
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import TooMany


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("", ""),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("64:ff9b::192.0.2.7", "192.0.2.7"),
    ],
)
def test_what_an_address_counts_as(address: str, key: str) -> None:
    assert limit_key(address) == key


def test_a_network_holds_as_many_requests_as_an_address() -> None:
    limits = LocalLimits(Reaper(Clock()))
    for number in range(HELD.most):
        limits.hold(f"2001:db8::{number:x}")
    with pytest.raises(TooMany):
        limits.hold("2001:db8::ffff:1")
    limits.hold("2001:db8:0:1::1")
    limits.let_go("2001:db8::ffff:2")
    limits.hold("2001:db8::ffff:1")
    for number in range(HELD.most):
        limits.let_go(f"2001:db8::{number:x}")
    limits.let_go("2001:db8:0:1::1")
    assert not limits.held[HELD]
