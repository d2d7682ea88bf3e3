"""The owner's first screen: what the cards beside the lobby show, and what their forms do."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

from cometd_chat.chat.roles import Role
from tests.memory import MakeSite, MemorySite
from tests.web.moderators import moderator, with_role
from tests.web.people import PASSWORD, invitation, member, owner, owner_code

FIRST = "/rooms/lobby?first=steps"
PAGE = {"Accept": "text/html"}
FORM = {"Content-Type": "application/x-www-form-urlencoded", **PAGE}
HERE = {"address": "127.0.0.1"}


def show(site: MemorySite, token: str, **options: Any) -> str:
    response = site.get(FIRST, token=token, headers=PAGE, **options)
    assert response.status == 200, response.text
    return response.text


def send(site: MemorySite, token: str, path: str, **fields: str) -> Any:
    found = re.search(r'name="form_token" value="([0-9a-f]+)"', show(site, token))
    assert found is not None
    body = urlencode({"form_token": found[1], **fields}).encode()
    return site.request("POST", path, token=token, headers=FORM, body=body)


def test_who_claims_the_chat_stands_there_with_an_invitation(site: MemorySite) -> None:
    code = owner_code(site)
    body = urlencode({"name": "Ada", "password": PASSWORD}).encode()
    claimed = site.request("POST", f"/claim/{code}", headers=FORM, body=body)
    assert (claimed.status, claimed.header("location")) == (303, FIRST)
    cookie = (claimed.header("set-cookie") or "").partition(";")[0]
    page = site.get(FIRST, headers={**PAGE, "Cookie": cookie}).text
    assert "You are <b" in page
    found = re.search(r'value="http://[^"]*/invite/([\w-]+)"', page)
    assert found is not None
    assert "<svg" in page.partition('aria-label="First steps"')[2]
    carol = member(site, "Carol", found[1])
    assert site.get("/api/v1/session", token=carol).json()["role"] == "member"


def test_who_may_come_in_is_changed_by_one_click(site: MemorySite) -> None:
    ada = owner(site)
    done = send(site, ada, "/admin/first/guests", guests="off")
    assert (done.status, done.header("location")) == (303, FIRST)
    assert 'value="off" checked' in show(site, ada)
    assert site.post("/api/v1/session", {"name": "bob"}).status == 403


def test_another_link_is_another_invitation(site: MemorySite) -> None:
    ada = owner(site)
    assert "Make an invitation" in show(site, ada)
    codes = set()
    for _ in range(2):
        assert send(site, ada, "/admin/first/invite").status == 303
        site.advance(1)
        codes.add(re.findall(r"/invite/([\w-]+)", show(site, ada))[0])
    assert len(codes) == 2


def test_it_says_when_only_this_machine_can_reach_it(make_site: MakeSite) -> None:
    says = "Only this machine can reach it"
    site = make_site()
    ada = owner(site)
    local = {**HERE, "headers": {**PAGE, "Host": "127.0.0.1:8080"}}
    assert says in site.get(FIRST, token=ada, **local).text
    assert says not in show(site, ada, address="192.0.2.7")
    open_site = make_site(listen=("tcp:8080",))
    assert says not in open_site.get(FIRST, token=owner(open_site), **local).text


def test_for_whom_it_is_not(site: MemorySite) -> None:
    ada = owner(site)
    admin = member(site, "Anna", invitation(site, ada, role="admin"))
    assert 'aria-label="First steps"' in show(site, admin)
    for token in (moderator(site), with_role(site, "bob", Role.GUEST)):
        assert 'aria-label="First steps"' not in show(site, token)
        refused = send(site, token, "/admin/first/guests", guests="off")
        assert refused.status == 403
    assert 'aria-label="First steps"' not in site.get("/rooms/lobby", token=ada).text
    assert 'href="/admin"' in site.get("/rooms/lobby", token=ada).text
