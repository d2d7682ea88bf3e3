"""SIGTERM with readers at every transport and posts in flight: all are told, nothing is lost."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from functools import partial
from http.client import HTTPException
from pathlib import Path
from threading import Event

import attrs

from tests.daemon.locks import locked, patient
from tests.daemon.talk import Answer, Held, history, log_in, metric, once, say, wait_until
from tests.support import Daemon

#: A cursor, as each transport shows it to whoever reads its last words.
CURSOR = rb"([0-9]+\.[0-9A-Za-z_-]+)"


@attrs.frozen
class Transport:
    """A transport, and how its last words are read.

    :param path: where it is.
    :param last: what it ends with, the cursor in a group.
    """

    path: str
    last: bytes


TRANSPORTS = {
    "frame": Transport(
        "/api/v1/events/frame",
        rb'parent\.comet\.receive\(\{"type":"reopen","cursor":"' + CURSOR + rb'"[^<]*</script>\s*'
        rb"</body></html>\s*$",
    ),
    "stream": Transport(
        "/api/v1/events/stream", rb'\{"type":"reopen","cursor":"' + CURSOR + rb'".*\}\n$'
    ),
    "sse": Transport(
        "/api/v1/events/sse",
        rb"id: " + CURSOR + rb'\ndata: \{"type":"reopen".*\}\n\n$',
    ),
    "text": Transport(
        "/rooms/lobby.txt",
        rb"\n\* the stream ends here, go on with cursor=" + CURSOR + rb"\n$",
    ),
    "poll": Transport("/api/v1/events/poll", rb'"cursor":"' + CURSOR + rb'"\}\n$'),
    "openchat": Transport(
        "/chat?action=openchat", rb'<a href="[^"]*cursor=' + CURSOR + rb'[^"]*">'
    ),
}


def url(transport: Transport, cursor: str) -> str:
    return f"{transport.path}{'&' if '?' in transport.path else '?'}cursor={cursor}"


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return True
    return False


def lines(read: bytes) -> list[int]:
    """The numbers of the messages in what a transport sent, in order."""
    return [int(number) for number in re.findall(rb"message-(\d+)\.", read)]


def is_held(port: int, transport: str) -> bool:
    return metric(port, f'comet_chat_held_requests{{transport="{transport}"}}') == 1


def signalled(daemon: Daemon) -> None:
    """Send SIGTERM and don't wait."""
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGTERM)


def check_end(daemon: Daemon) -> None:
    """It ends by the signal that it got, waited for nothing in vain, and doesn't complain."""
    assert daemon.stop(None) == -signal.SIGTERM
    for word in ("Traceback", "Unhandled", "critical"):
        assert word not in daemon.log


def test_every_reader_is_told_where_to_go_on_and_does(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        alice = log_in(daemon.port, "alice")
        start = once(daemon.port, "GET", "/api/v1/events/poll").json["cursor"]
        said = [say(daemon.port, alice, f"message-{number}.").json for number in range(3)]
        # The poll has it all, so that it is held; the others come from the start.
        cursors = dict.fromkeys(TRANSPORTS, start) | {"poll": said[-1]["cursor"]}
        last = stop_with_readers(daemon, alice, cursors)
        for name, transport in TRANSPORTS.items():
            assert lines(last[name]) == ([] if name == "poll" else [0, 1, 2]), name
            found = re.search(transport.last, last[name])
            assert found is not None, last[name][-300:]
            cursors[name] = found[1].decode()
        for name in ("frame", "stream"):
            (after,) = re.findall(rb'"reopen".*"after":([0-9.]+)', last[name])
            assert 0 <= float(after) <= 3
        daemon.start()
        for number in range(3, 5):
            say(daemon.port, alice, f"message-{number}.")
        for name, transport in TRANSPORTS.items():
            with Held(
                daemon.port, url(transport, cursors[name]), headers=head(name, alice)
            ) as reader:
                reader.until(b"message-4.")
                assert lines(reader.read) == [3, 4], name


def head(transport: str, token: str) -> dict[str, str]:
    """The classic page is for those who are logged in."""
    return {"Authorization": f"Bearer {token}"} if transport == "openchat" else {}


def stop_with_readers(daemon: Daemon, token: str, cursors: Mapping[str, str]) -> dict[str, bytes]:
    """Hold a request at each transport, stop the daemon, and read what each was told to its end."""
    with ExitStack() as stack:
        readers = {
            name: stack.enter_context(
                Held(daemon.port, url(transport, cursors[name]), headers=head(name, token))
            )
            for name, transport in TRANSPORTS.items()
        }
        for name in TRANSPORTS:
            wait_until(partial(is_held, daemon.port, name), f"{name} is held")
        signalled(daemon)
        last = {name: reader.to_end() for name, reader in readers.items()}
        assert refuses(daemon.port)
        check_end(daemon)
    return last


def post_until(port: int, token: str, name: str, over: Event) -> tuple[list[str], list[str]]:
    """Post, a connection each, until told to stop or refused; what was acknowledged, what not."""
    acknowledged: list[str] = []
    refused: list[str] = []
    for number in range(10_000):
        if over.is_set() or len(refused) == 3:
            break
        client_id = f"{name}-{number}"
        try:
            answer = say(port, token, "x" * 500, client_id=client_id)
        except (OSError, HTTPException):
            refused.append(client_id)
            continue
        assert answer.status in (201, 503), answer
        if answer.status == 503:
            assert int(answer.headers["retry-after"]) >= 1
        (acknowledged if answer.status == 201 else refused).append(client_id)
    return acknowledged, refused


def test_a_post_in_flight_is_acknowledged_or_not_kept(tmp_path: Path) -> None:
    with Daemon(tmp_path, "--limits=off") as daemon, ThreadPoolExecutor(8) as threads:
        over = Event()
        posting = [
            threads.submit(post_until, daemon.port, log_in(daemon.port, name), name, over)
            for name in "abcdefgh"
        ]
        appended = "comet_chat_events_appended_total"
        wait_until(lambda: metric(daemon.port, appended) > 50, "they post")
        signalled(daemon)
        check_end(daemon)
        over.set()
        results = [each.result() for each in posting]
        acknowledged = [client_id for result in results for client_id in result[0]]
        assert len(acknowledged) > 50
        assert any(refused for _, refused in results)
        daemon.start()
        kept = [message["client_id"] for message in history(daemon.port)]
        assert sorted(kept) == sorted(acknowledged)


def test_a_slow_commit_is_waited_for_and_told_of(tmp_path: Path) -> None:
    # On a busy machine a stop may take longer than the daemon waits for a lock by itself.
    with patient(tmp_path) as daemon, ThreadPoolExecutor(1) as thread:
        alice = log_in(daemon.port, "alice")
        with locked(daemon):
            post = thread.submit(say, daemon.port, alice, "slow", client_id="slow")
            wait_until(lambda: is_received(daemon), "the post has come")
            signalled(daemon)
            wait_until(lambda: refuses(daemon.port), "the port is closed")
            # Longer than the last answers have to leave; the post is what is waited for now.
            assert not wait([post], timeout=0.5).done
        answer: Answer = post.result()
        assert answer.status == 201
        check_end(daemon)
        daemon.start()
        assert history(daemon.port) == [answer.json]


def is_received(daemon: Daemon) -> bool:
    """Whether nothing waits to be read by the daemon on its connections."""
    waiting = Path("/proc/net/tcp").read_text().splitlines()[1:]
    local = f"0100007F:{daemon.port:04X}"
    mine = [line.split() for line in waiting if line.split()[1] == local]
    established = [fields for fields in mine if fields[3] == "01"]
    return bool(established) and all(fields[4].endswith(":00000000") for fields in established)
