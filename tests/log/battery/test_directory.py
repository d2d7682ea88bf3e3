"""What every `Directory` must do."""

from __future__ import annotations

from typing import Any

import attrs

from cometd_chat.errors import InvalidToken, NameTaken, RoomExists
from cometd_chat.log.directory import Directory, PositionRow, RoomRow, SessionRow
from cometd_chat.log.log import EventLog
from tests.log.support import draft, in_reactor, refused, wait


def session(id: str, **fields: Any) -> SessionRow:
    known = {"name": id, "name_key": id, "role": "guest", "created_at": 1, "expires_at": 100}
    known["name_looks"] = fields.get("name_key", id)
    return SessionRow(id, id.encode(), **{**known, **fields})


async def found_by(directory: Directory, token: bytes) -> SessionRow | None:
    """What a token leads to, but for when it was seen: some keep that by a clock."""
    row = await wait(directory.session_by_token(token))
    return None if row is None else attrs.evolve(row, seen_at=0)


def named(directory: Directory) -> list[SessionRow]:
    return [attrs.evolve(row, seen_at=0) for row in directory.named_sessions()]


@in_reactor
async def test_a_session_is_found_by_its_token(directory: Directory) -> None:
    await wait(directory.add_session(session("s1")))
    assert await found_by(directory, b"s1") == session("s1")
    assert await found_by(directory, b"s2") is None


@in_reactor
async def test_a_name_in_use_is_refused(directory: Directory) -> None:
    await wait(directory.add_session(session("s1", name_key="alice")))
    assert await refused(directory.add_session(session("s2", name_key="alice")), NameTaken)
    assert await found_by(directory, b"s2") is None
    await wait(directory.add_session(session("s3")))
    assert await refused(directory.rename_session("s3", "Alice", "alice", "alice"), NameTaken)
    assert await found_by(directory, b"s3") == session("s3")


@in_reactor
async def test_a_name_that_looks_like_one_in_use_is_refused(directory: Directory) -> None:
    await wait(directory.add_session(session("s1", name_key="ivan", name_looks="lvan")))
    same = session("s2", name_key="lvan", name_looks="lvan")
    assert await refused(directory.add_session(same), NameTaken)
    await wait(directory.add_session(session("s2")))
    assert await refused(directory.rename_session("s2", "lvan", "lvan", "lvan"), NameTaken)
    await wait(directory.free_name("s1"))
    await wait(directory.rename_session("s2", "lvan", "lvan", "lvan"))
    found = await found_by(directory, b"s1")
    assert found is not None
    assert (found.name_key, found.name_looks) == (None, None)


@in_reactor
async def test_a_session_may_be_renamed_to_what_it_is_called(directory: Directory) -> None:
    await wait(directory.add_session(session("s1")))
    await wait(directory.rename_session("s1", "S1", "s1", "s1"))
    assert await found_by(directory, b"s1") == session("s1", name="S1")


@in_reactor
async def test_a_session_that_is_gone_can_not_be_renamed(directory: Directory) -> None:
    assert await refused(directory.rename_session("s1", "S1", "s1", "s1"), InvalidToken)


@in_reactor
async def test_a_freed_name_can_be_taken_and_is_then_refused_to_the_first(
    directory: Directory,
) -> None:
    await wait(directory.add_session(session("s1", name="alice", name_key="alice")))
    await wait(directory.free_name("s1"))
    assert await found_by(directory, b"s1") == session("s1", name="alice", name_key=None)
    await wait(directory.add_session(session("s2", name_key="alice")))
    assert await refused(directory.rename_session("s1", "alice", "alice", "alice"), NameTaken)
    await wait(directory.end_session("s2"))
    await wait(directory.rename_session("s1", "alice", "alice", "alice"))


@in_reactor
async def test_any_number_of_names_can_be_free(directory: Directory) -> None:
    for id in ("s1", "s2", "s3"):
        await wait(directory.add_session(session(id, name_key=None)))
    assert named(directory) == []


@in_reactor
async def test_named_sessions_are_known_at_the_start(directory: Directory) -> None:
    rows = [session("s1"), session("s2"), session("s3", name_key=None)]
    for row in rows:
        await wait(directory.add_session(row))
    assert named(directory) == rows[:2]


@in_reactor
async def test_sessions_expire(directory: Directory) -> None:
    for id, end in (("s1", 10), ("s2", 20), ("s3", 30)):
        await wait(directory.add_session(session(id, expires_at=end)))
    await wait(directory.extend_session("s1", 40))
    assert await wait(directory.drop_expired(20)) == 1
    found = [await found_by(directory, token) for token in (b"s1", b"s2", b"s3")]
    assert found == [session("s1", expires_at=40), None, session("s3", expires_at=30)]


@in_reactor
async def test_what_is_done_to_no_session_does_nothing(directory: Directory) -> None:
    await wait(directory.free_name("s1"))
    await wait(directory.extend_session("s1", 5))
    await wait(directory.end_session("s1"))
    assert await wait(directory.drop_expired(5)) == 0


@in_reactor
async def test_rooms(directory: Directory) -> None:
    lobby = RoomRow("lobby", "Everybody lands here. Be kind, say hello.", "", 0)
    dev = RoomRow("dev", "", "s1", 5)
    assert directory.rooms() == [lobby]
    await wait(directory.add_room(dev))
    assert await refused(directory.add_room(attrs.evolve(dev, topic="again")), RoomExists)
    assert directory.rooms() == [lobby, dev]


@in_reactor
async def test_a_room_goes_unless_something_was_said_in_it(
    kept: tuple[EventLog, Directory],
) -> None:
    log, directory = kept
    for name in ("attic", "cellar"):
        await wait(directory.add_room(RoomRow(name, "", "s1", 5)))
    await wait(log.append(draft(context="/chat/attic")))
    assert not await wait(directory.remove_silent_room("attic", "/chat/attic"))
    assert await wait(directory.remove_silent_room("cellar", "/chat/cellar"))
    assert not await wait(directory.remove_silent_room("cellar", "/chat/cellar"))
    assert [row.name for row in directory.rooms()] == ["lobby", "attic"]
    await wait(directory.add_room(RoomRow("cellar", "anew", "s2", 6)))


@in_reactor
async def test_a_process_that_is_alone_keeps_a_room_for_what_is_on_its_way(
    kept_alone: tuple[EventLog, Directory],
) -> None:
    log, directory = kept_alone
    await wait(directory.add_room(RoomRow("attic", "", "s1", 5)))
    saying = log.append(draft(context="/chat/attic"))
    # It is asked for after that was said, and before it is stored.
    assert not await wait(directory.remove_silent_room("attic", "/chat/attic"))
    await wait(saying)


@in_reactor
async def test_positions_are_kept_and_replaced_and_forgotten(directory: Directory) -> None:
    await wait(directory.add_session(session("s1")))
    await wait(directory.add_session(session("s2")))
    first = [PositionRow("s1", "lobby", 7), PositionRow("s1", "dev", 3), PositionRow("s2", "*", 1)]
    await wait(directory.put_positions(first))
    await wait(directory.put_positions([PositionRow("s1", "lobby", 9)]))
    assert await wait(directory.positions("s1")) == {"lobby": 9, "dev": 3}
    await wait(directory.put_positions([PositionRow("s1", "dev", None)]))
    assert await wait(directory.positions("s1")) == {"lobby": 9}
    assert await wait(directory.positions("s2")) == {"*": 1}
    assert await wait(directory.positions("s3")) == {}


@in_reactor
async def test_positions_go_with_their_session(directory: Directory) -> None:
    await wait(directory.add_session(session("s1", expires_at=5)))
    await wait(directory.add_session(session("s2")))
    rows = [PositionRow("s1", "lobby", 7), PositionRow("s2", "lobby", 7)]
    await wait(directory.put_positions([*rows, PositionRow("gone", "lobby", 7)]))
    assert await wait(directory.positions("gone")) == {}
    await wait(directory.drop_expired(5))
    await wait(directory.end_session("s2"))
    for id in ("s1", "s2"):
        await wait(directory.add_session(session(id)))
        assert await wait(directory.positions(id)) == {}


@in_reactor
async def test_of_two_who_want_the_same_at_once_one_gets_it(directory: Directory) -> None:
    same = [session("s1", name_key="alice"), session("s2", name_key="alice")]
    added = [directory.add_session(row) for row in same]
    await wait(added[0])
    await refused(added[1], NameTaken)
    await wait(directory.add_session(session("s3")))
    renamed = [directory.rename_session(id, "Bob", "bob", "bob") for id in ("s1", "s3")]
    await wait(renamed[0])
    await refused(renamed[1], NameTaken)
    made = [directory.add_room(RoomRow("attic", "", id, 5)) for id in ("s1", "s3")]
    await wait(made[0])
    await refused(made[1], RoomExists)


@in_reactor
async def test_changes_are_made_in_the_order_in_which_they_were_asked_for(
    directory: Directory,
) -> None:
    directory.add_session(session("s1"))
    for name in ("a", "b", "c"):
        last = directory.rename_session("s1", name, name, name)
    await wait(last)
    found = await found_by(directory, b"s1")
    assert found is not None
    assert found.name == "c"


@in_reactor
async def test_a_lower_position_takes_the_place_of_a_higher_one(directory: Directory) -> None:
    await wait(directory.add_session(session("s1")))
    directory.put_positions([PositionRow("s1", "lobby", 9)])
    await wait(directory.put_positions([PositionRow("s1", "lobby", 4)]))
    assert await wait(directory.positions("s1")) == {"lobby": 4}


@in_reactor
async def test_the_least_position_of_all_nodes_counts(directory: Directory) -> None:
    await wait(directory.add_session(session("s1")))
    rows = [PositionRow("s1", "lobby", at, node) for node, at in ((1, 9), (2, 4), (3, 6))]
    await wait(directory.put_positions([*rows, PositionRow("s1", "dev", 5, 2)]))
    assert await wait(directory.positions("s1")) == {"lobby": 4, "dev": 5}
    await wait(directory.put_positions([PositionRow("s1", "lobby", 8, 2)]))
    assert await wait(directory.positions("s1")) == {"lobby": 6, "dev": 5}
    gone = [PositionRow("s1", room, None, 2) for room in ("lobby", "dev")]
    await wait(directory.put_positions([*gone, PositionRow("s1", "lobby", None, 3)]))
    assert await wait(directory.positions("s1")) == {"lobby": 9}


@in_reactor
async def test_the_positions_of_each_node_by_itself(directory: Directory) -> None:
    await wait(directory.add_session(session("s1")))
    rows = [PositionRow("s1", "lobby", at, node) for node, at in ((0, 9), (2, 4))]
    await wait(directory.put_positions(rows))
    found = await wait(directory.position_rows("s1"))
    assert sorted(found, key=lambda row: row.node) == rows
    await wait(directory.put_positions([PositionRow("s1", "lobby", None, 2)]))
    assert await wait(directory.position_rows("s1")) == rows[:1]
    assert await wait(directory.position_rows("nobody")) == []


@in_reactor
async def test_rooms_are_read_again(directory: Directory) -> None:
    await wait(directory.add_room(RoomRow("attic", "what is kept", "s1", 5)))
    assert await wait(directory.rooms_again()) == directory.rooms()
