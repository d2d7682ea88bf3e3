"""Killed with -9 in mid-commit, again and again: what was acknowledged is there, once, in order."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.daemon.talk import wait_until
from tests.support import PATIENCE, Daemon

KILLS = 4

APPENDER = Path(__file__).with_name("appender.py")


def append_and_die(path: Path, acknowledged: int) -> list[tuple[int, str]]:
    """Let a process append, kill it after so many acknowledgements, and say which it gave."""
    output = path.with_name("acknowledged")
    output.write_bytes(b"")
    process = Daemon.forked_program(APPENDER, str(path), output=output)

    def has_come() -> bool:
        assert process.poll() is None, output.read_text()
        return output.read_bytes().count(b"\n") >= acknowledged

    wait_until(has_come, "so much is acknowledged")
    process.kill()
    process.wait(PATIENCE)
    lines = output.read_text().splitlines(keepends=True)
    pairs = [line.split() for line in lines if line.endswith("\n")]
    return [(int(id), text) for id, text in pairs]


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    from tests.log.support import opener

    with opener(tmp_path) as open:
        yield open


@pytest.mark.slow
@pytest_twisted.ensureDeferred  # type: ignore[untyped-decorator]
async def test_what_was_acknowledged_survives_a_kill(
    tmp_path: Path, open_store: Callable[[str], Any]
) -> None:
    from tests.log.support import wait

    chance = random.Random(26)
    path = tmp_path / "chat.sqlite"
    known: dict[int, str] = {}
    for _ in range(KILLS):
        acknowledged = append_and_die(path, chance.randrange(1, 300))
        assert acknowledged
        assert known.keys().isdisjoint(id for id, _ in acknowledged)
        known.update(acknowledged)
    log = open_store(path.name).log
    stored = await wait(log.read(["/chat/lobby"], limit=10**6))
    assert [record.id for record in stored] == list(range(1, log.last_id + 1))
    texts = {record.id: record.data["text"] for record in stored}
    assert {id: texts.get(id) for id in known} == known
    assert len(set(texts.values())) == len(texts)
    assert len({record.epoch for record in stored}) == 1
    assert [log.position(log.cursor(id)) for id in known] == list(known)
