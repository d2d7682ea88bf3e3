"""Who is silenced says nothing to all, by whatever is shown to all: a topic, a name, a title."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from cometd_chat.chat.roles import Role
from tests.memory import MemorySite
from tests.web.bayeux import Client as BayeuxClient
from tests.web.moderators import sanctioned, with_role
from tests.web.people import PASSWORD, invitation, owner
from tests.web.refusals import problem
from tests.web.transports import Client

LOUD = "hear-me-all"

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}


@pytest.fixture(params=["attic", None])
def bob(site: MemorySite, request: pytest.FixtureRequest) -> str:
    """The token of who moderates a room that they made, and is silenced there or everywhere."""
    bob = site.log_in("bob")
    made = site.post("/api/v1/rooms", {"name": "attic", "topic": "calm"}, token=bob)
    assert made.status == 201
    where = {} if request.param is None else {"room": request.param}
    sanctioned(
        site,
        with_role(site, "mo", Role.ADMIN),
        "silence",
        "bob",
        minutes=5,
        reason="shouting",
        **where,
    )
    return bob


def command(site: MemorySite, token: str, line: str) -> Any:
    return site.post("/api/v1/rooms/attic/commands", {"line": line}, token=token)


def patch(site: MemorySite, token: str, path: str, **fields: object) -> Any:
    return site.request("PATCH", path, json=fields, token=token)


def test_nothing_of_theirs_is_read_by_others(site: MemorySite, bob: str) -> None:
    other = Client(site, "stream", rooms="attic", cursor=site.now)
    attic = "/api/v1/rooms/attic"
    code = invitation(site, owner(site))
    refused = [
        site.post(f"{attic}/messages", {"text": LOUD}, token=bob),
        patch(site, bob, attic, topic=LOUD),
        # Among other things that they may change.
        patch(site, bob, attic, topic=LOUD, slow=3),
        command(site, bob, f"/topic {LOUD}"),
        command(site, bob, f"/nick {LOUD}"),
        site.post(f"{attic}/typing", token=bob),
    ]
    for answer in refused:
        told = problem(site, answer, 403, "silenced")
        assert "shouting" in told["detail"]
        assert told["until"] is not None
    for password in (PASSWORD, ""):
        form = urlencode({"name": LOUD, "password": password, "form_token": form_token(site, bob)})
        page = site.request("POST", f"/invite/{code}", token=bob, headers=FORM, body=form.encode())
        assert page.status == 403, page.text
    assert LOUD not in other.response.text
    assert LOUD not in site.get("/api/v1/rooms", token=bob).text
    assert site.get(attic, token=bob).json()["slow"] == 0
    # What says nothing goes on.
    assert patch(site, bob, attic, slow=3).status == 200
    assert command(site, bob, "/nick bob").status == 200


def test_nor_by_a_new_name_in_bayeux_or_by_a_form(site: MemorySite, bob: str) -> None:
    other = Client(site, "stream", rooms="attic", cursor=site.now)
    BayeuxClient(site, token=bob, name=LOUD)
    form = urlencode({"name": LOUD, "room": "attic", "form_token": form_token(site, bob)})
    page = site.request("POST", "/rename", token=bob, headers=FORM, body=form.encode())
    assert page.status == 403
    assert "shouting" in page.text
    assert LOUD not in other.response.text


def form_token(site: MemorySite, token: str) -> str:
    page = site.get("/rooms/lobby", token=token, headers={"Accept": "text/html"}).text
    return page.partition('name="form_token" value="')[2].partition('"')[0]


def test_it_is_over_when_it_is_lifted(site: MemorySite, bob: str) -> None:
    mo = with_role(site, "otto", Role.ADMIN)
    (sanction,) = site.get("/api/v1/sanctions", token=mo).json()["sanctions"]
    lifted = site.request("DELETE", f"/api/v1/sanctions/{sanction['id']}", token=mo)
    assert lifted.status == 204
    assert patch(site, bob, "/api/v1/rooms/attic", topic=LOUD).status == 200
    assert command(site, bob, "/nick bobby").status == 200


def test_an_admin_who_is_silenced_does_not_say_it_by_the_title(site: MemorySite) -> None:
    anne, ada = with_role(site, "anne", Role.ADMIN), owner(site)
    sanctioned(site, ada, "silence", "anne")
    for name in ("title", "welcome"):
        problem(site, patch(site, anne, "/api/v1/policies", **{name: LOUD}), 403, "silenced")
    assert patch(site, anne, "/api/v1/policies", calm="slow").status == 200
