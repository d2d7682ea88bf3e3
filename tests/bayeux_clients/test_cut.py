"""Stock clients whose connections are cut."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from tests.bayeux_clients.conftest import MakeClient
from tests.bayeux_clients.cutting_proxy import CuttingProxy
from tests.bayeux_clients.stock import KINDS, Kind, once_each, texts, with_token
from tests.daemon.talk import log_in, metric, say, wait_until
from tests.support import PATIENCE, Daemon

pytestmark = pytest.mark.slow

_numbers = count(1)

#: Those whose library acknowledges.
ACKNOWLEDGING = [kind for kind in KINDS if kind.library == "cometd"]


@pytest.fixture(scope="module")
def proxy(daemon: Daemon) -> Iterator[CuttingProxy]:
    with CuttingProxy(daemon.port) as running:
        yield running


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_cut_connection_is_made_again(
    kind: Kind, room: str, make_client: MakeClient, daemon: Daemon, proxy: CuttingProxy
) -> None:
    def held() -> float:
        return metric(
            daemon.port, f'comet_chat_held_requests{{transport="bayeux-{kind.transport}"}}'
        )

    bob = log_in(daemon.port, f"bob-in-{room}")
    alice = make_client(kind, port=proxy.port)
    ext = with_token(daemon.port, f"alice-in-{room}")
    others = held()
    alice.open(proxy.port, ext=ext)
    [subscribed] = alice.subscribe(f"/chat/{room}")
    assert subscribed["successful"], subscribed
    say(daemon.port, bob, "before", room=room)
    alice.hear("before")
    # Cut while the next poll is on its way, the daemon would not know that this one has arrived.
    wait_until(lambda: held() > others, "her next poll")
    proxy.cut()
    say(daemon.port, bob, "meanwhile", room=room)
    alice.hear("meanwhile")
    assert alice.publish(f"/chat/{room}", {"text": "after"})["successful"]
    heard = alice.hear("after")
    assert once_each(heard) == ["before", "meanwhile", "after"]
    assert kind.is_pushed or len(heard) == 3


@pytest.mark.parametrize("kind", ACKNOWLEDGING, ids=str)
def test_what_was_lost_on_its_way_is_sent_again(
    kind: Kind, room: str, make_client: MakeClient, daemon: Daemon, proxy: CuttingProxy
) -> None:
    bob = log_in(daemon.port, f"bob-in-{room}")
    alice = make_client(kind, port=proxy.port)
    ext = with_token(daemon.port, f"alice-in-{room}")
    reply = alice.open(proxy.port, ext=ext, extensions=["ack"])
    assert reply["ext"]["ack"]
    alice.subscribe(f"/chat/{room}")
    say(daemon.port, bob, "before", room=room)
    alice.hear("before")
    session = alice.facts()["clientId"]
    for number in range(2):
        proxy.lose()
        say(daemon.port, bob, f"lost {number}", room=room)
        proxy.wait_until_lost(PATIENCE)
        proxy.cut()
        say(daemon.port, bob, f"kept {number}", room=room)
        alice.hear(f"kept {number}")
    expected = ["before", "lost 0", "kept 0", "lost 1", "kept 1"]
    assert texts(alice.hear("kept 1")) == expected
    assert alice.facts()["clientId"] == session
