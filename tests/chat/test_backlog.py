"""Where a reader begins who asks for older events and gives no cursor."""

from __future__ import annotations

from cometd_chat.chat.resume import resume_at
from cometd_chat.events.record import Draft
from tests.chat.parts import House, begun, now
from tests.memory import HeldLog


def test_what_is_said_while_the_first_backlog_is_read_is_not_skipped() -> None:
    log = HeldLog()
    house = House(log=log)
    log.holding_reads = True
    starting = begun(resume_at(house.feed, ["/chat/lobby"], None, backlog=20))
    now(log.append(Draft("/chat/lobby", "message", "s", "ann", {"text": "first"})))
    log.answer_read()
    assert now(starting).position == 0
