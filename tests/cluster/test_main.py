"""``make faults`` itself: what it takes, in which rounds it is made, and how it goes on."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.cluster import __main__ as command
from tests.cluster.__main__ import ROUND, Asked, Round, main, shares


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The rounds that are made, of one part that has three, the second of which is no good at
    first and the third of which breaks off at first."""
    names: list[str] = []

    def part(asked: Asked) -> Iterator[Round]:
        for number in (1, 2, 3):
            yield f"part {number}", make(number)

    def make(number: int) -> Callable[[Path], tuple[str, Mapping[str, int]]]:
        def made(directory: Path) -> tuple[str, Mapping[str, int]]:
            names.append(f"part {number}")
            first = names.count(f"part {number}") == 1
            if number == 3 and first:
                raise AssertionError("nobody came home")
            print(f"summary {number}")
            return f"summary {number}", {"faults": 7, "violations": int(number == 2 and first)}

        return made

    monkeypatch.setattr(command, "PARTS", {"part": part})
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    for name in ("FAULTS", "SEED", "KINDS", "PARTS", "RESULTS"):
        monkeypatch.delenv(name, raising=False)
    return names


@pytest.mark.parametrize("said", [["--help"], ["--parts=no"], ["--kinds=no"], ["--faults=no"]])
def test_nothing_is_made_where_something_else_was_asked(made: list[str], said: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(said)
    assert ended.value.code == (0 if said == ["--help"] else 2)
    assert made == []


def test_what_is_in_the_environment_is_read_the_same_way(
    made: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KINDS", "no such")
    with pytest.raises(SystemExit):
        main([])
    assert "no no such; kill -9" in capsys.readouterr().err
    assert made == []


def test_all_rounds_are_made_and_added_up(
    made: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--seed=9"]) == 1
    said = capsys.readouterr().out
    assert made == ["part 1", "part 2", "part 3"]
    assert "--- part 2 of seed 9\nsummary 2\n" in said
    assert "NO VERDICT: AssertionError: nobody came home" in said
    last = said.splitlines()[-1]
    assert last == "seed 9, 3 rounds: 14 faults, 2 violations; NOT GOOD: ['part 2', 'part 3']"


def test_a_run_goes_on_where_it_was(
    made: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = f"--results={tmp_path / 'results'}"
    assert main(["--seed=9", results]) == 1
    del made[0]
    assert main(["--seed=9", results]) == 0
    assert made == ["part 2", "part 3"] * 2
    said = capsys.readouterr().out
    assert "--- part 1 of seed 9, made before\nsummary 1\n" in said
    assert said.endswith("seed 9, 3 rounds: 21 faults, 0 violations\n")
    assert main(["--seed=10", results]) == 0
    assert made[4:] == ["part 1", "part 2", "part 3"]


@pytest.mark.parametrize("count", [0, 1, 40, ROUND, ROUND + 1, 400, 1000])
def test_rounds_are_of_about_as_many_faults(count: int) -> None:
    made = shares(count)
    assert sum(made) == count
    assert all(0 < each <= ROUND for each in made)
    assert not made or max(made) - min(made) <= 1
