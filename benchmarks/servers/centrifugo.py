"""Centrifugo, a server in Go: https://centrifugal.dev/.

What it is: `Centrifugo`, one process with its memory engine, asked for HTTP streams in one
direction.

What it may know: its documented options and requests.

Invariant: the version and all that it is made of are pinned in benchmarks/peers/go; it listens on
loopback only, where nobody needs a key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from benchmarks.processes import Running, free_port, start
from benchmarks.servers.server import scratch
from benchmarks.wire import post

GO = Path(__file__).parent.parent / "peers/go"

PROGRAM = GO / "bin/centrifugo"

CONFIGURATION = {
    "client": {"insecure": True, "allowed_origins": ["http://localhost"]},
    "channel": {"without_namespace": {"allow_subscribe_for_client": True}},
    "http_api": {"insecure": True},
    "uni_http_stream": {"enabled": True},
    "log": {"level": "error"},
}


class Centrifugo:
    """Centrifugo."""

    name = "centrifugo"
    #: The end of what comes first.
    ready = b'"}}\n'
    title: ClassVar[str] = "Centrifugo"
    cases: ClassVar[Sequence[str]] = ("fanout", "memory")
    transport: ClassVar[str] = "stream"
    compiles: ClassVar[bool] = False

    def start(self) -> Running:
        """Start it on a free port."""
        directory, port = scratch(self.name), free_port()
        there = {"http_server": {"address": "127.0.0.1", "port": str(port)}}
        (directory / "config.json").write_text(json.dumps(CONFIGURATION | there))
        return start(self.name, [str(PROGRAM), "--config", "config.json"], directory, port)

    def subscribe(self) -> bytes:
        """A stream of JSON by lines."""
        return post("/connection/uni_http_stream", b'{"subs": {"lobby": {}}}')

    def publish(self, payload: bytes) -> bytes:
        """The payload as it is, in a frame of Centrifugo's."""
        return post("/api/publish", b'{"channel": "lobby", "data": %s}' % payload)

    def publish_to_nobody(self, payload: bytes) -> bytes:
        """To another channel."""
        return post("/api/publish", b'{"channel": "quiet", "data": %s}' % payload)

    @staticmethod
    def missing() -> str:
        """Why it can't be measured here, or nothing."""
        return "" if PROGRAM.exists() else "not built; benchmarks/install does where there is Go"

    @staticmethod
    def version() -> str:
        """Its own."""
        found = re.search(r"centrifugo/v6 (v[\d.]+)", (GO / "go.mod").read_text())
        return found[1] if found else ""
