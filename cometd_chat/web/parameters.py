"""What clients send, as values.

What it is: from queries, forms and JSON bodies to strings, numbers and objects.

What it may know: requests. Not what the values mean.

Invariant: whatever is wrong is a 400 or 415 that names the field and says what to send.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from cometd_chat.errors import FieldError, InvalidRequest, NotJson
from cometd_chat.transports.body import without_mark
from cometd_chat.transports.request import HttpRequest

MAX_FIELDS = 100

#: Where scripts that stand in for EventSource say what a browser says by the header Last-Event-ID:
#: Yaffle's, its older forms and those of others, and amvtek's.
LAST_EVENT_ID = frozenset({"lastEventId", "lastEventID", "Last-Event-ID", "evs_last_event_id"})

#: What stands for something else in a query.
_ESCAPED = re.compile(rb"[%+]")


def refused(field: str, detail: str) -> InvalidRequest:
    """The error for one field."""
    return InvalidRequest(f"{field}: {detail}.", fields=[FieldError(field, detail)])


class Parameters:
    """The fields of a query or a form. What is asked for has to be there once at most, unless it is
    asked for by `all` or `last`.

    :param pairs: names and values, in their order.
    """

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._pairs = pairs
        self._fields = dict(pairs)

    def check(self) -> None:
        """Refuse fields that are given twice.

        :raises InvalidRequest: one is.
        """
        if len(self._fields) < len(self._pairs):
            for name, _ in self._pairs:
                self._get(name)

    def _get(self, name: str) -> str | None:
        if len(self._fields) < len(self._pairs) and len(self.all(name)) > 1:
            raise refused(name, "it is given twice")
        return self._fields.get(name)

    def all(self, name: str) -> Sequence[str]:
        """All values of a field that may be given several times, in their order."""
        return [value for each, value in self._pairs if each == name]

    def last(self, names: Container[str]) -> str | None:
        """The last value of any of some fields; None when none is there."""
        return next((value for each, value in reversed(self._pairs) if each in names), None)

    def text(self, name: str, default: str = "") -> str:
        """A field, or the default when it is missing."""
        value = self._get(name)
        return default if value is None else value

    def optional(self, name: str) -> str | None:
        """A field, or None when it is missing."""
        return self._get(name)

    def number(self, name: str, default: int | None, least: int, most: int) -> int | None:
        """A whole number; one over its maximum is cut down to it.

        :raises InvalidRequest: it is no number, or under its minimum.
        """
        text = self._get(name)
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
        text = self._get(name)
        if text is None:
            return default
        whole, _, fraction = text.partition(".")
        if not all(part.isascii() and part.isdigit() for part in (whole, fraction or "0")):
            raise refused(name, "a number of seconds is needed")
        return min(float(text), most) if len(text) <= 30 else most


def query(request: HttpRequest, *, strict: bool = True) -> Parameters:
    """The query's fields.

    :param strict: no field may be given twice; else none that is asked for.
    :raises InvalidRequest: it isn't UTF-8, or a field is given twice.
    """
    _, _, encoded = request.uri.partition(b"?")
    return _parse(encoded, strict)


def last_event_id(request: HttpRequest, fields: Parameters) -> str | None:
    """How far an EventSource has come (HTML, section 9.2); None when it doesn't say.

    :param fields: of its query. Scripts that stand in for it can't send the header to other sites,
        or to ours in old browsers. They add to the URL, whether something of the kind is there or
        not, so that the last one counts.
    """
    told = request.getHeader("last-event-id") or fields.last(LAST_EVENT_ID)
    return told or None


def form(request: HttpRequest) -> Parameters:
    """The fields of a form in the body, which says that it is one, or nothing.

    :raises InvalidRequest: it isn't a form.
    """
    kind = content_type(request)
    if kind not in ("application/x-www-form-urlencoded", ""):
        raise InvalidRequest("A form is needed here (application/x-www-form-urlencoded).")
    return parse_form(body(request))


def parse_form(encoded: bytes, *, strict: bool = True) -> Parameters:
    """The fields of a form, however it came; see `query`."""
    return _parse(without_mark(encoded), strict)


def _parse(encoded: bytes, strict: bool) -> Parameters:
    try:
        if encoded.isascii() and not _ESCAPED.search(encoded):
            # As most are, and then they are read in a tenth of the time.
            text = encoded.decode("ascii")
            parts = [each.partition("=") for each in text.split("&") if each]
            pairs = [(name, value) for name, _, value in parts]
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
    fields = Parameters(pairs)
    if strict:
        fields.check()
    return fields


def body(request: HttpRequest) -> bytes:
    """The whole body."""
    content = request.content
    content.seek(0)
    return content.read()


def content_type(request: HttpRequest) -> str:
    """The body's media type, without parameters, in lower case; empty when none is given."""
    value = request.getHeader("content-type") or ""
    return value.partition(";")[0].strip().lower()


def json_object(request: HttpRequest) -> dict[str, Any]:
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
