"""What the database is asked at each log-in: raiders log in by the thousand."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, create_engine, event, insert

from cometd_chat.errors import NameTaken
from cometd_chat.log.directory import check_name
from cometd_chat.log.tables import claims, members, metadata, sessions

SESSION = {"role": "guest", "created_at": 1, "expires_at": 2}


def tables(connection: Connection) -> None:
    metadata.create_all(connection)
    bob = {"id": "b", "token_hash": b"b", "name": "bob", "name_key": "bob", "name_looks": "b0b"}
    connection.execute(insert(sessions), {**bob, **SESSION})
    connection.execute(insert(claims), {"key": "eve", "session": "e", "node": 1})
    ann = {"identity": "a", "name": "ann", "name_key": "ann", "name_looks": "arm"}
    connection.execute(insert(members), {**ann, "role": "member", "created_at": 1, "seen_at": 1})


def test_whether_a_name_is_free_is_one_question_that_is_made_once() -> None:
    engine, asked = create_engine("sqlite://"), 0
    with engine.connect() as connection:
        tables(connection)

        @event.listens_for(engine, "before_cursor_execute")
        def count(*_: object) -> None:
            nonlocal asked
            asked += 1

        check_name(connection, "x", "free", ("free", "iree"))
        kinds = len(engine._compiled_cache or ())
        for number in range(20):
            check_name(connection, "x", "free", (f"free{number}", f"iree{number}"))
        # Of one form, whatever the name: to make it anew takes ten times as long as to ask.
        assert (asked, len(engine._compiled_cache or ())) == (21, kinds)


@pytest.mark.parametrize(
    ("key", "owner"), [("bob", "b"), ("b0b", "b"), ("eve", "e"), ("ann", "a"), ("arm", "a")]
)
def test_who_has_one_is_not_in_their_own_way(key: str, owner: str) -> None:
    with create_engine("sqlite://").connect() as connection:
        tables(connection)
        check_name(connection, owner, key, (key, None))
        check_name(connection, owner, key, (None, None))
        for keys in ((key, "x"), ("x", key)):
            with pytest.raises(NameTaken):
                check_name(connection, "somebody else", key, keys)
