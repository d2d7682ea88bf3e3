"""The table of kinds, and each kind as clients see it."""

from __future__ import annotations

import ast
import json
from typing import Any

import attrs
import pytest
from msgspec.structs import replace

from cometd_chat.events import kinds
from cometd_chat.events.event import Event
from cometd_chat.events.kinds import KINDS, kind_of
from cometd_chat.events.record import Record
from cometd_chat.events.recorded import emptied, recorded, with_data
from cometd_chat.transports.framings import JsonLines, Poll, Text, classic_line
from tests.sources import PACKAGE, nodes_of

RECORD = Record(
    17,
    "k3f9",
    "/chat/lobby",
    "message",
    "s1",
    "alice",
    {"text": "hi"},
    None,
    "c-1",
    1_795_288_980_123,
)


def test_a_message_is_the_event_of_the_interface() -> None:
    event = recorded(RECORD)
    assert json.loads(event.json) == {
        "id": 17,
        "cursor": "17.k3f9",
        "room": "lobby",
        "type": "message",
        "from": "alice",
        "text": "hi",
        "at": "2026-11-21T19:23:00.123Z",
        "client_id": "c-1",
    }
    assert (event.id, event.cursor, event.type) == (17, "17.k3f9", "message")


def test_nothing_is_made_of_what_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a node asks of each record that it is told of costs no event."""
    event = recorded(replace(RECORD, refers=12))
    with monkeypatch.context() as patched:
        patched.setattr("cometd_chat.events.recorded._fields", None)
        assert (event.id, event.type, event.refers) == (17, "message", 12)
        assert len(event.framed) == 0
        about = event.size
        with pytest.raises(TypeError):
            _ = event.json
        with pytest.raises(AttributeError):
            _ = event.nothing  # type: ignore[attr-defined]
    assert 0 <= about - len(event.json) < 150
    assert event.fields is event.fields
    # It has all that any event has.
    like = Event(event.fields, 17, "s1")
    for each in attrs.fields(Event):
        if each.init:
            assert getattr(event, each.name) == getattr(like, each.name)
    assert (event.refers, event.cursor) == (12, "17.k3f9")


@pytest.mark.parametrize(
    ("data", "size"),
    [({}, 0), ({"text": "hi"}, 2), ({"text": "\u8336"}, 3), ({"a": "x", "b": [1, 2]}, 6)],
)
def test_what_is_said_is_counted_in_utf_8(data: dict[str, Any], size: int) -> None:
    assert replace(RECORD, data=data).size == size


def test_the_sender_is_nobodys_business() -> None:
    assert b"s1" not in recorded(RECORD).json


DELETED = replace(RECORD, data={"deleted": "own"})
TAKES_OUT = Record(
    18,
    "k3f9",
    "/chat/lobby",
    "delete",
    "m1",
    "mod",
    {"deleted": "moderator", "purge": "p1"},
    17,
    None,
    1_795_288_981_000,
)
NEW_TOPIC = replace(RECORD, type="topic", data={"topic": "tea"}, client_id=None)
NO_TOPIC = replace(NEW_TOPIC, data={"deleted": "own"})
BRINGS_BACK = replace(TAKES_OUT, id=19, type="restore", data={"purge": "p1"})


@pytest.mark.parametrize("how", ["own", "moderator"])
def test_what_was_taken_out_of_an_event_is_not_in_it(how: str) -> None:
    took = replace(TAKES_OUT, data={"deleted": how})
    event = with_data(recorded(RECORD), emptied(took))
    assert event.json == recorded(replace(RECORD, data={"deleted": how})).json
    assert json.loads(event.json) == {
        "id": 17,
        "cursor": "17.k3f9",
        "room": "lobby",
        "type": "message",
        "from": "alice",
        "deleted": how,
        "at": "2026-11-21T19:23:00.123Z",
        "client_id": "c-1",
    }
    line = {"own": "(deleted by its author)", "moderator": "(deleted by a moderator)"}[how]
    assert Text().frame([event]).endswith(f"[alice] {line}\n".encode())
    assert classic_line(event) == f"[ alice ] {line}"


def test_what_is_deleted_by_one_act_is_one_line_at_most_for_people() -> None:
    alone = recorded(replace(TAKES_OUT, data={"deleted": "moderator"}))
    assert Text().frame([alone]) == b"* mod deleted a message\n"
    purged, back = recorded(TAKES_OUT), recorded(BRINGS_BACK)
    assert Text().frame([purged, back]) == b""


def test_a_message_without_client_id_has_none() -> None:
    without = replace(RECORD, client_id=None)
    assert "client_id" not in recorded(without).fields


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (7, "1970-01-01T00:00:00.007Z"),
        (1_795_288_980_999, "2026-11-21T19:23:00.999Z"),
        (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
    ],
)
def test_times(at: int, shown: str) -> None:
    assert kinds.timestamp(at) == shown


@pytest.mark.parametrize("room", ["lobby", "кино", "a_b-c"])
def test_a_room_has_a_path_and_a_path_has_a_room(room: str) -> None:
    assert kinds.path_of(room) == f"/chat/{room}"
    assert kinds.room_of(kinds.path_of(room)) == room


AS_IT_IS = {"topic": "", "kind": "public", "slow": 9, "locked": False, "archived": False}


@pytest.mark.parametrize(
    ("topic", "words"), [("tea", "changed the topic to: tea"), ("", "took the topic away")]
)
def test_a_new_topic_is_a_line_everywhere(topic: str, words: str) -> None:
    event = recorded(replace(NEW_TOPIC, data={"topic": topic}))
    assert Text().frame([event]) == f"* alice {words}\n".encode()
    assert classic_line(event) == f"alice {words}"
    assert KINDS["topic"].page is not None
    assert KINDS["topic"].page(event.fields) == words
    assert not KINDS["topic"].counted


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        (["topic"], b""),
        (["slow"], b"* the room lobby waits 9 s between two messages\n"),
        (["locked", "archived"], b"* the room lobby is locked no longer, is archived no longer\n"),
    ],
)
def test_a_changed_room_is_a_line_that_says_what(changed: list[str], line: bytes) -> None:
    assert Text().frame([kinds.room_changed("lobby", AS_IT_IS, changed)]) == line


NOT_KEPT = [
    (kinds.calm("lobby", "members"), {"room": "lobby", "calm": "members"}),
    (kinds.room_changed("lobby", AS_IT_IS, ["slow"]), {"slow": 9, "changed": ["slow"]}),
    (kinds.join("lobby", "alice", 0), {"room": "lobby", "from": "alice"}),
    (kinds.join("lobby", "alice", 0, "192.0.2.7"), {"address": "192.0.2.7"}),
    (kinds.leave("lobby", "alice", 0), {"room": "lobby", "from": "alice"}),
    (kinds.report("r1", "lobby", 17, "bob", 0), {"report": "r1", "refers": 17, "from": "bob"}),
    (kinds.notice("done", "c-1"), {"text": "done", "client_id": "c-1"}),
    (kinds.typing("lobby", "alice", 0), {"room": "lobby", "from": "alice"}),
    (kinds.people("lobby", 51), {"room": "lobby", "count": 51}),
    (kinds.hello("1.e", 15, "us"), {"cursor": "1.e", "heartbeat": 15, "server": "us"}),
    (kinds.heartbeat("1.e"), {"cursor": "1.e"}),
    (kinds.reset("1.e"), {"cursor": "1.e", "reason": "this log never gave that cursor out"}),
    (kinds.gap("lobby", 12, 90), {"room": "lobby", "missing": 12, "before": 90}),
    (kinds.reopen("1.e", 2.5), {"cursor": "1.e", "after": 2.5}),
    (kinds.bye("logged out"), {"reason": "logged out"}),
    (kinds.bye("removed", "den"), {"reason": "removed", "room": "den"}),
    (kinds.sanction("silence", "dev", None, "spam"), {"kind": "silence", "until": None}),
    (kinds.knock("bob", 0), {"from": "bob"}),
    (kinds.invited("dev", "ann"), {"room": "dev", "from": "ann"}),
    (kinds.held("i", "dev", "bob", 0), {"item": "i", "from": "bob"}),
    (kinds.error(409, "no"), {"status": 409, "detail": "no"}),
    (kinds.error(409, "no", "c-1"), {"client_id": "c-1"}),
]


@pytest.mark.parametrize(
    ("event", "fields"),
    NOT_KEPT,
    ids=lambda value: value.type if hasattr(value, "type") else "",
)
def test_what_is_not_kept_has_no_id(event: Event, fields: dict[str, object]) -> None:
    assert event.id is None
    assert "id" not in event.fields
    assert fields.items() <= json.loads(event.json).items()
    if event.type in ("join", "leave", "typing"):
        assert event.fields["at"] == "1970-01-01T00:00:00.000Z"


VARIANTS = [
    kinds.join("lobby", "ann", 0, "192.0.2.7", was="bob"),
    kinds.leave("lobby", "ann", 0, now="bob"),
    kinds.gap("lobby", 12, 90, at_least=True),
    kinds.sanction("ban", None, "1970-01-01T00:00:00.000Z", "", lifted=True),
]
RECORDS = (RECORD, DELETED, TAKES_OUT, BRINGS_BACK, NEW_TOPIC, NO_TOPIC)
KEPT = [recorded(each) for each in RECORDS]
MADE = [*KEPT, *(event for event, _ in NOT_KEPT), *VARIANTS]


@pytest.mark.parametrize("event", MADE, ids=lambda event: event.type)
def test_an_event_has_the_fields_of_its_row_in_their_order(event: Event) -> None:
    shown = [name for name in event.fields if name != "type"]
    assert shown == [name for name in KINDS[event.type].fields if name in event.fields]


def test_each_row_has_a_maker_and_all_its_fields_are_made() -> None:
    for name, kind in KINDS.items():
        made = {field for event in MADE if event.type == name for field in event.fields}
        assert made == {"type", *kind.fields}, name


@pytest.mark.parametrize("event", MADE, ids=lambda event: event.type)
def test_a_row_says_whether_it_is_kept(event: Event) -> None:
    kind = kind_of(event.type)
    assert (event.id is not None) == kind.kept
    assert kind.kept or not (kind.counted or kind.page or kind.refers or kind.parse)


@pytest.mark.parametrize("event", MADE, ids=lambda event: event.type)
def test_what_is_told_in_bayeux_is_of_its_fields(event: Event) -> None:
    kind = kind_of(event.type)
    told = kind.in_bayeux(event)
    assert (told is None) == (not kind.bayeux)
    assert set(kind.bayeux) <= {"type", *kind.fields}
    assert told is None or told.items() <= event.fields.items()


class TestAKindWithoutARow:
    """As after a downgrade: a newer release has kept what this one has no row for."""

    EVENT = Event(
        {"id": 3, "cursor": "3.e", "room": "lobby", "type": "later", "from": "ann", "text": "!"}, 3
    )

    def test_clients_of_json_get_it_as_it_is(self) -> None:
        assert JsonLines().frame([self.EVENT]) == self.EVENT.json + b"\n"
        assert json.loads(Poll().frame([self.EVENT])) == {
            "events": [self.EVENT.fields],
            "cursor": "3.e",
        }

    def test_it_is_no_line_for_people(self) -> None:
        assert Text().frame([self.EVENT]) == b""
        assert classic_line(self.EVENT) == ""

    def test_it_counts_for_nothing_and_nobody_can_say_it(self) -> None:
        kind = kind_of("later")
        assert not kind.counted
        assert kind.page is None
        assert kind.parse is None

    def test_it_is_not_told_in_bayeux(self) -> None:
        assert kind_of("later").in_bayeux(self.EVENT) is None


#: What names a kind and no field of one: a list of rooms and topics is none of kinds.
_KINDS_ALONE = KINDS.keys() - {field for kind in KINDS.values() for field in kind.fields}


def lists_of_kinds(source: bytes) -> list[int]:
    """The lines on which a list, a set or a table names several kinds."""
    found = []
    nodes = [node for node in nodes_of(source) if isinstance(node, ast.expr)]
    for node in nodes:
        parts: list[ast.expr | None] = []
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            parts = [*node.elts]
        elif isinstance(node, ast.Dict):
            parts = node.keys
        names = {part.value for part in parts if isinstance(part, ast.Constant)}
        if len(names & _KINDS_ALONE) > 1:
            found.append(node.lineno)
    return found


def test_nowhere_else_is_a_list_of_kinds() -> None:
    sources = {path.relative_to(PACKAGE): path.read_bytes() for path in PACKAGE.rglob("*.py")}
    assert {str(path) for path, source in sources.items() if lists_of_kinds(source)} == set()


@pytest.mark.parametrize(
    "source", ['a in ("join", "leave")', 'T = {"message": 1, "join": 2}', 'f(["bye", "reopen"])']
)
def test_a_planted_list_is_found(source: str) -> None:
    assert lists_of_kinds(source.encode()) == [1]
