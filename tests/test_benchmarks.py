"""The benchmark's own parts that are pure: who takes part, who leaves, what the page says of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import attrs
import pytest

from tests.support import ROOT

# The benchmark is no part of what is installed, and the rest of the checkout shall not be seen.
sys.path.append(str(ROOT))
try:
    from benchmarks import report, tables
    from benchmarks.field import Field, in_a_line, warm
    from benchmarks.plan import Plan, Sample
    from benchmarks.processes import BenchmarkFailed
    from benchmarks.servers import centrifugo, comet, java, optional
    from benchmarks.wire import body, cookie_of
finally:
    sys.path.remove(str(ROOT))

INSTALL = ROOT / "benchmarks/peers/install"


@attrs.define
class Peer:
    """A server that is there, and what happened to it.

    :param fails: in which measurement, counted from 0.
    """

    name: str = "faye"
    fails: int = -1
    compiles: bool = False
    measured: int = 0
    stopped: bool = False

    def arrive(self, stack: ExitStack) -> Peer:
        """Take its place."""
        stack.callback(self.stop)
        return self

    def stop(self) -> None:
        """Be gone."""
        self.stopped = True

    def measure(self) -> Sample:
        """A figure, which falls for a while."""
        if self.measured == self.fails:
            raise BenchmarkFailed("7 streams did not get a message\nand more")
        self.measured += 1
        return {"cpu_us": max(10.0, 100.0 / self.measured)}


class Ours(comet.Comet):
    """Our daemon, which is not started."""

    def __init__(self) -> None:
        self.name = "comet"


def samples(*peers: Peer, rounds: int = 2) -> list[Sample]:
    """What a field of these gives."""
    with Field[Peer](Plan(rounds), "a case", {"size": 100}) as field:
        for peer in peers:
            field.enter(peer, peer.arrive)
        field.warm_up(Peer.measure, "cpu_us")
        return list(field.rounds(Peer.measure))


# -- the field


def test_everyone_is_measured_in_turn() -> None:
    one, other = Peer("faye"), Peer("nchan")
    found = [(each["server"], each["round"], each["size"]) for each in samples(one, other)]
    assert found == [("faye", 0, 100), ("nchan", 0, 100), ("faye", 1, 100), ("nchan", 1, 100)]
    assert one.stopped
    assert other.stopped


def test_a_peer_that_fails_leaves_and_the_others_go_on() -> None:
    bad, good = Peer("faye", fails=1), Peer("nchan")
    found = samples(bad, good, rounds=3)
    assert [each["round"] for each in found if each["server"] == "nchan"] == [0, 1, 2]
    assert [each for each in found if each["server"] == "faye"] == [
        {"server": "faye", "size": 100, "round": 0, "cpu_us": 100.0},
        {"server": "faye", "size": 100, "round": 1, "failed": "7 streams did not get a message"},
    ]


def test_a_peer_that_never_arrives_is_stopped() -> None:
    peer = Peer()

    def arrive(stack: ExitStack) -> Peer:
        peer.arrive(stack)
        raise ConnectionResetError("by peer")

    with Field[Peer](Plan(1), "a case", {"size": 100}) as field:
        field.enter(peer, arrive)
        assert peer.stopped
        assert list(field.rounds(Peer.measure)) == [
            {"server": "faye", "size": 100, "round": 0, "failed": "by peer"}
        ]


def test_our_own_failure_is_the_run_s() -> None:
    def arrive(_: ExitStack) -> Peer:
        raise BenchmarkFailed("no")

    with Field[Peer](Plan(1), "a case", {}) as field, pytest.raises(BenchmarkFailed):
        field.enter(Ours(), arrive)


def test_what_compiles_is_warmed_up() -> None:
    peer, other = Peer(compiles=True), Peer("nchan")
    found = samples(peer, other, rounds=1)
    # It gets no cheaper after its tenth round, and three more show that.
    assert (peer.measured, found[0]["cpu_us"]) == (14, 10.0)
    assert other.measured == 1


def test_a_peer_that_fails_while_it_warms_up_leaves() -> None:
    peer = Peer(compiles=True, fails=4)
    assert [each["failed"] for each in samples(peer)] == ["7 streams did not get a message"]


def test_who_waits_for_a_turn_is_not_forgotten() -> None:
    log: list[str] = []
    one, other = Peer("faye"), Peer("nchan")

    def measure(peer: Peer) -> Sample:
        log.append(peer.name)
        return {"cpu_us": 1.0}

    def wait(peer: Peer) -> None:
        log.append(f"{peer.name} waits")

    with Field[Peer](Plan(1), "a case", {}, wait) as field:
        for peer in (one, other):
            field.enter(peer, peer.arrive)
        list(field.rounds(measure))
    assert log == ["faye waits", "nchan waits", "faye", "faye waits", "nchan"]


def test_who_fails_while_another_is_measured_is_who_leaves() -> None:
    def wait(peer: Peer) -> None:
        if peer.name == "nchan":
            raise BenchmarkFailed("the server closed a connection")

    one, bad = Peer("faye"), Peer("nchan")
    with Field[Peer](Plan(1), "a case", {}, wait) as field:
        for peer in (one, bad):
            field.enter(peer, peer.arrive)
        found = list(field.rounds(Peer.measure))
    assert [(each["server"], each.get("failed", "")) for each in found] == [
        ("faye", ""),
        ("nchan", "the server closed a connection"),
    ]
    assert bad.measured == 0


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], False),
        ([100.0, 100.0, 100.0], False),
        ([100.0, 100.0, 101.0, 99.0], True),
        ([100.0, 50.0, 51.0, 50.0], False),
        ([100.0, 50.0, 51.0, 50.0, 49.0], True),
        ([2.0**-n for n in range(20)], True),
    ],
)
def test_warm(found: list[float], expected: bool) -> None:
    assert warm(found) == expected


def test_what_was_seen_is_a_line() -> None:
    assert in_a_line(OSError()) == "OSError"
    assert in_a_line(BenchmarkFailed("faye did not start: node\nwhat it said")) == (
        "faye did not start: node"
    )
    assert in_a_line(BenchmarkFailed("Traceback (most\n  File\nKeyError: 'a'\n")) == "KeyError: 'a'"


# -- the page


def test_the_page_says_who_left() -> None:
    key = {"transport": "long-polling", "size": 1000, "clients": 100}
    left = {"server": "cometd", **key, "round": 1, "failed": "8 deliveries of 2 messages lost"}
    case = {"when": "now", "commit": "c", "rounds": 2, "scale": 0.1, "options": []}
    found = report.section({"bayeux": {**case, "samples": [left]}}, "bayeux")
    assert "| 1,000 | `long-polling` | CometD | - |" in found
    assert "`make bench CASES=bayeux RESULTS=again.json SCALE=0.1`" in found
    seen = "1,000 clients, `long-polling` transport, round 2: 8 deliveries of 2 messages lost"
    assert f"* CometD, {seen}" in found


# -- who takes part


def test_without_java_its_peers_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert optional.taking_part("bayeux") == []
    assert optional.versions()["CometD"] == "left out: there is no java here"


def test_what_was_not_built_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_java(monkeypatch, tmp_path)
    assert optional.versions()["CometD"].startswith("left out: not built")


def test_what_was_built_takes_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_java(monkeypatch, tmp_path)
    built = tmp_path / "cometd/target"
    (built / "lib").mkdir(parents=True)
    for name in ("lib/cometd-java-server-common-8.0.1.jar", "lib/jetty-server-12.0.2.jar"):
        (built / name).touch()
    (built / "peer.jar").touch()
    assert [peer.name for peer in optional.taking_part("bayeux")] == ["cometd"]
    assert optional.taking_part("posts") == []
    assert optional.versions()["CometD"] == "8.0.1 on Jetty 12.0.2"
    assert java.command("cometd", "CometD", 8090) == [
        "java",
        "-Xmx2048m",
        "-cp",
        f"{built}/peer.jar:{built}/lib/*",
        "peers.CometD",
        "8090",
    ]


def test_centrifugo_needs_to_be_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(centrifugo, "PROGRAM", tmp_path / "centrifugo")
    assert optional.versions()["Centrifugo"].startswith("left out: not built")
    assert "centrifugo" not in [peer.name for peer in optional.taking_part("fanout")]
    (tmp_path / "centrifugo").touch()
    assert re.fullmatch(r"v6\.\d+\.\d+", optional.versions()["Centrifugo"])
    assert "centrifugo" in [peer.name for peer in optional.taking_part("fanout")]


def test_centrifugo_is_given_the_payload_as_it_is() -> None:
    request = centrifugo.Centrifugo().publish(b'{"text": "~"}')
    assert json.loads(body(request)) == {"channel": "lobby", "data": {"text": "~"}}


def test_streams_in_java_are_asked_alike() -> None:
    for peer in (java.Grizzly(), java.Tomcat()):
        assert peer.subscribe().startswith(b"GET /subscribe HTTP/1.1\r\n")
        assert body(peer.publish(b"~")) == body(peer.publish_to_nobody(b"~")) == b"~"


def with_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with Java, where nothing is built."""
    program = tmp_path / "bin/java"
    program.parent.mkdir()
    program.touch(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setattr(java, "PROGRAMS", tmp_path)


def test_each_peer_has_a_name_and_a_colour_on_the_page() -> None:
    names = {kind().name for kind in optional.KINDS}
    assert names <= set(tables.NAMES)
    assert names <= set(tables.COLOURS)


def test_without_tools_nothing_is_installed_and_nothing_fails(tmp_path: Path) -> None:
    (tmp_path / "dirname").symlink_to("/usr/bin/dirname")
    environ = {"PATH": str(tmp_path)}
    done = subprocess.run(
        ["/bin/bash", INSTALL], env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "no Maven with a JDK here for the peers in Java" in done.stderr
    assert "no Go here for Centrifugo" in done.stderr


# -- cookies


def test_a_cookie_that_an_answer_sets() -> None:
    head = b"HTTP/1.1 200 OK\r\nset-cookie: BAYEUX_BROWSER=1a; Path=/\r\nContent-Length: 2\r\n\r\n"
    assert cookie_of(head + b"[]") == "BAYEUX_BROWSER=1a"
    assert cookie_of(b"HTTP/1.1 200 OK\r\n\r\n\r\nSet-Cookie: a=b\r\n") == ""
