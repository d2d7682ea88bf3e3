"""The daemon's numbers: refusals, the size of the log, the process."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from cometd_chat.log.log import Usage
from cometd_chat.transports.budget import KINDS
from cometd_chat.web.process_numbers import ProcessNumbers
from tests.memory import MakeSite, MemorySite
from tests.web.bayeux import Client
from tests.web.talkers import Socket
from tests.web.transports import Client as Reader


def samples(site: MemorySite) -> dict[str, list[Sample]]:
    """All samples by their names."""
    found: dict[str, list[Sample]] = defaultdict(list)
    for family in text_string_to_metric_families(site.metrics):
        for sample in family.samples:
            found[sample.name].append(sample)
    return found


def value(found: dict[str, list[Sample]], name: str) -> float:
    """The value of a sample that there is one of."""
    (sample,) = found[name]
    return sample.value


def test_refusals_are_counted_by_kind(site: MemorySite) -> None:
    token = site.log_in("alice")
    path = "/api/v1/rooms/lobby/messages"
    for _ in range(2):
        assert site.post(path, {"text": ""}, token=token).status == 400
    assert site.post(path, {"text": "hi"}).status == 401
    assert site.get("/api/v1/events/jsonp?callback=1").status == 200
    socket = Socket(site, token=token)
    socket.say("")
    assert site.get("/rooms/attic", headers={"Accept": "text/html"}).status == 404
    site.connect().send(b"nonsense\r\n\r\n")
    found = samples(site)
    by_kind = {each.labels["error"]: each.value for each in found["comet_chat_refused_total"]}
    assert by_kind == {"invalid-request": 5, "no-session": 1, "room-not-found": 1}


def test_the_process_is_told_by_the_usual_names(site: MemorySite) -> None:
    found = samples(site)
    assert value(found, "process_open_fds") > 3
    assert value(found, "process_max_fds") >= value(found, "process_open_fds")
    assert value(found, "process_resident_memory_bytes") > 2**20
    assert value(found, "process_cpu_seconds_total") > 0
    assert abs(value(found, "process_start_time_seconds") - time.time()) < 3600


def test_a_kernel_that_tells_nothing_leaves_out_what_it_would_tell(tmp_path: Path) -> None:
    names = {metric.name for metric in ProcessNumbers(tmp_path).collect()}
    assert names == {"process_cpu_seconds", "process_start_time_seconds", "process_max_fds"}


@pytest.mark.parametrize(
    ("size", "status", "said"),
    [
        (89, 200, "ready\n"),
        (
            91,
            200,
            "ready, but the log is nearly full: 91 of 100 bytes; raise --max-log and restart\n",
        ),
        (101, 503, "101 of 100 bytes; raise --max-log"),
    ],
)
def test_a_log_that_grows_full_shows(site: MemorySite, size: int, status: int, said: str) -> None:
    site.log.usage = Usage(size, 100)
    response = site.get("/readyz")
    assert response.status == status
    assert said in response.text
    found = samples(site)
    assert value(found, "comet_chat_log_bytes") == size
    assert value(found, "comet_chat_log_limit_bytes") == 100


def test_what_is_held_for_connections_shows_by_kind(make_site: MakeSite) -> None:
    site = make_site(memory_ceiling=256 * 1024)
    reader = Reader(site, "stream", window=1000)
    site.fill(20, text="{}" + "x" * 8000)
    found = samples(site)
    held = {each.labels["kind"]: each.value for each in found["comet_chat_memory_held_bytes"]}
    assert held.keys() == set(KINDS)
    assert held["streams"] > 100_000
    assert value(found, "comet_chat_memory_ceiling_bytes") == 256 * 1024
    assert value(found, "comet_chat_memory_shed_total") == 0
    site.fill(20, text="{}" + "x" * 8000)
    assert reader.connection.closed
    assert value(samples(site), "comet_chat_memory_shed_total") == 1


def test_bayeux_clients_are_counted(site: MemorySite) -> None:
    alice = Client(site, name="alice").joined("/chat/lobby")
    site.say("one")
    alice.pump()
    found = samples(site)
    assert value(found, "comet_chat_bayeux_sessions") == 1
    assert value(found, "comet_chat_bayeux_held_connects") == 1
    delivered = len(alice.delivered)
    assert delivered
    assert value(found, "comet_chat_bayeux_delivered_total") >= delivered
    assert value(found, "comet_chat_bayeux_redelivered_total") == 0
