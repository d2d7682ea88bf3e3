"""Every route, for every role, in rooms of each kind: the answer is what the table of rights says.

A row of `ROUTES` names the right that it takes. Each is asked for by somebody of each role, where
it names a room in one of each kind, with and without belonging to it. Who lacks the right is
refused with a problem that says so; who has it is answered something else, be it that what was
sent makes no sense.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from cometd_chat.chat.matrix import ANYBODY, MATRIX, NOBODY, Act, RoomKind
from cometd_chat.chat.roles import Role
from cometd_chat.transports.table import TABLE
from cometd_chat.web.app import ROUTES
from tests.chat.parts import appoint, now
from tests.memory import MemorySite
from tests.web.transports import OUR_SCRIPT

#: What refuses by a right, by its slug.
BY_RIGHT = {"no-session", "not-allowed", "waiting", "room-not-found"}

#: Who asks: somebody of each role, or nobody.
ROLES: tuple[Role | None, ...] = (None, *Role)

#: Rooms by their kind; who asks belongs to the last two.
PLACES = {
    "open": (RoomKind.PUBLIC, False),
    "closed": (RoomKind.PRIVATE, False),
    "between": (RoomKind.DIRECT, False),
    "ours": (RoomKind.PRIVATE, True),
    "talk": (RoomKind.DIRECT, True),
}

#: Routes whose right is looked at in the body of what they are, and of which each part has tests
#: of its own: several protocols in one, and pages that show a log-in form to who may not.
ELSEWHERE = ("/cometd", "/chat")


#: What is about something by its id, which says in which room it was: until it is known, nobody
#: knows whether one moderates that room. Nothing is done for who may not, whatever it is answered.
ABOUT_SOMETHING = {"/api/v1/held/<id>"}

#: What takes a session, beside the right.
TAKES_A_SESSION = {"/api/v1/rooms/<name>/leave", "/api/v1/rooms/<name>/commands"}

#: What takes an account, beside it, which nobody has here: their roles are given to them.
TAKES_AN_ACCOUNT = {"/api/v1/session/link"}


@attrs.frozen
class Step:
    """A request of the walk."""

    method: str
    path: str
    act: Act
    role: Role | None
    place: str | None

    @property
    def in_room(self) -> bool:
        """Whether it names a room."""
        return self.place is not None


def api_routes() -> Iterator[tuple[str, str, Act]]:
    """Method, path and right of each route of the API that takes one."""
    for methods, path, _, act in ROUTES:
        if act is None or not path.startswith("/api/") or path.startswith(ELSEWHERE):
            continue
        if any(row.path == path and (row.upgrade or row.speaks) for row in TABLE):
            continue  # Tests of WebSockets and of bodies do that.
        for method in methods.split():
            if method not in ("HEAD", "OPTIONS"):
                yield method, path, act


def steps() -> Iterator[Step]:
    for method, path, act in api_routes():
        in_room = "/rooms/<name>" in path or any(row.path == path for row in TABLE)
        for role in ROLES:
            for place in PLACES if in_room else (None,):
                yield Step(method, path, act, role, place)


def may(step: Step) -> bool:
    """What the matrix says."""
    rank = ANYBODY if step.role is None else step.role
    if step.path in TAKES_A_SESSION and step.role is None:
        return False
    if step.path in TAKES_AN_ACCOUNT:
        return False
    if step.place is None:
        return rank >= MATRIX[step.act].server
    kind, belongs = PLACES[step.place]
    if kind is not RoomKind.PUBLIC and not (belongs and step.role is not None):
        return False
    return rank >= MATRIX[step.act].columns[kind.column]


@pytest.fixture
def site(site: MemorySite) -> MemorySite:
    """Somebody of each role, and a room of each kind."""
    maker = site.log_in("maker")
    appoint(site.chat.changes, now(site.chat.sessions.by_token(maker)), Role.MEMBER)
    for role in Role:
        token = site.log_in(f"one-{role.word}s")
        appoint(site.chat.changes, now(site.chat.sessions.by_token(token)), role)
    return site


def prepare(site: MemorySite, step: Step, number: int) -> str | None:
    """The name of the room that a step is about, which nobody has used before."""
    if step.place is None:
        return None
    kind, belongs = PLACES[step.place]
    maker = now(site.chat.sessions.by_token(site._tokens["maker"]))
    name = f"room-{number}"
    row = site.chat.rooms.plan(name, "", maker, kind)
    members = {maker.identity: Role.MODERATOR}
    if belongs and step.role is not None:
        members[session_of(site, step.role).identity] = Role.MEMBER
    return now(site.chat.rooms.make(row, members)).name


def session_of(site: MemorySite, role: Role) -> Any:
    return now(site.chat.sessions.by_token(site._tokens[f"one-{role.word}s"]))


def ask(site: MemorySite, step: Step, room: str | None) -> Any:
    """Send what it asks for; with nothing in it that is good for anything but the right."""
    path = step.path.replace("<name>", room or "nobody-called-so")
    me = "nobody-called-so" if step.role is None else f"one-{step.role.word}s"
    path = path.replace("<who>", me).replace("<id>", "1").replace("<code>", "none")
    headers = dict(OUR_SCRIPT)
    if any(row.path == step.path for row in TABLE):
        path += f"?rooms={room}&wait=0&callback=heard"
    body: dict[str, object] | None = None if step.method == "GET" else {}
    token = None if step.role is None else site._tokens[me]
    return site.request(step.method, path, json=body, token=token, headers=headers)


def slug_of(response: Any) -> str:
    """Of the problem that it was answered, if it was one."""
    # A stream's head is sent before it is refused: then it is in its body.
    found = re.search(r"/problems/([a-z-]+)", response.text)
    if found is not None:
        return found[1]
    statuses = re.search(r'"status": ?([0-9]+)', response.text)
    return {"401": "no-session", "403": "not-allowed", "404": "room-not-found"}.get(
        statuses[1] if statuses else "", ""
    )


@pytest.mark.parametrize(
    ("method", "path", "act"),
    list(api_routes()),
    ids=lambda each: str(getattr(each, "value", each)),
)
def test_the_answer_is_the_tables(site: MemorySite, method: str, path: str, act: Act) -> None:
    walked = [step for step in steps() if (step.method, step.path) == (method, path)]
    assert len(walked) in (len(ROLES), len(ROLES) * len(PLACES))
    for number, step in enumerate(walked):
        room = prepare(site, step, number)
        response = ask(site, step, room)
        site.turn()
        slug = slug_of(response)
        allowed = may(step)
        if step.path in ABOUT_SOMETHING and not allowed:
            assert 400 <= response.status < 500, step
            continue
        assert (slug not in BY_RIGHT) == allowed, (step, response.status, response.text)
        if allowed:
            assert response.status < 500, (step, response.text)
            continue
        kind, belongs = PLACES[step.place] if step.place else (None, True)
        if step.role is None:
            assert slug in ("no-session", "room-not-found"), step
        elif kind not in (None, RoomKind.PUBLIC) and not belongs:
            expected = "room-not-found"
            if step.role is Role.WAITING and MATRIX[step.act].server < NOBODY:
                assert slug in (expected, "waiting"), (step, response.text)
            else:
                assert slug in (expected, "not-allowed"), (step, response.text)
        elif slug == "not-allowed" and "problem+json" in (response.header("content-type") or ""):
            if step.path in TAKES_AN_ACCOUNT:
                continue
            least = MATRIX[step.act].columns[0 if kind is None else kind.column]
            needed = {} if least == NOBODY else {"needed": Role(least).word}
            assert {name: value for name, value in response.json().items() if name == "needed"} == (
                needed
            )
        # Who is logged out is in again for the next one.
        if step.role is not None and method == "DELETE" and path == "/api/v1/session":
            site.log_in(f"one-{step.role.word}s")


def test_each_route_names_its_right() -> None:
    """Or says that it takes none; these are all that do."""
    assert {path for _, path, _, act in ROUTES if act is None} == {
        "/api/v1/events/<transport>",
        "/log-out",
        "/claim/<code>",
        "/invite/<code>",
        "/link/<code>",
        "/static/<name>",
        "/static/<version>/<name>",
        "/problems/<slug>",
        "/healthz",
        "/metrics",
    }
