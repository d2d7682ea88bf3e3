"""A poll that stands on its connection is seen by nobody: what clients and operators see is what
they see of polls that are held one after the other.

Each case is done to two sites, one with a lane, where polls stand, and one without.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cometd_chat.chat.limits import HELD
from cometd_chat.chat.rights import Act
from cometd_chat.chat.sessions import Session
from cometd_chat.chat.subscription import State
from cometd_chat.transports.standing import AnswerHead
from cometd_chat.transports.standing_poll import KEPT, StandingPoll
from tests.chat.parts import now
from tests.examples import examples
from tests.memory import MakeSite, MemorySite
from tests.web.test_lanes import VOLATILE
from tests.wire import Connection

ROOMS = ("lobby", "dev")

#: After how long somebody is to come back, and the length that follows from that.
_AFTER = re.compile(rb'"after":[0-9.]+|Content-Length: \d+')

#: Their polls, each on a connection of its own: whose, and what stands in the query.
POLLS = (
    ("alice", "rooms=lobby"),
    ("alice", "rooms=lobby,dev&client=tab"),
    ("alice", "rooms=dev&wait=0"),
    ("bob", "rooms=lobby&wait=3"),
    ("bob", "client=tab&rooms=lobby"),
    ("bob", "rooms=lobby&client=tab"),
    ("", "rooms=lobby"),
)


class Poller:
    """Somebody who polls on one connection, as one does: the next request follows the answer."""

    def __init__(self, site: MemorySite, tokens: dict[str, str], name: str, query: str) -> None:
        self._site = site
        self._tokens = tokens
        self._name = name
        self._query = query
        #: The cursors that were given.
        self.cursors = [""]
        self.seen: list[bytes] = []
        self.connect()

    def connect(self) -> None:
        """Begin a connection."""
        self.connection: Connection = self._site.connect()
        self._asked = self._read = 0

    @property
    def waiting(self) -> bool:
        """Whether the last poll was not answered yet."""
        return self._asked > self._read

    def poll(self, back: int = 1) -> None:
        """Go on where the last answer, or one before, says."""
        if self.waiting or self.connection.closed:
            return
        cursor = self.cursors[-min(back, len(self.cursors))]
        self._asked += 1
        self.send(self.request(cursor))

    def request(self, cursor: str) -> bytes:
        """A poll."""
        last = f"&cursor={cursor}" if cursor else ""
        # Who has no name only reads.
        shows = f"Authorization: Bearer {self._tokens[self._name]}\r\n" if self._name else ""
        return (
            f"GET /api/v1/events/poll?{self._query}{last} HTTP/1.1\r\nHost: localhost\r\n"
            f"{shows}User-Agent: test\r\n\r\n"
        ).encode()

    def ask(self, target: str) -> None:
        """Ask for something else."""
        if not self.waiting and not self.connection.closed:
            self._asked += 1
            self.send(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.connection.send(data)

    def read(self) -> None:
        """See what has come."""
        data = self.connection.surplus
        self.connection._unread.clear()
        if not data:
            return
        self._read += data.count(b"HTTP/1.1 ")
        found = re.findall(rb'"cursor":"([^"]+)"\}\n', data)
        self.cursors += [cursor.decode() for cursor in found]
        for pattern, replacement in VOLATILE:
            data = re.sub(pattern, replacement, data)
        self.seen.append(data)


class World:
    """A site, and who polls there."""

    def __init__(self, site: MemorySite) -> None:
        self.site = site
        self.tokens = {name: site.log_in(name) for name in ("alice", "bob", "carol")}
        self.pollers = [Poller(site, self.tokens, *each) for each in POLLS]

    def seen(self) -> Any:
        """All that anybody can see."""
        for each in self.pollers:
            each.read()
        # What the metrics show; their text is made, and looked at, once: see `numbers`.
        counts = attrs.astuple(self.site.stats.transport("poll"))
        presence = self.site.chat.presence
        return (
            [(each.seen, each.waiting, each.connection.closed) for each in self.pollers],
            counts,
            [[who.name for who in presence.people(room)] for room in ROOMS],
            dict(self.site.chat.limits.held),  # type: ignore[attr-defined]
            [
                len(session.readers)
                for session in self.site.chat.sessions._by_token.values()  # type: ignore[attr-defined]
            ],
        )

    def numbers(self) -> list[str]:
        """What operators see."""
        return re.findall(r'^(comet_chat_\w+\{transport="poll"\} .*)$', self.site.metrics, re.M)

    def say(self, room: str, text: str = "hi") -> None:
        """Carol says something."""
        self.site.post(f"/api/v1/rooms/{room}/messages", {"text": text}, token=self.tokens["carol"])

    def log_out(self, name: str) -> None:
        """Somebody's session ends, and they come back with another."""
        self.site.request("DELETE", "/api/v1/session", token=self.tokens[name])

    def log_in(self, name: str) -> None:
        """Somebody comes back."""
        answer = self.site.post("/api/v1/session", {"name": name})
        if answer.status == 201:
            self.tokens[name] = answer.json()["token"]

    def rename(self, name: str, new: str) -> None:
        """Somebody takes another name."""
        answer = self.site.post("/api/v1/session", {"name": new}, token=self.tokens[name])
        if answer.status == 200 and "token" in answer.json():
            self.tokens[name] = answer.json()["token"]

    def write(self, name: str, room: str) -> None:
        """Somebody is seen to write."""
        self.site.request("POST", f"/api/v1/rooms/{room}/typing", token=self.tokens[name])

    def leave(self, name: str, room: str) -> None:
        """Somebody says that they leave."""
        self.site.request("POST", f"/api/v1/rooms/{room}/leave", token=self.tokens[name])

    def forbid(self, name: str, room: str) -> None:
        """Somebody may not see a room any more; anybody else may see all."""

        def rule(session: Session | None, act: Act, asked: Any) -> bool:
            return session is None or session.name != name or asked.name != room

        self.site.chat.rights.change(rule)

    def do(self, step: Sequence[Any]) -> None:
        """Do something."""
        what, *rest = step
        if what == "poll":
            number, back = rest
            self.pollers[number].read()
            self.pollers[number].poll(back)
        elif what == "everybody polls":
            for each in self.pollers:
                each.read()
                each.poll()
        elif what == "ask":
            self.pollers[rest[0]].ask(rest[1])
        elif what == "vanish":
            self.pollers[rest[0]].connection.reset()
            self.pollers[rest[0]].connect()
        elif what == "close":
            self.pollers[rest[0]].connection.close()
            self.pollers[rest[0]].connect()
        elif what == "fill":
            self.site.fill(rest[0], rest[1])
        elif what == "wait":
            self.site.advance(rest[0])
        else:
            getattr(self, what)(*rest)


@contextmanager
def both(**options: Any) -> Iterator[tuple[World, World]]:
    """A site where polls stand, and one where they don't."""
    with ExitStack() as stack:
        lane, klein = (
            World(stack.enter_context(MemorySite(fast_lane=on, rooms=ROOMS, tail=300, **options)))
            for on in (True, False)
        )
        yield lane, klein


def same(steps: Sequence[Sequence[Any]], **options: Any) -> None:
    """Do the same on both, and see the same after each step."""
    with both(**options) as (lane, klein):
        for number, step in enumerate(steps):
            lane.do(step)
            klein.do(step)
            assert lane.seen() == klein.seen(), (number, step)
        assert lane.numbers() == klein.numbers()


number = st.integers(0, len(POLLS) - 1)
name = st.sampled_from(["alice", "bob"])
room = st.sampled_from(ROOMS)

SECONDS = [0.5, 1.0, 4.5, 9.5, 10.0, 10.5, 24.5, 61.0, 300.0]

STEP = st.one_of(
    st.just(("everybody polls",)),
    st.just(("everybody polls",)),
    st.tuples(st.just("poll"), number, st.sampled_from([1, 1, 1, 1, 2, 3])),
    st.tuples(st.just("say"), room),
    st.tuples(st.just("say"), room),
    st.tuples(st.just("wait"), st.sampled_from(SECONDS)),
    st.tuples(st.just("ask"), number, st.sampled_from(["/healthz", "/api/v1/rooms", "/nothing"])),
    st.tuples(st.just("vanish"), number),
    st.tuples(st.just("close"), number),
    st.tuples(st.just("log_out"), name),
    st.tuples(st.just("log_in"), name),
    st.tuples(st.just("rename"), name, st.sampled_from(["alice", "bob", "dora"])),
    st.tuples(st.just("leave"), name, room),
    st.tuples(st.just("write"), st.sampled_from(["alice", "bob", "carol"]), room),
    st.tuples(st.just("forbid"), st.sampled_from(["alice", "bob", "nobody"]), room),
    st.tuples(st.just("fill"), st.sampled_from([2, 150, 250, 600]), room),
)

#: So that polls stand from the beginning.
BEGIN = [("everybody polls",), ("everybody polls",), ("say", "lobby"), ("everybody polls",)] * 2


@given(steps=st.lists(STEP, max_size=14))
@settings(max_examples=examples(30), deadline=None)
def test_nobody_sees_that_a_poll_stands(steps: list[Sequence[Any]]) -> None:
    same([*BEGIN, *steps])


@pytest.mark.parametrize(
    "steps",
    {
        "her session ends while it waits": [("log_out", "alice"), ("everybody polls",)],
        "another name while it waits": [("rename", "bob", "dora"), ("everybody polls",)],
        "she comes back by another token": [
            ("log_out", "alice"),
            ("log_in", "alice"),
            ("everybody polls",),
            ("everybody polls",),
            ("say", "dev"),
            ("everybody polls",),
        ],
        "she leaves between two polls": [
            ("say", "lobby"),
            ("leave", "alice", "lobby"),
            ("wait", 3.0),
            ("everybody polls",),
        ],
        "her time is up between two polls": [
            ("say", "lobby"),
            ("wait", 9.5),
            ("wait", 0.5),
            ("wait", 0.5),
            ("wait", 0.5),
            ("everybody polls",),
        ],
        "her name is freed": [("say", "lobby"), ("wait", 700.0), ("everybody polls",)],
        "her right to one of its rooms is gone between two polls": [
            ("write", "alice", "lobby"),
            ("forbid", "alice", "lobby"),
            ("wait", 10.0),
            ("everybody polls",),
        ],
        "more than an answer holds": [
            ("fill", 250, "lobby"),
            ("everybody polls",),
            ("everybody polls",),
            ("everybody polls",),
        ],
        "more than is in memory": [("fill", 600, "lobby"), *[("everybody polls",)] * 5],
        "more than anybody is told": [
            ("say", "lobby"),
            ("fill", 6000, "dev"),
            *[("everybody polls",)] * 3,
        ],
        "the same cursor twice": [
            ("say", "lobby"),
            ("poll", 0, 2),
            ("poll", 0, 2),
            ("poll", 0, 1),
            ("say", "lobby"),
        ],
        "for as long as it asked, though it was at rest a moment ago": [
            ("wait", 4.5),
            *[("everybody polls",)] * 3,
            ("wait", 2.5),
            ("wait", 0.5),
            ("wait", 0.5),
            ("wait", 0.5),
        ],
        "for as long as it asked": [("wait", 24.5), ("wait", 1.0), ("everybody polls",)] * 3,
    }.items(),
    ids=lambda each: each[0],
)
def test_nor_where_it_ends(steps: tuple[str, list[Sequence[Any]]]) -> None:
    same([*BEGIN, *steps[1]])


def test_nor_with_limits() -> None:
    """Of an address that holds as much as it may, a poll that stands is refused like any other."""
    with both(limits=True) as worlds:
        for world in worlds:
            for step in BEGIN:
                world.do(step)
            world.do(("say", "lobby"))
            world.site.chat.limits.held[HELD]["192.0.2.7"] = HELD.most  # type: ignore[attr-defined]
            world.do(("everybody polls",))
        lane, klein = worlds
        assert lane.seen() == klein.seen()
        assert all(b"429 Too Many" in each.seen[-1] for each in lane.pollers)


def test_nor_when_the_daemon_stops() -> None:
    with both() as worlds:
        for world in worlds:
            for step in BEGIN:
                world.do(step)
            # Some wait, and some are at rest.
            world.do(("say", "lobby"))
            world.do(("poll", 0, 1))
            world.site.stop()
            world.do(("everybody polls",))
        lane, klein = worlds
        for each in (*lane.pollers, *klein.pollers):
            each.read()
        first, second = (
            [[_AFTER.sub(b"", each) for each in poller.seen] for poller in world]
            for world in (lane.pollers, klein.pollers)
        )
        assert first == second
        assert b'"reopen"' in first[0][-2]
        assert all(b"503 Service" in each[-1] for each in first)


def lobby(site: MemorySite) -> list[Any]:
    """The handlers of the lobby."""
    context = site.engine.context("/chat/lobby")
    assert context is not None
    return context.handlers


class Single:
    """A poll that stands, in the lobby, on a site of its own."""

    def __init__(self, site: MemorySite) -> None:
        self.site = site
        self.token = site.log_in("alice")
        site.say("who says something is in the room by then")
        self.poller = Poller(site, {"alice": self.token}, "alice", "rooms=lobby&client=tab")
        self.poll()
        self.poll()
        self.rest()
        self.poll()
        held = self.standing
        assert held is not None
        self.held = held

    def poll(self) -> None:
        self.poller.read()
        self.poller.poll()

    def rest(self) -> None:
        """Answer it."""
        self.site.say("hi")
        self.poller.read()
        assert not self.poller.waiting

    @property
    def standing(self) -> StandingPoll | None:
        """What stands on the connection."""
        return getattr(self.poller.connection.channel, "_standing", None)

    @property
    def handlers(self) -> list[Any]:
        return lobby(self.site)


@pytest.fixture
def single(site: MemorySite) -> Single:
    return Single(site)


class TestThatStands:
    def test_is_one_and_the_same_for_poll_after_poll(self, single: Single) -> None:
        (subscription,) = single.handlers
        for _ in range(5):
            single.rest()
            single.poll()
            assert single.standing is single.held
            assert single.handlers == [subscription]

    def test_reads_nothing_and_counts_nowhere_at_rest(self, single: Single) -> None:
        session = now(single.site.chat.sessions.by_token(single.token))
        (subscription,) = single.handlers
        assert list(session.readers) == [subscription]
        single.rest()
        assert not session.readers
        assert subscription.resting
        assert 'held_requests{transport="poll"} 0.0' in single.site.metrics
        single.site.say("meanwhile")
        assert not single.poller.connection.surplus
        single.poll()
        single.poller.read()
        assert b"meanwhile" in single.poller.seen[-1]

    def test_takes_nobodys_place_among_those_who_are_told_that_somebody_writes(
        self, site: MemorySite
    ) -> None:
        tokens = {name: site.log_in(name) for name in ("alice", "dora")}
        singles = [Poller(site, tokens, name, "wait=20") for name in tokens for _ in range(30)]
        for number in range(4):
            site.fill(number)
            for each in singles:
                each.read()
                each.poll()
        site.say("now all are at rest")
        assert len([each for each in lobby(site) if each.resting]) == 60
        reader = site.get("/api/v1/events/stream?rooms=lobby")
        bob = site.log_in("bobby")
        assert site.post("/api/v1/rooms/lobby/typing", token=bob).status == 204
        assert b'"typing"' in reader.body


def leave_for_good(single: Single) -> None:
    single.site.post("/api/v1/rooms/lobby/leave", token=single.token)
    single.site.advance(4)


ENDS: dict[str, Callable[[Single], object]] = {
    "her session ends": lambda one: one.site.request("DELETE", "/api/v1/session", token=one.token),
    "she takes another name": lambda one: one.site.post(
        "/api/v1/session", {"name": "dora"}, token=one.token
    ),
    "the rights change": lambda one: one.site.chat.rights.change(lambda *asked: True),
    "she may not read on": lambda one: one.site.chat.rights.change(
        lambda session, act, room: act is not Act.FOLLOW
    ),
    "the log is too far ahead": lambda one: one.site.fill(6000),
    "her name is freed": lambda one: one.site.chat.sessions.free_name(
        now(one.site.chat.sessions.by_token(one.token))
    ),
    "she has left": leave_for_good,
}


class TestItsEnd:
    @pytest.mark.parametrize("what", ENDS)
    def test_when_it_is_asked_anew_and_things_are_otherwise(
        self, single: Single, what: str
    ) -> None:
        single.rest()
        (subscription,) = single.handlers
        ENDS[what](single)
        single.poll()
        single.poller.read()
        assert subscription.state is State.ENDED
        assert subscription not in single.handlers
        assert not single.held.due_bucket
        assert single.standing is not single.held

    @pytest.mark.parametrize(
        "what",
        {
            "something else": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "half of a request": b"GET /api/v1/events/poll",
            "two requests": b"NEXTNEXT",
            "another cursor": b"OTHER",
            "one byte more": b"NEXT\n",
            "one byte less": b"SHORT",
            "another header": b"HEADER",
        }.items(),
        ids=lambda each: each[0],
    )
    def test_when_something_else_comes(self, single: Single, what: tuple[str, bytes]) -> None:
        single.rest()
        (subscription,) = single.handlers
        following = single.poller.request(single.poller.cursors[-1])
        data = (
            what[1]
            .replace(b"NEXT", following)
            .replace(b"OTHER", single.poller.request(single.poller.cursors[-2]))
            .replace(b"SHORT", following[:-1])
            .replace(b"HEADER", following.replace(b"User-Agent: test", b"User-Agent: tests"))
        )
        single.poller.send(data)
        assert subscription.state is State.ENDED
        assert subscription not in single.handlers
        assert single.standing is not single.held

    @pytest.mark.parametrize("resting", [True, False])
    @pytest.mark.parametrize("how", ["close", "reset"])
    def test_with_its_connection(self, single: Single, how: str, resting: bool) -> None:
        if resting:
            single.rest()
        getattr(single.poller.connection, how)()
        assert single.handlers == []
        assert not single.held.due_bucket
        assert 'held_requests{transport="poll"} 0.0' in single.site.metrics

    def test_when_nobody_asks_for_more(self, single: Single) -> None:
        single.rest()
        single.site.advance(KEPT - 0.5)
        assert len(single.handlers) == 1
        single.site.advance(1.5)
        assert single.handlers == []
        assert single.standing is None
        # The connection is as good as before.
        single.poll()
        single.rest()
        assert single.poller.seen[-1].startswith(b"HTTP/1.1 200")

    def test_when_its_room_is_gone(self, single: Single) -> None:
        single.rest()
        single.site.engine.unregister("/chat/lobby")
        assert single.standing is None
        assert not single.poller.connection.surplus

    def test_when_it_raises(self, single: Single) -> None:
        (subscription,) = single.handlers
        single.site.chat.readers.shared.standing_told = None  # type: ignore[assignment]
        single.site.chat.readers.shared.answer_standing = None  # type: ignore[assignment,method-assign]
        single.site.say("hi")
        assert single.site.take_failures()
        assert subscription.state is State.ENDED
        assert single.poller.connection.closed
        assert single.handlers == []

    def test_when_it_was_held_for_too_long(self, make_site: MakeSite) -> None:
        single = Single(make_site(expiration_delay=2, heartbeat=1, poll_timeout=1))
        context = single.site.engine.context("/chat/lobby")
        assert context is not None
        context.expiration_delay = 0.5
        single.site.advance(2)
        assert 'expired_total{transport="poll"} 1.0' in single.site.metrics
        assert single.handlers == []

    def test_when_what_was_sent_waits(self, site: MemorySite) -> None:
        """A peer that does not take its answer is a matter for the slow path."""
        single = Single(site)
        single.poller.connection.open_window(10)
        site.say("hi")
        assert single.handlers == []
        single.poller.connection.open_window(None)
        single.poller.read()
        assert b'"hi"' in single.poller.seen[-1]
        single.poll()
        assert len(single.handlers) == 1


def test_with_a_line_of_access_log(make_site: MakeSite) -> None:
    site = make_site(log_level="debug")
    single = Single(site)
    site.logged.clear()
    single.rest()
    lines = [event for event in site.logged if event.get("path") == "/api/v1/events/poll"]
    ((method, status, size),) = [(e["method"], e["status"], e["size"]) for e in lines]
    assert (method, status) == ("GET", 200)
    assert b"Content-Length: %d\r\n" % size in single.poller.seen[-1] or size > 0


class TestAnswerHead:
    def test_makes_an_answer_once_for_all_at_the_same_moment(self) -> None:
        dates = iter([b"Date: 1\r\n", b"Date: 2\r\n", b"Date: 3\r\n"])
        head = AnswerHead(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", lambda: next(dates))
        body, at, later = b"body", 1.5, 2.5
        first = head.answer(body, at)
        assert first == b"HTTP/1.1 200 OK\r\nDate: 1\r\nX: y\r\nContent-Length: 4\r\n\r\nbody"
        assert head.answer(body, at) is first
        assert b"Date: 2" in head.answer(body, later)
        assert b"Date: 3" in head.answer(b"other", later)

    def test_keeps_nothing_that_is_large(self) -> None:
        head = AnswerHead(b"", b"", lambda: b"")
        body, at = b"x" * 100_000, 1.5
        assert head.answer(body, at) is not head.answer(body, at)
