"""Servers in Java: CometD on Jetty, Grizzly's Comet, Tomcat's CometProcessor.

What it is: a class for each of the programs in benchmarks/peers/java.

What it may know: what benchmarks/install makes of them, and the protocols that they speak.

Invariant: the heap of each JVM is bounded; its CPU is that of all its threads, those that compile
and collect, too.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from benchmarks.processes import Address, Running, free_port, start
from benchmarks.servers.faye import CHANNEL, BayeuxCycle, bayeux, clients_of, introduced
from benchmarks.servers.server import scratch
from benchmarks.wire import connect, get, post

PROGRAMS = Path(__file__).parent.parent / "peers/java"

#: The largest heap, in MiB.
HEAP = 2048

#: Where CometD is.
PATH = "/cometd"


def command(module: str, program: str, port: int) -> list[str]:
    """The command line of a program.

    :param module: its directory.
    :param program: its main class.
    """
    built = PROGRAMS / module / "target"
    path = f"{built / 'peer.jar'}:{built / 'lib'}/*"
    return ["java", f"-Xmx{HEAP}m", "-cp", path, f"peers.{program}", str(port)]


def missing(module: str) -> str:
    """Why a program can't be measured here, or nothing."""
    if not shutil.which("java"):
        return "there is no java here"
    if not (PROGRAMS / module / "target/peer.jar").exists():
        return "not built; benchmarks/install does where there is Maven"
    return ""


def version(module: str, library: str) -> str:
    """The version of a library that a program was built with."""
    found = (PROGRAMS / module / "target/lib").glob(f"{library}-[0-9]*.jar")
    return ", ".join(sorted(path.stem.removeprefix(f"{library}-") for path in found))


class CometD:
    """CometD, a Bayeux server: https://cometd.org/."""

    name = "cometd"
    title: ClassVar[str] = "CometD"
    cases: ClassVar[Sequence[str]] = ("bayeux", "poll")
    compiles: ClassVar[bool] = True

    def __init__(self) -> None:
        self._address: Address = ("", 0)

    def start(self) -> Running:
        """Start it on a free port."""
        port = free_port()
        return start(self.name, command("cometd", "CometD", port), scratch(self.name), port)

    def cycle(self, address: Address, count: int) -> BayeuxCycle:
        """So many clients that have said hello and subscribed."""
        self._address = address
        return clients_of(address, PATH, count)

    def publish(self, payload: bytes) -> bytes:
        """A message on the channel, by a new client each time that this is asked: one that does
        not connect is forgotten after a minute. It does not subscribe: CometD answers what a
        subscriber publishes with the message itself, past its poll."""
        with connect(self._address) as stream:
            client, headers = introduced(stream, PATH)
        data = json.loads(payload)
        return bayeux(PATH, {"channel": CHANNEL, "clientId": client, "data": data}, headers)

    @staticmethod
    def missing() -> str:
        """Why it can't be measured here, or nothing."""
        return missing("cometd")

    @staticmethod
    def version() -> str:
        """Its own, and Jetty's."""
        jetty = version("cometd", "jetty-server")
        return f"{version('cometd', 'cometd-java-server-common')} on Jetty {jetty}"


class Streaming:
    """A program that holds requests and sends each what is published.

    :param module: its directory.
    :param program: its main class.
    """

    ready = b":\n\n"
    cases: ClassVar[Sequence[str]] = ("fanout", "memory")
    transport: ClassVar[str] = "sse"
    compiles: ClassVar[bool] = True

    def __init__(self, name: str, module: str, program: str) -> None:
        self.name = name
        self._module = module
        self._program = program

    def start(self) -> Running:
        """Start it on a free port."""
        port = free_port()
        return start(
            self.name, command(self._module, self._program, port), scratch(self.name), port
        )

    def subscribe(self) -> bytes:
        """Server-sent events."""
        return get("/subscribe", accept="text/event-stream")

    def publish(self, payload: bytes) -> bytes:
        """To all."""
        return post("/publish", payload)

    def publish_to_nobody(self, payload: bytes) -> bytes:
        """To nobody."""
        return post("/nobody", payload)


class Grizzly(Streaming):
    """Grizzly's CometHandlers, by which Glassfish's chat pushed: https://javaee.github.io/grizzly/."""

    title: ClassVar[str] = "Grizzly Comet"

    def __init__(self) -> None:
        super().__init__("grizzly", "grizzly", "Grizzly")

    @staticmethod
    def missing() -> str:
        """Why it can't be measured here, or nothing."""
        return missing("grizzly")

    @staticmethod
    def version() -> str:
        """Its own."""
        return version("grizzly", "grizzly-comet")


class Tomcat(Streaming):
    """Tomcat 7's CometProcessor, which later versions have no more: https://tomcat.apache.org/."""

    title: ClassVar[str] = "Tomcat CometProcessor"

    def __init__(self) -> None:
        super().__init__("tomcat", "tomcat", "Tomcat7")

    @staticmethod
    def missing() -> str:
        """Why it can't be measured here, or nothing."""
        return missing("tomcat")

    @staticmethod
    def version() -> str:
        """Its own."""
        return version("tomcat", "tomcat-embed-core")
