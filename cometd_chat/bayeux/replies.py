"""What a message is answered with.

What it is: the reply to a message that was handled, and to one that was refused or broke something.

What it may know: faults, the extensions that a reply passes. Not what a message does.

Invariant: whatever was wrong with a message, it has a reply, which repeats nothing of it that can't
be said again.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from cometd_chat.bayeux import faults
from cometd_chat.bayeux.client import BayeuxClient
from cometd_chat.bayeux.extensions import HANDSHAKE, Chain
from cometd_chat.bayeux.faults import Fault
from cometd_chat.bayeux.messages import Message
from cometd_chat.errors import ChatError

#: Characters of a message's id, at most: those of a connect are kept until the next one comes.
MAX_ID = 256

#: A reply that is ready; one that comes later; or none, as for a connect.
Answer = bytes | None | Deferred[bytes | None]


class Stopped(Exception):
    """An extension has refused a message with a text of its own."""


class Replies:
    """Makes replies.

    :param chain: what they pass on their way out.
    """

    _log = Logger()

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def success(self, message: Message, client: BayeuxClient, **fields: object) -> bytes | None:
        """The reply to a message that was handled."""
        reply: Message = {"channel": message["channel"], "successful": True, **fields}
        if "id" in message:
            reply["id"] = message["id"]
        return self._chain.reply(reply, client, message)

    def refusal(
        self, message: Message, client: BayeuxClient | None, error: Exception
    ) -> bytes | None:
        """The reply to a message that was refused, or that broke something."""
        if isinstance(error, Stopped):
            text, fault = str(error), None
        else:
            fault = self._fault(message, error)
            text = fault.error
        reply: Message = {"successful": False, "error": text}
        for field in ("channel", "id", "subscription"):
            if field in message and (field != "id" or is_id(message["id"])):
                reply[field] = message[field]
        if fault is not None and fault.reconnect is not None:
            interval = round(fault.interval * 1000)
            reply["advice"] = {"reconnect": fault.reconnect, "interval": interval}
        return self._chain.reply(reply, client, message)

    def _fault(self, message: Message, error: Exception) -> Fault:
        handshake = message.get("channel") == HANDSHAKE
        if isinstance(error, ChatError):
            return faults.from_handshake(error) if handshake else faults.from_chat(error)
        if not isinstance(error, Fault):
            self._log.failure("a message could not be handled")
            return faults.server_error(reconnect="handshake" if handshake else None)
        if handshake and error.reconnect is None:
            error.reconnect = "none"
        return error


def is_id(id: object) -> bool:
    """Whether something may be the id of a message: none, a number, a text that is not long."""
    if isinstance(id, str):
        return len(id) <= MAX_ID
    return id is None or isinstance(id, int | float)
