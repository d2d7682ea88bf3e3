"""What somebody says through a transport that they also read by.

What it is: a queue of what came in, posted one after the other; what is refused is told by the same
transport, and the talk goes on.

What it may know: the chat, one reader. Not how lines or messages are framed.

Invariant: what somebody says is posted in the order in which they said it, and while much of it
waits nothing more is read from them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from sys import getsizeof

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.command_line import command_of, said_by
from cometd_chat.chat.command_parts import Caller
from cometd_chat.chat.commands import Commands
from cometd_chat.chat.held_subscription import HeldSubscription
from cometd_chat.chat.rights import Grant, require_current_token
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import ChatError, InvalidRequest, NoSession
from cometd_chat.events import kinds
from cometd_chat.events.kinds import Kind
from cometd_chat.transports.body import without_mark
from cometd_chat.transports.paced_reader import PacedReader

#: When so many wait to be posted, or so many bytes of them, the peer is read no further.
MOST_WAITING = 16
MOST_BYTES = 64 * 1024


#: Stands for what is neither a string nor an id, however much of it there was: nothing of it can be
#: said.
_NOTHING = False

#: Above every id.
_TOP = 2**63 - 1

#: What it costs to wait, beside the strings, about, in bytes.
_WAITING = 300


@attrs.frozen
class _PendingPost:
    """What waits to be posted.

    :param asked: the fields that its kind asks for, see `Kind.asks`.
    """

    room: object
    kind: Kind
    asked: Mapping[str, object]
    client_id: object


class InboundPoster:
    """What one session says through one held request.

    :param commands: run what begins with a slash.
    :param grant: who, and what they read; only there can they speak, by default in the first room.
    :param source: read no further while it is ahead of us.
    """

    _log = Logger()

    def __init__(
        self,
        chat: Chat,
        commands: Commands,
        grant: Grant[Room],
        subscription: HeldSubscription,
        source: PacedReader,
        refused: Callable[[ChatError], None],
    ) -> None:
        self._chat = chat
        self._commands = commands
        self._refused = refused
        self._grant = grant
        self._rooms = {room.name: room for room in grant.rooms}
        self._first = grant.rooms[0].name
        self._subscription = subscription
        self._source = source
        self._waiting: deque[_PendingPost | ChatError] = deque()
        #: Bytes of what waits, as Python holds it.
        self.held = 0
        self._posting = False
        self._paused = False
        self._over = False
        self._last_id = 0

    # -- lines of a body

    def line_received(self, line: str) -> None:
        """A line for the first room."""
        self._subscription.on_progress()
        self._add(_PendingPost(self._first, kinds.MESSAGE, {"text": line}, None))

    def line_refused(self, why: str) -> None:
        """Something that isn't even a line."""
        self._add(InvalidRequest(why))

    def body_ended(self) -> None:
        """They have said all: when they have seen it, their request is done."""
        self._over = True
        self._post_next()

    # -- messages of a socket

    def message_received(self, text: str) -> None:
        """A JSON object, as a post."""
        try:
            fields = msgspec.json.decode(without_mark(text))
        except (msgspec.DecodeError, RecursionError):
            self._add(InvalidRequest("That is not JSON."))
            return
        if not isinstance(fields, dict):
            self._add(InvalidRequest("A JSON object is needed."))
            return
        type = fields.get("type")
        # What can't be said is refused in its turn, with its `client_id`.
        kind = kinds.kind_of(type) if isinstance(type, str) else kinds.UNKNOWN
        asked = {name: _small(fields.get(name)) for name in kind.asks}
        room, client_id = fields.get("room", self._first), fields.get("client_id")
        self._add(_PendingPost(_small(room), kind, asked, _small(client_id)))

    # -- posting

    def _add(self, said: _PendingPost | ChatError) -> None:
        self._waiting.append(said)
        self.held += _size(said)
        if self._is_full():
            self._paused = True
            self._source.pause()
        self._post_next()

    def _is_full(self) -> bool:
        return len(self._waiting) >= MOST_WAITING or self.held > MOST_BYTES

    def _post_next(self) -> None:
        if self._posting:
            return
        self._posting = True
        posting = Deferred.fromCoroutine(self._post_all())
        posting.addErrback(lambda failure: self._log.failure("a talk broke off", failure))

    async def _post_all(self) -> None:
        while self._waiting:
            said = self._waiting.popleft()
            self.held -= _size(said)
            if isinstance(said, ChatError):
                self._tell(said, None)
            else:
                await self._post(said)
            if self._paused and not self._is_full():
                self._paused = False
                self._source.resume()
        self._posting = False
        if self._over:
            await self._subscription.wait_until(self._last_id)
            self._subscription.finish()

    async def _post(self, said: _PendingPost) -> None:
        try:
            room = self._rooms.get(said.room) if isinstance(said.room, str) else None
            if room is None:
                raise InvalidRequest("Only rooms that this stream reads can be written to.")
            session = self._grant.session
            if session is None:
                raise NoSession("Log in first, and open this stream with the session's token.")
            require_current_token(self._grant)
            command = command_of(said.asked.get("text")) if said.kind is kinds.MESSAGE else None
            if command is not None:
                await self._run(session, room, command, said.client_id)
                return
            event, repeated = await self._chat.messages.post(
                session,
                room,
                said.kind,
                {**said.asked, "text": said_by(said.asked.get("text"))}
                if said.kind is kinds.MESSAGE
                else said.asked,
                said.client_id,
                address=self._subscription.address,
            )
        except ChatError as error:
            self._tell(error, said.client_id)
            return
        except Exception:
            self._log.failure("what somebody said could not be posted")
            self._tell(ChatError("It is in the log. Trying again may help."), said.client_id)
            return
        self._last_id = event.id or 0
        if repeated:
            # It won't come by itself, unless it is in the backlog.
            self._subscription.replay_event(event)

    async def _run(self, session: Session, room: Room, line: str, client_id: object) -> None:
        """A line that is a command: what comes of it is for them alone."""
        caller = Caller(session, room, self._subscription.address, streams=True)
        outcome = await self._commands.run(caller, line)
        shown = client_id if isinstance(client_id, str) else None
        self._subscription.tell(kinds.notice(outcome.notice, shown))

    def _tell(self, error: ChatError, client_id: object) -> None:
        self._refused(error)
        why = error.fields[0].detail if error.fields else error.detail
        shown = client_id if isinstance(client_id, str) else None
        self._subscription.tell(kinds.error(error.status, why, shown))


def _small(value: object) -> object:
    """A value whose size is known by `_size`, else what stands for any other."""
    if isinstance(value, str | None):
        return value
    return value if isinstance(value, int) and 0 <= value <= _TOP else _NOTHING


def _size(said: _PendingPost | ChatError) -> int:
    """Bytes of something that waits, as Python holds it."""
    if isinstance(said, ChatError):
        return _WAITING
    asked = sum(map(getsizeof, said.asked.values()))
    return _WAITING + asked + getsizeof(said.client_id) + getsizeof(said.room)
