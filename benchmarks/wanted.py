"""What is to be reached: the tables of goals.

What it is: `WANTED`, what is wanted now; `KEPT`, what was wanted before and still holds; `GOALS`.

What it may know: cases, the keys of their samples, what servers are called in them.

Invariant: no goal is left out because it is missed, and none is given up without a stricter one.
"""

from __future__ import annotations

from functools import partial

from benchmarks.goals import Goal, against, best, growth, of_one, own

#: How polls are driven, and where their CPU is.
PACES = (("flat out", "fast_cycle_us"), ("at leisure", "cycle_us"))

POLLS = [
    *(
        against(
            "poll",
            key,
            "faye",
            f"CPU a poll cycle {how}, {size:,} clients, of Faye's",
            0.3,
            size=size,
        )
        for how, key in PACES
        for size in (200, 1000)
    ),
    *(
        against(
            "poll",
            key,
            "nchan",
            f"CPU a poll cycle {how}, 1,000 clients, of Nchan's",
            1.2,
            size=1000,
        )
        for how, key in PACES
    ),
]

#: Where Bayeux clients are, what our daemon is called there in the two cases, and what is wanted.
PLACES = (
    ("in a durable room", "comet, Bayeux", "comet, room", 0.75),
    ("on a free channel", "comet, Bayeux free channel", "comet, free channel", 0.5),
)

PEERS = (("faye", "Faye"), ("cometd", "CometD"))

BAYEUX = [
    *(
        against(
            "poll",
            key,
            peer,
            f"CPU a Bayeux long-poll cycle {how} {where}, 200 clients, of {called}'s",
            limit,
            ours=ours,
            size=200,
        )
        for where, ours, _, limit in PLACES
        for peer, called in PEERS
        for how, key in PACES
    ),
    *(
        against(
            "bayeux",
            "cpu_us",
            peer,
            f"CPU a Bayeux delivery by long polls that are kept busy, {where}, 200 clients, "
            f"of {called}'s",
            limit,
            ours=ours,
            size=200,
            transport="long-polling",
        )
        for where, _, ours, limit in PLACES
        for peer, called in PEERS
    ),
]

POSTS = [
    own(
        "posts",
        "posts_s",
        "durable posts a second, 64 posters (20 % above 10,500)",
        "/s",
        12_600,
        15_000,
        at_least=True,
        posters=64,
    ),
    own(
        "posts",
        "posts_a_commit",
        "posts a commit, 64 posters",
        "",
        30,
        at_least=True,
        posters=64,
    ),
    own("lone", "cpu_us", "CPU of a lone durable post that one reads", "µs", 200, readers=1),
    own("lone", "first_ms", "until the first reader has a lone durable post", "ms", 1.2, readers=1),
    own("lone", "first_ms", "the same, when a hundred read", "ms", 1.2, readers=100),
]

ARRIVALS = [
    own("accept", "cpu_us", f"CPU of accept and head of a stream, {who}", "µs", 50, who=who)
    for who in ("without a session", "with a session")
]

ROOMS = [
    own(
        "mixed",
        "p50_ms",
        "until pollers have a message in a room of 5,000 streams, p50",
        "ms",
        10,
    ),
    own("others", "busy_post_p50_ms", "p50 of a post while 15,000 streams are told", "ms", 6),
    own("others", "busy_post_p99_ms", "p99 of it", "ms", 20),
]

DELIVERIES = [
    against(
        "fanout",
        "cpu_us",
        "floor",
        f"CPU a delivery at {size:,} streams, of the floor's",
        limit,
        size=size,
    )
    for size, limit in ((5000, 1.1), (1000, 1.2), (100, 2.0))
]

MEMORY = [
    own(
        "memory",
        key,
        f"memory of an idle `stream` {what} its session",
        "bytes",
        limit,
        transport="stream",
    )
    for what, key, limit in (
        ("without", "bytes_without_session", 1024),
        ("with", "bytes", 1536),
    )
]

#: "Many processes, many machines, one conversation".
MANY = [
    own(
        "nodes",
        "last_ms",
        "from a lone post at one node until the other of two has told it",
        "ms",
        2.0,
        nodes=2,
    ),
    *(
        Goal(
            "nodes",
            f"CPU a delivery of {count} nodes together, of that of one",
            "x",
            partial(of_one, "cpu_us", "nodes", count),
            1.05,
        )
        for count in (2, 3)
    ),
    own(
        "nodes",
        "follow_us",
        "CPU of a node for a record of another that nobody there reads",
        "µs",
        15,
        nodes=3,
    ),
    Goal(
        "nodes",
        "time in which two workers walk a fan-out, of that of one, in the best round",
        "x",
        lambda cases: best(of_one("walk_ms", "workers", 2, cases)),
        0.6,
    ),
]

#: What is wanted now: "Ahead of C: polls, posts, Bayeux and first delivery", and of many nodes.
WANTED = [*POLLS, *BAYEUX, *POSTS, *ARRIVALS, *ROOMS, *DELIVERIES, *MEMORY, *MANY]

#: What was wanted before and has not become stricter since.
KEPT = [
    against(
        "fanout", "cpu_us", "nchan", "CPU a delivery at 5,000 streams, of Nchan's", 1.0, size=5000
    ),
    Goal("fanout", "growth of that, of the floor's, from 100 to 15,000 streams", "x", growth, 1.2),
    own("others", "busy_poll_p99_ms", "p99 of a poll while 15,000 streams are told", "ms", 20),
    *(
        against(
            "flood",
            "deliveries_s",
            "nchan",
            f"deliveries a second flat out, {size:,} streams, of Nchan's",
            3.0,
            5.0,
            at_least=True,
            size=size,
        )
        for size in (1000, 5000)
    ),
    *(
        own(
            "memory",
            "bytes",
            f"memory of an idle `{transport}` with its session",
            "bytes",
            2048,
            1024,
            transport=transport,
        )
        for transport in ("frame", "sse")
    ),
    against(
        "memory",
        "bytes",
        "nchan",
        "memory of an idle `sse` with its session, of Nchan's",
        1.0,
        transport="sse",
    ),
    against(
        "posts",
        "posts_s",
        "no fsync",
        "durable posts a second, 64 posters, of those with fsync off",
        0.5,
        at_least=True,
        posters=64,
    ),
    own("heartbeat", "percent", "heartbeats for 10,000 idle streams, of one core", "%", 2.0),
]

GOALS = [*WANTED, *KEPT]
