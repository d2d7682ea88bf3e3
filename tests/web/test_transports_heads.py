"""The heads of the transports: status, headers, who may open one, and refusals that can be seen."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from cometd_chat.errors import StorageUnavailable
from tests import decoders
from tests.memory import MakeSite, MemorySite
from tests.web.transports import (
    ALL,
    EVENTS,
    OUR_SCRIPT,
    POLLS,
    Client,
    decode,
    headers_of,
    read_answer,
    transport_path,
)
from tests.wire import Response

TYPES = {
    "frame": "text/html; charset=utf-8",
    "poll": "application/json",
    "stream": "application/x-ndjson",
    "sse": "text/event-stream",
    "jsonp": "text/javascript; charset=utf-8",
    "text": "text/plain; charset=utf-8",
    "openchat": "text/html; charset=utf-8",
}

#: Transports whose clients see the status of a refusal.
SEEING = ("poll", "stream", "sse", "multipart", "text")


#: What Safari says of itself when it goes to a page, or shows one in a frame.
SAFARI = {
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1",
}


class TestHeaders:
    @pytest.mark.parametrize("transport", ALL)
    def test_are_common_to_all(self, site: MemorySite, transport: str) -> None:
        response = Client(site, transport).response
        assert response.status == 200
        assert response.header("cache-control") == "no-store, no-transform"
        assert response.header("x-accel-buffering") == "no"
        assert response.header("x-content-type-options") == "nosniff"
        assert response.header("content-encoding") is None
        assert response.header("set-cookie") is None

    @pytest.mark.parametrize("transport", TYPES)
    def test_say_what_it_is(self, site: MemorySite, transport: str) -> None:
        assert Client(site, transport).response.header("content-type") == TYPES[transport]

    @pytest.mark.parametrize("transport", ALL)
    def test_nothing_is_compressed_for_who_would_take_it(
        self, site: MemorySite, transport: str
    ) -> None:
        client = Client(site, transport, headers={"Accept-Encoding": "gzip, br"})
        assert client.response.header("content-encoding") is None
        site.say("hi")
        assert client.texts() == ["hi"]

    def test_a_frame_runs_our_scripts_and_nothing_else(self, site: MemorySite) -> None:
        response = site.get(transport_path("frame"))
        policy = response.header("content-security-policy") or ""
        (nonce,) = decoders.read_frame(response.body).nonces
        assert f"script-src 'nonce-{nonce}'" in policy
        assert "default-src 'none'" in policy

    @pytest.mark.parametrize("transport", ALL)
    def test_http_1_0_gets_a_stream_without_chunks(self, site: MemorySite, transport: str) -> None:
        connection = site.connect()
        token = site.log_in("alice") if transport == "openchat" else None
        response = connection.request(
            "GET", transport_path(transport), token=token, version="HTTP/1.0"
        )
        assert response.status == 200
        assert response.header("transfer-encoding") is None
        if transport not in POLLS:
            site.say("hi")
            assert "hi" in [event.get("text") for event in decode(transport, response)]


class TestMethods:
    @pytest.mark.parametrize("transport", ALL)
    def test_head_gets_the_head_and_ends(self, site: MemorySite, transport: str) -> None:
        token = site.log_in("alice")
        connection = site.connect()
        head = connection.request("HEAD", transport_path(transport), token=token)
        whole = site.get(transport_path(transport), token=token)
        assert (head.status, head.complete) == (200, True)
        for name in ("content-type", "cache-control", "x-accel-buffering"):
            assert head.header(name) == whole.header(name)
        # It holds nothing, and the connection goes on.
        assert connection.request("GET", "/healthz").text == "alive\n"
        assert connection.surplus == b""

    def test_head_holds_nothing_and_makes_no_guest(self, site: MemorySite) -> None:
        for path in (transport_path("stream"), transport_path("text", name="alice")):
            assert site.request("HEAD", path).complete
        assert held(site) == {}
        assert people(site) == []

    @pytest.mark.reads
    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
    @pytest.mark.parametrize("transport", EVENTS)
    def test_another_is_405_and_says_which(
        self, site: MemorySite, transport: str, method: str
    ) -> None:
        response = site.request(method, transport_path(transport))
        assert response.status == 405
        assert response.header("allow") == "GET, HEAD"
        assert response.json()["type"] == "/problems/method-not-allowed"

    def test_of_a_rooms_text_as_well(self, site: MemorySite) -> None:
        response = site.request("DELETE", "/rooms/lobby.txt")
        assert response.status == 405
        assert "GET" in (response.header("allow") or "")


def held(site: MemorySite) -> dict[str, int]:
    """How many requests each transport holds, as the metrics tell; those that hold none left
    out."""
    lines = site.metrics.splitlines()
    found = [line for line in lines if line.startswith("comet_chat_held_requests{")]
    counts = {line.split('"')[1]: int(float(line.split()[-1])) for line in found}
    return {transport: count for transport, count in counts.items() if count}


def people(site: MemorySite, room: str = "lobby") -> list[str]:
    answer = site.get(f"/api/v1/rooms/{room}/people").json()
    return [each["name"] for each in answer["people"]]


class TestUnknown:
    @pytest.mark.reads
    @pytest.mark.parametrize("transport", SEEING)
    @pytest.mark.parametrize("room", ["nowhere", "lobby,nowhere", "a b", "x" * 100, "\u202e"])
    def test_a_room_is_404(self, site: MemorySite, transport: str, room: str) -> None:
        response = site.get(transport_path(transport, rooms=room))
        assert response.status == 404
        assert response.json()["type"] == "/problems/room-not-found"

    @pytest.mark.parametrize("path", ["/rooms/nowhere.txt", "/chat?action=openchat&room=nowhere"])
    def test_a_room_in_a_path_as_well(self, site: MemorySite, path: str) -> None:
        assert site.get(path, token=site.log_in("alice")).status == 404

    def test_a_transport_is_404_and_says_which_there_are(self, site: MemorySite) -> None:
        response = site.get("/api/v1/events/window")
        assert response.status == 404
        for transport in EVENTS:
            assert transport in response.json()["detail"]

    @pytest.mark.reads
    @pytest.mark.parametrize("rooms", ["", ",", ",".join(["lobby"] * 60)])
    def test_none_or_too_many_rooms_are_400(self, site: MemorySite, rooms: str) -> None:
        response = site.get(transport_path("stream", rooms=rooms))
        assert response.status == 400
        assert response.json()["errors"][0]["field"] == "rooms"

    @pytest.mark.reads
    @pytest.mark.parametrize("query", ["backlog=x", "backlog=-1", "backlog=1.5", "backlog="])
    def test_what_is_no_number_is_400(self, site: MemorySite, query: str) -> None:
        response = site.get(f"/api/v1/events/stream?{query}")
        assert response.status == 400
        assert response.json()["errors"][0]["field"] == "backlog"

    @pytest.mark.reads
    @pytest.mark.parametrize("transport", ["stream", "frame", "sse"])
    def test_a_parameter_given_twice_is_400(self, site: MemorySite, transport: str) -> None:
        response = site.get(f"/api/v1/events/{transport}?cursor=1.abcd&cursor=2.abcd")
        if transport == "sse":
            comes_back(response, 400, least=60_000)
            return
        assert response.status == 400
        if transport == "frame":
            assert error_of(response)["status"] == 400

    @pytest.mark.parametrize("transport", ["stream", "frame", "sse", "poll"])
    def test_one_that_nobody_knows_may_be_there_as_often_as_it_likes(
        self, site: MemorySite, transport: str
    ) -> None:
        response = site.get(
            f"/api/v1/events/{transport}?_=1&_=2&evs_preamble=2056&heartbeatTimeout=9"
        )
        assert response.status == 200
        assert b"error" not in response.body


def error_of(response: Response) -> dict[str, Any]:
    """The one event of a frame that was refused."""
    assert response.header("content-type") == "text/html; charset=utf-8"
    ((event,),) = decoders.read_frame(response.body).batches
    assert event["type"] in ("error", "bye")
    return event


#: A query that is refused, and how.
REFUSED = {
    404: {"rooms": "nowhere"},
    400: {"cursor": "non sense"},
    401: {"token": "invalid"},
}


class TestRefusals:
    @pytest.mark.parametrize("status", REFUSED)
    @pytest.mark.parametrize("transport", SEEING)
    def test_are_problems_for_who_sees_the_status(
        self, site: MemorySite, transport: str, status: int
    ) -> None:
        response = site.get(transport_path(transport, **REFUSED[status]))
        assert response.status == status
        assert response.header("content-type") == "application/problem+json"
        assert response.json()["status"] == status

    @pytest.mark.parametrize("status", REFUSED)
    def test_are_a_script_in_a_frame(self, site: MemorySite, status: int) -> None:
        response = site.get(transport_path("frame", **REFUSED[status]))
        assert response.status == status
        assert response.complete
        event = error_of(response)
        assert event["status"] == status
        assert event["detail"]
        (nonce,) = decoders.read_frame(response.body).nonces
        assert nonce in (response.header("content-security-policy") or "")
        assert response.header("cache-control") == "no-store, no-transform"

    @pytest.mark.parametrize("status", REFUSED)
    def test_are_a_call_with_jsonp(self, site: MemorySite, status: int) -> None:
        response = site.get(transport_path("jsonp", **REFUSED[status]), headers=OUR_SCRIPT)
        assert response.status == 200
        answer = read_answer("jsonp", response)
        assert [event["status"] for event in answer["events"]] == [status]

    @pytest.mark.parametrize("transport", ["sse", "frame", "jsonp"])
    def test_hold_nothing(self, site: MemorySite, transport: str) -> None:
        for query in REFUSED.values():
            site.get(transport_path(transport, **query))
        assert held(site) == {}

    def test_when_stopping_bring_an_event_source_back(self, site: MemorySite) -> None:
        """At another status than 200 a browser never tries again."""
        site.stop()
        response = site.get(transport_path("sse"))
        comes_back(response, 503)

    @pytest.mark.parametrize("transport", [each for each in SEEING if each != "sse"])
    def test_when_stopping_are_503_with_a_time(self, site: MemorySite, transport: str) -> None:
        site.stop()
        response = site.get(transport_path(transport))
        assert response.status == 503
        assert int(response.header("retry-after") or "") >= 1

    def test_when_the_log_is_out_of_reach(self, make_site: MakeSite) -> None:
        site = make_site(tail=5)
        site.fill(100)
        site.log.failing_reads = StorageUnavailable("The disk is away.", retry_after=2)
        path = transport_path("stream", backlog=50)
        assert site.get(path).status == 503
        assert site.get(path).header("retry-after") == "2"
        comes_back(site.get(transport_path("sse", backlog=50)), 503, least=2000)
        assert error_of(site.get(transport_path("frame", backlog=50)))["status"] == 503

    def test_a_traceback_is_in_no_body(self, site: MemorySite) -> None:
        site.chat.rooms.find = None  # type: ignore[method-assign, assignment]
        response = site.get(transport_path("stream"))
        assert response.status == 500
        assert "Traceback" not in response.text
        assert "NoneType" not in response.text
        (failure,) = site.take_failures()
        assert failure["log_failure"].check(TypeError)

    @pytest.mark.parametrize("transport", ["sse", "frame", "jsonp"])
    def test_a_defect_of_ours_is_told_to_who_sees_no_status(
        self, site: MemorySite, transport: str
    ) -> None:
        """An EventSource would never come back."""
        site.chat.rooms.find = None  # type: ignore[method-assign, assignment]
        response = site.get(transport_path(transport), headers=OUR_SCRIPT)
        assert "NoneType" not in response.text
        if transport == "sse":
            comes_back(response, 500)
        elif transport == "frame":
            assert error_of(response)["status"] == 500
        else:
            assert [each["status"] for each in read_answer(transport, response)["events"]] == [500]
        (failure,) = site.take_failures()
        assert failure["log_failure"].check(TypeError)


def comes_back(response: Response, status: int, least: int = 1000) -> None:
    """A refusal after which an EventSource opens its stream again.

    :param least: after so many milliseconds, at least.
    """
    assert (response.status, response.complete) == (200, True)
    assert response.header("content-type") == "text/event-stream"
    stream = decoders.read_event_stream(response.body)
    assert stream.retry is not None
    assert stream.retry >= least
    (event,) = decoders.read_sse(response.body)
    assert (event["type"], event["status"]) == ("error", status)
    assert event["last_event_id"] == ""


class TestWhoMayRead:
    @pytest.mark.parametrize("transport", ALL)
    def test_a_token_in_header_query_or_cookie(self, site: MemorySite, transport: str) -> None:
        token = site.log_in("alice")
        ways: list[dict[str, Any]] = [
            {"headers": {"Authorization": f"Bearer {token}"}},
            {"headers": {"Cookie": f"comet_session_memory={token}"}},
        ]
        if transport != "openchat":
            ways.append({"query": {"token": token}})
        for way in ways:
            connection = site.connect()
            query = {"rooms": "dev", **way.pop("query", {})}
            headers = {**headers_of(transport), **way.get("headers", {})}
            response = connection.request(
                "GET", transport_path(transport, **query), headers=headers
            )
            assert response.status == 200
            # A script can be loaded by any page, with its reader's cookie: there it can't count.
            counts = not (transport == "jsonp" and "Cookie" in way.get("headers", {}))
            assert people(site, "dev") == (["alice"] if counts else [])
            connection.close()
            site.advance(70)

    @pytest.mark.reads
    @pytest.mark.parametrize("transport", SEEING)
    @pytest.mark.parametrize("token", ["invalid", "x" * 500, "é", ""])
    def test_an_invalid_one_is_401(self, site: MemorySite, transport: str, token: str) -> None:
        path = transport_path(transport)
        for headers, query in (
            ({"Authorization": f"Bearer {token}"}, ""),
            ({"Cookie": f"comet_session_memory={token or 'x'}"}, ""),
            ({}, f"&token={quote(token)}"),
        ):
            response = site.get(path + query, headers=headers)
            assert response.status == 401
            assert response.header("www-authenticate")
            assert held(site) == {}

    def test_an_invalid_one_is_no_less_so_beside_a_valid_one(self, site: MemorySite) -> None:
        token = site.log_in("alice")
        headers = {"Cookie": f"comet_session_memory={token}"}
        assert site.get(transport_path("stream", token="invalid"), headers=headers).status == 401

    @pytest.mark.parametrize("transport", EVENTS)
    def test_somebody_without_a_session_where_reading_is_public(
        self, site: MemorySite, transport: str
    ) -> None:
        response = site.get(transport_path(transport), headers=headers_of(transport))
        assert response.status == 200
        assert b"error" not in response.body
        assert people(site) == []

    @pytest.mark.parametrize("transport", EVENTS)
    def test_nobody_without_a_session_where_it_is_not(
        self, make_site: MakeSite, transport: str
    ) -> None:
        site = make_site(public_reading=False)
        response = site.get(transport_path(transport), headers=headers_of(transport))
        if transport == "jsonp":
            assert read_answer("jsonp", response)["events"][0]["status"] == 401
        else:
            assert response.status == 401
        if transport == "frame":
            assert error_of(response)["status"] == 401
        assert site.get(transport_path(transport, token=site.log_in("alice"))).status == 200

    def test_nor_the_text_of_a_room(self, make_site: MakeSite) -> None:
        site = make_site(public_reading=False)
        assert site.get("/rooms/lobby.txt").status == 401
        token = site.log_in("alice")
        assert site.get(f"/rooms/lobby.txt?token={token}").status == 200


class TestOpenchatByForm:
    """`action=openchat` is a GET or a POST, and its fields are where forms put them."""

    FORM = "application/x-www-form-urlencoded"

    def post(self, site: MemorySite, fields: str, token: str) -> Response:
        headers = {"Content-Type": self.FORM, "Cookie": f"comet_session_memory={token}"}
        return site.request("POST", "/chat", headers=headers, body=fields.encode())

    def test_resumes_where_the_form_says(self, site: MemorySite) -> None:
        site.fill(5)
        token = site.log_in("alice")
        response = self.post(site, f"action=openchat&cursor={site.log.cursor(2)}", token)
        texts = [event.get("text") for event in decode("openchat", response)]
        assert texts == [None, "said 3", "said 4", "said 5"]

    def test_refuses_what_the_form_has_wrong(self, site: MemorySite) -> None:
        token = site.log_in("alice")
        assert self.post(site, "action=openchat&cursor=non+sense", token).status == 400
        assert held(site) == {}

    def test_takes_a_token_in_the_address_as_every_held_request(self, site: MemorySite) -> None:
        token = site.log_in("alice")
        response = site.get(transport_path("openchat", token=token))
        assert "Welcome alice" in response.text
        assert site.get(transport_path("openchat", token="invalid")).status == 401


class TestFirstBytes:
    """WebKit shows nothing of a document before 512 bytes of it are there."""

    @pytest.mark.parametrize("transport", ["frame", "text", "openchat"])
    def test_are_enough_for_what_a_browser_shows(self, site: MemorySite, transport: str) -> None:
        client = Client(site, transport, headers=SAFARI)
        assert len(client.response.body) >= 1024
        site.say("hi")
        assert client.texts() == ["hi"]

    def test_take_no_room_in_text(self, site: MemorySite) -> None:
        client = Client(site, "text", headers=SAFARI)
        first, *others = client.response.body.decode().split("\n")
        assert set(first) == {"\u200b"}
        assert "\u200b" not in "".join(others)

    @pytest.mark.parametrize("headers", [{}, {"Accept": "*/*"}, {**SAFARI, "Accept": "*/*"}])
    def test_are_not_there_for_programs(self, site: MemorySite, headers: dict[str, str]) -> None:
        client = Client(site, "text", headers=headers)
        assert "\u200b" not in client.response.body.decode()
