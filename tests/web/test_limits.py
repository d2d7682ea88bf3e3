"""Limits over the wire: what is too much from one address, and how each way in is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.memory import MakeSite, MemorySite
from tests.web.bayeux import Client as BayeuxClient
from tests.web.refusals import problem
from tests.web.talkers import Duplex, Socket

MESSAGES = "/api/v1/rooms/lobby/messages"


@pytest.fixture
def full(make_site: MakeSite) -> MemorySite:
    """A site where all that one address may say at once has been said."""
    site = make_site(limits=True, bayeux_channels=("/app/**",))
    for number in range(3):
        token = site.log_in(f"n{number}")
        for _ in range(20):
            assert site.post(MESSAGES, {"text": "hi"}, token=token).status == 201
    return site


def refused(site: MemorySite, response: Any, what: str) -> None:
    told = problem(site, response, 429, "too-many")
    assert told["detail"].startswith(f"Too many {what} from your address: try again in ")
    assert int(response.header("retry-after")) >= 1


def test_a_post_is_told_when_to_come_again(full: MemorySite) -> None:
    token = full.log_in("late")
    response = full.post(MESSAGES, {"text": "hi"}, token=token)
    refused(full, response, "messages")
    full.advance(int(response.header("retry-after") or ""))
    assert full.post(MESSAGES, {"text": "hi"}, token=token).status == 201


def test_neighbours_are_not_bothered(full: MemorySite) -> None:
    token = full.log_in("late")
    elsewhere = full.post(MESSAGES, {"text": "hi"}, token=token, address="192.0.2.99")
    assert elsewhere.status == 201


def test_a_socket_and_a_body_count_for_their_address(full: MemorySite) -> None:
    socket = Socket(full, token=full.log_in("late"))
    socket.say(json.dumps({"type": "message", "text": "hi"}))
    (error,) = socket.of("error")
    assert (error["status"], "from your address" in error["detail"]) == (429, True)
    talker = Duplex(full, name="later")
    talker.send(b"hi\n")
    assert "! Too many messages from your address" in talker.response.text


@pytest.mark.parametrize("channel", ["/chat/lobby", "/app/free"])
def test_bayeux_counts_for_its_address(full: MemorySite, channel: str) -> None:
    client = BayeuxClient(full, name="late")
    reply = client.ask(channel, data={"text": "hi"})
    assert not reply["successful"]
    assert reply["error"].startswith("429:")


def test_signs_of_typing_new_names_and_new_rooms(make_site: MakeSite) -> None:
    site = make_site(limits=True)
    tokens = [site.log_in(f"n{number}") for number in range(30)]
    typing = [
        site.post("/api/v1/rooms/lobby/typing", {}, token=token)
        for token in tokens
        for _ in "12345"
    ]
    assert [each.status for each in typing].count(204) == 100
    refused(site, typing[-1], "signs of typing")
    renamed = []
    for number, token in enumerate(tokens):
        for again in "abc":
            renamed.append(
                site.post("/api/v1/session", {"name": f"x{number}-{again}"}, token=token)
            )
            if renamed[-1].status == 200:
                # Each new name comes with a new token.
                tokens[number] = token = renamed[-1].json()["token"]
    assert [each.status for each in renamed].count(200) == 60
    refused(site, renamed[-1], "new names")
    made = [
        site.post("/api/v1/rooms", {"name": f"r{number}-{again}"}, token=token)
        for number, token in enumerate(tokens)
        for again in "ab"
    ]
    assert [each.status for each in made].count(201) == 20
    refused(site, made[-1], "new rooms")


def test_without_limits_there_are_none(make_site: MakeSite) -> None:
    site = make_site()
    token = site.log_in("alice")
    for _ in range(130):
        assert site.post("/api/v1/rooms/lobby/typing", {}, token=token).status == 204
