"""Links between nodes, over a network in memory."""

from __future__ import annotations

import os
import struct

import attrs
import pytest

from cometd_chat.comet.reaper import Reaper
from cometd_chat.transports.budget import MemoryBudget
from cometd_chat.transports.peer_greeting import Connecting, Credentials
from cometd_chat.transports.peer_link import MAX_FRAME, MAX_GREETING, MAX_WAITING, LinkState
from cometd_chat.transports.peer_links import (
    DEAD_AFTER,
    GREET_WITHIN,
    MOST_STRANGERS,
    FrameTooLarge,
    PeerLinks,
)
from tests.peer_net import PeerNet, Pipe

KEY = b"k" * 32


class Node:
    """One node's links, and what they have told."""

    def __init__(self, net: PeerNet, number: int, key: bytes = KEY) -> None:
        self.net = net
        self.number = number
        self.memory = MemoryBudget()
        self.links = PeerLinks(
            net,
            Reaper(net.clock, 0.1),
            self.memory,
            lambda: Credentials(self.number, "comet-chat/test", key, os.urandom),
            lambda: 0.0,
        )
        self.heard: list[tuple[int, bytes]] = []
        self.told: list[tuple[str, int]] = []
        self.links.received.add(lambda number, frame: self.heard.append((number, frame)))
        self.links.came.add(lambda number: self.told.append(("came", number)))
        self.links.went.add(lambda number: self.told.append(("went", number)))
        self.links.writable_again.add(lambda number: self.told.append(("writable", number)))
        self.address = ("memory", number)
        net.ports[self.address] = self.links


@attrs.define
class Pair:
    """Two nodes that know of each other; the second connects to the first."""

    net: PeerNet
    old: Node
    new: Node

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.net.clock.advance(0.1)
            self.net.turn()


@pytest.fixture
def pair() -> Pair:
    net = PeerNet()
    old, new = Node(net, 1), Node(net, 2)
    old.links.add(2, new.address)
    new.links.add(1, old.address)
    net.turn()
    return Pair(net, old, new)


class Stranger:
    """Somebody on the port who is none of us."""

    def __init__(self, net: PeerNet, node: Node) -> None:
        self.heard = b""
        self.lost = False
        self.pipe, self.theirs = net.join(self, node.links.buildProtocol(None))
        net.turn()

    def makeConnection(self, transport: Pipe) -> None:
        """Nothing to say yet."""

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: object) -> None:
        self.lost = True

    def say(self, data: bytes) -> None:
        self.pipe.write(data)
        self.pipe.net.turn()


def framed(data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + data


def test_one_connection_a_pair_carries_frames_both_ways_in_order(pair: Pair) -> None:
    assert pair.net.dialled == len(pair.net.pipes) == 1
    assert pair.old.told == [("came", 2)]
    assert pair.new.told == [("came", 1)]
    for number in range(100):
        assert pair.new.links.send(1, b"up %d" % number)
        assert pair.old.links.send(2, b"down %d" % number)
    pair.net.turn()
    assert pair.old.heard == [(2, b"up %d" % number) for number in range(100)]
    assert pair.new.heard == [(1, b"down %d" % number) for number in range(100)]


def test_a_node_that_is_not_there_is_sent_nothing(pair: Pair) -> None:
    assert not pair.new.links.send(7, b"hello")
    assert not pair.new.links.writable(7)


def test_a_frame_has_a_bound(pair: Pair) -> None:
    with pytest.raises(FrameTooLarge):
        pair.new.links.send(1, bytes(MAX_FRAME + 1))


def test_an_idle_link_stays(pair: Pair) -> None:
    pair.advance(60)
    assert pair.old.told == [("came", 2)]
    assert pair.old.links.up == [2]


def test_a_silent_node_is_gone_in_two_seconds(pair: Pair) -> None:
    pair.net.freeze()
    pair.advance(DEAD_AFTER - 0.6)
    assert pair.old.told == [("came", 2)]
    pair.advance(1.2)
    assert pair.old.told == [("came", 2), ("went", 2)]
    assert pair.new.told == [("came", 1), ("went", 1)]
    # It was silent for all that time: nobody waits for it any more.
    assert pair.old.links.wait_until(2) <= pair.net.clock.seconds()


def test_it_is_linked_again_when_the_network_heals(pair: Pair) -> None:
    pair.net.freeze()
    pair.advance(5)
    pair.net.freeze(False)
    pair.advance(2)
    assert pair.new.told == [("came", 1), ("went", 1), ("came", 1)]
    assert pair.old.told == [("came", 2), ("went", 2), ("came", 2)]


def test_who_stood_still_does_not_take_the_others_for_silent(pair: Pair) -> None:
    # The reactor had no turn for a minute, and what the others have said waits to be read.
    pair.net.clock.advance(60)
    pair.net.turn()
    pair.advance(3)
    assert pair.old.told == [("came", 2)]


def test_a_broken_connection_is_made_again_soon(pair: Pair) -> None:
    pair.net.cut()
    pair.net.turn()
    assert pair.new.told[-1] == ("went", 1)
    assert pair.new.links.wait_until(1) > pair.net.clock.seconds()
    pair.advance(0.5)
    assert pair.new.told[-1] == ("came", 1)
    assert pair.new.links.send(1, b"again")
    pair.net.turn()
    assert pair.old.heard == [(2, b"again")]


def test_a_node_that_can_not_be_reached_is_tried_ever_more_seldom(pair: Pair) -> None:
    del pair.net.ports[pair.old.address]
    pair.net.cut()
    pair.advance(60)
    # Five at first, and one a second from then on.
    assert 50 < pair.net.dialled <= 66


def test_who_leaves_says_so_and_is_not_waited_for(pair: Pair) -> None:
    pair.old.links.stop()
    pair.net.turn()
    assert pair.new.told[-1] == ("went", 1)
    assert pair.new.links.wait_until(1) <= pair.net.clock.seconds()
    dialled = pair.net.dialled
    pair.advance(10)
    assert pair.net.dialled == dialled


def test_a_node_that_is_gone_for_good_is_forgotten(pair: Pair) -> None:
    pair.new.links.remove(1)
    pair.advance(10)
    assert pair.new.told[-1] == ("went", 1)
    assert pair.net.dialled == 1
    assert pair.new.links.wait_until(1) == 0


def test_a_node_that_nobody_has_told_of_is_waited_for_if_it_may_be_new(pair: Pair) -> None:
    now = pair.net.clock.seconds()
    assert pair.old.links.wait_until(3) == now + DEAD_AFTER
    # One that is older than the newest, and one that can't be.
    pair.old.links.add(9, None)
    assert pair.old.links.wait_until(4) == 0
    assert pair.old.links.wait_until(2**31) == 0


def test_the_newer_one_connects_though_the_older_does_not_know_of_it() -> None:
    net = PeerNet()
    old, new = Node(net, 1), Node(net, 2)
    new.links.add(1, old.address)
    net.turn()
    assert old.told == [("came", 2)]
    assert old.links.send(2, b"welcome")
    net.turn()
    assert new.heard == [(1, b"welcome")]


def test_the_older_one_waits_to_be_connected_to() -> None:
    net = PeerNet()
    old, new = Node(net, 1), Node(net, 2)
    old.links.add(2, new.address)
    net.turn()
    assert net.dialled == 0


def test_a_node_with_another_number_links_anew(pair: Pair) -> None:
    pair.old.number = 3
    pair.old.links.begin_anew()
    pair.net.turn()
    assert pair.new.told[-1] == ("went", 1)
    pair.old.links.add(2, pair.new.address)
    pair.net.turn()
    assert pair.old.links.up == [2]
    assert pair.new.links.up == [3]
    # Nobody looks for the old one any more.
    dialled = pair.net.dialled
    pair.advance(5)
    assert pair.net.dialled == dialled


# -- strangers


@pytest.fixture
def alone() -> Node:
    return Node(PeerNet(), 1)


def test_a_stranger_is_told_nothing_and_sent_away_in_time(alone: Node) -> None:
    stranger = Stranger(alone.net, alone)
    for _ in range(round(GREET_WITHIN * 10) + 2):
        alone.net.clock.advance(0.1)
        alone.net.turn()
    assert stranger.lost
    assert stranger.heard == b""
    assert alone.told == []


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        framed(b"\xc1"),
        framed(b""),
        framed(b"\x91" * 100),
        struct.pack("!I", MAX_GREETING + 1),
        struct.pack("!I", 2**32 - 1),
    ],
    ids=["http", "no msgpack", "empty", "deep", "long", "huge"],
)
def test_what_is_no_greeting_ends_it_at_once(alone: Node, said: bytes) -> None:
    stranger = Stranger(alone.net, alone)
    stranger.say(said)
    assert stranger.lost
    assert stranger.heard == b""
    assert alone.links.strangers_refused == 1


def test_who_has_another_key_is_told_nothing(alone: Node) -> None:
    stranger = Stranger(alone.net, alone)
    other = Credentials(2, "comet-chat/test", b"x" * 32, os.urandom)
    stranger.say(framed(Connecting(other, 1).begin()))
    assert stranger.lost
    assert stranger.heard == b""


def test_a_hello_that_was_overheard_leads_nowhere(alone: Node) -> None:
    credentials = Credentials(2, "comet-chat/test", KEY, os.urandom)
    hello = framed(Connecting(credentials, 1).begin())
    stranger = Stranger(alone.net, alone)
    stranger.say(hello)
    welcome = stranger.heard
    assert welcome
    # Neither the hello again, nor the welcome back, is a proof.
    for said in (hello, welcome):
        stranger = Stranger(alone.net, alone)
        stranger.say(hello)
        stranger.say(said)
        assert stranger.lost
    assert alone.told == []


def test_a_proof_is_good_for_one_connection(alone: Node) -> None:
    net, new = alone.net, Node(alone.net, 2)
    new.links.add(1, alone.address)
    net.turn()
    assert alone.told == [("came", 2)]
    stranger = Stranger(net, alone)
    stranger.say(net.pipes[0][0].greeting)
    assert stranger.lost
    assert alone.told == [("came", 2)]


def test_only_so_many_strangers_are_there_at_a_time(alone: Node) -> None:
    strangers = [Stranger(alone.net, alone) for _ in range(MOST_STRANGERS + 3)]
    assert [each.lost for each in strangers] == [True] * 3 + [False] * MOST_STRANGERS


def test_strangers_do_not_keep_a_node_from_linking(alone: Node) -> None:
    for _ in range(MOST_STRANGERS):
        Stranger(alone.net, alone)
    new = Node(alone.net, 2)
    new.links.add(1, alone.address)
    alone.net.turn()
    assert alone.links.up == [2]


def test_who_finds_another_key_at_an_address_does_not_link() -> None:
    net = PeerNet()
    old, new = Node(net, 1, b"another key" * 3), Node(net, 2)
    new.links.add(1, old.address)
    net.turn()
    assert old.told == new.told == []


def test_who_finds_another_node_at_an_address_does_not_link() -> None:
    net = PeerNet()
    there, new = Node(net, 3), Node(net, 9)
    new.links.add(1, there.address)
    net.turn()
    assert new.links.up == []


def test_versions_are_agreed_upon_or_there_is_no_link(monkeypatch: pytest.MonkeyPatch) -> None:
    from cometd_chat.transports import peer_greeting

    net = PeerNet()
    old, new = Node(net, 1), Node(net, 2)
    own, other = old.links.credentials(), new.links.credentials()
    answering, connecting = peer_greeting.Answering(own), Connecting(other, 1)
    monkeypatch.setattr(peer_greeting, "NEWEST", 2)
    hello = connecting.begin()
    monkeypatch.setattr(peer_greeting, "NEWEST", 1)
    welcome = answering.receive(hello)
    assert welcome is not None
    proof = connecting.receive(welcome)
    assert proof is not None
    answering.receive(proof)
    assert answering.greeted is not None
    assert answering.greeted.version == 1
    monkeypatch.setattr(peer_greeting, "OLDEST", 3)
    monkeypatch.setattr(peer_greeting, "NEWEST", 4)
    with pytest.raises(peer_greeting.NotAPeer, match="speaks versions 1 to 1") as caught:
        peer_greeting.Answering(own).receive(hello_of_one(other))
    assert not caught.value.is_stranger


def hello_of_one(credentials: Credentials) -> bytes:
    """The greeting of a release that speaks version 1 only."""
    from cometd_chat.transports import peer_greeting

    nonce = os.urandom(32)
    proof = credentials.proof("hello", 1, 1, credentials.number, 1, nonce)
    hello = peer_greeting.Hello(1, 1, "old", credentials.number, 1, nonce, proof)
    return peer_greeting._encode(hello)


# -- what waits


def test_what_a_node_does_not_take_waits_and_is_counted(pair: Pair) -> None:
    pair.net.freeze()
    frames = [bytes(10_000) + b"%d" % number for number in range(20)]
    for frame in frames:
        pair.new.links.send(1, frame)
    assert not pair.new.links.writable(1)
    waits = pair.new.memory.of("links")
    assert 0 < waits <= 20 * 10_010
    pair.net.freeze(False)
    pair.net.turn()
    assert [frame for _, frame in pair.old.heard] == frames
    assert pair.new.memory.of("links") == 0
    assert pair.new.links.writable(1)
    assert ("writable", 1) in pair.new.told


def test_its_numbers_are_those_of_all_its_connections(pair: Pair) -> None:
    pair.advance(0.1)
    (before,) = pair.new.links.numbers()
    assert (before.number, before.up, before.made, before.waiting) == (1, True, 1, 0)
    pair.new.links.send(1, b"x" * 100)
    pair.net.turn()
    (ours,), (theirs,) = pair.new.links.numbers(), pair.old.links.numbers()
    assert (ours.sent, theirs.sent) == (theirs.received, ours.received)
    assert ours.sent == before.sent + 104
    pair.net.freeze()
    for _ in range(2):
        pair.new.links.send(1, bytes(100_000))
    assert pair.new.links.numbers()[0].waiting == pair.new.memory.of("links") > 0
    pair.net.cut()
    pair.net.freeze(False)
    pair.net.turn()
    (gone,) = pair.new.links.numbers()
    assert (gone.up, gone.made, gone.waiting) == (False, 1, 0)
    pair.advance(1)
    (again,) = pair.new.links.numbers()
    assert (again.up, again.made) == (True, 2)
    assert again.sent >= gone.sent > ours.sent
    pair.new.links.remove(1)
    assert pair.new.links.numbers() == []


def test_what_waits_is_bounded(pair: Pair) -> None:
    pair.net.freeze()
    frame = bytes(1024 * 1024)
    while pair.new.links.send(1, frame):
        assert pair.new.memory.of("links") <= MAX_WAITING
    pair.net.turn()
    assert pair.new.told[-1] == ("went", 1)
    assert pair.new.memory.held == 0


def test_what_waits_for_a_node_goes_when_memory_is_short(pair: Pair) -> None:
    pair.new.memory.limit = pair.new.memory.trigger = 1024 * 1024
    pair.net.freeze()
    frame = bytes(100_000)
    while pair.new.links.send(1, frame):
        assert pair.new.memory.held <= 1024 * 1024
    assert pair.new.memory.held == 0
    assert pair.new.memory.shed == 1


def test_a_link_that_begins_anew_takes_the_place_of_the_old(pair: Pair) -> None:
    # Only one side has noticed that it broke.
    ours, theirs = pair.net.pipes[0]
    ours.frozen = theirs.frozen = True
    ours.protocol.drop()
    pair.advance(0.5)
    assert pair.old.told == [("came", 2), ("went", 2), ("came", 2)]
    assert pair.old.links.up == [2]
    assert LinkState.OVER is theirs.protocol.state
