"""What may be lost, between nodes in one process."""

from __future__ import annotations

import pytest
from twisted.logger import capturedLogs

from cometd_chat.log.bus import MemoryBus

Heard = list[tuple[int, bytes]]


class Node:
    """A node that keeps what it hears."""

    def __init__(self, number: int, beside: Node | None = None) -> None:
        self.number = number
        joined: MemoryBus | None = None if beside is None else beside.bus
        self.bus: MemoryBus = MemoryBus(lambda: self.number, joined)
        self.heard: Heard = []
        self.stop = self.bus.subscribe("presence", lambda *each: self.heard.append(each))


@pytest.fixture
def nodes() -> list[Node]:
    first = Node(1)
    return [first, Node(2, first), Node(3, first)]


def test_all_others_hear_it_and_not_the_sender(nodes: list[Node]) -> None:
    nodes[0].bus.publish("presence", b"+ alice")
    nodes[0].bus.publish("typing", b"alice")
    assert [node.heard for node in nodes] == [[], [(1, b"+ alice")], [(1, b"+ alice")]]


def test_what_is_sent_while_others_are_told_comes_after_it(nodes: list[Node]) -> None:
    nodes[1].bus.subscribe("presence", lambda *_: nodes[1].bus.publish("presence", b"answer"))
    nodes[0].bus.publish("presence", b"question")
    assert nodes[2].heard == [(1, b"question"), (2, b"answer")]
    assert nodes[0].heard == [(2, b"answer")]


def test_a_listener_that_fails_stops_nobody(nodes: list[Node]) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    nodes[1].bus.subscribe("presence", fail)
    with capturedLogs() as logged:
        nodes[0].bus.publish("presence", b"1")
        nodes[0].bus.publish("presence", b"2")
    assert [event["log_failure"].type for event in logged] == [ZeroDivisionError] * 2
    assert [node.heard for node in nodes[1:]] == [[(1, b"1"), (1, b"2")]] * 2


def test_who_is_cut_off_neither_hears_nor_is_heard(nodes: list[Node]) -> None:
    nodes[1].bus.cut = True
    nodes[0].bus.publish("presence", b"1")
    nodes[1].bus.publish("presence", b"2")
    assert [node.heard for node in nodes] == [[], [], [(1, b"1")]]
    nodes[1].bus.cut = False
    nodes[0].bus.publish("presence", b"3")
    assert nodes[1].heard == [(1, b"3")]


def test_who_is_slow_hears_late_and_in_order(nodes: list[Node]) -> None:
    nodes[1].bus.hold()
    for each in (b"1", b"2"):
        nodes[0].bus.publish("presence", each)
    assert (nodes[1].heard, nodes[2].heard) == ([], [(1, b"1"), (1, b"2")])
    nodes[1].bus.release()
    assert nodes[1].heard == [(1, b"1"), (1, b"2")]


def test_who_has_stopped_to_listen_hears_nothing(nodes: list[Node]) -> None:
    nodes[1].stop()
    nodes[2].bus.close()
    nodes[0].bus.publish("presence", b"1")
    assert [node.heard for node in nodes] == [[], [], []]
