"""Somebody who reads through a door, whichever it is.

What it is: `Client` opens a door of a `MemorySite`, goes on where a poll is over, and tells what it
saw, by the decoders of `tests.decoders`.

What it may know: the interface's section 4 and 5.

Invariant: a client hands in a cursor that it was given, and does nothing else to miss nothing.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from tests import decoders, doors
from tests.decoders import Seen
from tests.memory import MemorySite
from tests.net import ADDRESS
from tests.wire import Response

#: Doors that go on until somebody ends them, and the classic page.
STREAMS = (*doors.STREAMS, "openchat")

#: Doors whose answer is complete.
POLLS = doors.POLLS

#: Doors that show events as JSON.
JSON = ("frame", "stream", "sse", "multipart", "poll", "jsonp")

#: Doors under ``/api/v1/events/``.
EVENTS = (*doors.STREAMS, *POLLS)

ALL = (*STREAMS, *POLLS)

#: What a browser says of a script that a page of ours loads.
OUR_SCRIPT = {"Referer": "http://127.0.0.1:8080/rooms/lobby", "Sec-Fetch-Site": "same-origin"}


def headers_of(door: str) -> dict[str, str]:
    """What a page of ours sends with a request for a door; without it some are refused."""
    return dict(OUR_SCRIPT) if door == "jsonp" else {}


def door_path(door: str, **query: Any) -> str:
    """Path and query of a door; ``rooms`` and the others as in the interface."""
    if door == "openchat":
        if "rooms" in query:
            query["room"] = query.pop("rooms")
        return "/chat?" + urlencode({"action": "openchat", **query})
    needed = {"text": {"cursors": "1"}, "jsonp": {"callback": "heard"}}.get(door, {})
    return f"/api/v1/events/{door}?" + urlencode({**needed, **query})


class Client:
    """Somebody who reads.

    :param door: its name.
    :param token: of a session; the door ``openchat`` needs one and makes one by itself.
    :param headers: more headers of its requests.
    :param query: see `door_path`; those that are None are left out.
    """

    def __init__(
        self,
        site: MemorySite,
        door: str,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        address: str = ADDRESS,
        window: int | None = None,
        **query: Any,
    ) -> None:
        self.site = site
        self.door = door
        self.connection = site.connect(address, window=window)
        self._query = {name: value for name, value in query.items() if value is not None}
        self._headers = {**headers_of(door), **(headers or {})}
        if door == "openchat" and token is None:
            token = site.log_in(f"reader{len(site.connections)}")
        self._token = token
        self._seen: list[Seen] = []
        self._cursor: str | None = None
        self.response = self._open()

    def _open(self) -> Response:
        path = door_path(self.door, **self._query)
        return self.connection.request("GET", path, token=self._token, headers=self._headers)

    def events(self) -> list[Seen]:
        """All that it has seen so far; a poll that is over is followed by the next."""
        self.go_on()
        return list(self._seen) if self.door in POLLS else decode(self.door, self.response)

    def go_on(self) -> None:
        """Let the next poll follow one that is over; a stream goes on by itself."""
        while self.door in POLLS and self.response.complete and self.response.status == 200:
            answer = read_answer(self.door, self.response)
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
        if self.door not in POLLS:
            (*_, self._cursor) = (each["cursor"] for each in events if each.get("cursor"))
        return self._cursor

    @property
    def over(self) -> bool:
        """Whether its stream has had its proper end."""
        return self.response.complete

    def leave(self) -> None:
        """Close the connection."""
        self.connection.close()


def decode(door: str, response: Response) -> list[Seen]:
    """What a stream has shown so far."""
    body = response.body
    if door == "frame":
        return [event for batch in decoders.read_frame(body).batches for event in batch]
    if door == "multipart":
        return decoders.read_multipart(body, response.header("content-type") or "")
    read = {
        "stream": decoders.read_lines,
        "sse": decoders.read_sse,
        "text": decoders.read_text,
        "openchat": decoders.read_classic,
    }
    return read[door](body)


def read_answer(door: str, response: Response) -> Seen:
    """The answer of a poll."""
    if door == "jsonp":
        return decoders.read_jsonp(response.body)
    answer: Seen = response.json()
    return answer
