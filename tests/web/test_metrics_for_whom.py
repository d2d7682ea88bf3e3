"""Who may see the daemon's numbers: this machine on the main port, or a port of their own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from twisted.internet.address import UNIXAddress

from cometd_chat.daemon.option_values import parse_network
from tests.memory import MakeSite, MemorySite
from tests.net import MemoryNet
from tests.web.refusals import problem

TYPE = "text/plain; version=0.0.4; charset=utf-8"
LOCAL = "127.0.0.1"

#: What proxies are known to add.
OF_PROXIES = (
    *("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Server", "Via"),
    *("Forwarded", "X-Real-IP", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP", "CF-Ray"),
    *("X-Envoy-External-Address", "Fastly-Client-IP", "X-Original-URI", "X-ProxyUser-Ip"),
    *("x-forwarded-for", "X-Cluster-Client-Ip", "Client-IP", "CDN-Loop", "Max-Forwards"),
    *("X-Forwarded", "Fly-Client-IP", "X-Amzn-Trace-Id"),
)


class TestOnTheMainPort:
    @pytest.mark.reads
    @pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
    @pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "LOCALHOST:80", "[::1]:8080"])
    def test_this_machine_sees_them(self, site: MemorySite, address: str, host: str) -> None:
        response = site.get("/metrics", address=address, headers={"Host": host})
        assert (response.status, response.header("content-type")) == (200, TYPE)
        assert "comet_chat_sessions 0.0" in response.text

    def test_so_does_a_peer_on_a_unix_socket(
        self, site: MemorySite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connection = site.connect()
        monkeypatch.setattr(connection.transport, "getPeer", lambda: UNIXAddress(None))
        response = connection.request("GET", "/metrics", headers={"Host": "localhost"})
        assert response.status == 200

    @pytest.mark.parametrize("address", ["192.0.2.7", "10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1"])
    def test_another_does_not(self, site: MemorySite, address: str) -> None:
        response = site.get("/metrics", address=address, headers={"Host": "localhost"})
        problem(site, response, 404, "not-found")

    @pytest.mark.parametrize("host", ["chat.example.org", "192.0.2.1:8080", "[2001:db8::1]"])
    def test_nor_who_asks_for_a_name_of_the_world(self, make_site: MakeSite, host: str) -> None:
        """As what a proxy on this machine passes on."""
        site = make_site(hosts=("chat.example.org",))
        response = site.get("/metrics", address=LOCAL, headers={"Host": host})
        problem(site, response, 404, "not-found")

    @pytest.mark.parametrize("header", OF_PROXIES)
    @pytest.mark.parametrize("trusted", [True, False])
    def test_nor_a_proxy(self, make_site: MakeSite, header: str, trusted: bool) -> None:
        site = make_site(trusted_proxy=(parse_network(LOCAL),) if trusted else ())
        for value in ("", LOCAL, "anything"):
            response = site.get("/metrics", address=LOCAL, headers={header: value})
            problem(site, response, 404, "not-found")

    def test_what_is_refused_looks_like_nothing(self, site: MemorySite) -> None:
        for path in ("/metrics", "/metricz"):
            assert "nothing at this path" in problem(site, site.get(path), 404)["detail"]

    @pytest.mark.parametrize("path", ["/metrics/", "/%6detrics/", "//metrics", "/metrics%2f"])
    def test_there_is_one_path_to_them(self, site: MemorySite, path: str) -> None:
        response = site.get(path, address=LOCAL)
        assert response.status in (308, 404)
        assert b"comet_chat" not in response.body

    @pytest.mark.parametrize("address", [LOCAL, "192.0.2.7"])
    def test_there_are_none_where_they_have_a_port(self, make_site: MakeSite, address: str) -> None:
        site = make_site(metrics="tcp:9100:interface=127.0.0.1")
        problem(site, site.get("/metrics", address=address), 404, "not-found")


class TestOnAPortOfTheirOwn:
    @pytest.fixture
    def port(self, make_site: MakeSite) -> Iterator[MemoryNet]:
        site = make_site(hosts=("stats.example.org",), metrics="tcp:9100")
        with MemoryNet(clock=site.clock) as net:
            net.factory = site.metrics_site
            yield net

    @pytest.mark.parametrize("host", ["127.0.0.1:9100", "192.0.2.1:9100", "stats.example.org"])
    def test_whoever_reaches_it_sees_them(self, port: MemoryNet, host: str) -> None:
        ask = partial(port.request, headers={"Host": host, "X-Forwarded-For": "192.0.2.9"})
        got, head = ask("GET", "/metrics"), ask("HEAD", "/metrics")
        assert (got.status, got.header("content-type")) == (200, TYPE)
        assert "comet_chat_sessions 0.0" in got.text
        assert (head.status, head.header("content-type"), head.body) == (200, TYPE, b"")

    @pytest.mark.parametrize("path", ["/", "/metrics/", "/rooms/lobby", "/healthz", "//metrics"])
    def test_and_nothing_else(self, port: MemoryNet, path: str, site: MemorySite) -> None:
        problem(site, port.request("GET", path), 404, "not-found")

    def test_only_to_read(self, port: MemoryNet, site: MemorySite) -> None:
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            response = port.request(method, "/metrics", headers={"Content-Length": "0"})
            problem(site, response, 405, "method-not-allowed")
            assert response.header("allow") == "GET, HEAD"

    def test_by_no_name_that_is_not_ours(self, port: MemoryNet, site: MemorySite) -> None:
        response = port.request("GET", "/metrics", headers={"Host": "evil.example"})
        problem(site, response, 421, "wrong-host")
