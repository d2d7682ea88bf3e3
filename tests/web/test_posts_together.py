"""Posts that come in one turn of the reactor: one batch, each with its own answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from cometd_chat.errors import StorageUnavailable
from cometd_chat.events.record import Record
from cometd_chat.fastlane.headers import LINES
from tests.memory import MakeSite, MemorySite
from tests.wire import Response

POSTS = "/api/v1/rooms/lobby/messages"


@pytest.fixture(params=[True, False], ids=["lane", "klein"])
def lane(request: pytest.FixtureRequest) -> bool:
    """Whether hot routes have their fast lane."""
    return bool(request.param)


def batches_of(site: MemorySite) -> list[list[str]]:
    """The texts of each batch that is committed from now on."""
    found: list[list[str]] = []

    def note(batch: Sequence[Record]) -> None:
        found.append([record.data["text"] for record in batch])

    site.log.follow(note)
    return found


def post_together(site: MemorySite, posts: Sequence[tuple[str, dict[str, Any]]]) -> list[Response]:
    """Posts that come in the same turn, each on a connection of its own.

    :param posts: a token, and what is posted.
    """
    connections = [site.connect() for _ in posts]
    with site.standing_still():
        answers = [
            connection.request("POST", POSTS, json=body, token=token)
            for connection, (token, body) in zip(connections, posts, strict=True)
        ]
    site.turn()
    return answers


def test_they_are_one_batch_in_their_order(make_site: MakeSite, lane: bool) -> None:
    site = make_site(fast_lane=lane)
    tokens = [site.log_in(f"n{number}") for number in range(3)]
    batches = batches_of(site)
    texts = [f"said {number}" for number in range(12)]
    posts = [(tokens[number % 3], {"text": text}) for number, text in enumerate(texts)]
    answers = post_together(site, posts)
    assert [answer.status for answer in answers] == [201] * 12
    assert [answer.json()["text"] for answer in answers] == texts
    assert [answer.json()["id"] for answer in answers] == list(range(1, 13))
    assert batches == [texts]


def test_what_is_refused_among_them_is_refused_alone(make_site: MakeSite, lane: bool) -> None:
    site = make_site(fast_lane=lane, limits=True)
    tokens = [site.log_in(f"n{number}") for number in range(2)]
    batches = batches_of(site)
    # The first one says more than they may, the second one's words come after all of that.
    much = [(tokens[0], {"text": f"much {number}"}) for number in range(40)]
    others = [(tokens[1], {"text": ""}), (tokens[1], {"text": "a word"}), ("wrong", {"text": "x"})]
    answers = post_together(site, [*much, *others])
    statuses = [answer.status for answer in answers]
    taken = statuses.count(201) - 1
    assert 1 < taken < 40
    assert statuses == [201] * taken + [429] * (40 - taken) + [400, 201, 401]
    assert batches == [[f"much {number}" for number in range(taken)] + ["a word"]]


def test_a_client_id_among_them_is_said_once(make_site: MakeSite, lane: bool) -> None:
    site = make_site(fast_lane=lane)
    token = site.log_in("bob")
    batches = batches_of(site)
    same, other = {"text": "hi", "client_id": "c"}, {"text": "ho", "client_id": "c"}
    answers = post_together(site, [(token, each) for each in (same, same, other)])
    assert [answer.status for answer in answers] == [201, 200, 409]
    assert batches == [["hi"]]


def test_all_of_them_are_told_when_they_were_not_kept(make_site: MakeSite, lane: bool) -> None:
    site = make_site(fast_lane=lane)
    token = site.log_in("bob")
    site.log.failure = StorageUnavailable("Not now.", retry_after=5)
    posts = [(token, {"text": "hi"})] * 3
    answers = post_together(site, posts)
    assert [answer.status for answer in answers] == [503] * 3
    assert [answer.header("Retry-After") for answer in answers] == ["5"] * 3
    site.log.failure = None
    assert [answer.status for answer in post_together(site, posts)] == [201] * 3


def test_their_places_take_no_room_from_headers_that_come_again(make_site: MakeSite) -> None:
    site = make_site()
    for number in range(5):
        site.say(f"{number}")
    assert not [line for name, line in LINES.values() if name == b"Location"]


def waiting(site: MemorySite) -> float:
    """Bytes of what waits to be durable, as the metrics show it."""
    name = 'comet_chat_memory_held_bytes{kind="posts"} '
    (line,) = (line for line in site.metrics.splitlines() if line.startswith(name))
    return float(line.removeprefix(name))


def test_what_waits_for_the_disk_is_in_the_metrics_and_bounded(
    make_site: MakeSite, lane: bool
) -> None:
    ceiling = 8 * 2**20
    site = make_site(fast_lane=lane, memory_ceiling=ceiling)
    token = site.log_in("bob")
    site.log.hold()
    post = (token, {"text": "x" * 8000})
    answers = post_together(site, [post] * 10)
    assert 10 * 32_000 < waiting(site) < ceiling / 8
    answers += post_together(site, [post] * 90)
    refused = [answer.status for answer in answers if answer.complete]
    assert set(refused) == {503}
    assert answers[-1].header("Retry-After") == "1"
    # A quarter: it can't be cut, and must not have all others cut for it.
    assert ceiling / 8 < waiting(site) <= ceiling / 4
    site.log.release()
    site.turn()
    assert waiting(site) == 0
    assert [answer.status for answer in answers].count(201) == 100 - len(refused)
    assert site.say("again")


def test_what_was_taken_is_stored_when_the_daemon_stops(make_site: MakeSite, lane: bool) -> None:
    site = make_site(fast_lane=lane)
    token = site.log_in("bob")
    batches = batches_of(site)
    connection = site.connect()
    with site.standing_still():
        answer = connection.request("POST", POSTS, json={"text": "last words"}, token=token)
        site.move()
        assert not batches
        site.chat.stop()
        assert batches == [["last words"]]
    site.turn()
    assert answer.status == 201
