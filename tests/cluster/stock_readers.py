"""Stock CometD and Faye in a cluster, as they come from their registries.

What it is: `StockReader`, a client of `tests.bayeux_clients` in Node that reads all rooms through
the balancer, and whose diary goes into the history at the end.

What it may know: the driver of `tests.bayeux_clients`.

Invariant: a message that comes again with its id counts once, as docs/bayeux.md tells clients; all
else is judged as of any reader.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.bayeux_clients.stock import Json, Kind, Program, StockClient, with_token
from tests.cluster.bayeux import channel
from tests.cluster.history import History, Reads, ReadToTheEnd, Told
from tests.decoders import Seen

NODE = Path(__file__).parent.parent / "bayeux_clients" / "node.mjs"

KINDS = tuple(
    Kind(library, transport, "node")
    for library in ("cometd", "faye")
    for transport in ("long-polling", "websocket")
)


@attrs.define
class StockReader:
    """One client, in a program of its own. The history knows it as one reader a room."""

    history: History
    client: StockClient
    rooms: tuple[str, ...]

    def begin(self, port: int) -> None:
        """Handshake and subscribe.

        :param port: of the balancer.
        """
        ext = with_token(port, str(self.client.kind))
        acknowledges = self.client.kind.library == "cometd"
        reply = self.client.open(port, ext=ext, extensions=["ack"] if acknowledges else [])
        assert reply["successful"], reply
        self.client.keep_place(True)
        for room in self.rooms:
            [reply] = self.client.subscribe(channel(room))
            assert reply["successful"], reply

    def reads(self, after: int) -> None:
        """Say from where on everything has to come."""
        for room in self.rooms:
            self.history.note(Reads(who=self._who(room), rooms=(room,), after=after))

    def _who(self, room: str) -> str:
        return f"{self.client.kind} in {room}"

    def _heard_to(self, text: str) -> list[Json]:
        """All that it has heard, once a text was.

        :raises AssertionError: it was not; with what it was answered last.
        """
        try:
            return self.client.hear(text)
        except AssertionError as error:
            channels = ("/meta/handshake", "/meta/subscribe", "/meta/connect")
            last = [f"{each}: {self.client.replies(each)[-5:]}" for each in channels]
            raise AssertionError("\n".join([str(error), *last])) from error

    def read_to_the_end(self, log: Sequence[Seen]) -> None:
        """Wait for the last message of each room, and write all of them down."""
        for room in self.rooms:
            last = [event for event in log if event["room"] == room][-1]
            heard = self._heard_to(last["text"])
            mine = [each["data"] for each in heard if each["channel"] == channel(room)]
            for data in {data["id"]: data for data in mine}.values():
                event = {"type": "message", **data}
                by = f"stock {self.client.kind}"
                self.history.note(Told(who=self._who(room), event=event, by=by))
            self.history.note(ReadToTheEnd(who=self._who(room)))
        self.client.close()


@contextmanager
def stock_readers(
    history: History, directory: Path, rooms: tuple[str, ...]
) -> Iterator[list[StockReader]]:
    """One of each kind, which have not begun."""
    with Program(["node", str(NODE)], directory / "node.log") as program:
        yield [StockReader(history, StockClient(kind, program, str(kind)), rooms) for kind in KINDS]
