"""What comes again after a stop of the daemon, by clients without the acknowledge extension: only
what the old one could not know to have arrived."""

from __future__ import annotations

import pytest

from cometd_chat.bayeux.stopping import PART_WITHIN
from tests.memory import MakeSite, MemorySite
from tests.web.bayeux import FOREIGN, KINDS, LONG, SCRIPT, SOCKET, STREAM, Client
from tests.web.talkers import CLOSE, client_frame


@pytest.fixture
def site(make_site: MakeSite) -> MemorySite:
    # One kind of them comes from a page of another site.
    return make_site(allow_origin=(FOREIGN,))


def after(make_site: MakeSite, site: MemorySite, alice: Client) -> list[str]:
    """What she is told by the next daemon, after what was said while nobody was there."""
    new = make_site(log=site.log, directory=site.directory)
    new._tokens.update(site._tokens)
    new.say("two")
    return Client(new, token=alice.token).joined("/chat/lobby").texts


def unconfirmed(site: MemorySite, kind: str) -> Client:
    """Somebody who has been told something, and has not said so yet."""
    alice = Client(site, kind, name="alice").joined("/chat/lobby")
    if alice.line is not None:
        alice.line.answers_pings = False
    site.say("one")
    return alice


def test_the_answer_to_the_close_of_a_socket_confirms_all_before(
    make_site: MakeSite, site: MemorySite
) -> None:
    alice = unconfirmed(site, SOCKET)
    site.stop()
    assert alice.line is not None
    assert [each["data"]["text"] for each in alice.line.messages() if "data" in each] == ["one"]
    assert alice.line.close_code() == 1012
    alice.line.connection.send(client_frame(CLOSE, (1012).to_bytes(2, "big")))
    assert after(make_site, site, alice) == ["two"]


@pytest.mark.parametrize("gone", [True, False])
def test_a_socket_that_does_not_answer_may_not_have_read_it(
    make_site: MakeSite, site: MemorySite, gone: bool
) -> None:
    alice = unconfirmed(site, SOCKET)
    site.stop()
    assert alice.line is not None
    if gone:
        alice.line.connection.reset()
    site.advance(PART_WITHIN + 1)
    assert after(make_site, site, alice) == ["one", "two"]


@pytest.mark.parametrize("kind", [LONG, SCRIPT])
def test_the_next_connect_of_a_poller_confirms_the_last(
    make_site: MakeSite, site: MemorySite, kind: str
) -> None:
    alice = unconfirmed(site, kind)
    assert alice.held is not None
    assert len(alice.read(alice.held)) == 2
    site.stop()
    connection = site.connect()
    message = alice.full({"channel": "/meta/connect", "connectionType": kind})
    assert not alice.post(message, connection=connection).complete
    assert connection.closed
    assert after(make_site, site, alice) == ["two"]


def test_the_next_connect_of_one_that_acknowledges_says_what_it_has(
    make_site: MakeSite, site: MemorySite
) -> None:
    alice = Client(site, LONG, name="alice", ext={"ack": True}).joined("/chat/lobby")
    alice.connect(ext={"ack": 2})
    site.say("one")
    assert alice.held is not None
    *_, reply = alice.read(alice.held)
    site.stop()
    alice.connect(ext={"ack": reply["ext"]["ack"]})
    assert after(make_site, site, alice) == ["two"]


@pytest.mark.parametrize("kind", [LONG, STREAM])
def test_without_a_word_it_comes_again(make_site: MakeSite, site: MemorySite, kind: str) -> None:
    alice = unconfirmed(site, kind)
    site.stop()
    site.advance(PART_WITHIN + 1)
    assert after(make_site, site, alice) == ["one", "two"]


def test_the_stop_waits_no_longer_than_there_is_something_to_know(site: MemorySite) -> None:
    first, second = unconfirmed(site, SOCKET), Client(site, SOCKET, name="bob")
    told: list[None] = []
    site.chat.stop().addCallback(told.append)
    site.turn()
    assert not told
    for each in (second, first):
        assert each.line is not None
        each.line.connection.send(client_frame(CLOSE, (1012).to_bytes(2, "big")))
    assert told == [None]


def test_the_stop_waits_for_nobody_who_has_everything(site: MemorySite) -> None:
    Client(site, SOCKET, name="alice").joined("/chat/lobby")
    told: list[None] = []
    site.chat.stop().addCallback(told.append)
    assert told == [None]


def test_who_is_nobody_is_cut_off(site: MemorySite) -> None:
    alice = unconfirmed(site, LONG)
    site.stop()
    for message in ({"channel": "/meta/connect", "clientId": "x"}, alice.full({"channel": "/a"})):
        connection = site.connect()
        assert not alice.post(message, connection=connection).complete
        assert connection.closed


@pytest.mark.parametrize("kind", KINDS)
def test_a_stop_answers_all_that_is_held(site: MemorySite, kind: str) -> None:
    alice = Client(site, kind, name="alice").joined("/chat/lobby")
    held = alice.held
    site.stop()
    if kind == SOCKET:
        assert alice.line is not None
        assert alice.line.close_code() == 1012
        site.advance(6)
        assert alice.line.connection.closed
    elif kind == STREAM:
        assert alice.line is not None
        assert alice.line.response is not None
        assert alice.line.response.complete
    else:
        assert held is not None
        (reply,) = alice.read(held)
        assert reply["successful"]
        assert reply["advice"]["reconnect"] == "retry"
    # Nobody is let in any more, nor told to shake hands with a daemon that goes.
    late = Client(site, LONG, start=False)
    response = late.post({"channel": "/meta/handshake"}, connection=late.connection)
    assert late.connection.closed
    assert not response.complete
