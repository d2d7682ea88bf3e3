"""Ids, epochs and cursors, without a log."""

from __future__ import annotations

import re
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometd_chat.log.epochs import Epochs, random_epoch

#: Made, ten records, put back twice without one, put back again and on.
EPOCHS = Epochs(("aaaa", "bbbb", "cccc", "dddd"), (1, 11, 11, 21))


@pytest.mark.parametrize(
    ("id", "epoch"),
    [(0, "aaaa"), (1, "aaaa"), (10, "aaaa"), (11, "cccc"), (20, "cccc"), (21, "dddd")],
)
def test_an_id_is_of_the_newest_epoch_that_can_have_given_it(id: int, epoch: str) -> None:
    assert EPOCHS.of(id) == epoch


@pytest.mark.parametrize(
    ("cursor", "position"),
    [
        ("10.aaaa", 10),
        ("11.aaaa", None),
        ("11.bbbb", None),
        ("10.cccc", None),
        ("25.dddd", 25),
        ("26.dddd", 26),
        ("20.dddd", None),
        ("0.bbbb", 0),
        ("0.zzzz", None),
    ],
)
def test_a_cursor_is_ours_when_its_epoch_gave_out_its_id_or_may_yet(
    cursor: str, position: int | None
) -> None:
    assert EPOCHS.position(cursor) == position


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.integers(0, 3))
def test_every_cursor_that_is_given_out_leads_back(steps: list[int], since: int) -> None:
    first_ids = list(accumulate(steps, initial=1))
    epochs = Epochs([f"e{number:03}" for number in range(len(first_ids))], first_ids)
    last_id = first_ids[-1] - 1 + since
    for id in range(last_id + 1):
        assert epochs.position(epochs.cursor(id)) == id


def test_random_epochs_differ_and_can_stand_in_a_cursor() -> None:
    names = {random_epoch() for _ in range(200)}
    assert len(names) == 200
    assert all(re.fullmatch("[a-z0-9]{6}", name) for name in names)
