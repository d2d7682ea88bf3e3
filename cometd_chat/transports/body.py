"""A request's body that is read while it arrives, line by line.

What it is: Tomcat's READ: bytes in, lines out. A last line needs no end where the body has one.

What it may know: UTF-8, its mark, and line ends. Not what a line means.

Invariant: no more than one line's limit is ever held, and a line that is refused ends with itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from cometd_chat.transports.paced_reader import PacedReader, Pausable

#: The longest line, in bytes: what 8,000 code points can take, and some.
MAX_LINE = 64 * 1024


#: What programs on Windows put before their UTF-8. It is no part of the text, and who reads it may
#: leave it out (RFC 8259, section 8.1).
BYTE_ORDER_MARK = "\ufeff"

_MARK = BYTE_ORDER_MARK.encode()

Text = TypeVar("Text", bound="bytes | str")


def without_mark(data: Text) -> Text:
    """What came, without a byte order mark at its beginning."""
    mark: Any = BYTE_ORDER_MARK if isinstance(data, str) else _MARK
    # A subclass of either would not stay one, but none comes here.
    return cast(Text, data.removeprefix(mark))


class LineListener(Protocol):
    """Who hears the lines."""

    @property
    def held(self) -> int:
        """Bytes of them that wait there."""

    def line_received(self, line: str) -> None:
        """A line, without its end."""

    def line_refused(self, why: str) -> None:
        """A line that can't be one."""

    def body_ended(self) -> None:
        """There are no more."""


class IncomingBody(PacedReader):
    """The body of one request. For its parameters see `PacedReader`."""

    def __init__(
        self, transport: Pausable, call_soon: Callable[[Callable[[], None]], object]
    ) -> None:
        super().__init__(transport, call_soon)
        self._listener: LineListener | None = None
        self._buffer = bytearray()
        # Where a line end may be: what stands before has been looked through.
        self._searched = 0
        self._begun = self._skipping = self._broken_off = False
        self.ended = self._over = False

    @property
    def held(self) -> int:
        """Bytes that wait: for the end of their line, or to be wanted."""
        waiting = 0 if self._listener is None else self._listener.held
        return len(self._buffer) + waiting

    def listen(self, listener: LineListener) -> None:
        """Begin to hear; what has come before comes at once."""
        self._listener = listener
        self._go_on()

    def feed(self, data: bytes) -> int:
        """Some more of the body.

        :returns: bytes that are held here.
        """
        self._buffer += data
        if self._listener is not None:
            self._go_on()
        return len(self._buffer)

    def end(self) -> None:
        """That was all: what is left is a line, too."""
        if self.ended:
            return
        self.ended = True
        if self._listener is not None:
            self._go_on()

    def break_off(self) -> None:
        """There is no more, and it did not end as its head said it would: what is left may be half
        of a line, and is none. (RFC 9112, section 8)"""
        if not self.ended:
            self._broken_off = True
            self.end()

    def _read_one(self) -> bool:
        """Tell the next line. Each byte is looked at once, however few come at once."""
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            if self._searched > MAX_LINE:
                self._skipping = True
                self._buffer.clear()
                self._searched = 0
            if self.ended and not self._over:
                self._over = True
                self._last()
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        self._tell(line)
        return True

    def _last(self) -> None:
        line = bytes(self._buffer)
        self._buffer.clear()
        if self._listener is None:
            return
        if self._broken_off and line.strip():
            self._listener.line_refused("the request broke off before this line's end")
        else:
            self._tell(line)
        self._listener.body_ended()

    def _tell(self, line: bytes) -> None:
        listener = self._listener
        if listener is None:
            return
        if not self._begun:
            self._begun, line = True, without_mark(line)
        if self._skipping or len(line) > MAX_LINE:
            self._skipping = False
            listener.line_refused(f"too long: more than {MAX_LINE} bytes")
            return
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            listener.line_refused("not UTF-8")
            return
        if text.strip():
            listener.line_received(text)
