"""Host names: which are served, and which are this very machine.

What it is: from a ``Host`` header to a name, and whether that is one of ours.

What it may know: requests. Nothing of who sends them.

Invariant: what passes is a host by RFC 9110, section 7.2, in a form that every part behind it reads
in the same way; a name that isn't ours may be another site's, pointed at us (DNS rebinding).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

import attrs

from cometd_chat.errors import InvalidRequest, WrongHost
from cometd_chat.transports.request import HttpRequest

#: A label as names in use have it: letters, digits, hyphens inside, and underscores.
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"

#: An IPv6 literal or a name, perhaps with one full stop at its end, and perhaps with a port.
_HOST = re.compile(rf"(?:\[([0-9A-Fa-f:.]+)\]|({_LABEL}(?:\.{_LABEL})*)\.?)(?::([0-9]{{0,5}}))?")

_MAX_NAME = 253
_MAX_PORT = 65535


@attrs.frozen
class Host:
    """What a ``Host`` header names.

    :param name: in lower case, without port, brackets and a full stop at its end.
    :param address: the same where it is an IP literal.
    """

    name: str
    address: IPv4Address | IPv6Address | None

    @property
    def is_loopback(self) -> bool:
        """Whether it can only be this machine."""
        return self.name == "localhost" or (self.address is not None and self.address.is_loopback)


class Hosts:
    """The hosts that are served.

    :param names: beside IP literals and ``localhost``.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(name.lower() for name in names)

    def check(self, request: HttpRequest) -> None:
        """Refuse a host that isn't ours.

        :raises WrongHost: with the remedy.
        :raises InvalidRequest: there is no one host (RFC 9112, section 3.2).
        """
        values = request.requestHeaders.getRawHeaders("host", [])
        if not values and request.clientproto != b"HTTP/1.1":
            return
        if len(values) != 1:
            raise InvalidRequest("A request has exactly one Host header.")
        host = read_host(values[0])
        if host is None:
            raise InvalidRequest("The Host header is not a host.")
        if host.name != "localhost" and host.name not in self._names and host.address is None:
            raise WrongHost(
                f"This server does not answer to the name {host.name}.",
                hint=f"Start the daemon with --host {host.name}.",
                remedy=f"Somebody asked for {host.name}: is it ours, add --host {host.name}.",
            )


def names_loopback(request: HttpRequest) -> bool:
    """Whether a request names a host that can only be this machine."""
    host = read_host(request.getHeader("host") or "")
    return host is not None and host.is_loopback


# Asked of each request, and nearly always of the same few hosts.
@lru_cache(maxsize=64)
def read_host(value: str) -> Host | None:
    """The host in the value of a ``Host`` header; None when there can't be one."""
    match = _HOST.fullmatch(value)
    if match is None:
        return None
    literal, name, port = match.groups()
    if int(port or 0) > _MAX_PORT:
        return None
    address = _address(literal or name)
    if literal is not None and not isinstance(address, IPv6Address):
        return None
    name = (literal or name).lower()
    return Host(name, address) if len(name) <= _MAX_NAME else None


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
