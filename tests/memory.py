"""The whole site in memory, and clients that speak raw HTTP to it.

What it is: `MemorySite` joins the daemon's real parts as the service does, over a log and a
directory without a disk and a clock that is moved by hand.

What it may know: the service's joining functions.

Invariant: it is the site that the service builds; only the disk and the sockets are not real.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.testing import MemoryReactorClock

from cometd_chat import chat_parts, service, site_parts
from cometd_chat.chat_parts import Neighbours
from cometd_chat.comet import CometEngine
from cometd_chat.daemon.machine import memory_ceiling
from cometd_chat.daemon.settings import Settings
from cometd_chat.errors import ChatError
from cometd_chat.events.record import Draft, Record
from cometd_chat.log.directory import RoomRow
from cometd_chat.log.epochs import Epochs, random_epoch
from cometd_chat.log.memory import MemoryEventLog
from cometd_chat.log.memory_directory import MemoryDirectory, MemorySharedDirectory
from cometd_chat.peering import Linked
from cometd_chat.storage import Cluster
from cometd_chat.transports import twisted_internals
from tests.hashing import weak_passwords
from tests.net import MemoryNet
from tests.wire import Response

#: How the header begins that takes the session's cookie away.
CLEARED = "comet_session_memory=; Path=/; Max-Age=0;"


def cookie_of(response: Response) -> dict[str, str]:
    """The header by which a browser shows the cookie that an answer gave it."""
    pair = (response.header("set-cookie") or "").partition(";")[0]
    assert pair.startswith("comet_session_memory=")
    return {"Cookie": pair}


class HeldLog(MemoryEventLog):
    """A log whose reads can be made to wait, as those of a database do, or to fail."""

    #: So that the session's cookie is ``comet_session_memory`` on all sites.
    origin = "memory"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.holding_reads = False
        #: While set, each read is refused with it.
        self.failing_reads: ChatError | None = None
        self._held_reads: list[tuple[Deferred[list[Record]], list[Record]]] = []

    def read(
        self,
        contexts: Collection[str] | None,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int,
        newest: bool = False,
        max_bytes: int | None = None,
        types: Collection[str] | None = None,
    ) -> Deferred[list[Record]]:
        if self.failing_reads is not None:
            return fail(self.failing_reads)
        found = super().read(
            contexts,
            after=after,
            before=before,
            limit=limit,
            newest=newest,
            max_bytes=max_bytes,
            types=types,
        )
        if not self.holding_reads:
            return found
        answer: Deferred[list[Record]] = Deferred()
        found.addCallback(lambda records: self._held_reads.append((answer, records)))
        return answer

    def put_back(self, last_id: int) -> None:
        """Begin an epoch as where a backup was restored that ends with this id."""
        kept = self._kept
        old = kept.epochs
        kept.epochs = Epochs([*old.names, random_epoch()], [*old.first_ids, last_id + 1])
        del kept.records[last_id:]
        for id in range(len(kept.records) + 1, last_id + 1):
            self.append(Draft("/chat/lobby", "message", "s", "filler", {"text": f"said {id}"}))

    @property
    def waiting_reads(self) -> int:
        """How many reads wait."""
        return len(self._held_reads)

    def answer_read(self) -> None:
        """Answer the oldest waiting read with what was there when it was asked."""
        answer, records = self._held_reads.pop(0)
        answer.callback(records)


_AS_MANY_AS_IT_TAKES = {"limits": False, "connections_per_address": 1_000_000}

#: Of this machine; to ask it takes a quarter of the time in which a site is built.
_CEILING = memory_ceiling(Settings())


class MemorySite(MemoryNet):
    """The site in memory: ``with MemorySite() as site: ...``.

    :param rooms: names of the rooms that are there.
    :param tail: how many events the tail keeps in memory; the daemon's number by default.
    :param max_behind: who is further behind gets a gap; the daemon's number by default.
    :param log: by default a fresh `HeldLog` that holds nothing back.
    :param clock: by default one that stands still until it is moved.
    :param embed: see `service.build`.
    :param settings: see `Settings`. There are no rate limits unless they are asked for, and an
        address may have any number of connections.
    """

    def __init__(
        self,
        *,
        rooms: Sequence[str] = ("lobby", "dev"),
        tail: int | None = None,
        max_behind: int | None = None,
        log: HeldLog | None = None,
        directory: MemoryDirectory | MemorySharedDirectory | None = None,
        clock: MemoryReactorClock | None = None,
        embed: site_parts.Embed | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(clock=clock)
        self.settings = Settings(**{**_AS_MANY_AS_IT_TAKES, "memory_ceiling": _CEILING, **settings})
        self.log = HeldLog() if log is None else log
        rows = [RoomRow(name, "", "", number) for number, name in enumerate(rooms)]
        self.directory: MemoryDirectory | MemorySharedDirectory = (
            MemoryDirectory(rows, self.log) if directory is None else directory
        )
        self.engine = CometEngine(self.clock)
        self.stats = service.build_stats(self.settings)
        self.chat = chat_parts.build_chat(
            self.settings,
            self.engine,
            self.log,
            self.directory.store,
            self.directory,
            self.stats.memory,
            self.clock,
            self.make_neighbours(),
        )
        if tail is not None:
            self.chat.feed.tail.max_items = tail
        if max_behind is not None:
            self.chat.feed.max_behind = max_behind
        self.passwords, self.hashing, self.hasher = weak_passwords()
        parts = site_parts.build_parts(
            self.settings,
            self.chat,
            self.passwords,
            self.stats,
            lambda: b"k" * 32,
            self.clock,
            self.make_linked(),
        )
        #: The second is what `--metrics` serves.
        self.factory, self.metrics_site = site_parts.build_sites(parts, embed, self.make_cluster())
        if self.settings.fast_lane:
            self.transport_class = twisted_internals.SlottedServer
        self.chat.start(self.log.recent(*chat_parts.TAIL))
        self._tokens: dict[str, str] = {}

    def make_neighbours(self) -> Neighbours | None:
        """What it has of the other nodes of its chat; None where there are none."""
        return None

    def make_cluster(self) -> Cluster | None:
        """How it is among other nodes; None for a process that is alone."""
        return None

    def make_linked(self) -> Linked | None:
        """The other nodes; None where there are none."""
        return None

    # -- its clients

    def get(self, path: str, **options: Any) -> Response:
        """GET, on a connection of its own."""
        return self.request("GET", path, **options)

    def post(self, path: str, json: object = None, **options: Any) -> Response:
        """POST some JSON, on a connection of its own."""
        return self.request("POST", path, json=json, **options)

    @property
    def metrics(self) -> str:
        """The daemon's numbers, as this machine is told them."""
        response = self.get("/metrics", address="127.0.0.1")
        assert response.status == 200, response.text
        return response.text

    def log_in(self, name: str, **options: Any) -> str:
        """The token of a new session."""
        response = self.post("/api/v1/session", {"name": name}, **options)
        assert response.status == 201, response.text
        token: str = response.json()["token"]
        self._tokens[name] = token
        return token

    def say(self, text: str, room: str = "lobby", name: str = "bob") -> dict[str, Any]:
        """Somebody posts, logged in if need be; the event."""
        token = self._tokens.get(name) or self.log_in(name)
        path = f"/api/v1/rooms/{room}/messages"
        response = self.post(path, {"text": text}, token=token)
        assert response.status == 201, response.text
        event: dict[str, Any] = response.json()
        return event

    def fill_elsewhere(self, count: int) -> None:
        """Let another node put messages into the lobby, which this one is told of only by
        `hear_elsewhere`."""
        self.log.delay()
        other = MemoryEventLog(beside=self.log)
        for number in range(self.log.last_id + 1, self.log.last_id + count + 1):
            said = {"text": f"said {number}"}
            other.append(Draft("/chat/lobby", "message", "s", "filler", said))
        other.close()

    def hear_elsewhere(self) -> None:
        """Be told what `fill_elsewhere` put there."""
        self.log.hurry()
        self.turn()

    def fill(self, count: int, room: str = "lobby", text: str = "said {}") -> None:
        """Put messages into the log without anybody's post, in one commit."""
        context, first = f"/chat/{room}", self.log.last_id + 1
        self.log.append_all(
            [
                Draft(context, "message", "s", "filler", {"text": text.format(number)})
                for number in range(first, first + count)
            ]
        )
        self.turn()

    @property
    def now(self) -> str:
        """The cursor of the log's end."""
        return self.log.cursor(self.log.last_id)

    def stop(self) -> None:
        """Stop the chat, as the daemon does when it is told to."""
        self.chat.stop()
        self.turn()


#: Makes a site with the given settings; see `MemorySite`.
MakeSite = Callable[..., MemorySite]
