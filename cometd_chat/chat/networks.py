"""Networks of visitors, as a ban remembers them: by a hash with a key, never by an address.

What it is: from an address to the hash of its network, and which networks can't be banned.

What it may know: IP addresses, a key.

Invariant: what is kept or sent to another node is a hash, which whoever has not the key can't undo;
and where a key has been replaced nobody can any more. An address is nowhere but in this process,
as long as somebody is here from it.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address, ip_address

from cometd_chat.errors import InvalidRequest, NotAllowed

#: Bytes of a hash: 2^24 networks of IPv4 and 2^48 of IPv6 share none by chance.
HASH_BYTES = 16

#: Bytes of an address that name its network: a /24, or a /48, which is what a site is given
#: (RFC 6177). Whoever has a site has all of it.
_NETWORK_BYTES = {4: 3, 6: 6}

#: So many networks have their hashes at hand.
_MOST_KNOWN = 16_384

#: Behind it a translator writes the IPv4 address of whoever comes (RFC 6052, section 2.1).
_TRANSLATED = IPv6Address("64:ff9b::").packed[:12]

Address = IPv4Address | IPv6Address


def network_of(address: str) -> bytes | None:
    """The bytes that name the network of an address, one way of writing for each network.

    :param address: an IP address, or an empty string where there is none.
    :returns: None where there is none.
    """
    if not address:
        return None
    if ":" not in address:
        # Spelt out: thousands are looked at when a network is banned.
        return bytes(map(int, address.split(".")[:3]))
    parsed = _plain(address)
    return parsed.packed[: _NETWORK_BYTES[parsed.version]]


def _plain(address: str) -> Address:
    """An address; one of IPv4 as such, however it is wrapped."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv4Address):
        return parsed
    if parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    if parsed.packed.startswith(_TRANSLATED):
        return IPv4Address(parsed.packed[12:])
    return parsed


def require_bannable(address: str, is_trusted: Callable[[str], bool]) -> None:
    """Refuse to ban a network that is not that of one visitor.

    :param address: of whoever is to be banned; empty where it isn't known.
    :param is_trusted: whether an address is that of a proxy that is trusted.
    :raises InvalidRequest: it isn't known.
    :raises NotAllowed: its network is private, or a proxy's.
    """
    if not address:
        raise InvalidRequest(
            "It is not known here from which network they come: ban them by name instead."
        )
    if is_trusted(address):
        raise NotAllowed(
            "They come by a proxy that this server trusts, as everybody may: its network can't be "
            "banned. Ban them by name instead."
        )
    parsed = _plain(address)
    if not parsed.is_global or parsed.is_multicast:
        raise NotAllowed(
            "They come from a private network, which others share and which says nothing of where "
            "they are: it can't be banned. Ban them by name instead.",
            remedy="If all visitors come by a proxy, name it by --trusted-proxy.",
        )


class NetworkHashes:
    """The hashes of networks by one key.

    :param key: gives the key, 32 bytes. It is the same on all nodes.
    """

    def __init__(self, key: Callable[[], bytes]) -> None:
        self._key = key
        # By what stands before the last dot of an IPv4 address, or by the whole of any other one:
        # this is asked at each request while any network is banned.
        self._known: dict[str, bytes | None] = {}

    def of(self, address: str) -> bytes | None:
        """The hash of an address's network; None where there is no address."""
        written = address if ":" in address else address.rpartition(".")[0]
        try:
            return self._known[written]
        except KeyError:
            return self._make(written, address)

    def forget(self) -> None:
        """Keep nothing: the key is another one from now, or nothing is banned any more."""
        self._known.clear()

    def _make(self, written: str, address: str) -> bytes | None:
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        network = network_of(address)
        made = None
        if network is not None:
            made = blake2b(network, key=self._key(), digest_size=HASH_BYTES).digest()
        self._known[written] = made
        return made
