"""Addresses of visitors, and what others may see of them.

What it is: one pure function.

What it may know: IP addresses.

Invariant: with ``none`` nothing of an address leaves, with ``network`` nothing of the host part.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Literal

Shown = Literal["full", "network", "none"]

#: Bits of an address that name its network, by IP version.
_NETWORK_BITS = {4: 24, 6: 48}


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
