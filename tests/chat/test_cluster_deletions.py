"""Deleting on several nodes: gone on one is gone on all, and what one began another ends."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import update
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent

from cometd_chat.chat.purge_rows import State
from cometd_chat.chat.roles import Role
from cometd_chat.chat.sessions import Session
from cometd_chat.log.leases import LEASE
from cometd_chat.log.redaction import Redaction
from cometd_chat.log.tables import purges
from tests.chat.cluster import Cluster, Node
from tests.chat.parts import appoint, now

HERE = "192.0.2.7"


@pytest.fixture
def nodes(failures: list[LogEvent]) -> tuple[Node, Node]:
    first, second = Cluster(2).nodes
    return first, second


def say(node: Node, session: Session, text: str) -> int:
    event, _ = now(node.chat.messages.say(session, node.room(), text, address=HERE))
    assert event.id is not None
    return event.id


def moderator(node: Node, name: str = "maud") -> Session:
    session = node.log_in(name)
    appoint(node.changes, session, Role.MODERATOR)
    return session


def texts(node: Node) -> list[object]:
    """What is in the tail of a node, which is what its readers get."""
    found = node.feed.tail.newest(["/chat/lobby"], 999)
    kept = [event.fields for event in found if event.type == "message"]
    return [each.get("text", each.get("deleted")) for each in kept]


def test_what_one_node_deletes_is_gone_on_the_other(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    bob = first.log_in("bob")
    id = say(first, bob, "secret")
    ear = second.listen()
    now(first.chat.deletions.delete(bob, first.room(), id))
    assert texts(first) == texts(second) == ["own"]
    assert ear.take() == ["delete bob"]


def test_who_hears_it_later_shows_it_no_later_than_that(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    bob = first.log_in("bob")
    id = say(first, bob, "secret")
    second.log.delay()
    now(first.chat.deletions.delete(bob, first.room(), id))
    # What is read is gone at once, wherever it is read.
    messages, _ = now(
        second.chat.messages.history(second.room(), None, before=None, after=None, limit=9)
    )
    assert ["text" in event.fields for event in messages] == [False]
    second.log.hurry()
    assert texts(second) == ["own"]


@pytest.mark.parametrize(
    ("state", "wanted"), [(State.HIDING, "moderator"), (State.UNDOING, "spam")]
)
def test_what_a_node_began_that_died_another_one_ends(
    nodes: tuple[Node, Node], state: State, wanted: str
) -> None:
    first, second = nodes
    spammer, maud = first.log_in("spammer"), moderator(first)
    say(first, spammer, "spam")
    whom = now(first.chat.deletions.author(first.room(), "spammer"))
    purge = now(first.chat.deletions.purge(maud, first.room(), [whom]))
    if state is State.HIDING:
        now(first.chat.deletions.undo(maud, first.room(), purge.id))
    change = update(purges).values(state=state.value)
    second.directory.store.write_now(lambda connection: connection.execute(change))
    before = texts(second)
    first.die()
    # The other one is as good as there until its lease is over, and goes on.
    second.advance(LEASE - 5)
    assert texts(second) == before
    # Then it is known to be gone, however lately it worked at it.
    second.advance(8)
    assert texts(second) == [wanted]


def test_what_is_undone_elsewhere_while_it_is_taken_out_comes_back(
    nodes: tuple[Node, Node],
) -> None:
    first, second = nodes
    spammer, maud, mira = first.log_in("spammer"), moderator(first), moderator(second, "mira")
    for number in range(3):
        say(first, spammer, f"spam {number}")
    whom = now(first.chat.deletions.author(first.room(), "spammer"))
    redact = first.log.redact

    def late(redaction: Redaction) -> Deferred[Sequence[int]]:
        first.log.redact = redact  # type: ignore[method-assign]
        # All of an undo, in between.
        assert redaction.purge is not None
        now(second.chat.deletions.undo(mira, second.room(), redaction.purge))
        return redact(redaction)

    first.log.redact = late  # type: ignore[method-assign]
    now(first.chat.deletions.purge(maud, first.room(), [whom]))
    assert texts(first) == texts(second) == ["spam 0", "spam 1", "spam 2"]
