"""clientIds, which tell whose client it is where there are several nodes.

What it is: how ids are made and read. That of a cluster's client is 8 hexadecimal digits, the
number of the node that it belongs to, and 32 random ones; that of a single process is 40 random
ones.

What it may know: nothing.

Invariant: what is random in an id can't be guessed: 128 bits.
"""

from __future__ import annotations

import re
from collections.abc import Callable

#: Random bytes in the id of a single process.
ID_BYTES = 20

#: And of a cluster, beside the number of the node.
SECRET_BYTES = 16

_PREFIX_DIGITS = 8
_DIGITS = 2 * ID_BYTES

_ID = re.compile(r"[0-9a-f]{40}")


def make_id(random_bytes: Callable[[int], bytes], node: int | None) -> str:
    """A new clientId.

    :param random_bytes: so many unguessable bytes.
    :param node: the number of this node; None for a single process.
    """
    if node is None:
        return random_bytes(ID_BYTES).hex()
    return prefix_of(node) + random_bytes(SECRET_BYTES).hex()


def prefix_of(node: int) -> str:
    """What the ids of a node's clients begin with."""
    return f"{node:08x}"


def prefix_in(client_id: object) -> str | None:
    """What an id begins with; None when it is none that a node has given out."""
    if isinstance(client_id, str) and len(client_id) == _DIGITS and _ID.fullmatch(client_id):
        return client_id[:_PREFIX_DIGITS]
    return None


def node_in(prefix: str) -> int:
    """The number of the node whose clients' ids begin so."""
    return int(prefix, 16)
