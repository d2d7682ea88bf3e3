"""The back ends of what the chat keeps: those of one process, or those of one of many nodes.

What it is: `ChatParts`, one of each, and the two ways to make them.

What it may know: everything; it joins things, as `service.py` does.

Invariant: the chat cannot tell which it has.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import attrs

from cometd_chat.chat.claims import LocalNames
from cometd_chat.chat.cluster_limits import ClusterLimits
from cometd_chat.chat.cluster_names import ClusterNames
from cometd_chat.chat.cluster_openings import ClusterOpenings
from cometd_chat.chat.cluster_positions import ClusterPositions
from cometd_chat.chat.cluster_presence import ClusterPresence
from cometd_chat.chat.cluster_rooms import ClusterRooms
from cometd_chat.chat.cluster_sessions import ClusterSessions
from cometd_chat.chat.feed import Feed
from cometd_chat.chat.lasting import LastingClock
from cometd_chat.chat.limits import Limits
from cometd_chat.chat.local_limits import LocalLimits
from cometd_chat.chat.local_positions import LocalPositions
from cometd_chat.chat.local_presence import LocalPresence
from cometd_chat.chat.local_rooms import LocalRooms
from cometd_chat.chat.local_sessions import LocalSessions
from cometd_chat.chat.openings import NoOpenings, Openings
from cometd_chat.chat.positions import Positions
from cometd_chat.chat.presence import Presence
from cometd_chat.chat.rights import Rights
from cometd_chat.chat.rooms import Rooms
from cometd_chat.chat.sessions import Sessions
from cometd_chat.daemon.settings import Settings
from cometd_chat.log.bus import Bus
from cometd_chat.log.changes import Changes, LocalChanges, SharedChanges
from cometd_chat.log.directory import Directory
from cometd_chat.log.nodes import Nodes
from cometd_chat.log.shared_directory import SharedDirectory
from cometd_chat.log.store import SharedStore, Store


@attrs.frozen
class Neighbours:
    """What a node has of the others.

    :param is_current: whether this node is told what is committed; on the hot path of streams.
    """

    bus: Bus
    nodes: Nodes
    is_current: Callable[[], bool]


@attrs.frozen
class ChatParts:
    """What `Chat` is given of what is kept."""

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
) -> ChatParts:
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
    return ChatParts(
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
) -> ChatParts:
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
    return ChatParts(
        lasting=lasting,
        sessions=sessions,
        rooms=rooms,
        presence=presence,
        positions=ClusterPositions(directory, reaper, bus, nodes),
        limits=ClusterLimits(reaper, feed.log, on=settings.limits),
        openings=ClusterOpenings(bus, reaper, presence.is_elsewhere),
        changes=changes,
    )
