"""Who has logged in at a proxy that is trusted (`--trust-user-header`)."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.memory import MakeSite, MemorySite, cookie_of
from tests.web.people import SESSION, log_in, owner
from tests.web.refusals import problem
from tests.wire import Response

PROXY = "192.0.2.7"

MESSAGES = "/api/v1/rooms/lobby/messages"


@pytest.fixture
def site(make_site: MakeSite) -> MemorySite:
    """A site behind such a proxy."""
    return make_site(trusted_proxy=(ip_network(f"{PROXY}/32"),), trust_user_header="Remote-User")


def by_proxy(site: MemorySite, path: str, user: str | None, **options: Any) -> Response:
    """Ask something as the proxy passes it on."""
    headers = {"X-Forwarded-For": "198.51.100.3", **options.pop("headers", {})}
    if user is not None:
        headers["Remote-User"] = user
    method = options.pop("method", "GET")
    return site.request(method, path, address=PROXY, headers=headers, **options)


def test_an_account_is_made_at_first_sight(site: MemorySite) -> None:
    page = by_proxy(site, "/", "ada", headers={"Accept": "text/html"})
    assert page.status == 200
    me = by_proxy(site, SESSION, "ada", headers=cookie_of(page)).json()
    assert (me["name"], me["role"]) == ("ada", "member")
    again = by_proxy(site, "/", "Ada", headers={"Accept": "text/html", **cookie_of(page)})
    assert "set-cookie" not in again.headers, "it is theirs already"


def test_two_devices_are_one_member(site: MemorySite) -> None:
    pages = [by_proxy(site, "/", "ada", headers={"Accept": "text/html"}) for _ in range(2)]
    cookies = [cookie_of(page) for page in pages]
    assert cookies[0] != cookies[1]
    people = by_proxy(site, "/api/v1/rooms/lobby/people", None).json()["people"]
    assert [each["name"] for each in people] == ["ada"]


def test_a_program_needs_no_cookie(site: MemorySite) -> None:
    sent = [
        by_proxy(site, MESSAGES, "ada", method="POST", json={"text": f"{number}"})
        for number in range(3)
    ]
    assert [response.status for response in sent] == [201] * 3
    assert {response.json()["from"] for response in sent} == {"ada"}
    assert len(site.chat.sessions) == 1, "one session for all that it asks"


@pytest.mark.parametrize("user", [None, "", "  "])
def test_without_the_header_one_is_nobody(site: MemorySite, user: str | None) -> None:
    problem(site, by_proxy(site, SESSION, user), 401, "no-session")


def test_from_another_peer_it_means_nothing(site: MemorySite) -> None:
    owner(site, "ada")
    response = site.get(SESSION, address="198.51.100.3", headers={"Remote-User": "ada"})
    problem(site, response, 401, "no-session")
    said = site.post(
        MESSAGES, {"text": "hi"}, address="198.51.100.3", headers={"Remote-User": "ada"}
    )
    problem(site, said, 401, "no-session")


def test_who_changes_at_the_proxy_changes_here(site: MemorySite) -> None:
    page = by_proxy(site, "/", "ada", headers={"Accept": "text/html"})
    cookie = cookie_of(page)
    assert by_proxy(site, SESSION, "bob", headers=cookie).json()["name"] == "bob"
    other = by_proxy(site, "/", "bob", headers={"Accept": "text/html", **cookie})
    assert by_proxy(site, SESSION, "bob", headers=cookie_of(other)).json()["name"] == "bob"


def test_a_token_is_stronger(site: MemorySite) -> None:
    token = site.log_in("carol")
    assert by_proxy(site, SESSION, "ada", token=token).json()["name"] == "carol"


@pytest.mark.parametrize("user", ["ada@example.org", "a/b", "x" * 99, "admin"])
def test_what_is_no_name(site: MemorySite, user: str) -> None:
    problem(site, by_proxy(site, SESSION, user), 400, "invalid-request")


def test_a_header_that_comes_twice(site: MemorySite) -> None:
    connection = site.connect(PROXY)
    response = connection.expect()
    twice = b"Remote-User: eve\r\nRemote-User: ada\r\n"
    connection.send(b"GET %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (SESSION.encode(), twice))
    found = problem(site, response, 400, "invalid-request")
    assert "twice" in found["detail"]


def test_another_site_can_not_use_it(site: MemorySite) -> None:
    """The browser shows the proxy who it is, whatever page made it ask."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode({"text": "hi", "client_id": "c"}).encode()
    for more in ({}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        sent = by_proxy(
            site, "/rooms/lobby", "ada", method="POST", body=body, headers={**form, **more}
        )
        assert sent.status == 403, more


def test_a_name_that_a_guest_has(site: MemorySite) -> None:
    site.log_in("ada")
    problem(site, by_proxy(site, SESSION, "ada"), 409, "name-taken")


def test_they_have_no_password(site: MemorySite) -> None:
    by_proxy(site, SESSION, "ada")
    before = site.hasher.worked
    problem(site, log_in(site, "ada", ""), 409, "name-taken")
    problem(site, log_in(site, "ada", "anything at all"), 401, "wrong-password")
    assert site.hasher.worked == before + 1


def test_a_stream_is_theirs(site: MemorySite) -> None:
    stream = by_proxy(site, "/api/v1/events/stream", "ada")
    assert stream.status == 200
    people = by_proxy(site, "/api/v1/rooms/lobby/people", None).json()["people"]
    assert [each["name"] for each in people] == ["ada"]
