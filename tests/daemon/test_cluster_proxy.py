"""HAProxy before three machines, as the file of ``deploy/`` sets it up: who is asked, who isn't."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.daemon.proxies import Haproxy, replaced
from tests.daemon.talk import wait_until
from tests.support import ROOT, free_port


class Node(ThreadingHTTPServer):
    """A machine that says its name, and whether it is ready."""

    def __init__(self, name: str, port: int) -> None:
        super().__init__(("127.0.0.1", port), Answers)
        self.name = name
        self.is_ready = True
        self.hosts: set[str | None] = set()


class Answers(BaseHTTPRequestHandler):
    """Its answers."""

    protocol_version = "HTTP/1.1"
    server: Node

    def do_GET(self) -> None:
        self.server.hosts.add(self.headers["Host"])
        body = self.server.name.encode()
        ready = self.server.is_ready or self.path != "/readyz"
        self.send_response(200 if ready else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        # HAProxy has seen enough of a check with its head.
        with suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Cluster(Haproxy):
    """HAProxy before three machines."""

    file = "haproxy-cluster.cfg"
    ports: list[int]

    def adapt(self, text: str) -> str:
        self.ports = [free_port() for _ in range(3)]
        machines = {
            f"10.0.0.{11 + number}:8080": f"127.0.0.1:{port}"
            for number, port in enumerate(self.ports)
        }
        return super().adapt(replaced(text, machines))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[Cluster, list[Node]]]:
    proxy = Cluster(tmp_path, None)
    with ExitStack() as stack:
        nodes = []
        for number, port in enumerate(proxy.ports, 1):
            node = Node(f"chat-{number}", port)
            Thread(target=node.serve_forever, daemon=True).start()
            stack.callback(node.server_close)
            stack.callback(node.shutdown)
            nodes.append(node)
        stack.enter_context(proxy)
        yield proxy, nodes


def asked(proxy: Cluster, times: int = 12) -> Counter[str]:
    """Who answers requests, each of which has to succeed."""
    found: Counter[str] = Counter()
    for _ in range(times):
        answer = proxy.once("GET", "/")
        assert answer.status == 200, answer
        found[answer.text] += 1
    return found


def test_each_request_goes_to_the_next(cluster: tuple[Cluster, list[Node]]) -> None:
    proxy, nodes = cluster
    assert asked(proxy) == {"chat-1": 4, "chat-2": 4, "chat-3": 4}
    # Health checks are for a host that any daemon takes, requests for the one that was asked for.
    hosts = {"localhost", proxy.url.removeprefix("https://")}
    wait_until(lambda: all(node.hosts >= hosts for node in nodes), "all are checked")
    assert all(node.hosts == hosts for node in nodes)


def test_who_is_not_ready_is_left_out_until_it_is(cluster: tuple[Cluster, list[Node]]) -> None:
    proxy, nodes = cluster
    nodes[1].is_ready = False
    wait_until(lambda: "chat-2" not in asked(proxy, 3), "it is left out")
    assert set(asked(proxy)) == {"chat-1", "chat-3"}
    nodes[1].is_ready = True
    wait_until(lambda: "chat-2" in asked(proxy, 3), "it is back")


def test_a_machine_that_is_gone_costs_nobody_an_answer(
    cluster: tuple[Cluster, list[Node]],
) -> None:
    proxy, nodes = cluster
    nodes[2].shutdown()
    nodes[2].server_close()
    # From the first moment on, before any check has failed.
    assert set(asked(proxy)) == {"chat-1", "chat-2"}


def test_all_but_the_backend_is_as_for_one_machine() -> None:
    one, three = (
        (ROOT / "deploy" / name).read_text().partition("\nglobal\n")[2].partition("\nbackend ")[0]
        for name in ("haproxy.cfg", "haproxy-cluster.cfg")
    )
    assert one == three
