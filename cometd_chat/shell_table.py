"""Commands from the shell: what each does.

What it is: `run`, which runs one of `shell_words` as somebody above all others, through the same
methods as the API.

What it may know: the chat. Not whether a daemon serves beside it.

Invariant: whatever is done from the shell has the effect, the checks and the note in the audit log
that it would have from the admin page.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.invites import DAYS, USES, InviteRequest, Invites, invite_code
from cometd_chat.chat.moderation import Reach
from cometd_chat.chat.roles import Role
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sanctions import Sanction, kind_named, minutes_of, reason_of
from cometd_chat.chat.sessions import Session
from cometd_chat.chat.users import Users
from cometd_chat.daemon.shell_asking import Answer, Asked
from cometd_chat.errors import NotFound
from cometd_chat.events.kinds import timestamp
from cometd_chat.events.texts import refused
from cometd_chat.log.invites import InviteRow
from cometd_chat.log.owner_link import make_owner_code

#: What whoever is at the shell is called in the audit log.
NAME = "the shell"

#: So many lines at most.
_MOST_LISTED = 200

Values = Mapping[str, Any]


def somebody() -> Session:
    """Who is at the shell: nobody is above them."""
    return Session(
        key=b"",
        known_by=b"",
        name=NAME,
        name_key=NAME,
        name_looks=NAME,
        role=Role.OWNER,
        expires_at=0,
        seen_at=0,
        home=None,
    )


async def run(chat: Chat, asked: Asked) -> Answer:
    """Run a command.

    :raises ChatError: it could not be done.
    """
    does = DOES.get(asked.command)
    if does is None:
        return Answer(f"There is no {asked.command[:64]} in this release.", failed=True)
    return Answer(await does(chat, asked.values))


# -- policies


async def _list_policies(chat: Chat, values: Values) -> str:
    lines = [
        f"{name}: {value}"
        + (f"  (says {chat.policies.pins[name].option})" if name in chat.policies.pins else "")
        for name, value in chat.policies.values.items()
    ]
    return "\n".join(lines)


#: What is no text in a policy.
_WORDS: Mapping[str, bool] = {"true": True, "yes": True, "false": False, "no": False}


async def _set_policy(chat: Chat, values: Values) -> str:
    name, value = str(values["name"]), str(values["value"])
    current = chat.policies.values.get(name)
    wanted: object = _WORDS.get(value.lower(), value) if isinstance(current, bool) else value
    if isinstance(current, Mapping):
        # Words that are refused, or the whole of it as JSON.
        wanted = _json(value) if value.startswith("{") else {**current, "refuse": value.split()}
    await chat.policies.set({name: wanted}, who="", who_name=NAME)
    return f"{name}: {chat.policies.values[name]}"


def _json(text: str) -> object:
    try:
        found: object = msgspec.json.decode(text)
    except msgspec.DecodeError:
        raise refused("value", "that is not JSON") from None
    return found


# -- sanctions


async def _list_bans(chat: Chat, values: Values) -> str:
    return (
        "\n".join(map(_sanction, chat.moderation.listed(None))) or "Nobody is silenced or kept out."
    )


def _sanction(sanction: Sanction) -> str:
    where = "everywhere" if sanction.room is None else f"in {sanction.room}"
    until = "" if sanction.until is None else f", until {timestamp(sanction.until)}"
    why = f": {sanction.reason}" if sanction.reason else ""
    by = f", by {sanction.by_name}"
    return f"{sanction.id}  {sanction.kind.value}  {sanction.who} {where}{until}{by}{why}"


async def _ban(chat: Chat, values: Values) -> str:
    kind = kind_named(values.get("kind") or "ban")
    named = values.get("room")
    room = await chat.room(str(named), somebody()) if named else None
    whom = await chat.somebody(str(values["name"]), room or await _lobby(chat))
    reach = Reach(minutes_of(kind, values.get("minutes")), reason_of(values.get("reason")))
    return _sanction(await chat.moderation.impose(somebody(), kind, whom, room, reach))


async def _lift(chat: Chat, values: Values) -> str:
    meant = str(values["who"])
    found = [each for each in chat.moderation.listed(None) if meant in (each.id, each.who)]
    if not found:
        raise NotFound(f"{meant} is neither silenced nor kept out.")
    for each in found:
        await chat.moderation.lift(somebody(), each.id)
    return "\n".join(f"lifted: {_sanction(each)}" for each in found)


async def _lobby(chat: Chat) -> Room:
    return await chat.room("lobby", None if chat.rights.terms.public_reading else somebody())


# -- rooms


async def _list_rooms(chat: Chat, values: Values) -> str:
    return "\n".join(map(_room, sorted(chat.rooms.all(), key=lambda room: room.name)))


def _room(room: Room) -> str:
    topic = f": {room.topic}" if room.topic else ""
    return f"{room.name}  {room.kind.value}{topic}"


async def _make_room(chat: Chat, values: Values) -> str:
    topic = str(values.get("topic") or "")
    return _room(await chat.make_room(somebody(), str(values["name"]), topic, ""))


async def _remove_room(chat: Chat, values: Values) -> str:
    room = chat.rooms.named(str(values["name"]))
    if room is None:
        raise NotFound("There is no such room.")
    await chat.room_changes.remove(somebody(), room, "")
    return f"removed, with all that was said there: {room.name}"


# -- people


async def _owner_link(chat: Chat, values: Values) -> str:
    code = await chat.changes.make(
        lambda connection: make_owner_code(connection, secrets.token_bytes, time.time()),
        lambda _: (),
    )
    return (
        f"/claim/{code}\nOpen that at the address of your chat, within 60 minutes: whoever does "
        "first is the owner."
    )


async def _invite(chat: Chat, values: Values) -> str:
    named = values.get("room")
    asked = InviteRequest(
        room=await chat.room(str(named), somebody()) if named else None,
        uses=_or(values.get("uses"), USES),
        days=_or(values.get("days"), DAYS),
        role=_role(str(values.get("role") or Role.MEMBER.word)),
    )
    return f"/invite/{(await _invites(chat).make(somebody(), asked)).code}"


def _or(given: int | None, default: int) -> int:
    """What was given, were it 0; which is refused."""
    return default if given is None else given


async def _list_invites(chat: Chat, values: Values) -> str:
    rows, more = await _invites(chat).page(somebody(), None, _MOST_LISTED)
    return _listed([_invite_line(row) for row in rows], more) or "No invitation is good just now."


def _invite_line(row: InviteRow) -> str:
    where = "everywhere" if row.room is None else f"to {row.room}"
    left = "any number" if row.left is None else str(row.left)
    until = "" if row.until is None else f", until {timestamp(row.until)}"
    return f"{row.code}  {row.role}  {where}, {left} left{until}, by {row.by_name}"


async def _revoke(chat: Chat, values: Values) -> str:
    code = invite_code(str(values["code"]))
    await _invites(chat).revoke(somebody(), code)
    return f"{code} is good no longer."


def _invites(chat: Chat) -> Invites:
    return Invites(
        chat.changes, chat.rights, wall_clock=time.time, random_bytes=secrets.token_bytes
    )


async def _list_users(chat: Chat, values: Values) -> str:
    users, more = await _users(chat).page(somebody(), values.get("after"), _MOST_LISTED)
    lines = [f"{user.name}  {user.role.word}, seen {timestamp(user.seen_at)}" for user in users]
    return (
        _listed(lines, more) or "Nobody has an account yet: comet-chat owner-link makes the first."
    )


async def _set_role(chat: Chat, values: Values) -> str:
    user = await _users(chat).set_role(somebody(), str(values["name"]), _role(str(values["role"])))
    return f"{user.name}  {user.role.word}"


async def _remove_user(chat: Chat, values: Values) -> str:
    name = str(values["name"])
    await _users(chat).remove(somebody(), name)
    return f"{name} has no account any more."


def _users(chat: Chat) -> Users:
    return Users(chat, lambda: int(time.time() * 1000))


def _role(word: str) -> Role:
    role = Role.of(word)
    if role is None:
        raise refused("role", "one of member, moderator, admin and owner is needed")
    return role


def _listed(lines: Sequence[str], more: bool) -> str:
    return "\n".join([*lines, *(["There are more: give --after."] if more else [])])


#: What each command of `shell_words.SHELL` does.
DOES: Mapping[str, Callable[[Chat, Values], Awaitable[str]]] = {
    "owner-link": _owner_link,
    "invite make": _invite,
    "invite list": _list_invites,
    "invite revoke": _revoke,
    "user list": _list_users,
    "user role": _set_role,
    "user remove": _remove_user,
    "policy list": _list_policies,
    "policy set": _set_policy,
    "ban list": _list_bans,
    "ban add": _ban,
    "ban lift": _lift,
    "room list": _list_rooms,
    "room remove": _remove_room,
    "room make": _make_room,
}
