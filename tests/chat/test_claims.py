"""Whose a name is: one holder a key, and a claim that is refused has claimed nothing."""

from __future__ import annotations

from itertools import count

import pytest

from cometd_chat.chat.claims import LocalNames, Names
from cometd_chat.chat.cluster_names import ClusterNames
from cometd_chat.chat.roles import Role
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import NameTaken
from tests.chat.cluster import Cluster
from tests.chat.parts import now


@pytest.fixture(params=["one", "many"])
def names(request: pytest.FixtureRequest) -> Names:
    """Those of a process that is alone, and of one of many nodes."""
    if request.param == "one":
        return LocalNames()
    node = Cluster(1).nodes[0]
    return ClusterNames(node.directory, node.nodes, node.reaper)


#: Each with an id of its own, as all sessions.
_ids = count(1)


def session(name_key: str | None = None, name_looks: str | None = None) -> Session:
    return Session(
        next(_ids).to_bytes(1, "big"), b"", "", name_key, name_looks, Role.GUEST, 0, 0, None
    )


def test_who_comes_first_gets_it(names: Names) -> None:
    alice, other = session(), session()
    assert set(now(names.claim(alice, ["alice", "a1ice"]))) == {"alice", "a1ice"}
    with pytest.raises(NameTaken):
        now(names.claim(other, ["alice"]))
    assert now(names.claim(other, ["bob"])) == ["bob"]


def test_a_claim_that_is_refused_has_claimed_nothing(names: Names) -> None:
    alice, other, third = session(), session(), session()
    now(names.claim(alice, ["looks"]))
    with pytest.raises(NameTaken):
        now(names.claim(other, ["free", "looks"]))
    assert now(names.claim(third, ["free"])) == ["free"]


def test_only_what_is_new_is_handed_back(names: Names) -> None:
    """So that whoever does not get the new name after all keeps the old one."""
    alice = session()
    now(names.claim(alice, ["alice", "both"]))
    new = now(names.claim(alice, ["alicia", "both"]))
    assert new == ["alicia"]
    names.release(alice, new)
    with pytest.raises(NameTaken):
        now(names.claim(session(), ["both"]))


def test_what_is_another_s_is_not_released(names: Names) -> None:
    alice, other = session(), session()
    now(names.claim(other, ["alice"]))
    names.release(alice, ["alice", "never claimed"])
    with pytest.raises(NameTaken):
        now(names.claim(alice, ["alice"]))


def test_what_the_directory_says_is_noted_unless_it_was_taken_since() -> None:
    names = LocalNames()
    kept, late = session("alice", "a1ice"), session("bob", "b0b")
    assert names.adopt(kept)
    now(names.claim(session(), ["b0b"]))
    assert not names.adopt(late)
    assert now(names.claim(session(), ["bob"])) == ["bob"]
    with pytest.raises(NameTaken):
        now(names.claim(session(), ["a1ice"]))
