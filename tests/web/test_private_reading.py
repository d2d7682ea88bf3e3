"""`--public-reading no`: whoever may not read is not told which rooms there are."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from cometd_chat.web.app import ChatApp
from tests.memory import MakeSite, MemorySite
from tests.transport_paths import POLLS, STREAMS
from tests.web.transports import OUR_SCRIPT
from tests.wire import Response

#: Two names of the same length: a room that is there, and one that isn't.
THERE, NOWHERE = "attic", "crypt"

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}

Ask = tuple[str, str, dict[str, str], bytes]


def by_path() -> Iterator[Ask]:
    """A request for each route with the name of a room in its path."""
    for rule in ChatApp.app.url_map.iter_rules():
        if "<name>" not in rule.rule or rule.rule.startswith("/static/"):
            continue
        path = rule.rule.replace("<name>", "ROOM").replace("<id>", "1")
        for method in sorted(rule.methods or ()):
            for kind in (FORM, JSON) if method in ("POST", "PUT") else ({},):
                body = {"POST": b"text=hi", "PUT": b"hi\n"}.get(method, b"")
                body = b'{"text": "hi"}' if kind is JSON else body
                yield method, path, {**kind, **OUR_SCRIPT}, body


def by_query() -> Iterator[Ask]:
    """A request for whatever takes the name of a room in its query or its form."""
    for transport in (*STREAMS, *POLLS):
        yield "GET", f"/api/v1/events/{transport}?rooms=ROOM&callback=f", OUR_SCRIPT, b""
        yield "GET", f"/api/v1/events/{transport}?rooms=lobby,ROOM&wait=0", OUR_SCRIPT, b""
    for method in ("POST", "PUT"):
        yield method, "/api/v1/events/duplex?rooms=ROOM", OUR_SCRIPT, b"hi\n"
    yield "GET", "/chat?room=ROOM", {}, b""
    yield "GET", "/chat?room=ROOM&action=form", {}, b""
    yield "GET", "/chat?room=ROOM&action=openchat", {}, b""
    for action in ("openchat", "post", "login", ""):
        yield "POST", "/chat", FORM, b"room=ROOM&username=%2F&message=hi&action=" + action.encode()
        yield "POST", "/chat?room=ROOM", FORM, b"username=%2F&message=hi&action=" + action.encode()
    # A name that can't be one: what comes back is not yet what comes back to somebody inside.
    yield "POST", "/log-in", FORM, b"name=%2F&room=ROOM&text=hi"
    yield "POST", "/rename", FORM, b"name=carol&room=ROOM"


ASKS = sorted(
    {(m, p, b): (m, p, h, b) for m, p, h, b in (*by_path(), *by_query())}.values(), key=str
)


@pytest.fixture
def site(make_site: MakeSite) -> MemorySite:
    """A site on which only who has a session may read."""
    site = make_site(public_reading=False)
    site.post("/api/v1/rooms", {"name": THERE}, token=site.log_in("alice"))
    return site


def ask(site: MemorySite, asked: Ask, room: str) -> Response:
    method, path, headers, body = asked
    path, body = path.replace("ROOM", room), body.replace(b"ROOM", room.encode())
    return site.request(method, path, headers=headers, body=body if method != "GET" else None)


def shown(response: Response) -> tuple[int, dict[str, list[str]], str]:
    """What is the same, but for the name that was asked for and what is random."""
    headers = {name: value for name, value in response.headers.items() if name != "date"}
    policy = "content-security-policy"
    if policy in headers:
        headers[policy] = [re.sub("'nonce-[^']*'", "NONCE", each) for each in headers[policy]]
    text = response.text.replace(THERE, "ROOM").replace(NOWHERE, "ROOM")
    return response.status, headers, re.sub('nonce="[^"]*"', "NONCE", text)


@pytest.mark.parametrize("accept", ["text/html", "*/*"])
def test_a_stranger_can_not_tell_rooms_that_are_there(site: MemorySite, accept: str) -> None:
    for method, path, headers, body in ASKS:
        asked = (method, path, {**headers, "Accept": accept}, body)
        first, second = (shown(ask(site, asked, room)) for room in (THERE, NOWHERE))
        assert first == second, asked
        assert first[0] != 404, asked


def test_there_is_much_to_ask() -> None:
    assert len(ASKS) > 40


def test_who_has_a_session_is_told(site: MemorySite) -> None:
    token = site.log_in("bob")
    for room, status in ((THERE, 200), (NOWHERE, 404)):
        for path in (f"/rooms/{room}", f"/rooms/{room}.txt", f"/api/v1/rooms/{room}/people"):
            assert site.get(path, token=token).status == status
        assert site.get(f"/api/v1/events/poll?rooms={room}", token=token).status == status


@pytest.mark.parametrize("room", [THERE, NOWHERE])
def test_after_the_log_in_she_is_where_she_wanted_to_go(site: MemorySite, room: str) -> None:
    page = site.get(f"/rooms/{room}")
    assert page.status == 200
    assert f'name="room" value="{room}"' in page.text
    inside = site.request("POST", "/log-in", body=f"name=bob&room={room}".encode(), headers=FORM)
    assert (inside.status, inside.header("location")) == (303, f"/rooms/{room}")
    by_form = f"action=login&username=carol&room={room}".encode()
    inside = site.request("POST", "/chat", body=by_form, headers=FORM)
    assert inside.status == {THERE: 303, NOWHERE: 404}[room]
    assert inside.header("set-cookie"), "she is in all the same"
