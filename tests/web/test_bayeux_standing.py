"""Connects that come again by one connection: the same replies as by the way of any request.

What stands is what `LaneConnection` has; a test that is about the short way sees to it that it was
taken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cometd_chat.bayeux.extensions import BaseExtension
from cometd_chat.bayeux.server import BayeuxServer
from cometd_chat.fastlane.connection import LaneConnection
from cometd_chat.fastlane.heads import MAX_REMEMBERED
from cometd_chat.web.bayeux_standing import StandingPoll
from tests.examples import examples
from tests.memory import MemorySite
from tests.net import STEP
from tests.web.bayeux import Line, cookie_header, take_cookies
from tests.web.talkers import HANDSHAKE as UPGRADE
from tests.wire import Connection, Response

Message = dict[str, Any]

FREE = "/app/x"

#: How stock clients write a connect: the order of its fields, and what is in them. The first is
#: CometD's, the second Faye's.
STYLES = {
    "cometd": '[{"id":"%(id)s","channel":"/meta/connect","connectionType":"long-polling",'
    '"clientId":"%(client)s"}]',
    "cometd, ack": '[{"id":"%(id)s","channel":"/meta/connect","connectionType":"long-polling",'
    '"clientId":"%(client)s","ext":{"ack":%(ack)s}}]',
    "faye": '[{"channel":"/meta/connect","clientId":"%(client)s",'
    '"connectionType":"long-polling","id":"%(id)s"}]',
    "spaced": '{"ext": {"ack": %(ack)s}, "channel": "/meta/connect", "clientId": "%(client)s", '
    '"id": "%(id)s"}',
}


@attrs.define(eq=False)
class Poller:
    """A client that polls by one connection, and asks for the rest by others.

    :param style: how it writes its connects.
    """

    site: MemorySite
    style: str
    name: str
    headers: dict[str, str] = attrs.field(factory=dict)
    connection: Connection = attrs.field(init=False)
    id: str = attrs.field(init=False, default="")
    token: str = attrs.field(init=False, default="")
    ack: int = attrs.field(init=False, default=0)
    number: int = attrs.field(init=False, default=100)
    poll: Response | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.connection = self.site.connect()
        self.handshake()
        for channel in ("/chat/lobby", FREE):
            assert self.ask("/meta/subscribe", subscription=channel)["successful"]

    def post(self, connection: Connection, *messages: Message) -> Response:
        body = json.dumps(messages).encode()
        return self.send(connection, body)

    def send(self, connection: Connection, body: bytes) -> Response:
        headers = {"Content-Type": "application/json", **self.headers}
        return connection.request("POST", "/cometd", body=body, headers=headers)

    def ask(self, channel: str, **fields: Any) -> Message:
        message = {"id": "1", "channel": channel, "clientId": self.id, **fields}
        replies: list[Message] = self.post(self.site.connect(), message).json()
        return replies[-1]

    def handshake(self, name: str | None = None) -> None:
        ext: Message = {"authentication": {"name": name or self.name}}
        if "ack" in self.style:
            ext["ack"] = True
        reply = self.ask(
            "/meta/handshake", version="1.0", supportedConnectionTypes=["long-polling"], ext=ext
        )
        assert reply["successful"], reply
        self.id = reply["clientId"]
        self.token = reply["ext"]["authentication"]["token"]

    def written(self, *, id: str | None = None, ack: object = None) -> bytes:
        """Its next connect."""
        self.number += 1
        said = {
            "id": str(self.number) if id is None else id,
            "client": self.id,
            "ack": json.dumps(self.ack if ack is None else ack),
        }
        return (STYLES[self.style] % said).encode()

    def message(self) -> Message:
        """The same, as it is meant."""
        said = json.loads(self.written())
        found: Message = said[0] if isinstance(said, list) else said
        return found

    def connect(self, **written: Any) -> Response:
        """Send its next connect."""
        if self.connection.closed:
            self.connection = self.site.connect()
        self.poll = self.send(self.connection, self.written(**written))
        return self.poll

    def heard(self) -> list[Message]:
        """The answer to its last connect, from which it takes what it confirms next."""
        assert self.poll is not None
        messages: list[Message] = self.poll.json()
        self.ack = messages[-1].get("ext", {}).get("ack", self.ack)
        return messages

    @property
    def texts(self) -> list[str]:
        return [each["data"]["text"] for each in self.heard() if "data" in each]

    @property
    def is_held(self) -> bool:
        """Whether its last connect waits for an answer."""
        return self.poll is not None and not self.poll.complete

    @property
    def is_answered(self) -> bool:
        """Whether its last connect is."""
        return self.poll is not None and self.poll.complete

    @property
    def stands(self) -> bool:
        """Whether its connection waits for the same again, or has it under way."""
        channel = None if self.connection.closed else self.connection.channel
        return isinstance(channel, LaneConnection) and isinstance(channel._standing, StandingPoll)

    @property
    def is_short(self) -> bool:
        """Whether its poll, which is held, came by the short way."""
        channel = None if self.connection.closed else self.connection.channel
        return isinstance(channel, LaneConnection) and isinstance(channel._request, StandingPoll)

    def settle(self) -> Poller:
        """Go on until its poll is held and came by the short way."""
        own = f"/app/of/{self.name}"
        assert self.ask("/meta/subscribe", subscription=own)["successful"]
        for _ in range(6):
            response = self.connect()
            if not response.complete:
                if self.is_short:
                    return self
                assert self.ask(own, data={"text": "settling"})["successful"]
            self.heard()
        raise AssertionError("it never came by the short way")


@pytest.fixture
def servers() -> list[BayeuxServer]:
    """The server of the site."""
    return []


@pytest.fixture
def site(servers: list[BayeuxServer]) -> Iterator[MemorySite]:
    with MemorySite(bayeux_channels=("/app/**",), embed=servers.append) as made:
        yield made


@pytest.mark.parametrize("style", STYLES)
def test_it_hears_everything_once(site: MemorySite, style: str) -> None:
    alice = Poller(site, style, "alice").settle()
    for number in range(150):
        # A few times its id or its number grows by a digit: then it comes the long way, twice.
        site.say(f"n{number}")
        assert alice.texts == [f"n{number}"]
        if number % 3 == 0:
            site.say(f"m{number}")
            assert alice.connect().complete, "it is answered at once"
            assert alice.texts == [f"m{number}"]
        assert not alice.connect().complete
    assert alice.is_short


def test_by_the_ordinary_way_of_bytes() -> None:
    """Where nothing goes past Twisted's buffers, the answer is read when they are empty."""
    with MemorySite(bayeux_channels=("/app/**",), direct_write=False) as site:
        alice = Poller(site, "cometd, ack", "alice")
        for number in range(5):
            if alice.connect().complete:
                # The first is answered at once.
                alice.heard()
                alice.connect()
            site.say(f"n{number}")
            assert alice.texts == [f"n{number}"]


@pytest.mark.parametrize("style", STYLES)
def test_many_who_are_level_are_told_the_same(site: MemorySite, style: str) -> None:
    pollers = [Poller(site, style, f"p{number}").settle() for number in range(5)]
    for _ in range(3):
        site.say("hello")
        publish = pollers[0].ask(FREE, data={"text": "free"})
        assert publish["successful"]
        for each in pollers:
            assert each.texts == ["hello"]
            assert each.heard()[-1]["id"] == str(each.number)
            assert each.connect().complete
            assert each.texts == ["free"]
            each.connect()


def test_what_was_not_confirmed_comes_again(site: MemorySite) -> None:
    """A client that confirms by number says which reply it has, whatever its connection does."""
    alice = Poller(site, "cometd, ack", "alice").settle()
    before = alice.ack
    site.say("one")
    assert alice.texts == ["one"]
    alice.connect(ack=before)
    assert alice.texts == ["one"], "the last reply counts as lost"
    alice.connect()
    site.say("two")
    assert alice.texts == ["two"]


def test_a_reply_that_is_lost_comes_again(site: MemorySite) -> None:
    alice = Poller(site, "cometd", "alice").settle()
    alice.connection.reset()
    site.say("one")
    alice.connection = site.connect()
    alice.connect()
    assert alice.texts == ["one"]
    alice.settle()
    alice.connection.socket.acknowledges = False
    site.say("two")
    assert alice.texts == ["two"]
    alice.connection.reset()
    alice.connection = site.connect()
    alice.connect()
    assert alice.texts == ["two"], "the connection broke before it asked again"


def test_it_is_held_for_as_long_as_any(site: MemorySite, servers: list[BayeuxServer]) -> None:
    timeout = servers[0].options.timeout
    alice = Poller(site, "faye", "alice").settle()
    for _ in range(3):
        site.advance(timeout - 2)
        assert alice.is_held
        site.say("hello")
        assert alice.texts == ["hello"]
        alice.connect()
        assert alice.is_short
        site.advance(timeout - 2)
        assert alice.is_held, "it counts from when it came again"
        site.advance(3)
        assert alice.heard()[-1]["successful"]
        assert not alice.connect().complete
        assert alice.is_short
    assert servers[0].connects.held == 1


def test_it_ends_when_it_is_not_heard_of(site: MemorySite, servers: list[BayeuxServer]) -> None:
    options = servers[0].options
    alice = Poller(site, "faye", "alice").settle()
    site.advance(options.timeout + 1)
    assert alice.heard()[-1]["successful"]
    site.advance(options.max_interval - 2)
    assert not alice.connect().complete
    site.advance(options.timeout + options.max_interval + 3)
    assert alice.id not in servers[0].clients
    assert not alice.stands
    assert alice.connect().complete
    assert alice.heard()[-1]["advice"]["reconnect"] == "handshake"


def test_what_is_held_counts(site: MemorySite, servers: list[BayeuxServer]) -> None:
    """What a metric or a limit counts comes back to nothing."""
    alice = Poller(site, "faye", "alice").settle()
    held = 'comet_chat_held_requests{transport="bayeux-long-polling"}'
    values = [line for line in site.metrics.splitlines() if line.startswith(held[:24])]
    counting = [line for line in values if "long" in line and line.endswith(" 1.0")]
    assert counting, values
    assert servers[0].connects.held == 1
    site.say("hello")
    assert servers[0].connects.held == 0
    alice.connect()
    alice.connection.reset()
    site.turn()
    assert servers[0].connects.held == 0
    assert not [line for line in site.metrics.splitlines() if line == counting[0]]


def test_an_address_holds_no_more_than_it_may(site: MemorySite) -> None:
    site.chat.limits.on = True  # type: ignore[attr-defined]
    alice = Poller(site, "faye", "alice").settle()
    site.say("hello")
    alice.heard()
    for _ in range(256):
        site.chat.limits.hold("192.0.2.7")
    refused = alice.connect()
    assert refused.status == 429
    site.chat.limits.let_go("192.0.2.7")
    assert not alice.connect().complete


# -- what ends it: each does something to a client that stands, and gives what its next connect gets


def _disconnects(alice: Poller) -> str:
    assert alice.ask("/meta/disconnect")["successful"]
    return "402"


def _logs_out(alice: Poller) -> str:
    site = alice.site
    assert site.request("DELETE", "/api/v1/session", token=alice.token).status == 204
    return "402"


def _is_ended_by_the_server(alice: Poller, server: BayeuxServer) -> str:
    server.clients[alice.id].disconnect()
    alice.site.turn()
    return "402"


def _is_renewed(alice: Poller, server: BayeuxServer) -> str:
    server.clients[alice.id].renew(1)
    alice.site.turn()
    return "402"


def _connects_elsewhere(alice: Poller) -> str:
    replaced = not alice.is_answered
    other = alice.send(alice.site.connect(), alice.written())
    assert not other.complete
    assert not replaced or "connect" in alice.heard()[-1]["error"]
    return "held"


def _opens_a_socket(alice: Poller) -> str:
    replaced = not alice.is_answered
    line = Line(alice.site, "/cometd", UPGRADE, "192.0.2.7")
    message = {"channel": "/meta/connect", "connectionType": "websocket", "clientId": alice.id}
    line.send([{**message, "id": "1"}])
    assert not replaced or "connect" in alice.heard()[-1]["error"]
    return "held"


def _shakes_hands_again(alice: Poller) -> str:
    """Its page is loaded again, perhaps: both are clients of their own."""
    old = alice.id
    alice.handshake(name="another")
    alice.id = old
    return "held"


class _Marking(BaseExtension):
    def outgoing(self, message: Message, client: Any, request: Any) -> Message:
        return {**message, "marked": True}


def _has_an_extension(alice: Poller, server: BayeuxServer) -> str:
    server.clients[alice.id].extensions.append(_Marking())
    return "marked"


def _meets_an_extension(alice: Poller, server: BayeuxServer) -> str:
    server.extensions.append(_Marking())
    return "marked"


def _batches(alice: Poller) -> str:
    connect = alice.message()
    other = {"channel": FREE, "clientId": alice.id, "id": "9", "data": {"text": "batch"}}
    connect["id"] = "10"
    if not alice.is_answered:
        return "held"
    answer = alice.post(alice.connection, connect, other).json()
    assert [each["channel"] for each in answer].count("/meta/connect") == 1
    return "held"


def _loses_its_connection(alice: Poller) -> str:
    alice.connection.reset()
    alice.connection = alice.site.connect()
    return "held"


def _expires(alice: Poller, server: BayeuxServer) -> str:
    alice.site.advance(server.options.timeout + 1)
    alice.site.advance(server.options.max_interval + 2)
    return "402"


def _sheds(alice: Poller, server: BayeuxServer) -> str:
    server.clients[alice.id].shed(1)
    alice.site.turn()
    return "402"


ENDS: dict[str, Callable[..., str]] = {
    each.__name__.strip("_"): each
    for each in (
        _disconnects,
        _logs_out,
        _is_ended_by_the_server,
        _is_renewed,
        _connects_elsewhere,
        _opens_a_socket,
        _shakes_hands_again,
        _has_an_extension,
        _meets_an_extension,
        _batches,
        _loses_its_connection,
        _expires,
        _sheds,
    )
}


@pytest.mark.parametrize("held", [True, False], ids=["held", "at rest"])
@pytest.mark.parametrize("end", ENDS)
def test_what_ends_it(site: MemorySite, servers: list[BayeuxServer], end: str, held: bool) -> None:
    """The next connect gets what any request would."""
    alice = Poller(site, "faye", "alice").settle()
    if not held:
        site.say("hello")
        assert alice.texts == ["hello"]
    if ENDS[end].__code__.co_argcount == 1:
        expected = ENDS[end](alice)
    else:
        expected = ENDS[end](alice, servers[0])
    if not alice.is_answered and end != "loses_its_connection":
        site.say("hello")
        assert alice.texts == ["hello"]
    poll = alice.connect()
    if expected == "402":
        assert alice.heard()[-1]["error"].startswith("402")
        assert not alice.stands
    else:
        if poll.complete and expected == "held":
            # What it has missed is told at once.
            poll = alice.connect()
        assert not poll.complete
        site.say("more")
        assert alice.texts == ["more"]
        assert ("marked" in alice.heard()[-1]) is (expected == "marked")


def test_a_cookie_that_was_kept_is_asked_for(site: MemorySite) -> None:
    """Whoever shows no cookie is let in until the client is known to keep it."""
    alice = Poller(site, "faye", "alice")
    jar: dict[str, str] = {}
    ext = {"authentication": {"name": "carol"}}
    shake = {"channel": "/meta/handshake", "version": "1.0", "ext": ext}
    answer = alice.post(site.connect(), {**shake, "supportedConnectionTypes": ["long-polling"]})
    take_cookies(jar, answer)
    alice.id = answer.json()[0]["clientId"]
    alice.name = "carol"
    alice.settle()
    other = {"channel": "/meta/unsubscribe", "subscription": FREE, "clientId": alice.id, "id": "1"}
    headers = {"Content-Type": "application/json", **cookie_header(jar)}
    body = json.dumps([other]).encode()
    response = site.connect().request("POST", "/cometd", body=body, headers=headers)
    assert response.json()[0]["successful"]
    site.advance(26)
    assert alice.heard()[-1]["successful"]
    alice.connect()
    assert alice.heard()[-1]["error"].startswith("402")


def test_windows_of_one_browser_share_its_connections(
    site: MemorySite, servers: list[BayeuxServer]
) -> None:
    """A browser holds few requests to a host: who comes on top is told to wait a little."""
    cookie = {"Cookie": "BAYEUX_BROWSER=0123456789abcdef"}
    most = servers[0].options.max_sessions_per_browser
    windows = [Poller(site, "cometd", f"p{number}", cookie).settle() for number in range(most)]
    for _ in range(3):
        site.say("hello")
        for each in windows:
            assert each.texts == ["hello"]
            assert each.heard()[-1]["advice"]["interval"] == 0
            assert not each.connect().complete
            assert each.is_short
    another = Poller(site, "cometd", "another", cookie)
    another.connect()
    another.connect()
    assert another.heard()[-1]["advice"]["multiple-clients"]


def test_a_server_that_stops(site: MemorySite, servers: list[BayeuxServer]) -> None:
    alice = Poller(site, "faye", "alice").settle()
    carol = Poller(site, "faye", "carol").settle()
    site.say("hello")
    assert alice.texts == carol.texts == ["hello"]
    servers[0].stop()
    alice.connect()
    assert alice.poll is not None
    assert not alice.poll.complete
    assert alice.connection.closed, "it is cut off, as any request then"


# -- what is not the same


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"id":"', b'"id": "'),
        (b"long-polling", b"websocket"),
        (b"}]", b',"advice":{"timeout":0}}]'),
        (b"}]", b',"ext":{"timesync":{"tc":1,"l":0,"o":0}}}]'),
        (b"}]", b',"ext":{"ack":3}}]'),
        (b"}]", b',"data":1}]'),
        (b"}]", b',"id":"77"}]'),
        (b"}]", b"}] "),
        (b"[{", b"[{}, {"),
    ],
    ids=repr,
)
def test_another_message_goes_the_long_way(site: MemorySite, old: bytes, new: bytes) -> None:
    with MemorySite(fast_lane=False, bayeux_channels=("/app/**",)) as plain:
        answers = []
        for each in (site, plain):
            alice = Poller(each, "faye", "alice")
            for _ in range(3):
                alice.connect()
                each.say("hello")
                alice.heard()
            alice.poll = alice.send(alice.connection, alice.written().replace(old, new))
            each.say("hello")
            assert not alice.is_short
            found = alice.poll.text.replace(alice.id, "ID")
            answers.append(re.sub(r'"at":"[^"]*"|"cursor":"[^"]*"|"timesync":{[^}]*}', "", found))
        assert answers[0] == answers[1]


@pytest.mark.parametrize("id", ['\\"', "\\u00", "a b", "a,b", "a\n", "ü"])
def test_an_id_that_json_writes_in_another_way(site: MemorySite, id: str) -> None:
    alice = Poller(site, "faye", "alice").settle()
    site.say("hello")
    alice.heard()
    # As long as the last.
    body = alice.written(id="X" * 3)
    body = body.replace(b"XXX", id.encode().ljust(3, b"0")[:3])
    poll = alice.send(alice.connection, body)
    assert not alice.is_short
    if poll.complete:
        assert poll.status == 400
    else:
        site.say("hello")
        assert poll.json()[-1]["id"] == json.loads(body)[0]["id"]


def test_numbers_that_json_does_not_know(site: MemorySite) -> None:
    alice = Poller(site, "cometd, ack", "alice")
    for _ in range(12):
        alice.connect()
        site.say("hello")
        alice.heard()
    assert alice.ack > 10
    assert alice.is_short or alice.stands
    body = alice.written(ack=alice.ack).replace(b'"ack":1', b'"ack":0')
    assert alice.send(alice.connection, body).status == 400


# -- anything, both ways

CLIENTS = 2

actions = st.one_of(
    st.tuples(st.just("connect"), st.integers(0, CLIENTS - 1)),
    st.tuples(st.just("connect"), st.integers(0, CLIENTS - 1)),
    st.tuples(st.just("connect"), st.integers(0, CLIENTS - 1)),
    st.tuples(st.just("say"), st.just(0)),
    st.tuples(st.just("say"), st.just(0)),
    st.tuples(st.just("publish"), st.integers(0, CLIENTS - 1)),
    st.tuples(
        st.sampled_from(
            [
                *("publish here", "same id", "old ack", "wrong ack", "elsewhere", "hurried"),
                *("with subscribe", "unsubscribe", "handshake", "disconnect", "reset", "close"),
                *("socket", "two at once", "split", "extension", "lazily"),
            ]
        ),
        st.integers(0, CLIENTS - 1),
    ),
    st.tuples(st.just("wait"), st.sampled_from([1, 12, 26, 70])),
)


class Played:
    """A site on which something is played, and all that came back."""

    def __init__(self, style: str, *, browser: bool, fast: bool) -> None:
        self._stack = ExitStack()
        servers: list[BayeuxServer] = []
        made = MemorySite(bayeux_channels=("/app/**",), embed=servers.append)
        self.site = self._stack.enter_context(made)
        self.server = servers[0]
        self.responses: list[Response] = []
        self.lines: list[Line] = []
        self.count = self.short = 0
        # Of a request with so long a head nothing is remembered. (Klein, too, takes the long way;
        # but several requests that are sent at once it takes in other turns of the reactor.)
        headers = {} if fast else {"X-Padding": "x" * MAX_REMEMBERED}
        if browser:
            # Both are windows of one browser, which holds a connect at a time for us.
            headers["Cookie"] = "BAYEUX_BROWSER=0123456789abcdef"
            self.server.connects._held._by_browser._most = 1
        names = [f"p{number}" for number in range(CLIENTS)]
        self.clients = [Poller(self.site, style, name, headers) for name in names]
        self.ids = {client.id: f"ID{number}" for number, client in enumerate(self.clients)}
        for client in self.clients:
            # As any that is under way; not all examples would come as far.
            for _ in range(4):
                self.connect(client)
                if not client.is_answered:
                    self.play("say", 0)
            self.connect(client)

    def connect(self, client: Poller, **written: Any) -> None:
        # Each has a moment of its own to be over: what is over in the same one is answered in any
        # order, and so is what waits behind it.
        self.site.advance(STEP)
        if client.poll is not None and client.is_answered and client.poll.status == 200:
            client.heard()
        self.responses.append(client.connect(**written))
        self.short += client.is_short

    def play(self, action: str, what: int) -> None:
        self.count += 1
        site = self.site
        client = self.clients[what if what < CLIENTS else 0]
        if action == "connect":
            self.connect(client)
        elif action == "say":
            site.say(f"said {self.count}")
        elif action == "wait":
            site.advance(what)
        elif action == "publish":
            message = {"channel": FREE, "data": {"text": f"free {self.count}"}}
            self.post(client, site.connect(), {**message, "clientId": client.id, "id": "5"})
        elif action == "publish here":
            message = {"channel": FREE, "data": {"text": f"free {self.count}"}}
            self.post(client, client.connection, {**message, "clientId": client.id, "id": "5"})
        elif action == "same id":
            client.number -= 1
            self.connect(client)
        elif action == "old ack":
            self.connect(client, ack=max(0, client.ack - 2))
        elif action == "wrong ack":
            self.connect(client, ack=999)
        elif action == "elsewhere":
            client.connection = site.connect()
            self.connect(client)
        elif action == "hurried":
            connect = client.message()
            self.post(client, client.connection, {**connect, "advice": {"timeout": 0}})
        elif action == "with subscribe":
            connect = client.message()
            more = {"channel": "/meta/subscribe", "subscription": "/app/y", "id": "6"}
            self.post(client, client.connection, connect, {**more, "clientId": client.id})
        elif action == "unsubscribe":
            message = {"channel": "/meta/unsubscribe", "subscription": FREE, "id": "7"}
            self.post(client, site.connect(), {**message, "clientId": client.id})
        elif action == "handshake":
            client.handshake(f"again {self.count}")
            self.ids[client.id] = f"ID{len(self.ids)}"
        elif action == "disconnect":
            message = {"channel": "/meta/disconnect", "id": "8", "clientId": client.id}
            self.post(client, site.connect(), message)
        elif action in ("reset", "close"):
            client.connection.reset() if action == "reset" else client.connection.close()
            client.connection = site.connect()
        elif action == "socket":
            line = Line(site, "/cometd", UPGRADE, "192.0.2.7")
            message = {"channel": "/meta/connect", "connectionType": "websocket", "id": "9"}
            line.send([{**message, "clientId": client.id}])
            self.lines.append(line)
        elif action == "two at once":
            first, second = client.connection.expect("POST"), client.connection.expect("POST")
            client.connection.send(self.raw(client) + self.raw(client))
            self.responses += [first, second]
        elif action == "split":
            response = client.connection.expect("POST")
            raw = self.raw(client)
            client.connection.send(raw[:200])
            client.connection.send(raw[200:])
            self.responses.append(response)
        elif action == "extension":
            found = self.server.clients.get(client.id)
            if found is not None:
                found.extensions.append(_Marking())
        elif action == "lazily":
            self.server.publish(FREE, {"text": f"lazy {self.count}"}, lazy=True)

    def post(self, client: Poller, connection: Connection, *messages: Message) -> None:
        self.responses.append(client.post(connection, *messages))

    def raw(self, client: Poller) -> bytes:
        body = client.written()
        lines = {"Host": "127.0.0.1:8080", "Content-Type": "application/json", **client.headers}
        lines["Content-Length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"POST /cometd HTTP/1.1\r\n{head}\r\n".encode() + body

    def seen(self) -> list[object]:
        """All that came back, but for what is random or the time."""
        found: list[object] = []
        for response in self.responses:
            headers = {name: each for name, each in response.headers.items() if name != "date"}
            found.append((response.status, response.complete, headers, self.shown(response.text)))
        for line in self.lines:
            found.append(
                [(opcode, self.shown(data.decode("latin-1"))) for opcode, data in line.frames]
            )
        return found

    def shown(self, text: str) -> str:
        for id, name in self.ids.items():
            text = text.replace(id, name)
        return re.sub(r'"at":"[^"]*"|"cursor":"[^"]*"|"id":"[0-9a-f]{20,}"', "", text)

    def close(self) -> None:
        self._stack.close()


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(STYLES)), st.booleans(), st.lists(actions, max_size=25))
@example("cometd", False, [*[("connect", 1)] * 3, ("two at once", 1)])
@example("cometd", False, [("connect", 0), ("connect", 0), ("publish here", 0)])
def test_both_ways_answer_alike(style: str, browser: bool, played: list[tuple[str, int]]) -> None:
    with ExitStack() as stack:
        sides = [Played(style, browser=browser, fast=fast) for fast in (True, False)]
        for each in sides:
            stack.callback(each.close)
        for action, what in played:
            for each in sides:
                each.play(action, what)
            assert sides[0].seen() == sides[1].seen(), (action, what)
        # Connects that wait for each other on one connection are held one after the other.
        for each in sides:
            each.site.advance(300)
        assert sides[0].seen() == sides[1].seen()
        assert sides[0].short
        assert not sides[1].short
        for each in sides:
            assert not each.server.clients
            assert each.server.connects.held == 0
            assert not each.server.connects._by_exchange
            assert not each.server.connects._held._by_browser._held
