"""Header lines, as far as the lane's requests have them.

What it is: what came and what is answered, by the names that Twisted's requests have for it.

What it may know: how Twisted writes names of headers.

Invariant: a line that is added is one line, whatever its value is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from twisted.web.http_headers import Headers

#: Lines of headers by name and value, with the name as Twisted writes it. Nearly all that our own
#: code sets are the same each time.
LINES: dict[tuple[str | bytes, str | bytes], tuple[bytes, bytes]] = {}

#: So many of them are kept.
_MOST_LINES = 512

#: Whose value is another one each time: with the places of posts alone there would soon be no room
#: for anything else.
_NOT_KEPT = frozenset((b"Set-Cookie", b"Location"))

#: Names as Twisted writes them: to ask it costs four times what the rest of a line does.
_NAMES: dict[str | bytes, bytes] = {}


def _canonical(name: str | bytes) -> bytes:
    found = _NAMES.get(name)
    if found is None:
        raw = name.encode("ascii") if isinstance(name, str) else name
        ((found, _),) = Headers({raw: [b""]}).getAllRawHeaders()
        if len(_NAMES) < _MOST_LINES:
            _NAMES[name] = found
    return found


def header_line(name: str | bytes, value: str | bytes) -> tuple[bytes, bytes]:
    """The name of a header, and its line; a value that has line ends in it has blanks there."""
    canonical = _canonical(name)
    data = value.encode("utf-8") if isinstance(value, str) else value
    if b"\n" in data or b"\r" in data:
        data = b" ".join(data.splitlines())
    line = (canonical, b"%b: %b\r\n" % (canonical, data))
    if len(LINES) < _MOST_LINES and canonical not in _NOT_KEPT:
        LINES[name, value] = line
    return line


class ReceivedHeaders:
    """Header lines as Twisted's requests have them: what is there of the names that are asked for.

    :param fields: values by names in lower case.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, tuple[str, ...]]) -> None:
        self._fields = fields

    def getRawHeaders(self, name: str, default: Sequence[str]) -> Sequence[str]:
        """All values of a name."""
        return self._fields.get(name.lower(), default)

    def getAllRawHeaders(self) -> Iterator[tuple[bytes, Sequence[bytes]]]:
        """Every name with its values, as bytes."""
        for name, values in self._fields.items():
            yield name.encode("ascii"), [value.encode("ascii") for value in values]


class AnswerHeaders:
    """Where a header is added to an answer, by the name that Twisted's requests have for it.

    :param lines: the answer's header lines by name; None once they are out.
    """

    __slots__ = ("_lines",)

    def __init__(self, lines: dict[bytes, bytes] | None) -> None:
        self._lines = lines

    def addRawHeader(self, name: str | bytes, value: str | bytes) -> None:
        """One more line of a name that may be there already."""
        if self._lines is not None:
            canonical, line = header_line(name, value)
            self._lines[canonical] = self._lines.get(canonical, b"") + line

    def removeHeader(self, name: str) -> None:
        """Leave out all lines of a name."""
        if self._lines is not None:
            canonical, _ = header_line(name, b"")
            self._lines.pop(canonical, None)
