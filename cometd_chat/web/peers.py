"""Who is at the other end: the visitor's address, through proxies that are trusted.

What it is: from a request to an address and to whether it came over TLS.

What it may know: requests, headers of proxies. Not sessions.

Invariant: a header is believed only where it comes from a trusted proxy, and no further left than
the first address that isn't one.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from cometd_chat.errors import InvalidRequest
from cometd_chat.transports.request import HttpRequest, address_of, remembered
from cometd_chat.web.hosts import names_loopback

#: So many addresses of a header are looked at: a visitor can write thousands of trusted ones into
#: it, and each costs a look at all networks.
MOST_ADDRESSES = 16

#: What proxies add to the requests that they pass on.
_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-real-ip")

Network = IPv4Network | IPv6Network

#: Headers that proxies add, and programs on this machine have no reason to.
_PROXYS = re.compile(
    rb"forwarded|via|x-forwarded(-.*)?|x-original-.*|x-proxy.*|x-envoy-.*|x-real-ip|x-client-ip"
    rb"|x-cluster-client-ip|client-ip|true-client-ip|cf-.*|fastly-.*|fly-.*|x-amzn-.*|cdn-loop"
    rb"|max-forwards",
    re.IGNORECASE,
)


class Peers:
    """Where requests come from.

    :param trusted: addresses of proxies whose headers are believed. A peer on a Unix socket is
        one as soon as there is any.
    :param user_header: by which they say who is logged in; None for not at all.
    """

    def __init__(self, trusted: Collection[Network], user_header: str | None = None) -> None:
        self._trusted = tuple(trusted)
        self._user_header = user_header

    def address(self, request: HttpRequest) -> str:
        """The visitor's IP address; empty where it isn't known.

        Of ``X-Forwarded-For`` the rightmost address counts that isn't a trusted proxy's: what
        stands left of it is whatever the visitor wrote there.
        """
        return remembered(request, self, partial(self._address, request))

    def _address(self, request: HttpRequest) -> str:
        address = address_of(request)
        if not self._trusted or not self.is_trusted(address):
            return address
        headers = request.requestHeaders.getRawHeaders("x-forwarded-for", [])
        for each in reversed(",".join(headers).rsplit(",", MOST_ADDRESSES - 1)):
            forwarded = _clean(each)
            if forwarded is None:
                break
            address = forwarded
            if not self.is_trusted(address):
                break
        return address

    def is_secure(self, request: HttpRequest) -> bool:
        """Whether the visitor uses TLS, as far as we or a trusted proxy know."""
        if request.isSecure():
            return True
        if not self._trusted:
            return False
        scheme = request.getHeader("x-forwarded-proto") or ""
        return self.is_trusted(address_of(request)) and scheme.strip().lower() == "https"

    def user(self, request: HttpRequest) -> str | None:
        """Who is logged in, as a trusted proxy says; None when none says so. Of whoever else writes
        that header it means nothing.

        :raises InvalidRequest: it can't be told who: then a visitor may have written it, too.
        """
        if self._user_header is None or not self.is_trusted(address_of(request)):
            return None
        said = request.requestHeaders.getRawHeaders(self._user_header, [])
        if len(said) > 1:
            raise InvalidRequest(
                "The proxy in front of this chat says twice who you are. Whoever runs it has to "
                "mend that.",
                remedy=f"The proxy has to replace the header {self._user_header}, not to add one.",
            )
        return (said[0].strip() or None) if said else None

    def base_url(self, request: HttpRequest) -> str:
        """Scheme and host as the visitor reached us, for addresses that are handed on."""
        scheme = "https" if self.is_secure(request) else "http"
        return f"{scheme}://{request.getHeader('host') or 'localhost'}"

    def is_local(self, request: HttpRequest) -> bool:
        """Whether somebody on this very machine asks by herself: the peer is on loopback or a Unix
        socket, names a host that is loopback, and shows no trace of a proxy."""
        fields = request.requestHeaders.getAllRawHeaders()
        if any(_PROXYS.fullmatch(name) for name, _ in fields):
            return False
        address = address_of(request)
        return names_loopback(request) and (not address or _unmapped(address).is_loopback)

    def is_trusted(self, address: str) -> bool:
        """Whether an address is a proxy's whose headers are believed."""
        if not address:
            return bool(self._trusted)
        parsed = _unmapped(address)
        return any(parsed in network for network in self._trusted)


def _unmapped(address: str) -> IPv4Address | IPv6Address:
    """An address; one of IPv4 as such, also where the socket is of IPv6."""
    parsed = ip_address(address.partition("%")[0])
    return getattr(parsed, "ipv4_mapped", None) or parsed


def is_forwarded(request: HttpRequest) -> bool:
    """Whether a proxy says that it has passed a request on, trusted or not: then its connection is
    the proxy's. On a Unix socket it is in any case."""
    return not address_of(request) or any(request.getHeader(each) for each in _FORWARDED)


def _clean(forwarded: str) -> str | None:
    """An address as proxies write it, perhaps with a port; None when it is none.

    One of IPv4 has one form, so that its visitor has one bucket of each limit.
    """
    text = forwarded.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)
