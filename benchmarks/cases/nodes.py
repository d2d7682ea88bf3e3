"""Case 14: several nodes, one conversation in PostgreSQL. What a delivery costs when streams are
spread over them, how soon another node tells what was said here, what it costs a node to follow
what nobody on it reads, and how fast two workers walk a fan-out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import attrs

from benchmarks.load.remote import Remote
from benchmarks.load.silent import Silent
from benchmarks.load.streams import AT_ONCE, Streams
from benchmarks.plan import Plan, Sample, at_rest, quantile
from benchmarks.processes import Running
from benchmarks.servers import postgresql
from benchmarks.servers.comet import EVENTS, POSTS, QUIET, Comet, cookies, message
from benchmarks.wire import ask, cookie, get, post

NODES = (1, 2, 3)

#: Streams on all nodes together, and posts to them.
STREAMS, TIMES = 3000, 15

#: A room that one stream on the last node reads, posts to it, and the seconds of rest between them.
FAR, LONELY_POSTS, REST = "far", 60, 0.02

#: Who posts where nobody reads, and for how many seconds: all together, and one alone.
POSTERS, SECONDS = 64, 1.0

#: Workers, the streams that nobody reads, and the posts to them.
WORKERS, UNREAD, WALKS = (1, 2), 6000, 5


@attrs.frozen
class Cluster:
    """Nodes on one database, and a client with streams on all of them.

    :param first: the one that is posted to.
    :param load: has its streams on all of them.
    :param far: has one on the last of them.
    :param lonely: a post that only that one hears.
    :param posters: posts where nobody reads.
    """

    first: Comet
    running: Sequence[Running]
    load: Remote
    far: Remote
    lonely: bytes
    posters: Sequence[bytes]

    def cpu(self) -> list[float]:
        """Seconds of a processor that each node has used, once all are at rest."""
        for each in self.running:
            at_rest(each)
        return [each.cpu() for each in self.running]

    def commits(self) -> float:
        """How many commits the first node has made."""
        metrics = ask(self.running[0].address, get("/metrics")).decode()
        found = re.search(r"^comet_chat_node_commits_total (\S+)$", metrics, re.M)
        assert found is not None
        return float(found[1])


def run(plan: Plan) -> Iterator[Sample]:
    """Samples of several nodes, by their number, and of several workers, by theirs."""
    if reason := postgresql.missing():
        plan.say(f"nodes: left out: {reason}")
        return
    for count in NODES:
        with ExitStack() as stack:
            cluster = stand(stack, plan, count)
            for round in range(plan.rounds):
                plan.say(f"nodes: {count} nodes, round {round + 1} of {plan.rounds}")
                yield {"server": "comet", "nodes": count, "round": round, **measured(cluster, plan)}
    with ExitStack() as stack:
        walkers = {count: walker(stack, plan, count) for count in WORKERS}
        for round in range(plan.rounds):
            plan.say(f"nodes: workers, round {round + 1} of {plan.rounds}")
            for count, (server, load) in walkers.items():
                walks = load.call("walk", server.publish(b""), WALKS)
                yield {
                    "server": "comet",
                    "workers": count,
                    "round": round,
                    "walk_ms": min(walks),
                }


def stand(stack: ExitStack, plan: Plan, count: int) -> Cluster:
    """Start nodes on a new database, with streams on each."""
    url = stack.enter_context(postgresql.database())
    nodes = [
        Comet(options=[*plan.options, f"--database={url}", f"--node=node{number}"])
        for number in range(count)
    ]
    running = [stack.enter_context(nodes[0].start())]
    running += [stack.enter_context(each.start_again()) for each in nodes[1:]]
    load = stack.enter_context(Remote(Streams, running[0].address))
    each = plan.count(STREAMS) // count
    for node in running:
        requests = [nodes[0].subscribe() for _ in range(each)]
        load.call("open", requests, nodes[0].ready, AT_ONCE, node.address)
    tokens = cookies(running[0].address, [f"poster{number}" for number in range(POSTERS)])
    ask(
        running[0].address,
        post("/api/v1/rooms", b'{"name": "%s"}' % FAR.encode(), cookie(tokens[0])),
    )
    far = stack.enter_context(Remote(Streams, running[0].address))
    reads_far = get(f"{EVENTS}/sse?rooms={FAR}")
    far.call("open", [reads_far], nodes[0].ready, AT_ONCE, running[-1].address)
    lonely, *posters = (
        post(POSTS.format(room), message(), cookie(token))
        for room, token in zip([FAR] + [QUIET] * len(tokens), [tokens[0], *tokens], strict=True)
    )
    return Cluster(nodes[0], running, load, far, lonely, posters)


def measured(cluster: Cluster, plan: Plan) -> Sample:
    """One round: to all streams, to one that is far away, and where nobody reads."""
    publish, load = cluster.first.publish(b""), cluster.load
    streams = load.call("count")
    load.call("fan_out", publish, 2, REST, True)
    before = cluster.cpu()
    load.call("fan_out", publish, TIMES, REST, True)
    told = cluster.cpu()
    alone = cluster.far.call("fan_out", cluster.lonely, LONELY_POSTS, REST, True)
    flood, followed = follow(cluster, cluster.posters)
    _, lone = follow(cluster, cluster.posters[:1])
    records = flood["acknowledged"]
    return {
        "streams": streams,
        "cpu_us": (sum(told) - sum(before)) / (streams * TIMES) * 1e6,
        "answered_ms": quantile(alone["answered"], 0.5),
        "last_ms": quantile(alone["last"], 0.5),
        "posts_s": records / flood["posting"],
        **followed,
        **{f"lone_{name}": figure for name, figure in lone.items()},
    }


def follow(cluster: Cluster, posters: Sequence[bytes]) -> tuple[dict[str, Any], Sample]:
    """Let some post where nobody reads; what they posted, and what it costs a node that follows."""
    begun, commits = cluster.cpu(), cluster.commits()
    flood = cluster.load.call("flood", posters, SECONDS)
    followed = cluster.cpu()
    records = flood["acknowledged"]
    followers = [now - then for now, then in zip(followed[1:], begun[1:], strict=True)]
    if not followers:
        return flood, {}
    return flood, {
        "follow_us": max(followers) / records * 1e6,
        "follow_batch": records / (cluster.commits() - commits),
    }


def walker(stack: ExitStack, plan: Plan, workers: int) -> tuple[Comet, Remote]:
    """Start workers, and hold streams that nobody reads."""
    url = stack.enter_context(postgresql.database())
    server = Comet(options=[*plan.options, f"--database={url}", f"--workers={workers}"])
    running = stack.enter_context(server.start())
    load = stack.enter_context(Remote(Silent, running.address))
    server.subscribe()  # The publisher's own.
    load.call("open", server.subscribe(), plan.count(UNREAD))
    return server, load
