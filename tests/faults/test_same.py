"""One conversation, read through all nine transports of the real daemon: it is the same one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

import attrs
import pytest

from tests.bounds import most_behind
from tests.daemon.talk import ask, connect, history, log_in, once
from tests.decoders import Seen
from tests.faults.decoding import FOR_PEOPLE
from tests.faults.poster import HOSTILE
from tests.faults.reader import Reader, World
from tests.faults.troubles import Troubles
from tests.faults.verdict import differences, shown
from tests.support import Daemon
from tests.transport_paths import NAMES

ROOMS = ("lobby", "dev")

#: More than a page of a backlog and more than a poll's answer.
SAID = 500

#: Further behind than this, the newest are shown and a gap: fewer than by itself, since each worker
#: of pytest-xdist that gets some of these tests says all of that anew.
MOST_BEHIND, AFTER_GAP = 600, 200

#: So many say more, until who slept is further behind.
CROWD = 4


@attrs.frozen
class Conversation:
    """What was said, and the cursor from before it."""

    world: World
    start: str
    kept: list[Seen]


def started(directory: Path) -> Daemon:
    options = ("--limits=off", "--heartbeat=0.5", "--poll-timeout=2", "--expiration-delay=5")
    return Daemon(directory, *options, before=most_behind(MOST_BEHIND))


@pytest.fixture(scope="module")
def conversation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Conversation]:
    with started(tmp_path_factory.mktemp("same")) as daemon:
        yield hold_one(daemon)


def hold_one(daemon: Daemon) -> Conversation:
    """People talk."""
    port = daemon.port
    start = once(port, "GET", "/api/v1/events/poll").json["cursor"]
    tokens = [log_in(port, name) for name in ("alice", "b\N{LATIN SMALL LETTER O WITH DIAERESIS}b")]
    once(port, "POST", "/api/v1/rooms", token=tokens[0], body={"name": "dev"})
    chance = random.Random(3)
    with closing(connect(port)) as connection:
        said = [
            say_by(
                connection,
                chance.choice(tokens),
                f"{number} {chance.choice(HOSTILE)}|",
                client_id=chance.choice((None, f"c-{number}")),
                room=chance.choice(ROOMS),
            )
            for number in range(SAID)
        ]
    world = World(
        seed="same", port=port, proxy_port=0, troubles=Troubles(), elsewhere=None, there=""
    )
    return Conversation(world, start, said)


def say_by(
    connection: HTTPConnection,
    token: str,
    text: str,
    *,
    client_id: str | None = None,
    room: str,
) -> Seen:
    """Post a message by a connection that stays open; the event."""
    body = {"text": text} if client_id is None else {"text": text, "client_id": client_id}
    path = f"/api/v1/rooms/{room}/messages"
    answer = ask(connection, "POST", path, token=token, body=body)
    assert answer.status == 201, answer
    event: Seen = answer.json
    return event


def read(conversation: Conversation, transport: str) -> list[Seen]:
    """All that a transport tells, up to the last message."""
    world, last = conversation.world, conversation.kept[-1]
    token = log_in(world.port, f"by-{transport}-{len(conversation.kept)}")
    reader = Reader(world, f"by-{transport}", token, ROOMS, conversation.start)
    reader.read_to(last, transport)
    return reader.accepted


@pytest.mark.parametrize("transport", NAMES)
def test_all_transports_tell_the_same(conversation: Conversation, transport: str) -> None:
    accepted = read(conversation, transport)
    if transport in FOR_PEOPLE:
        # These show less; all that they show is the same.
        assert set(accepted[0]) == {"type", "room", "from", "text"}
        assert accepted == [shown(event, accepted[0]) for event in conversation.kept]
    else:
        assert accepted == conversation.kept
    assert history(conversation.world.port, "dev") == [
        event for event in conversation.kept if event["room"] == "dev"
    ]


@pytest.fixture(scope="module")
def slept_through(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Conversation]:
    """Another, with so much more that whoever has heard nothing of it is too far behind."""
    with started(tmp_path_factory.mktemp("slept")) as daemon:
        yield hold_a_long_one(daemon)


def hold_a_long_one(daemon: Daemon) -> Conversation:
    """People talk, and then a crowd does."""
    conversation, port = hold_one(daemon), daemon.port
    more = range(MOST_BEHIND - SAID + 50)

    def talk(number: int) -> list[Seen]:
        token = log_in(port, f"crowd{number}")
        with closing(connect(port)) as connection:
            return [
                say_by(connection, token, f"crowd {n}|", room=ROOMS[n % 3 == 0])
                for n in more[number::CROWD]
            ]

    with ThreadPoolExecutor(CROWD) as threads:
        said = [event for events in threads.map(talk, range(CROWD)) for event in events]
    said.sort(key=lambda event: int(event["id"]))
    return attrs.evolve(conversation, kept=[*conversation.kept, *said])


@pytest.mark.slow
@pytest.mark.parametrize("transport", NAMES)
def test_all_transports_leave_out_the_same(slept_through: Conversation, transport: str) -> None:
    accepted = read(slept_through, transport)
    assert [event["type"] for event in accepted] == ["gap"] * 2 + ["message"] * AFTER_GAP
    assert {event["room"] for event in accepted[:2]} == set(ROOMS)
    # As many of each room as the gap says, no more and no fewer.
    assert differences(slept_through.kept, accepted) == []
    if transport not in FOR_PEOPLE:
        gap = accepted[0]
        page = f"/api/v1/rooms/{quote(gap['room'])}/messages?before={gap['before']}&limit=1"
        (newest,) = once(slept_through.world.port, "GET", page).json["messages"]
        assert newest in slept_through.kept[:-AFTER_GAP]
