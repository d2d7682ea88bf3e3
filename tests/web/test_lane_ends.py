"""What goes wrong on the way of a hot request: by the lane it ends as it does by Klein."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from cometd_chat.errors import StorageUnavailable
from tests.memory import MemorySite


@pytest.fixture(params=[True, False], ids=["lane", "klein"])
def site(request: pytest.FixtureRequest) -> Iterator[MemorySite]:
    with MemorySite(fast_lane=request.param, tail=10) as made:
        yield made


def test_a_defect(site: MemorySite, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(site.chat.rooms, "find", fail)
    connection = site.connect()
    response = connection.request("GET", "/rooms/lobby.txt")
    assert (response.status, response.json()["type"]) == (500, "/problems/internal-error")
    assert "defect" not in response.text
    (failure,) = site.take_failures()
    assert "a defect of ours" in str(failure["log_failure"].value)
    # The connection is as good as before.
    assert connection.request("GET", "/healthz").text == "alive\n"


def test_a_log_that_cannot_be_read(site: MemorySite) -> None:
    site.fill(30)
    site.log.failing_reads = StorageUnavailable("Later.", retry_after=2)
    response = site.get("/api/v1/events/poll?backlog=20")
    assert (response.status, response.header("retry-after")) == (503, "2")


def test_who_leaves_while_the_log_is_read_is_held_nowhere(site: MemorySite) -> None:
    site.fill(30)
    site.log.holding_reads = True
    connection = site.connect()
    connection.request("GET", "/api/v1/events/stream?backlog=20")
    assert site.log.waiting_reads == 1
    connection.close()
    site.log.answer_read()
    site.turn()
    assert connection.closed
    held = re.findall(r"^comet_chat_held_requests.* (\S+)$", site.metrics, re.M)
    assert {float(each) for each in held} <= {0.0}


def test_who_posts_and_leaves_is_heard(site: MemorySite) -> None:
    token = site.log_in("alice")
    reader = site.get("/api/v1/events/stream")
    connection = site.connect()
    with site.standing_still():
        connection.request(
            "POST", "/api/v1/rooms/lobby/messages", json={"text": "bye"}, token=token
        )
        connection.close()
    site.turn()
    assert '"bye"' in reader.text
