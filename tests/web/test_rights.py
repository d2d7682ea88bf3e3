"""Rights that are lost while a request waits: who may not read any more holds nothing."""

from __future__ import annotations

import pytest

from tests.memory import MemorySite
from tests.web.refusals import problem


@pytest.mark.parametrize("transport", ["stream", "poll", "text"])
def test_a_session_that_ends_while_its_transport_is_opened(
    site: MemorySite, transport: str
) -> None:
    token = site.log_in("alice")
    site.log.holding_reads = True
    waiting = site.get(f"/api/v1/events/{transport}?backlog=5", token=token)
    assert site.log.waiting_reads == 1
    assert site.request("DELETE", "/api/v1/session", token=token).status == 204
    site.log.answer_read()
    site.turn()
    problem(site, waiting, 401, "invalid-token")
    assert site.get("/api/v1/rooms/lobby/people").json() == {"people": []}
