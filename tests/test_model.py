"""What many streams would take, on paper."""

from __future__ import annotations

import sys

import pytest

from tests.support import ROOT

# As in tests/test_benchmarks.py.
sys.path.append(str(ROOT))
try:
    from benchmarks.model import Constants, Load, Need, table
finally:
    sys.path.remove(str(ROOT))


def test_the_docs_have_the_table_that_the_constants_give() -> None:
    assert table() in (ROOT / "docs/scaling.md").read_text()


def test_a_commit_holds_as_much_as_keeps_the_lock_free_for_a_third_of_the_time() -> None:
    each = Constants()
    for posts in (600, 3_000, 30_000):
        need = Need(Load(posts * 300, 300, 100), each)
        held = need.commits * (each.lock + each.flush + each.row * need.posts_a_commit)
        assert held == pytest.approx(2 / 3)


def test_a_post_that_comes_alone_has_a_commit_of_its_own() -> None:
    need = Need(Load(3_000, 300, 100), Constants())
    assert (need.posts_a_commit, need.commits) == (1, 10)


def test_cells_halve_what_a_process_follows() -> None:
    one, two = (Need(Load(1e7, 300, 100, cells), Constants()) for cells in (1, 2))
    assert two.following < one.following / 1.5
    assert two.processes < one.processes
