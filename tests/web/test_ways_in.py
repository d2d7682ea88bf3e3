"""Each way by which a text comes in: it has the same bound by all of them, however it is written,
and what programs on Windows put before their UTF-8 is no part of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.memory import MemorySite
from tests.web.talkers import TEXT, Duplex, Socket, said

MARK = b"\xef\xbb\xbf"
MESSAGES = "/api/v1/rooms/lobby/messages"
FORM = "application/x-www-form-urlencoded"
HANDSHAKE = {"channel": "/meta/handshake", "version": "1.0"}

Say = Callable[[MemorySite, str, str, bytes], bool]


def by_the_api(site: MemorySite, token: str, text: str, mark: bytes) -> bool:
    body = mark + json.dumps({"text": text}).encode()
    kind = {"Content-Type": "application/json"}
    return site.request("POST", MESSAGES, headers=kind, body=body, token=token).status == 201


def by_a_socket(site: MemorySite, token: str, text: str, mark: bytes) -> bool:
    socket = Socket(site, token=token)
    socket.frame(TEXT, mark + json.dumps({"type": "message", "text": text}).encode())
    assert socket.closed_by() is None
    refused = socket.of("error")
    assert all(each["status"] == 400 for each in refused)
    return not refused


def by_duplex(site: MemorySite, token: str, text: str, mark: bytes) -> bool:
    duplex = Duplex(site, token=token, lines=True)
    duplex.send(mark + text.encode() + b"\n")
    return not duplex.of("error")


def by_a_form(site: MemorySite, token: str, text: str, mark: bytes) -> bool:
    body = mark + f"text={quote(text)}".encode()
    headers = {"Content-Type": FORM, "Origin": "http://127.0.0.1:8080"}
    response = site.request("POST", "/rooms/lobby", headers=headers, body=body, token=token)
    return response.status == 303


def by_the_classic_form(site: MemorySite, token: str, text: str, mark: bytes) -> bool:
    body = mark + f"action=post&message={quote(text)}".encode()
    headers = {"Content-Type": FORM, "Origin": "http://127.0.0.1:8080"}
    return site.request("POST", "/chat", headers=headers, body=body, token=token).status == 303


def shaken(site: MemorySite, token: str) -> str:
    ext = {"authentication": {"token": token}}
    shake = {**HANDSHAKE, "supportedConnectionTypes": ["long-polling"], "ext": ext}
    id: str = site.post("/cometd", [shake]).json()[0]["clientId"]
    return id


def by_a_bayeux_poll(site: MemorySite, token: str, text: str, mark: bytes) -> bool:
    publish = {"channel": "/chat/lobby", "data": {"text": text}, "clientId": shaken(site, token)}
    body = mark + json.dumps([publish]).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    response = site.request("POST", "/cometd", headers=headers, body=body)
    good: bool = response.json()[0]["successful"]
    return good


def by_a_bayeux_form(site: MemorySite, token: str, text: str, mark: bytes) -> bool:
    publish = {"channel": "/chat/lobby", "data": {"text": text}, "clientId": shaken(site, token)}
    body = mark + b"message=" + quote(json.dumps(publish, ensure_ascii=False)).encode()
    headers = {"Content-Type": FORM, "Authorization": f"Bearer {token}"}
    response = site.request("POST", "/cometd", headers=headers, body=body)
    good: bool = response.json()[0]["successful"]
    return good


WAYS: list[Say] = [
    by_the_api,
    by_a_socket,
    by_duplex,
    by_a_form,
    by_the_classic_form,
    by_a_bayeux_poll,
    by_a_bayeux_form,
]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def say(request: pytest.FixtureRequest) -> Say:
    way: Say = request.param
    return way


@pytest.mark.parametrize("letter", ["x", "\u6f22", "\U0001f600"], ids=["ASCII", "CJK", "emoji"])
def test_the_bound_is_of_the_text(site: MemorySite, say: Say, letter: str) -> None:
    token = site.log_in("alice")
    assert say(site, token, letter * 8000, b"")
    assert not say(site, token, letter * 8001, b"")
    assert said(site) == [letter * 8000]


def test_a_byte_order_mark_is_no_part_of_it(site: MemorySite, say: Say) -> None:
    token = site.log_in("alice")
    assert say(site, token, "h\u00e9", MARK)
    assert said(site) == ["h\u00e9"]


@pytest.mark.parametrize("pieces", [1, 2, 4])
def test_one_that_comes_in_pieces(site: MemorySite, pieces: int) -> None:
    duplex = Duplex(site, name="alice")
    data = MARK + b"one\n" + MARK + b"two\n"
    for at in range(0, len(data), pieces):
        duplex.send(data[at : at + pieces])
    assert said(site) == ["one", "\ufefftwo"], "anywhere else it is a character"


def test_a_body_of_nothing_else(site: MemorySite) -> None:
    token = site.log_in("alice")
    response = site.request("POST", "/rooms/lobby.txt", body=MARK, token=token)
    assert response.complete
    assert said(site) == []
    kind = {"Content-Type": "application/json"}
    assert site.request("POST", MESSAGES, headers=kind, body=MARK, token=token).status == 400
