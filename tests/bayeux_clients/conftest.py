"""Where stock clients run, started once, and the daemon that they talk to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.bayeux_clients.stock import Kind, Page, Place, Program, StockClient
from tests.daemon.talk import log_in, once
from tests.sites import Site
from tests.support import NODE_MODULES, Daemon

HERE = Path(__file__).parent

#: Makes a client of a kind; the second argument tells clients apart that may share no cookies.
MakeClient = Callable[..., StockClient]

_numbers = count(1)


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """Another site, on which the daemon's clients may be, too."""
    with Site(NODE_MODULES.parent) as running:
        yield running


@pytest.fixture(scope="session")
def bayeux_options(site: Site) -> tuple[str, ...]:
    """How the daemon is started."""
    return ("--limits=off", "--bayeux-channels=/app/**", f"--allow-origin={site.url}")


@pytest.fixture(scope="session")
def daemon(
    tmp_path_factory: pytest.TempPathFactory, bayeux_options: tuple[str, ...]
) -> Iterator[Daemon]:
    """A daemon for all tests that do not stop it."""
    with Daemon(tmp_path_factory.mktemp("daemon"), *bayeux_options) as running:
        yield running
    assert "Traceback" not in running.log


@pytest.fixture
def room(daemon: Daemon) -> str:
    """A room that nobody has used."""
    name = f"bayeux-{next(_numbers)}"
    token = log_in(daemon.port, f"maker-of-{name}")
    made = once(daemon.port, "POST", "/api/v1/rooms", token=token, body={"name": name})
    assert made.status == 201
    return name


class Places:
    """Starts a place when it is first asked for."""

    def __init__(self, chromium: Browser, site: Site, logs: Path) -> None:
        self._chromium = chromium
        self._site = site
        self._logs = logs
        self._started: dict[tuple[str, ...], Place] = {}
        self.stack = ExitStack()

    def find(self, kind: Kind, port: int, who: str) -> Place:
        """Where clients of a kind run.

        :param port: whose pages pages are, of the daemon or of a proxy before it.
        :param who: nobody else's cookies are there.
        """
        # In Python and in Ruby each client has cookies of its own.
        keys: dict[str, tuple[str, ...]] = {
            "node": ("node", who),
            "python": ("python",),
            "ruby": ("ruby",),
            "chromium": ("chromium", str(port), who),
            "elsewhere": ("elsewhere", who),
        }
        key = keys[kind.place]
        if key not in self._started:
            self._started[key] = self._start(kind, port)
        return self._started[key]

    def _start(self, kind: Kind, port: int) -> Place:
        log = self._logs / f"{kind.place}-{len(self._started)}.log"
        if kind.place == "node":
            return self._run("node", str(HERE / "node.mjs"), log=log)
        if kind.place == "python":
            return self._run(sys.executable, str(HERE / "aio.py"), log=log)
        if kind.place == "ruby":
            return self._run("ruby", str(HERE / "faye.rb"), log=log)
        context = self._chromium.new_context(bypass_csp=True)
        self.stack.callback(context.close)
        own = f"http://127.0.0.1:{port}/healthz"
        url = own if kind.place == "chromium" else f"{self._site.url}/package.json"
        return Page(context.new_page(), url, self._site.url)

    def _run(self, *arguments: str, log: Path) -> Program:
        return self.stack.enter_context(Program(arguments, log))


@pytest.fixture(scope="session")
def places(
    chromium: Browser, site: Site, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Places]:
    """Where clients run."""
    those = Places(chromium, site, tmp_path_factory.mktemp("programs"))
    with those.stack:
        yield those


@pytest.fixture
def make_client(places: Places, daemon: Daemon) -> Iterator[MakeClient]:
    """Makes clients; those that are open at the end of the test are closed."""
    made: list[StockClient] = []

    def make(kind: Kind, who: str = "alice", *, port: int | None = None) -> StockClient:
        place = places.find(kind, port or daemon.port, who)
        made.append(StockClient(kind, place, f"{who}-{next(_numbers)}"))
        return made[-1]

    yield make
    for client in made:
        if client.is_open:
            client.close()
