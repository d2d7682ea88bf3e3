"""Pages of other sites, by script, frame and fetch: the transports ``jsonp``, ``frame`` with
``target=``, and `--allow-origin` (Fetch, section 3.3)."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests import decoders
from tests.memory import MakeSite, MemorySite
from tests.web.refusals import problem
from tests.web.transports import OUR_SCRIPT
from tests.wire import Response

GOOD = "https://good.example"
JSONP = "/api/v1/events/jsonp"
FRAME = "/api/v1/events/frame"
MESSAGES = "/api/v1/rooms/lobby/messages"

#: What is sent with a script that a page of another site loads, or that may be one's.
FOREIGN_SCRIPTS: list[dict[str, str]] = [
    {},  # Over plain HTTP, by a page that asks for no Referer.
    {"Referer": ""},
    {"Referer": "https://evil.example/"},
    {"Referer": "https://evil.example/", "Sec-Fetch-Site": "cross-site"},
    {"Referer": "http://127.0.0.1:8081/", "Sec-Fetch-Site": "same-site"},
    {"Referer": "http://127.0.0.1:8081/"},
    {"Referer": "http://127.0.0.1/"},
    {"Referer": "http://127.0.0.1:8080.evil.example/"},
    {"Referer": "http://127.0.0.1:8080@evil.example/"},
    {"Referer": "http://evil.example/http://127.0.0.1:8080/"},
    {"Referer": "http://good.example/"},
    {"Referer": "https://good.example.evil.example/"},
    {"Referer": "ftp://127.0.0.1:8080/"},
    {"Referer": "http://[127.0.0.1:8080/"},
    {"Referer": "/rooms/lobby"},
    {"Referer": "null"},
    {"Referer": "http://127.0.0.1:8080/", "Sec-Fetch-Site": "cross-site"},
    {"Referer": "http://127.0.0.1:8080/", "Origin": "https://evil.example"},
    {"Referer": "https://evil.example/", "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "anything"},
    {"Origin": "http://127.0.0.1:8080"},
]


@pytest.fixture
def site(make_site: MakeSite) -> MemorySite:
    """A site with one foreign origin that may use it."""
    return make_site(allow_origin=(GOOD, "http://[2001:db8::1]:8000"))


def ask(site: MemorySite, query: str, more: dict[str, str] | None = None) -> Response:
    """The answer to a script that one of our own pages loads."""
    return site.get(f"{JSONP}?{query}", headers={**OUR_SCRIPT, **(more or {})})


def answer(response: Response, callback: str = "heard") -> dict[str, Any]:
    """What a page's function is called with."""
    assert response.status == 200
    assert response.header("content-type") == "text/javascript; charset=utf-8"
    assert response.header("x-content-type-options") == "nosniff"
    assert "no-store" in (response.header("cache-control") or "")
    # What a client chose are never the first bytes: they could be those of another kind of file.
    assert response.body.startswith(b"/**/")
    text = response.text.strip().removeprefix("/**/")
    assert text.startswith(f"{callback}({{")
    assert text.endswith("});")
    assert "<" not in text
    found: dict[str, Any] = json.loads(text[len(callback) + 1 : -2])
    return found


class TestJsonp:
    @pytest.mark.parametrize(
        "callback",
        [
            *("f", "$", "_", "a1", "jQuery_123", "a.b", "window.chat.heard", "$.b.$c"),
            *("x" * 64, "a." * 31 + "bc"),
        ],
    )
    def test_names_of_functions(self, site: MemorySite, callback: str) -> None:
        site.fill(1)
        found = answer(ask(site, f"callback={callback}&backlog=1"), callback)
        assert [event["text"] for event in found["events"]] == ["said 1"]
        assert found["cursor"] == site.now

    @pytest.mark.parametrize(
        "callback",
        [
            *(
                "",
                "1a",
                "a%20b",
                "a-b",
                "a..b",
                ".a",
                "a.",
                "a.1",
                "a[0]",
                "a['b']",
                "a()",
                "a;b",
                "a,b",
            ),
            *(
                "a=b",
                "<script>",
                "a/*",
                "a%0A",
                "a%0Ab",
                "%C3%BC",
                "a%E2%80%A8",
                "%D9%A3a",
                "a%D9%A3",
                "a%C3%BC",
                "a%CC%81",
            ),
            *("x" * 65, "a." * 32 + "b", "a%00", "%EF%BB%BFa", "a%5Cu0041"),
        ],
    )
    def test_what_is_none_is_told_to_the_default(self, site: MemorySite, callback: str) -> None:
        found = answer(ask(site, f"callback={callback}"), "callback")
        (error,) = found["events"]
        assert (error["type"], error["status"]) == ("error", 400)
        assert "callback" in error["detail"]
        assert found["cursor"] is None

    def test_without_a_name_there_is_the_default(self, site: MemorySite) -> None:
        assert answer(ask(site, ""), "callback")["events"][0]["status"] == 400

    @pytest.mark.parametrize(
        ("query", "status"),
        [
            *(("rooms=nowhere", 404), ("token=nonsense", 401), ("cursor=x!", 400)),
            *(("wait=x", 400), ("backlog=-1", 400), ("rooms=", 400), ("client=", 400)),
        ],
    )
    def test_a_refusal_calls_the_function_too(
        self, site: MemorySite, query: str, status: int
    ) -> None:
        found = answer(ask(site, f"callback=heard&{query}"))
        assert [(each["type"], each["status"]) for each in found["events"]] == [("error", status)]

    def test_so_does_a_daemon_that_stops(self, site: MemorySite) -> None:
        held = ask(site, f"callback=heard&cursor={site.now}")
        site.stop()
        (reopen,) = answer(held)["events"]
        assert reopen["type"] == "reopen"
        response = ask(site, "callback=heard")
        assert answer(response)["events"][0]["status"] == 503
        assert response.header("retry-after")

    def test_a_cookie_counts_for_nothing(self, make_site: MakeSite) -> None:
        """Any page can load a script, and the browser sends its reader's cookie with it."""
        site = make_site(public_reading=False)
        token = site.log_in("alice")
        cookie = {"Cookie": f"comet_session_memory={token}"}
        by_cookie = ask(site, "callback=heard", cookie)
        assert answer(by_cookie)["events"][0]["status"] == 401
        by_token = ask(site, f"callback=heard&token={token}", cookie)
        assert answer(by_token)["events"] == []

    def test_nor_does_one_that_is_invalid(self, site: MemorySite) -> None:
        cookie = {"Cookie": "comet_session_memory=nonsense"}
        assert answer(ask(site, "callback=heard", cookie))["events"] == []

    def test_who_comes_by_token_is_there(self, site: MemorySite) -> None:
        token = site.log_in("alice")
        ask(site, f"callback=heard&token={token}&cursor={site.now}")
        people = site.get("/api/v1/rooms/lobby/people").json()["people"]
        assert [each["name"] for each in people] == ["alice"]

    @pytest.mark.parametrize("headers", FOREIGN_SCRIPTS, ids=str)
    def test_a_page_of_another_site_hears_nothing(
        self, site: MemorySite, headers: dict[str, str]
    ) -> None:
        """Its visitor's browser can reach a daemon that the page itself can't."""
        site.say("a secret of the intranet")
        for query in ("callback=heard&backlog=200", "callback=heard&rooms=nowhere"):
            response = site.get(f"{JSONP}?{query}", headers=headers)
            (error,) = answer(response)["events"]
            assert (error["type"], error["status"]) == ("error", 403)
            assert "token=" in error["detail"]

    @pytest.mark.parametrize("headers", FOREIGN_SCRIPTS, ids=str)
    def test_unless_it_has_a_token(self, site: MemorySite, headers: dict[str, str]) -> None:
        said = site.say("hi")
        token = site.log_in("alice")
        for query, more in ((f"&token={token}", {}), ("", {"Authorization": f"Bearer {token}"})):
            path = f"{JSONP}?callback=heard&backlog=1{query}"
            response = site.get(path, headers={**headers, **more})
            assert answer(response)["events"] == [said]
        response = site.get(f"{JSONP}?callback=heard&token=nonsense", headers=headers)
        assert answer(response)["events"][0]["status"] == 401

    @pytest.mark.parametrize(
        "headers",
        [
            {"Referer": GOOD + "/", "Sec-Fetch-Site": "cross-site"},
            {"Referer": GOOD + "/a/page?of=theirs"},
            {"Referer": "http://[2001:db8::1]:8000/"},
        ],
        ids=str,
    )
    def test_or_the_operator_named_its_origin(
        self, site: MemorySite, headers: dict[str, str]
    ) -> None:
        said = site.say("hi")
        response = site.get(f"{JSONP}?callback=heard&backlog=1", headers=headers)
        assert answer(response)["events"] == [said]

    @pytest.mark.parametrize(
        "headers",
        [
            {"Referer": "http://127.0.0.1:8080/rooms/lobby"},
            {"Referer": "https://127.0.0.1:8080/"},
            {"Sec-Fetch-Site": "same-origin"},
            {"Sec-Fetch-Site": "none"},
        ],
        ids=str,
    )
    def test_our_own_pages_hear(self, site: MemorySite, headers: dict[str, str]) -> None:
        said = site.say("hi")
        response = site.get(f"{JSONP}?callback=heard&backlog=1", headers=headers)
        assert answer(response)["events"] == [said]

    def test_the_wrong_method_is_405(self, site: MemorySite) -> None:
        problem(site, site.post(JSONP), 405)


class TestFrames:
    def test_of_our_own_pages_call_their_parent(self, site: MemorySite) -> None:
        response = site.get(FRAME)
        policy = response.header("content-security-policy") or ""
        assert "frame-ancestors 'self'" in policy
        assert GOOD not in policy
        page = decoders.read_frame(response.body)
        assert page.batches[0][0]["type"] == "hello"
        assert b"postMessage" not in response.body

    @pytest.mark.parametrize("origin", [GOOD, "http://[2001:db8::1]:8000"])
    def test_of_those_that_were_named_post_messages(self, site: MemorySite, origin: str) -> None:
        response = site.get(f"{FRAME}?target={origin}")
        policy = response.header("content-security-policy") or ""
        assert re.search(r"frame-ancestors ([^;]*)", policy)[1] == origin  # type: ignore[index]
        text = '</script> \u2028 "quotes" \\ \'' + "\U0001f984\n<!--"
        said = site.say(text)
        assert posted(response, origin)[-1] == said
        assert b"parent.comet" not in response.body

    @pytest.mark.parametrize(
        "target", ["https://evil.example", "*", "", GOOD + "/", GOOD.upper(), "null", "'self'"]
    )
    def test_of_others_there_are_none(self, site: MemorySite, target: str) -> None:
        response = site.get(f"{FRAME}?target={target}")
        assert response.status == 400
        assert "frame-ancestors 'self'" in (response.header("content-security-policy") or "")
        ((error,),) = decoders.read_frame(response.body).batches
        assert (error["type"], error["status"]) == ("error", 400)

    def test_a_refusal_reaches_a_foreign_page_too(self, site: MemorySite) -> None:
        for query, status in (("rooms=nowhere", 404), ("token=x", 401), ("cursor=x!", 400)):
            response = site.get(f"{FRAME}?target={GOOD}&{query}")
            assert response.status == status
            (error,) = posted(response, GOOD)
            assert (error["type"], error["status"]) == ("error", status)

    def test_without_allow_origin_there_is_no_target(self, make_site: MakeSite) -> None:
        assert make_site().get(f"{FRAME}?target={GOOD}").status == 400


_POST = re.compile(r'parent\.postMessage\(("(?:[^"\\]|\\.)*"),("(?:[^"\\]|\\.)*")\);')


def posted(response: Response, origin: str) -> list[dict[str, Any]]:
    """The messages that a frame posts, all of them to one origin."""
    events = []
    for script in re.findall(r"<script nonce=[^>]*>(.*?)</script>", response.text):
        calls = script.removesuffix("document.currentScript.remove()")
        assert "<" not in script
        assert _POST.sub("", calls) == ""
        for message, target in _POST.findall(calls):
            assert json.loads(target) == origin
            events.append(json.loads(json.loads(message)))
    return events


class TestFetch:
    PREFLIGHT = {"Access-Control-Request-Method": "POST"}

    @pytest.mark.parametrize("path", [MESSAGES, "/api/v1/session", "/api/v1/events/duplex"])
    def test_a_preflight_says_what_may_be_sent(self, site: MemorySite, path: str) -> None:
        asks = {**self.PREFLIGHT, "Access-Control-Request-Headers": "authorization,content-type"}
        response = site.request("OPTIONS", path, headers={"Origin": GOOD, **asks})
        assert (response.status, response.body) == (204, b"")
        assert response.header("access-control-allow-origin") == GOOD
        methods = (response.header("access-control-allow-methods") or "").split(", ")
        assert {"GET", "POST", "PUT", "DELETE"} <= set(methods)
        headers = (response.header("access-control-allow-headers") or "").split(", ")
        assert {"authorization", "content-type", "last-event-id"} <= set(headers)
        assert int(response.header("access-control-max-age") or 0) > 0
        assert response.header("access-control-allow-credentials") is None
        assert response.header("vary") == "Origin"

    def test_any_header_may_be_sent(self, site: MemorySite) -> None:
        """Libraries add what they like, and an answer says no more for it."""
        asks = {**self.PREFLIGHT, "Origin": GOOD}
        always = {"authorization", "cache-control", "content-type", "last-event-id"}
        always |= {"pragma", "x-requested-with"}
        for wanted, more in (
            ("x-requested-with", set()),
            ("X-Trace-Id, cache-control,x-a", {"x-trace-id", "x-a"}),
            ("", set()),
            ("a b, \u00e9, x:y, , x-good,<script>", {"x-good"}),
        ):
            headers = {**asks, "Access-Control-Request-Headers": wanted}
            response = site.request("OPTIONS", MESSAGES, headers=headers)
            allowed = (response.header("access-control-allow-headers") or "").split(", ")
            assert set(allowed) == always | more
            assert len(allowed) == len(set(allowed))

    @pytest.mark.parametrize(
        "origin", ["https://evil.example", "null", GOOD + ".evil.example", "http://good.example"]
    )
    def test_others_are_not_told(self, site: MemorySite, origin: str) -> None:
        headers = {"Origin": origin, **self.PREFLIGHT}
        for response in (
            site.request("OPTIONS", MESSAGES, headers=headers),
            site.get("/api/v1/rooms", headers={"Origin": origin}),
        ):
            assert not [name for name in response.headers if name.startswith("access-control")]
            assert response.header("vary") == "Origin"

    def test_where_no_origin_is_named_there_is_nothing_of_it(self, make_site: MakeSite) -> None:
        response = make_site().get("/api/v1/rooms", headers={"Origin": GOOD})
        assert response.status == 200
        assert response.header("vary") is None
        assert response.header("access-control-allow-origin") is None

    @pytest.mark.parametrize("path", ["/api/v1/rooms", MESSAGES, "/api/v1/events/stream"])
    def test_answers_can_be_read(self, site: MemorySite, path: str) -> None:
        response = site.get(path, headers={"Origin": GOOD})
        assert response.status == 200
        assert response.header("access-control-allow-origin") == GOOD
        assert response.header("access-control-allow-credentials") is None
        assert response.header("vary") == "Origin"

    def test_errors_can_be_read_too(self, site: MemorySite) -> None:
        response = site.get("/api/v1/events/stream?rooms=nowhere", headers={"Origin": GOOD})
        problem(site, response, 404)
        assert response.header("access-control-allow-origin") == GOOD
        assert "retry-after" in (response.header("access-control-expose-headers") or "")

    @pytest.mark.parametrize("by", ["Bearer", "nothing", "cookie"])
    def test_only_a_token_speaks(self, site: MemorySite, by: str) -> None:
        token = site.log_in("alice")
        headers = {"Origin": GOOD, "Sec-Fetch-Site": "cross-site"}
        if by == "cookie":
            headers["Cookie"] = f"comet_session_memory={token}"
        response = site.post(
            MESSAGES, {"text": "hi"}, headers=headers, token=token if by == "Bearer" else None
        )
        if by == "Bearer":
            assert response.status == 201
            assert response.header("access-control-allow-origin") == GOOD
        else:
            assert response.status in (401, 403)
            assert site.log.last_id == 0

    def test_a_cookie_ends_no_session(self, site: MemorySite) -> None:
        token = site.log_in("alice")
        headers = {"Origin": GOOD, "Cookie": f"comet_session_memory={token}"}
        json_type = {"Content-Type": "application/json"}
        response = site.request("DELETE", "/api/v1/session", headers={**headers, **json_type})
        problem(site, response, 403, "cross-site")
        assert site.get("/api/v1/rooms", token=token).status == 200
