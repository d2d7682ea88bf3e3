"""Messages that somebody wants looked at."""

from __future__ import annotations

from typing import Any

import pytest

from tests.memory import MakeSite, MemorySite
from tests.web.refusals import problem
from tests.web.test_deletions import LOBBY, delete, promote, said
from tests.web.transports import Client


@pytest.fixture
def site(make_site: MakeSite) -> MemorySite:
    return make_site()


def report(site: MemorySite, token: str, id: object = 2, **fields: object) -> Any:
    return site.post(f"{LOBBY}/messages/{id}/report", fields, token=token)


def reports(site: MemorySite, token: str, query: str = "") -> list[dict[str, Any]]:
    answer = site.get(f"/api/v1/reports{query}", token=token)
    assert answer.status == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["reports"]
    return found


def test_it_is_put_before_the_moderators(site: MemorySite) -> None:
    said(site)
    maud, carol = promote(site, "maud"), site.log_in("carol")
    readers = [Client(site, "stream", token=token) for token in (maud, carol)]
    made = report(site, carol, reason="rude")
    assert made.status == 201, made.text
    (told,) = readers[0].of("report")
    assert (told["report"], told["refers"], told["from"]) == (made.json()["id"], 2, "carol")
    assert readers[1].of("report") == []
    (shown,) = reports(site, maud)
    assert (shown["by"], shown["reason"], shown["message"]["id"]) == ("carol", "rude", 2)
    assert reports(site, maud, "?room=dev") == []


def test_once_for_each_who_reports(site: MemorySite) -> None:
    token = said(site)
    maud, carol = promote(site, "maud"), site.log_in("carol")
    ids = [report(site, carol).json()["id"] for _ in range(2)]
    assert ids[0] == ids[1]
    report(site, token)
    assert [each["by"] for each in reports(site, maud)] == ["carol", "bob"]
    # Whoever has looked has looked at the message.
    for _ in range(2):
        assert site.request("DELETE", f"/api/v1/reports/{ids[0]}", token=maud).status == 204
    assert reports(site, maud) == []
    assert report(site, carol).json()["id"] != ids[0]


def test_of_one_that_is_deleted_only_that_is_shown(site: MemorySite) -> None:
    token = said(site)
    maud = promote(site, "maud")
    report(site, token)
    delete(site, 2, maud)
    (shown,) = reports(site, maud)
    assert (shown["message"]["deleted"], "text" in shown["message"]) == ("moderator", False)
    problem(site, report(site, token), 404, "not-found")


@pytest.mark.parametrize(
    ("id", "fields", "status"),
    [(9, {}, 404), ("x", {}, 404), (2, {"reason": 5}, 400), (2, {"reason": "x" * 501}, 400)],
)
def test_that_makes_no_sense(
    site: MemorySite, id: object, fields: dict[str, Any], status: int
) -> None:
    token = said(site)
    assert report(site, token, id, **fields).status == status
    assert reports(site, promote(site, "maud")) == []


def test_only_moderators_see_and_settle_them(site: MemorySite) -> None:
    token = said(site)
    id = report(site, token).json()["id"]
    problem(site, site.get("/api/v1/reports", token=token), 403, "not-allowed")
    refusal = site.request("DELETE", f"/api/v1/reports/{id}", token=token)
    problem(site, refusal, 403, "not-allowed")
    maud = promote(site, "maud")
    problem(site, site.request("DELETE", "/api/v1/reports/none", token=maud), 404)
    assert site.post(f"{LOBBY}/messages/2/report", {}).status == 401
