"""A token is worth nothing once its session is called by another name.

Somebody can plant her own cookie in another's browser, and wait there until that one has logged in:
whoever speaks by the new name has to be who chose it (fixation of a session).
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.memory import MakeSite, MemorySite, cookie_of
from tests.web.bayeux import Client as BayeuxClient
from tests.web.refusals import problem
from tests.web.talkers import Duplex, Socket
from tests.web.test_bayeux_identity import name_of
from tests.web.transports import EVENTS, Client
from tests.wire import Response

SESSION = "/api/v1/session"
MESSAGES = "/api/v1/rooms/lobby/messages"
OURS = {"Origin": "http://127.0.0.1:8080"}
FORM = {"Content-Type": "application/x-www-form-urlencoded", **OURS}

#: The ways in which somebody with a cookie chooses another name.
WAYS = {
    "the API": (SESSION, b'{"name": "carol"}', {"Content-Type": "application/json", **OURS}),
    "log-in": ("/log-in", b"name=carol", FORM),
    "a form": ("/rename", b"name=carol", FORM),
    "the classic chat": ("/chat", b"action=login&username=carol", FORM),
}


def cookie(token: str) -> dict[str, str]:
    return {"Cookie": f"comet_session_memory={token}"}


def choose(site: MemorySite, way: str, headers: dict[str, str]) -> Response:
    path, body, kind = WAYS[way]
    response = site.request("POST", path, body=body, headers={**kind, **headers})
    assert response.status in (200, 303), response.text
    return response


@pytest.mark.parametrize("way_of", WAYS)
def test_the_old_token_is_worth_nothing(site: MemorySite, way_of: str) -> None:
    planted = site.log_in("mallory")
    new = cookie_of(choose(site, way_of, cookie(planted)))
    assert new != cookie(planted)
    assert site.post(MESSAGES, {"text": "hi"}, headers=new).json()["from"] == "carol"
    shows: list[dict[str, Any]] = [{"headers": cookie(planted) | OURS}, {"token": planted}]
    for show in shows:
        problem(site, site.post(MESSAGES, {"text": "hi"}, **show), 401, "invalid-token")
        problem(site, site.get("/api/v1/rooms", **show), 401, "invalid-token")
    problem(site, site.get(f"/api/v1/events/poll?token={planted}"), 401, "invalid-token")
    assert name_of(BayeuxClient(site, jar={"comet_session_memory": planted})) != "carol"


@pytest.mark.parametrize("way_of", WAYS)
def test_nor_are_the_forms_that_were_shown_by_it(site: MemorySite, way_of: str) -> None:
    """A text browser says nothing of where a form stood, so that its hidden token has to."""
    planted = site.log_in("mallory")
    page = site.get("/rooms/lobby", headers=cookie(planted))
    found = re.search(r'name="form_token" value="([^"]+)"', page.text)
    assert found
    new = cookie_of(choose(site, way_of, cookie(planted)))
    sent = {"Content-Type": FORM["Content-Type"], **new}
    body = f"text=hi&form_token={found[1]}".encode()
    problem(site, site.request("POST", "/rooms/lobby", body=body, headers=sent), 403, "cross-site")
    assert site.log.last_id == 0


@pytest.mark.parametrize("transport", [*EVENTS, "openchat"])
def test_what_was_opened_by_it_ends_and_comes_back_by_the_new_one(
    site: MemorySite, transport: str
) -> None:
    planted = site.log_in("mallory")
    site.say("before", name="bob")
    client = Client(site, transport, token=planted, cursor=site.now)
    renamed = site.post(SESSION, {"name": "carol"}, token=planted).json()
    site.say("news", name="bob")
    assert client.response.complete
    assert b"news" not in client.response.body
    if transport in ("frame", "stream", "sse", "multipart"):
        *_, last = client.events()
        assert (last["type"], last["after"]) == ("reopen", 1.0)
    cursor = re.search(r"[0-9]+\.[a-z0-9]{6}", client.response.text.split("reopen")[-1])
    again: dict[str, Any] = {"cursor": cursor[0]} if cursor else {}
    problem(site, site.get(f"/api/v1/events/stream?token={planted}"), 401, "invalid-token")
    back = Client(site, "stream", token=renamed["token"], **again)
    assert back.texts() == (["news"] if again else [])


def test_nothing_more_is_said_through_what_was_opened_by_it(site: MemorySite) -> None:
    planted = site.log_in("mallory")
    socket, duplex = Socket(site, token=planted), Duplex(site, token=planted)
    site.log.hold()  # What is said waits for the disk.
    for number in range(3):
        socket.say(f"socket {number}")
        duplex.say(f"duplex {number}")
    site.post(SESSION, {"name": "carol"}, token=planted)
    site.log.release()
    site.turn()
    said = {event["text"]: event["from"] for event in history(site)}
    assert said == {"socket 0": "mallory", "duplex 0": "mallory"}


def test_nor_is_a_transport_opened_that_was_asked_for_before(make_site: MakeSite) -> None:
    """Its token was looked at; then the log was read for a while."""
    site = make_site(tail=1)
    site.fill(5)
    planted = site.log_in("mallory")
    site.log.holding_reads = True
    waiting = site.get("/api/v1/events/stream?backlog=3", token=planted)
    assert site.log.waiting_reads == 1
    site.post(SESSION, {"name": "carol"}, token=planted)
    site.log.answer_read()
    site.turn()
    problem(site, waiting, 401, "invalid-token")


def test_nor_does_a_connection_remember_that_it_was_good(site: MemorySite) -> None:
    planted = site.log_in("mallory")
    connection = site.connect()
    path = "/api/v1/events/poll?client=one&cursor="
    for _ in range(2):
        poll = connection.request("GET", path + site.now, headers=cookie(planted))
        site.say("hi", name="bob")
        assert poll.status == 200
    site.post(SESSION, {"name": "carol"}, token=planted)
    poll = connection.request("GET", path + site.now, headers=cookie(planted))
    problem(site, poll, 401, "invalid-token")


def test_a_bayeux_client_shakes_hands_anew(site: MemorySite) -> None:
    planted = site.log_in("mallory")
    client = BayeuxClient(site, jar={"comet_session_memory": planted}).joined("/chat/lobby")
    site.say("before", name="bob")
    assert client.texts == ["before"]
    new = cookie_of(choose(site, "a form", cookie(planted)))
    client.pump()
    assert client.connects[-1]["advice"] == {"reconnect": "handshake", "interval": 1000}
    assert client.say("hi")["error"].startswith("402")
    client.jar["comet_session_memory"] = new["Cookie"].partition("=")[2]
    site.say("meanwhile", name="bob")
    client.handshake()
    client.connect()
    client.connect()
    assert name_of(client) == "carol"
    assert client.joined("/chat/lobby").texts == ["before", "meanwhile"]


def test_who_is_called_as_before_keeps_her_token(site: MemorySite) -> None:
    token = site.log_in("alice")
    stream = site.get("/api/v1/events/stream", token=token)
    for name in ("alice", " alice "):
        response = site.post(SESSION, {"name": name}, token=token)
        assert response.json() == {"name": "alice", "role": "guest", "token": token}
        assert response.header("set-cookie") is None
    assert not stream.complete
    # In capitals it is another name to those who see it.
    assert site.post(SESSION, {"name": "Alice"}, token=token).json()["token"] != token


def test_a_name_that_is_taken_changes_nothing(site: MemorySite) -> None:
    token = site.log_in("alice")
    site.log_in("bob")
    stream = site.get("/api/v1/events/stream", token=token)
    problem(site, site.post(SESSION, {"name": "bob"}, token=token), 409, "name-taken")
    assert not stream.complete
    assert site.post(MESSAGES, {"text": "hi"}, token=token).json()["from"] == "alice"


def test_the_new_token_outlives_a_restart(make_site: MakeSite) -> None:
    first = make_site()
    planted = first.log_in("mallory")
    new = first.post(SESSION, {"name": "carol"}, token=planted).json()["token"]
    again = make_site(log=first.log, directory=first.directory)
    assert again.post(MESSAGES, {"text": "hi"}, token=new).json()["from"] == "carol"
    problem(again, again.post(MESSAGES, {"text": "hi"}, token=planted), 401, "invalid-token")


def history(site: MemorySite) -> list[dict[str, str]]:
    """What was said, oldest first."""
    messages: list[dict[str, str]] = json.loads(site.get(MESSAGES).text)["messages"]
    return messages
