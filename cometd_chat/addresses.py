"""Addresses of visitors: what others may see of one, and what counts as one in limits.

What it is: pure functions.

What it may know: IP addresses.

Invariant: with ``none`` nothing of an address leaves, with ``network`` nothing of the host part;
whoever can take many addresses at will has one key in all limits.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal

Shown = Literal["full", "network", "none"]

#: Bits of an address that name its network, by IP version.
_NETWORK_BITS = {4: 24, 6: 48}

#: Behind it a translator writes the IPv4 address of whoever comes (RFC 6052, section 2.1).
_TRANSLATED = IPv6Address("64:ff9b::").packed[:12]


def shown_address(address: str, shown: Shown) -> str | None:
    """What others may see of an address.

    :param address: an IP address, or an empty string where there is none.
    :returns: the address, its network, or None.
    """
    if shown == "none" or not address:
        return None
    if shown == "full":
        return address
    parsed = ip_address(address.partition("%")[0])
    return str(ip_network(f"{parsed}/{_NETWORK_BITS[parsed.version]}", strict=False))


def limit_key(address: str) -> str:
    """What an address counts as in every limit.

    A line of IPv6 has a /64 at least (RFC 6177), and whoever has it as many addresses as they like;
    so the network counts. An IPv4 address counts as itself, however it is written.

    :param address: an IP address, or an empty string where there is none.
    :returns: an IPv4 address, the first address of a /64 with ``/64``, or an empty string.
    """
    if ":" not in address:
        return address
    parsed = IPv6Address(address.partition("%")[0])
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    packed = parsed.packed
    if packed.startswith(_TRANSLATED):
        return str(IPv4Address(packed[12:]))
    return f"{IPv6Address(packed[:8] + bytes(8))}/64"
