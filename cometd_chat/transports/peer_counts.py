"""What is counted of the links between nodes, for operators.

What it is: `LinkCounts`, which a link counts into, and `LinkNumbers`, how one is now.

What it may know: numbers.

Invariant: they grow over all connections of a node's, from when it was first heard of.
"""

from __future__ import annotations

import attrs


@attrs.define(eq=False)
class LinkCounts:
    """Since the other node is known.

    :param made: connections that came about.
    :param sent: bytes handed to them.
    :param received: bytes that came by them, as whole frames.
    """

    made: int = 0
    sent: int = 0
    received: int = 0


@attrs.frozen
class LinkNumbers:
    """The link to another node as it is now.

    :param number: of that node.
    :param up: whether it can be reached.
    :param waiting: bytes that wait until it takes them.
    """

    number: int
    up: bool
    waiting: int
    made: int
    sent: int
    received: int
