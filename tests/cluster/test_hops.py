"""From node to node after each event, of which one hears everything half a second late; and all
workers replaced under readers. ``make faults`` does both on a larger scale."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.checker import check
from tests.cluster.cluster import cluster
from tests.cluster.history import History
from tests.cluster.hops import Handed, hop, one_after_the_other
from tests.cluster.people import make_rooms
from tests.cluster.rolling import roll_workers

pytestmark = pytest.mark.slow


def test_readers_hop_from_node_to_node(tmp_path: Path) -> None:
    history = History(seed="hops")
    with cluster(tmp_path, 3, cables=0, slow=2) as made:
        ports = list(made.listening.values())
        make_rooms(ports[0])
        assert hop(history, ports, hoppers=6, hops=180) >= 180
        verdict = check(history)
        assert not verdict.violations, str(verdict)
        print(verdict.summary)
        for turn in range(3):
            turned = [*ports[turn:], *ports[:turn]]
            handed = one_after_the_other(turned, turn)
            assert b'"type":"bye"' in handed.stream
            assert handed == Handed(200, handed.stream, 401)


def test_workers_are_replaced_and_nobody_is_refused(tmp_path: Path) -> None:
    rolled = roll_workers(tmp_path, 2, 100, fresh=False)
    assert (rolled.wrong, rolled.incomplete) == ((), 0), str(rolled)
    assert rolled.moved >= 100
    assert rolled.served > 0
