"""The chat, joined of its parts; its back ends are those of one process, or of one of many nodes.

What it is: `build_chat`; `BackEnds`, one of each part that has several, and the two ways to make
them.

What it may know: everything; it joins things, as `service.py` does.

Invariant: the chat cannot tell which it has.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import attrs

from cometd_chat import __version__
from cometd_chat.addresses import shown_address
from cometd_chat.chat.chat import Chat
from cometd_chat.chat.claims import LocalNames
from cometd_chat.chat.cluster_limits import ClusterLimits
from cometd_chat.chat.cluster_names import ClusterNames
from cometd_chat.chat.cluster_openings import ClusterOpenings
from cometd_chat.chat.cluster_positions import ClusterPositions
from cometd_chat.chat.cluster_presence import ClusterPresence
from cometd_chat.chat.cluster_rooms import ClusterRooms
from cometd_chat.chat.cluster_sessions import ClusterSessions
from cometd_chat.chat.deletions import Deletions
from cometd_chat.chat.feed import Feed
from cometd_chat.chat.lasting import LastingClock
from cometd_chat.chat.limits import Limits
from cometd_chat.chat.local_limits import LocalLimits
from cometd_chat.chat.local_positions import LocalPositions
from cometd_chat.chat.local_presence import LocalPresence
from cometd_chat.chat.local_rooms import LocalRooms
from cometd_chat.chat.local_sessions import LocalSessions
from cometd_chat.chat.moderation import Moderation
from cometd_chat.chat.openings import NoOpenings, Openings
from cometd_chat.chat.parts import Parts
from cometd_chat.chat.policies import POLICIES, Pin, Policies
from cometd_chat.chat.positions import Positions
from cometd_chat.chat.presence import Presence
from cometd_chat.chat.rights import Rights
from cometd_chat.chat.rooms import Rooms
from cometd_chat.chat.sessions import Sessions
from cometd_chat.chat.waiting import WaitingList
from cometd_chat.chat.whereabouts import ClusterWhereabouts, LocalWhereabouts
from cometd_chat.comet import CometEngine
from cometd_chat.comet.slices import call_before_slices
from cometd_chat.daemon.settings import Settings
from cometd_chat.log.bus import Bus
from cometd_chat.log.changes import Changes, LocalChanges, SharedChanges
from cometd_chat.log.directory import Directory
from cometd_chat.log.gathering import Gathering
from cometd_chat.log.log import EventLog
from cometd_chat.log.nodes import Nodes
from cometd_chat.log.shared_directory import SharedDirectory
from cometd_chat.log.store import SharedStore, Store
from cometd_chat.log.tail import Tail
from cometd_chat.transports.budget import MemoryBudget
from cometd_chat.web.peers import Peers

#: What this daemon calls itself, to clients and in its answers.
SERVER = f"comet-chat/{__version__}"

#: The newest events in memory: so many, and so many bytes.
TAIL = (10_000, 16 * 2**20)


@attrs.frozen
class Neighbours:
    """What a node has of the others.

    :param is_current: whether this node is told what is committed; on the hot path of streams.
    """

    bus: Bus
    nodes: Nodes
    is_current: Callable[[], bool]


@attrs.frozen
class BackEnds:
    """Those of its parts that one process has in another way than one of many nodes."""

    sessions: Sessions
    rooms: Rooms
    presence: Presence
    positions: Positions
    limits: Limits
    openings: Openings
    changes: Changes
    #: Time for what ends by itself.
    lasting: LastingClock


def parts_of_one(
    settings: Settings, feed: Feed, store: Store, directory: Directory, rights: Rights
) -> BackEnds:
    """The parts of a process that is alone.

    :param store: where the directory and all else is.
    """
    engine = feed.engine
    lasting = LastingClock(time.time, engine.reaper.seconds)
    changes = LocalChanges(store, feed.control.tell)
    sessions = LocalSessions(
        directory,
        LocalNames(),
        changes,
        engine.reaper,
        wall_clock=time.time,
        lasting=lasting,
        random_bytes=secrets.token_bytes,
        guest_timeout=settings.guest_timeout,
    )
    feed.control.add(sessions.told)
    return BackEnds(
        lasting=lasting,
        sessions=sessions,
        rooms=LocalRooms(
            directory,
            engine,
            rights,
            wall_clock=time.time,
            expiration_delay=settings.expiration_delay,
        ),
        presence=LocalPresence(engine, wall_clock=time.time),
        positions=LocalPositions(directory, engine.reaper),
        limits=LocalLimits(engine.reaper, on=settings.limits),
        openings=NoOpenings(),
        changes=changes,
    )


def parts_of_node(
    settings: Settings,
    feed: Feed,
    store: Store,
    directory: Directory,
    rights: Rights,
    neighbours: Neighbours,
    reactor: Any,
) -> BackEnds:
    """The parts of one of many nodes.

    :param store: one that is shared, as the directory is.
    """
    engine, reaper = feed.engine, feed.engine.reaper
    bus, nodes = neighbours.bus, neighbours.nodes
    shared = cast(SharedDirectory, directory)
    lasting = LastingClock(time.time, reaper.seconds)
    changes = SharedChanges(cast(SharedStore, store), feed.catch_up)
    sessions = ClusterSessions(
        shared,
        ClusterNames(shared, nodes, reaper),
        changes,
        nodes,
        reaper,
        catch_up=feed.log.catch_up,
        is_current=neighbours.is_current,
        wall_clock=time.time,
        lasting=lasting,
        random_bytes=secrets.token_bytes,
        guest_timeout=settings.guest_timeout,
    )
    rooms = ClusterRooms(
        directory,
        engine,
        rights,
        feed,
        bus,
        wall_clock=time.time,
        expiration_delay=settings.expiration_delay,
    )
    presence = ClusterPresence(
        engine,
        bus,
        nodes,
        lambda: feed.last_id,
        partial(reactor.callLater, 0),
        wall_clock=time.time,
    )
    # A node that is gone is so before anything is made of what the log tells with it.
    for told in (nodes.told, sessions.told, presence.told):
        feed.control.add(told)
    return BackEnds(
        lasting=lasting,
        sessions=sessions,
        rooms=rooms,
        presence=presence,
        positions=ClusterPositions(directory, reaper, bus, nodes),
        limits=ClusterLimits(reaper, feed.log, on=settings.limits),
        openings=ClusterOpenings(bus, reaper, presence.is_elsewhere),
        changes=changes,
    )


def build_chat(
    settings: Settings,
    engine: CometEngine,
    log: EventLog,
    store: Store,
    directory: Directory,
    memory: MemoryBudget,
    reactor: Any,
    neighbours: Neighbours | None = None,
) -> Chat:
    """Join the parts of the conversation, which know no HTTP.

    :param store: where all else is than what was said.
    :param memory: where posts count that wait to be durable.
    :param neighbours: what this node has of the others; None for a process that is alone.
    """
    rights = Rights()
    feed = Feed(log, engine, Tail(*TAIL))
    if neighbours is None:
        ends = parts_of_one(settings, feed, store, directory, rights)
    else:
        ends = parts_of_node(settings, feed, store, directory, rights, neighbours, reactor)

    def now() -> int:
        return int(time.time() * 1000)

    deletions = Deletions(
        feed,
        rights,
        ends.changes,
        now=lambda: time.time() * 1000,
        random_bytes=secrets.token_bytes,
        nodes=None if neighbours is None else neighbours.nodes,
    )
    return Chat(
        Parts(
            feed=feed,
            rights=rights,
            sessions=ends.sessions,
            rooms=ends.rooms,
            presence=ends.presence,
            positions=ends.positions,
            limits=ends.limits,
            openings=ends.openings,
            changes=ends.changes,
            deletions=deletions,
            moderation=build_moderation(settings, engine, rights, ends, neighbours),
            policies=Policies(ends.changes, rights, pins(settings), now),
            waiting=WaitingList(ends.changes, rights, ends.sessions, now),
            gathering=Gathering(log, partial(call_before_slices, reactor), memory),
            heartbeat=settings.heartbeat,
            server=SERVER,
            shown=partial(shown_address, shown=settings.show_addresses),
            random=random.random,
        )
    )


def build_moderation(
    settings: Settings,
    engine: CometEngine,
    rights: Rights,
    ends: BackEnds,
    neighbours: Neighbours | None,
) -> Moderation:
    """Who is silenced or sent away, and where people come from, on whichever node they are."""
    moderation = Moderation(
        ends.changes,
        rights,
        engine.reaper,
        now=lambda: ends.lasting.seconds() * 1000,
        random_bytes=secrets.token_bytes,
        room_named=ends.rooms.named,
    )
    here = LocalWhereabouts(
        ends.sessions.of_identity,
        ends.sessions.all_in_use,
        moderation.hashes,
        Peers(settings.trusted_proxy).is_trusted,
    )
    if neighbours is None:
        moderation.ask(here)
    else:
        bus, nodes = neighbours.bus, neighbours.nodes
        moderation.ask(
            ClusterWhereabouts(here, bus, engine.reaper, lambda: nodes.number, moderation.have_key)
        )
    return moderation


def pins(settings: Settings) -> Mapping[str, Pin]:
    """What options say of policies, which is all that is given of these."""
    given = {name: getattr(settings, name) for name in POLICIES if hasattr(settings, name)}
    return {
        name: Pin(f"--{name.replace('_', '-')}", value)
        for name, value in given.items()
        if value is not None
    }
