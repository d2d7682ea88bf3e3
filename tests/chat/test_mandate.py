"""Who acts on somebody by a right that they have lost, of which their node has not heard: refused
where it is done, and nothing of it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.sql.dml import UpdateBase

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.matrix import RoomKind
from cometd_chat.chat.people_lookup import Person
from cometd_chat.chat.roles import Role
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sanctions import BAN, SILENCE, Sanction
from cometd_chat.chat.sessions import Session
from cometd_chat.chat.users import Users
from cometd_chat.errors import Banned, ChatError, NotAllowed, NotBelow, RoomNotFound
from cometd_chat.log.members import NewMember
from cometd_chat.log.tables import audit, members, room_members, sanctions
from cometd_chat.lookalikes.keys import name_keys
from tests.chat.cluster import Cluster, Node
from tests.chat.parts import House, begun, now

HERE = "192.0.2.7"


def users(chat: Chat) -> Users:
    return Users(chat, lambda: 1)


@attrs.frozen
class Scene:
    """Ada, an admin who may do nearly everything, and bob, a member who has spoken.

    :param behind: the house where ada is, which is told nothing any more.
    """

    house: House
    behind: House
    ada: Session
    bob: Session
    room: Room
    sanction: Sanction
    said: int

    @property
    def whom(self) -> Person:
        return Person(self.bob.identity, self.bob.name, Role.MEMBER)

    def keep(self, change: UpdateBase) -> None:
        """Something has come about of which the house of ada has not heard."""
        self.behind.directory.store.write_now(lambda each: each.execute(change).close())

    def demote(self, session: Session, role: str) -> None:
        self.keep(update(members).where(members.c.identity == session.identity).values(role=role))

    def of(self, table: Any) -> list[Any]:
        query = select(table)
        return self.house.changes.read_now(lambda each: [tuple(row) for row in each.execute(query)])


def member(house: House, name: str, role: Role = Role.MEMBER) -> Session:
    new = NewMember(name, name_keys(name), role.word, None, 1)
    return now(house.sessions.make_member(new))[0]


@pytest.fixture(params=["one", "many"])
def scene(request: pytest.FixtureRequest, failures: object) -> Scene:
    house, behind = doors(request.param)
    ada = member(behind, "ada", Role.ADMIN)
    member(house, "eve", Role.OWNER)
    bob = member(behind, "bob")
    room = now(behind.chat.make_room(ada, "attic", "", HERE, RoomKind.PUBLIC))
    now(behind.chat.room_changes.put_member(ada, room, "bob", None, HERE))
    sanction = now(
        behind.moderation.impose(ada, SILENCE, Person("0" * 24, "zoe", Role.GUEST), room)
    )
    said = now(behind.chat.messages.say(bob, room, "mine", address=HERE))[0].id
    assert said is not None
    return Scene(house, behind, ada, bob, room, sanction, said)


def doors(how: str) -> tuple[House, House]:
    if how == "one":
        house = House()
        return house, house
    first, second = Cluster(2).nodes
    return first, second


#: All that somebody does to somebody, or as who moderates.
ACTS: dict[str, Callable[[Scene], Awaitable[object]]] = {
    "silence": lambda s: s.behind.moderation.impose(s.ada, SILENCE, s.whom),
    "ban in a room": lambda s: s.behind.moderation.impose(s.ada, BAN, s.whom, s.room),
    "role": lambda s: users(s.behind.chat).set_role(s.ada, "bob", Role.MODERATOR),
    "log out": lambda s: users(s.behind.chat).end_sessions(s.ada, "bob"),
    "remove the account": lambda s: users(s.behind.chat).remove(s.ada, "bob"),
    "purge": lambda s: s.behind.chat.deletions.purge(s.ada, s.room, [s.whom]),
    "delete": lambda s: s.behind.chat.deletions.delete(s.ada, s.room, s.said),
    "put out": lambda s: s.behind.chat.room_changes.drop_member(s.ada, s.room, "bob", HERE),
    "op": lambda s: s.behind.chat.room_changes.put_member(s.ada, s.room, "bob", "moderator", HERE),
}

#: And to nobody in particular.
OTHERS: dict[str, Callable[[Scene], Awaitable[object]]] = {
    "lift": lambda s: s.behind.moderation.lift(s.ada, s.sanction.id),
    "purge guests": lambda s: s.behind.chat.deletions.purge_guests(s.ada, s.room, 5),
    "change the room": lambda s: s.behind.chat.room_changes.change(
        s.ada, s.room, {"locked": True}, HERE
    ),
    "remove the room": lambda s: s.behind.chat.room_changes.remove(s.ada, s.room, HERE),
    "policy": lambda s: s.behind.chat.policies.change(s.ada, {"title": "mine"}),
    "calm": lambda s: s.behind.chat.policies.change(s.ada, {"calm": "closed"}),
    "let in": lambda s: s.behind.chat.waiting.admit(s.ada, "somebody"),
    "new key": lambda s: s.behind.moderation.forget_networks(s.ada),
}


@contextmanager
def nothing_is_done(scene: Scene) -> Iterator[None]:
    """Neither to anybody, nor by the audit log."""
    looked_at = (audit, members, room_members, sanctions)
    before, last = [scene.of(table) for table in looked_at], scene.house.log.last_id
    yield
    assert [scene.of(table) for table in looked_at] == before
    assert scene.house.log.last_id == last


def refused(
    scene: Scene, act: Callable[[Scene], Awaitable[object]], error: type[ChatError]
) -> None:
    async def do() -> object:
        return await act(scene)

    if isinstance(scene.behind, Node):
        scene.behind.slow_down()
    with nothing_is_done(scene), pytest.raises(error):
        now(begun(do()))


@pytest.mark.parametrize("act", [*ACTS, *OTHERS])
def test_who_is_no_admin_any_more(scene: Scene, act: str) -> None:
    if isinstance(scene.behind, Node):
        scene.behind.slow_down()
    # The maker of a room moderates it.
    scene.keep(update(room_members).values(role="member"))
    scene.demote(scene.ada, "member")
    refused(scene, {**ACTS, **OTHERS}[act], NotAllowed)


@pytest.mark.parametrize("act", ACTS)
def test_whom_somebody_has_raised_above_them(scene: Scene, act: str) -> None:
    if isinstance(scene.behind, Node):
        scene.behind.slow_down()
    scene.demote(scene.bob, "admin")
    # Who is an admin is one by the word of an owner.
    refused(scene, ACTS[act], NotAllowed if act == "role" else NotBelow)


@pytest.mark.parametrize("act", [*ACTS, *OTHERS])
def test_who_is_banned(scene: Scene, act: str) -> None:
    if isinstance(scene.behind, Node):
        scene.behind.slow_down()
    ban = attrs.asdict(scene.sanction) | {
        "id": "b",
        "kind": "ban",
        "identity": scene.ada.identity,
        "network": None,
        "room": None,
    }
    scene.keep(insert(sanctions).values(ban))
    refused(scene, {**ACTS, **OTHERS}[act], Banned)


@pytest.mark.parametrize("act", ["ban in a room", "purge", "delete", "put out", "op", "lift"])
def test_who_is_out_of_a_room_that_has_become_private(scene: Scene, act: str) -> None:
    now(scene.behind.chat.room_changes.change(scene.ada, scene.room, {"kind": "private"}, HERE))
    if isinstance(scene.behind, Node):
        scene.behind.slow_down()
    scene.keep(room_members.delete().where(room_members.c.identity == scene.ada.identity))
    refused(scene, {**ACTS, **OTHERS}[act], RoomNotFound)


def test_of_two_owners_who_demote_each_other_one_stays() -> None:
    """Each at a node that has not heard of the other's."""
    first, second = Cluster(2).nodes
    ada, eve = member(first, "ada", Role.OWNER), member(second, "eve", Role.OWNER)
    first.slow_down()
    second.slow_down()
    demoting = [
        begun(users(first.chat).set_role(ada, "eve", Role.MEMBER)),
        begun(users(second.chat).set_role(eve, "ada", Role.MEMBER)),
    ]
    first.hurry()
    second.hurry()
    assert now(demoting[0]).role is Role.MEMBER
    with pytest.raises(NotAllowed):
        now(demoting[1])
    assert (ada.role, eve.role) == (Role.OWNER, Role.MEMBER)


def test_what_was_in_doubt_is_done_once_more(scene: Scene) -> None:
    """As where the database went away after it had committed: the one who asked is told yes."""
    eve = next(each for each in scene.house.sessions.all_in_use() if each.name == "eve")
    chat, make = scene.house.chat, scene.house.changes.make

    def twice(change: Any, tell: Any, **options: Any) -> Any:
        return make(change, tell, **options).addCallback(lambda _: make(change, tell, **options))

    scene.house.changes.make = twice  # type: ignore[method-assign]
    now(users(chat).set_role(eve, "bob", Role.OWNER))
    now(users(chat).set_role(eve, "eve", Role.ADMIN))
    now(users(chat).remove(scene.bob, "ada"))
    assert [row[1] for row in scene.of(members) if row[4] == "owner"] == ["bob"]
