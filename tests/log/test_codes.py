"""Codes and invitations in the database: good for as many as they say, and no longer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, func, insert, select

from cometd_chat.errors import CodeGone
from cometd_chat.log import accounts, invites
from cometd_chat.log.codes import CLAIM, LINK, CodeRow, add_code, find_code, use_code
from cometd_chat.log.invites import InviteRow
from cometd_chat.log.memory_store import MemoryStore
from cometd_chat.log.owner_link import (
    GOOD_FOR,
    code_hash,
    first_owner_code,
    has_owner,
    make_owner_code,
)
from cometd_chat.log.store import Blocking
from cometd_chat.log.tables import codes as kept
from cometd_chat.log.tables import members
from tests.databases import on_server

NOW = 1_795_288_980_000

MINUTE = 60_000


@pytest.fixture(params=["memory", *on_server("postgresql")])
def store(request: pytest.FixtureRequest) -> Iterator[Blocking]:
    """An empty database, in either SQL."""
    if request.param == "memory":
        yield MemoryStore()
        return
    from twisted.internet import reactor

    from cometd_chat.log.postgresql.database import PostgresDatabase

    server = request.getfixturevalue("calm_cluster").server_for("test")
    database = PostgresDatabase(server, reactor, shown="test")
    database.prepare()
    yield database
    database.close()


def link(code: str, identity: str | None = "a" * 24, kind: str = LINK) -> CodeRow:
    return CodeRow(code_hash(code), kind, identity, NOW + 10 * MINUTE)


def refusal(store: Blocking, work: Callable[[Connection], Any]) -> str:
    with pytest.raises(CodeGone) as refused:
        store.write_now(work)
    return refused.value.detail


def test_a_code_is_good_once(store: Blocking) -> None:
    store.write_now(lambda each: add_code(each, link("one"), NOW))
    found = store.write_now(lambda each: use_code(each, code_hash("one"), LINK, NOW))
    assert found.identity == "a" * 24
    assert "was used" in refusal(store, lambda each: use_code(each, code_hash("one"), LINK, NOW))
    refusal(store, lambda each: find_code(each, code_hash("one"), LINK, NOW))


def test_to_look_is_not_to_use(store: Blocking) -> None:
    store.write_now(lambda each: add_code(each, link("one"), NOW))
    for _ in range(2):
        store.read_now(lambda each: find_code(each, code_hash("one"), LINK, NOW))
    store.write_now(lambda each: use_code(each, code_hash("one"), LINK, NOW))


@pytest.mark.parametrize(
    ("code", "kind", "now"),
    [("another", LINK, NOW), ("one", CLAIM, NOW), ("one", LINK, NOW + 10 * MINUTE), ("", LINK, 0)],
)
def test_what_is_no_good(store: Blocking, code: str, kind: str, now: int) -> None:
    store.write_now(lambda each: add_code(each, link("one"), NOW))
    refusal(store, lambda each: use_code(each, code_hash(code), kind, now))
    store.write_now(lambda each: use_code(each, code_hash("one"), LINK, NOW))


def test_a_use_that_is_undone_was_none(store: Blocking) -> None:
    """Whoever is refused for another reason, such as a name, can try again."""
    store.write_now(lambda each: add_code(each, link("one"), NOW))

    def fail(connection: Connection) -> None:
        use_code(connection, code_hash("one"), LINK, NOW)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.write_now(fail)
    store.write_now(lambda each: use_code(each, code_hash("one"), LINK, NOW))


def test_a_new_one_takes_the_place_of_the_last(store: Blocking) -> None:
    for code, identity in (("one", "a"), ("two", "a"), ("of another", "b")):
        row = link(code, identity)
        store.write_now(partial(add_code, row=row, now=NOW))
    refusal(store, lambda each: use_code(each, code_hash("one"), LINK, NOW))
    for code in ("two", "of another"):
        store.write_now(partial(use_code, hash=code_hash(code), kind=LINK, now=NOW))


def test_the_first_owner_link(store: Blocking) -> None:
    code = first_owner_code(store, bytes, lambda: NOW / 1000)
    assert code is not None
    assert len(code) == 24
    late = NOW + GOOD_FOR
    refusal(store, lambda each: use_code(each, code_hash(code), CLAIM, late))
    assert first_owner_code(store, bytes, lambda: late / 1000) is None, "it was shown"
    again = store.write_now(lambda each: make_owner_code(each, lambda n: b"x" * n, late / 1000))
    store.write_now(lambda each: use_code(each, code_hash(again), CLAIM, late))


def test_one_owner_link_of_several_is_used(store: Blocking) -> None:
    """Two daemons that began at once have each shown one."""
    store.write_now(lambda each: add_code(each, link("one", None, CLAIM), NOW))
    shown = {"hash": code_hash("two"), "kind": CLAIM, "identity": None, "until": NOW * 2}
    store.write_now(lambda each: each.execute(insert(kept), shown).close())
    store.write_now(lambda each: use_code(each, code_hash("two"), CLAIM, NOW))
    refusal(store, lambda each: use_code(each, code_hash("one"), CLAIM, NOW))


def test_old_codes_are_forgotten(store: Blocking) -> None:
    day = 24 * 60 * MINUTE
    for number in range(5):
        row = CodeRow(code_hash(f"{number}"), LINK, f"{number}", NOW + number * day)
        store.write_now(partial(add_code, row=row, now=NOW + number * day))
    count = store.read_now(lambda each: each.execute(select(func.count(kept.c.hash))).scalar())
    assert count == 2


# -- invitations


def invite(code: str = "abc", **changes: Any) -> InviteRow:
    row: dict[str, Any] = {
        "code": code,
        "room": None,
        "role": "member",
        "uses": 2,
        "left": 2,
        "until": NOW + MINUTE,
        "by": "a" * 24,
        "by_name": "Ada",
        "created_at": NOW,
    }
    return InviteRow(**{**row, **changes})


def test_an_invitation_lets_in_as_many_as_it_says(store: Blocking) -> None:
    store.write_now(lambda each: invites.add_invite(each, invite()))
    left = [
        store.write_now(lambda each: invites.use_invite(each, "abc", NOW)).left for _ in range(2)
    ]
    assert left == [1, 0]
    assert "good for 2" in refusal(store, lambda each: invites.use_invite(each, "abc", NOW))


def test_an_invitation_for_any_number(store: Blocking) -> None:
    row = invite(uses=None, left=None, until=None)
    store.write_now(lambda each: invites.add_invite(each, row))
    for _ in range(5):
        found = store.write_now(lambda each: invites.use_invite(each, "abc", NOW * 2))
        assert found.left is None


@pytest.mark.parametrize(
    ("code", "now", "said"),
    [("abd", NOW, "none of ours"), ("abc", NOW + MINUTE, "for a while"), ("", NOW, "none of ours")],
)
def test_an_invitation_that_is_no_good(store: Blocking, code: str, now: int, said: str) -> None:
    store.write_now(lambda each: invites.add_invite(each, invite()))
    assert said in refusal(store, lambda each: invites.use_invite(each, code, now))


def test_one_that_was_taken_back(store: Blocking) -> None:
    store.write_now(lambda each: invites.add_invite(each, invite()))
    store.write_now(lambda each: invites.revoke_invite(each, "abc", NOW))
    assert "taken back" in refusal(store, lambda each: invites.use_invite(each, "abc", NOW))


def test_pages_of_them(store: Blocking) -> None:
    for number in range(7):
        row = invite(f"c{number}", created_at=NOW + number // 2, by="ab"[number % 2])
        store.write_now(partial(invites.add_invite, row=row))
    store.write_now(lambda each: invites.revoke_invite(each, "c3", NOW))

    def codes(by: str | None, after: str | None, limit: int) -> list[str]:
        rows = store.read_now(
            lambda each: invites.good_invites(each, by or "", after, limit, NOW, all=by is None)
        )
        return [row.code for row in rows]

    assert codes(None, None, 4) == ["c6", "c4", "c5", "c2"]
    assert codes(None, "c2", 4) == ["c0", "c1"]
    assert codes("a", None, 9) == ["c6", "c4", "c2", "c0"]
    assert codes(None, "unknown", 2) == ["c6", "c4"]
    gone = store.read_now(
        lambda each: invites.good_invites(each, "", None, 9, NOW + MINUTE, all=True)
    )
    assert list(gone) == []


# -- accounts


def account(number: int, **changes: Any) -> dict[str, Any]:
    row = {
        "identity": f"{number:024x}",
        "name": f"Name{number}",
        "name_key": f"name{number}",
        "name_looks": f"looks{number}",
        "role": "member",
        "password": "a hash",
        "created_at": NOW,
        "seen_at": NOW + number,
        "deleted_at": None,
    }
    return {**row, **changes}


@pytest.fixture
def people(store: Blocking) -> Blocking:
    """Nine accounts, of which one was deleted."""
    rows = [account(number) for number in range(9)]
    rows[4]["deleted_at"] = NOW
    store.write_now(lambda each: each.execute(insert(members), rows).close())
    return store


def test_an_account_is_found_by_either_key(people: Blocking) -> None:
    for folded, looks, found in (
        ("name3", "x", "Name3"),
        ("x", "looks3", "Name3"),
        ("name4", "looks4", None),
        ("x", "y", None),
    ):
        row = people.read_now(partial(accounts.account_named, folded=folded, looks=looks))
        assert (None if row is None else row.name) == found
    gone = people.read_now(partial(accounts.account_of, identity=f"{4:024x}"))
    assert gone is None


def test_a_password_takes_the_place_of_the_one_that_was_known(people: Blocking) -> None:
    put = partial(accounts.put_password, identity=f"{3:024x}")
    assert people.write_now(partial(put, password="b", instead_of="a hash"))
    assert people.write_now(partial(put, password="b", instead_of="a hash")), "it was in doubt"
    assert not people.write_now(partial(put, password="c", instead_of="a hash"))
    row = people.read_now(partial(accounts.account_of, identity=f"{3:024x}"))
    assert row is not None
    assert row.password == "b"


def test_pages_of_accounts(people: Blocking) -> None:
    first = people.read_now(partial(accounts.accounts_page, after=None, limit=5))
    assert [row.name for row in first] == ["Name0", "Name1", "Name2", "Name3", "Name5"]
    rest = people.read_now(partial(accounts.accounts_page, after="name5", limit=5))
    assert [row.name for row in rest] == ["Name6", "Name7", "Name8"]


def test_there_is_an_owner(people: Blocking) -> None:
    assert not people.read_now(has_owner)
    owner = account(20, role="owner")
    people.write_now(lambda each: each.execute(insert(members), owner).close())
    assert people.read_now(has_owner)
    assert first_owner_code(people, bytes, lambda: NOW / 1000) is None
