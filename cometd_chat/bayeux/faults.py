"""What Bayeux answers instead of success: the table of its errors.

What it is: `Fault`, the exception that ends the handling of one message, and a constructor for
each row. The wording is CometD's wherever a client could look at it.

What it may know: the daemon's own errors, which it translates. Not clients, not transports.

Invariant: the text of an error is ``code:arguments:text``, whatever is in the arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from cometd_chat.errors import ChatError

#: What a client is advised to do next.
Reconnect = Literal["retry", "handshake", "none"]

#: An argument that is longer is cut: it may come from the client.
_MAX_ARGUMENT = 300


class Fault(Exception):
    """One message is refused. (Bayeux 1.0, section 3.5, the error field)

    :param code: three digits, as in HTTP.
    :param arguments: what it is about.
    :param text: CometD's short name of the error, or a sentence.
    :param reconnect: what the client is advised to do; None to give no advice.
    :param interval: seconds that the advice asks to wait.
    """

    def __init__(
        self,
        code: int,
        text: str,
        arguments: Sequence[str] = (),
        *,
        reconnect: Reconnect | None = None,
        interval: float = 0,
    ) -> None:
        self.code = code
        self.text = text
        self.arguments = tuple(arguments)
        self.reconnect = reconnect
        self.interval = interval
        super().__init__(self.error)

    @property
    def error(self) -> str:
        """The field as clients see it."""
        arguments = ",".join(_argument(each) for each in self.arguments)
        return f"{self.code}:{arguments}:{self.text}"


def _argument(text: str) -> str:
    """Text without the separators: clients split an error at colons and commas."""
    return text[:_MAX_ARGUMENT].replace(":", " -").replace(",", ";")


def session_unknown() -> Fault:
    """Nobody has that clientId, or not the one who asks: they have to handshake."""
    return Fault(402, "session_unknown", reconnect="handshake")


def channel_missing() -> Fault:
    return Fault(400, "channel_missing")


def channel_invalid(channel: str) -> Fault:
    return Fault(405, "channel_invalid", [channel])


def message_invalid(reason: str) -> Fault:
    """It is no message; those beside it are as good as without it."""
    return Fault(400, "message_invalid", [reason])


def message_id_invalid() -> Fault:
    return Fault(405, "message_id_invalid")


def parameter_missing(name: str) -> Fault:
    return Fault(402, "Missing required parameter", [name])


def subscription_missing() -> Fault:
    return Fault(403, "subscription_missing")


def subscription_invalid(reason: str) -> Fault:
    return Fault(403, "subscription_invalid", [reason])


def subscribe_denied(reason: str) -> Fault:
    return Fault(403, "subscribe_denied", [reason])


def publish_denied(reason: str) -> Fault:
    return Fault(403, "publish_denied", [reason])


def message_deleted() -> Fault:
    """An extension or a listener did not let it pass."""
    return Fault(404, "message_deleted")


def no_service(channel: str) -> Fault:
    return Fault(404, "no_service", [channel])


def version_unsupported(version: str) -> Fault:
    return Fault(300, "Version not supported; this server speaks 1.0", [version], reconnect="none")


def connection_types_unsupported(types: Sequence[str]) -> Fault:
    return Fault(301, "Connection types not supported", types[:16])


def connect_replaced() -> Fault:
    """Without advice: the client is on its newer connect, and must not act on the older one."""
    return Fault(409, "connect_replaced", ["A newer /meta/connect of this session has come"])


def too_many_requests() -> Fault:
    return Fault(429, "too_many_requests", ["Wait for the answers to earlier requests"])


def server_error(reconnect: Reconnect | None = None) -> Fault:
    text = "Something broke on our side"
    return Fault(500, "server_error", [text], reconnect=reconnect, interval=5)


def from_chat(error: ChatError) -> Fault:
    """A refusal of the daemon's, as a Bayeux error: status, what to do about it, which kind."""
    return Fault(error.status, error.slug.replace("-", "_"), [error.detail])


def from_handshake(error: ChatError) -> Fault:
    """The same for a handshake: what time can heal may be tried again, all else is final."""
    if error.status == 429 or error.status >= 500:
        return not_now(error)
    fault = from_chat(error)
    fault.reconnect = "none"
    return fault


def not_now(error: ChatError) -> Fault:
    """What time can heal: the client is to shake hands after a while."""
    fault = from_chat(error)
    fault.reconnect = "handshake"
    fault.interval = 1.0 if error.retry_after is None else error.retry_after
    return fault
