"""How often events are made into JSON: once each, and not at all where nobody wants JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from cometd_chat.events import event as events
from cometd_chat.events import kinds
from tests.memory import MakeSite, MemorySite
from tests.web.bayeux import Client as BayeuxClient
from tests.web.transports import Client


class Encodings:
    """What was encoded: as events, and as anything else."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[Any] = []
        self.others: list[Any] = []
        encode_event, encode = events._encode, msgspec.json.encode

        def counting(taken: list[Any], encode: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
            return lambda value: taken.append(value) or encode(value)  # type: ignore[func-returns-value]

        monkeypatch.setattr(events, "_encode", counting(self.events, encode_event))
        monkeypatch.setattr(msgspec.json, "encode", counting(self.others, encode))

    def take(self, *types: str) -> tuple[int, int]:
        """How many events, of some types or of any, and how many others since it was asked last."""
        found = [each for each in self.events if not types or each["type"] in types]
        counts = len(found), len(self.others)
        self.events.clear()
        self.others.clear()
        return counts


@pytest.fixture
def encodings(monkeypatch: pytest.MonkeyPatch) -> Encodings:
    return Encodings(monkeypatch)


@pytest.fixture
def site(make_site: MakeSite) -> MemorySite:
    """Where the tail holds nothing of what the histories show."""
    site = make_site(tail=1)
    site.fill(60)
    return site


def test_a_post_is_encoded_once_for_all(site: MemorySite, encodings: Encodings) -> None:
    token = site.log_in("ann")
    readers = [Client(site, "stream") for _ in range(5)]
    encodings.take()
    answer = site.post(
        "/api/v1/rooms/lobby/messages", {"text": "hi", "client_id": "k"}, token=token
    )
    assert (answer.status, answer.header("location")) == (201, "/api/v1/rooms/lobby/messages/61")
    assert encodings.take("message") == (1, 0)
    assert [reader.of("message") for reader in readers] == [[answer.json()]] * 5
    again = site.post("/api/v1/rooms/lobby/messages", {"text": "hi", "client_id": "k"}, token=token)
    assert (again.status, again.body) == (200, answer.body)
    assert encodings.take("message") == (0, 0)


def test_a_history_encodes_each_message_once(site: MemorySite, encodings: Encodings) -> None:
    answer = site.get("/api/v1/rooms/lobby/messages?limit=50")
    # One more is read, to know whether there are more; it is measured as well.
    assert encodings.take() == (50, 0)
    found = answer.json()
    assert answer.body == json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode()
    assert ([each["id"] for each in found["messages"]], found["more"]) == (
        list(range(11, 61)),
        True,
    )
    assert list(found["messages"][0])[:5] == ["id", "cursor", "room", "type", "from"]


@pytest.mark.parametrize("path", ["/rooms/lobby/plain", "/rooms/lobby"])
def test_a_page_encodes_no_event(site: MemorySite, encodings: Encodings, path: str) -> None:
    token = site.log_in("ann")
    encodings.take()
    assert "said 60" in site.get(path, token=token).text
    assert encodings.take("message")[0] == 0


def test_a_poll_encodes_its_cursor_once(site: MemorySite, encodings: Encodings) -> None:
    answer = site.get(f"/api/v1/events/poll?cursor={site.now}&wait=0")
    assert answer.json() == {"events": [], "cursor": site.now}
    assert encodings.take() == (0, 1)


def test_what_is_told_in_bayeux_alone_is_encoded_as_that(
    site: MemorySite, encodings: Encodings
) -> None:
    client = BayeuxClient(site, ext={"replay": True}, name="carol")
    encodings.take()
    client.joined("/chat/lobby", ext={"replay": {"/chat/lobby": -2}})
    assert len(client.texts) == 60
    assert encodings.take("message")[0] == 0


def test_an_event_that_nobody_asks_for_is_not_encoded(encodings: Encodings) -> None:
    event = kinds.people("lobby", 3)
    assert encodings.take() == (0, 0)
    assert event.json == event.json
    assert encodings.take() == (1, 0)
