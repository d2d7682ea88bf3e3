"""Polls that are answered at once: tabs that follow another catch up by them, many at a time."""

from __future__ import annotations

import pytest

from tests.memory import MakeSite
from tests.web.transports import Client, transport_path


@pytest.mark.parametrize("wait", [0, 25])
def test_what_is_not_held_sends_no_stream_away(make_site: MakeSite, wait: int) -> None:
    # The log is asked, and takes its time: for that long there are many.
    site = make_site(tail=1)
    cookie = {"Cookie": f"comet_session_memory={site.log_in('alice')}"}
    stream = Client(site, "stream", headers=cookie)
    start = site.now
    site.fill(3)
    site.log.holding_reads = True
    path = transport_path("poll", cursor=start, wait=wait)
    polls = [site.get(path, headers=cookie) for _ in range(6)]
    sent_away = [each["reason"] for each in stream.of("bye")]
    assert sent_away == ([] if wait == 0 else ["replaced"])
    while site.log.waiting_reads:
        site.log.answer_read()
    site.turn()
    if wait == 0:
        assert all(b"said 3" in poll.body for poll in polls)
