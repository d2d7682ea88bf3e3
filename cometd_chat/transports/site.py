"""What all connections of a port have in common.

What it is: the Protocols of a site, and of the fast lane beside its channels.

What it may know: what is shared. Nothing is done here.

Invariant: a channel knows its site by this alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.web.resource import IResource

from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import ChatError
from cometd_chat.transports import refusals
from cometd_chat.transports.budget import MemoryBudget
from cometd_chat.transports.connections import Connections
from cometd_chat.transports.foreign_protocols import (
    ForeignProtocols,
)
from cometd_chat.transports.receipt import Receipt
from cometd_chat.transports.twisted_internals import PeerConnection


class FastLane(Protocol):
    """Where a connection goes that has nothing under way; see `cometd_chat.fastlane`."""

    def take(self, connection: PeerConnection, receipt: Receipt | None) -> None:
        """Take a connection.

        :param receipt: of its last answer, when somebody wants to know about that.
        """


class ChannelSite(Protocol):
    """What channels have in common; see `ChatSite`, also for what is not said here."""

    lane: FastLane | None
    direct_write: bool
    reads_early: Callable[[bytes, bytes], bool]
    reaper: Reaper
    memory: MemoryBudget
    connections: Connections
    timeout: float
    foreign_protocols: ForeignProtocols

    #: Whether the answer to whatever comes from now on says that its connection ends with it: other
    #: processes have those who come. What was begun before does not say so, and its connection has
    #: another answer: whoever was not told may send, and would not know whether that was read.
    is_parting: bool

    #: Whether a connection ends with its answer, whatever that said: this process ends.
    is_leaving: bool

    #: The form of errors that never reach a route: of the error and whether HTML is wanted.
    render_refusal: Callable[[ChatError, bool], refusals.Form]

    #: What answers all requests.
    resource: IResource

    def connection_over(self, connection: PeerConnection) -> None:
        """A connection that was admitted is over."""
