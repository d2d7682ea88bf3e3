"""Bytes to messages and back, within bounds.

What it is: the decoding of what a transport brought, and the one encoding of what goes out.

What it may know: JSON and the envelope of Bayeux. Not what any message means.

Invariant: whatever the bytes are, the result is a list of JSON objects that can be encoded again,
or a typed refusal; one message that is none costs no other anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
import msgspec

from cometd_chat.errors import BodyTooLarge, InvalidRequest
from cometd_chat.transports.body import without_mark

#: One Bayeux message: a JSON object. What is in it is the sender's, so each field is looked at
#: before it is used. The one place where the type says no more than that.
Message = dict[str, Any]

encode = msgspec.json.Encoder().encode

_decode = msgspec.json.Decoder().decode

#: Only the server says these; from a client they count for nothing.
_REPLY_FIELDS = ("successful", "error")


@attrs.frozen
class Bounds:
    """How much one request may be.

    :param max_bytes: of JSON.
    :param max_messages: in one request.
    :param max_depth: of arrays and objects in one another, the request's own array included.
    """

    max_bytes: int = 256 * 1024
    max_messages: int = 5000
    max_depth: int = 64


#: What an object, an array and a member of either cost, about, beside the texts in them, in bytes.
_OBJECT, _ARRAY, _MEMBER = 184, 64, 48


def weight(body: bytes | str) -> int:
    """About as many bytes as Python needs for the messages of a body, at most.

    In a text with one character of a higher plane each takes four, and what is short and in large
    number costs most: an empty object in an array twenty times its JSON.
    """
    if isinstance(body, str):
        braces, brackets, commas = body.count("{"), body.count("["), body.count(",")
        narrow = body.isascii() and "\\u" not in body
    else:
        braces, brackets, commas = body.count(b"{"), body.count(b"["), body.count(b",")
        narrow = body.isascii() and b"\\u" not in body
    texts = len(body) if narrow else 4 * len(body)
    return texts + _OBJECT * braces + _ARRAY * brackets + _MEMBER * commas


class BadMessage(Message):
    """One that can't be handled: what is left of it is what the reply repeats.

    :param reason: why not.
    """

    def __init__(self, content: object, reason: str) -> None:
        super().__init__()
        self.reason = reason
        said = content if isinstance(content, dict) else {}
        for field in ("channel", "id"):
            value = said.get(field)
            if isinstance(value, str | int) and _is_simple(value):
                self[field] = value


def decode_all(bodies: Sequence[bytes | str], bounds: Bounds) -> list[Message]:
    """The messages of a request in several parts, in their order; see `decode`.

    The bounds are for all of them together.
    """
    if sum(map(len, bodies)) > bounds.max_bytes:
        raise _too_many_bytes(bounds)
    messages = [message for body in bodies for message in decode(body, bounds)]
    if len(messages) > bounds.max_messages:
        raise _too_many(len(messages), bounds)
    return messages


def decode(body: bytes | str, bounds: Bounds) -> list[Message]:
    """The messages of a request: an array of objects, or one bare object.

    What is none, or none that could be said again, is a `BadMessage`: the others are as good as
    without it.

    :param body: JSON; bytes are UTF-8.
    :raises InvalidRequest: it is something else. (Bayeux 1.0, section 3)
    :raises BodyTooLarge: it is over a bound.
    """
    if len(body) > bounds.max_bytes:
        raise _too_many_bytes(bounds)
    body = without_mark(body)
    try:
        content, lenient = _decode(body), False
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        content, lenient = _decode_leniently(body, error), True
    messages = [content] if isinstance(content, dict) else content
    is_array = isinstance(messages, list)
    if not is_array or (messages and not any(isinstance(each, dict) for each in messages)):
        raise InvalidRequest("The request has to be an array of messages, which are JSON objects.")
    if len(messages) > bounds.max_messages:
        raise _too_many(len(messages), bounds)
    deep = _brackets(body) > bounds.max_depth
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            messages[index] = BadMessage(message, "A message is a JSON object")
        elif deep and _is_deeper(message, bounds.max_depth - 1):
            reason = f"Arrays and objects may be {bounds.max_depth} deep in one another"
            messages[index] = BadMessage(message, reason)
        elif lenient and not _is_simple(message):
            reason = "There are halves of characters in it or numbers that are too large"
            messages[index] = BadMessage(message, reason)
        else:
            for field in _REPLY_FIELDS:
                message.pop(field, None)
    return messages


def _decode_leniently(body: bytes | str, error: Exception) -> object:
    """JSON in which something may stand that can't be passed on, such as half of a character, so
    that only the message in which it stands has to be refused.

    :param error: why it could not be decoded strictly.
    :raises InvalidRequest: it is no JSON, or so deep that nobody reads it.
    """
    try:
        text = body if isinstance(body, str) else body.decode()
        return json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        raise InvalidRequest(f"The request has to be JSON in UTF-8: {error}.") from None
    except RecursionError:
        raise InvalidRequest("Arrays and objects are too deep in one another.") from None


def _refuse_constant(name: str) -> None:
    """(RFC 8259, section 6, has no such numbers.)"""
    raise ValueError(name)


def _is_simple(content: object) -> bool:
    """Whether something can be said as JSON in UTF-8."""
    try:
        json.dumps(content, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        return False
    return True


def _too_many_bytes(bounds: Bounds) -> BodyTooLarge:
    return BodyTooLarge(f"A request has at most {bounds.max_bytes} bytes: send less at once.")


def _too_many(count: int, bounds: Bounds) -> BodyTooLarge:
    return BodyTooLarge(f"A request has at most {bounds.max_messages} messages, not {count}.")


def _brackets(body: bytes | str) -> int:
    """An upper bound of how deep it is, at the price of two scans."""
    if isinstance(body, str):
        return body.count("[") + body.count("{")
    return body.count(b"[") + body.count(b"{")


def _is_deeper(content: object, depth: int) -> bool:
    """Whether containers are more than ``depth`` deep; level by level, so no stack can run out."""
    level: list[object] = [content]
    while level and depth > 0:
        inner: list[object] = []
        for each in level:
            children = each.values() if isinstance(each, dict) else each
            if isinstance(children, Iterable):
                inner.extend(child for child in children if isinstance(child, dict | list))
        level = inner
        depth -= 1
    return bool(level)


def array(parts: Sequence[bytes]) -> bytes:
    """The JSON array of messages that are encoded already."""
    return b"[" + b",".join(parts) + b"]"


def extension_fields(message: Message) -> Mapping[str, object]:
    """What is in a message's ``ext``; empty when there is none, or something that is no object."""
    ext = message.get("ext")
    return ext if isinstance(ext, dict) else {}


def milliseconds(advice: object, field: str) -> float | None:
    """A time that a client's advice asks for, in seconds; None when it asks for none."""
    value = advice.get(field) if isinstance(advice, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        return None
    # Not more than a day, so that no number can be too large to reckon with.
    return min(value, 86_400_000) / 1000
