"""A connect and its reply, as bytes in which little changes from one to the next.

What it is: `ConnectTemplate`, which finds the id of a connect in a request's JSON, and so reads the
next one without parsing it; `ReplyTemplate`, the JSON of a reply with places for what changes.

What it may know: JSON and the envelope of Bayeux.

Invariant: a request that matches a template is, but for the id and the number by which its client
confirms, the message that the template was made of: it was parsed with others in their places when
the template was made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from cometd_chat.bayeux.messages import Bounds, Message, decode, encode, extension_fields
from cometd_chat.errors import ChatError

#: What a connect may have that comes again without being parsed.
_FIELDS = frozenset({"channel", "clientId", "connectionType", "id", "ext"})

_ID = re.compile(rb'"id" ?: ?"([0-9A-Za-z]{1,32})"')
_NUMBER = re.compile(rb'"ack" ?: ?(0|[1-9][0-9]{0,9})[ ,}]')

#: What stands in their places when a template is tried.
_PROBE_ID, _PROBE_NUMBER = b"Probe0", b"1234567890"


@attrs.frozen
class ConnectTemplate:
    """The JSON of a connect, in two or three pieces.

    :param before: stands before what changes first.
    :param between: stands between the two that change; None where only the id does.
    :param after: stands after them.
    :param id_first: whether the id stands before the number.
    """

    before: bytes
    between: bytes | None
    after: bytes
    id_first: bool

    @classmethod
    def of(cls, body: bytes) -> ConnectTemplate | None:
        """The template of a request that is one connect; None when there may be more in it than an
        id and a number that change."""
        ids, numbers = list(_ID.finditer(body)), list(_NUMBER.finditer(body))
        if len(ids) != 1 or len(numbers) > 1:
            return None
        spans = sorted(each.span(1) for each in (*ids, *numbers))
        (_, first), (last, _) = (spans[0], spans[-1])
        between = body[first:last] if numbers else None
        id_first = spans[0] == ids[0].span(1)
        template = cls(body[: spans[0][0]], between, body[spans[-1][1] :], id_first)
        return template if template._is_good(body) else None

    def _is_good(self, body: bytes) -> bool:
        """Whether what is found by it is what is found by parsing."""
        message, probed = _only_message(body), _only_message(self._filled())
        if message is None or probed is None or not _FIELDS.issuperset(message):
            return False
        expected: Message = {**message, "id": _PROBE_ID.decode()}
        if self.between is not None:
            expected["ext"] = {"ack": int(_PROBE_NUMBER)}
        elif "ext" in message:
            return False
        return message["channel"] == "/meta/connect" and probed == expected

    def _filled(self) -> bytes:
        if self.between is None:
            return self.before + _PROBE_ID + self.after
        first, second = _PROBE_ID, _PROBE_NUMBER
        if not self.id_first:
            first, second = second, first
        return self.before + first + self.between + second + self.after


def _only_message(body: bytes) -> Message | None:
    try:
        messages = decode(body, Bounds())
    except ChatError:
        return None
    return messages[0] if len(messages) == 1 and isinstance(messages[0].get("id"), str) else None


@attrs.frozen(eq=False)
class ReplyTemplate:
    """The reply to a connect that succeeds, in two or three pieces.

    :param before: stands before its id.
    :param between: stands between that and the number by which its client confirms; None where it
        has none.
    :param after: stands after them.
    """

    before: bytes
    between: bytes | None
    after: bytes

    @classmethod
    def of(cls, advice: Mapping[str, object], *, numbered: bool) -> ReplyTemplate:
        """The template of what `Connects.answer` makes of the same."""
        reply: Message = {"channel": "/meta/connect", "successful": True, "id": "Probe0"}
        reply["advice"] = advice
        if numbered:
            reply["ext"] = {**extension_fields(reply), "ack": int(_PROBE_NUMBER)}
        before, _, rest = encode(reply).partition(_PROBE_ID)
        if not numbered:
            return cls(before, None, rest)
        between, _, after = rest.rpartition(_PROBE_NUMBER)
        return cls(before, between, after)
