"""The readers of a cluster: when they have come to the end."""

from __future__ import annotations

import pytest

from tests.cluster.history import History, WasReset
from tests.cluster.readers import ClusterReader, world
from tests.decoders import Seen

LAST: Seen = {"type": "message", "id": 124, "cursor": "124.b", "room": "lobby", "text": "last"}


@pytest.fixture
def reader() -> ClusterReader:
    """One who has not begun."""
    return ClusterReader(History(), world("seed", 1, 2), "ada", "token", ("lobby",), "7.a", 7)


def test_whoever_was_told_the_last_is_there(reader: ClusterReader) -> None:
    assert not reader._is_at(LAST)
    reader.accepted.append(LAST)
    assert reader._is_at(LAST)


@pytest.mark.parametrize(
    ("cursor", "there"), [("124.b", True), ("130.b", True), ("123.b", False), ("130.a", False)]
)
def test_whoever_is_to_begin_anew_after_the_last_is_there(
    reader: ClusterReader, cursor: str, there: bool
) -> None:
    """By the epoch of the last: what an earlier restore has taken is no end."""
    reader._hear_of_loss({"type": "reset", "reason": "another log", "cursor": cursor})
    assert reader._is_at(LAST) == there
    assert len(reader.history.all(WasReset)) == 1
