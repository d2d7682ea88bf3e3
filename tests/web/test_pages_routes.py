"""Pages, forms, files and numbers as they are served: sections 5, 6 and 9 of the interface."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from urllib.parse import parse_qs, quote, urlencode, urljoin, urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from twisted.logger import capturedLogs

from cometd_chat.chat.shared_state import PAGE_BYTES
from cometd_chat.errors import StorageUnavailable
from tests.memory import CLEARED, MakeSite, MemorySite, cookie_of
from tests.web.refusals import HTML, problem
from tests.wire import Response

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
OURS = {"Origin": "http://127.0.0.1:8080"}

#: Pages for somebody who is logged in, and for somebody who is not.
PAGES = [
    "/",
    "/rooms/lobby",
    "/rooms/lobby/plain",
    "/rooms/lobby/plain?before=3",
    "/rooms/lobby/plain?after=1",
    "/rooms/%D0%BA%D0%B8%D0%BD%D0%BE",
    "/rooms/%D0%BA%D0%B8%D0%BD%D0%BE/plain",
    "/rooms",
    "/rooms?after=lobby",
    "/chat",
    "/chat?view=frameset",
    "/chat?action=form",
    "/chat?action=form&view=frameset",
    "/chat?action=side",
    "/chat?action=side&view=frames",
    "/problems/not-found",
    "/nothing/here",
]


class Document(HTMLParser):
    """A page's tags, and its forms with their fields."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.forms: list[tuple[str, str, dict[str, str]]] = []
        self._open: dict[str, str] | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.append((tag, values))
        if tag == "form":
            self._open = {}
            self.forms.append((values["method"], values["action"], self._open))
        elif values.get("type") == "checkbox" and "checked" not in values:
            # As a browser sends the form, who has touched nothing.
            return
        elif tag in ("input", "textarea") and self._open is not None and "name" in values:
            self._open[values["name"]] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None

    def links(self) -> Iterator[str]:
        """Everywhere that the page leads to, or that it loads."""
        for _, values in self.tags:
            for name in ("href", "src"):
                if name in values:
                    yield values[name]


@pytest.fixture
def busy(site: MemorySite) -> MemorySite:
    """A site in which something was said, with a room whose name is not ASCII."""
    token = site.log_in("carol")
    site.post("/api/v1/rooms", {"name": "кино", "topic": "films"}, token=token)
    site.fill(70)
    site.say("see https://example.org/ and <b>this</b>", name="carol")
    return site


@pytest.fixture
def alice(site: MemorySite) -> dict[str, str]:
    """Headers of a text browser in which alice is logged in; it says nothing of its origin."""
    return {"Cookie": f"comet_session_memory={site.log_in('alice')}"}


def post(site: MemorySite, path: str, headers: dict[str, str], **fields: str) -> Response:
    body = urlencode(fields).encode()
    return site.request("POST", path, body=body, headers={**FORM, **headers})


def is_log_in(fields: dict[str, str]) -> bool:
    return "username" in fields or ("name" in fields and "text" in fields)


# -- every page


@pytest.mark.parametrize("who", ["alice", "nobody"])
@pytest.mark.parametrize("path", PAGES)
def test_the_head_of_every_page(
    busy: MemorySite, alice: dict[str, str], path: str, who: str
) -> None:
    headers = {"Accept": "text/html", **(alice if who == "alice" else {})}
    page = busy.get(path, headers=headers)
    assert page.status == (404 if path == "/nothing/here" else 200)
    assert page.header("content-type") == HTML
    assert page.header("x-content-type-options") == "nosniff"
    assert page.header("referrer-policy") == "same-origin"
    assert "no-store" in (page.header("cache-control") or "")
    policy = page.header("content-security-policy") or ""
    directives = dict(each.strip().split(" ", 1) for each in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["frame-ancestors"] == "'self'"
    assert directives["base-uri"] == "'none'"
    assert directives["form-action"] == "'self'"
    assert "unsafe" not in policy
    assert "http" not in policy
    scripts = "'nonce-([A-Za-z0-9_-]{16,})'( [a-z0-9.:]+/static/)?"
    nonce = re.fullmatch(scripts, directives["script-src"])
    assert nonce
    again = busy.get(path, headers=headers).header("content-security-policy")
    assert again != policy, "a nonce is good once"
    for tag, values in Document(page.text).tags:
        if tag in ("script", "style"):
            assert values["nonce"] == nonce[1]
        assert "style" not in values
        assert not any(name.startswith("on") for name in values)


@pytest.mark.parametrize("who", ["alice", "nobody"])
@pytest.mark.parametrize("path", PAGES)
def test_every_form_leads_to_a_route_and_carries_its_token(
    busy: MemorySite, alice: dict[str, str], path: str, who: str
) -> None:
    """Sent as they stand, by a browser that says nothing of its origin."""
    cookie = alice if who == "alice" else {}
    page = busy.get(path, headers={"Accept": "text/html", **cookie})
    for method, action, fields in Document(page.text).forms:
        assert method == "post"
        assert urlsplit(action).netloc == ""
        assert action.startswith("/")
        if who == "alice":
            assert fields.get("form_token"), action
        if {"text", "message"} & set(fields) and not is_log_in(fields):
            assert fields["client_id"], action
        filled = dict(fields)
        for name, value in fields.items():
            if not value and name in ("text", "message", "name", "username"):
                filled[name] = "x"
        if action == "/log-out":
            continue
        response = post(busy, action, cookie, **filled)
        assert response.status in (200, 303), (action, filled, response.text)
        if response.status == 303:
            location = response.header("location") or ""
            assert location.startswith("/")
            assert not location.startswith("//")
            assert busy.get(location, headers=cookie).status == 200


def test_every_link_of_ours_leads_somewhere(busy: MemorySite, alice: dict[str, str]) -> None:
    seen: set[str] = set()
    waiting = ["/", "/chat", "/rooms/lobby/plain", "/nothing/here"]
    while waiting:
        path = waiting.pop()
        if path in seen or len(seen) > 200:
            continue
        seen.add(path)
        page = busy.get(path, headers={"Accept": "text/html", **alice})
        assert page.status == (404 if path == "/nothing/here" else 200), path
        if page.header("content-type") != HTML:
            continue
        for link in Document(page.text).links():
            target = urljoin(f"http://127.0.0.1:8080{path}", link)
            if urlsplit(target).netloc == "127.0.0.1:8080":
                # The random part only makes an address new.
                place = re.sub(r"(?<=[?&])n=[^&#]*&?", "", target.split("#")[0])
                waiting.append(place.removeprefix("http://127.0.0.1:8080"))
            else:
                assert target == "https://example.org/"
    assert len(seen) > 15
    assert any(re.fullmatch("/static/[0-9a-f]+/comet.css", path) for path in seen)
    assert any("openchat" in path for path in seen)


def test_links_in_messages_tell_nothing(busy: MemorySite) -> None:
    for path in ("/rooms/lobby", "/rooms/lobby/plain"):
        tags = Document(busy.get(path).text).tags
        (link,) = [values for _, values in tags if values.get("href") == "https://example.org/"]
        assert link["rel"] == "noopener noreferrer nofollow"


def test_what_is_said_is_never_markup(site: MemorySite) -> None:
    site.say("</textarea><script>alert(1)</script>")
    for path in ("/rooms/lobby", "/rooms/lobby/plain"):
        page = site.get(path)
        assert "<script>alert" not in page.text
        assert "&lt;script&gt;alert" in page.text


# -- the chat


def test_home_is_the_log_in_and_then_the_lobby(site: MemorySite, alice: dict[str, str]) -> None:
    site.say("hello there")
    nobody = site.get("/")
    assert "hello there" not in nobody.text
    assert [action for _, action, _ in Document(nobody.text).forms] == ["/log-in"]
    page = site.get("/", headers=alice)
    assert "hello there" in page.text
    assert 'action="/rooms/lobby"' in page.text


def test_a_room_has_the_newest_messages_and_says_where_its_stream_begins(site: MemorySite) -> None:
    site.fill(70)
    page = unescape(site.get("/rooms/lobby").text)
    assert "said 70" in page
    assert "said 11" in page
    assert "said 10<" not in page
    assert f'"cursor": "{site.now}"' in page
    assert "/rooms/lobby/plain?before=11" in page


def test_an_empty_room_shows_its_address(site: MemorySite) -> None:
    page = site.get("/rooms/dev", headers={"Host": "localhost:8080"})
    assert "http://localhost:8080/rooms/dev" in page.text


def test_who_opens_a_page_is_there_for_a_minute(site: MemorySite, alice: dict[str, str]) -> None:
    for path in ("/rooms/lobby", "/rooms/lobby/plain"):
        site.get(path, headers=alice)
        site.advance(59)
        assert site.chat.presence.count("lobby") == 1
        site.advance(2.5)
        assert site.chat.presence.count("lobby") == 0


def test_the_plain_page_can_be_walked(site: MemorySite) -> None:
    site.fill(100)
    page = site.get("/rooms/lobby/plain")
    assert "said 61<" in page.text
    assert "said 60<" not in page.text
    older = site.get("/rooms/lobby/plain?before=61")
    assert "said 21<" in older.text
    assert "said 61<" not in older.text
    newer = site.get("/rooms/lobby/plain?after=21")
    assert "said 22<" in newer.text
    assert "There is more" in newer.text
    assert "Nothing newer" in site.get("/rooms/lobby/plain?after=100").text
    problem(site, site.get("/rooms/lobby/plain?after=x"), 400)


#: Texts that grow most as HTML.
GROWING = {
    "escaped": "&" * 7990,
    "wide": "\N{GRINNING FACE}" * 7990,
    "links": "http://a " * 880,
    "an escaped link": "http://a?" + "&" * 7980,
    "quoted": "'\"" * 3990,
}


@pytest.mark.parametrize("name", GROWING)
@pytest.mark.parametrize(
    "path", ["/rooms/lobby", "/rooms/lobby/plain", "/rooms/lobby/plain?after=0"]
)
def test_a_page_has_little_more_than_256_kib(site: MemorySite, path: str, name: str) -> None:
    site.fill(60, text="{} " + GROWING[name])
    page = site.get(path)
    assert 64 * 1024 < len(page.body) < PAGE_BYTES + 16 * 1024
    shown = [int(id) for id in re.findall(r' id="m([0-9]+)"', page.text)]
    assert 0 < len(shown) < 40
    # The plain page has the newest first.
    shown.sort()
    assert shown == list(range(shown[0], shown[0] + len(shown)))
    if "after" in path:
        assert shown[0] == 1
        assert "There is more" in page.text
    else:
        assert shown[-1] == 60
        assert '"more":true' in page.text or f"before={shown[0]}" in page.text


# -- forms


def test_logging_in(site: MemorySite) -> None:
    for number, (fields, place) in enumerate(
        [
            ({}, "/rooms/lobby"),
            ({"room": "dev"}, "/rooms/dev"),
            ({"room": "dev", "view": "plain"}, "/rooms/dev/plain"),
            ({"room": "dev", "view": "live"}, "/chat"),
        ]
    ):
        response = post(site, "/log-in", {}, name=f"n{number}", **fields)
        assert response.status == 303
        assert urlsplit(response.header("location") or "").path == place
        assert (response.header("set-cookie") or "").startswith("comet_session_memory=")


def test_what_was_written_before_logging_in_waits_without_script(site: MemorySite) -> None:
    response = post(site, "/log-in", {}, name="alice", text="my <story>", view="live")
    address = urlsplit(response.header("location") or "")
    assert (address.path, parse_qs(address.query)["message"]) == ("/chat", ["my <story>"])
    # What no address can carry is on a page.
    long = "\U0001f600" * 7000
    for path, fields in (
        ("/log-in", {"name": "bob", "text": long, "view": "live"}),
        ("/chat", {"action": "login", "username": "carol", "message": long, "view": "frames"}),
    ):
        response = post(site, path, {}, **fields)
        assert response.status == 200
        assert f"{long}</textarea>" in response.text


@pytest.mark.parametrize("view", ["", "plain"])
def test_what_was_written_before_logging_in_waits(site: MemorySite, view: str) -> None:
    response = post(site, "/log-in", {}, name="alice", text="my <story>", view=view)
    assert response.status == 200
    assert "my &lt;story&gt;</textarea>" in response.text
    assert site.log.last_id == 0, "she sends it herself"


@pytest.mark.parametrize(("name", "status"), [("Alice", 409), ("a/b", 400), ("", 400)])
def test_a_name_that_is_refused_is_handed_back(
    site: MemorySite, alice: dict[str, str], name: str, status: int
) -> None:
    response = post(site, "/log-in", {}, name=name, text="my story", room="dev")
    assert response.status == status
    (_, action, fields) = Document(response.text).forms[0]
    assert action == "/log-in"
    assert (fields["name"], fields["text"], fields["room"]) == (name, "my story", "dev")
    assert 'role="alert"' in response.text


def test_posting(site: MemorySite, alice: dict[str, str]) -> None:
    for number, path in enumerate(("/rooms/lobby", "/rooms/lobby/plain"), 1):
        response = post(site, path, {**alice, **OURS}, text="hi", client_id=f"c-{number}")
        assert response.status == 303
        assert urlsplit(response.header("location") or "").path == path
        again = post(site, path, {**alice, **OURS}, text="hi", client_id=f"c-{number}")
        assert again.status == 303
        assert site.log.last_id == number, "a form that is sent twice says it once"


@pytest.mark.parametrize("path", ["/rooms/lobby", "/rooms/lobby/plain"])
@pytest.mark.parametrize(
    ("text", "status"), [("", 400), ("bell\x07", 400), ("x" * 8001, 400), ("full", 503)]
)
def test_a_text_that_is_refused_is_handed_back(
    site: MemorySite, alice: dict[str, str], path: str, text: str, status: int
) -> None:
    if text == "full":
        site.log.failure = StorageUnavailable("The disk is full.", retry_after=2)
    response = post(site, path, {**alice, **OURS}, text=text, client_id="c-1")
    assert (response.status, response.header("content-type")) == (status, HTML)
    assert f">\n{text}</textarea>" in response.text
    assert 'role="alert"' in response.text
    if status == 503:
        assert response.header("retry-after") == "2"
    site.log.failure = None
    if text == "full":
        (fields,) = [
            fields for _, action, fields in Document(response.text).forms if action == path
        ]
        assert post(site, path, alice, **{**fields, "text": text}).status == 303
        assert site.log.last_id == 1


def test_a_key_that_was_used_up(site: MemorySite, alice: dict[str, str]) -> None:
    post(site, "/rooms/lobby", {**alice, **OURS}, text="hi", client_id="c-1")
    response = post(site, "/rooms/lobby", {**alice, **OURS}, text="ho", client_id="c-1")
    assert response.status == 409
    (fields,) = [
        fields for _, action, fields in Document(response.text).forms if action == "/rooms/lobby"
    ]
    assert fields["client_id"] != "c-1"
    assert post(site, "/rooms/lobby", alice, **{**fields, "text": "ho"}).status == 303
    assert site.log.last_id == 2


def test_renaming(site: MemorySite, alice: dict[str, str]) -> None:
    response = post(site, "/rename", {**alice, **OURS}, name="carol", room="dev")
    assert (response.status, response.header("location")) == (303, "/rooms/dev")
    carol = cookie_of(response)
    assert "carol" in site.get("/rooms/dev", headers=carol).text
    site.log_in("bob")
    refused = post(site, "/rename", {**carol, **OURS}, name="Bob", room="dev")
    assert (refused.status, refused.header("content-type")) == (409, HTML)
    # In place: the same room, with the form open, what was typed and the reason in it.
    (fields,) = [
        fields for _, action, fields in Document(refused.text).forms if action == "/rename"
    ]
    assert (fields["name"], fields["room"]) == ("Bob", "dev")
    assert '<details id="rename" open>' in refused.text
    assert "<span>Somebody here is called Bob" in refused.text or "alert" in refused.text
    assert 'action="/rooms/dev"' in refused.text


def test_making_a_room(site: MemorySite, alice: dict[str, str]) -> None:
    response = post(site, "/rooms", {**alice, **OURS}, name="Кино", topic="films")
    assert response.status == 303
    assert response.header("location") == "/rooms/" + quote("кино")
    assert "films" in site.get(response.header("location") or "").text
    refused = post(site, "/rooms", {**alice, **OURS}, name="lobby", topic="my topic", room="dev")
    assert (refused.status, refused.header("content-type")) == (409, HTML)
    assert 'value="my topic"' in refused.text
    assert '<details id="new-room" open>' in refused.text
    assert 'action="/rooms/dev"' in refused.text, "in place"


def test_a_room_as_people_type_it(site: MemorySite, alice: dict[str, str]) -> None:
    # As pages show it.
    made = post(site, "/rooms", {**alice, **OURS}, name=" #Cats")
    assert made.header("location") == "/rooms/cats"
    refused = post(site, "/rooms", {**alice, **OURS}, name="#My Room", topic="t")
    assert refused.status == 400
    assert "a space can&#39;t be in it" in refused.text
    assert "U+" not in refused.text
    assert 'name="instead" value="my-room"' in refused.text
    (fields,) = [fields for _, action, fields in Document(refused.text).forms if action == "/rooms"]
    made = post(site, "/rooms", alice, **{**fields, "instead": "my-room"})
    assert made.header("location") == "/rooms/my-room"
    assert site.get("/api/v1/rooms").json()["rooms"][-1]["topic"] == "t"
    # For programs, too.
    refusal = site.post("/api/v1/rooms", {"name": "Your Room"}, token=site.log_in("bob"))
    assert problem(site, refusal, 400)["errors"][0]["instead"] == "your-room"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/rooms/nowhere", ""),
        ("GET", "/rename", ""),
        ("GET", "/log-in", ""),
        ("POST", "/rooms", "name=x"),
        ("POST", "/rooms", "name=a+b"),
        ("POST", "/chat", "action=login&username=a%2Fb"),
        ("POST", "/log-in", "name=a%2Fb"),
        ("POST", "/rooms/lobby", "text=%07"),
        ("GET", "/chat?action=openchat&cursor=!!!", ""),
    ],
)
def test_no_page_names_a_path_of_the_api_or_an_option(
    site: MemorySite, alice: dict[str, str], method: str, path: str, body: str
) -> None:
    for headers in ({}, alice, {**alice, **OURS}):
        page = site.request(method, path, body=body.encode(), headers={**FORM, **headers})
        if page.status >= 400:
            shown = re.sub("<[^>]*>", "", page.text)
            assert "/api/" not in shown
            assert not re.search(r"(?<!\w)--\w", shown)
            assert "U+" not in shown


def test_what_the_operator_can_do_is_in_the_log(site: MemorySite) -> None:
    with capturedLogs() as events:
        for _ in range(3):
            page = site.get("/", headers={"Host": "chat.example", "Accept": "text/html"})
            assert page.status == 421
            assert "--host" not in page.text
        site.advance(61)
        site.get("/", headers={"Host": "chat.example"})
    told = [event["remedy"] for event in events if "remedy" in event]
    assert len(told) == 2, "once a minute"
    assert "--host chat.example" in told[0]


def test_logging_out(site: MemorySite, alice: dict[str, str]) -> None:
    response = post(site, "/log-out", {**alice, **OURS})
    assert (response.status, response.header("location")) == (303, "/")
    assert (response.header("set-cookie") or "").startswith(CLEARED)
    site.log_in("alice")
    again = post(site, "/log-out", {})
    assert (again.status, again.header("location")) == (303, "/")


# -- operating it


def samples(site: MemorySite) -> dict[str, list[Sample]]:
    """The metrics, read by Prometheus's own parser."""
    found: dict[str, list[Sample]] = {}
    for family in text_string_to_metric_families(site.metrics):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


def value(found: dict[str, list[Sample]], name: str, transport: str = "") -> float:
    labels = {"transport": transport} if transport else {}
    (sample,) = [each for each in found[name] if each.labels == labels]
    return sample.value


def test_alive_and_ready(site: MemorySite) -> None:
    for path, said in (("/healthz", "alive\n"), ("/readyz", "ready\n")):
        response = site.get(path)
        assert (response.status, response.text) == (200, said)
        assert response.header("content-type") == "text/plain; charset=utf-8"


def test_a_daemon_that_stops_is_alive_and_not_ready(site: MemorySite) -> None:
    site.stop()
    assert site.get("/healthz").status == 200
    assert site.get("/readyz").status == 503


def test_metrics(site: MemorySite) -> None:
    token = site.log_in("alice")
    stream = site.connect()
    stream.request("GET", "/api/v1/events/stream", token=token)
    site.get("/api/v1/events/stream")
    site.get("/api/v1/events/frame")
    site.get("/api/v1/events/poll")
    for _ in range(3):
        site.post("/api/v1/rooms/lobby/messages", {"text": "hi"}, token=token)
    found = samples(site)
    assert value(found, "comet_chat_held_requests", "stream") == 2
    assert value(found, "comet_chat_held_requests", "frame") == 1
    assert value(found, "comet_chat_held_requests", "poll") == 0
    assert value(found, "comet_chat_sessions") == 1
    assert value(found, "comet_chat_events_appended_total") == 3
    assert value(found, "comet_chat_commits_total") == 3
    assert value(found, "comet_chat_events_delivered_total", "stream") >= 6
    assert value(found, "comet_chat_bytes_sent_total", "stream") > 500
    assert value(found, "comet_chat_slow_readers_cut_total") == 0
    assert value(found, "comet_chat_expired_total", "stream") == 0
    assert value(found, "comet_chat_tail_events") == 3
    assert value(found, "comet_chat_append_seconds_count") == 3
    assert found["comet_chat_append_seconds_bucket"][-1].value == 3
    stream.close()
    assert value(samples(site), "comet_chat_held_requests", "stream") == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/rooms/lobby", {"text": "hi"}),
        ("/rooms/lobby/plain", {"text": "hi"}),
        ("/chat", {"action": "post", "message": "hi"}),
    ],
)
def test_a_post_by_form_is_timed_as_well(
    site: MemorySite, alice: dict[str, str], path: str, body: dict[str, str]
) -> None:
    assert post(site, path, {**alice, **OURS}, **body).status == 303
    assert value(samples(site), "comet_chat_append_seconds_count") == 1


def test_metrics_are_there_before_anything_happens(make_site: MakeSite) -> None:
    text = make_site().metrics
    for name in (
        "comet_chat_held_requests gauge",
        "comet_chat_sessions gauge",
        "comet_chat_events_appended_total counter",
        "comet_chat_commits_total counter",
        "comet_chat_events_delivered_total counter",
        "comet_chat_bytes_sent_total counter",
        "comet_chat_slow_readers_cut_total counter",
        "comet_chat_expired_total counter",
        "comet_chat_append_seconds histogram",
        "comet_chat_tail_events gauge",
    ):
        assert f"# TYPE {name}\n" in text


def test_the_plain_view_stays_through_the_log_in_form(make_site: MakeSite) -> None:
    site = make_site(public_reading=False)
    site.log_in("alice")
    plain = 'name="view" value="plain"'
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert plain in site.get("/rooms/lobby/plain").text
    for path, body in (
        ("/log-in", b"name=alice&room=lobby&view=plain"),
        ("/rooms/lobby/plain", b"text=hi"),
    ):
        page = site.request("POST", path, body=body, headers=kind)
        assert page.status in (401, 409)
        assert plain in page.text
    assert plain not in site.get("/rooms/lobby").text


def rooms_listed(page: str) -> list[str]:
    """Names of the rooms that a page links to, in order."""
    paths = [urlsplit(link).path for link in Document(page).links()]
    found = [path.removeprefix("/rooms/") for path in paths if re.fullmatch("/rooms/[^/]+", path)]
    return list(dict.fromkeys(found))


def test_a_page_of_many_rooms_lists_some_and_leads_to_all(make_site: MakeSite) -> None:
    names = ["lobby", *(f"r{number:03}" for number in range(250))]
    site = make_site(rooms=names)
    for path in ("/rooms/r200", "/rooms/r200/plain"):
        page = site.get(path).text
        assert 'href="/rooms"' in page
        assert "r099" not in page
        assert "r200" in page
    assert rooms_listed(site.get("/rooms/r200").text) == [*names[:100], "r200"]
    assert rooms_listed(site.get("/rooms/r050").text) == names[:100]
    found: list[str] = []
    path = "/rooms"
    while path:
        page = site.get(path).text
        found += rooms_listed(page)
        more = [link for link in Document(page).links() if link.startswith("/rooms?after=")]
        path = more[0] if more else ""
    assert found == names
    assert 'href="/rooms"' in page, "and back to the first"


def test_a_page_of_few_rooms_lists_them_all(site: MemorySite) -> None:
    for path in ("/rooms/lobby", "/rooms/lobby/plain"):
        assert 'href="/rooms"' not in site.get(path).text


def test_the_list_of_rooms_is_for_who_may_read(make_site: MakeSite) -> None:
    site = make_site(rooms=("lobby", "attic"), public_reading=False)
    assert "attic" not in site.get("/rooms").text
    assert "attic" in site.get("/rooms", token=site.log_in("alice")).text
