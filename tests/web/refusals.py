"""What a refusal looks like, to programs and to people.

What it is: the checks that every test of an error makes.

What it may know: RFC 9457 and the table of errors.

Invariant: a refusal that passes here has its type explained by a page of the site.
"""

from __future__ import annotations

from typing import Any

from cometd_chat import errors
from cometd_chat.daemon.settings import Settings
from tests.memory import MemorySite
from tests.wire import Response

#: What some of them say beside that: the role that it takes, until when, theirs, where, why, and
#: what of the house.
EXTRA = ("needed", "until", "role", "room", "reason", "calm", "policy", "option")

#: Kinds whose page was there, by the settings of the site: to look at it each time was a fifth of
#: all requests.
_explained: set[tuple[str, Settings]] = set()

JSON = "application/problem+json"
HTML = "text/html; charset=utf-8"


def problem(site: MemorySite, response: Response, status: int, slug: str = "") -> dict[str, Any]:
    """The problem object of a refusal.

    :param slug: the last part of its type.
    """
    assert (response.status, response.header("content-type")) == (status, JSON), response.text
    assert "no-store" in (response.header("cache-control") or "")
    assert response.header("x-content-type-options") == "nosniff"
    found: dict[str, Any] = response.json()
    assert found["status"] == status
    assert set(found) <= {"type", "title", "status", "detail", "errors", *EXTRA}
    _, folder, kind = found["type"].split("/")
    assert folder == "problems"
    if slug:
        assert kind == slug, found
    assert errors.by_slug()[kind].title == found["title"]
    assert found["detail"].strip(), "nobody can act on that"
    assert "Traceback" not in response.text
    assert 'File "' not in response.text
    # What a page of a kind shows depends on no more than that.
    if (kind, site.settings) not in _explained:
        assert site.get(found["type"]).status == 200
        _explained.add((kind, site.settings))
    if status in (429, 503):
        assert int(response.header("retry-after") or 0) >= 1
    if status == 401:
        assert response.header("www-authenticate")
    return found


def fields(found: dict[str, Any]) -> list[str]:
    """The fields that a problem is about."""
    return [each["field"] for each in found.get("errors", [])]
