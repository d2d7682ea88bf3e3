"""Stock Bayeux clients, driven from a test.

What it is: `Kind` says which library by which transport, `StockClient` is one client, `Program` and
`Page` are where clients run: a process of Node or Python, a page in Chromium.

What it may know: the calls of driver.mjs. Nothing of Bayeux but what they carry.

Invariant: the libraries are those of the registries, unchanged, and set up by their public options
alone; whatever is waited for has a limit.
"""

from __future__ import annotations

import json
import selectors
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import attrs
from playwright.sync_api import Page as Tab

from tests.daemon.talk import log_in
from tests.support import PATIENCE

Json = dict[str, Any]


@attrs.frozen
class Kind:
    """Which library, by which transport, where: `node`, `python`, `ruby`, `chromium` in a page of
    the daemon's, `elsewhere` in one of another site."""

    library: str
    transport: str
    place: str

    def __str__(self) -> str:
        return f"{self.library}-{self.place}-{self.transport}"

    @property
    def is_pushed(self) -> bool:
        """Whether messages come on a line, of which the daemon knows a little later what has come
        through: when it breaks, that is sent again."""
        return self.transport in ("websocket", "eventsource")

    @property
    def host(self) -> str:
        """By which name it finds the daemon: aiohttp keeps no cookies of an address."""
        return "localhost" if self.place == "python" else "127.0.0.1"


#: In such an order that neighbours have little in common.
KINDS = (
    Kind("cometd", "long-polling", "node"),
    Kind("faye", "websocket", "chromium"),
    Kind("aiocometd", "long-polling", "python"),
    Kind("cometd", "websocket", "chromium"),
    Kind("faye", "long-polling", "node"),
    Kind("cometd", "callback-polling", "chromium"),
    Kind("faye", "eventsource", "chromium"),
    Kind("cometd", "websocket", "node"),
    Kind("faye", "cross-origin-long-polling", "elsewhere"),
    Kind("cometd", "long-polling", "chromium"),
    Kind("aiocometd", "websocket", "python"),
    Kind("faye", "callback-polling", "elsewhere"),
    Kind("cometd", "long-polling", "elsewhere"),
    Kind("faye", "websocket", "node"),
    Kind("faye", "long-polling", "chromium"),
    Kind("cometd", "websocket", "elsewhere"),
    Kind("cometd", "callback-polling", "elsewhere"),
    Kind("faye", "long-polling", "ruby"),
    Kind("faye", "websocket", "elsewhere"),
    Kind("faye", "websocket", "ruby"),
)


class Place(Protocol):
    """Where clients run."""

    def call(self, call: Json) -> Any:
        """Make a call and wait for its result.

        :raises AssertionError: it failed, or took too long.
        """


class Program:
    """A program that takes a call a line and prints its answer.

    :param arguments: its command line.
    :param log: gets what it says of errors.
    """

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, bufsize=0
            )
        self._calls = 0
        self._answers: dict[int, Json] = {}
        self._rest = b""

    def call(self, call: Json) -> Any:
        assert self._process.stdin is not None
        self._calls += 1
        number = self._calls
        self._process.stdin.write(json.dumps({**call, "id": number}).encode() + b"\n")
        deadline = time.monotonic() + PATIENCE
        while number not in self._answers:
            self._read(deadline, call)
        answer = self._answers.pop(number)
        assert "error" not in answer, f"{call}: {answer['error']}\n{self._log.read_text()}"
        return answer["result"]

    def _read(self, deadline: float, call: Json) -> None:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            assert selector.select(deadline - time.monotonic()), f"no answer to {call}"
        data = self._process.stdout.read(2**20)
        assert data, f"the program ended: {self._log.read_text()}"
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                answer = json.loads(line)
                self._answers[answer["id"]] = answer

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()


class Page:
    """A page in Chromium, with cookies of its own.

    :param tab: it; its context must not mind the daemon's content security policy, which allows
        scripts of the daemon alone.
    :param url: what page it is.
    :param scripts: where the libraries are served from.
    """

    def __init__(self, tab: Tab, url: str, scripts: str) -> None:
        self.tab = tab
        self._url = url
        self._scripts = scripts
        self.load()

    def load(self) -> None:
        """Load the page, once more."""
        self.tab.goto(self._url)
        self.tab.add_script_tag(url=f"{self._scripts}/node_modules/faye/client/faye-browser.js")
        self.tab.evaluate("url => import(url)", f"{self._scripts}/bayeux_clients/page.mjs")

    def another(self) -> Page:
        """One more tab of the same browser."""
        return Page(self.tab.context.new_page(), self._url, self._scripts)

    def call(self, call: Json) -> Any:
        # As a line of JSON, as for programs: Playwright looks at each field of an object four times
        # on its way.
        answer = self.tab.evaluate("line => window.driver.answer(line)", json.dumps(call))
        return json.loads(answer)


class StockClient:
    """One client.

    :param place: where it runs.
    :param name: tells it from others that run there.
    """

    def __init__(self, kind: Kind, place: Place, name: str) -> None:
        self.kind = kind
        self.name = name
        self.is_open = False
        self._place = place
        self._heard: list[Json] = []

    def _call(self, call: str, **rest: Any) -> Any:
        return self._place.call({"call": call, "client": self.name, **rest})

    def open(self, port: int, *, ext: Json | None = None, extensions: Sequence[str] = ()) -> Json:
        """The reply to its handshake.

        :param port: of the daemon, or of a proxy before it.
        :param ext: goes into the handshake.
        :param extensions: which of its library's it uses.
        """
        self.is_open = True
        reply: Json = self._call(
            "open",
            library=self.kind.library,
            transport=self.kind.transport,
            url=f"http://{self.kind.host}:{port}/cometd",
            ext=ext,
            extensions=list(extensions),
        )
        return reply

    def subscribe(self, *channels: str) -> list[Json]:
        """The replies, one a channel."""
        replies: list[Json] = self._call("subscribe", channels=channels)
        return replies

    def unsubscribe(self, channel: str) -> Json:
        reply: Json = self._call("unsubscribe", channel=channel)
        return reply

    def publish(self, channel: str, data: object) -> Json:
        reply: Json = self._call("publish", channel=channel, data=data)
        return reply

    def publish_binary(self, channel: str, data: bytes, text: str) -> Json:
        """Publish bytes by the extension ``binary`` of the library ``cometd``.

        :param text: goes with them, so that they can be waited for.
        """
        meta = {"text": text}
        reply: Json = self._call("publishBinary", channel=channel, bytes=list(data), meta=meta)
        return reply

    def publish_all(self, channel: str, all: Sequence[object]) -> list[Json]:
        """Publish many at once, as a batch of the library ``cometd``; the replies."""
        replies: list[Json] = self._call("publishAll", channel=channel, all=all)
        return replies

    def hear(self, until: str) -> list[Json]:
        """All that it heard up to now, once it has heard a certain text, or type of event."""
        self._heard += self._call("hear", until=until, after=len(self._heard))
        return self._heard[:]

    def connects(self) -> list[Json]:
        """The connects that it sent, once one went by the transport that it was told to take."""
        transport = self.kind.transport
        sent: list[Json] = self._call("sent", channel="/meta/connect", transport=transport)
        return sent

    def replies(self, channel: str, **wanted: int) -> list[Json]:
        """The replies on a meta channel, once there are so many (`count`, or `more` than now)."""
        replies: list[Json] = self._call("replies", channel=channel, **wanted)
        return replies

    def facts(self) -> Json:
        facts: Json = self._call("facts")
        return facts

    def keep_place(self, keeps: bool) -> None:
        """From now, say when subscribing how far it has come, as docs/bayeux.md tells; or don't."""
        self._call("keepPlace", keeps=keeps)

    def reload(self) -> None:
        """Get ready for its page to be loaded again."""
        self._call("reload")

    def close(self) -> Json:
        self.is_open = False
        reply: Json = self._call("close")
        return reply


def texts(heard: Sequence[Json]) -> list[str]:
    """What was said in rooms."""
    return [each["data"]["text"] for each in heard]


def once_each(heard: Sequence[Json]) -> list[str]:
    """What was said in rooms, less what was told again."""
    return texts(list({each["data"]["id"]: each for each in heard}.values()))


def with_token(port: int, name: str) -> Json:
    """What the handshake of a new guest says, who has a token.

    :param port: of the daemon.
    """
    return {"authentication": {"token": log_in(port, name)}}
