"""What clients send, as values.

What it is: from queries, forms and JSON bodies to strings, numbers and objects.

What it may know: requests. Not what the values mean.

Invariant: whatever is wrong is a 400 or 415 that names the field and says what to send.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from twisted.web.iweb import IRequest

from cometd_chat.errors import FieldError, InvalidRequest, NotJson
from cometd_chat.transports.body import without_mark

MAX_FIELDS = 100

#: What stands for something else in a query.
_ESCAPED = re.compile(rb"[%+]")


def refused(field: str, detail: str) -> InvalidRequest:
    """The error for one field."""
    return InvalidRequest(f"{field}: {detail}.", fields=[FieldError(field, detail)])


class Parameters:
    """The fields of a query or a form; each can be given once, but for those that may be more.

    :param several: the values of these, in their order.
    """

    def __init__(
        self, fields: Mapping[str, str], several: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self._fields = fields
        self._several = several or {}

    def all(self, name: str) -> Sequence[str]:
        """All values of a field that may be given several times."""
        return self._several.get(name, ())

    def text(self, name: str, default: str = "") -> str:
        """A field, or the default when it is missing."""
        return self._fields.get(name, default)

    def optional(self, name: str) -> str | None:
        """A field, or None when it is missing."""
        return self._fields.get(name)

    def number(self, name: str, default: int | None, least: int, most: int) -> int | None:
        """A whole number; one over its maximum is cut down to it.

        :raises InvalidRequest: it is no number, or under its minimum.
        """
        text = self._fields.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit()):
            raise refused(name, "a whole number is needed")
        # Python reads no endless numbers; one that long is over any maximum.
        number = int(text) if len(text) <= 30 else most
        if number < least:
            raise refused(name, f"at least {least} is needed")
        return min(number, most)

    def seconds(self, name: str, default: float, most: float) -> float:
        """A time in seconds, fractions allowed; over its maximum it is cut down to it.

        :raises InvalidRequest: it is no such number.
        """
        text = self._fields.get(name)
        if text is None:
            return default
        whole, _, fraction = text.partition(".")
        if not all(part.isascii() and part.isdigit() for part in (whole, fraction or "0")):
            raise refused(name, "a number of seconds is needed")
        return min(float(text), most) if len(text) <= 30 else most


def query(request: IRequest, several: Sequence[str] = ()) -> Parameters:
    """The query's fields.

    :param several: names of fields that may be given several times, see `Parameters.all`.
    :raises InvalidRequest: it isn't UTF-8, or a field is given twice.
    """
    _, _, encoded = request.uri.partition(b"?")
    return _parse(encoded, several)


def form(request: IRequest) -> Parameters:
    """The fields of a form in the body, which says that it is one, or nothing.

    :raises InvalidRequest: it isn't a form.
    """
    kind = content_type(request)
    if kind not in ("application/x-www-form-urlencoded", ""):
        raise InvalidRequest("A form is needed here (application/x-www-form-urlencoded).")
    return parse_form(body(request))


def parse_form(encoded: bytes, several: Sequence[str] = ()) -> Parameters:
    """The fields of a form, however it came; see `query`."""
    return _parse(without_mark(encoded), several)


def _parse(encoded: bytes, several: Sequence[str]) -> Parameters:
    fields: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    pairs: Iterable[Sequence[str]]
    try:
        if encoded.isascii() and not _ESCAPED.search(encoded):
            # As most are, and then they are read in a tenth of the time.
            text = encoded.decode("ascii")
            pairs = [each.partition("=")[::2] for each in text.split("&") if each]
            if len(pairs) > MAX_FIELDS:
                raise ValueError
        else:
            pairs = parse_qsl(
                encoded.decode("utf-8"),
                keep_blank_values=True,
                errors="strict",
                max_num_fields=MAX_FIELDS,
            )
    except UnicodeDecodeError as error:
        raise InvalidRequest("What was sent is not UTF-8.") from error
    except ValueError as error:
        raise InvalidRequest(f"At most {MAX_FIELDS} fields can be sent.") from error
    for name, value in pairs:
        if name in several:
            lists.setdefault(name, []).append(value)
            continue
        if name in fields:
            raise refused(name, "it is given twice")
        fields[name] = value
    return Parameters(fields, lists)


def body(request: IRequest) -> bytes:
    """The whole body."""
    content = request.content
    content.seek(0)
    data: bytes = content.read()
    return data


def content_type(request: IRequest) -> str:
    """The body's media type, without parameters, in lower case; empty when none is given."""
    value = request.getHeader("content-type") or ""
    return value.partition(";")[0].strip().lower()


def json_object(request: IRequest) -> dict[str, Any]:
    """The JSON object in the body.

    :raises NotJson: the body doesn't say that it is JSON.
    :raises InvalidRequest: it isn't, or it is no object.
    """
    if content_type(request) != "application/json":
        raise NotJson("Send a JSON object, with the header Content-Type: application/json.")
    try:
        value = msgspec.json.decode(without_mark(body(request)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise InvalidRequest('The body has to be a JSON object, such as {"name": "alice"}.')
    return value


def string(fields: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A string in a JSON object.

    :param default: for when it is missing; without one it is needed.
    :raises InvalidRequest: it is missing, or no string.
    """
    value = fields.get(name, default)
    if not isinstance(value, str):
        raise refused(name, "a string is needed")
    return value
