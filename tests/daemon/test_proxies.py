"""The daemon behind nginx, HAProxy and Caddy, each started for real with the file of ``deploy/``.

Where the files allow 75 s of silence, 3 s are allowed here, so that whatever lasts longer shows
that the heartbeat keeps it open.
"""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.daemon.proxies import HOST, PROXIES, Nginx, Proxy, Typing
from tests.daemon.talk import Held, Running, log_in, once, people, say, wait_until
from tests.daemon.tls_websocket import TlsWebSocket
from tests.support import PATIENCE, Daemon, run
from tests.transport_paths import STREAMS

EVENTS = "/api/v1/events/"
VERSIONS = ("--http1.1", "--http2")

#: Seconds of silence, but for heartbeats, that no proxy would bear.
QUIET = 3.5

#: Seconds within which what is said has to have come through: a proxy that keeps it back gets no
#: buffer full by heartbeats in that time.
PROMPT = 20.0

#: Stands behind each of several answers.
MARK = "-- the next answer --"

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


def socket_through(proxy: Proxy, token: str, room: str) -> TlsWebSocket:
    """A WebSocket, by a stock client."""
    url = f"wss://{HOST}:{proxy.port}{EVENTS}ws?rooms={room}&token={token}"
    return TlsWebSocket(url, proxy.tls, proxy.port)


def next_message(ws: TlsWebSocket, wanted: str) -> dict[str, object]:
    """The next event that has something in it."""
    while True:
        event: dict[str, object] = json.loads(ws.recv(timeout=PROMPT))
        if wanted in json.dumps(event):
            return event


def last_cursor(daemon: Daemon) -> str:
    cursor: str = once(daemon.port, "GET", f"{EVENTS}poll").json["cursor"]
    return cursor


def open_streams(
    stack: ExitStack, proxy: Proxy, daemon: Daemon, room: str
) -> Mapping[str, Running]:
    """Every endless transport, in both versions of HTTP, by somebody of that name who is there."""
    opened: dict[str, Running] = {}
    for version in VERSIONS:
        for transport in STREAMS:
            name = f"{transport}-{version[-1]}-{room}"
            path = f"{EVENTS}{transport}?rooms={room}&token={log_in(daemon.port, name)}"
            opened[name] = stack.enter_context(Running(*proxy.curl(path, version)))
        name = f"duplex-{version[-1]}-{room}"
        opened[name] = stack.enter_context(Typing(*proxy.duplex(room, name, version)))
    return opened


def test_every_stream_comes_through_at_once_and_in_order(
    proxy: Proxy, daemon: Daemon, room: str
) -> None:
    token = log_in(daemon.port, f"alice-{room}")
    with ExitStack() as stack:
        streams = open_streams(stack, proxy, daemon, room)
        ws = stack.enter_context(closing(socket_through(proxy, token, room)))
        here = {*streams, f"alice-{room}"}
        wait_until(lambda: people(daemon.port, room) == here, "all are there")
        for stream in streams.values():
            if isinstance(stream, Typing):
                stream.pause()
        # Only heartbeats pass, and they have to: nobody's connection may be silent for so long.
        time.sleep(QUIET)
        said = [f"said {number}" for number in range(3)]
        for text in said:
            assert say(daemon.port, token, text, room=room).status == 201
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


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("transport", ["poll", "jsonp"])
def test_a_poll_is_answered_when_something_is_said(
    proxy: Proxy, daemon: Daemon, room: str, transport: str, version: str
) -> None:
    name = f"{transport}-{room}"
    token = log_in(daemon.port, name)
    query = f"callback=heard&cursor={last_cursor(daemon)}&rooms={room}&token={token}"
    # What she hears first is that she is there herself.
    with Running(*proxy.curl(f"{EVENTS}{transport}?{query}", version)) as poll:
        wait_until(lambda: people(daemon.port, room) == {name}, "it is held")
        event = say(daemon.port, token, f"for {transport}", room=room).json
        read = poll.until(event["cursor"], timeout=PROMPT)
        assert f"for {transport}" in read
        assert read.startswith("/**/heard(") is (transport == "jsonp")
        poll.to_end()


@pytest.mark.parametrize("version", VERSIONS)
def test_duplex_talks_both_ways(proxy: Proxy, daemon: Daemon, room: str, version: str) -> None:
    bob, carol = f"bob-{room}", f"carol-{room}"
    with ExitStack() as stack:
        other = stack.enter_context(Held(daemon.port, f"/rooms/{room}.txt"))
        # She is there before he comes, and sees that he does.
        assert other.response.status == 200
        typist = stack.enter_context(Typing(*proxy.duplex(room, bob, version)))
        other.until(f"* {bob} joined\n".encode())
        # He types nothing, and hears what she says.
        say(daemon.port, log_in(daemon.port, carol), "anybody here?", room=room)
        typist.until(f"[{carol}] anybody here?\n", timeout=PROMPT)
        for line in ("yes", "me"):
            typist.write(line)
            typist.until(f"[{bob}] {line}\n", timeout=PROMPT)
            other.until(f"[{bob}] {line}\n".encode())
        # A line that is refused is told, and the talk goes on.
        typist.write("x" * 9000)
        typist.until("! too long: 9000 of 8000 characters\n", timeout=PROMPT)
        typist.write("bye")
        assert typist.end().endswith(f"[{bob}] bye\n")
        other.until(f"[{bob}] bye\n".encode())


def test_where_duplex_can_not_stream_it_is_said_how_it_could(proxy: Proxy, room: str) -> None:
    path = f"/rooms/{room}.txt?name=ivy-{room}"
    with Typing(*proxy.curl(path, "--http1.1", "-T.", "-i")) as typist:
        if proxy.without_expect:
            typist.until("! add -H Expect: to curl\n", timeout=PROMPT)
            assert typist.output.startswith(b"HTTP/1.1 417 ")
        else:
            typist.until("200 OK", timeout=PROMPT)


def test_a_socket_talks_both_ways(proxy: Proxy, daemon: Daemon, room: str) -> None:
    name = f"dave-{room}"
    with closing(socket_through(proxy, log_in(daemon.port, name), room)) as ws:
        assert json.loads(ws.recv(timeout=PROMPT))["type"] == "hello"
        ws.send(json.dumps({"type": "message", "room": room, "text": "by wire"}))
        assert next_message(ws, "by wire")["from"] == name


def test_the_daemon_sees_the_address_of_the_client(proxy: Proxy, daemon: Daemon, room: str) -> None:
    with Held(daemon.port, f"{EVENTS}stream?rooms={room}") as watching:
        events = watching.events()
        assert next(events)["type"] == "hello"
        for number, forged in enumerate(["6.6.6.6", "6.6.6.6, 127.0.0.1", "127.0.0.1"]):
            name = f"erin{number}-{room}"
            path = f"/rooms/{room}.txt?name={name}"
            lies = ("-H", f"X-Forwarded-For: {forged}", "-H", "Forwarded: for=6.6.6.6")
            with Running(*proxy.curl(path, "--interface", "127.0.0.7", *lies)):
                joined = next(each for each in events if each.get("from") == name)
            assert (joined["type"], joined["address"]) == ("join", "127.0.0.7")


def test_who_is_no_trusted_proxy_is_not_believed(daemon: Daemon, room: str) -> None:
    lies = ("-H", "X-Forwarded-For: 6.6.6.6", "-H", "X-Forwarded-Proto: https")
    direct = ["curl", "-sN", "--interface", "127.0.0.7", *lies]
    mallory = [*direct, f"{daemon.url}/rooms/{room}.txt?name=mallory"]
    with Held(daemon.port, f"{EVENTS}stream?rooms={room}") as watching:
        events = watching.events()
        assert next(events)["type"] == "hello"
        with Running(*mallory):
            joined = next(each for each in events if each.get("from") == "mallory")
    assert joined["address"] == "127.0.0.7"
    body = ("-i", "--json", '{"name": "mallet"}')
    _, answer, _ = run(*direct, *body, f"{daemon.url}/api/v1/session")
    assert "201 Created" in answer
    assert "Secure" not in answer


def test_a_page_logs_in_and_posts_over_tls(proxy: Proxy, room: str) -> None:
    origin = ("-H", f"Origin: {proxy.url}", "-H", "Sec-Fetch-Site: same-origin")
    name = json.dumps({"name": f"fay-{room}"})
    _, answer, _ = run(*proxy.curl("/api/v1/session", "-i", *origin, "--json", name))
    (cookie,) = [line for line in answer.splitlines() if line.lower().startswith("set-cookie:")]
    assert "; Secure" in cookie
    session = cookie.partition(":")[2].partition(";")[0].strip()
    post = ("-w", "%{http_code}", "-b", session, "--json", '{"text": "from a page"}')
    path = f"/api/v1/rooms/{room}/messages"
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
    for path, answer in through(proxy, METRICS, "--path-as-is", "-L"):
        assert "comet_chat" not in answer, path
        assert answer.endswith(("404", "400")), path


def through(proxy: Proxy, paths: Sequence[str], *options: str) -> Iterator[tuple[str, str]]:
    """What one curl prints of each path."""
    first, *more = (proxy.curl(path, *options, "-w", f"%{{http_code}}{MARK}") for path in paths)
    _, answers, _ = run(*first, *(word for each in more for word in ("--next", *each[1:])))
    yield from zip(paths, answers.split(MARK)[:-1], strict=True)


def test_browsers_are_told_to_come_by_tls_alone(proxy: Proxy) -> None:
    for path, answer in through(proxy, ("/", "/nothing", "/metrics"), "-D", "-"):
        assert "strict-transport-security: max-age=31536000\n" in answer.lower(), path


@pytest.mark.parametrize("kibibytes", [257, 20 * 1024])
def test_a_body_that_is_too_large_is_refused(proxy: Proxy, tmp_path: Path, kibibytes: int) -> None:
    """By the proxy, or by the daemon through it, before all of it has come."""
    large = tmp_path / "large"
    large.write_bytes(b"x" * (kibibytes * 1024))
    options = ("--data-binary", f"@{large}", "-w", "%{http_code} ")
    # By five connections, each of its own.
    each = ("-o", "/dev/null", f"{proxy.url}/api/v1/rooms/lobby/messages")
    command = proxy.curl(each[-1].removeprefix(proxy.url), "-o", "/dev/null", *options)
    _, answers, _ = run(*command, "--parallel", "--parallel-immediate", *(4 * each))
    assert answers == 5 * "413 "


@pytest.mark.parametrize("proxy", ["haproxy"], indirect=True)
def test_an_address_has_so_many_connections_by_haproxy(proxy: Proxy) -> None:
    where = ("127.0.0.1", proxy.plain_port)
    with ExitStack() as stack:
        # Its threads take them in no certain order.
        opened = [
            stack.enter_context(socket.create_connection(where, PATIENCE)) for _ in range(260)
        ]
        watched = stack.enter_context(selectors.DefaultSelector())
        for each in opened:
            watched.register(each, selectors.EVENT_READ)
        # Before anything was asked, and long before that takes too long (408).
        first, _ = watched.select(PATIENCE)[0]
        assert isinstance(first.fileobj, socket.socket)
        with suppress(ConnectionResetError):
            assert first.fileobj.recv(1) == b""


@pytest.mark.parametrize("proxy", ["nginx"], indirect=True)
def test_an_address_has_so_many_requests_by_nginx(proxy: Proxy) -> None:
    context = proxy.tls
    asked = f"GET {EVENTS}stream HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    with ExitStack() as stack:
        for number in range(257):
            plain = stack.enter_context(
                socket.create_connection(("127.0.0.1", proxy.port), PATIENCE)
            )
            tls = stack.enter_context(context.wrap_socket(plain, server_hostname=HOST))
            tls.sendall(asked)
            status = tls.recv(100).split()[1]
            assert status == (b"200" if number < 256 else b"429"), number


def post_through(proxy: Proxy, token: str, room: str, text: str) -> None:
    """Post it until it is acknowledged, however often that takes."""
    path, body = f"/api/v1/rooms/{room}/messages", {"text": text, "client_id": text}

    def is_posted() -> bool:
        with suppress(OSError, HTTPException):
            return proxy.once("POST", path, 5.0, token=token, body=body).status < 400
        return False

    wait_until(is_posted, f"{text!r} is posted")


class Reading(threading.Thread):
    """A client that reads by a stream, and comes back with its cursor whenever that ends.

    :param last: what it reads up to.
    """

    def __init__(self, proxy: Proxy, room: str, cursor: str, last: str) -> None:
        super().__init__(daemon=True)
        #: What it has read, and how often it has opened a stream.
        self.texts: list[str] = []
        self.times = 0
        self._proxy, self._room, self._cursor, self._last = proxy, room, cursor, last

    def run(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while self._last not in self.texts and time.monotonic() < deadline:
            self.times += 1
            path = f"{EVENTS}stream?rooms={self._room}&cursor={self._cursor}"
            command = self._proxy.curl(path, "-f", "--max-time", "20", VERSIONS[self.times % 2])
            with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
                assert curl.stdout is not None
                for line in curl.stdout:
                    if not line.endswith(b"\n"):
                        break  # Half an event.
                    event = json.loads(line)
                    self._cursor = event.get("cursor", self._cursor)
                    if event["type"] == "message":
                        self.texts.append(event["text"])
                    if self._last in self.texts:
                        curl.kill()


def test_a_restart_of_the_proxy_loses_nothing(proxy: Proxy, daemon: Daemon, room: str) -> None:
    token = log_in(daemon.port, f"gil-{room}")
    texts = [f"kept {number}" for number in range(15)]
    reader = Reading(proxy, room, last_cursor(daemon), texts[-1])
    reader.start()
    for number, text in enumerate(texts):
        if number in (5, 10):
            # She has read something by this connection when it is lost.
            wait_until(lambda: reader.texts == texts[:number], "all is read")  # noqa: B023
            proxy.stop()
            starting = threading.Timer(0.2, proxy.start)
            starting.start()
        post_through(proxy, token, room, text)
    starting.join()
    reader.join(PATIENCE)
    assert reader.texts == texts
    assert reader.times >= 3


def test_no_token_is_in_the_log_of_nginx(tmp_path: Path, daemon: Daemon) -> None:
    token = log_in(daemon.port, "hal")
    with Nginx(tmp_path, daemon.port) as nginx:
        run(*nginx.curl(f"{EVENTS}poll?token={token}"))
        nginx.stop()
        logged = nginx.access_log.read_text() + nginx.log.read_text()
    assert f"GET {EVENTS}poll 200" in logged
    assert token not in logged
