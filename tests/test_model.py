"""What many streams would take, on paper."""

from __future__ import annotations

import sys
from pathlib import Path

import attrs
import pytest

from tests.support import ROOT

# As in tests/test_benchmarks.py.
sys.path.append(str(ROOT))
try:
    from benchmarks.model import Constants, Load, Need, ends, following, table, write
finally:
    sys.path.remove(str(ROOT))


def test_the_docs_have_the_table_that_the_constants_give() -> None:
    assert f"{table()}\n\n{ends()}\n" in (ROOT / "docs/scaling.md").read_text()


def test_the_table_is_written_into_its_place(tmp_path: Path) -> None:
    text = (ROOT / "docs/scaling.md").read_text()
    page = tmp_path / "scaling.md"
    page.write_text(text.replace("| 1 M | 30 min", "| 2 M | 30 min"))
    write(page)
    assert page.read_text() == text


def test_where_following_takes_all_no_number_is_enough() -> None:
    dear = Constants(record=30e-6)
    assert Need(Load(1e7, 300, 100), dear).processes is None
    (line,) = (line for line in table(dear).splitlines() if "no number" in line)
    assert line.startswith("| 10 M | 5 min | 100 | 1 | 33,333 ")
    assert ends(Constants(record=10e-6, bell=0.0)).endswith(
        "takes each process 10 % of a core at 10,000 posts a second, 33 % at 33,000."
    )


def sample(follow: float, batch: float, lone: float, nodes: int = 3) -> dict[str, float]:
    return {
        "nodes": nodes,
        "follow_us": follow,
        "follow_batch": batch,
        "lone_follow_us": lone,
        "lone_follow_batch": 1.0,
    }


def test_what_following_costs_is_measured() -> None:
    rounds = [sample(8 + 100 / 20, 20, 108), sample(99, 1, 99, nodes=2), {"workers": 2}]
    found = following({"nodes": {"samples": rounds}})
    assert found.record == pytest.approx(8e-6)
    assert found.bell == pytest.approx(100e-6)
    assert attrs.evolve(found, record=Constants().record, bell=Constants().bell) == Constants()
    assert following({}) == Constants()
    # Noise, at worst, makes a bell cost nothing.
    assert following({"nodes": {"samples": [sample(20, 20, 18)]}}).bell == 0


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
    assert two.processes is not None
    assert one.processes is not None
    assert two.processes < one.processes
