"""Extensions: what may look at every message on its way in and on its way out.

What it is: the way of a message through them, and those that stock clients know: ack, timesync,
replay, timestamp, activity. (Reload is the client's alone; it needs what the server does for
everybody.) The protocol of one, `Extension`, is beside `BayeuxClient`.

What it may know: messages and clients.

Invariant: incoming runs in the order in which extensions were added, outgoing in reverse. An event
message passes the server's extensions once, however many it is for; those of a client see its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate

import attrs
from twisted.logger import Logger

from cometd_chat.bayeux.client import BayeuxClient, Extension
from cometd_chat.bayeux.messages import Message, encode, extension_fields

HANDSHAKE = "/meta/handshake"
CONNECT = "/meta/connect"
SUBSCRIBE = "/meta/subscribe"


class BaseExtension:
    """An extension that lets everything pass; others take from it what they do not need."""

    def incoming(self, message: Message, client: BayeuxClient | None) -> Message | None:
        """Lets it pass."""
        return message

    def outgoing(
        self, message: Message, client: BayeuxClient | None, request: Message | None
    ) -> Message | None:
        """Lets it pass."""
        return message


class Chain:
    """What passes a server's extensions and each client's.

    :param extensions: the server's; the list may grow.
    """

    _log = Logger()

    def __init__(self, extensions: list[Extension]) -> None:
        self._extensions = extensions
        # Those that were looked at last, and what was found.
        self._known: list[Extension] = []
        self._passes = True

    def passes_connects(self) -> bool:
        """Whether the server's extensions let a connect pass that has nothing for them, and its
        reply, but for the number by which a client confirms. Asked for each of them."""
        if self._extensions != self._known:
            self._known = list(self._extensions)
            kinds = [type(each) for each in self._known]
            self._passes = PASSING.issuperset(kinds) and len(set(kinds)) == len(kinds)
        return self._passes

    def incoming(self, message: Message, client: BayeuxClient | None) -> Message | None:
        """What the server's extensions, and then the client's, make of a message. Whatever one
        raises passes on to the caller: that refuses."""
        passed: Message | None = message
        for extension in [*self._extensions, *(client.extensions if client is not None else ())]:
            if passed is not None:
                passed = extension.incoming(passed, client)
        return passed

    def event(self, message: Message) -> Message | None:
        """What the server's extensions make of an event message, once for all whom it is for."""
        return self._outgoing(self._extensions, message, None, None)

    def refine(self, client: BayeuxClient, fields: Mapping[str, object]) -> bytes | None:
        """The JSON of an event message as a client's own extensions want it; None when they drop
        it."""
        passed = self._outgoing(client.extensions, dict(fields), client, None)
        return None if passed is None else encode(passed)

    def reply(self, reply: Message, client: BayeuxClient | None, request: Message) -> bytes | None:
        """A reply as it leaves all extensions; None when they drop it."""
        passed: Message | None = reply
        if client is not None:
            passed = self._outgoing(client.extensions, reply, client, request)
        if passed is not None:
            passed = self._outgoing(self._extensions, passed, client, request)
        if passed is None:
            return None
        try:
            return encode(passed)
        except (TypeError, ValueError):
            self._log.failure("an extension made a reply that is no JSON")
            return encode(reply)

    def _outgoing(
        self,
        extensions: Sequence[Extension],
        message: Message,
        client: BayeuxClient | None,
        request: Message | None,
    ) -> Message | None:
        """What comes out of some extensions, the last first. One that raises is logged, and the
        message goes on as it was: a reply must not be lost."""
        passed: Message | None = message
        for extension in reversed(extensions):
            if passed is None:
                return None
            try:
                passed = extension.outgoing(passed, client, request)
            except Exception:
                name = type(extension).__name__
                self._log.failure("the extension {name} failed on the way out", name=name)
        return passed


def _set_ext(message: Message, field: str, value: object) -> Message:
    return {**message, "ext": {**extension_fields(message), field: value}}


class AckExtension(BaseExtension):
    """CometD's message acknowledgement: nothing is lost over a connection that breaks.

    Messages then go with connects only, each of whose replies has a number; a connect says the
    number of the last reply that the client has. (CometD reference, acknowledge extension)
    """

    def incoming(self, message: Message, client: BayeuxClient | None) -> Message | None:
        """A connect confirms. A number that was never sent confirms nothing."""
        if client is not None and client.acknowledged and message["channel"] == CONNECT:
            number = extension_fields(message).get("ack")
            if isinstance(number, int) and not isinstance(number, bool):
                client.confirm_batch(number)
        return message

    def outgoing(
        self, message: Message, client: BayeuxClient | None, request: Message | None
    ) -> Message | None:
        """Agree in the handshake, and number the replies to connects."""
        if client is None or request is None or message.get("successful") is not True:
            return message
        if message["channel"] == HANDSHAKE and extension_fields(request).get("ack"):
            client.acknowledged = True
            return _set_ext(message, "ack", True)
        if message["channel"] == CONNECT and client.acknowledged:
            return _set_ext(message, "ack", client.close_batch())
        return message


#: Where a client that replays begins: with what comes after it has subscribed, or with all that is
#: kept.
REPLAY_NEW, REPLAY_ALL = -1, -2


class ReplayExtension(BaseExtension):
    """Salesforce's message replay: a message that is kept has its id and time in ``data.event``,
    and a subscribe may say after which id to begin. (Salesforce, Streaming API, message durability)

    Clients ask for it in the handshake, by what they say when they subscribe, or by the address
    that they come to. Where to begin is up to the source of a channel, see `replay_after`.
    """

    def incoming(self, message: Message, client: BayeuxClient | None) -> Message | None:
        """A subscribe that says where to begin asks for it."""
        if client is not None and message["channel"] == SUBSCRIBE:
            client.replays = client.replays or "replay" in extension_fields(message)
        return message

    def outgoing(
        self, message: Message, client: BayeuxClient | None, request: Message | None
    ) -> Message | None:
        """Agree in the handshake."""
        if client is None or request is None or message.get("successful") is not True:
            return message
        if message["channel"] == HANDSHAKE and extension_fields(request).get("replay"):
            client.replays = True
            return _set_ext(message, "replay", True)
        return message


def replay_after(pattern: str, ext: Mapping[str, object]) -> object:
    """After which id a client wants to begin, as it says; None when it says nothing.

    :param pattern: what it subscribes to.
    :param ext: of its subscribe message: ``{"replay": {CHANNEL: ID}}``.
    """
    wanted = ext.get("replay")
    if not isinstance(wanted, dict):
        return None
    return wanted.get(pattern, wanted.get(pattern + "/"))


@attrs.frozen
class _Asked:
    """A client's question for the time, and when it came in milliseconds."""

    tc: float
    lag: float | None
    offset: float
    received: float


class TimesyncExtension(BaseExtension):
    """Tells a client what time it is here. (CometD reference, timesync extension)

    :param wall_clock: seconds since 1970.
    :param accuracy: a client that is nearer than so many seconds is not told again.
    """

    def __init__(self, wall_clock: Callable[[], float], accuracy: float = 0.025) -> None:
        self._wall_clock = wall_clock
        self._accuracy = accuracy

    def incoming(self, message: Message, client: BayeuxClient | None) -> Message | None:
        """Note when the question came."""
        asked = extension_fields(message).get("timesync")
        if isinstance(asked, dict):
            tc, lag, offset = (_number(asked.get(field)) for field in ("tc", "l", "o"))
            if tc is not None:
                question = _Asked(tc, lag, offset or 0.0, self._now())
                return _set_ext(message, "timesync", question)
        return message

    def outgoing(
        self, message: Message, client: BayeuxClient | None, request: Message | None
    ) -> Message | None:
        """Answer it."""
        asked = extension_fields(request).get("timesync") if request is not None else None
        if not isinstance(asked, _Asked):
            return message
        answer: dict[str, object] = {
            "tc": _whole(asked.tc),
            "ts": round(asked.received),
            "p": round(self._now() - asked.received),
        }
        if asked.lag is not None:
            off = asked.tc + asked.offset + asked.lag - asked.received
            if asked.lag and abs(off) < self._accuracy * 1000:
                return message
            answer["a"] = round(off)
        return _set_ext(message, "timesync", answer)

    def _now(self) -> float:
        return self._wall_clock() * 1000


def _number(value: object) -> float | None:
    """A number that can be reckoned with."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e15 else None


def _whole(value: float) -> int | float:
    return int(value) if value == int(value) else value


class TimestampExtension(BaseExtension):
    """Puts the time on everything that goes out, as HTTP writes it, in UTC.

    :param wall_clock: seconds since 1970.
    """

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._last = (0, "")

    def outgoing(
        self, message: Message, client: BayeuxClient | None, request: Message | None
    ) -> Message | None:
        """Add the field ``timestamp``."""
        now = int(self._wall_clock())
        if now != self._last[0]:
            self._last = (now, formatdate(now, usegmt=True))
        return {**message, "timestamp": self._last[1]}


class ActivityExtension(BaseExtension):
    """Ends clients whose user does nothing, though they go on connecting.

    :param seconds: reaper's seconds.
    :param max_inactivity: in seconds; looked at when a connect comes.
    :param both_ways: what is delivered counts as activity too.
    """

    def __init__(
        self, seconds: Callable[[], float], max_inactivity: float, *, both_ways: bool = False
    ) -> None:
        self._seconds = seconds
        self._max_inactivity = max_inactivity
        self._both_ways = both_ways

    def incoming(self, message: Message, client: BayeuxClient | None) -> Message | None:
        """Note who does something, and end who does not."""
        if client is None:
            return message
        now = self._seconds()
        if message["channel"] != CONNECT:
            client.active_at = now
        else:
            last = client.active_at
            if self._both_ways:
                last = max(last, client.delivered_at)
            if now - last > self._max_inactivity:
                client.disconnect()
        return message


#: Those that do nothing to a connect that has nothing for them, nor to its reply, but for what
#: `AckExtension` does: `StandingConnects` does that itself.
PASSING = frozenset({AckExtension, ReplayExtension, TimesyncExtension})
