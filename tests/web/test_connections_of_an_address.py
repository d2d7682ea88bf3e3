"""How many connections an address may have at the daemon's own site; see tests/transports, too."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, UNIXAddress

from tests.memory import MakeSite, MemorySite

ONE, OTHER = "192.0.2.7", "192.0.2.8"


def test_has_a_bound_unless_limits_are_off(make_site: MakeSite) -> None:
    for limits, admitted in ((True, 2), (False, 5)):
        site = make_site(connections_per_address=2, limits=limits)
        responses = [site.get("/healthz") for _ in range(5)]
        assert [each.status for each in responses].count(200) == admitted


def test_does_not_count_its_proxy(make_site: MakeSite) -> None:
    networks = (ip_network("192.0.2.7/32"),)
    site = make_site(connections_per_address=2, limits=True, trusted_proxy=networks)
    assert all(site.get("/healthz").status == 200 for _ in range(5))
    assert [site.get("/healthz", address=OTHER).status for _ in range(3)] == [200, 200, 429]


def test_tells_how_many_there_are(site: MemorySite) -> None:
    site.get("/healthz")
    site.connect()
    text = site.request("GET", "/metrics", address="127.0.0.1").text
    assert "comet_chat_connections 3.0" in text
    assert "comet_chat_connections_refused_total 0.0" in text


@pytest.mark.parametrize("address", [IPv4Address("TCP", ONE, 1), UNIXAddress(b"")])
def test_a_protocol_is_made_for_each(site: MemorySite, address: Any) -> None:
    site.factory.buildProtocol(address)
    assert site.factory.connections.open == 1
