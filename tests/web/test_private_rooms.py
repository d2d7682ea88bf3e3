"""A room that somebody may not see, and rights that are taken away.

Every route of the app is walked, as a stranger, with the name of a hidden room and with one that
nobody has: both are answered alike, and no answer has a trace of what is in the room. What was held
by a right that is gone ends, on every transport.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import attrs
import pytest

from cometd_chat.chat.rights import Act, AnyRoom
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import InvalidToken
from cometd_chat.transports.table import TABLE
from cometd_chat.web.app import ChatApp
from cometd_chat.web.opening import Opening
from tests.chat.parts import now
from tests.memory import MakeSite, MemorySite
from tests.web.bayeux import FOREIGN, KINDS
from tests.web.bayeux import Client as BayeuxClient
from tests.web.refusals import problem
from tests.web.talkers import HANDSHAKE, Duplex, Socket
from tests.web.transports import OUR_SCRIPT, POLLS, STREAMS, Client

#: The hidden room and one that isn't there; as long as each other.
HIDDEN, ABSENT = "hideout", "nothere"

#: What is in the hidden room, and must not come out.
TOPIC, INSIDER, WHISPER = "plans-of-gold", "insider", "a-whisper-of-it"

TRACES = (TOPIC, INSIDER, WHISPER)

#: Of the classic servlet.
ACTIONS = ("", "form", "side", "openchat", "login", "post")

#: What differs from answer to answer by itself: tokens, nonces, ids of forms and of clients, and
#: when it was.
RANDOM = re.compile(r"[0-9-]{10}T[0-9:.]{8,12}Z|[A-Za-z0-9_-]{15,}")

#: Names of strangers, and of what they make; as long as each other.
NEW = re.compile("(?:who|new)[0-9]{6}")


def insiders_only(session: Session | None, act: Act, room: AnyRoom) -> bool:
    """The hidden room is for insiders."""
    insider = session is not None and session.name.startswith(INSIDER)
    return room.name != HIDDEN or insider


@pytest.fixture(params=[True, False], ids=["public reading", "private reading"])
def site(make_site: MakeSite, request: pytest.FixtureRequest) -> MemorySite:
    """A site with a hidden room, in which somebody is and has spoken."""
    site = make_site(public_reading=request.param)
    token = site.log_in(INSIDER)
    room = {"name": HIDDEN, "topic": TOPIC, "kind": "private"}
    assert site.post("/api/v1/rooms", room, token=token).status == 201
    another = insider(site)
    added = f"/api/v1/rooms/{HIDDEN}/members/{INSIDER}2"
    assert site.request("PUT", added, json={}, token=token).status == 201
    assert site.get(f"/api/v1/rooms/{HIDDEN}", token=another).status == 200
    site.say(WHISPER, HIDDEN, INSIDER)
    Client(site, "stream", token=token, rooms=HIDDEN)
    assert site.get(f"/api/v1/rooms/{HIDDEN}/people", token=token).json()["people"]
    return site


def insider(site: MemorySite) -> str:
    """The token of another who belongs to it."""
    return site._tokens.get(INSIDER + "2") or site.log_in(INSIDER + "2")


@attrs.frozen
class Visit:
    """A request for a route.

    :param path: with ``{room}`` where a room's name stands.
    :param body: as a form; sent as JSON, too, where it names no view.
    """

    method: str
    path: str
    body: dict[str, str]
    headers: dict[str, str] = attrs.field(factory=dict)


def visits() -> Iterator[Visit]:
    """Each route by each of its methods, with the fields that any of them reads."""
    for rule in ChatApp.app.url_map.iter_rules():
        path = rule.rule.replace("<name>", "{room}").replace("<path:rest>", "x")
        path = path.replace("<who>", "{new}").replace("<code>", "nothing")
        path = path.replace("<id>", "1").replace("<transport>", "trapdoor")
        path = path.replace("<slug>", "room-not-found").replace("<version>", "v")
        if rule.rule.startswith("/static/"):
            path = path.replace("{room}", "comet.js")
        query = {"rooms": "{room}", "room": "{room}", "callback": "heard", "wait": "0"}
        rows = [row for row in TABLE if row.path == rule.rule]
        headers = dict(OUR_SCRIPT)
        if rows and rows[0].upgrade:
            headers.update({name: value for name, value in HANDSHAKE.items() if name != "Host"})
        actions = (
            ("", "form", "side", "openchat", "login", "post") if rule.rule == "/chat" else ("",)
        )
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            for action in actions:
                asked = {**query, "action": action} if action else query
                asking = f"{path}?{urlencode(asked, safe='{}')}"
                yield Visit(method, asking, {}, headers)
                if method == "GET":
                    continue
                # Only what a page sends says which view it is from.
                for view in ("",) if path.startswith("/api/") else ("", "plain", "live"):
                    body = {
                        "room": "{room}",
                        "action": action,
                        "view": view,
                        "text": "hi",
                        "message": "hi",
                        "name": "{new}",
                        "username": "{new}",
                        "topic": "t",
                    }
                    # What is said into the rooms of the query, or else into the lobby.
                    where = asking if rows else path
                    yield Visit(method, where, body, headers)


class Stranger:
    """Somebody who is no insider, or nobody at all; somebody else once they are logged out, or have
    another name."""

    count = 0

    def __init__(self, site: MemorySite, *, logged_in: bool) -> None:
        self.site = site
        self.name = ""
        self.token: str | None = None
        self._logged_in = logged_in

    def _come(self) -> None:
        Stranger.count += 1
        self.new = f"new{Stranger.count:06}"
        if self._logged_in and not self._is_there():
            self.name = f"who{Stranger.count:06}"
            self.token = self.site.log_in(self.name)

    def _is_there(self) -> bool:
        if self.token is None:
            return False
        try:
            session = now(self.site.chat.sessions.by_token(self.token))
        except InvalidToken:
            return False
        return session.name == self.name

    def answers(self, visit: Visit, room: str) -> list[str]:
        """What is answered, without what is never twice the same."""
        self._come()
        path = visit.path.format(room=room, new=self.new)
        body = {name: value.format(room=room, new=self.new) for name, value in visit.body.items()}
        bodies: list[dict[str, Any]] = [{}]
        if body:
            form = "application/x-www-form-urlencoded"
            bodies = [{"body": urlencode(body).encode(), "headers": {"Content-Type": form}}]
            # Only forms tell a view.
            bodies += [] if body["view"] else [{"json": body}]
        found = []
        for each in bodies:
            headers = {**visit.headers, **each.pop("headers", {})}
            response = self.site.request(
                visit.method,
                path,
                token=self.token,
                headers=headers,
                address="127.0.0.1",
                **each,
            )
            self.site.turn()
            told = f"{response.status} {response.header('location')}\n{response.text}"
            for trace in TRACES:
                assert trace not in told, (visit, room)
            told = NEW.sub("WHO", told).replace(room, "ROOM")
            found.append(RANDOM.sub("RANDOM", told))
        # The next one finds the rooms as this one did.
        for there in self.site.chat.presence.people("lobby"):
            assert isinstance(there, Session)
            self.site.chat.presence.ended(there)
        return found


@pytest.mark.parametrize("logged_in", [False, True], ids=["nobody", "somebody"])
def test_no_route_tells_a_hidden_room_from_one_that_is_not_there(
    site: MemorySite, logged_in: bool
) -> None:
    walked = set()
    first, second = (Stranger(site, logged_in=logged_in) for _ in range(2))
    for visit in visits():
        if visit.path.startswith("/metrics"):
            continue  # It counts what was asked before.
        assert first.answers(visit, HIDDEN) == second.answers(visit, ABSENT), visit
        walked.add(visit.path.partition("?")[0])
    # The walk does walk: all that has a room in its path, and each transport.
    assert {row.path for row in TABLE} < walked
    assert {"/", "/chat", "/api/v1/rooms/{room}/messages/1", "/rooms/{room}/plain"} < walked
    said = site.get(f"/api/v1/rooms/{HIDDEN}/messages", token=insider(site)).json()
    assert [each["text"] for each in said["messages"]] == [WHISPER]
    there = site.chat.presence.people(HIDDEN)
    assert all(each.name.startswith(INSIDER) for each in there)


@pytest.mark.parametrize("logged_in", [False, True], ids=["nobody", "somebody"])
def test_no_route_gives_it_away_when_asked_for_another(site: MemorySite, logged_in: bool) -> None:
    """Lists, pages of other rooms, metrics, and what serves operating."""
    stranger = Stranger(site, logged_in=logged_in)
    for visit in visits():
        for told in stranger.answers(visit, "lobby"):
            assert HIDDEN not in told, visit


@pytest.mark.parametrize("path", ["/", "/rooms", "/rooms/lobby", "/api/v1/rooms"])
def test_lists_are_as_long_as_if_it_were_not_there(make_site: MakeSite, path: str) -> None:
    told = []
    for rooms in (("lobby", "dev"), ("lobby", "dev", HIDDEN)):
        site = make_site(rooms=rooms)
        site.chat.rights.change(insiders_only)
        text = site.get(path, token=site.log_in("mallory")).text
        told.append(RANDOM.sub("RANDOM", text.replace(site.now, "NOW")))
    assert told[0] == told[1]


@pytest.mark.parametrize("path", ["/", "/rooms", "/rooms/lobby", "/api/v1/rooms"])
def test_an_insider_finds_it_there(site: MemorySite, path: str) -> None:
    """What the walk looks at does show rooms."""
    assert HIDDEN in site.get(path, token=insider(site)).text


def test_nothing_that_is_held_elsewhere_hears_of_it(make_site: MakeSite) -> None:
    site = make_site(allow_origin=(FOREIGN,))
    site.chat.rights.change(insiders_only)
    token = site.log_in(INSIDER)
    site.post("/api/v1/rooms", {"name": HIDDEN, "topic": TOPIC}, token=token)
    mallory = site.log_in("mallory")
    readers = [Client(site, name, token=mallory, cursor=site.now) for name in (*STREAMS, *POLLS)]
    socket, duplex = Socket(site, token=mallory), Duplex(site, token=mallory)
    gateways = [
        BayeuxClient(site, kind, name=f"m{number}").joined("/chat/*", "/members/*")
        for number, kind in enumerate(KINDS)
    ]
    site.say(WHISPER, HIDDEN, INSIDER)
    site.post(f"/api/v1/rooms/{HIDDEN}/typing", token=token)
    Client(site, "stream", token=token, rooms=HIDDEN)
    site.say("aloud", "lobby", "bob")
    site.turn()
    shown = [json.dumps(reader.events()) for reader in readers]
    shown += [str(socket.events()), str(duplex.events())]
    shown += [json.dumps(gateway.delivered) for gateway in gateways]
    for told in shown:
        assert "aloud" in told
        assert not [trace for trace in (*TRACES, HIDDEN) if trace in told]


class TestBayeux:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("tree", ["/chat", "/members"])
    def test_a_channel_of_it_is_refused_as_one_that_is_not_there(
        self, make_site: MakeSite, kind: str, tree: str
    ) -> None:
        site = make_site(rooms=("lobby", HIDDEN), allow_origin=(FOREIGN,))
        site.chat.rights.change(insiders_only)
        client = BayeuxClient(site, kind, name="mallory")
        told = [
            json.dumps(client.subscribe(f"{tree}/{room}")["error"]).replace(room, "ROOM")
            for room in (HIDDEN, ABSENT)
        ]
        assert told[0] == told[1]
        said = [client.say("hi", room)["error"].replace(room, "ROOM") for room in (HIDDEN, ABSENT)]
        assert said[0] == said[1]
        assert site.log.last_id == 0

    @pytest.mark.parametrize("pattern", ["/chat/*", "/chat/**", "/**"])
    def test_a_wildcard_leaves_it_out_of_what_was_said_before(
        self, make_site: MakeSite, pattern: str
    ) -> None:
        site = make_site(rooms=("lobby", HIDDEN), allow_origin=(FOREIGN,))
        site.chat.rights.change(insiders_only)
        first = site.say("one")
        site.say(WHISPER, HIDDEN, INSIDER)
        site.say("two")
        client = BayeuxClient(site, name="mallory")
        ext = {"comet.replay": first["id"] - 1}
        client.joined(pattern, ext={"replay": {pattern: first["cursor"]}, **ext})
        site.say("three")
        assert WHISPER not in client.texts
        assert client.texts[-1] == "three"


class Work:
    """What is done for a request: calls of ours, and what is asked of what is kept."""

    def __init__(self, site: MemorySite, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = self.asked = 0
        for owner, name in ((site.log, "read"), (site.directory.store, "read")):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, ask: Any) -> Any:
        def counted(*args: Any, **named: Any) -> Any:
            self.asked += 1
            return ask(*args, **named)

        return counted

    def _profile(self, frame: Any, event: str, arg: object) -> None:
        if event == "call" and "cometd_chat" in frame.f_code.co_filename:
            self.calls += 1

    def of(self, site: MemorySite, path: str, token: str | None) -> tuple[int, int]:
        """Of one GET; the same again, so that nothing is made for the first time."""
        site.get(path, token=token)
        self.calls = self.asked = 0
        before = sys.getprofile()
        sys.setprofile(self._profile)
        try:
            site.get(path, token=token)
        finally:
            sys.setprofile(before)
        return self.calls, self.asked


@pytest.mark.parametrize("logged_in", [False, True], ids=["nobody", "somebody"])
@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/rooms/{}",
        "/api/v1/rooms/{}/people",
        "/api/v1/rooms/{}/members",
        "/api/v1/rooms/{}/messages",
        "/api/v1/rooms/{}/messages/1",
        "/api/v1/events/stream?rooms={}",
        "/api/v1/events/poll?rooms={}&wait=0",
        "/rooms/{}",
        "/rooms/{}/plain",
        "/rooms/{}.txt",
    ],
)
def test_it_takes_no_more_work(
    site: MemorySite, monkeypatch: pytest.MonkeyPatch, path: str, logged_in: bool
) -> None:
    """What takes longer can be told by a clock: so nothing more is looked at, nor asked of the log
    or the tables."""
    token = site.log_in("mallory") if logged_in else None
    work = Work(site, monkeypatch)
    hidden, absent = (work.of(site, path.format(room), token) for room in (HIDDEN, ABSENT))
    assert hidden[1] == absent[1]
    assert absent[0] > 20
    assert abs(hidden[0] - absent[0]) < absent[0] / 5, "a fifth of some microseconds"


def is_over(client: Client) -> bool:
    """Whether its response has come to its end."""
    return client.response.complete


class TestTakenAway:
    """Rights that are lost while something is held by them."""

    def take(self, site: MemorySite) -> None:
        site.chat.rights.change(insiders_only)
        site.turn()

    @pytest.fixture
    def site(self, make_site: MakeSite) -> MemorySite:
        return make_site(rooms=("lobby", HIDDEN), allow_origin=(FOREIGN,))

    @pytest.mark.parametrize("transport", [*STREAMS, *POLLS])
    @pytest.mark.parametrize("who", ["mallory", None])
    def test_ends_what_is_held(self, site: MemorySite, transport: str, who: str | None) -> None:
        token = site.log_in(who or "of-the-page") if who or transport == "openchat" else None
        held = Client(site, transport, token=token, rooms=HIDDEN, cursor=site.now)
        other = Client(site, "stream", cursor=site.now)
        assert not is_over(held)
        self.take(site)
        site.say(WHISPER, HIDDEN, INSIDER)
        assert is_over(held)
        assert b"may not read this any longer" in held.response.body
        assert WHISPER.encode() not in held.response.body
        # What needs no such right goes on.
        site.say("aloud")
        assert other.texts() == ["aloud"]

    @pytest.mark.parametrize("transport", [*STREAMS[:-1], *POLLS])
    def test_of_several_rooms_goes_on_in_the_others(self, site: MemorySite, transport: str) -> None:
        token = site.log_in("mallory")
        # Whoever speaks has come before.
        site.say("before")
        held = Client(site, transport, token=token, rooms=f"{HIDDEN},lobby", cursor=site.now)
        assert not is_over(held)
        self.take(site)
        site.say(WHISPER, HIDDEN, INSIDER)
        assert not is_over(held)
        site.say("aloud")
        assert b"aloud" in held.response.body
        assert WHISPER.encode() not in held.response.body

    def test_ends_a_talk_by_either_way(self, site: MemorySite) -> None:
        token = site.log_in("mallory")
        socket = Socket(site, token=token, rooms=HIDDEN)
        duplex = Duplex(site, token=token, rooms=HIDDEN)
        self.take(site)
        assert socket.closed_by() == (4000, "you may not read this any longer")
        assert duplex.response.complete
        assert site.log.last_id == 0

    def test_refuses_what_waits_to_be_said(self, site: MemorySite) -> None:
        """She may go on reading, and not speak."""
        socket = Socket(site, token=site.log_in("mallory"))
        site.chat.rights.change(lambda session, act, room: act is not Act.SPEAK)
        socket.say("hi")
        (refusal,) = socket.of("error")
        assert refusal["status"] == 403
        assert socket.closed_by() is None
        assert site.log.last_id == 0

    @pytest.mark.parametrize("kind", KINDS)
    def test_ends_subscriptions_of_bayeux(self, site: MemorySite, kind: str) -> None:
        client = BayeuxClient(site, kind, name="mallory")
        client.joined("/chat/lobby", f"/chat/{HIDDEN}", f"/members/{HIDDEN}")
        before = len(client.delivered)
        self.take(site)
        gone, *rest = client.delivered[before:]
        assert gone["channel"] == "/service/chat/notices"
        assert (gone["data"]["type"], gone["data"]["room"]) == ("bye", HIDDEN)
        assert rest == []
        site.say(WHISPER, HIDDEN, INSIDER)
        site.say("aloud")
        told = json.dumps(client.delivered[before + 1 :])
        assert "aloud" in told
        assert not [trace for trace in (WHISPER, INSIDER, HIDDEN) if trace in told]
        assert client.subscribe(f"/chat/{HIDDEN}")["error"].startswith("404:")

    def test_while_a_bayeux_client_subscribes(self, site: MemorySite) -> None:
        client = BayeuxClient(site, name="mallory")
        site.fill(5, HIDDEN)
        opened = site.chat.positions.open

        async def open_and_lose(*args: Any, **named: Any) -> Any:
            found = await opened(*args, **named)
            site.chat.rights.change(insiders_only)
            return found

        site.chat.positions.open = open_and_lose  # type: ignore[method-assign]
        assert client.subscribe(f"/chat/{HIDDEN}")["error"].startswith("404:")
        site.say(WHISPER, HIDDEN, INSIDER)
        assert client.texts == []

    @pytest.mark.parametrize(
        "path",
        [
            f"/api/v1/rooms/{HIDDEN}/messages",
            f"/api/v1/rooms/{HIDDEN}/messages/1",
            f"/rooms/{HIDDEN}",
            f"/rooms/{HIDDEN}/plain",
        ],
    )
    def test_while_the_log_is_read_for_a_page(self, site: MemorySite, path: str) -> None:
        site.say(WHISPER, HIDDEN, INSIDER)
        site.chat.feed.tail.max_items = 0
        site.log.holding_reads = True
        waiting = site.get(path)
        assert site.log.waiting_reads == 1
        self.take(site)
        site.log.answer_read()
        site.turn()
        assert waiting.status == 404
        assert WHISPER not in waiting.text

    def test_while_the_log_is_read_for_a_stream(self, site: MemorySite) -> None:
        site.log.holding_reads = True
        waiting = site.get(f"/api/v1/events/stream?rooms={HIDDEN}&backlog=5")
        assert site.log.waiting_reads == 1
        self.take(site)
        site.log.answer_read()
        site.turn()
        problem(site, waiting, 404, "room-not-found")


class TestEqualPolls:
    """A poll that equals the one before it is held without its checks; not when one of these has
    changed."""

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """How often the checks were made."""
        made: list[str] = []
        read = Opening.read

        def note(self: Opening, request: Any, *args: Any) -> Any:
            made.append(request.uri.decode())
            return read(self, request, *args)

        monkeypatch.setattr(Opening, "read", note)
        return made

    def poll(self, site: MemorySite, connection: Any, token: str, **query: str) -> Any:
        fields = {"rooms": HIDDEN, "cursor": site.now, **query}
        return connection.request("GET", f"/api/v1/events/poll?{urlencode(fields)}", token=token)

    @pytest.fixture
    def polling(self, make_site: MakeSite, asked: list[str]) -> tuple[MemorySite, Any, str]:
        """Somebody whose poll was answered, and whose next one would be equal to it."""
        site = make_site(rooms=("lobby", HIDDEN), allow_origin=(FOREIGN,))
        token, connection = site.log_in("mallory"), site.connect()
        for number in (1, 2):
            response = self.poll(site, connection, token)
            assert not response.complete
            site.fill(number, HIDDEN)
            assert response.complete
        assert len(asked) == 1
        return site, connection, token

    def session(self, site: MemorySite, name: str = "mallory") -> Session:
        (found,) = [each for each in site.chat.presence.people(HIDDEN) if each.name == name]
        assert isinstance(found, Session)
        return found

    def test_are_held(self, polling: tuple[MemorySite, Any, str], asked: list[str]) -> None:
        site, connection, token = polling
        assert not self.poll(site, connection, token).complete
        assert len(asked) == 1

    def test_when_a_right_is_gone(
        self, polling: tuple[MemorySite, Any, str], asked: list[str]
    ) -> None:
        site, connection, token = polling
        site.chat.rights.change(insiders_only)
        problem(site, self.poll(site, connection, token), 404, "room-not-found")

    def test_when_rights_have_changed_for_others(
        self, polling: tuple[MemorySite, Any, str], asked: list[str]
    ) -> None:
        site, connection, token = polling
        site.chat.rights.change(lambda session, act, room: True)
        assert not self.poll(site, connection, token).complete
        assert len(asked) == 2

    def test_when_another_thing_is_asked_for(
        self, polling: tuple[MemorySite, Any, str], asked: list[str]
    ) -> None:
        site, connection, token = polling
        assert not self.poll(site, connection, token, rooms="lobby").complete
        assert len(asked) == 2

    def test_when_there_is_no_plain_cursor(
        self, polling: tuple[MemorySite, Any, str], asked: list[str]
    ) -> None:
        site, connection, token = polling
        answer = self.poll(site, connection, token, cursor="%")
        problem(site, answer, 400, "invalid-cursor")

    @pytest.mark.parametrize("cursor", ["a b", "1" * 513])
    def test_when_it_is_no_cursor(
        self, polling: tuple[MemorySite, Any, str], asked: list[str], cursor: str
    ) -> None:
        site, connection, token = polling
        problem(site, self.poll(site, connection, token, cursor=cursor), 400, "invalid-cursor")
        assert len(asked) == 2

    def test_when_it_is_far_behind(
        self, polling: tuple[MemorySite, Any, str], asked: list[str]
    ) -> None:
        site, connection, token = polling
        site.chat.feed.max_behind = 5
        site.fill(300, HIDDEN)
        answer = self.poll(site, connection, token, cursor=site.log.cursor(1))
        assert answer.json()["events"][0]["type"] == "gap"
        assert len(asked) == 2

    def test_when_the_daemon_stops(
        self, polling: tuple[MemorySite, Any, str], asked: list[str]
    ) -> None:
        site, connection, token = polling
        site.chat.rights.stopping = True
        problem(site, self.poll(site, connection, token), 503, "shutting-down")

    def test_when_the_session_has_ended(
        self, polling: tuple[MemorySite, Any, str], asked: list[str]
    ) -> None:
        site, connection, token = polling
        assert site.request("DELETE", "/api/v1/session", token=token).status == 204
        problem(site, self.poll(site, connection, token), 401, "invalid-token")

    def test_when_its_name_is_free(
        self, polling: tuple[MemorySite, Any, str], asked: list[str]
    ) -> None:
        site, connection, token = polling
        site.chat.sessions.free_name(self.session(site))
        site.log_in("mallory")
        problem(site, self.poll(site, connection, token), 409, "name-taken")

    def test_when_the_token_was_replaced(
        self, polling: tuple[MemorySite, Any, str], asked: list[str]
    ) -> None:
        site, connection, token = polling
        assert site.post("/api/v1/session", {"name": "carol"}, token=token).status == 200
        problem(site, self.poll(site, connection, token), 401, "invalid-token")

    def test_when_its_token_grows_old(
        self, polling: tuple[MemorySite, Any, str], asked: list[str]
    ) -> None:
        """Then it is written down that it was used."""
        site, connection, token = polling
        session = self.session(site)
        session.expires_at -= 2 * 86400
        before = session.expires_at
        assert not self.poll(site, connection, token).complete
        assert len(asked) == 2
        assert session.expires_at > before
