"""Everything that can be wrong with a request: a problem in one form, never a 500, never a word in
the log."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

import pytest

from cometd_chat import errors
from tests.memory import MakeSite, MemorySite
from tests.web.refusals import HTML, fields, problem
from tests.wire import Response

MESSAGES = "/api/v1/rooms/lobby/messages"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

#: Every path there is, and the methods that it takes.
ROUTES = {
    "/api/v1/session": {"GET", "HEAD", "POST", "DELETE"},
    "/api/v1/sessions": {"GET", "HEAD"},
    "/api/v1/sessions/1": {"DELETE"},
    "/api/v1/rooms": {"GET", "HEAD", "POST"},
    "/api/v1/rooms/lobby": {"GET", "HEAD", "PATCH", "DELETE"},
    "/api/v1/rooms/lobby/members": {"GET", "HEAD"},
    "/api/v1/rooms/lobby/members/bob": {"PUT", "DELETE"},
    "/api/v1/direct": {"POST"},
    "/api/v1/rooms/lobby/people": {"GET", "HEAD"},
    MESSAGES: {"GET", "HEAD", "POST"},
    f"{MESSAGES}/1": {"GET", "HEAD", "DELETE"},
    "/api/v1/rooms/lobby/typing": {"POST"},
    "/api/v1/rooms/lobby/leave": {"POST"},
    "/api/v1/sanctions": {"GET", "HEAD", "POST"},
    "/api/v1/sanctions/1": {"DELETE"},
    "/api/v1/sanctions/forget-networks": {"POST", "DELETE"},
    "/api/v1/audit": {"GET", "HEAD"},
    "/api/v1/policies": {"GET", "HEAD", "PATCH"},
    "/api/v1/waiting": {"GET", "HEAD"},
    "/api/v1/waiting/bob": {"POST"},
    "/api/v1/held": {"GET", "HEAD"},
    "/api/v1/held/1": {"POST"},
    "/api/v1/ignored": {"GET", "HEAD"},
    "/api/v1/ignored/bob": {"PUT", "DELETE"},
    "/api/v1/events/stream": {"GET", "HEAD"},
    "/api/v1/events/poll": {"GET", "HEAD"},
    "/api/v1/events/frame": {"GET", "HEAD"},
    "/api/v1/events/sse": {"GET", "HEAD"},
    "/api/v1/events/text": {"GET", "HEAD"},
    "/rooms/lobby.txt": {"GET", "HEAD", "POST", "PUT"},
    "/": {"GET", "HEAD"},
    "/rooms": {"GET", "HEAD", "POST"},
    "/rooms/lobby": {"GET", "HEAD", "POST"},
    "/rooms/lobby/plain": {"GET", "HEAD", "POST"},
    "/rooms/lobby/people/bob": {"GET", "HEAD", "POST"},
    "/rooms/lobby/members": {"GET", "HEAD", "POST"},
    "/log-in": {"POST"},
    "/log-out": {"POST"},
    "/rename": {"POST"},
    "/api/v1/rooms/lobby/purge": {"POST"},
    "/api/v1/rooms/lobby/purge/1": {"DELETE"},
    "/chat": {"GET", "HEAD", "POST"},
    "/static/comet.js": {"GET", "HEAD"},
    "/problems/not-found": {"GET", "HEAD"},
    "/healthz": {"GET", "HEAD"},
    "/readyz": {"GET", "HEAD"},
    "/metrics": {"GET", "HEAD"},
}
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FROB")


def send(site: MemorySite, data: bytes) -> Response:
    """Send a request as it stands; what came back."""
    connection = site.connect()
    response = connection.expect(data.partition(b" ")[0].decode("latin-1"))
    connection.send(data)
    return response


# -- methods


@pytest.mark.reads
@pytest.mark.parametrize("path", ROUTES)
def test_methods(site: MemorySite, path: str) -> None:
    for method in METHODS:
        if method in ROUTES[path]:
            continue
        response = site.request(method, path, headers={"Content-Length": "0"})
        assert response.status == 405, (method, response.text)
        allowed = set((response.header("allow") or "").split(", "))
        assert allowed >= ROUTES[path], "and what a transport takes beside"
        assert method not in allowed
        if method != "HEAD":
            problem(site, response, 405, "method-not-allowed")


@pytest.mark.reads
@pytest.mark.parametrize("method", ["get", "Post", "hEAD", "g\u00e9t", "\u0130"])
@pytest.mark.parametrize("path", ["/chat", "/api/v1/session", "/api/v1/events/stream", "/nothing"])
def test_methods_are_in_capital_letters(site: MemorySite, path: str, method: str) -> None:
    problem(site, send(site, f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()), 400)


@pytest.mark.reads
@pytest.mark.parametrize("path", [path for path, methods in ROUTES.items() if "HEAD" in methods])
def test_head_is_get_without_its_body(site: MemorySite, path: str) -> None:
    head = site.request("HEAD", path)
    got = site.get(path)
    assert head.status == got.status
    assert head.complete
    assert head.body == b""
    assert head.header("content-type") == got.header("content-type")
    connection = site.connect()
    connection.request("HEAD", path)
    assert connection.request("GET", "/healthz").body == b"alive\n", "the connection goes on"


@pytest.mark.reads
@pytest.mark.parametrize("method", METHODS)
def test_a_path_that_is_not_there(site: MemorySite, method: str) -> None:
    response = site.request(method, "/nothing/here", headers={"Content-Length": "0"})
    assert response.status == 404
    if method != "HEAD":
        problem(site, response, 404, "not-found")


# -- targets


@pytest.mark.reads
@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://localhost:8080/healthz", "127.0.0.1", 200),
        ("HTTP://LOCALHOST/healthz", "localhost", 200),
        ("https://127.0.0.1/api/v1/events/poll?wait=0", "127.0.0.1", 200),
        ("http://localhost", "localhost", 200),
        # That of the target counts, whatever Host says.
        ("http://localhost/healthz", "evil.example", 200),
        ("http://evil.example/healthz", "localhost", 421),
        ("http://evil.example/api/v1/events/poll?wait=0", "localhost", 421),
        ("http://user@localhost/healthz", "localhost", 400),
        ("http://localhost../healthz", "localhost", 400),
        ("http://localhost//healthz", "localhost", 404),
        ("http:///healthz", "localhost", 400),
        ("localhost:8080", "localhost", 400),
        ("healthz", "localhost", 400),
    ],
)
def test_targets(site: MemorySite, target: str, host: str, status: int) -> None:
    response = site.get(target, headers={"Host": host})
    assert response.status == status, response.text
    if status != 200:
        assert response.header("content-type") == "application/problem+json"


def test_a_post_may_have_a_uri_for_its_target(site: MemorySite) -> None:
    path = "http://127.0.0.1:8080/api/v1/rooms/lobby/messages"
    token = site.log_in("alice")
    assert site.post(path, {"text": "hi"}, token=token).status == 201
    # Its Origin is compared with the host in the target.
    headers = {"Host": "evil.example", "Origin": "http://evil.example"}
    problem(site, site.post(path, {"text": "hi"}, headers=headers), 403, "cross-site")
    body = site.request(
        "POST", "http://127.0.0.1:8080/rooms/lobby.txt", body=b"a whole body", token=token
    )
    assert body.complete
    assert site.log.last_id == 2


def test_what_the_server_as_a_whole_takes(site: MemorySite) -> None:
    for target in ("*", "http://localhost"):
        response = site.request("OPTIONS", target, headers={"Host": "localhost"})
        assert (response.status, response.body) == (204, b"")
        assert response.header("allow") == "GET, HEAD, POST, PUT, DELETE, OPTIONS"
        assert (response.header("server") or "").startswith("comet-chat/")
    refused = site.request("OPTIONS", "*", headers={"Host": "evil.example"})
    problem(site, refused, 421, "wrong-host")
    problem(site, site.get("*", headers={"Host": "localhost"}), 400, "invalid-request")


def test_a_page_that_no_route_makes_has_its_policy(site: MemorySite) -> None:
    connection = site.connect()
    response = connection.expect()
    connection.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nA B: c\r\n\r\n")
    assert (response.status, response.header("content-type")) == (400, HTML)
    policy = response.header("content-security-policy") or ""
    (nonce,) = re.findall("script-src 'nonce-([^']+)'", policy)
    assert set(re.findall('nonce="([^"]*)"', response.text)) <= {nonce}
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy


# -- paths


@pytest.mark.reads
@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/rooms/lobby/", "/rooms/lobby"),
        ("/rooms/lobby/plain/?after=1", "/rooms/lobby/plain?after=1"),
        ("/rooms/caf%C3%A9/", "/rooms/caf%C3%A9"),
        ("/%72ooms/lobby/", "/rooms/lobby"),
        ("/chat/?room=dev", "/chat?room=dev"),
        ("/api/v1/events/poll/?wait=0", "/api/v1/events/poll?wait=0"),
        # What browsers would take for another host.
        ("/rooms/%5cevil.example/", "/rooms/%5Cevil.example"),
        ("/rooms/a%0d%0aX:y/", "/rooms/a%0D%0AX%3Ay"),
    ],
)
def test_a_slash_too_many_is_another_path(site: MemorySite, path: str, location: str) -> None:
    """Else a proxy that keeps a path to itself would keep one of two."""
    for method in ("GET", "HEAD"):
        response = site.request(method, path)
        assert (response.status, response.header("location")) == (308, location)
    sent = site.request("POST", path, headers={"Content-Length": "0"})
    problem(site, sent, 404, "not-found")


@pytest.mark.reads
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("//", 404),
        ("//api/v1/rooms", 404),
        ("/api//v1/rooms", 404),
        ("/api/v1/rooms//lobby/messages", 404),
        ("/rooms//lobby", 404),
        ("//evil.example/", 404),
        ("/rooms/lobby%2Fplain", 404),
        ("/rooms/lobby%2fplain", 404),
        ("/static/..%2f..%2fsecret", 404),
        ("/static/../app.py", 404),
        ("/static/%2e%2e/app.py", 404),
        ("/static/.", 404),
        ("/api/v1/../v1/rooms", 404),
        ("/./healthz", 404),
        ("/rooms/..", 404),
        ("/rooms/%2e%2e", 404),
        ("/rooms/%2e%2e/plain", 404),
        ("/rooms/a%00b", 404),
        ("/rooms/%0d%0aSet-Cookie:x", 404),
        ("/rooms/.txt", 404),
        ("/rooms/lobby.html", 404),
        ("/rooms/attic", 404),
        ("/api/v1/rooms/attic/messages", 404),
        ("/api/v1/rooms/attic/people", 404),
        ("/api/v1/events/telegraph", 404),
        ("/api/v1/events/stream?rooms=attic", 404),
        ("/api/v2/rooms", 404),
        ("/problems/", 404),
        ("/problems/none", 404),
        ("/static/", 404),
        ("/static/none.js", 404),
        ("/%ff", 400),
        ("/rooms/%ff", 400),
        ("/rooms/%ed%a0%80", 400),
        ("/rooms/%c0%af", 400),
        ("/api/v1/rooms/%f8%88%80%80%80/messages", 400),
        ("/rooms/%", 404),
        ("/rooms/%zz", 404),
        ("/" + "x" * 8000, 404),
        ("/rooms/" + "x" * 8000, 404),
    ],
)
def test_paths(site: MemorySite, path: str, status: int) -> None:
    problem(site, site.get(path), status)
    page = site.get(path, headers={"Accept": "text/html"})
    assert page.status == status
    assert "set-cookie" not in page.headers


def test_a_path_with_bytes_that_are_not_utf_8(site: MemorySite) -> None:
    for path in (b"/\xff", b"/rooms/\xff\xfe", b"/api/v1/rooms/\xe9/messages"):
        response = send(site, b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        problem(site, response, 400)


def test_a_room_that_is_not_there_has_its_own_kind(site: MemorySite) -> None:
    problem(site, site.get("/api/v1/rooms/attic/people"), 404, "room-not-found")


# -- queries


@pytest.mark.reads
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=", "limit"),
        ("limit=x", "limit"),
        ("limit=1.5", "limit"),
        ("limit=+5", "limit"),
        ("limit=0x10", "limit"),
        ("limit=1e3", "limit"),
        ("limit=%D9%A3", "limit"),
        ("limit=1_0", "limit"),
        ("limit=NaN", "limit"),
        ("before=-1", "before"),
        ("before=x", "before"),
        ("after=x", "after"),
        ("after=", "after"),
        ("limit=1&limit=1", "limit"),
        ("limit=1&limit=2", "limit"),
        ("before=1&before=2", "before"),
        ("after=1&limit=5&after=1", "after"),
        ("other=1&other=2", "other"),
    ],
)
def test_history_with_a_wrong_parameter(site: MemorySite, query: str, field: str) -> None:
    found = problem(site, site.get(f"{MESSAGES}?{query}"), 400, "invalid-request")
    assert fields(found) == [field]


@pytest.mark.reads
@pytest.mark.parametrize("query", ["a=%ff", "a=%ed%a0%80", "%ff=1", "limit=%ff"])
def test_a_query_that_is_not_utf_8(site: MemorySite, query: str) -> None:
    problem(site, site.get(f"{MESSAGES}?{query}"), 400, "invalid-request")


def test_a_query_with_bytes_that_are_not_utf_8(site: MemorySite) -> None:
    start = b"GET /api/v1/rooms/lobby/messages?limit=\xff HTTP/1.1\r\nHost: localhost\r\n\r\n"
    problem(site, send(site, start), 400, "invalid-request")


def test_a_query_with_too_many_fields(site: MemorySite) -> None:
    query = "&".join(f"f{number}=1" for number in range(200))
    problem(site, site.get(f"{MESSAGES}?{query}"), 400, "invalid-request")


@pytest.mark.parametrize("limit", ["201", "1000000", "9" * 30, "9" * 31, "9" * 5000])
def test_a_number_over_its_maximum_is_cut_down_to_it(site: MemorySite, limit: str) -> None:
    site.fill(250)
    response = site.get(f"{MESSAGES}?limit={limit}")
    assert response.status == 200, response.text
    assert len(response.json()["messages"]) == 200


@pytest.mark.parametrize("id", ["9" * 18, "9" * 19, "9" * 40])
def test_an_id_that_is_far_away(site: MemorySite, id: str) -> None:
    site.fill(3)
    assert len(site.get(f"{MESSAGES}?before={id}").json()["messages"]) == 3
    assert site.get(f"{MESSAGES}?after={id}").json() == {"messages": [], "more": False}


# -- bodies

BAD_JSON: list[bytes] = [
    b"",
    b" ",
    b"{",
    b"}",
    b"nothing",
    b"'text'",
    b"null",
    b"true",
    b"7",
    b'"text"',
    b"[]",
    b'[{"text": "hi"}]',
    b'{"text": "hi"} {}',
    b'{"text": "hi",}',
    b'{"text": NaN}',
    b'{"text": Infinity}',
    b'{"text": -Infinity}',
    b'{"text": 1e400}',
    b'{"text": "\\ud800"}',
    b'{"text": "\\udc00\\ud800"}',
    b'{"text": "hi\xff"}',
    b'{"text": "hi\xed\xa0\x80"}',
    b'{"text": "a\x00b"}',
    b'{"text": "a\nb"}',
    b'{"text": "hi"\x00}',
    b"\xef\xbb\xbf{}",
    '{"text": "hi"}'.encode("utf-16"),
    b"[" * 100_000,
    b'{"text":' * 30_000,
    b"[" * 50_000 + b"]" * 50_000,
    b'{"text": ' + b"[" * 2000 + b"]" * 2000 + b"}",
    b'{"text": ' + b"9" * 100_000 + b"}",
    b"\x00" * 100,
]


@pytest.mark.parametrize("path", ["/api/v1/session", "/api/v1/rooms", MESSAGES])
def test_bodies_that_are_not_right(site: MemorySite, path: str) -> None:
    token = site.log_in("alice")
    for body in BAD_JSON:
        headers = {"Content-Type": "application/json"}
        response = site.request("POST", path, body=body, headers=headers, token=token)
        problem(site, response, 400, "invalid-request")
    assert site.log.last_id == 0


@pytest.mark.parametrize("path", ["/api/v1/session", "/api/v1/rooms", MESSAGES])
def test_a_body_that_does_not_say_that_it_is_json(site: MemorySite, path: str) -> None:
    token = site.log_in("alice")
    for kind in ("", "text/plain", FORM["Content-Type"], "text/json", "json", "é", ";"):
        headers = {"Content-Type": kind} if kind else {}
        body = b'{"name": "x", "text": "x"}'
        response = site.request("POST", path, body=body, headers=headers, token=token)
        problem(site, response, 415, "not-json")
    assert site.log.last_id == 0


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
def test_a_body_that_says_so_in_other_words(site: MemorySite, kind: str) -> None:
    response = site.request(
        "POST", "/api/v1/session", body=b'{"name": "alice"}', headers={"Content-Type": kind}
    )
    assert response.status == 201


WRONG_TYPES: list[Any] = [None, 7, 1.5, True, [], {}, ["hi"], {"text": "hi"}, 10**300]


@pytest.mark.parametrize("value", WRONG_TYPES, ids=str)
def test_fields_of_the_wrong_type(site: MemorySite, value: Any) -> None:
    token = site.log_in("alice")
    for path, field, rest in (
        ("/api/v1/session", "name", {}),
        ("/api/v1/rooms", "name", {}),
        ("/api/v1/rooms", "topic", {"name": "attic"}),
        (MESSAGES, "text", {}),
        (MESSAGES, "client_id", {"text": "hi"}),
    ):
        if field == "client_id" and value is None:
            continue  # that is one who has none
        response = site.post(path, {**rest, field: value}, token=token)
        found = problem(site, response, 400, "invalid-request")
        assert fields(found) == [field]
    assert site.log.last_id == 0
    assert len(site.chat.rooms.all()) == 2


def test_fields_that_are_missing(site: MemorySite) -> None:
    token = site.log_in("alice")
    for path, field in (("/api/v1/session", "name"), ("/api/v1/rooms", "name"), (MESSAGES, "text")):
        response = site.post(path, {"other": 1}, token=token)
        assert fields(problem(site, response, 400)) == [field]


def test_a_key_that_stands_there_twice_is_no_defect(site: MemorySite) -> None:
    token = site.log_in("alice")
    response = site.request(
        "POST",
        MESSAGES,
        body=b'{"text": "one", "text": "two"}',
        headers={"Content-Type": "application/json"},
        token=token,
    )
    assert response.status in (201, 400)


@pytest.mark.reads
@pytest.mark.parametrize("path", ["/api/v1/session", MESSAGES, "/log-in", "/chat", "/rooms/lobby"])
def test_a_body_that_is_too_large(site: MemorySite, path: str) -> None:
    connection = site.connect()
    response = connection.request(
        "POST", path, headers={"Content-Length": "262145", "Expect": "100-continue"}
    )
    assert response.informational == [], "it need not come at all"
    problem(site, response, 413, "body-too-large")


def test_a_chunked_body_that_is_too_large(site: MemorySite) -> None:
    connection = site.connect()
    response = connection.request(
        "POST",
        "/api/v1/session",
        headers={"Transfer-Encoding": "chunked", "Content-Type": "application/json"},
    )
    for _ in range(5):
        connection.send(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
    problem(site, response, 413, "body-too-large")


def test_the_largest_body(site: MemorySite) -> None:
    body = b'{"name": "alice"}'.ljust(262_144)
    response = site.request(
        "POST", "/api/v1/session", body=body, headers={"Content-Type": "application/json"}
    )
    assert response.status == 201


# -- forms


@pytest.mark.parametrize("path", ["/log-in", "/log-out", "/rename", "/rooms", "/rooms/lobby"])
def test_forms_that_are_none(site: MemorySite, path: str) -> None:
    token = site.log_in("alice")
    for body, kind in (
        (b"name=%ff&text=%ff", FORM["Content-Type"]),
        (b"name=\xff&text=x", FORM["Content-Type"]),
        (b"name=a&name=b&text=x&text=x", FORM["Content-Type"]),
        (b"&".join(b"f%d=1" % number for number in range(200)), FORM["Content-Type"]),
        (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x"),
        (b"name=a", "text/plain"),
    ):
        sent = {"Content-Type": kind}
        response = site.request("POST", path, body=body, headers=sent, token=token)
        problem(site, response, 400, "invalid-request")


def test_a_form_that_is_refused_hands_back_what_was_typed(site: MemorySite) -> None:
    body = b"room=attic&name=alice&text=a+long+%3Cb%3Estory"
    response = site.request("POST", "/log-in", body=body, headers={**FORM, "Accept": "text/html"})
    assert response.status == 404
    assert response.header("content-type") == HTML
    assert "a long &lt;b&gt;story" in response.text
    assert "alice" in response.text


# -- heads


@pytest.mark.reads
@pytest.mark.parametrize(
    "name",
    ["Accept", "Authorization", "Content-Type", "Cookie", "Host", "Origin", "Sec-Fetch-Site",
     "Last-Event-ID", "If-None-Match", "X-Forwarded-For", "X-Forwarded-Proto", "X-Other"],
)  # fmt: skip
def test_headers_that_are_not_utf_8(site: MemorySite, name: str) -> None:
    host = b"" if name == "Host" else b"Host: localhost\r\n"
    starts = (
        b"GET /api/v1/rooms",
        b"GET /",
        b"GET /static/comet.js",
        b"GET /api/v1/events/sse?cursor=x,",
        b"POST /api/v1/session",
        b"POST /log-in",
    )
    values = (b"\xff", b"caf\xe9", b"comet_session_memory=\xff", b"Bearer \xff", b"")
    for start, value in product(starts, values):
        head = b"%s HTTP/1.1\r\n%s%s: %s\r\nContent-Length: 0\r\n\r\n"
        response = send(site, head % (start, host, name.encode(), value))
        assert response.complete, (start, value)
        assert response.status < 500, (start, value, response.text)


@pytest.mark.reads
@pytest.mark.parametrize(
    "origin", ["http://[", "http://[::1", "null", "http://", "://", "http://a:x", "\x7f", "é"]
)
def test_origins_that_are_none(site: MemorySite, origin: str) -> None:
    response = site.post("/api/v1/session", {"name": "alice"}, headers={"Origin": origin})
    assert response.status in (400, 403), response.text


@pytest.mark.reads
@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /log-in HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_request(site: MemorySite, request_bytes: bytes) -> None:
    problem(site, send(site, request_bytes), 400, "invalid-request")


def test_a_head_that_is_too_large(site: MemorySite) -> None:
    head = b"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: theirs=1; huge=" + b"x" * 20_000
    found = problem(site, send(site, head + b"\r\n\r\n"), 431, "head-too-large")
    assert "huge, theirs" in found["detail"]


def test_a_head_that_is_too_large_names_the_cookies_on_a_page(site: MemorySite) -> None:
    head = b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nCookie: "
    response = send(site, head + b"theirs=1; huge=" + b"x" * 20_000 + b"\r\n\r\n")
    assert (response.status, response.header("content-type")) == (431, "text/html; charset=utf-8")
    assert "huge, theirs" in response.text


# -- limits, storage, the end


def test_too_many_sessions(make_site: MakeSite) -> None:
    site = make_site(limits=True)
    for number in range(30):
        site.log_in(f"p{number}")
    response = site.post("/api/v1/session", {"name": "late"})
    problem(site, response, 429, "too-many")
    assert response.header("retry-after") == "1"
    assert site.post("/api/v1/session", {"name": "late"}, address="192.0.2.8").status == 201
    site.advance(1)
    assert site.post("/api/v1/session", {"name": "later"}).status == 201


def test_too_many_messages(make_site: MakeSite) -> None:
    site = make_site(limits=True)
    for _ in range(20):
        site.say("hi")
    token = site.log_in("alice")
    for _ in range(20):
        assert site.post(MESSAGES, {"text": "hi"}, token=token).status == 201
    response = site.post(MESSAGES, {"text": "hi"}, token=token)
    problem(site, response, 429, "too-many")
    site.advance(int(response.header("retry-after") or 0))
    assert site.post(MESSAGES, {"text": "hi"}, token=token).status == 201


def test_too_many_rooms(make_site: MakeSite) -> None:
    site = make_site(limits=True)
    token = site.log_in("alice")
    for number in range(5):
        assert site.post("/api/v1/rooms", {"name": f"r{number}"}, token=token).status == 201
    response = site.post("/api/v1/rooms", {"name": "r5"}, token=token)
    problem(site, response, 429, "too-many")
    assert response.header("retry-after") == "60"
    site.advance(60)
    assert site.post("/api/v1/rooms", {"name": "r5"}, token=token).status == 201


def test_too_many_held_requests(make_site: MakeSite) -> None:
    site = make_site(limits=True)
    streams = [site.connect() for _ in range(256)]
    for each in streams:
        assert each.request("GET", "/api/v1/events/stream").status == 200
    problem(site, site.get("/api/v1/events/stream"), 429, "too-many")
    assert site.get("/api/v1/events/stream", address="192.0.2.8").status == 200
    assert site.get("/healthz").status == 200, "only what is held is counted"
    streams[0].close()
    assert site.get("/api/v1/events/stream").status == 200


def test_limits_that_are_off(site: MemorySite) -> None:
    token = site.log_in("alice")
    for number in range(40):
        site.log_in(f"p{number}")
        assert site.post("/api/v1/rooms", {"name": f"r{number}"}, token=token).status == 201
        assert site.post(MESSAGES, {"text": "x" * 8000}, token=token).status == 201


@pytest.mark.parametrize("kind", [errors.StorageUnavailable, errors.LogFull])
def test_storage_that_is_away(site: MemorySite, kind: type[errors.ChatError]) -> None:
    token = site.log_in("alice")
    site.log.failure = kind("The disk is full: somebody has to make room.")
    response = site.post(MESSAGES, {"text": "hi", "client_id": "c-1"}, token=token)
    problem(site, response, 503, kind.slug)
    site.log.failure = None
    assert site.post(MESSAGES, {"text": "hi", "client_id": "c-1"}, token=token).status == 201


def test_a_daemon_that_stops(site: MemorySite) -> None:
    token = site.log_in("alice")
    site.stop()
    problem(site, site.post(MESSAGES, {"text": "hi"}, token=token), 503, "shutting-down")
    problem(site, site.post("/api/v1/session", {"name": "bob"}), 503, "shutting-down")
    problem(site, site.get("/api/v1/events/stream"), 503, "shutting-down")
    problem(site, site.get("/readyz"), 503, "shutting-down")
    assert site.get("/healthz").status == 200


# -- the form of errors


@pytest.mark.reads
@pytest.mark.parametrize("slug", sorted(errors.by_slug()))
def test_each_kind_of_problem_has_its_page(site: MemorySite, slug: str) -> None:
    page = site.get(f"/problems/{slug}")
    assert (page.status, page.header("content-type")) == (200, HTML)
    assert slug in page.text


@pytest.mark.reads
@pytest.mark.parametrize("accept", ["text/html", "text/html,application/xhtml+xml,*/*;q=0.8"])
def test_people_get_a_page(site: MemorySite, accept: str) -> None:
    response = site.get("/nothing", headers={"Accept": accept})
    assert (response.status, response.header("content-type")) == (404, HTML)
    assert "There is nothing here" in response.text
    assert "default-src 'none'" in (response.header("content-security-policy") or "")


def test_programs_get_json_even_from_a_browser(site: MemorySite) -> None:
    response = site.get("/api/v1/rooms/attic/people", headers={"Accept": "text/html"})
    problem(site, response, 404, "room-not-found")


def test_a_page_shows_what_came_as_text(site: MemorySite) -> None:
    path = "/rooms/%3Cscript%3Ealert(1)%3C/script%3E"
    response = site.get(path, headers={"Accept": "text/html"})
    assert response.status == 404
    assert "<script>alert" not in response.text


def test_a_defect_of_ours_is_logged_and_tells_nothing(
    site: MemorySite, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("the secret reason")

    monkeypatch.setattr(site.chat.rooms, "page", broken)
    response = site.get("/api/v1/rooms")
    problem(site, response, 500, "internal-error")
    assert "secret" not in response.text
    (event,) = site.take_failures()
    assert event["log_failure"].check(RuntimeError)


@pytest.mark.reads
@pytest.mark.parametrize(
    ("head", "line"),
    [
        ("GET / HTTP/1.1\r\nHost: example.org", "HTTP/1.1 421 Misdirected Request"),
        ("GET /api/v1/events/ws HTTP/1.1\r\nHost: localhost", "HTTP/1.1 426 Upgrade Required"),
        ("GET /attic HTTP/1.1\r\nHost: localhost", "HTTP/1.1 404 Not Found"),
    ],
)
def test_a_status_goes_by_its_name(site: MemorySite, head: str, line: str) -> None:
    connection = site.connect()
    connection.send(f"{head}\r\n\r\n".encode())
    assert connection.surplus.partition(b"\r\n")[0].decode() == line
