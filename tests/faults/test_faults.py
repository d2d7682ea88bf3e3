"""The fault run: everybody is cut off again and again, and misses nothing.

Some posters, some readers, nine transports, a daemon that is killed, a proxy that is killed, a link
that is taken down. The seed is printed: with ``COMET_FAULT_SEED`` everybody decides the same again,
and ``COMET_FAULT_SECONDS`` makes a longer run."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.daemon.talk import history, log_in, once, wait_until
from tests.faults.elsewhere import Link, link
from tests.faults.poster import Poster
from tests.faults.reader import IN_ORDER, Reader, World
from tests.faults.troubles import KILL, LINK, PROXY, TERM, Troubles
from tests.faults.verdict import differences
from tests.starter import Forked
from tests.support import PATIENCE, Daemon, free_port
from tests.transport_paths import NAMES

SECONDS = float(os.environ.get("COMET_FAULT_SECONDS") or 12)

READERS, POSTERS = 14, 6

#: A busy machine gets so many times more of that, until there were so many cuts for each second and
#: each transport has told something.
LONGER, CUTS_A_SECOND = 2, 7

#: Seconds between two troubles.
CALM = (0.3, 1.7)

ROOMS = ("lobby", "dev", "stra\N{LATIN SMALL LETTER SHARP S}e")

OPTIONS = (
    "--limits=off",
    "--heartbeat=0.5",
    "--poll-timeout=2",
    "--expiration-delay=5",
    "--reader-budget=32KiB",
)


class Proxy:
    """The proxy's process.

    :param port: what it is in front of.
    :param directory: for what it prints.
    """

    def __init__(self, port: int, directory: Path) -> None:
        self.port = free_port()
        self._to = port
        self._output = directory / f"proxy-{self.port}"
        self._process: Forked | None = None

    def start(self) -> None:
        self._output.write_bytes(b"")
        self._process = Daemon.forked_program(
            Path(__file__).with_name("proxy.py"), str(self.port), str(self._to), output=self._output
        )
        wait_until(self._said, "the proxy listens")

    def _said(self) -> bytes:
        """The lines it has said: of the last there may be a part so far."""
        said, end, _ = self._output.read_bytes().rpartition(b"\n")
        assert said in (b"", b"ready"), self._output.read_text()
        return said + end

    def stop(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(PATIENCE)

    def restart(self) -> None:
        self.stop()
        self.start()


def cause(
    troubles: Troubles,
    daemon: Daemon,
    proxy: Proxy,
    way: Link | None,
    seed: str,
    readers: Sequence[Reader],
) -> None:
    """Make trouble until the time is over."""
    chance = random.Random(f"{seed}/troubles")
    began = time.monotonic()
    while (passed := time.monotonic() - began) < LONGER * SECONDS:
        if passed > SECONDS and has_shown_something(readers):
            break
        time.sleep(chance.uniform(*CALM))
        kind = chance.choice((KILL, TERM, PROXY, LINK))
        if kind == LINK and way is None:
            continue
        with troubles.trouble(kind):
            if kind == KILL:
                daemon.restart(signal.SIGKILL)
            elif kind == TERM:
                daemon.restart(signal.SIGTERM)
            elif kind == PROXY:
                proxy.restart()
            elif way is not None:
                way.take("down")
                time.sleep(chance.uniform(0.5, 3))
                way.take("up")


@contextmanager
def at_work(threads: Sequence[Reader] | Sequence[Poster]) -> Iterator[None]:
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.over.set()


def make_rooms(port: int) -> None:
    token = log_in(port, "maker")
    for room in ROOMS[1:]:
        answer = once(port, "POST", "/api/v1/rooms", token=token, body={"name": room})
        assert answer.status == 201, answer


def make_readers(world: World) -> list[Reader]:
    """Some read one room, some two, some all."""
    start = once(world.port, "GET", "/api/v1/events/poll").json["cursor"]
    some = (ROOMS, ROOMS[:1], ROOMS[1:], (ROOMS[2], ROOMS[0]))
    names = [f"reader{n}" for n in range(READERS)]
    return [
        Reader(world, name, log_in(world.port, name), some[n % len(some)], start)
        for n, name in enumerate(names)
    ]


def make_posters(world: World) -> list[Poster]:
    names = [f"poster{n}" for n in range(POSTERS)]
    return [Poster(world, name, log_in(world.port, name), ROOMS, 0.03) for name in names]


def kept_messages(port: int) -> list[dict[str, object]]:
    """All rooms' messages in the one order of the log."""
    found = [event for room in ROOMS for event in history(port, quote(room))]
    return sorted(found, key=lambda event: int(str(event["id"])))


@pytest.mark.slow
def test_whoever_is_cut_off_misses_nothing(tmp_path: Path) -> None:
    seed = os.environ.get("COMET_FAULT_SEED") or str(random.randrange(2**32))
    print(f"COMET_FAULT_SEED={seed} decides the same again")
    troubles = Troubles()
    with link() as way, daemon_for(tmp_path, way) as daemon:
        proxy = Proxy(daemon.port, tmp_path)
        proxy.start()
        world = World(
            seed=seed,
            port=daemon.port,
            proxy_port=proxy.port,
            troubles=troubles,
            elsewhere=None if way is None else way.socket,
            there="" if way is None else way.place.server,
        )
        try:
            make_rooms(daemon.port)
            readers, posters = make_readers(world), make_posters(world)
            with at_work(readers), at_work(posters):
                cause(troubles, daemon, proxy, way, seed, readers)
            for poster in posters:
                poster.finish()
            for reader in readers:
                reader.finish()
            kept = kept_messages(daemon.port)
            bring_home(readers, kept)
        finally:
            proxy.stop()
    check_log(kept, posters, readers)
    wrong = check_readers(kept, readers)
    print(summary(seed, kept, posters, readers, troubles, "\n".join(wrong)))
    assert not wrong, "\n".join(wrong)
    assert has_shown_something(readers), "too few cuts, or not by all transports"
    assert max(reader.longest_silence for reader in readers) < PATIENCE


@contextmanager
def daemon_for(directory: Path, way: Link | None) -> Iterator[Daemon]:
    port = free_port()
    listen = [f"--listen=tcp:{port}:interface=127.0.0.1"]
    if way is not None:
        listen.append(f"--listen=tcp:{port}:interface={way.place.server}")
    with Daemon(directory, *listen, *OPTIONS, port=port) as daemon:
        yield daemon
    assert "Traceback" not in daemon.log


def bring_home(readers: Sequence[Reader], kept: Sequence[dict[str, object]]) -> None:
    """Each reads to the end by another transport."""
    for number, reader in enumerate(readers):
        last = [event for event in kept if event["room"] in reader.rooms][-1]
        reader.read_to(last, NAMES[number % len(NAMES)])


def check_log(
    kept: Sequence[dict[str, object]], posters: Sequence[Poster], readers: Sequence[Reader]
) -> None:
    """Each acknowledged message is there as it was acknowledged; nothing is there twice."""
    by_client_id = {event.get("client_id"): event for event in kept}
    for poster in posters:
        for client_id, event in poster.acknowledged.items():
            there = by_client_id.pop(client_id)
            # What is repeated by a transport has the cursor of its reader, not its own.
            assert {**event, "cursor": there["cursor"]} == there
    said = {line for reader in readers for line in reader.said}
    lines = [event["text"] for event in kept if "client_id" not in event]
    assert set(lines) <= said
    assert len(lines) == len(set(lines)), "a line of a duplex body is there twice"
    assert set(by_client_id) <= {None}
    assert lines, "nobody said anything by duplex"


def check_readers(kept: Sequence[dict[str, object]], readers: Sequence[Reader]) -> list[str]:
    wrong = []
    for reader in readers:
        expected = [event for event in kept if event["room"] in reader.rooms]
        found = differences(expected, reader.accepted)
        wrong += [f"{reader.name}, {each}" for each in found[:5]]
    return wrong


def all_cuts(readers: Sequence[Reader]) -> Counter[str]:
    """How many of each kind."""
    ends = sum((Counter(reader.ends) for reader in readers), Counter[str]())
    return Counter({kind: count for kind, count in ends.items() if kind not in IN_ORDER})


def has_shown_something(readers: Sequence[Reader]) -> bool:
    """Whether there were cuts enough, and something was accepted by each transport."""
    accepted = sum((Counter(reader.accepted_by) for reader in readers), Counter[str]())
    cuts = sum(all_cuts(readers).values())
    return cuts >= CUTS_A_SECOND * SECONDS and set(accepted) == set(NAMES)


def summary(
    seed: str,
    kept: Sequence[dict[str, object]],
    posters: Sequence[Poster],
    readers: Sequence[Reader],
    troubles: Troubles,
    wrong: str,
) -> str:
    """What a run was, in one paragraph."""
    cuts = all_cuts(readers)
    reopened = sum(reader.ends["reopen"] for reader in readers)
    transports = sum((reader.transports for reader in readers), Counter[str]())
    silence = max(reader.longest_silence for reader in readers)
    accepted = sum((reader.accepted_by for reader in readers), Counter[str]())
    acknowledged = sum(len(poster.acknowledged) for poster in posters)
    broken = sum((poster.broken for poster in posters), Counter[str]())
    return (
        f"fault run, seed {seed}, {SECONDS:g} s: {sum(cuts.values())} cuts "
        f"{dict(sorted(cuts.items()))}; "
        f"{reopened} streams ended with reopen; troubles, in seconds, {troubles.lengths()}; "
        f"visits by transport {dict(transports)}; {len(kept)} messages kept, "
        f"{acknowledged} acknowledged "
        f"after {sum(broken.values())} broken posts {dict(broken)}, "
        f"{sum(poster.repeated for poster in posters)} told again; "
        f"{len(readers)} readers accepted {sum(accepted.values())}, by transport {dict(accepted)}; "
        f"{wrong or 'lost 0, doubled 0'}; "
        f"longest silence {silence:.1f} s"
    )
