"""What a worker is told, and the words and lines between it and its supervisor."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from ipaddress import ip_address

import attrs
import pytest
from twisted.internet import reactor
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import Clock

from cometd_chat.daemon.children import MOST_OF_A_LINE, ChildProcess, Lines
from cometd_chat.daemon.option_values import Percent
from cometd_chat.daemon.ports import Inherited
from cometd_chat.daemon.settings import Options, Settings
from cometd_chat.daemon.supervisor import LEAVE, PULSE, STOP
from cometd_chat.daemon.worker import GRACE, Departure, Link, Orders, PipeLog
from tests.servers import spin_until

ORDERS = Orders(
    number=2,
    slot=3,
    slots=9,
    node="chat-1/2",
    control=5,
    balance=6,
    listen=(Inherited("tcp:8080", 7), Inherited("unix:/run/chat", 8)),
    metrics=(Inherited("tcp:9100", 9),),
    reactor="twisted.internet.epollreactor",
)


def settings(*arguments: str) -> Settings:
    options = Options({})
    options.parseOptions(["--database=postgresql:///chat", "--workers=4", *arguments])
    return options.settings


def test_orders_go_by_text() -> None:
    assert Orders.from_text(ORDERS.as_text()) == ORDERS
    assert ORDERS.files == [6, 7, 8, 9]


def test_what_a_later_supervisor_says_more_is_passed_over() -> None:
    text = json.dumps(json.loads(ORDERS.as_text()) | {"colour": "blue"})
    assert Orders.from_text(text) == ORDERS


def test_what_holds_for_all_becomes_what_one_has() -> None:
    mine = ORDERS.applied_to(settings("--memory-ceiling=400MiB", "--heartbeat=5"))
    assert mine.listen == ("tcp:8080", "unix:/run/chat")
    assert mine.metrics == "tcp:9100"
    assert (mine.workers, mine.node, mine.heartbeat) == (1, "chat-1/2", 5)
    assert mine.memory_ceiling == 100 * 2**20
    assert ORDERS.applied_to(settings()).memory_ceiling == Percent(6.25)
    # A free port is one of its own; one that was given is the first of several.
    assert mine.peer == "tcp:0:interface=127.0.0.1"
    for given, own in (
        ("tcp:8090:interface=10.0.0.1", "tcp:8093:interface=10.0.0.1"),
        ("tcp:port=8090:interface=10.0.0.1", "tcp:port=8093:interface=10.0.0.1"),
        (r"tcp6:8090:interface=fd00\:\:1", r"tcp6:8093:interface=fd00\:\:1"),
    ):
        assert ORDERS.applied_to(settings(f"--peer={given}")).peer == own
    address = f"[{ip_address('fd00::9')}]"
    both = settings("--peer=tcp:9000", f"--peer-address={address}:8090")
    assert ORDERS.applied_to(both).peer_address == f"{address}:8093"
    without = attrs.evolve(ORDERS, metrics=())
    assert without.applied_to(settings()).metrics is None


class Readers(Clock):
    """A reactor that a test turns by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Lines] = []
        self.running: list[object] = []
        self.stops = 0
        self.is_running = True

    def addReader(self, reader: Lines) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Lines) -> None:
        self.readers.remove(reader)

    def callWhenRunning(self, function: object) -> None:
        self.running.append(function)
        function()  # type: ignore[operator]

    def stop(self) -> None:
        if not self.is_running:
            raise ReactorNotRunning
        self.is_running = False
        self.stops += 1

    def turn(self) -> None:
        for reader in list(self.readers):
            reader.doRead()


@pytest.fixture
def linked() -> Iterator[tuple[Link, socket.socket, Readers]]:
    ours, theirs = socket.socketpair()
    turns = Readers()
    link = Link(theirs.detach(), turns)
    link.startService()
    yield link, ours, turns
    ours.close()
    turns.turn()


def test_a_worker_says_that_it_serves_and_lives(
    linked: tuple[Link, socket.socket, Readers],
) -> None:
    _, ours, turns = linked
    assert ours.recv(100) == b"ready\npulse\n"
    turns.advance(PULSE)
    assert ours.recv(100) == b"pulse\n"


@pytest.mark.parametrize("word", [STOP, LEAVE])
def test_it_stops_when_told(linked: tuple[Link, socket.socket, Readers], word: str) -> None:
    link, ours, turns = linked
    ours.sendall(b"what is this\n" + word.encode())
    turns.turn()
    assert turns.stops == 0
    ours.sendall(b"\n" + word.encode() + b"\n")
    turns.turn()
    assert turns.stops == 1
    assert link.is_replaced is (word == LEAVE)
    ours.close()
    turns.turn()
    assert turns.stops == 1


def test_it_stops_with_its_supervisor(linked: tuple[Link, socket.socket, Readers]) -> None:
    link, ours, turns = linked
    ours.close()
    turns.turn()
    assert turns.stops == 1
    assert not link.is_replaced
    # Pulses go nowhere, and stop nothing.
    turns.advance(PULSE)


def test_one_that_does_not_read_holds_nobody_up(
    linked: tuple[Link, socket.socket, Readers],
) -> None:
    _, _, turns = linked
    for _ in range(50_000):
        turns.advance(PULSE)


def test_only_who_is_replaced_answers_on(linked: tuple[Link, socket.socket, Readers]) -> None:
    link, ours, turns = linked
    story: list[str] = []

    def departure() -> Departure:
        part = Departure(link, lambda: story.append("part"), lambda: story.append("close"), turns)
        part.startService()
        return part

    done: list[object] = []
    departure().stopService().addCallback(done.append)
    assert (story, done) == ([], [None])
    ours.sendall(b"leave\n")
    turns.turn()
    departure().stopService().addCallback(done.append)
    assert story == ["part"]
    # What the same turn brings besides, such as what has come by connections, comes before.
    turns.callLater(GRACE, story.append, "read")
    turns.advance(GRACE)
    assert story == ["part", "read", "close"]
    assert len(done) == 2


def test_a_log_that_nobody_reads_is_dropped_and_told_so() -> None:
    reading, writing = os.pipe()
    log = PipeLog(writing)
    line = "<6>" + "x" * 996 + "\n"
    for _ in range(1000):
        log.write(line)
    taken = os.read(reading, 2**20)
    assert len(taken) < 1000 * len(line)
    log.write("<6>again\n")
    notice, again = os.read(reading, 2**20).splitlines()[-2:]
    assert again == b"<6>again"
    assert notice.startswith(b"<4>")
    lost = int(notice[3:].split()[0])
    assert 1000 - len(taken) // len(line) - 1 <= lost <= 1000
    os.close(reading)
    log.write(line)
    os.close(writing)


class Told:
    """The owner of a child."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.lines: list[tuple[int, str]] = []
        self.ends: list[str] = []

    def said(self, word: str) -> None:
        self.words.append(word)

    def printed(self, priority: int, line: str) -> None:
        self.lines.append((priority, line))

    def ended(self, how: str) -> None:
        self.ends.append(how)


def child(program: str) -> tuple[ChildProcess, Told]:
    owner = Told()
    return (
        ChildProcess(
            [sys.executable, "-c", program],
            (),
            lambda control: {**os.environ, "CONTROL": str(control)},
            owner,
            reactor,
        ),
        owner,
    )


def test_a_child_says_prints_and_ends() -> None:
    process, owner = child(
        "import os, socket, sys\n"
        "control = socket.socket(fileno=int(os.environ['CONTROL']))\n"
        "control.sendall(b'ready\\n')\n"
        "assert control.recv(100) == b'go\\n'\n"
        "print('<3>oh', '', '<7>a \u2603', 'plain', sep='\\n', flush=True)\n"
        "assert os.getsid(0) == os.getpid()\n"
        "print('no end', end='', file=sys.stderr)\n"
        "sys.exit(3)\n"
    )
    spin_until(lambda: owner.words)
    process.tell("go")
    spin_until(lambda: owner.ends)
    assert owner.words == ["ready"]
    assert owner.lines == [(3, "oh"), (7, "a \u2603"), (6, "plain"), (6, "no end")]
    assert owner.ends == ["ended with status 3"]
    process.tell("anything")


def test_a_child_that_is_killed() -> None:
    process, owner = child("import time; time.sleep(600)")
    process.kill()
    spin_until(lambda: owner.ends)
    assert owner.ends == ["was ended by SIGKILL"]


def test_who_inherited_its_output_keeps_nobody_waiting() -> None:
    _, owner = child(
        "import os, sys, time\n"
        "print('parent', flush=True)\n"
        "if os.fork() == 0:\n"
        "    os.close(int(os.environ['CONTROL']))\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(600)\n"
        "time.sleep(0.1)\n"
        "os._exit(0)\n"
    )
    spin_until(lambda: owner.ends)
    assert owner.ends == ["ended with status 0"]
    os.kill(int(owner.lines[1][1]), signal.SIGKILL)


def test_a_line_without_end_is_cut() -> None:
    _, owner = child(f"print('x' * {3 * MOST_OF_A_LINE})")
    spin_until(lambda: owner.ends)
    assert sum(len(line) for _, line in owner.lines) == 3 * MOST_OF_A_LINE
    assert max(len(line) for _, line in owner.lines) < 2 * MOST_OF_A_LINE
