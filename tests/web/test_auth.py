"""Who is speaking, and whether it was meant: section 2 of the interface, line by line."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

import pytest
from twisted.internet.interfaces import ISSLTransport
from twisted.logger import capturedLogs, formatEvent
from zope.interface import alsoProvides

from cometd_chat.daemon.option_values import parse_host, parse_network
from tests.chat.parts import now
from tests.memory import CLEARED, MakeSite, MemorySite, cookie_of
from tests.web.refusals import HTML, problem
from tests.wire import Response

SESSION = "/api/v1/session"
MESSAGES = "/api/v1/rooms/lobby/messages"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
PAGE = {"Accept": "text/html"}

#: Headers of a request that a page of another site made.
FOREIGN: list[dict[str, str]] = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://127.0.0.1"},  # another port
    {"Origin": "http://127.0.0.1:8081"},
    {"Origin": "https://127.0.0.1"},
    {"Origin": "http://localhost:8080"},  # another host, though the same machine
    {"Origin": "http://127.0.0.1:8080.evil.example"},
    {"Origin": "http://evil@127.0.0.1:8080"},
    {"Origin": "file://"},
    {"Origin": "ftp://127.0.0.1:8080"},
    {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
]

#: Headers of a request that one of our own pages made, or a person by hand.
OURS: list[dict[str, str]] = [
    {"Origin": "http://127.0.0.1:8080"},
    {"Origin": "https://127.0.0.1:8080"},
    {"Origin": "HTTP://127.0.0.1:8080"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"},
]

#: Every request that changes something.
CHANGES: list[tuple[str, str, bytes, dict[str, str]]] = [
    ("POST", SESSION, b'{"name": "carol"}', {"Content-Type": "application/json"}),
    ("DELETE", SESSION, b"", {"Content-Type": "application/json"}),
    ("POST", "/api/v1/rooms", b'{"name": "attic"}', {"Content-Type": "application/json"}),
    ("POST", MESSAGES, b'{"text": "hi"}', {"Content-Type": "application/json"}),
    ("POST", "/api/v1/rooms/lobby/typing", b"", {"Content-Type": "application/json"}),
    ("POST", "/api/v1/rooms/lobby/leave", b"", {"Content-Type": "text/plain"}),
    ("POST", "/log-in", b"name=carol", FORM),
    ("POST", "/log-out", b"", FORM),
    ("POST", "/rename", b"name=carol", FORM),
    ("POST", "/rooms", b"name=attic", FORM),
    ("POST", "/rooms/lobby", b"text=hi", FORM),
    ("POST", "/rooms/lobby/plain", b"text=hi", FORM),
    ("POST", "/chat", b"action=login&username=carol", FORM),
    ("POST", "/chat", b"action=post&message=hi", FORM),
]
CHANGE_NAMES = [f"{method} {path} {body.decode()}" for method, path, body, _ in CHANGES]


def cookie(token: str) -> dict[str, str]:
    return {"Cookie": f"comet_session_memory={token}"}


def form_token(page: Response) -> str:
    """The hidden token in the forms of a page."""
    found = set(re.findall(r'name="form_token" value="([^"]+)"', page.text))
    assert len(found) == 1, page.text
    token: str = found.pop()
    return token


def state(site: MemorySite) -> tuple[Any, ...]:
    """What a request may have changed."""
    people = [session.name for session in site.chat.presence.people("lobby")]
    names = sorted(row.name for row in site.directory.named_sessions())
    return site.log.last_id, names, [room.name for room in site.chat.rooms.all()], people


# -- what was not meant


@pytest.mark.parametrize("change", CHANGES, ids=CHANGE_NAMES)
def test_another_site_changes_nothing(
    site: MemorySite, change: tuple[str, str, bytes, dict[str, str]]
) -> None:
    method, path, body, kind = change
    token = site.log_in("alice")
    before = state(site)
    for headers, credentials in product(FOREIGN, ({}, cookie(token), cookie("no-such-token"))):
        sent = {**kind, **headers, **credentials}
        problem(site, site.request(method, path, body=body, headers=sent), 403, "cross-site")
        assert state(site) == before, headers


@pytest.mark.parametrize("change", CHANGES, ids=CHANGE_NAMES)
@pytest.mark.parametrize("site_says", [{}, {"Sec-Fetch-Site": "cross-site"}], ids=str)
def test_a_page_of_an_allowed_origin_changes_nothing_without_a_token(
    make_site: MakeSite, change: tuple[str, str, bytes, dict[str, str]], site_says: dict[str, str]
) -> None:
    """The front lets its requests pass, since only a route knows of tokens: each has to look."""
    site = make_site(allow_origin=("https://good.example",))
    method, path, body, kind = change
    token = site.log_in("alice")
    before = state(site)
    for credentials in ({}, cookie(token), cookie("no-such-token")):
        sent = {**kind, "Origin": "https://good.example", **site_says, **credentials}
        response = site.request(method, path, body=body, headers=sent)
        assert response.status in (401, 403), response.text
        assert (response.header("set-cookie") or CLEARED).startswith(CLEARED)
        assert state(site) == before
    sent = {**kind, "Origin": "https://good.example", **site_says}
    response = site.request(method, path, body=body, headers=sent, token=token)
    assert response.status in (200, 201, 204, 303), response.text


def anew(body: bytes, number: int) -> bytes:
    """The same change, of what nobody has made before."""
    return body.replace(b"carol", b"carol%d" % number).replace(b"attic", b"attic%d" % number)


@pytest.mark.parametrize("change", CHANGES, ids=CHANGE_NAMES)
def test_our_own_pages_change_things(
    site: MemorySite, change: tuple[str, str, bytes, dict[str, str]]
) -> None:
    method, path, body, kind = change
    for number, headers in enumerate(OURS):
        sent = {**kind, **headers, **cookie(site.log_in(f"alice{number}"))}
        response = site.request(method, path, body=anew(body, number), headers=sent)
        assert response.status in (200, 201, 204, 303), (headers, response.text)


@pytest.mark.parametrize("change", CHANGES, ids=CHANGE_NAMES)
def test_a_program_with_a_bearer_token_may_come_from_anywhere(
    site: MemorySite, change: tuple[str, str, bytes, dict[str, str]]
) -> None:
    method, path, body, kind = change
    for number, headers in enumerate(FOREIGN):
        token, sent = site.log_in(f"alice{number}"), {**kind, **headers}
        response = site.request(method, path, body=anew(body, number), headers=sent, token=token)
        assert response.status in (200, 201, 204, 303), (headers, response.text)


@pytest.mark.parametrize(
    ("method", "path", "body"), [(m, p, b) for m, p, b, k in CHANGES if k is FORM]
)
def test_a_form_with_a_cookie_and_no_origin_needs_its_token(
    site: MemorySite, method: str, path: str, body: bytes
) -> None:
    """As text browsers send it: none of them says where a form stood."""
    token = site.log_in("alice")
    right = form_token(site.get("/rooms/lobby", headers=cookie(token)))
    other = form_token(site.get("/rooms/lobby", headers=cookie(site.log_in("bob"))))
    before = state(site)
    for wrong in ("", f"&form_token={other}", "&form_token=", "&form_token=%C3%A9"):
        sent = {**FORM, **cookie(token)}
        response = site.request(method, path, body=body + wrong.encode(), headers=sent)
        problem(site, response, 403, "cross-site")
        assert state(site) == before
    response = site.request(
        method,
        path,
        body=body + f"&form_token={right}".encode(),
        headers={**FORM, **cookie(token)},
    )
    assert response.status in (200, 303), response.text


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded"])
@pytest.mark.parametrize("path", ["/api/v1/rooms/lobby/typing", "/api/v1/rooms/lobby/leave"])
def test_the_api_with_a_cookie_and_no_origin_needs_json(
    site: MemorySite, path: str, kind: str
) -> None:
    token = site.log_in("alice")
    headers = {**cookie(token), **({"Content-Type": kind} if kind else {})}
    problem(site, site.request("POST", path, headers=headers, body=b""), 403, "cross-site")
    headers["Content-Type"] = "application/json; charset=utf-8"
    assert site.request("POST", path, headers=headers, body=b"").status == 204


def test_leaving_takes_any_content_type_from_our_pages(site: MemorySite) -> None:
    token = site.log_in("alice")
    for kind in ("text/plain;charset=UTF-8", "application/x-www-form-urlencoded", ""):
        headers = {**cookie(token), "Origin": "http://127.0.0.1:8080", "Content-Type": kind}
        response = site.request(
            "POST", "/api/v1/rooms/lobby/leave", headers=headers, body=b"anything"
        )
        assert response.status == 204


def test_without_cookie_and_origin_there_is_nobody_to_be_fooled(site: MemorySite) -> None:
    response = site.request("POST", "/log-in", body=b"name=alice", headers=FORM)
    assert response.status == 303
    assert site.post(SESSION, {"name": "bob"}).status == 201


@pytest.mark.reads
@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_session_by_name_is_a_log_in(site: MemorySite, headers: dict[str, str]) -> None:
    for path in ("/rooms/lobby.txt?name=mallory", "/api/v1/events/text?name=mallory"):
        problem(site, site.get(path, headers=headers), 403, "cross-site")
    assert state(site)[3] == []


def test_our_own_port_need_not_be_named(site: MemorySite) -> None:
    for host, origin, status in (
        ("127.0.0.1", "http://127.0.0.1", 201),
        ("127.0.0.1", "http://127.0.0.1:80", 201),
        ("127.0.0.1:80", "http://127.0.0.1", 201),
        ("127.0.0.1:443", "https://127.0.0.1", 201),
        ("[::1]:8080", "http://[::1]:8080", 201),
        ("LOCALHOST:8080", "http://localhost:8080", 201),
        ("127.0.0.1:443", "http://127.0.0.1", 403),
        ("127.0.0.1:80", "https://127.0.0.1", 403),
        ("127.0.0.1", "http://127.0.0.1:8080", 403),
        ("[::1]:8080", "http://[::2]:8080", 403),
    ):
        name = f"n{site.log.last_id}{len(site.chat.sessions)}"
        headers = {"Host": host, "Origin": origin}
        response = site.post(SESSION, {"name": name}, headers=headers)
        assert response.status == status, (host, origin, response.text)


# -- the cookie


def test_the_cookie(site: MemorySite) -> None:
    response = site.post(SESSION, {"name": "alice"})
    token = response.json()["token"]
    assert response.header("set-cookie") == (
        f"comet_session_memory={token}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"
    )
    again = site.post(SESSION, {"name": "alice"}, headers=cookie(token))
    assert (again.status, again.json()) == (200, response.json())


@pytest.mark.parametrize("path", ["/", "/chat", "/api/v1/rooms", "/api/v1/events/stream"])
def test_the_cookie_lives_as_long_as_its_token(site: MemorySite, path: str) -> None:
    token = site.log_in("alice")
    session = now(site.chat.sessions.by_token(token))
    session.expires_at -= 2 * 86400  # It is two days old.
    response = site.get(path, headers=cookie(token))
    assert response.header("set-cookie") == (
        f"comet_session_memory={token}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"
    )
    assert site.get(path, headers=cookie(token)).header("set-cookie") is None
    session.expires_at -= 2 * 86400
    assert site.get(path, token=token).header("set-cookie") is None, "it came by no cookie"


def test_over_tls_the_cookie_is_of_this_host_alone(make_site: MakeSite) -> None:
    site = make_site(fast_lane=False)  # TLS never takes that.
    connection = site.connect()
    alsoProvides(connection.transport, ISSLTransport)
    response = connection.request("POST", SESSION, json={"name": "alice"})
    token = response.json()["token"]
    assert response.header("set-cookie") == (
        f"__Host-comet_session_memory={token}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; "
        "Secure"
    )
    sent = {"Cookie": f"__Host-comet_session_memory={token}", **JSON}
    assert connection.request("POST", MESSAGES, json={"text": "hi"}, headers=sent).status == 201
    # One without the prefix may have been set by any page of any host of the domain.
    sent = {**cookie(token), **JSON}
    response = connection.request("POST", MESSAGES, json={"text": "hi"}, headers=sent)
    problem(site, response, 401, "no-session")
    ended = connection.request(
        "DELETE", SESSION, headers={"Cookie": f"__Host-comet_session_memory={token}", **JSON}
    )
    assert (ended.header("set-cookie") or "").startswith("__Host-comet_session_memory=; Path=/; ")


def test_behind_a_proxy_that_says_so_it_is_over_tls(make_site: MakeSite) -> None:
    site = make_site(trusted_proxy=(parse_network("192.0.2.7"),))
    secure = {"X-Forwarded-Proto": "https"}
    response = site.post(SESSION, {"name": "alice"}, headers=secure)
    name, _, value = (response.header("set-cookie") or "").partition(";")[0].partition("=")
    assert name == "__Host-comet_session_memory"
    sent = {"Cookie": f"{name}={value}"}
    assert site.post(MESSAGES, {"text": "hi"}, headers={**sent, **secure}).status == 201
    problem(site, site.post(MESSAGES, {"text": "hi"}, headers=sent), 401, "no-session")


def test_another_installation_has_another_cookie(make_site: MakeSite) -> None:
    """Browsers send the cookies of all ports of a host to each (RFC 6265, section 8.5)."""
    first, second = make_site(), make_site()
    second.log.origin = "k3f9q2"
    theirs = first.post(SESSION, {"name": "alice"}).header("set-cookie") or ""
    jar = {"Cookie": theirs.partition(";")[0]}
    for path in ("/", "/chat", "/rooms/lobby", "/rooms/lobby.txt", "/api/v1/rooms"):
        response = second.get(path, headers=jar)
        assert (response.status, response.header("set-cookie")) == (200, None), path
    form = {**FORM, **jar, "Origin": "http://127.0.0.1:8080"}
    left = second.request("POST", "/log-out", body=b"", headers=form)
    assert (left.status, left.header("set-cookie")) == (303, None)
    ours = second.post(SESSION, {"name": "alice"}, headers=jar).header("set-cookie") or ""
    assert ours.startswith("comet_session_k3f9q2=")
    both = {"Cookie": f"{jar['Cookie']}; {ours.partition(';')[0]}"}
    for site in (first, second):
        assert site.post(MESSAGES, {"text": "hi"}, headers=both).status == 201


def test_one_who_claims_tls_is_not_believed(site: MemorySite) -> None:
    response = site.post(SESSION, {"name": "alice"}, headers={"X-Forwarded-Proto": "https"})
    assert "Secure" not in (response.header("set-cookie") or "")


@pytest.mark.parametrize(
    ("path", "body"), [("/log-in", b"name=alice"), ("/chat", b"action=login&username=alice")]
)
def test_log_in_by_form_sets_the_cookie(site: MemorySite, path: str, body: bytes) -> None:
    response = site.request("POST", path, body=body, headers=FORM)
    assert response.status == 303
    found = re.match(r"comet_session_memory=([^;]+); Path=/; ", response.header("set-cookie") or "")
    assert found
    assert site.post(MESSAGES, {"text": "hi"}, token=found[1]).status == 201


def test_the_end_takes_the_cookie_away(site: MemorySite) -> None:
    token = site.log_in("alice")
    headers = {**cookie(token), "Content-Type": "application/json"}
    response = site.request("DELETE", SESSION, headers=headers)
    assert response.status == 204
    assert (response.header("set-cookie") or "").startswith(CLEARED)
    problem(site, site.get("/api/v1/rooms", headers=cookie(token)), 401, "invalid-token")
    problem(site, site.get("/api/v1/rooms", token=token), 401, "invalid-token")


def test_the_end_closes_what_is_held(site: MemorySite) -> None:
    token = site.log_in("alice")
    stream = site.get("/api/v1/events/stream", token=token)
    other = site.get("/api/v1/events/stream")
    assert site.request("DELETE", SESSION, token=token).status == 204
    assert stream.complete
    assert stream.text.splitlines()[-1] == '{"type":"bye","reason":"logged out"}'
    assert not other.complete


# -- credentials that are no good

API = ["/api/v1/rooms", MESSAGES, "/api/v1/rooms/lobby/people", "/api/v1/events/stream"]


@pytest.mark.reads
@pytest.mark.parametrize("path", API)
def test_an_invalid_cookie_under_the_api(site: MemorySite, path: str) -> None:
    problem(site, site.get(path, headers=cookie("stale")), 401, "invalid-token")


def test_an_invalid_cookie_where_a_room_is_text(make_site: MakeSite) -> None:
    """It is a page as far as a browser is concerned, where nobody can be asked to log in."""
    page = make_site().get("/rooms/lobby.txt", headers=cookie("stale"))
    assert page.status == 200
    assert (page.header("set-cookie") or "").startswith(CLEARED)
    site = make_site(public_reading=False)
    page = site.get("/rooms/lobby.txt", headers=cookie("stale"))
    problem(site, page, 401, "no-session")
    assert (page.header("set-cookie") or "").startswith(CLEARED)


@pytest.mark.parametrize(
    "path", [*API, "/", "/rooms/lobby", "/rooms/lobby/plain", "/rooms/lobby.txt", "/chat"]
)
def test_an_invalid_bearer_token(site: MemorySite, path: str) -> None:
    token = site.log_in("alice")
    for value in ("Bearer stale", "bearer stale", "Bearer", "Bearer ", "BEARER é"):
        problem(site, site.get(path, headers={"Authorization": value}), 401, "invalid-token")
        # A good cookie beside it does not help.
        both = {"Authorization": value, **cookie(token)}
        problem(site, site.get(path, headers=both), 401, "invalid-token")


@pytest.mark.parametrize(
    "path", ["/api/v1/events/stream", "/api/v1/events/poll", "/rooms/lobby.txt"]
)
def test_an_invalid_token_in_the_query(site: MemorySite, path: str) -> None:
    problem(site, site.get(f"{path}?token=stale"), 401, "invalid-token")
    problem(site, site.get(f"{path}?token="), 401, "invalid-token")
    both = cookie(site.log_in("alice"))
    problem(site, site.get(f"{path}?token=stale", headers=both), 401, "invalid-token")


def test_a_token_in_the_query_is_for_what_is_held(site: MemorySite) -> None:
    token = site.log_in("alice")
    assert site.get(f"/api/v1/events/poll?token={token}").status == 200
    assert site.get("/api/v1/rooms/lobby/people").json()["people"] == [
        {"name": "alice", "role": "guest"}
    ]
    problem(site, site.post(f"{MESSAGES}?token={token}", {"text": "hi"}), 401, "no-session")


def test_the_classic_stream_is_held_too(site: MemorySite) -> None:
    token = site.log_in("alice")
    stream = site.get(f"/chat?action=openchat&token={token}")
    assert "Welcome alice" in stream.text
    assert not stream.complete
    problem(site, site.get("/chat?action=openchat&token=stale"), 401, "invalid-token")


@pytest.mark.parametrize("path", ["/", "/rooms/lobby", "/rooms/lobby/plain", "/chat"])
def test_pages_clear_an_invalid_cookie(make_site: MakeSite, path: str) -> None:
    site = make_site(public_reading=False)
    page = site.get(path, headers=cookie("stale"))
    assert (page.status, page.header("content-type")) == (200, HTML)
    assert (page.header("set-cookie") or "").startswith(CLEARED)
    assert "Your name" in page.text


@pytest.mark.reads
@pytest.mark.parametrize(
    ("path", "body", "typed"),
    [
        ("/rooms/lobby", b"text=my+story", "my story"),
        ("/rooms/lobby/plain", b"text=my+story", "my story"),
        ("/chat", b"action=post&message=my+story", "my story"),
        ("/rename", b"name=carol", "carol"),
    ],
)
@pytest.mark.parametrize("origin", [{}, {"Origin": "http://127.0.0.1:8080"}], ids=["text", "full"])
def test_a_form_of_a_session_that_is_over_hands_back_what_was_typed(
    site: MemorySite, path: str, body: bytes, typed: str, origin: dict[str, str]
) -> None:
    sent = {**FORM, **PAGE, **cookie("stale"), **origin}
    response = site.request("POST", path, body=body + b"&form_token=old", headers=sent)
    assert (response.status, response.header("content-type")) == (401, HTML), response.text
    assert typed in response.text
    assert (response.header("set-cookie") or "").startswith(CLEARED)
    assert "Enter</button>" in response.text, "here is the log-in form"


def test_a_room_can_not_be_made_by_a_session_that_is_over(site: MemorySite) -> None:
    sent = {**FORM, **PAGE, **cookie("stale")}
    response = site.request("POST", "/rooms", body=b"name=attic&topic=old+things", headers=sent)
    assert (response.status, response.header("content-type")) == (401, HTML)
    assert "old things" in response.text
    assert (response.header("set-cookie") or "").startswith(CLEARED)


@pytest.mark.parametrize(
    ("path", "body"), [("/log-in", b"name=alice"), ("/chat", b"action=login&username=alice")]
)
@pytest.mark.parametrize("origin", [{}, {"Origin": "http://127.0.0.1:8080"}], ids=["text", "full"])
def test_log_in_with_an_invalid_cookie(
    site: MemorySite, path: str, body: bytes, origin: dict[str, str]
) -> None:
    sent = {**FORM, **cookie("stale"), **origin}
    response = site.request("POST", path, body=body, headers=sent)
    assert response.status == 303, response.text
    (set_cookie,) = response.headers["set-cookie"]
    assert not set_cookie.startswith("comet_session_memory=;")


def test_log_in_by_the_api_with_an_invalid_cookie(site: MemorySite) -> None:
    """It is a log-in, and no script could take the cookie away."""
    response = site.post(SESSION, {"name": "alice"}, headers=cookie("stale"))
    assert response.status == 201
    (set_cookie,) = response.headers["set-cookie"]
    assert response.json()["token"] in set_cookie


@pytest.mark.reads
@pytest.mark.parametrize("value", ["", "x", "\x7f", "a" * 5000, '"quoted"', "é"])
def test_cookies_that_can_not_be_ours(site: MemorySite, value: str) -> None:
    page = site.get("/rooms/lobby", headers=cookie(value))
    assert page.status == 200
    assert site.get("/static/comet.js", headers=cookie(value)).status == 200


def test_other_cookies_do_not_matter(site: MemorySite) -> None:
    token = site.log_in("alice")
    headers = {"Cookie": f"a=b; comet_session_memory={token}; =; c"}
    assert site.get("/api/v1/rooms", headers=headers).status == 200
    assert site.get("/api/v1/rooms", headers={"Cookie": "comet=x; session=y"}).status == 200
    assert site.get("/api/v1/rooms", headers={"Authorization": "Basic YTpi"}).status == 200


# -- who may read, who may write


@pytest.mark.reads
@pytest.mark.parametrize(
    ("method", "path", "json"),
    [
        ("DELETE", SESSION, None),
        ("POST", "/api/v1/rooms", {"name": "attic"}),
        ("POST", MESSAGES, {"text": "hi"}),
        ("POST", "/api/v1/rooms/lobby/typing", {}),
        ("POST", "/api/v1/rooms/lobby/leave", {}),
    ],
)
def test_who_changes_something_has_a_session(
    site: MemorySite, method: str, path: str, json: Any
) -> None:
    problem(site, site.request(method, path, json=json), 401, "no-session")


@pytest.mark.parametrize("path", [*API, "/rooms/lobby.txt"])
def test_reading_is_public_or_not(make_site: MakeSite, path: str) -> None:
    assert make_site().get(path).status == 200
    site = make_site(public_reading=False)
    problem(site, site.get(path), 401, "no-session")
    assert site.get(path, token=site.log_in("alice")).status == 200


def test_pages_where_reading_is_not_public(make_site: MakeSite) -> None:
    site = make_site(public_reading=False)
    site.say("a secret")
    for path in ("/", "/rooms/lobby", "/rooms/lobby/plain", "/chat", "/chat?action=openchat"):
        page = site.get(path)
        assert page.status == 200
        assert "a secret" not in page.text
        assert "Your name" in page.text


# -- names that were freed


def nameless(site: MemorySite) -> str:
    """The token of a session whose name somebody else has now."""
    token = site.log_in("alice")
    site.advance(905)
    site.log_in("Alice")
    return token


@pytest.mark.parametrize(
    "asked",
    [
        "GET /api/v1/session",
        "GET /api/v1/rooms",
        "GET /api/v1/rooms/lobby",
        "GET /api/v1/rooms/lobby/people",
        "GET /api/v1/rooms/lobby/messages",
        'POST /api/v1/rooms {"name": "attic"}',
        'POST /api/v1/rooms/lobby/messages {"text": "hi"}',
        "POST /api/v1/rooms/lobby/typing {}",
        "POST /api/v1/rooms/lobby/leave {}",
    ],
)
def test_a_token_without_name_does_nothing(site: MemorySite, asked: str) -> None:
    method, path, body = (asked + "  ").split(" ", 2)
    kind = {"Content-Type": "application/json"} if method == "POST" else {}
    headers = {"Authorization": f"Bearer {nameless(site)}", **kind}
    response = site.request(method, path, body=body.strip().encode(), headers=headers)
    problem(site, response, 409, "name-taken")


def test_a_token_without_name_holds_nothing(site: MemorySite) -> None:
    token = nameless(site)
    # To look at the head of a transport begins nothing, and is refused by itself.
    head = {"Authorization": f"Bearer {token}"}
    assert site.request("HEAD", "/api/v1/events/stream", headers=head).status == 409
    problem(site, site.get("/api/v1/events/stream", token=token), 409, "name-taken")
    written = site.request("POST", "/api/v1/events/duplex", body=b"hi\n", headers=head)
    assert written.status == 409
    assert "name-taken" in written.text


def test_a_token_takes_a_free_name_back(site: MemorySite) -> None:
    token = site.log_in("alice")
    site.advance(905)
    assert site.post(MESSAGES, {"text": "hi"}, token=token).json()["from"] == "alice"
    problem(site, site.post(SESSION, {"name": "alice"}), 409, "name-taken")


def test_a_token_without_name_asks_for_another(site: MemorySite) -> None:
    token = nameless(site)
    problem(site, site.post(MESSAGES, {"text": "hi"}, token=token), 409, "name-taken")
    problem(site, site.get("/api/v1/events/stream", token=token), 409, "name-taken")
    problem(site, site.post(SESSION, {"name": "alice"}, token=token), 409, "name-taken")
    response = site.post(SESSION, {"name": "carol"}, token=token)
    assert response.status == 200
    assert site.post(MESSAGES, {"text": "hi"}, token=response.json()["token"]).status == 201


@pytest.mark.parametrize("path", ["/", "/rooms/lobby", "/rooms/lobby/plain"])
def test_a_page_without_name_asks_for_another(site: MemorySite, path: str) -> None:
    headers = cookie(nameless(site))
    page = site.get(path, headers=headers)
    assert page.status == 200
    assert 'action="/log-in"' in page.text
    # A text browser, too, can send that form.
    body = f"name=carol&form_token={form_token(page)}".encode()
    response = site.request("POST", "/log-in", body=body, headers={**FORM, **headers})
    assert response.status == 303, response.text
    said = site.post(MESSAGES, {"text": "hi"}, headers=cookie_of(response))
    assert said.json()["from"] == "carol"


def test_log_in_can_be_tried_again_under_another_name(site: MemorySite) -> None:
    headers = {**FORM, **cookie(nameless(site))}
    page = site.get("/rooms/lobby/plain", headers=headers)
    body = f"name=alice&form_token={form_token(page)}".encode()
    taken = site.request("POST", "/log-in", body=body, headers=headers)
    assert taken.status == 409
    body = f"name=carol&form_token={form_token(taken)}".encode()
    assert site.request("POST", "/log-in", body=body, headers=headers).status == 303


def test_the_classic_chat_asks_for_another_name(site: MemorySite) -> None:
    headers = {**FORM, **cookie(nameless(site))}
    page = site.get("/chat?message=my+story", headers=headers)
    assert 'value="login"' in page.text
    assert "my story" in page.text
    assert 'value="login"' in site.get("/chat?action=openchat", headers=headers).text
    body = f"action=post&message=my+story&form_token={form_token(page)}".encode()
    refused = site.request("POST", "/chat", body=body, headers=headers)
    assert refused.status == 409
    assert "my story" in refused.text
    body = f"action=login&username=carol&form_token={form_token(refused)}".encode()
    assert site.request("POST", "/chat", body=body, headers=headers).status == 303


# -- hosts


@pytest.mark.reads
@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8080", "LocalHost", "localhost.", "127.0.0.1", "127.0.0.1:1",
     "192.0.2.1:8080", "[::1]", "[::1]:8080", "[2001:db8::1]:443", "127.0.0.1:"],
)  # fmt: skip
def test_hosts_that_are_always_served(site: MemorySite, host: str) -> None:
    assert site.get("/healthz", headers={"Host": host}).status == 200


@pytest.mark.reads
@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example",
     "localhos", "xn--bcher-kva.example", "0x7f000001", "2130706433", "127.1", "1.2.3.4.5"],
)  # fmt: skip
def test_hosts_that_are_not_served(site: MemorySite, host: str) -> None:
    found = problem(site, site.get("/healthz", headers={"Host": host}), 421, "wrong-host")
    name = host.removesuffix(":8080")
    assert f"--host {name}" in found["detail"], "the remedy"


@pytest.mark.reads
@pytest.mark.parametrize(
    "host",
    ["a b", "", "user@localhost", "localhost:x", "[::1", "a/b", "?", "localhost..",
     "localhost..:80", "127.0.0.1..", "127.0.0.1%x", "127.0.0.1%..", "127.0.0.1%" + "a" * 70,
     "[::1%eth0]", "[fe80::1%251]", "::1", "[127.0.0.1]", "[v1.x]", "[]", "a..b", ".localhost",
     "-a", "a-", "x" * 64, "a." * 127 + "b", "localhost:65536", "localhost:000080",
     "localhost:+80", "local\thost", "locälhost", "[::1]x", "localhost,localhost", "x" * 16000,
     "[" + ":" * 9000 + "]"],
    ids=lambda host: host[:30],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/healthz", "/api/v1/events/poll?wait=0"])
def test_hosts_that_are_none(site: MemorySite, host: str, path: str) -> None:
    """Refused by both ways of a request, before a router reads them in a way of its own."""
    problem(site, site.get(path, headers={"Host": host}), 400, "invalid-request")


def test_hosts_that_are_named(make_site: MakeSite) -> None:
    site = make_site(hosts=(parse_host("Chat.Example.org"), parse_host("bücher.example")))
    for host in ("chat.example.org", "CHAT.example.ORG:8080", "chat.example.org."):
        assert site.get("/healthz", headers={"Host": host}).status == 200
    assert site.get("/healthz", headers={"Host": "xn--bcher-kva.example"}).status == 200
    assert site.get("/healthz", headers={"Host": "127.0.0.1"}).status == 200
    problem(site, site.get("/healthz", headers={"Host": "example.org"}), 421, "wrong-host")
    problem(site, site.get("/healthz", headers={"Host": "a.chat.example.org"}), 421, "wrong-host")


def test_a_request_has_one_host(site: MemorySite) -> None:
    for head in (
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
    ):
        connection = site.connect()
        response = connection.expect()
        connection.send(head)
        problem(site, response, 400)
    connection = site.connect()
    response = connection.expect()
    connection.send(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert response.status == 200


def test_a_wrong_host_comes_before_everything(site: MemorySite) -> None:
    """Also before a request's own words are looked at: it may be another site's page."""
    for method, path in (("GET", "/"), ("GET", "/nothing"), ("POST", SESSION), ("FROB", "/")):
        headers = {"Host": "evil.example", "Content-Length": "0"}
        assert site.request(method, path, headers=headers).status == 421


# -- what is said to nobody


def test_tokens_are_never_in_the_log(make_site: MakeSite) -> None:
    with capturedLogs() as events:
        site = make_site(log_level="debug")
        token = site.log_in("alice")
        headers = cookie(token)
        site.post(MESSAGES, {"text": "a secret text"}, token=token)
        site.get("/rooms/lobby", headers=headers)
        site.get(f"/rooms/lobby.txt?token={token}")
        site.get(f"/api/v1/events/poll?token={token}")
        site.get(f"/api/v1/events/stream?token={token}&rooms=attic")
        site.get(f"/api/v1/events/sse?token={token}x")
        site.get("/api/v1/rooms", headers={"Authorization": f"Bearer {token}x"})
        site.get(f"/nothing?token={token}")
        site.connect().send(b"GET /%ff?token=" + token.encode() + b" HTTP/1.1\r\n\r\n")
        site.request("DELETE", SESSION, token=token)
        said = "\n".join(f"{formatEvent(event)} {event!r}" for event in events)
    assert "/rooms/lobby.txt" in said, "there is an access log"
    assert token not in said
    assert "a secret text" not in said
    assert "192.0.2.7" not in said
