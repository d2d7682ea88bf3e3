"""How a node is among others: what a balancer and an operator are told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from cometd_chat.log.condition import MOST_RECORDS, MOST_SECONDS
from cometd_chat.log.leases import RENEW_AFTER
from cometd_chat.transports.peer_counts import LinkNumbers
from tests.node_site import WELL, NodeSite


@pytest.fixture
def site() -> Iterator[NodeSite]:
    with NodeSite() as site:
        yield site


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ({"unreachable_for": MOST_SECONDS}, "out of reach"),
        ({"deaf_for": MOST_SECONDS}, "notifications"),
        ({"lag_records": MOST_RECORDS + 1}, "behind"),
        ({"lag_records": 1, "lag_seconds": MOST_SECONDS}, "behind"),
    ],
)
def test_a_node_in_trouble_is_not_ready(site: NodeSite, trouble: dict[str, Any], said: str) -> None:
    assert site.get("/readyz").status == 200
    site.condition = attrs.evolve(WELL, **trouble)
    answer = site.get("/readyz")
    assert answer.status == 503
    assert said in answer.text
    assert answer.headers["retry-after"]
    assert site.get("/healthz").status == 200, "it is not to be started again for that"
    site.condition = WELL
    assert site.get("/readyz").text == "ready\n"


@pytest.mark.parametrize(
    "trouble",
    [
        {"unreachable_for": MOST_SECONDS - 0.1},
        {"deaf_for": MOST_SECONDS - 0.1},
        {"lag_records": MOST_RECORDS, "lag_seconds": MOST_SECONDS - 0.1},
    ],
)
def test_a_moment_is_no_trouble(site: NodeSite, trouble: dict[str, Any]) -> None:
    site.condition = attrs.evolve(WELL, **trouble)
    assert site.get("/readyz").status == 200


def test_its_numbers(site: NodeSite) -> None:
    site.condition = attrs.evolve(
        WELL, lag_records=3, lag_seconds=1.5, unreachable_for=2.5, deaf_for=3.5
    )
    site.link_numbers = [LinkNumbers(1, up=True, waiting=5, made=2, sent=700, received=900)]
    site.clock.advance(RENEW_AFTER)
    site.clock.advance(2)
    lines = set(site.metrics.splitlines())
    assert {
        'comet_chat_nodes{node="first",number="1"} 1.0',
        'comet_chat_nodes{node="second",number="2"} 1.0',
        "comet_chat_node_number 2.0",
        "comet_chat_lag_records 3.0",
        "comet_chat_lag_seconds 1.5",
        "comet_chat_database_unreachable_seconds 2.5",
        "comet_chat_deaf_seconds 3.5",
        'comet_chat_bells_total{kind="inline"} 5.0',
        'comet_chat_bells_total{kind="read"} 3.0',
        'comet_chat_bells_total{kind="missed"} 1.0',
        "comet_chat_node_commits_total 7.0",
        "comet_chat_commit_seconds_total 0.25",
        "comet_chat_doubtful_commits_total 2.0",
        "comet_chat_notify_queue_usage 0.125",
        'comet_chat_node_silent_seconds{node="first",number="1"} 7.0',
        'comet_chat_link_up{node="first",number="1"} 1.0',
        'comet_chat_link_waiting_bytes{node="first",number="1"} 5.0',
        'comet_chat_link_connections_total{node="first",number="1"} 2.0',
        'comet_chat_link_bytes_sent_total{node="first",number="1"} 700.0',
        'comet_chat_link_bytes_received_total{node="first",number="1"} 900.0',
    } <= lines
