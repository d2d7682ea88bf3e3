"""Killed with -9 in mid-commit, again and again: what was acknowledged is there, once, in order."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

import cometd_chat
from tests.support import PATIENCE

KILLS = 4

APPENDER = Path(__file__).with_name("appender.py")


def append_and_die(path: Path, acknowledged: int) -> list[tuple[int, str]]:
    """Let a process append, kill it after so many acknowledgements, and say which it gave."""
    # The package under test, be it installed or the checkout.
    environment = {**os.environ, "PYTHONPATH": str(Path(cometd_chat.__file__).parent.parent)}
    with subprocess.Popen(
        [sys.executable, APPENDER, path], stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(acknowledged)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
        process.wait(PATIENCE)
    pairs = [line.decode().split() for line in lines if line.endswith(b"\n")]
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
