"""Streams that are opened as others were before: what is theirs alone is looked at each time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cometd_chat.web.opening import Opening
from tests.memory import MemorySite

STREAM = "/api/v1/events/sse?rooms=lobby"


@pytest.fixture
def site() -> Iterator[MemorySite]:
    with MemorySite() as made:
        yield made


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The targets of requests that were checked wholly."""
    checked: list[str] = []
    read = Opening.read

    def noting(self: Opening, request: Any, *arguments: Any) -> Any:
        checked.append(request.uri.decode("ascii"))
        return read(self, request, *arguments)

    monkeypatch.setattr(Opening, "read", noting)
    return checked


def cookie(token: str) -> dict[str, str]:
    return {"Cookie": f"comet_session_memory={token}"}


def people(site: MemorySite) -> list[str]:
    told = site.get("/api/v1/rooms/lobby/people").json()
    return [each["name"] for each in told["people"]]


def test_each_reads_under_their_own_name(site: MemorySite, checked: list[str]) -> None:
    tokens = [site.log_in(name) for name in ("ann", "ben", "cat")]
    streams = [site.get(STREAM, headers=cookie(token)) for token in tokens]
    streams += [site.get(STREAM), site.get(STREAM, token=site.log_in("dan"))]
    assert checked == [STREAM]
    assert people(site) == ["ann", "ben", "cat", "dan"]
    said = site.say("hello")
    for stream in streams:
        assert stream.status == 200
        assert stream.header("content-type") == streams[0].header("content-type")
        assert f'"id":{said["id"]}' in stream.text.replace(" ", "")
    # Who ends is out, and nobody else.
    site.request("DELETE", "/api/v1/session", token=tokens[1])
    assert not streams[0].complete
    assert streams[1].complete
    assert not streams[2].complete


@pytest.mark.parametrize("headers", [cookie("nobody"), {"Authorization": "Bearer nobody"}])
def test_who_is_nobody_is_refused(
    site: MemorySite, checked: list[str], headers: dict[str, str]
) -> None:
    first = site.get(STREAM, headers=headers)
    site.get(STREAM)
    again = site.get(STREAM, headers=headers)
    assert first.status == again.status == 401
    assert first.json()["detail"] == again.json()["detail"]


def test_each_goes_on_where_they_were(site: MemorySite, checked: list[str]) -> None:
    cursors = [site.now]
    for text in ("one", "two"):
        site.say(text)
        cursors.append(site.now)
    site.get(STREAM)
    by_header = [site.get(STREAM, headers={"Last-Event-ID": each}) for each in cursors]
    by_query = [site.get(f"{STREAM}&cursor={each}") for each in cursors]
    assert len(checked) == 2
    for told in (by_header, by_query):
        heard = [[text for text in ("one", "two") if text in each.text] for each in told]
        assert heard == [["one", "two"], ["two"], []]
    wrong = site.get(STREAM, headers={"Last-Event-ID": "no cursor"})
    assert wrong.status == 400


def test_a_session_holds_no_more_than_it_may(site: MemorySite, checked: list[str]) -> None:
    token = site.log_in("ann")
    streams = [site.get(STREAM, headers=cookie(token)) for _ in range(5)]
    assert len(checked) == 1
    assert [stream.complete for stream in streams] == [True, False, False, False, False]


def test_an_address_holds_no_more_than_it_may(checked: list[str]) -> None:
    with MemorySite(limits=True) as site:
        answers = [site.get(STREAM) for _ in range(600)]
        refused = [answer for answer in answers if answer.status != 200 or answer.complete]
        assert refused
        assert len(checked) < 100
        # An event stream is told so in its body, or it would never come back.
        assert all("429" in answer.text and answer.status == 200 for answer in refused)


def test_rights_that_change_are_looked_at(site: MemorySite, checked: list[str]) -> None:
    site.get(STREAM)
    assert site.get(STREAM).status == 200
    assert len(checked) == 1
    site.chat.rights.change(lambda session, act, room: room.name != "lobby")
    assert site.get(STREAM).status == 404
    site.chat.rights.change(None)
    assert site.get(STREAM).status == 200
    assert len(checked) == 2


def test_where_reading_is_not_public_nobody_gets_in_by_another(checked: list[str]) -> None:
    with MemorySite(public_reading=False) as site:
        token = site.log_in("ann")
        assert [site.get(STREAM, token=token).status for _ in range(2)] == [200, 200]
        assert len(checked) == 1
        assert site.get(STREAM).status == 401


def test_what_is_asked_for_differs_by_its_target(site: MemorySite, checked: list[str]) -> None:
    site.get(STREAM)
    other = site.get("/api/v1/events/sse?rooms=dev")
    site.say("hello", "dev")
    assert "hello" in other.text
    assert site.get("/api/v1/events/sse?rooms=none").status == 404
    assert site.get(f"{STREAM}&backlog=1").status == 200
    assert "hello" in site.get("/api/v1/events/sse?rooms=dev&backlog=1").text
    assert len(checked) == 4


def test_with_tokens_in_the_target_nothing_is_kept(site: MemorySite, checked: list[str]) -> None:
    tokens = [site.log_in(name) for name in ("ann", "ben")]
    for token in (*tokens, *tokens):
        assert site.get(f"{STREAM}&token={token}").status == 200
    assert len(checked) == 4
    assert people(site) == ["ann", "ben"]


def test_a_stream_that_is_not_in_the_lane_is_checked(checked: list[str]) -> None:
    with MemorySite(fast_lane=False) as site:
        assert [site.get(STREAM).status for _ in range(2)] == [200, 200]
        assert len(checked) == 2
