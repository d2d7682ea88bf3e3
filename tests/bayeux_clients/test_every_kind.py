"""What every stock client does, by every transport that it has."""

from __future__ import annotations

from itertools import count

import pytest

from tests.bayeux_clients.conftest import MakeClient
from tests.bayeux_clients.stock import KINDS, Json, Kind, texts, with_token
from tests.daemon.talk import history, log_in, once, say
from tests.support import Daemon

pytestmark = pytest.mark.slow

_numbers = count(1)

#: Subscriptions of one client: more than Faye's or CometD's JSONP puts into one URL of 2,000 bytes.
MANY = 48


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    """One after the other."""
    found: Kind = request.param
    return found


@pytest.fixture
def channel() -> str:
    """A free channel that nobody has used."""
    return f"/app/channel{next(_numbers)}"


def guest() -> Json:
    """What a handshake says of a guest."""
    return {"authentication": {"name": f"guest-{next(_numbers)}"}}


def test_from_handshake_to_disconnect(
    kind: Kind, channel: str, make_client: MakeClient, daemon: Daemon
) -> None:
    alice = make_client(kind)
    reply = alice.open(daemon.port, ext=guest())
    assert reply["successful"], reply
    assert reply["version"] == "1.0"
    assert kind.transport in reply["supportedConnectionTypes"]
    [subscribed] = alice.subscribe(f"{channel}/said")
    assert subscribed["successful"], subscribed
    alice.subscribe(f"{channel}/last")
    assert alice.publish(f"{channel}/said", {"text": "one"})["successful"]
    alice.hear("one")
    assert alice.unsubscribe(f"{channel}/said")["successful"]
    assert alice.publish(f"{channel}/said", {"text": "two"})["successful"]
    assert alice.publish(f"{channel}/last", {"text": "three"})["successful"]
    assert texts(alice.hear("three")) == ["one", "three"]
    # Not by its first connect: Faye may choose while that waits to be sent.
    assert alice.connects()[-1]["connectionType"] == kind.transport
    assert alice.close()["successful"]


def test_wildcards(kind: Kind, channel: str, make_client: MakeClient, daemon: Daemon) -> None:
    alice = make_client(kind)
    alice.open(daemon.port, ext=guest())
    patterns = [f"{channel}/*", f"{channel}/**", f"{channel}/a"]
    replies = alice.subscribe(*patterns)
    assert [each["successful"] for each in replies] == [True, True, True]
    for leaf in ("a", "a/b", "c"):
        assert alice.publish(f"{channel}/{leaf}", {"text": leaf})["successful"]
    # A library tells its listeners one after the other: this one is told when all others were.
    alice.subscribe(f"{channel}-end")
    assert alice.publish(f"{channel}-end", {"text": "end"})["successful"]
    heard = [each for each in alice.hear("end") if each["data"]["text"] != "end"]
    if kind.library == "aiocometd":
        # It has no listeners by subscription: this is what came, each once.
        assert texts(heard) == ["a", "a/b", "c"]
        return
    found = sorted((each["subscription"], each["data"]["text"]) for each in heard)
    by_one, by_all, by_name = patterns
    expected = [(by_one, "a"), (by_one, "c"), (by_name, "a")]
    expected += [(by_all, "a"), (by_all, "a/b"), (by_all, "c")]
    assert found == sorted(expected)


def test_many_subscriptions(
    kind: Kind, channel: str, make_client: MakeClient, daemon: Daemon
) -> None:
    alice = make_client(kind)
    alice.open(daemon.port, ext=guest())
    channels = [f"{channel}/{number}" for number in range(MANY)]
    assert all(each["successful"] for each in alice.subscribe(*channels))
    for number in (0, MANY // 2, MANY, MANY - 1):
        assert alice.publish(f"{channel}/{number}", {"text": f"to {number}"})["successful"]
    heard = texts(alice.hear(f"to {MANY - 1}"))
    assert heard == ["to 0", f"to {MANY // 2}", f"to {MANY - 1}"]


def test_other_transports(kind: Kind, room: str, make_client: MakeClient, daemon: Daemon) -> None:
    """What is said through one transport is heard through the other, as the same event."""
    alice = make_client(kind)
    alice.open(daemon.port, ext=with_token(daemon.port, f"alice-in-{room}"))
    assert alice.subscribe(f"/chat/{room}")[0]["successful"]
    said = say(daemon.port, log_in(daemon.port, f"bob-in-{room}"), "by POST", room=room).json
    assert alice.publish(f"/chat/{room}", {"text": "by Bayeux"})["successful"]
    heard = [each["data"] for each in alice.hear("by Bayeux")]
    fields = ("id", "room", "from", "text", "at")
    events = [{field: each[field] for field in fields} for each in history(daemon.port, room)]
    assert heard == events
    assert heard[0]["id"] == said["id"]
    assert [each["from"] for each in heard] == [f"bob-in-{room}", f"alice-in-{room}"]


def test_two_talk(kind: Kind, room: str, make_client: MakeClient, daemon: Daemon) -> None:
    """A client talks to one of the next kind."""
    other = KINDS[(KINDS.index(kind) + 1) % len(KINDS)]
    alice, bob = make_client(kind, "alice"), make_client(other, "bob")
    for client in (alice, bob):
        client.open(daemon.port, ext=guest())
        assert client.subscribe(f"/chat/{room}")[0]["successful"]
    for number in range(5):
        assert alice.publish(f"/chat/{room}", {"text": f"question {number}"})["successful"]
        bob.hear(f"question {number}")
        assert bob.publish(f"/chat/{room}", {"text": f"answer {number}"})["successful"]
        alice.hear(f"answer {number}")
    expected = [f"{what} {number}" for number in range(5) for what in ("question", "answer")]
    assert texts(alice.hear("answer 4")) == texts(bob.hear("answer 4")) == expected


def test_who_is_there(kind: Kind, room: str, make_client: MakeClient, daemon: Daemon) -> None:
    alice, bob = make_client(kind), log_in(daemon.port, f"bob-in-{room}")
    alice.open(daemon.port, ext=guest())
    assert alice.subscribe(f"/members/{room}")[0]["successful"]
    [there] = [each["data"] for each in alice.hear("people")]
    assert (there["room"], there["count"], there["people"]) == (room, 0, [])
    path = f"/api/v1/events/poll?wait=0&rooms={room}"
    assert once(daemon.port, "GET", path, token=bob).status == 200
    assert alice.hear("join")[-1]["data"]["from"] == f"bob-in-{room}"


def test_a_refused_handshake_tells_why(kind: Kind, make_client: MakeClient, daemon: Daemon) -> None:
    alice = make_client(kind)
    reply = alice.open(daemon.port, ext={"authentication": {"token": "of nobody"}})
    alice.is_open = False
    assert reply["successful"] is False
    assert reply["error"] == "401:No session has that token - log in again.:invalid_token"
    assert reply["advice"]["reconnect"] == "none"


def test_the_same_token_resumes(
    kind: Kind, room: str, make_client: MakeClient, daemon: Daemon
) -> None:
    """What is said between a session's end and the next one's begin is not missed."""
    token = with_token(daemon.port, f"alice-in-{room}")
    bob = log_in(daemon.port, f"bob-in-{room}")
    alice = make_client(kind)
    alice.open(daemon.port, ext=token)
    assert alice.subscribe(f"/chat/{room}")[0]["successful"]
    say(daemon.port, bob, "before", room=room)
    alice.hear("before")
    alice.close()
    say(daemon.port, bob, "meanwhile", room=room)
    again = make_client(kind)
    again.open(daemon.port, ext=token)
    assert again.subscribe(f"/chat/{room}")[0]["successful"]
    say(daemon.port, bob, "after", room=room)
    heard = texts(again.hear("after"))
    # She went before she could confirm what she heard last.
    if heard[0] == "before":
        del heard[0]
    assert heard == ["meanwhile", "after"]
