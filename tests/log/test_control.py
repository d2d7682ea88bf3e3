"""Control records: what is written is what is read, and what can't be read stops nobody."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from cometd_chat.events.record import Record
from cometd_chat.log.control import (
    CONTROL,
    KINDS,
    Control,
    Ignoring,
    LetIn,
    MemberMade,
    MemberRemoved,
    MemberRenamed,
    NameFreed,
    NetworksForgotten,
    NodeGone,
    NodeJoined,
    NoticeGiven,
    PolicyChanged,
    RoleChanged,
    RoomChanged,
    RoomMade,
    RoomMember,
    RoomRemoved,
    Sanctioned,
    SanctionLifted,
    SessionEnded,
    SessionRenamed,
    TokenRenewed,
    control_draft,
    read_control,
)
from cometd_chat.log.memory import MemoryEventLog

EACH: list[Control] = [
    SessionEnded("a1"),
    SessionRenamed("a1", "Zoë", "zoë", "zoe"),
    SessionRenamed("a1", "Zoë", "zoë", "zoe", known_by="00ff"),
    MemberMade("s1", "s1", "alice", "alice", "alice", "member", "0a" * 15, "0b" * 15),
    RoleChanged("s1", "moderator"),
    MemberRenamed("s1", "Carol", "carol", "carol", "s2", "0c" * 15),
    MemberRemoved("s1"),
    TokenRenewed("s2", "s1", "0d" * 15),
    NameFreed("a1"),
    RoomMade("dev", "of \U0001f41b", "a1", 1_700_000_000_000),
    RoomRemoved("dev"),
    NodeJoined(17, "web-1/2", "192.0.2.1:8090", "1.0"),
    NodeGone(17),
    Sanctioned("x1", "silence", "s1", "", "alice", "s2", "bob", "enough", 7),
    Sanctioned("x2", "ban", "s1", "", "alice", "s2", "bob", "", 7, room="dev", until=9),
    SanctionLifted("x1"),
    NetworksForgotten(),
    PolicyChanged("title", '"Home"'),
    LetIn("s1"),
    LetIn(),
    RoomChanged("dev", "of it", "private", 10, locked=True, archived=False),
    RoomMember("dev", "s1", "moderator", "s2", "bob"),
    RoomMember("dev", "s1"),
    Ignoring("s1", "s2", on=True),
    NoticeGiven({"type": "knock"}, ["s1"], "dev"),
]


def record(type: str, data: dict[str, Any]) -> Record:
    return Record(7, "k3f9", CONTROL, type, "", "", data, None, None, 0)


def test_each_kind_is_tried_here() -> None:
    assert {type(each) for each in EACH} == set(KINDS.values())


@pytest.mark.parametrize("control", EACH, ids=str)
def test_what_is_read_is_what_was_written(control: Control) -> None:
    log = MemoryEventLog()
    told: list[Record] = []
    log.follow(told.extend)
    log.append(control_draft(control))
    assert [each.context for each in told] == [CONTROL]
    assert [read_control(each) for each in told] == [control]


def test_fields_of_a_later_release_are_passed_over() -> None:
    assert read_control(record("node-gone", {"node": 3, "why": "lease"})) == NodeGone(3)


@pytest.mark.parametrize(
    "unreadable",
    [
        record("session-banned", {"session": "a1"}),
        record("node-gone", {}),
        record("node-gone", {"node": "three"}),
        record("message", {"text": "hello"}),
    ],
    ids=lambda each: f"{each.type} {each.data}",
)
def test_what_cannot_be_read_is_not_told(unreadable: Record) -> None:
    assert read_control(unreadable) is None


def test_nothing_in_it_can_change() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        EACH[0].session = "b2"  # type: ignore[union-attr, misc]
