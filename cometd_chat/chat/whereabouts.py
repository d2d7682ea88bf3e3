"""Where somebody comes from, as a ban of their network needs it.

What it is: `Whereabouts`, the seam; `LocalWhereabouts`, of what this process knows; and
`ClusterWhereabouts`, which asks the other nodes where this one knows nothing.

What it may know: sessions in use, hashes of networks, the bus.

Invariant: an address leaves no process: what nodes tell each other is hashes, by a key that all of
them have and nobody else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import attrs
import msgspec
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.chat.networks import NetworkHashes, require_bannable
from cometd_chat.chat.sessions import Session
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import ChatError, InvalidRequest, NotAllowed
from cometd_chat.log.bus import Bus

TOPIC = "whereabouts"

#: Of so many at a time other nodes are asked.
_MOST_ASKED = 500

#: Seconds that other nodes have to answer. Mostly it takes a tenth.
PATIENCE = 2.0


class Whereabouts(Protocol):
    """Where people come from."""

    async def networks(self, identity: str) -> Sequence[bytes]:
        """The hashes of the networks that somebody comes from and that may be banned, the one they
        came from last first; at least one.

        :raises InvalidRequest: it is not known where they come from.
        :raises NotAllowed: none of them may be banned.
        """

    async def networks_of_all(self, identities: Collection[str]) -> Mapping[str, Sequence[bytes]]:
        """The same of many, without those of whom there is none."""


class LocalWhereabouts:
    """The `Whereabouts` of one process.

    :param sessions_of: somebody's sessions that are in use here.
    :param all_in_use: all that are.
    :param is_trusted: whether an address is that of a proxy that is trusted.
    """

    def __init__(
        self,
        sessions_of: Callable[[str], Sequence[Session]],
        all_in_use: Callable[[], Sequence[Session]],
        hashes: NetworkHashes,
        is_trusted: Callable[[str], bool],
    ) -> None:
        self._sessions_of = sessions_of
        self._all_in_use = all_in_use
        self._hashes = hashes
        self._is_trusted = is_trusted

    async def networks(self, identity: str) -> Sequence[bytes]:
        """See `Whereabouts.networks`."""
        return self.networks_here(identity)

    def networks_here(self, identity: str) -> Sequence[bytes]:
        """The same, of what is known here."""
        return self._networks(self._sessions_of(identity))

    async def networks_of_all(self, identities: Collection[str]) -> Mapping[str, Sequence[bytes]]:
        """See `Whereabouts.networks_of_all`."""
        return self.networks_of_all_here(identities)

    def networks_of_all_here(self, identities: Collection[str]) -> Mapping[str, Sequence[bytes]]:
        """The same, of what is known here."""
        # Looked for once, however many they are.
        wanted, found = set(identities), {}
        for session in self._all_in_use():
            identity = session.identity
            if identity in wanted:
                with suppress(ChatError):
                    found[identity] = self._networks([session])
        return found

    def _networks(self, sessions: Sequence[Session]) -> Sequence[bytes]:
        refusal: ChatError | None = None
        found: list[bytes] = []
        for address in _addresses(sessions):
            try:
                require_bannable(address, self._is_trusted)
            except ChatError as error:
                refusal = error
                continue
            network = self._hashes.of(address)
            if network is not None and network not in found:
                found.append(network)
        if not found:
            raise refusal or not_known()
        return found


def _addresses(sessions: Sequence[Session]) -> Sequence[str]:
    """Where somebody comes from, by whatever session, the last one first."""
    held = [reader.address for session in sessions for reader in reversed(session.readers)]
    seen = [session.seen_from for session in sessions]
    began = [session.address for session in sessions]
    return [address for address in dict.fromkeys([*held, *seen, *began]) if address]


def not_known() -> InvalidRequest:
    """The refusal where nobody knows from where somebody comes."""
    return InvalidRequest(
        "It is not known here from which network they come, for they are away: ban them by name."
    )


class _Ask(msgspec.Struct, array_like=True, frozen=True, tag="ask"):
    number: int
    identity: str


class _Answer(msgspec.Struct, array_like=True, frozen=True, tag="answer"):
    """:param node: who has asked.
    :param refused: why none of the networks may be banned; empty where one may, or where nothing is
        known.
    """

    node: int
    number: int
    networks: tuple[bytes, ...]
    refused: str


_decode = msgspec.msgpack.Decoder(_Ask | _Answer).decode


@attrs.define(eq=False)
class _Asked:
    """What was asked of the other nodes. An item of the reaper.

    :param done: fires with the first answer that says anything, or with None.
    """

    done: Deferred[_Answer | None]
    due_bucket: int = 0

    def on_due(self, now: float) -> float | None:
        """Nobody knows; see `Reaper.schedule`."""
        self.answer(None)
        return None

    def answer(self, answer: _Answer | None) -> None:
        """The first answer counts."""
        if not self.done.called:
            self.done.callback(answer)


class ClusterWhereabouts:
    """The `Whereabouts` of one of several nodes.

    :param here: what this node knows.
    :param number: this node's.
    :param have_key: sees to it that this node has the key which another one may just have made.
    """

    _log = Logger()

    def __init__(
        self,
        here: LocalWhereabouts,
        bus: Bus,
        reaper: Reaper,
        number: Callable[[], int],
        have_key: Callable[[], Awaitable[None]],
    ) -> None:
        self._have_key = have_key
        self._here = here
        self._bus = bus
        self._reaper = reaper
        self._number = number
        self._asked: dict[int, _Asked] = {}
        self._last = 0
        bus.subscribe(TOPIC, self._heard)

    async def networks(self, identity: str) -> Sequence[bytes]:
        """See `Whereabouts.networks`."""
        try:
            return self._here.networks_here(identity)
        except InvalidRequest:
            answer = await self._ask(identity)
        if answer is None:
            raise not_known()
        if answer.refused:
            raise NotAllowed(answer.refused)
        return answer.networks

    async def networks_of_all(self, identities: Collection[str]) -> Mapping[str, Sequence[bytes]]:
        """See `Whereabouts.networks_of_all`."""
        found = dict(self._here.networks_of_all_here(identities))
        others = [each for each in identities if each not in found][:_MOST_ASKED]
        # All at once: whoever is known nowhere keeps nobody longer than one would.
        asking = [Deferred.fromCoroutine(self._ask(each)) for each in others]
        for identity, answer in zip(others, await gatherResults(asking), strict=True):
            if answer is not None and answer.networks:
                found[identity] = answer.networks
        return found

    async def _ask(self, identity: str) -> _Answer | None:
        self._last += 1
        number, asked = self._last, _Asked(Deferred())
        self._asked[number] = asked
        self._reaper.schedule(asked, PATIENCE)
        self._bus.publish(TOPIC, msgspec.msgpack.encode(_Ask(number, identity)))
        try:
            return await asked.done
        finally:
            del self._asked[number]
            self._reaper.cancel(asked)

    def _heard(self, node: int, message: bytes) -> None:
        said = _decode(message)
        if isinstance(said, _Ask):
            answering = Deferred.fromCoroutine(self._answer_ask(node, said))
            answering.addErrback(self._not_answered)
        elif said.node == self._number() and said.number in self._asked:
            self._asked[said.number].answer(said)

    async def _answer_ask(self, node: int, asked: _Ask) -> None:
        await self._have_key()
        answer = self._answer(node, asked)
        if answer is not None:
            self._bus.publish(TOPIC, msgspec.msgpack.encode(answer))

    def _not_answered(self, failure: Failure) -> None:
        self._log.warn("another node is not told of a network: {why}", why=failure.value)

    def _answer(self, node: int, asked: _Ask) -> _Answer | None:
        try:
            found = self._here.networks_here(asked.identity)
        except InvalidRequest:
            return None
        except ChatError as error:
            return _Answer(node, asked.number, (), error.detail)
        return _Answer(node, asked.number, tuple(found), "")
