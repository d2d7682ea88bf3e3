"""The classic chat servlet: section 5 of the interface, without a script anywhere."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest

from cometd_chat.errors import StorageUnavailable
from tests.memory import MakeSite, MemorySite, cookie_of
from tests.web.refusals import HTML, problem
from tests.wire import Response

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
LINE = re.compile(r'<p dir="auto">(.*?)</p>\n')


@pytest.fixture
def alice(site: MemorySite) -> dict[str, str]:
    """Headers of a browser in which alice is logged in."""
    return log_in(site, "alice")


def log_in(site: MemorySite, name: str) -> dict[str, str]:
    return {
        "Cookie": f"comet_session_memory={site.log_in(name)}",
        "Origin": "http://127.0.0.1:8080",
    }


def post(site: MemorySite, headers: dict[str, str] | None = None, **fields: str) -> Response:
    return site.request(
        "POST", "/chat", body=urlencode(fields).encode(), headers={**FORM, **(headers or {})}
    )


def lines(stream: Response) -> list[str]:
    """The lines of the endless page as a browser shows them."""
    return [unescape(line.replace("<br>", "\n")) for line in LINE.findall(stream.text)]


def field(page: Response, name: str) -> str:
    """The value of a form's field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page.text)
    assert found, page.text
    return unescape(found[1])


# -- logging in


def test_without_a_session_there_is_the_log_in_form(site: MemorySite) -> None:
    page = site.get("/chat?room=dev")
    assert (page.status, page.header("content-type")) == (200, HTML)
    assert (field(page, "action"), field(page, "room")) == ("login", "dev")
    assert 'name="username"' in page.text


def test_logging_in(site: MemorySite) -> None:
    response = post(site, action="login", username="alice")
    assert (response.status, response.header("location")) == (303, "/chat")
    token = re.match("comet_session_memory=([^;]+)", response.header("set-cookie") or "")
    assert token
    page = site.get("/chat", headers={"Cookie": f"comet_session_memory={token[1]}"})
    assert page.status == 200
    assert 'name="username"' not in page.text
    assert "alice" in page.text


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        ("full", "User alice from 192.0.2.7 is joining the chat."),
        ("network", "User alice from 192.0.2.0/24 is joining the chat."),
        ("none", "User alice is joining the chat."),
    ],
)
def test_all_others_hear_of_it(make_site: MakeSite, shown: str, told: str) -> None:
    site = make_site(show_addresses=shown)
    stream = site.get("/chat?action=openchat", headers=log_in(site, "bob"))
    post(site, action="login", username="alice")
    assert lines(stream)[-1] == told
    assert sum("alice" in line for line in lines(stream)) == 1


def test_a_name_that_is_taken_is_handed_back(site: MemorySite, alice: dict[str, str]) -> None:
    response = post(site, action="login", username="Alice", message="my story", room="dev")
    assert (response.status, response.header("content-type")) == (409, HTML)
    assert field(response, "username") == "Alice"
    assert field(response, "message") == "my story"
    assert field(response, "room") == "dev"
    assert 'role="alert"' in response.text
    assert "set-cookie" not in response.headers


def test_a_name_that_is_none_is_handed_back(site: MemorySite) -> None:
    response = post(site, action="login", username='"><b>')
    assert response.status == 400
    assert field(response, "username") == '"><b>'


def test_logging_in_again_renames(site: MemorySite, alice: dict[str, str]) -> None:
    renamed = post(site, alice, action="login", username="carol")
    assert renamed.status == 303
    post(site, {**alice, **cookie_of(renamed)}, action="post", message="hi")
    assert site.get("/api/v1/rooms/lobby/messages").json()["messages"][0]["from"] == "carol"


def test_another_room(site: MemorySite) -> None:
    response = post(site, action="login", username="alice", room="dev", message="a b&c")
    location = response.header("location") or ""
    assert parse_qs(urlsplit(location).query) == {"room": ["dev"], "message": ["a b&c"]}
    assert urlsplit(location).path == "/chat"
    problem_page = post(site, action="login", username="bob", room="attic")
    assert problem_page.status == 404


def test_a_message_that_waits_is_in_the_box(site: MemorySite, alice: dict[str, str]) -> None:
    page = site.get("/chat?message=my+%3Cstory%3E", headers=alice)
    urls = [unescape(url) for url in re.findall(r'<iframe[^>]* src="([^"]+)"', page.text)]
    stream_url, side_url, form_url = urls
    assert "action=side" in side_url
    assert "action=openchat" in stream_url
    assert field(site.get(form_url, headers=alice), "message") == "my <story>"


# -- posting


def test_all_hear_a_message(site: MemorySite, alice: dict[str, str]) -> None:
    streams = [
        site.get("/chat?action=openchat", headers=alice),
        site.get("/chat?action=openchat", headers=log_in(site, "bob")),
    ]
    response = post(site, alice, action="post", message="hi")
    assert response.status == 303
    for stream in streams:
        assert lines(stream)[-1] == "[ alice ] hi"
    # The same conversation as everywhere else.
    events = site.get("/api/v1/rooms/lobby/messages").json()["messages"]
    assert [event["text"] for event in events] == ["hi"]


def test_back_to_the_form(site: MemorySite, alice: dict[str, str]) -> None:
    for fields in ({}, {"view": "frames"}, {"view": "frameset"}, {"room": "dev"}):
        response = post(site, alice, action="post", message="hi", **fields)
        assert response.status == 303
        location = response.header("location") or ""
        assert location.startswith("/chat?")
        page = site.get(location, headers=alice)
        assert page.status == 200
        if fields.get("view") == "frameset":
            assert "<frameset" in page.text
        else:
            assert field(page, "action") == "post"
            assert field(page, "message") == ""
            assert field(page, "room") == fields.get("room", "lobby")


def test_a_text_is_text(site: MemorySite, alice: dict[str, str]) -> None:
    hostile = "</p><script>alert(1)</script> & \"q\" 'q'\n{{ 7 }}"
    stream = site.get("/chat?action=openchat", headers=alice)
    post(site, alice, action="post", message=hostile)
    assert lines(stream)[-1] == f"[ alice ] {hostile}".replace("\n", "\n\u00a0\u00a0")
    assert "<script>alert" not in stream.text


@pytest.mark.parametrize("message", ["", " ", "x" * 8001, "bell\x07"])
def test_a_message_that_is_none_is_handed_back(
    site: MemorySite, alice: dict[str, str], message: str
) -> None:
    response = post(site, alice, action="post", message=message, client_id="c-1")
    assert (response.status, response.header("content-type")) == (400, HTML)
    assert field(response, "message") == message
    assert field(response, "client_id") == "c-1"
    assert 'role="alert"' in response.text
    assert site.log.last_id == 0


def test_storage_that_is_away(site: MemorySite, alice: dict[str, str]) -> None:
    site.log.failure = StorageUnavailable("The disk is full.", retry_after=2)
    response = post(site, alice, action="post", message="my story", client_id="c-1")
    assert (response.status, field(response, "message")) == (503, "my story")
    assert response.header("retry-after") == "2"
    site.log.failure = None
    fields = {name: field(response, name) for name in ("action", "message", "client_id")}
    assert post(site, alice, **fields).status == 303
    assert site.log.last_id == 1


def test_a_form_that_is_sent_twice_says_it_once(site: MemorySite, alice: dict[str, str]) -> None:
    page = site.get("/chat?action=form", headers=alice)
    client_id = field(page, "client_id")
    assert client_id
    for _ in range(2):
        sent = post(site, alice, action="post", message="hi", client_id=client_id)
        assert sent.status == 303
    assert site.log.last_id == 1
    assert field(site.get("/chat?action=form", headers=alice), "client_id") != client_id


def test_a_form_that_was_used_up_can_be_sent_after_all(
    site: MemorySite, alice: dict[str, str]
) -> None:
    post(site, alice, action="post", message="hi", client_id="c-1")
    response = post(site, alice, action="post", message="ho", client_id="c-1")
    assert (response.status, field(response, "message")) == (409, "ho")
    client_id = field(response, "client_id")
    assert post(site, alice, action="post", message="ho", client_id=client_id).status == 303
    assert site.log.last_id == 2


def test_too_many_messages(make_site: MakeSite) -> None:
    site = make_site(limits=True)
    alice = log_in(site, "alice")
    for _ in range(20):
        assert post(site, alice, action="post", message="hi").status == 303
    response = post(site, alice, action="post", message="my story")
    assert (response.status, field(response, "message")) == (429, "my story")
    assert response.header("retry-after") == "1"


def test_who_is_logged_out_keeps_what_she_wrote(site: MemorySite) -> None:
    response = post(site, action="post", message="my story", room="dev")
    assert response.status == 401
    assert (field(response, "message"), field(response, "room")) == ("my story", "dev")
    again = post(site, action="login", username="alice", message="my story", room="dev")
    location = again.header("location") or ""
    assert parse_qs(urlsplit(location).query)["message"] == ["my story"]


# -- the endless page


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_endless_page(site: MemorySite, alice: dict[str, str], method: str) -> None:
    if method == "GET":
        stream = site.get("/chat?action=openchat", headers=alice)
    else:
        stream = post(site, alice, action="openchat")
    assert (stream.status, stream.header("content-type")) == (200, HTML)
    assert stream.header("cache-control") == "no-store, no-transform"
    assert stream.header("x-accel-buffering") == "no"
    assert stream.header("content-length") is None
    assert lines(stream)[0] == "Welcome alice"
    assert not stream.complete
    site.advance(20)
    assert 'class="beat"' in stream.text
    site.say("hi", name="bob")
    assert lines(stream)[-1] == "[ bob ] hi"


def test_others_come_and_go(site: MemorySite, alice: dict[str, str]) -> None:
    stream = site.get("/chat?action=openchat", headers=alice)
    connection = site.connect()
    connection.request("GET", "/api/v1/events/stream", token=site.log_in("bob"))
    connection.close()
    site.advance(15)
    assert lines(stream)[-2:] == ["User bob is joining the chat.", "User bob is leaving the chat."]


def test_it_begins_with_what_was_said(site: MemorySite, alice: dict[str, str]) -> None:
    site.fill(50)
    stream = site.get("/chat?action=openchat&backlog=3", headers=alice)
    said = [line for line in lines(stream) if line.startswith("[")]
    assert said == [f"[ filler ] said {number}" for number in (48, 49, 50)]


def test_it_goes_on_from_a_cursor(site: MemorySite, alice: dict[str, str]) -> None:
    site.fill(3)
    cursor = site.log.cursor(1)
    stream = site.get(f"/chat?action=openchat&cursor={cursor}", headers=alice)
    said = [line for line in lines(stream) if line.startswith("[")]
    assert said == ["[ filler ] said 2", "[ filler ] said 3"]
    refused = site.get("/chat?action=openchat&cursor=x,y", headers=alice)
    problem(site, refused, 400, "invalid-cursor")


def test_its_end_leads_on(site: MemorySite, alice: dict[str, str]) -> None:
    stream = site.get("/chat?action=openchat&room=dev", headers=alice)
    site.say("hi", room="dev", name="bob")
    cursor = site.now
    site.stop()
    assert stream.complete
    link = re.search(r'<a href="([^"]+)">Go on from here</a>', stream.text)
    refresh = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', stream.text)
    assert link
    assert refresh
    assert link[1] == refresh[1]
    query = parse_qs(urlsplit(unescape(link[1])).query)
    assert query == {"action": ["openchat"], "room": ["dev"], "cursor": [cursor]}
    assert stream.text.rstrip().endswith("</html>")


def test_who_logs_out_is_not_led_on(site: MemorySite, alice: dict[str, str]) -> None:
    stream = site.get("/chat?action=openchat", headers=alice)
    site.request("POST", "/log-out", body=b"", headers={**FORM, **alice})
    assert stream.complete
    assert "cursor=" not in stream.text
    assert lines(stream)[-1] == "the stream ends here: logged out"


def test_without_a_session_it_is_the_log_in_form(site: MemorySite) -> None:
    assert field(site.get("/chat?action=openchat"), "action") == "login"
    response = site.request(
        "POST", "/chat", body=b"action=openchat", headers={"Content-Type": FORM["Content-Type"]}
    )
    problem(site, response, 401, "no-session")


# -- what is asked wrongly


@pytest.mark.parametrize(
    ("method", "query", "status"),
    [
        ("GET", "action=dance", 400),
        ("GET", "action=login&username=alice", 400),
        ("GET", "action=post&message=hi", 400),
        ("POST", "", 400),
        ("POST", "action=form", 400),
        ("POST", "action=dance", 400),
        ("GET", "room=attic", 404),
        ("POST", "action=post&message=hi&room=attic", 404),
        ("GET", "action=openchat&room=attic", 404),
        ("GET", "action=openchat&action=openchat", 400),
        ("GET", "action=openchat&backlog=x", 400),
    ],
)
def test_what_is_asked_wrongly(
    site: MemorySite, alice: dict[str, str], method: str, query: str, status: int
) -> None:
    if method == "GET":
        response = site.get(f"/chat?{query}", headers=alice)
    else:
        kind = {"Content-Type": FORM["Content-Type"]}
        response = site.request("POST", "/chat", body=query.encode(), headers={**kind, **alice})
    problem(site, response, status)
    assert site.log.last_id == 0


def test_a_room_whose_name_is_not_ascii(site: MemorySite, alice: dict[str, str]) -> None:
    token = alice["Cookie"].partition("=")[2]
    site.post("/api/v1/rooms", {"name": "кино"}, token=token)
    page = site.get(f"/chat?room={quote('кино')}", headers=alice)
    assert page.status == 200
    response = post(site, alice, action="post", message="hi", room="кино")
    location = response.header("location") or ""
    assert location.isascii()
    assert field(site.get(location, headers=alice), "room") == "кино"


def test_who_was_sent_away_comes_back_by_a_click_only(
    site: MemorySite, alice: dict[str, str]
) -> None:
    """Else five windows of one browser would replace each other for ever."""
    streams = [site.get("/chat?action=openchat", headers=alice) for _ in range(5)]
    site.turn()
    first, *others = streams
    assert lines(first)[-1] == "the stream ends here: replaced"
    assert first.complete
    assert "refresh" not in first.text
    assert '<a href="/chat?room=lobby" target="_top">' in first.text
    assert not any(other.complete for other in others)


def test_the_view_stays_through_the_log_in_form(site: MemorySite, alice: dict[str, str]) -> None:
    """For links and ELinks, which see nothing in the other one."""
    form = site.get("/chat?view=frameset")
    assert field(form, "view") == "frameset"
    assert 'target="_top"' in form.text, "it may be shown in a frame"
    refused = post(site, action="login", username="alice", view="frameset")
    assert (refused.status, field(refused, "view")) == (409, "frameset")
    over = post(site, action="post", message="hi", view="frameset")
    assert (over.status, field(over, "view")) == (401, "frameset")


# -- what stands around its lines


def test_a_line_has_its_day_and_its_time_and_leads_to_what_is_older(
    site: MemorySite, alice: dict[str, str]
) -> None:
    site.fill(3)
    stream = site.get("/chat?action=openchat&backlog=2", headers=alice)
    parts = re.findall("<(h2|time|p)\\b[^>]*>(.*?)</", stream.text)
    shown = [(tag, re.sub("<[^>]*>", "", text)) for tag, text in parts]
    clock = r"\d\d:\d\d"
    assert shown[0] == ("p", "Welcome alice")
    assert shown[1] == ("p", "Older messages")
    assert shown[2][0] == "h2"
    assert (shown[3][0], bool(re.fullmatch(clock, shown[3][1]))) == ("time", True)
    # Within a minute the time is said once.
    assert shown[4:] == [("p", "[ filler ] said 2"), ("p", "[ filler ] said 3")]
    assert 'href="/rooms/lobby/plain?before=2" target="_top"' in stream.text
    (stamp,) = re.findall('<time datetime="([^"]+)"', stream.text)
    assert stamp == site.get("/api/v1/rooms/lobby/messages").json()["messages"][-2]["at"]
    # Who goes on from somewhere has seen what is older.
    resumed = site.get(f"/chat?action=openchat&cursor={site.log.cursor(1)}", headers=alice)
    assert "Older messages" not in resumed.text
    assert "said 2" in resumed.text


def test_a_line_has_its_links_and_none_looks_like_one_of_somebody_else(
    site: MemorySite, alice: dict[str, str]
) -> None:
    stream = site.get("/chat?action=openchat", headers=alice)
    text = "see https://example.org/?a=1&b <b>\n[ bob ] I quit\n\u202egnp.exe"
    post(site, alice, action="post", message=text)
    line = LINE.findall(stream.text)[-1]
    assert line == (
        '[ alice ] see <a href="https://example.org/?a=1&amp;b" rel="noopener noreferrer nofollow"'
        ' target="_blank">https://example.org/?a=1&amp;b</a> &lt;b&gt;'
        "<br>&#160;&#160;[ bob ] I quit"
        "<br>&#160;&#160;<bdi><bdi>\u202e</bdi>gnp.exe</bdi>"
    )


def test_a_renaming_is_told_as_such(site: MemorySite, alice: dict[str, str]) -> None:
    bob = log_in(site, "bob")
    stream = site.get("/chat?action=openchat", headers=alice)
    site.get("/rooms/lobby", headers=bob)
    post(site, bob, action="login", username="robert")
    assert lines(stream)[-1] == "User bob is now called robert."
    assert "User bob is leaving the chat." not in lines(stream)


def test_rooms_and_people_stand_beside_it(site: MemorySite, alice: dict[str, str]) -> None:
    site.get("/chat?action=openchat", headers=alice)
    side = site.get("/chat?action=side&room=lobby", headers=alice)
    assert side.status == 200
    assert ">alice</span>" in side.text
    assert 'href="/chat?room=dev"' in side.text
    assert "Back to" in side.text
    assert "Back to" not in site.get("/chat?action=side&view=frames", headers=alice).text
    assert "username" in site.get("/chat?action=side").text
