"""Stock clients of every kind in one room, through hundreds of messages and two restarts."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

import pytest

from tests.bayeux_clients.conftest import MakeClient
from tests.bayeux_clients.stock import KINDS, Json, Kind, StockClient, once_each, texts, with_token
from tests.daemon.talk import history, log_in, say
from tests.support import Daemon

pytestmark = pytest.mark.slow

#: Said at once: as many as go into one reply, and about as many bytes.
MANY = 200

#: Of a daemon by itself a thousand messages go into a reply.
SMALL_REPLIES = f"""
import attrs
from cometd_chat.bayeux.options import BayeuxOptions
made = BayeuxOptions.__init__
small = {{"max_reply_messages": {MANY}, "max_reply_bytes": 256 * {MANY}}}
names = [field.name for field in attrs.fields(BayeuxOptions)]
assert len(names) == len(made.__defaults__)
made.__defaults__ = tuple(map(small.get, names, made.__defaults__))
assert BayeuxOptions().max_reply_messages == {MANY}
"""

#: Says them.
SPEAKER = KINDS.index(Kind("cometd", "websocket", "node"))


@pytest.fixture
def own_daemon(tmp_path: Path, bayeux_options: tuple[str, ...]) -> Iterator[Daemon]:
    """A daemon that may be killed."""
    with Daemon(tmp_path, *bayeux_options, before=SMALL_REPLIES) as running:
        yield running
    assert "Traceback" not in running.log


def hear_all(
    clients: list[StockClient],
    expected: list[str],
    counted: Callable[[Sequence[Json]], list[str]] = texts,
) -> None:
    """Everybody has heard exactly what was said, in its order.

    :param counted: makes of what somebody heard what is compared.
    """
    wrong = []
    for client in clients:
        try:
            heard = counted(client.hear(expected[-1]))
        except Exception as error:
            wrong.append(f"{client.kind}: {str(error)[:300]}")
            continue
        if heard != expected:
            pairs = enumerate(zip_longest(heard, expected))
            place, (found, wanted) = next((n, pair) for n, pair in pairs if pair[0] != pair[1])
            wrong.append(f"{client.kind}: {len(heard)}, {found!r} for {wanted!r} at {place}")
    assert not wrong, "\n".join(wrong)


def open_all(daemon: Daemon, make_client: MakeClient) -> list[StockClient]:
    """One of each kind, in the lobby, each somebody else."""
    clients = []
    for number, kind in enumerate(KINDS):
        # A browser opens six connections to a host.
        client = make_client(kind, f"browser {number % 2}", port=daemon.port)
        ext = with_token(daemon.port, f"client-{number}")
        assert client.open(daemon.port, ext=ext)["successful"]
        assert client.subscribe("/chat/lobby")[0]["successful"]
        clients.append(client)
    return clients


def test_hundreds_of_messages_and_two_restarts(own_daemon: Daemon, make_client: MakeClient) -> None:
    daemon, clients = own_daemon, open_all(own_daemon, make_client)
    bob = log_in(daemon.port, "bob")
    said: list[str] = []

    def each_says(what: str) -> None:
        for client in clients:
            said.append(f"{client.kind} {what}")
            assert client.publish("/chat/lobby", {"text": said[-1]})["successful"]

    def restart(how: signal.Signals) -> None:
        said.append(f"just before {how.name}")
        assert say(daemon.port, bob, said[-1]).status == 201
        daemon.restart(how)
        for number in range(5):
            said.append(f"just after {how.name} {number}")
            assert say(daemon.port, bob, said[-1]).status == 201

    each_says("is here")
    hear_all(clients, said)
    lines = [f"line {number}" for number in range(MANY)]
    replies = clients[SPEAKER].publish_all("/chat/lobby", [{"text": line} for line in lines])
    assert all(reply["successful"] for reply in replies)
    said += lines
    hear_all(clients, said)

    # Who says how far she has come hears everything once, even when the daemon was killed.
    for client in clients:
        client.keep_place(True)
    restart(signal.SIGKILL)
    hear_all(clients, said)
    each_says("is back")
    hear_all(clients, said)

    # Who does not is told again what she may not have had; it has the same ids. By a socket she has
    # had everything: its answer to our close says so.
    sockets = [client for client in clients if client.kind.transport == "websocket"]
    for client in clients:
        client.keep_place(False)
    restart(signal.SIGTERM)
    hear_all(clients, said, once_each)
    hear_all(sockets, said)
    each_says("is back again")
    hear_all(clients, said, once_each)
    hear_all(sockets, said)
    ids = {each["data"]["id"]: None for each in clients[0].hear(said[-1])}
    assert list(ids) == [each["id"] for each in history(daemon.port)]
