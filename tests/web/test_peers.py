"""Who is at the other end of a request that came through proxies (`--trusted-proxy`)."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.web.http_headers import Headers

from cometd_chat.web.peers import MOST_ADDRESSES, Peers
from tests.memory import MakeSite

PROXY = "192.0.2.1"
TRUSTED = ("192.0.2.0/24", "10.0.0.0/8", "2001:db8::/32")


class Request:
    """What `Peers` asks of a request."""

    def __init__(self, address: str, *forwarded: str, scheme: str | None = None) -> None:

        self.memory: dict[object, object] = {}
        kind: Any = IPv6Address if ":" in address else IPv4Address
        self._address = kind("TCP", address, 1) if address else UNIXAddress("")
        self.requestHeaders = Headers({"x-forwarded-for": list(forwarded)} if forwarded else {})
        if scheme is not None:
            self.requestHeaders.setRawHeaders("x-forwarded-proto", [scheme])

    def getClientAddress(self) -> Any:
        return self._address

    def getHeader(self, name: str) -> str | None:
        values = self.requestHeaders.getRawHeaders(name)
        return values[-1] if values else None

    def isSecure(self) -> bool:
        return False


def peers(*trusted: str) -> Peers:
    return Peers([ip_network(each) for each in trusted])


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        # Nobody who isn't a proxy is believed.
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("203.0.113.9", [], "203.0.113.9"),
        # One proxy.
        (PROXY, ["198.51.100.1"], "198.51.100.1"),
        (PROXY, [], PROXY),
        (PROXY, [""], PROXY),
        # What stands left of the first that isn't trusted is whatever the visitor wrote there.
        (PROXY, ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        (PROXY, ["1.1.1.1", "198.51.100.1"], "198.51.100.1"),
        (PROXY, ["1.1.1.1,198.51.100.1"], "198.51.100.1"),
        # Several of ours.
        (PROXY, ["198.51.100.1, 10.1.2.3"], "198.51.100.1"),
        (PROXY, ["1.1.1.1, 198.51.100.1, 10.1.2.3, 192.0.2.7"], "198.51.100.1"),
        (PROXY, ["1.1.1.1, 198.51.100.1", "10.1.2.3"], "198.51.100.1"),
        # All of it ours: a visitor from inside.
        (PROXY, ["10.9.9.9, 10.1.2.3"], "10.9.9.9"),
        # What is no address ends the walk where it is still known who wrote.
        (PROXY, ["nonsense"], PROXY),
        (PROXY, ["unknown, 10.1.2.3"], "10.1.2.3"),
        (PROXY, ["198.51.100.1, nonsense"], PROXY),
        (PROXY, ["198.51.100.1, _hidden, 10.1.2.3"], "10.1.2.3"),
        (PROXY, ["198.51.100.1, "], PROXY),
        (PROXY, ["198.51.100.999"], PROXY),
        (PROXY, ["<script>"], PROXY),
        (PROXY, ["1" * 5000], PROXY),
        # With ports, as some write them.
        (PROXY, ["198.51.100.1:4711"], "198.51.100.1"),
        (PROXY, ["[2001:db9::1]:4711"], "2001:db9::1"),
        (PROXY, ["[2001:db9::1]"], "2001:db9::1"),
        (PROXY, ["2001:db9::1"], "2001:db9::1"),
        (PROXY, ["2001:DB9:0::1"], "2001:db9::1"),
        (PROXY, ["1.1.1.1, 10.1.2.3:80"], "1.1.1.1"),
        # IPv6 among ours, and IPv4 in its dress.
        ("2001:db8::1", ["2001:db9::1"], "2001:db9::1"),
        ("2001:db8::1", ["2001:db9::1, 2001:db8::7"], "2001:db9::1"),
        ("::ffff:192.0.2.1", ["198.51.100.1"], "198.51.100.1"),
        (PROXY, ["198.51.100.1, ::ffff:10.1.2.3"], "198.51.100.1"),
        # A Unix socket: who can reach it is the proxy.
        ("", ["198.51.100.1"], "198.51.100.1"),
        ("", [], ""),
    ],
)
def test_addresses(peer: str, forwarded: list[str], address: str) -> None:
    request: Any = Request(peer, *forwarded)
    assert peers(*TRUSTED).address(request) == address


@pytest.mark.parametrize("peer", [PROXY, "127.0.0.1", "::1", ""])
def test_without_the_option_nobody_is_believed(peer: str) -> None:
    request: Any = Request(peer, "198.51.100.1", scheme="https")
    assert peers().address(request) == peer
    assert not peers().is_secure(request)


@pytest.mark.parametrize(
    ("peer", "scheme", "secure"),
    [
        (PROXY, "https", True),
        (PROXY, "HTTPS", True),
        (PROXY, " https ", True),
        (PROXY, "http", False),
        (PROXY, None, False),
        (PROXY, "", False),
        ("203.0.113.9", "https", False),
        ("", "https", True),
    ],
)
def test_tls(peer: str, scheme: str | None, secure: bool) -> None:
    request: Any = Request(peer, scheme=scheme)
    assert peers(*TRUSTED).is_secure(request) is secure


def test_a_visitor_written_in_two_ways_is_one() -> None:
    by_four: Any = Request(PROXY, "198.51.100.1")
    in_six: Any = Request(PROXY, "::ffff:198.51.100.1")
    assert peers(*TRUSTED).address(by_four) == peers(*TRUSTED).address(in_six)


def test_limits_are_for_visitors_and_not_for_their_proxy(make_site: MakeSite) -> None:
    site = make_site(limits=True, trusted_proxy=(ip_network("192.0.2.7/32"),))
    for number in range(30):
        seen = {"X-Forwarded-For": "198.51.100.1"}
        assert site.post("/api/v1/session", {"name": f"a{number}"}, headers=seen).status == 201
    again = site.post("/api/v1/session", {"name": "b"}, headers={"X-Forwarded-For": "198.51.100.1"})
    other = site.post("/api/v1/session", {"name": "b"}, headers={"X-Forwarded-For": "198.51.100.2"})
    assert (again.status, other.status) == (429, 201)
    # What the visitor wrote there herself changes nothing.
    forged = {"X-Forwarded-For": "203.0.113.77, 198.51.100.1"}
    assert site.post("/api/v1/session", {"name": "c"}, headers=forged).status == 429


def test_the_cookie_is_secure_where_the_proxy_says_so(make_site: MakeSite) -> None:
    site = make_site(trusted_proxy=(ip_network("192.0.2.7/32"),))
    headers = {"X-Forwarded-Proto": "https"}
    told = site.post("/api/v1/session", {"name": "alice"}, headers=headers)
    assert "; Secure" in (told.header("set-cookie") or "")
    by_other = site.post(
        "/api/v1/session", {"name": "bob"}, headers=headers, address="198.51.100.1"
    )
    assert "; Secure" not in (by_other.header("set-cookie") or "")


def test_an_address_is_remembered_for_its_connection_and_its_header_lines(
    make_site: MakeSite,
) -> None:
    """The same bytes from somewhere else, and other bytes on the same connection, are others'."""
    rooms = [f"room{number}" for number in range(6)]
    proxies = (ip_network("192.0.2.7/32"),)
    site = make_site(rooms=rooms, trusted_proxy=proxies, show_addresses="full")
    token = site.log_in("alice")
    reader = site.get(f"/api/v1/events/stream?rooms={','.join(rooms)}")
    by_proxy, direct = site.connect("192.0.2.7"), site.connect("203.0.113.9")
    # Each twice: the second one is remembered.
    came = [(by_proxy, "198.51.100.1")] * 2
    came += [(by_proxy, "198.51.100.2")] * 2
    came += [(direct, "198.51.100.2")] * 2
    for room, (connection, forwarded) in zip(rooms, came, strict=True):
        path, headers = f"/api/v1/rooms/{room}/messages", {"X-Forwarded-For": forwarded}
        connection.request("POST", path, json={"text": "hi"}, token=token, headers=headers)
    told = [json.loads(line) for line in reader.text.splitlines()]
    assert [event["address"] for event in told if event["type"] == "join"] == [
        "198.51.100.1",
        "198.51.100.1",
        "198.51.100.2",
        "198.51.100.2",
        "203.0.113.9",
        "203.0.113.9",
    ]


def test_so_many_addresses_of_a_header_are_looked_at() -> None:
    proxies = ["10.1.2.3"] * (MOST_ADDRESSES - 1)
    within: Any = Request(PROXY, ", ".join(["198.51.100.1", *proxies]))
    assert peers(*TRUSTED).address(within) == "198.51.100.1"
    beyond: Any = Request(PROXY, ", ".join(["198.51.100.1", "10.3.2.1", *proxies]))
    assert peers(*TRUSTED).address(beyond) == "10.1.2.3"
