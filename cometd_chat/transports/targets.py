"""What a request line asks for (RFC 9112, section 3.2).

What it is: one pure function from a target to a path, and to the host that goes with it.

What it may know: RFC 9112. Nothing of what is at a path, or of which hosts are ours.

Invariant: what it gives has one form for each thing that can be asked for: nothing behind it
has to know the others.
"""

from __future__ import annotations

import re

import attrs

#: A target that is a URI, as clients send it that are set to a proxy.
_ABSOLUTE = re.compile(rb"https?://([^/?#]+)(.*)", re.IGNORECASE | re.DOTALL)

#: What OPTIONS asks of the server as a whole.
ALL = b"*"


@attrs.frozen
class Target:
    """What was asked for.

    :param path: with its query; or `ALL`.
    :param authority: the host in the target, which counts in the place of the Host header; None
        when there is none.
    """

    path: bytes
    authority: bytes | None = None


def read_target(method: bytes, target: bytes) -> Target | None:
    """What a request asks for; None when that can't be asked of an origin server."""
    if target.startswith(b"/"):
        return Target(target)
    if target == ALL:
        return Target(ALL) if method == b"OPTIONS" else None
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        return None
    authority, path = match.groups()
    if not path:
        # A proxy makes a URI of the asterisk so (RFC 9112, section 3.2.4).
        path = ALL if method == b"OPTIONS" else b"/"
    elif not path.startswith(b"/"):
        path = b"/" + path
    return Target(path, authority)
