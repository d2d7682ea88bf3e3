"""The daemon behind nginx, HAProxy and Caddy, each started for real with the file of ``deploy/``.

Where the files allow 75 s of silence, 3 s are allowed here, so that whatever lasts longer shows
that the heartbeat keeps it open.
"""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.daemon.proxies import HOST, PROXIES, Nginx, Proxy, Typing
from tests.daemon.talk import Held, Running, history, log_in, metric, once, say, wait_until
from tests.doors import STREAMS
from tests.support import PATIENCE, Daemon, run

EVENTS = "/api/v1/events/"
VERSIONS = ("--http1.1", "--http2")

#: Seconds of silence, but for heartbeats, that no proxy would bear.
QUIET = 3.5

#: Seconds within which what is said has to have come through.
PROMPT = 5.0

#: Ways to spell what the proxies keep for the operator.
METRICS = (
    *("/metrics", "/%6detrics", "/metrics?x", "/metrics/", "/%6detrics/", "//metrics"),
    *("/./metrics", "/x/../metrics", "/metrics%2f", "/metrics%00", "/METRICS", "/metrics//"),
)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(
        tmp_path_factory.mktemp("proxied"),
        f"--host={HOST}",
        "--trusted-proxy=127.0.0.1",
        "--show-addresses=full",
        "--heartbeat=0.5",
        "--limits=off",
    ) as running:
        yield running


@pytest.fixture(scope="module", params=list(PROXIES))
def proxy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, daemon: Daemon
) -> Iterator[Proxy]:
    with PROXIES[request.param](tmp_path_factory.mktemp(request.param), daemon.port) as running:
        yield running


def new_name(name: str, proxy: Proxy) -> str:
    return f"{name}-{proxy.name}"


def socket_through(proxy: Proxy, token: str) -> ClientConnection:
    """A WebSocket, by a stock client."""
    return connect(
        f"wss://{HOST}:{proxy.port}{EVENTS}ws?token={token}",
        sock=socket.create_connection(("127.0.0.1", proxy.port), PATIENCE),
        ssl=proxy.tls(),
        ping_interval=None,
    )


def next_message(ws: ClientConnection, wanted: str) -> dict[str, object]:
    """The next event that has something in it."""
    while True:
        event: dict[str, object] = json.loads(ws.recv(timeout=PROMPT))
        if wanted in json.dumps(event):
            return event


def last_cursor(daemon: Daemon) -> str:
    cursor: str = once(daemon.port, "GET", f"{EVENTS}poll").json["cursor"]
    return cursor


def open_streams(stack: ExitStack, proxy: Proxy) -> Mapping[str, Running]:
    """Every endless door, in both versions of HTTP."""
    opened: dict[str, Running] = {}
    for version in VERSIONS:
        for door in STREAMS:
            reader = Running(*proxy.curl(f"{EVENTS}{door}", version))
            opened[door + version] = stack.enter_context(reader)
        name = new_name(f"duplex{version[-1]}", proxy)
        typist = Typing(*proxy.duplex(name, version))
        opened["duplex" + version] = stack.enter_context(typist)
    return opened


def held(daemon: Daemon, *doors: str) -> list[float]:
    return [metric(daemon.port, f'comet_chat_held_requests{{door="{door}"}}') for door in doors]


def test_every_stream_comes_through_at_once_and_in_order(proxy: Proxy, daemon: Daemon) -> None:
    token = log_in(daemon.port, new_name("alice", proxy))
    with ExitStack() as stack:
        streams = open_streams(stack, proxy)
        ws = stack.enter_context(socket_through(proxy, token))
        wait_until(lambda: held(daemon, *STREAMS, "duplex") == [2.0] * 6, "all are held")
        assert held(daemon, "ws") == [1.0]
        # Only heartbeats pass, and they have to: nobody's connection may be silent for so long.
        time.sleep(QUIET)
        assert held(daemon, *STREAMS, "duplex", "ws") == [2.0] * 6 + [1.0]
        said = [f"{new_name('said', proxy)} {number}" for number in range(3)]
        for text in said:
            assert say(daemon.port, token, text).status == 201
            for name, stream in streams.items():
                stream.until(text, timeout=PROMPT)
                assert stream.process.poll() is None, f"{name} has ended"
            assert next_message(ws, text)["text"] == text
        for name, stream in streams.items():
            read = stream.output.decode()
            places = [read.index(text) for text in said]
            assert places == sorted(places), name
            assert [read.count(text) for text in said] == [1, 1, 1], name
            if not name.startswith(("text", "duplex")):
                assert '"type":"heartbeat"' in read, name
            else:
                assert "\n\n" in read or read.startswith("\n"), name


@pytest.mark.parametrize("door", ["poll", "jsonp"])
def test_a_poll_is_answered_when_something_is_said(proxy: Proxy, daemon: Daemon, door: str) -> None:
    token = log_in(daemon.port, new_name(door, proxy))
    path = f"{EVENTS}{door}?callback=heard&cursor={last_cursor(daemon)}&token={token}"
    text = new_name(f"for {door}", proxy)
    for version in VERSIONS:
        with Running(*proxy.curl(path, version)) as poll:
            wait_until(lambda: held(daemon, door) == [1.0], "it is held")
            event = say(daemon.port, token, text + version).json
            read = poll.until(event["cursor"], timeout=PROMPT)
            assert text in read
            assert read.startswith("/**/heard(") is (door == "jsonp")
            poll.to_end()
        path = f"{EVENTS}{door}?callback=heard&cursor={event['cursor']}&token={token}"


@pytest.mark.parametrize("version", VERSIONS)
def test_duplex_talks_both_ways(proxy: Proxy, daemon: Daemon, version: str) -> None:
    bob, carol = (new_name(f"{name}{version[-1]}", proxy) for name in ("bob", "carol"))
    typing = Typing(*proxy.duplex(bob, version))
    with typing as typist, Held(daemon.port, "/rooms/lobby.txt") as other:
        wait_until(lambda: held(daemon, "duplex") == [1.0], "he is held")
        # He types nothing, and hears what she says.
        say(daemon.port, log_in(daemon.port, carol), "anybody here?")
        typist.until(f"[{carol}] anybody here?\n", timeout=PROMPT)
        for line in ("yes", "me"):
            typist.type(line)
            typist.until(f"[{bob}] {line}\n", timeout=PROMPT)
            other.until(f"[{bob}] {line}\n".encode())
        # A line that is refused is told, and the talk goes on.
        typist.type("x" * 9000)
        typist.until("! too long: 9000 of 8000 characters\n", timeout=PROMPT)
        typist.type("bye")
        assert typist.end().endswith(f"[{bob}] bye\n")
        other.until(f"[{bob}] bye\n".encode())


def test_where_duplex_can_not_stream_it_is_said_how_it_could(proxy: Proxy, daemon: Daemon) -> None:
    path = f"/rooms/lobby.txt?name={new_name('ivy', proxy)}"
    with Typing(*proxy.curl(path, "--http1.1", "-T.", "-i")) as typist:
        if proxy.without_expect:
            typist.until("! add -H Expect: to curl\n", timeout=PROMPT)
            assert typist.output.startswith(b"HTTP/1.1 417 ")
        else:
            typist.until("200 OK", timeout=PROMPT)


def test_a_socket_talks_both_ways(proxy: Proxy, daemon: Daemon) -> None:
    name = new_name("dave", proxy)
    with socket_through(proxy, log_in(daemon.port, name)) as ws:
        assert json.loads(ws.recv(timeout=PROMPT))["type"] == "hello"
        ws.send(json.dumps({"type": "message", "room": "lobby", "text": "by wire"}))
        assert next_message(ws, "by wire")["from"] == name


def test_the_daemon_sees_the_address_of_the_client(proxy: Proxy, daemon: Daemon) -> None:
    with Held(daemon.port, EVENTS + "stream") as watching:
        events = watching.events()
        for number, forged in enumerate(["6.6.6.6", "6.6.6.6, 127.0.0.1", "127.0.0.1"]):
            name = new_name(f"erin{number}", proxy)
            path = f"/rooms/lobby.txt?name={name}"
            lies = ("-H", f"X-Forwarded-For: {forged}", "-H", "Forwarded: for=6.6.6.6")
            with Running(*proxy.curl(path, "--interface", "127.0.0.7", *lies)):
                joined = next(each for each in events if each.get("from") == name)
            assert (joined["type"], joined["address"]) == ("join", "127.0.0.7")


def test_who_is_no_trusted_proxy_is_not_believed(daemon: Daemon) -> None:
    lies = ("-H", "X-Forwarded-For: 6.6.6.6", "-H", "X-Forwarded-Proto: https")
    direct = ["curl", "-sN", "--interface", "127.0.0.7", *lies]
    mallory = [*direct, f"{daemon.url}/rooms/lobby.txt?name=mallory"]
    with Held(daemon.port, EVENTS + "stream") as watching, Running(*mallory):
        joined = next(each for each in watching.events() if each.get("from") == "mallory")
    assert joined["address"] == "127.0.0.7"
    body = ("-i", "--json", '{"name": "mallet"}')
    _, answer, _ = run(*direct, *body, f"{daemon.url}/api/v1/session")
    assert "201 Created" in answer
    assert "Secure" not in answer


def test_a_page_logs_in_and_posts_over_tls(proxy: Proxy, daemon: Daemon) -> None:
    origin = ("-H", f"Origin: {proxy.url}", "-H", "Sec-Fetch-Site: same-origin")
    name = json.dumps({"name": new_name("fay", proxy)})
    _, answer, _ = run(*proxy.curl("/api/v1/session", "-i", *origin, "--json", name))
    (cookie,) = [line for line in answer.splitlines() if line.lower().startswith("set-cookie:")]
    assert "; Secure" in cookie
    session = cookie.partition(":")[2].partition(";")[0].strip()
    post = ("-w", "%{http_code}", "-b", session, "--json", '{"text": "from a page"}')
    path = "/api/v1/rooms/lobby/messages"
    _, answer, _ = run(*proxy.curl(path, *origin, *post))
    assert answer.endswith("201")
    foreign = ("-H", f"Origin: https://{HOST}.evil.example")
    _, answer, _ = run(*proxy.curl(path, *foreign, *post))
    assert answer.endswith("403")


def test_plain_http_goes_to_tls_and_the_numbers_stay_private(proxy: Proxy) -> None:
    plain = f"http://{HOST}:{proxy.plain_port}/rooms/lobby"
    resolve = f"{HOST}:{proxy.plain_port}:127.0.0.1"
    _, answer, _ = run("curl", "-sI", "--resolve", resolve, plain)
    assert answer.split()[1] in ("301", "308")
    assert f"location: https://{HOST}" in answer.lower()
    for path in METRICS:
        _, answer, _ = run(*proxy.curl(path, "--path-as-is", "-L", "-w", "%{http_code}"))
        assert "comet_chat" not in answer, path
        assert answer.endswith(("404", "400")), path


def post_through(proxy: Proxy, token: str, texts: list[str]) -> None:
    """Post each until it is acknowledged, however often that takes."""
    for text in texts:
        body = json.dumps({"text": text, "client_id": text})
        post = ("-f", "-H", f"Authorization: Bearer {token}", "--json", body)
        command = proxy.curl("/api/v1/rooms/lobby/messages", *post, "--max-time", "5")
        while run(*command)[0]:
            time.sleep(0.02)


def read_through(proxy: Proxy, cursor: str, last: str) -> tuple[list[str], int]:
    """What a client reads that comes back with its cursor whenever its stream ends.

    :returns: the texts, and how often it came back.
    """
    read: list[str] = []
    times = 0
    deadline = time.monotonic() + PATIENCE
    while last not in read:
        assert time.monotonic() < deadline, read
        times += 1
        path = f"{EVENTS}stream?cursor={cursor}"
        command = proxy.curl(path, "-f", "--max-time", "20", VERSIONS[times % 2])
        with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
            assert curl.stdout is not None
            for line in curl.stdout:
                if not line.endswith(b"\n"):
                    break  # Half an event.
                event = json.loads(line)
                cursor = event.get("cursor", cursor)
                if event["type"] == "message":
                    read.append(event["text"])
                if last in read:
                    curl.kill()
    return read, times - 1


def test_a_restart_of_the_proxy_loses_nothing(proxy: Proxy, daemon: Daemon) -> None:
    token = log_in(daemon.port, new_name("gil", proxy))
    cursor = last_cursor(daemon)
    texts = [f"{new_name('kept', proxy)} {number}" for number in range(30)]
    posting = threading.Thread(target=post_through, args=(proxy, token, texts), daemon=True)
    posting.start()

    def wait_for_posts(count: int) -> None:
        def posted() -> bool:
            return sum(each["text"] in texts for each in history(daemon.port)) >= count

        wait_until(posted, f"{count} have been posted")

    def restart() -> None:
        for count in (5, 15):
            wait_for_posts(count)
            proxy.stop()
            proxy.start()

    restarting = threading.Thread(target=restart, daemon=True)
    restarting.start()
    read, times = read_through(proxy, cursor, texts[-1])
    posting.join(PATIENCE)
    restarting.join(PATIENCE)
    assert read == texts
    assert times >= 2


def test_no_token_is_in_the_log_of_nginx(tmp_path: Path, daemon: Daemon) -> None:
    token = log_in(daemon.port, "hal")
    with Nginx(tmp_path, daemon.port) as nginx:
        run(*nginx.curl(f"{EVENTS}poll?token={token}"))
        nginx.stop()
        logged = nginx.access_log.read_text() + nginx.log.read_text()
    assert f"GET {EVENTS}poll 200" in logged
    assert token not in logged
