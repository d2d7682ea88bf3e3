"""The daemon's numbers, for Prometheus.

What it is: a collector that reads plain counts when it is asked, and the one histogram.

What it may know: the stats, the chat's counts. Not how they come about.

Invariant: nothing is counted here that would cost the hot path more than an addition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cometd_chat.bayeux.server import BayeuxServer
from cometd_chat.chat.chat import Chat
from cometd_chat.log.condition import Condition
from cometd_chat.log.nodes import Nodes
from cometd_chat.transports.budget import KINDS, MemoryBudget
from cometd_chat.transports.connections import Connections
from cometd_chat.transports.peer_counts import LinkNumbers
from cometd_chat.transports.stats import TransportCounts, TransportStats
from cometd_chat.web.process_numbers import ProcessNumbers

#: Of the text.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Which other node it is about.
_OTHER = ("node", "number")

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics(Collector):
    """All numbers of one daemon, in a registry of its own."""

    def __init__(self, chat: Chat, stats: TransportStats) -> None:
        self._chat = chat
        # What else is counted, by whoever joins the parts.
        self._others: list[Callable[[], Iterator[Metric]]] = []
        self.stats = stats
        self._registry = CollectorRegistry()
        # From a post to its commit, as its sender waits for it.
        append_seconds = Histogram(
            "comet_chat_append_seconds",
            "Seconds until a post was durable",
            buckets=_BUCKETS,
            registry=self._registry,
        )
        chat.messages.append_waited.add(append_seconds.observe)
        self._registry.register(self)
        self._registry.register(ProcessNumbers())

    def watch_bayeux(self, server: BayeuxServer) -> None:
        """Show a Bayeux server's numbers, too."""
        self._others.append(partial(_bayeux, server))

    def watch_connections(self, connections: Connections) -> None:
        """Show how many connections a site has, too."""
        self._others.append(partial(_connections, connections))

    def watch_cluster(
        self,
        nodes: Nodes,
        condition: Callable[[], Condition],
        links: Callable[[], Sequence[LinkNumbers]],
    ) -> None:
        """Show how this node is among others, too.

        :param condition: of its way to the database.
        :param links: to the other nodes.
        """
        self._others.append(lambda: _cluster(nodes, condition()))
        self._others.append(lambda: _links(nodes, links()))

    def text(self) -> bytes:
        """The exposition format's text."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """The numbers as they are now; called by the registry."""
        yield self._by_transport(GaugeMetricFamily, "held_requests", "Requests held", "held")
        yield self._by_transport(
            CounterMetricFamily, "events_delivered", "Events written", "delivered"
        )
        yield self._by_transport(CounterMetricFamily, "bytes_sent", "Bytes written", "bytes_sent")
        yield self._by_transport(CounterMetricFamily, "expired", "Held requests expired", "expired")
        yield GaugeMetricFamily(
            "comet_chat_sessions", "Sessions in use", value=len(self._chat.sessions)
        )
        yield CounterMetricFamily(
            "comet_chat_events_appended", "Events committed", value=self._chat.feed.appended
        )
        yield CounterMetricFamily(
            "comet_chat_commits", "Commits that events shared", value=self._chat.feed.commits
        )
        yield CounterMetricFamily(
            "comet_chat_slow_readers_cut",
            "Held requests cut for being too far behind",
            value=self.stats.slow_readers_cut,
        )
        yield from _memory(self.stats.memory)
        yield GaugeMetricFamily(
            "comet_chat_tail_events", "Events in memory", value=len(self._chat.feed.tail)
        )

        refused = CounterMetricFamily(
            "comet_chat_refused", "Times that a client was refused", labels=["error"]
        )
        for slug, times in sorted(self.stats.refusals.items()):
            refused.add_metric([slug], times)
        yield refused
        usage = self._chat.feed.log.usage
        if usage is not None:
            yield GaugeMetricFamily("comet_chat_log_bytes", "Size of the log", value=usage.size)
            yield GaugeMetricFamily(
                "comet_chat_log_limit_bytes", "Size past which posts are refused", value=usage.limit
            )
        for other in self._others:
            yield from other()

    def _by_transport(
        self,
        family: type[GaugeMetricFamily] | type[CounterMetricFamily],
        name: str,
        help: str,
        count: str,
    ) -> Metric:
        metric = family(f"comet_chat_{name}", help, labels=["transport"])
        for transport, counts in self.stats.transports.items():
            metric.add_metric([transport], _value(counts, count))
        return metric


def _memory(memory: MemoryBudget) -> Iterator[Metric]:
    held = GaugeMetricFamily(
        "comet_chat_memory_held_bytes", "Bytes held for connections, at most", labels=["kind"]
    )
    for kind in KINDS:
        held.add_metric([kind], memory.of(kind))
    yield held
    yield GaugeMetricFamily(
        "comet_chat_memory_ceiling_bytes", "Bytes that may be held for them", value=memory.limit
    )
    yield CounterMetricFamily(
        "comet_chat_memory_shed",
        "Connections and sessions let go since the ceiling was reached",
        value=memory.shed,
    )


def _bayeux(server: BayeuxServer) -> Iterator[Metric]:
    counts = server.connects.counts
    yield GaugeMetricFamily(
        "comet_chat_bayeux_sessions", "Bayeux clients", value=len(server.clients)
    )
    yield GaugeMetricFamily(
        "comet_chat_bayeux_held_connects", "Connects held", value=server.connects.held
    )
    yield CounterMetricFamily(
        "comet_chat_bayeux_delivered", "Messages to Bayeux clients", value=counts.delivered
    )
    yield CounterMetricFamily(
        "comet_chat_bayeux_redelivered", "Of these, sent again", value=counts.redelivered
    )


def _connections(connections: Connections) -> Iterator[Metric]:
    yield GaugeMetricFamily("comet_chat_connections", "Connections open", value=connections.open)
    yield CounterMetricFamily(
        "comet_chat_connections_refused",
        "Connections of addresses that had too many",
        value=connections.refused,
    )


def _cluster(nodes: Nodes, condition: Condition) -> Iterator[Metric]:
    known = GaugeMetricFamily(
        "comet_chat_nodes", "Nodes that this one knows, and itself", labels=["node", "number"]
    )
    for name, number in sorted(
        [(nodes.name, nodes.number), *((row.name, row.number) for row in nodes.others())]
    ):
        known.add_metric([name, str(number)], 1)
    yield known
    for name, help, value in (
        ("node_number", "The number of this node", nodes.number),
        ("lag_records", "Records that are stored and were not told here", condition.lag_records),
        ("lag_seconds", "For how long there have been any", condition.lag_seconds),
        ("database_unreachable_seconds", "Since it last answered", condition.unreachable_for),
        ("deaf_seconds", "Since this node last heard its own bell", condition.deaf_for),
        ("notify_queue_usage", "Of PostgreSQL's queue of notifications", condition.queue_usage),
    ):
        yield GaugeMetricFamily(f"comet_chat_{name}", help, value=value)
    bells = CounterMetricFamily("comet_chat_bells", "Bells of the log heard", labels=["kind"])
    for kind, heard in condition.bells.items():
        bells.add_metric([kind], heard)
    yield bells
    for name, help, value in (
        ("node_commits", "Commits of this node", condition.commits),
        ("commit_seconds", "What they took together", condition.commit_seconds),
        ("doubtful_commits", "Of these, whose answer was lost", condition.doubts),
    ):
        yield CounterMetricFamily(f"comet_chat_{name}", help, value=value)


def _links(nodes: Nodes, links: Sequence[LinkNumbers]) -> Iterator[Metric]:
    names = {row.number: row.name for row in nodes.others()}
    silent = GaugeMetricFamily(
        "comet_chat_node_silent_seconds",
        "Since another node was last seen to renew its lease",
        labels=_OTHER,
    )
    for number, name in names.items():
        seconds = nodes.silent_for(number)
        if seconds is not None:
            silent.add_metric([name, str(number)], seconds)
    yield silent
    for family, value in (
        (
            GaugeMetricFamily("comet_chat_link_up", "Whether a node can be reached", labels=_OTHER),
            "up",
        ),
        (
            GaugeMetricFamily(
                "comet_chat_link_waiting_bytes", "Until it takes them", labels=_OTHER
            ),
            "waiting",
        ),
        (
            CounterMetricFamily("comet_chat_link_connections", "That came about", labels=_OTHER),
            "made",
        ),
        (
            CounterMetricFamily("comet_chat_link_bytes_sent", "Bytes sent to it", labels=_OTHER),
            "sent",
        ),
        (
            CounterMetricFamily("comet_chat_link_bytes_received", "Bytes of it", labels=_OTHER),
            "received",
        ),
    ):
        for link in links:
            family.add_metric([names.get(link.number, ""), str(link.number)], getattr(link, value))
        yield family


def _value(counts: TransportCounts, name: str) -> float:
    value: int = getattr(counts, name)
    return value
