"""Members in the tables: what every database makes of them, and lets all nodes be told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection
from twisted.internet.defer import Deferred

from cometd_chat.errors import AlreadyMember, ChatError, InvalidToken, LastOwner, NameTaken
from cometd_chat.log import members as table
from cometd_chat.log.changes import SharedChanges
from cometd_chat.log.control import (
    Control,
    MemberMade,
    MemberRemoved,
    MemberRenamed,
    RoleChanged,
    SessionEnded,
    TokenRenewed,
)
from cometd_chat.log.directory import SessionRow
from cometd_chat.log.members import NewMember
from cometd_chat.log.shared_directory import Claim
from cometd_chat.lookalikes.keys import NameKeys
from tests.databases import on_server
from tests.log.battery.test_shared_directory import Shared, row, shared
from tests.log.support import draft, in_reactor, refused, wait

__all__ = ["shared"]

T = TypeVar("T")

ALICE, BOB = row(1, "alice"), row(2, "bob")

TOKEN = b"t" * 32


def new(name: str, role: str = "member") -> NewMember:
    return NewMember(name, NameKeys(name, f"{name} looks"), role, "hash", 5)


class People:
    """Members in a shared directory."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        directory: Any = shared.directory
        self.changes = SharedChanges(directory._store, shared.log.catch_up)

    def make(
        self, change: Callable[[Connection], T], tell: Callable[[T], Sequence[Control]]
    ) -> Deferred[T]:
        return self.changes.make(change, tell)

    def do(self, change: Callable[[Connection], Sequence[Control]]) -> Deferred[Any]:
        """A change that says itself what is told of it."""
        return wait(self.make(change, lambda told: told))

    def enrol(
        self, session: SessionRow, name: str | None = None, **options: Any
    ) -> Deferred[MemberMade]:
        member = new(name or session.name, **options)
        return self.make(
            lambda each: table.enrol(each, session.id, member, TOKEN),
            lambda made: [made],
        )

    async def rows(self, identity: str) -> list[SessionRow]:
        return await wait(self.changes.read(lambda each: table.sessions_of(each, identity)))


@pytest.fixture
def people(shared: Shared) -> People:
    return People(shared)


def _forget(connection: Connection, *, before: int) -> int:
    return table.forget_removed(before, connection)


def _said(
    connection: Connection, *, after: int
) -> tuple[Sequence[tuple[int, str, str]], int] | None:
    return table.said_by(connection, ALICE.id, after)


def phone_of(identity: str, number: int = 7) -> SessionRow:
    return row(number, None, identity=identity, agent="phone")


@in_reactor
async def test_a_guest_becomes_a_member(people: People) -> None:
    directory = people.shared.directory
    for each in (ALICE, BOB):
        await wait(directory.add_session(each))
    made = await wait(people.enrol(ALICE, role="owner"))
    assert (made.session, made.identity, made.role) == (ALICE.id, ALICE.id, "owner")
    assert made.known_before == ALICE.token_hash[:15].hex()
    assert await people.shared.told() == [made]
    assert await wait(directory.session_by_token(ALICE.token_hash)) is None
    kept = await wait(directory.session_by_token(TOKEN))
    assert kept is not None
    assert (kept.identity, kept.role, kept.name) == (ALICE.id, "owner", "alice")
    assert (kept.name_key, kept.name_looks) == (None, None)
    await refused(
        people.make(
            lambda each: table.enrol(each, ALICE.id, new("alice"), b"u" * 32), lambda made: [made]
        ),
        AlreadyMember,
    )
    await refused(people.enrol(row(9, "nobody")), InvalidToken)
    assert await people.shared.told() == []


@in_reactor
async def test_made_again_it_is_made_once(people: People) -> None:
    await wait(people.shared.directory.add_session(ALICE))
    first, again = [await wait(people.enrol(ALICE)) for _ in range(2)]
    assert (again.identity, again.known_by) == (first.identity, first.known_by)
    phone = phone_of(ALICE.id)
    for _ in range(2):
        await wait(people.make(lambda each: table.add_session(each, phone), lambda row: ()))
    assert [each.id for each in await people.rows(ALICE.id)] == [ALICE.id, phone.id]


@in_reactor
async def test_a_name_is_one_persons_over_rows_claims_and_members(people: People) -> None:
    directory = people.shared.directory
    node = people.shared.table.add_now("node", "", "1")
    for each in (ALICE, BOB):
        await wait(directory.add_session(each))
    await wait(directory.claim("e" * 24, Claim(node, ("carol",))))
    for name in ("bob", "carol"):
        await refused(people.enrol(ALICE, name), NameTaken)
    await wait(people.enrol(ALICE))
    taken: tuple[Deferred[None], ...] = (
        directory.add_session(row(3, "alice")),
        directory.rename_session(BOB.id, "alice", "alice", "alice looks"),
        directory.claim("e" * 24, Claim(node, ("alice",))),
    )
    for refusal in taken:
        await refused(refusal, NameTaken)


@in_reactor
async def test_several_sessions_have_one_name_and_one_role(people: People) -> None:
    directory = people.shared.directory
    await wait(directory.add_session(ALICE))
    await wait(people.enrol(ALICE))
    phone, _ = await wait(
        people.make(lambda each: table.add_session(each, phone_of(ALICE.id)), lambda made: ())
    )
    assert (phone.name, phone.role, phone.agent) == ("alice", "member", "phone")
    await people.shared.told()
    assert await people.do(lambda each: table.set_role(each, ALICE.id, "admin")) == [
        RoleChanged(ALICE.id, "admin")
    ]
    renamed = await wait(
        people.make(
            lambda each: table.rename(
                each, ALICE.id, "Zora", NameKeys("zora", "Zora"), phone.id, b"v" * 32
            ),
            lambda told: [told],
        )
    )
    assert renamed == MemberRenamed(ALICE.id, "Zora", "zora", "Zora", phone.id, (b"v" * 15).hex())
    assert [(each.name, each.role) for each in await people.rows(ALICE.id)] == [
        ("Zora", "admin"),
        ("Zora", "admin"),
    ]
    await wait(directory.add_session(row(3, "alice")))
    await refused(directory.add_session(row(4, "zora")), NameTaken)
    told = await people.do(lambda each: table.end_others(each, ALICE.id, ALICE.id, b"w" * 32))
    assert told == [
        SessionEnded(phone.id),
        TokenRenewed(ALICE.id, ALICE.id, (b"w" * 15).hex()),
    ]
    assert await people.shared.told() == [RoleChanged(ALICE.id, "admin"), renamed, *told]


@in_reactor
async def test_a_deleted_account_leaves_its_name(people: People) -> None:
    directory = people.shared.directory
    for each in (ALICE, BOB):
        await wait(directory.add_session(each))
    await wait(people.enrol(ALICE, role="owner"))
    refusals: tuple[Callable[[Connection], Sequence[Control]], ...] = (
        lambda each: table.remove(each, ALICE.id, 6),
        lambda each: table.set_role(each, ALICE.id, "admin"),
    )
    for change in refusals:
        await refused(people.make(change, lambda told: told), LastOwner)
    # Also where it is only asked.
    await refused(
        people.changes.read(lambda each: table.refuse_last_owner(each, ALICE.id)), LastOwner
    )
    await wait(
        people.make(
            lambda each: table.enrol(each, BOB.id, new("bob", "owner"), b"b" * 32),
            lambda made: [made],
        )
    )
    await people.shared.told()
    gone = await people.do(lambda each: table.remove(each, ALICE.id, 6))
    assert gone == [SessionEnded(ALICE.id), MemberRemoved(ALICE.id)]
    assert await people.do(lambda each: table.remove(each, ALICE.id, 7)) == []
    assert await people.shared.told() == gone
    await refused(directory.add_session(row(3, "alice")), NameTaken)
    phone = phone_of(ALICE.id)
    await refused(
        people.make(lambda each: table.add_session(each, phone), lambda row: ()), InvalidToken
    )
    counts = [
        await wait(people.make(partial(_forget, before=at), lambda count: ())) for at in (5, 6)
    ]
    assert counts == [0, 1]
    await wait(directory.add_session(row(3, "alice")))


# The log in memory is in no table.
@pytest.mark.parametrize("shared", on_server("postgresql"), indirect=True)
@in_reactor
async def test_what_somebody_said_is_by_nobody(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = people.shared.log
    monkeypatch.setattr(table, "WINDOW", 3)
    for number in range(8):
        sender = ALICE.id if number % 2 else BOB.id
        await wait(log.append(draft(f"{number}", sender=sender, author=f"author {number % 2}")))
    said: list[str] = []
    after: int | None = 0
    while after is not None:
        found = await wait(people.changes.read(partial(_said, after=after)))
        said += [] if found is None else [type for _, _, type in found[0]]
        after = await wait(people.make(partial(table.disown, ALICE.id, after), lambda done: ()))
    assert said == ["message"] * 4
    authors = [each.author for each in await wait(log.read(["/chat/lobby"], limit=20))]
    assert authors == ["author 0", "deleted user"] * 4


def test_refusals_are_those_that_people_are_told() -> None:
    for error in (AlreadyMember, LastOwner):
        assert issubclass(error, ChatError)
