"""The benchmark's reckoning: goals, losses, the ten lines, how far a run is, what is resumed."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.support import ROOT

# As in tests/test_benchmarks.py.
sys.path.append(str(ROOT))
try:
    from benchmarks import __main__ as runner
    from benchmarks import losses, model, report, results, tables, wanted
    from benchmarks.bounds import OutOfTime, within
    from benchmarks.brief import LINES, Line
    from benchmarks.cases import CASES
    from benchmarks.field import FEW, MEASURED_FULLY, Field
    from benchmarks.goals import Goal, Spread
    from benchmarks.plan import Plan, Sample, is_ours
    from benchmarks.processes import BenchmarkFailed
    from benchmarks.progress import Progress
finally:
    sys.path.remove(str(ROOT))


def of(case: str, *samples: Sample) -> dict[str, Any]:
    """Figures of one case."""
    return {case: {"samples": list(samples)}}


def two_rounds(server: str, *figures: float, **key: object) -> list[Sample]:
    """A figure of each round."""
    return [
        {"server": server, **key, "round": round, "cpu_us": figure}
        for round, figure in enumerate(figures)
    ]


# -- goals


def goal(name: str) -> Goal:
    """The one of that name."""
    (found,) = [each for each in wanted.GOALS if each.name == name]
    return found


def test_a_ratio_is_taken_within_a_round() -> None:
    cases = of(
        "fanout",
        *two_rounds("comet", 10.0, 40.0, size=5000),
        *two_rounds("floor", 10.0, 20.0, size=5000),
        *two_rounds("comet", 99.0, 99.0, size=100),
    )
    found = goal("CPU a delivery at 5,000 streams, of the floor's").spread(cases)
    assert found == Spread(1.25, 1.5, 1.75, 2)


def test_a_peer_that_left_counts_as_far_as_it_came() -> None:
    cases = of(
        "fanout",
        *two_rounds("comet", 10.0, 40.0, size=5000),
        *two_rounds("floor", 5.0, size=5000),
        {"server": "floor", "size": 5000, "round": 1, "failed": "it hung"},
    )
    found = goal("CPU a delivery at 5,000 streams, of the floor's").spread(cases)
    assert found == Spread(2.0, 2.0, 2.0, 1)


@pytest.mark.parametrize(
    ("limit", "aim", "at_least", "found", "verdict"),
    [
        (2.0, None, False, 2.0, "reached"),
        (2.0, 1.0, False, 1.0, "reached, the aim too"),
        (2.0, 1.0, False, 2.5, "**missed** by 25 %"),
        (10.0, None, True, 9.0, "**missed** by 10 %"),
        (10.0, 20.0, True, 15.0, "reached"),
    ],
)
def test_a_verdict(
    limit: float, aim: float | None, at_least: bool, found: float, verdict: str
) -> None:
    each = Goal("fanout", "a goal", "ms", lambda _: [found], limit, aim, at_least)
    assert each.verdict(Spread.of([found])) == verdict


def test_what_is_not_measured_is_said() -> None:
    text = report.goals({}, wanted.GOALS)
    assert text.count("| - | not measured |") == len(wanted.GOALS)


def test_no_goal_of_before_is_lost() -> None:
    """Each of the goals of before is here, or a stricter one instead of it."""
    limits = {each.name: each.limit for each in wanted.GOALS}
    before = {
        "CPU a delivery at 5,000 streams, of the floor's": 1.25,
        "CPU a delivery at 5,000 streams, of Nchan's": 1.0,
        "growth of that, of the floor's, from 100 to 15,000 streams": 1.2,
        "p99 of it": 20,
        "p99 of a poll while 15,000 streams are told": 20,
        "memory of an idle `frame` with its session": 2048,
        "memory of an idle `stream` with its session": 2048,
        "memory of an idle `sse` with its session": 2048,
        "memory of an idle `sse` with its session, of Nchan's": 1.0,
        "CPU a poll cycle flat out, 200 clients, of Faye's": 0.5,
        "CPU a poll cycle flat out, 1,000 clients, of Faye's": 0.5,
        "CPU a poll cycle at leisure, 200 clients, of Faye's": 0.5,
        "CPU a poll cycle at leisure, 1,000 clients, of Faye's": 0.5,
        "heartbeats for 10,000 idle streams, of one core": 2.0,
    }
    assert {name for name, limit in before.items() if limits[name] > limit} == set()
    at_least = {
        "deliveries a second flat out, 1,000 streams, of Nchan's": 3.0,
        "deliveries a second flat out, 5,000 streams, of Nchan's": 3.0,
        "durable posts a second, 64 posters (20 % above 10,500)": 2500,
        "durable posts a second, 64 posters, of those with fsync off": 0.5,
    }
    assert {name for name, limit in at_least.items() if limits[name] < limit} == set()


def test_goals_have_names_of_their_own_and_cases_that_there_are() -> None:
    assert len({each.name for each in wanted.GOALS}) == len(wanted.GOALS)
    assert {each.case for each in wanted.GOALS} <= set(CASES)


# -- the page


@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.parametrize(
    "samples",
    [
        [],
        [{"server": "comet", "round": 0}],
        [{"server": "faye", "round": 0, "failed": "it hung"}],
        [
            *two_rounds("comet", 1.0, 2.0, nodes=2),
            *two_rounds("comet", 1.0, 2.0, workers=2),
            *two_rounds("comet", 1.0, 2.0, size=100, streams=100, transport="sse", who="all"),
            *two_rounds("nchan", 1.0, size=100, streams=100, transport="sse", who="all"),
            *two_rounds("nchan", 1.0, size=200),
            {"server": "nchan", "size": 100, "round": 1, "failed": "it hung"},
            {"server": "comet", "round": 0, "seconds": 1.0},
        ],
    ],
    ids=["none", "bare", "all left", "mixed"],
)
def test_a_page_is_written_of_any_samples(case: str, samples: list[Sample]) -> None:
    """A case may measure several things, and a run may stop anywhere."""
    cases = {case: results.case_of(Plan(2), samples, 1.0, "0123456")}
    text = report.page({"machine": {"cores": "2"}, "cases": cases})
    assert "commit 0123456.)" in text
    assert all(each.spread(cases) is None or each.case == case for each in wanted.GOALS)
    model.table(model.following(cases))


def test_a_case_of_several_things_has_a_row_of_each() -> None:
    """Nodes and workers are counted in columns of their own."""
    cases = of(
        "nodes",
        *({"server": "comet", "workers": n, "round": 0, "walk_ms": 50.0 / n} for n in (1, 2)),
        *({"server": "comet", "nodes": n, "round": 0, "last_ms": 2.0} for n in (3, 1)),
    )
    shown = tables.of_case(cases, "nodes", *report.COLUMNS["nodes"])
    rows = [[cell.strip() for cell in row.split("|")[1:4]] for row in shown.splitlines()[2:]]
    assert rows == [
        ["1", "", "Comet Chat"],
        ["3", "", "Comet Chat"],
        ["", "1", "Comet Chat"],
        ["", "2", "Comet Chat"],
    ]
    assert shown.splitlines()[-1].endswith("| 25.0 |")


# -- losses


def test_what_is_lost_is_said_with_who_is_better() -> None:
    cases = of(
        "accept",
        *two_rounds("comet", 60.0, 60.0, who="without a session"),
        *two_rounds("nchan", 20.0, 30.0, who="without a session"),
        *two_rounds("sse_aiohttp", 90.0, 90.0, who="without a session"),
        *two_rounds("comet", 70.0, 70.0, who="with a session"),
    )
    assert losses.found(cases) == [
        "CPU of accept and head of a stream without a session: Nchan 2.50 x better"
    ]


def test_nothing_is_lost_to_ourselves() -> None:
    assert all(map(is_ours, ("comet", "comet, both off", "comet, Bayeux free channel", "no fsync")))
    assert not any(map(is_ours, ("cometd", "faye", "floor", "bare commit")))


def test_bayeux_is_compared_with_who_speaks_it() -> None:
    def cycle(server: str, figure: float) -> Sample:
        return {"server": server, "size": 200, "round": 0, "fast_cycle_us": figure}

    cases = of("poll", cycle("comet, Bayeux", 60.0), cycle("faye", 30.0), cycle("nchan", 5.0))
    assert losses.found(cases) == [
        "CPU a Bayeux poll cycle in a room flat out, 200 clients: Faye 2.00 x better"
    ]


# -- the ten lines


def test_the_page_begins_with_ten_lines() -> None:
    assert len(LINES) == 10
    assert {line.case for line in LINES} <= set(CASES)
    text = report.page(results.load(results.RESULTS))
    assert text.index("In a hurry?") < text.index("## How it was measured") < text.index("## Goals")


def line(**fields: Any) -> Line:
    """A line of a case of two servers."""
    return Line("a stream opens", "accept", "cpu_us", "µs", {"who": "all"}, **fields)


@pytest.mark.parametrize(
    ("ours", "nchan", "more", "verdict"),
    [
        (50.0, 25.0, False, "2.00 x worse"),
        (25.0, 50.0, False, "2.00 x better"),
        (50.0, 25.0, True, "2.00 x better"),
        (50.0, 51.0, False, "equal"),
    ],
)
def test_a_line_says_who_is_better(ours: float, nchan: float, more: bool, verdict: str) -> None:
    cases = of(
        "accept",
        *two_rounds("comet", ours, ours, who="all"),
        *two_rounds("nchan", nchan, nchan, who="all"),
        # Neither the floor nor ourselves are others.
        *two_rounds("floor", 1.0, 1.0, who="all"),
        *two_rounds("comet, both off", 1.0, 1.0, who="all"),
    )
    assert line(more=more).cells(cases)[3] == verdict


def test_a_line_takes_the_best_of_those_who_do_the_same() -> None:
    cases = of(
        "accept",
        *two_rounds("comet", 10.0, 10.0, who="all"),
        *two_rounds("nchan", 20.0, 20.0, who="all"),
        *two_rounds("faye", 40.0, 40.0, who="all"),
        *two_rounds("cometd", 30.0, 30.0, who="all"),
    )
    assert line().cells(cases)[1:] == ["10.0 µs", "Nchan: 20.0 µs", "2.00 x better"]
    assert line(beside=("faye", "cometd")).cells(cases)[2] == "CometD: 30.0 µs"


def test_a_line_says_what_was_not_measured() -> None:
    assert line().cells({}) == ["a stream opens", "not measured", "-", "-"]
    alone = of("accept", *two_rounds("comet", 10.0, 10.0, who="all"))
    assert line().cells(alone) == ["a stream opens", "10.0 µs", "-", "-"]


# -- how far a run is


class Clock:
    """Time that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_what_is_left_goes_by_the_pace_of_what_is_over() -> None:
    clock, out = Clock(), io.StringIO()
    progress = Progress({"fanout": 60.0, "poll": 100.0, "posts": 40.0}, clock, out)
    assert progress.left() == 200.0
    progress.begin("fanout")
    clock.now += 20
    assert progress.left() == 180.0
    progress.say("halfway")
    assert out.getvalue().endswith("[1 of 3, 0:20 min, about 3:00 to go] halfway\n")
    clock.now += 100
    assert progress.left() == 140.0
    assert progress.end() == 120.0
    # Twice as long as expected; so will the others be.
    assert progress.left() == 280.0
    progress.begin("poll")
    clock.now += 50
    assert progress.left() == 230.0


def test_progress_without_cases_says_just_the_time() -> None:
    out = io.StringIO()
    Progress({}, out=out).say("there")
    assert out.getvalue().partition(" ")[2] == "there\n"


# -- bounds


def test_what_takes_too_long_is_left() -> None:
    with (
        pytest.raises(BenchmarkFailed, match="too long"),
        within(0.01, BenchmarkFailed("too long")),
    ):
        signal.pause()


def test_the_sooner_bound_counts() -> None:
    with (
        pytest.raises(OutOfTime),
        within(0.01, OutOfTime("the case")),
        within(60, BenchmarkFailed("the peer")),
    ):
        signal.pause()


def test_an_inner_bound_that_is_kept_leaves_the_outer_one() -> None:
    with within(1000, OutOfTime("the case")):
        with within(500, BenchmarkFailed("the peer")):
            assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 500
        assert 500 < signal.getitimer(signal.ITIMER_REAL)[0] <= 1000
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


# -- which cases


def test_cases_are_chosen_in_their_order() -> None:
    assert runner.chosen("posts,fanout") == ["fanout", "posts"]
    assert runner.chosen("all") == list(CASES)
    goals = runner.chosen("goals")
    assert set(goals) == {each.case for each in wanted.GOALS}
    assert runner.chosen("goals,startup") == [*goals, "startup"]
    with pytest.raises(ValueError, match="no such case: nope; there are all, goals, fanout"):
        runner.chosen("nope")


def test_all_goals_take_less_than_fifty_minutes() -> None:
    assert sum(CASES[case].seconds(7) for case in runner.chosen("goals")) <= 50 * 60


def test_each_case_is_on_the_page_and_has_a_module() -> None:
    there = {path.stem for path in (ROOT / "benchmarks/cases").glob("[a-z]*.py")}
    assert there == set(CASES) == set(report.COLUMNS)


# -- what is resumed


def committed(path: Path) -> None:
    """A checkout with one commit."""
    (path / "benchmarks").mkdir()
    (path / "benchmarks/results.json").write_text("{}")
    (path / "daemon.py").write_text("1")
    git(path, "init", "-q")
    git(path, "add", "-A")
    git(path, "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "one")


def git(path: Path, *arguments: str) -> None:
    """Run git there."""
    subprocess.run(["git", *arguments], cwd=path, check=True, timeout=60)


def test_the_commit_is_that_of_what_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed(tmp_path)
    monkeypatch.setattr(results, "CHECKOUT", tmp_path)
    clean = results.commit()
    assert "dirty" not in clean
    # What a run writes is no change.
    (tmp_path / "benchmarks/results.json").write_text('{"cases": {}}')
    assert results.commit() == clean
    (tmp_path / "daemon.py").write_text("2")
    one = results.commit()
    assert one.startswith(f"{clean}-dirty-")
    (tmp_path / "daemon.py").write_text("3")
    assert results.commit() not in (clean, one)


def test_what_was_measured_alike_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed(tmp_path)
    monkeypatch.setattr(results, "CHECKOUT", tmp_path)
    plan, other = Plan(7), Plan(7, scale=0.1)
    here = results.commit()
    found = {
        "machine": {},
        "cases": {
            "fanout": results.case_of(plan, [], 1.0, here),
            "lone": results.case_of(other, [], 1.0, here),
            "poll": results.case_of(Plan(3), [], 1.0, here),
            "posts": results.case_of(plan, [], 1.0, "0123456"),
            "flood": results.case_of(Plan(7, options=("--heartbeat=20",)), [], 1.0, here),
        },
    }
    path = tmp_path / "results.json"
    results.save(path, found)
    assert results.done(results.load(path), plan) == {"fanout"}
    assert results.done(results.load(path), other) == {"lone"}


def test_a_case_that_fails_leaves_the_figures_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.json"
    old = results.case_of(Plan(7), [{"server": "comet", "posts_s": 1.0}], 1.0, "0123456")
    results.save(path, {"machine": {}, "cases": {"posts": old}})
    before = path.read_text()

    def fails(plan: Plan) -> list[Sample]:
        error = BenchmarkFailed("closed instead of an answer")
        error.command = "twistd -n comet-chat"
        raise error

    monkeypatch.setattr("benchmarks.cases.posts.run", fails)
    said = runner.measure_one(Plan(7), "posts", path)
    assert said == "closed instead of an answer\ntwistd -n comet-chat"
    assert path.read_text() == before

    monkeypatch.setattr("benchmarks.cases.posts.run", lambda _: [{"server": "comet", "x": 1 / 3}])
    assert runner.measure_one(Plan(7), "posts", path) == ""
    (sample,) = json.loads(path.read_text())["cases"]["posts"]["samples"]
    assert sample == {"server": "comet", "x": 0.33333}


def test_every_server_that_is_drawn_has_a_colour() -> None:
    drawn = set(tables.NAMES) - {"comet, room", "comet, free channel"}
    assert drawn <= set(tables.COLOURS)


@pytest.mark.parametrize("name", ["comet", "floor", "nchan"])
def test_who_carries_a_goal_is_measured_in_every_round(name: str) -> None:
    assert rounds_of(name, few=name not in MEASURED_FULLY) == 7


def test_of_others_a_few_rounds_will_do() -> None:
    assert rounds_of("sse_aiohttp", few="sse_aiohttp" not in MEASURED_FULLY) == FEW


def rounds_of(name: str, few: bool) -> int:
    """In how many of seven rounds a server is measured."""
    with Field[None](Plan(7), "a case", {}) as field:
        field.enter(Named(name), lambda _: None, few=few)
        return len(list(field.rounds(lambda _: {"cpu_us": 1.0})))


@attrs.define
class Named:
    """A server that only has a name."""

    name: str
