"""Somebody who reads through a transport, whichever it is.

What it is: `Client` opens a transport of a `MemorySite`, goes on where a poll is over, and tells
what it saw, by the decoders of `tests.decoders`.

What it may know: the interface's section 4 and 5.

Invariant: a client hands in a cursor that it was given, and does nothing else to miss nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from tests import decoders
from tests import transport_paths as transports
from tests.decoders import Seen
from tests.memory import MemorySite
from tests.net import ADDRESS
from tests.wire import Response

#: Transports that go on until somebody ends them, and the classic page.
STREAMS = (*transports.STREAMS, "openchat")

#: Transports whose answer is complete.
POLLS = transports.POLLS

#: Transports that show events as JSON.
JSON = ("frame", "stream", "sse", "multipart", "poll", "jsonp")

#: Transports under ``/api/v1/events/``.
EVENTS = (*transports.STREAMS, *POLLS)

ALL = (*STREAMS, *POLLS)

#: What a browser says of a script that a page of ours loads.
OUR_SCRIPT = {"Referer": "http://127.0.0.1:8080/rooms/lobby", "Sec-Fetch-Site": "same-origin"}


def headers_of(transport: str) -> dict[str, str]:
    """What a page of ours sends with a request for a transport; without it some are refused."""
    return dict(OUR_SCRIPT) if transport == "jsonp" else {}


def transport_path(transport: str, **query: Any) -> str:
    """Path and query of a transport; ``rooms`` and the others as in the interface."""
    if transport == "openchat":
        if "rooms" in query:
            query["room"] = query.pop("rooms")
        return "/chat?" + urlencode({"action": "openchat", **query})
    needed = {"text": {"cursors": "1"}, "jsonp": {"callback": "heard"}}.get(transport, {})
    return f"/api/v1/events/{transport}?" + urlencode({**needed, **query})


class Client:
    """Somebody who reads.

    :param transport: its name.
    :param token: of a session; the transport ``openchat`` needs one and makes one by itself.
    :param headers: more headers of its requests.
    :param query: see `transport_path`; those that are None are left out.
    """

    def __init__(
        self,
        site: MemorySite,
        transport: str,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        address: str = ADDRESS,
        window: int | None = None,
        **query: Any,
    ) -> None:
        self.site = site
        self.transport = transport
        self.connection = site.connect(address, window=window)
        self._query = {name: value for name, value in query.items() if value is not None}
        self._headers = {**headers_of(transport), **(headers or {})}
        if transport == "openchat" and token is None:
            token = site.log_in(f"reader{len(site.connections)}")
        self._token = token
        self._seen: list[Seen] = []
        self._cursor: str | None = None
        self.response = self._open()

    def _open(self) -> Response:
        path = transport_path(self.transport, **self._query)
        return self.connection.request("GET", path, token=self._token, headers=self._headers)

    def events(self) -> list[Seen]:
        """All that it has seen so far; a poll that is over is followed by the next."""
        self.go_on()
        return (
            list(self._seen) if self.transport in POLLS else decode(self.transport, self.response)
        )

    def go_on(self) -> None:
        """Let the next poll follow one that is over; a stream goes on by itself."""
        while self.transport in POLLS and self.response.complete and self.response.status == 200:
            answer = read_answer(self.transport, self.response)
            self._seen += answer["events"]
            if answer.get("cursor") is None:
                return
            self._cursor = self._query["cursor"] = answer["cursor"]
            self.response = self._open()

    def of(self, *types: str) -> list[Seen]:
        """The events of some types."""
        return [event for event in self.events() if event["type"] in types]

    def texts(self) -> list[str]:
        """What was said."""
        return [event["text"] for event in self.of("message")]

    @property
    def cursor(self) -> str:
        """Where it would go on, by what it was told last."""
        events = self.events()
        if self._cursor is None:
            (*_, self._cursor) = (each["cursor"] for each in events if each.get("cursor"))
        if self.transport not in POLLS:
            (*_, self._cursor) = (each["cursor"] for each in events if each.get("cursor"))
        return self._cursor

    @property
    def over(self) -> bool:
        """Whether its stream has had its proper end."""
        return self.response.complete

    def leave(self) -> None:
        """Close the connection."""
        self.connection.close()


def decode(transport: str, response: Response) -> list[Seen]:
    """What a stream has shown so far."""
    return DECODERS[transport](response)


def read_answer(transport: str, response: Response) -> Seen:
    """The answer of a poll."""
    return ANSWERS[transport](response)


def _of_frame(response: Response) -> list[Seen]:
    return [event for batch in decoders.read_frame(response.body).batches for event in batch]


#: Events of what a stream has shown so far, by transport.
DECODERS: dict[str, Callable[[Response], list[Seen]]] = {
    "frame": _of_frame,
    "stream": lambda response: decoders.read_lines(response.body),
    "sse": lambda response: decoders.read_sse(response.body),
    "multipart": lambda response: decoders.read_multipart(
        response.body, response.header("content-type") or ""
    ),
    "text": lambda response: decoders.read_text(response.body),
    "openchat": lambda response: decoders.read_classic(response.body),
}

#: The object of a poll's answer, by transport.
ANSWERS: dict[str, Callable[[Response], Seen]] = {
    "poll": lambda response: response.json(),
    "jsonp": lambda response: decoders.read_jsonp(response.body),
}
