"""Faye, a Bayeux server on Node: https://faye.jcoglan.com/.

What it is: `Faye`, started on Node, and the polling clients that it expects.

What it may know: the Bayeux protocol's long-polling transport.

Invariant: the version is pinned in benchmarks/peers/package-lock.json.
"""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

import attrs

from benchmarks.processes import Address, BenchmarkFailed, Running, free_port, start
from benchmarks.servers.server import scratch
from benchmarks.wire import body, connect, cookie, cookie_of, exchange, post

PEERS = Path(__file__).parent.parent / "peers"

CHANNEL = "/chat/lobby"


def missing() -> str:
    """What has to be installed first, or nothing."""
    if not shutil.which("node") or not (PEERS / "node_modules/faye").exists():
        return "Faye is not installed: run benchmarks/install"
    return ""


class Faye:
    """Faye on Node, one process."""

    name = "faye"

    def start(self) -> Running:
        """Start it on a free port."""
        port = free_port()
        command = ["node", str(PEERS / "faye.js"), str(port)]
        return start(self.name, command, scratch(self.name), port)

    def cycle(self, address: Address, count: int) -> BayeuxCycle:
        """So many clients that have said hello and subscribed."""
        return clients_of(address, "/faye", count)

    def publish(self, payload: bytes) -> bytes:
        """A message on the channel."""
        return bayeux("/faye", {"channel": CHANNEL, "data": json.loads(payload)})


@attrs.define
class BayeuxCycle:
    """Clients that connect again and again.

    :param path: of the Bayeux server.
    :param clients: their ids, and the header by which a server that sets a cookie knows them.
    :param number: of the last connect. One that has the id of the one before asks for the same
        messages again.
    """

    path: str
    clients: list[tuple[str, str]]
    number: int = 0

    def first(self, number: int) -> bytes:
        """A connect."""
        self.number += 1
        client, headers = self.clients[number]
        message = {
            "channel": "/meta/connect",
            "clientId": client,
            "connectionType": "long-polling",
            "id": str(self.number),
        }
        return bayeux(self.path, message, headers)

    def following(self, number: int, answer: bytes) -> bytes:
        """The next one."""
        return self.first(number)


def clients_of(address: Address, path: str, count: int, channel: str = CHANNEL) -> BayeuxCycle:
    """So many clients of a Bayeux server that have said hello and subscribed."""
    with connect(address) as stream:
        return BayeuxCycle(path, [subscribed(stream, path, channel) for _ in range(count)])


def bayeux(path: str, message: Mapping[str, object], headers: str = "") -> bytes:
    """A request with one Bayeux message."""
    return post(path, json.dumps([message]).encode(), headers)


def introduced(stream: socket.socket, path: str) -> tuple[str, str]:
    """The id of a new client, and the header by which a server that sets a cookie knows it."""
    hello = {
        "channel": "/meta/handshake",
        "version": "1.0",
        "supportedConnectionTypes": ["long-polling"],
    }
    answer = exchange(stream, bayeux(path, hello))
    (found,) = json.loads(body(answer))
    if not found.get("successful"):
        raise BenchmarkFailed(f"the handshake at {path} failed: {found}")
    pair = cookie_of(answer)
    return found["clientId"], cookie(pair) if pair else ""


def subscribed(stream: socket.socket, path: str, channel: str) -> tuple[str, str]:
    """The same of one that has subscribed to a channel."""
    client, headers = introduced(stream, path)
    wish = {"channel": "/meta/subscribe", "clientId": client, "subscription": channel}
    exchange(stream, bayeux(path, wish, headers))
    return client, headers
