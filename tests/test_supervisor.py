"""Workers as their supervisor sees them, on a clock of our own: nothing is started."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from cometd_chat.daemon.children import Owner
from cometd_chat.daemon.lifecycle import CannotStart
from cometd_chat.daemon.supervisor import (
    LEAVE,
    LIVED,
    PULSE,
    PULSES,
    READY,
    SILENCE,
    START_LIMIT,
    STOP,
    STOP_LIMIT,
    Supervisor,
)


class FakeChild:
    """A process that does what the test says."""

    def __init__(self, number: int, slot: int, owner: Owner) -> None:
        self.number = number
        self.slot = slot
        self.owner = owner
        self.pid = 1000 + slot
        self.told: list[str] = []
        self.kills = 0

    def tell(self, word: str) -> None:
        self.told.append(word)

    def kill(self) -> None:
        self.kills += 1

    def end(self, how: str = "ended with status 0") -> None:
        self.owner.ended(how)


class Turns(Clock):
    """A clock whose turns are the test's."""

    def __init__(self, turn: Callable[[], object]) -> None:
        super().__init__()
        self._turn = turn

    def iterate(self, delay: float) -> None:
        self._turn()
        self.advance(delay)


class Site:
    """A supervisor and its children.

    :param workers: how many.
    """

    def __init__(self, workers: int = 2) -> None:
        self.children: list[FakeChild] = []
        self.story: list[object] = []
        #: What happens in each turn while all are started.
        self.turn: Callable[[], object] = self.all_ready
        self.clock = Turns(lambda: self.turn())
        self.refuses = False
        self.supervisor = Supervisor(
            workers,
            self.launch,
            self.clock,
            let_go=lambda: self.story.append("let go"),
            forget=lambda slot: self.story.append(("forget", slot)),
        )
        self.supervisor.watch(self)

    def launch(self, number: int, slot: int, owner: Owner) -> FakeChild:
        if self.refuses:
            raise OSError(11, "Resource temporarily unavailable")
        child = FakeChild(number, slot, owner)
        self.children.append(child)
        return child

    def all_ready(self) -> None:
        for child in self.children:
            child.owner.said(READY)

    def reloading(self) -> None:
        self.story.append("reloading")

    def reloaded(self) -> None:
        self.story.append("reloaded")

    def show(self, status: str) -> None:
        self.status = status

    def pass_time(self, seconds: float, *but: FakeChild) -> None:
        """All but these have a pulse meanwhile, whoever is there."""
        while seconds > 0:
            self.clock.advance(min(1, seconds))
            seconds -= 1
            for child in self.children:
                if child not in but:
                    child.owner.said(PULSES)


@pytest.fixture
def site() -> Site:
    site = Site()
    site.supervisor.startService()
    return site


def test_all_are_started_and_waited_for() -> None:
    site = Site(3)
    ready = iter([0, 2, 1])
    site.turn = lambda: site.children[next(ready)].owner.said(READY)
    site.supervisor.startService()
    assert [(each.number, each.slot) for each in site.children] == [(1, 0), (2, 1), (3, 2)]
    assert site.supervisor.serving == 3
    assert site.status == "3 of 3 workers serve"


def test_a_worker_that_cannot_start_is_the_reason_that_nothing_does() -> None:
    site = Site()

    def turn() -> None:
        first, second = site.children
        if not second.told:
            first.owner.said(READY)
            second.owner.printed(3, "comet-chat: the database is away; start it")
            second.end("ended with status 1")
        else:  # pragma: no cover - whoever is told has gone
            raise AssertionError
        site.turn = first.end

    site.turn = turn
    with pytest.raises(CannotStart) as raised:
        site.supervisor.startService()
    assert str(raised.value) == (
        "worker 2 ended with status 1 before it served: the database is away; start it"
    )
    assert site.children[0].told == [STOP]
    assert len(site.children) == 2


def test_no_process_to_be_had_is_told_with_what_to_look_at() -> None:
    site = Site()
    site.refuses = True
    with pytest.raises(CannotStart, match="limits on memory and processes"):
        site.supervisor.startService()


def test_one_that_takes_for_ever_to_start_is_ended() -> None:
    site = Site()

    def end_all() -> None:
        for child in list(site.children):
            child.end("was ended by SIGKILL")

    def turn() -> None:
        for child in site.children:
            if child.kills or child.told:
                site.turn = end_all

    site.turn = turn
    with pytest.raises(CannotStart, match="SIGKILL before it served"):
        site.supervisor.startService()
    assert site.clock.seconds() >= START_LIMIT


def test_a_dead_one_comes_back_after_a_while_that_grows(site: Site) -> None:
    waits = []
    for _ in range(7):
        site.children[-1].end("was ended by SIGKILL")
        assert site.supervisor.serving == 1
        before, many = site.clock.seconds(), len(site.children)
        while len(site.children) == many:
            site.pass_time(1, *site.children[1:])
        waits.append(site.clock.seconds() - before)
        assert site.children[-1].number == 2
        # Its slot is free again, and so is its place in the table.
        assert site.children[-1].slot == 1
        assert site.story[-1] == ("forget", 1)
        site.children[-1].owner.said(READY)
        assert site.status == "2 of 2 workers serve"
    assert waits == [1, 2, 4, 8, 16, 30, 30]


def test_one_that_served_for_long_did_not_die_of_its_start(site: Site) -> None:
    for _ in range(3):
        site.children[-1].end()
        site.pass_time(40, *site.children[1:])
        site.children[-1].owner.said(READY)
    site.pass_time(LIVED + 1)
    many = len(site.children)
    site.children[-1].end()
    site.pass_time(1)
    assert len(site.children) == many + 1


def test_a_worker_that_dies_in_its_start_is_no_reason_to_start_many(site: Site) -> None:
    site.children[1].end()
    for _ in range(200):
        site.pass_time(1, *site.children[1:])
        for child in site.children[2:]:
            if child.owner in site.supervisor.workers:
                child.end("ended with status 1")
    # After 1, 2, 4, 8 and 16 s, and then every 30.
    assert len(site.children) - 2 == 5 + (200 - 31) // 30
    assert site.supervisor.serving == 1
    assert site.status == "1 of 2 workers serve"


def test_no_process_is_tried_again_later(site: Site) -> None:
    site.refuses = True
    site.children[1].end()
    site.pass_time(2)
    assert len(site.children) == 2
    site.refuses = False
    site.pass_time(2)
    assert len(site.children) == 3


def test_who_has_no_pulse_is_killed(site: Site) -> None:
    first, second = site.children
    site.pass_time(SILENCE - 1, second)
    assert second.kills == 0
    assert site.supervisor.all_live()
    site.pass_time(2, second)
    assert second.kills > 0
    assert first.kills == 0
    # It is there as yet, and should not be.
    assert not site.supervisor.all_live()
    second.end("was ended by SIGKILL")
    assert site.supervisor.all_live()
    site.pass_time(1)
    assert site.children[2].number == 2


def test_a_supervisor_that_stood_still_itself_blames_nobody(site: Site) -> None:
    site.pass_time(PULSE)
    # As after SIGSTOP and SIGCONT: the timers come first, and what was said is read after them.
    site.clock.advance(1000)
    assert not any(each.kills for each in site.children)
    site.pass_time(SILENCE)
    assert not any(each.kills for each in site.children)
    site.pass_time(SILENCE + 1, *site.children)
    assert all(each.kills > 0 for each in site.children)


def test_nobody_serves_is_not_all_live(site: Site) -> None:
    for child in list(site.children):
        child.end()
    assert not site.supervisor.all_live()


def test_stop_lets_go_first_and_waits_for_all(site: Site) -> None:
    stopped = site.supervisor.stopService()
    assert site.story == ["let go"]
    assert [each.told for each in site.children] == [[STOP], [STOP]]
    site.children[0].end()
    done: list[None] = []
    stopped.addCallback(done.append)
    assert done == []
    site.children[1].end()
    assert done == [None]
    site.clock.advance(100)
    assert len(site.children) == 2
    assert site.clock.getDelayedCalls() == []


def test_stop_while_one_is_to_come_back(site: Site) -> None:
    site.children[1].end()
    stopped = site.supervisor.stopService()
    site.children[0].end()
    assert stopped.called
    site.clock.advance(100)
    assert len(site.children) == 2


def test_who_does_not_stop_is_killed(site: Site) -> None:
    stopped = site.supervisor.stopService()
    site.pass_time(STOP_LIMIT)
    assert not any(each.kills for each in site.children)
    site.pass_time(1)
    assert all(each.kills > 0 for each in site.children)
    assert site.supervisor.stop_timeout > STOP_LIMIT + 1
    for child in site.children:
        child.end()
    assert stopped.called


def test_all_are_replaced_one_after_the_other(site: Site) -> None:
    first, second = site.children
    site.supervisor.replace()
    assert site.story == ["reloading"]
    third = site.children[2]
    assert (third.number, third.slot) == (1, 2)
    assert first.told == []
    third.owner.said(READY)
    assert first.told == [LEAVE]
    # No second one begins before the first has gone.
    assert len(site.children) == 3
    first.end()
    fourth = site.children[3]
    assert (fourth.number, fourth.slot) == (2, 0)
    fourth.owner.said(READY)
    assert second.told == [LEAVE]
    second.end()
    assert site.story[-1] == "reloaded"
    assert site.supervisor.serving == 2
    site.pass_time(100)
    assert len(site.children) == 4


def test_when_the_new_code_does_not_start_the_old_goes_on(site: Site) -> None:
    first, second = site.children
    site.supervisor.replace()
    site.children[2].owner.printed(6, "ModuleNotFoundError: no module named chat")
    site.children[2].end("ended with status 1")
    assert site.story[-1] == "reloaded"
    site.pass_time(100)
    assert len(site.children) == 3
    assert first.told == second.told == []
    assert site.supervisor.serving == 2


def test_a_second_wish_while_they_are_replaced_comes_after(site: Site) -> None:
    site.supervisor.replace()
    site.supervisor.replace()
    site.supervisor.replace()
    for old, new in ((0, 2), (1, 3), (2, 4), (3, 5)):
        site.children[new].owner.said(READY)
        site.children[old].end()
    assert [each for each in site.story if isinstance(each, str)] == ["reloading", "reloaded"] * 2
    assert len(site.children) == 6


def test_who_dies_while_the_new_one_starts_is_replaced_by_it(site: Site) -> None:
    site.supervisor.replace()
    site.children[0].end("was ended by SIGKILL")
    site.pass_time(5)
    assert len(site.children) == 3
    site.children[2].owner.said(READY)
    assert [each.number for each in site.children[2:]] == [1, 2]


def test_and_comes_back_when_that_one_fails(site: Site) -> None:
    site.supervisor.replace()
    site.children[0].end("was ended by SIGKILL")
    site.children[2].end("ended with status 1")
    site.pass_time(1)
    assert site.children[3].number == 1


def test_stop_while_they_are_replaced(site: Site) -> None:
    site.supervisor.replace()
    stopped = site.supervisor.stopService()
    assert [each.told for each in site.children] == [[STOP], [STOP], [STOP]]
    for child in list(site.children):
        child.end()
    assert stopped.called
    assert len(site.children) == 3
    assert "reloaded" not in site.story


def test_a_hung_successor_does_not_hold_up_for_ever(site: Site) -> None:
    site.supervisor.replace()
    site.pass_time(START_LIMIT + 1)
    assert site.children[2].kills > 0
    site.children[2].end("was ended by SIGKILL")
    assert site.story[-1] == "reloaded"


def test_words_of_another_release_are_passed_over(site: Site) -> None:
    site.children[0].owner.said("stats 17")
    assert site.supervisor.serving == 2


def test_what_they_print_says_who(site: Site, caught: list[LogEvent]) -> None:
    site.children[0].owner.printed(6, "one")
    site.children[1].owner.printed(4, "two")
    site.children[1].owner.printed(6, "comet-chat: the port is taken")
    assert [(each["log_system"], each["log_level"].name, each["line"]) for each in caught] == [
        ("worker 1", "info", "one"),
        ("worker 2", "warn", "two"),
        ("worker 2", "error", "the port is taken"),
    ]


@implementer(ILogObserver)
class Caught:
    """Lines of workers in the log."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        if "line" in event:
            self.events.append(event)


@pytest.fixture
def caught() -> Iterator[list[LogEvent]]:
    observer = Caught()
    globalLogPublisher.addObserver(observer)
    yield observer.events
    globalLogPublisher.removeObserver(observer)
