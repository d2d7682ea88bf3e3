"""Who deletes their account is taken out of what they said, and of what another device of theirs
says meanwhile; after a kill, too."""

from __future__ import annotations

import pytest
from twisted.internet.defer import fail
from twisted.logger import LogEvent, LogLevel, capturedLogs

from cometd_chat.chat.departures import LATE, LEFT_ALONE, LOOK_EVERY
from cometd_chat.chat.people_lookup import Person
from cometd_chat.chat.roles import Role
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import StorageUnavailable
from cometd_chat.events.record import Draft
from cometd_chat.log.members import GOES, STAYS, NewMember
from cometd_chat.lookalikes.keys import name_keys
from tests.chat.cluster import Cluster, Node
from tests.chat.parts import House, appoint, now

HERE = "192.0.2.7"


@pytest.fixture(params=["one", "many"])
def house(request: pytest.FixtureRequest, failures: list[LogEvent]) -> House:
    return House() if request.param == "one" else Cluster(2).nodes[0]


def other_of(house: House) -> House:
    """Another node, or the same process after a restart."""
    if isinstance(house, Node):
        return house.cluster.nodes[1]
    return House(directory=house.directory, log=house.log, clock=house.clock)


def beside(house: House) -> House:
    """Another node, where there are several."""
    return house.cluster.nodes[1] if isinstance(house, Node) else house


@pytest.fixture
def bob(house: House) -> Session:
    new = NewMember("bob", name_keys("bob"), "member", "hash", 1)
    session = now(house.sessions.make_member(new))[0]
    say(house, session, "early")
    eve = house.log_in("eve")
    say(house, eve, "hers")
    return session


def say(house: House, who: Session, text: str) -> None:
    now(house.chat.messages.say(who, house.room(), text, address=HERE))


def said(house: House) -> list[tuple[str, str]]:
    """What everybody is shown."""
    found = house.feed.after(house.feed.tail.floor, ["/chat/lobby"], 99) or []
    return [
        (str(each.fields["from"]), str(each.fields.get("text", each.fields.get("deleted"))))
        for each in found
        if each.type == "message"
    ]


def on_disk(house: House) -> list[str]:
    return [str(each.data) for each in now(house.log.read(None, limit=99, types=["message"]))]


def leave(house: House, who: Session, leaving: str) -> None:
    now(house.sessions.remove_member(who.identity, leaving=leaving))
    now(house.chat.departures.begin(who.identity))


def comes_late(house: House, who: Session) -> None:
    """What a node took that had not heard of it."""
    data = {"text": "late"}
    now(house.log.append(Draft("/chat/lobby", "message", who.identity, "bob", data)))


def test_all_goes_with_what_comes_late(house: House, bob: Session) -> None:
    other = beside(house)
    leave(house, bob, GOES)
    assert said(house) == [("deleted user", "own"), ("eve", "hers")]
    comes_late(other, bob)
    house.advance(LATE + LOOK_EVERY)
    for each in (house, other):
        assert said(each)[-1][0] == "deleted user"
        assert "late" not in str(said(each))
    assert "early" not in str(on_disk(house))
    assert "late" not in str(on_disk(house))
    assert "hers" in str(on_disk(house))
    # It is said of all that it is gone, by nobody.
    told = now(house.log.read(None, limit=99, types=["delete"]))
    assert {each.author for each in told} == {"deleted user"}
    assert len(told) == 2


def test_what_stays_is_by_nobody_with_what_comes_late(house: House, bob: Session) -> None:
    other = beside(house)
    leave(house, bob, STAYS)
    comes_late(other, bob)
    house.advance(LATE + LOOK_EVERY)
    for each in (house, other):
        assert said(each) == [("deleted user", "early"), ("eve", "hers"), ("deleted user", "late")]


def test_it_goes_on_after_a_kill(house: House, bob: Session) -> None:
    """Between the transaction and whatever comes after it."""
    now(house.sessions.remove_member(bob.identity, leaving=GOES))
    house.reaper.cancel(house.chat.departures)
    assert "early" in str(on_disk(house))
    other_of(house).advance(LEFT_ALONE + 2 * LOOK_EVERY)
    assert "early" not in str(on_disk(house))


def test_who_starts_goes_on_soon(house: House, bob: Session) -> None:
    """The one that was killed, perhaps: nobody waits until another node takes it for dead."""
    now(house.sessions.remove_member(bob.identity, leaving=GOES))
    house.reaper.cancel(house.chat.departures)
    if isinstance(house, Node):
        later: House = house.cluster.add()
    else:
        later = House(directory=house.directory, log=house.log, clock=house.clock)
    assert LATE + 2 < LEFT_ALONE
    later.advance(LATE + 2)
    assert "early" not in str(on_disk(later))


def test_a_database_that_is_away_is_no_end_of_it(
    house: House, bob: Session, failures: list[LogEvent]
) -> None:
    """The account is deleted, and that is answered; the rest follows."""
    redact = house.log.redact
    refused = StorageUnavailable("Away.", retry_after=1)
    house.log.redact = lambda redaction: fail(refused)  # type: ignore[method-assign]
    with capturedLogs() as warned:
        leave(house, bob, GOES)
    failures.extend(each for each in warned if each["log_level"] >= LogLevel.warn)
    assert len(failures) == 1
    house.log.redact = redact  # type: ignore[method-assign]
    house.advance(LATE + LOOK_EVERY)
    assert "early" not in str(on_disk(house))


def test_what_a_purge_has_hidden_does_not_come_back(house: House, bob: Session) -> None:
    marta = house.log_in("marta")
    appoint(house.changes, marta, Role.ADMIN)
    room, deletions = house.room(), house.chat.deletions
    whom = Person(bob.identity, "bob", Role.MEMBER)
    purge = now(deletions.purge(marta, room, [whom]))
    leave(house, bob, GOES)
    now(deletions.undo(marta, room, purge.id))
    house.advance(5)
    assert "early" not in str(on_disk(house))
    assert "early" not in str(said(house))
