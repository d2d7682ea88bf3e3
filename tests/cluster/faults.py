"""What is done to a cluster, at random by a seed: the table of faults, and who makes them.

What it is: `FAULTS`, each with how often it comes, and `Troublemaker`, which makes so many, several
at a time, and puts everything right at the end.

What it may know: `tests.cluster.cluster` and its parts.

Invariant: one fault at a time for each node and one for the server; what began is noted in the
history with its end. All of it runs in one thread, since a server ends with the thread that started
it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import attrs

from tests.cluster.cluster import Cluster, Node
from tests.cluster.history import Caused, History, PutBack, Refused
from tests.daemon.talk import once, wait_until
from tests.postgresql import PostgresServer
from tests.support import free_port

#: How far clocks jump, in seconds.
HOUR = 3600.0

#: A schema whose `pg_notify` rings no bell.
DEAF = "deaf"

#: What faults are done to.
NODE, SERVER, DISK, CLOCK, HIS_CLOCK = "node", "server", "disk", "its clock", "a node's clock"


@attrs.define
class Begun:
    """A fault that is on.

    :param until: when it is to be put right.
    :param cause: does that, when it goes on.
    """

    kind: str
    target: str
    what: str
    began: float
    until: float
    cause: Iterator[str]


@attrs.frozen
class Fault:
    """A row of the table.

    :param weight: how often it comes, beside the others.
    :param cause: makes it: a context, whose end is that of the fault.
    :param target: to what it is done: a node, or something that there is one of.
    :param shortest, longest: seconds.
    """

    weight: int
    cause: Callable[[Troublemaker, Node | None], Iterator[str]]
    target: str = SERVER
    shortest: float = 0.0
    longest: float = 0.0


@attrs.define
class Troublemaker:
    """Makes faults.

    :param brevity: by how much less than the table says they last at most.
    :param names: those that it makes; by default all.
    :param surely: of those, which it makes at least once; as the others come by chance.
    """

    cluster: Cluster
    history: History
    names: tuple[str, ...] = ()
    brevity: float = 1.0
    surely: tuple[str, ...] = ()
    chance: random.Random = attrs.field(init=False)
    count: int = 0
    _began: float = 0.0
    _begun: dict[str, Begun] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.chance = random.Random(f"{self.history.seed}/faults")
        self.names = self.names or tuple(FAULTS)
        if self.cluster.star is None:
            self.names = tuple(name for name in self.names if name != "cut network")
        self.surely = tuple(name for name in self.surely if name in self.names)

    # -- one after the other

    def make(self, count: int, pause: float) -> Iterator[int]:
        """Make so many; after each one is begun it says how many there were.

        :param pause: seconds between two at most.
        """
        weights = [FAULTS[name].weight for name in self.names]
        due = list(self.surely)
        assert len(due) <= count
        while self.count < count:
            # Of what is left to make, any may be one of those that are due.
            if self.chance.randrange(count - self.count) < len(due):
                name = self.chance.choice(due)
            else:
                name = self.chance.choices(self.names, weights)[0]
            if self._begin(name):
                self.count += 1
                due = [each for each in due if each != name]
                yield self.count
            self.pass_time(self.chance.uniform(0, pause))

    def _begin(self, name: str) -> bool:
        """Begin a fault, if there is anything that it can be done to."""
        fault = FAULTS[name]
        node: Node | None = None
        target = fault.target
        if target == NODE:
            free = [each for each in self.cluster.nodes if self._is_well(each)]
            if not free:
                return False
            node = self.chance.choice(free)
            target = node.name
        if target in self._begun:
            return False
        longest = max(fault.shortest, fault.longest * self.brevity)
        # Short ones are as likely as long ones, whatever the unit.
        power = self.chance.random()
        seconds = fault.shortest * (longest / fault.shortest) ** power if fault.shortest else 0.0
        began = self._began = time.monotonic()
        cause = fault.cause(self, node)
        what = f"{target} {next(cause)}, {seconds:.1f} s"
        until = time.monotonic() + seconds
        self._begun[target] = Begun(name, target, what, began, until, cause)
        self._end_those_that_are_over()
        return True

    def _is_well(self, node: Node) -> bool:
        return node.name not in self._begun and not node.has_ended() and node.answers()

    def pass_time(self, seconds: float) -> None:
        """Wait, and put right what is to be put right meanwhile."""
        deadline = time.monotonic() + seconds
        while True:
            self._end_those_that_are_over()
            if time.monotonic() >= deadline:
                return
            time.sleep(0.02)

    def _end_those_that_are_over(self, *, all: bool = False) -> None:
        for target, begun in list(self._begun.items()):
            if all or time.monotonic() >= begun.until:
                del self._begun[target]
                self._end(begun)
        for node in self.cluster.nodes:
            if node.name not in self._begun and node.has_ended():
                self._start_again(node)

    def _start_again(self, node: Node) -> None:
        """Who ends by itself is started again; it should not have."""
        status = node.daemon.kill()
        what = f"ended by itself with status {status}: {node.daemon.log[-2000:]}"
        self.history.note(Refused(who=node.name, status=0, what=what))
        node.daemon.begin()

    def _end(self, begun: Begun) -> None:
        for _ in begun.cause:
            raise AssertionError("a fault has one beginning and one end")
        if not any(each.began == begun.began for each in self.history.caused):
            self.history.caused.append(
                Caused(kind=begun.kind, began=begun.began, ended=time.monotonic(), what=begun.what)
            )

    def put_right(self) -> None:
        """End all of them, and wait until every node is ready."""
        self._end_those_that_are_over(all=True)
        for node in self.cluster.nodes:
            wait_until(partial(self._is_ready, node), f"{node.name} is ready")

    def _is_ready(self, node: Node) -> bool:
        self._end_those_that_are_over()
        try:
            return once(node.port, "GET", "/readyz").status == 200
        except OSError:
            return False

    def put_back(self, kind: str, kept: int) -> None:
        """Note that the fault which is being made has taken the end of the log."""
        began = self._began
        self.history.caused.append(
            PutBack(kind=kind, began=began, ended=time.monotonic(), kept=kept)
        )


# -- to nodes


def kill(made: Troublemaker, node: Node | None) -> Iterator[str]:
    """``kill -9``; it is started again."""
    assert node is not None
    node.kill()
    yield "is dead"
    node.daemon.begin()


def stop(made: Troublemaker, node: Node | None) -> Iterator[str]:
    """SIGTERM, as at a restart."""
    assert node is not None
    node.daemon.terminate()
    yield "was stopped"
    node.daemon.begin()


def freeze(made: Troublemaker, node: Node | None) -> Iterator[str]:
    """SIGSTOP, wherever it is, and SIGCONT."""
    assert node is not None
    node.freeze()
    yield "is frozen"
    node.thaw()


def cut(made: Troublemaker, node: Node | None) -> Iterator[str]:
    """Nothing passes between a node and the database; nobody is told."""
    assert node is not None
    assert made.cluster.star is not None
    number = list(made.cluster.nodes).index(node)
    made.cluster.star.take(number, "down")
    yield "is cut off"
    made.cluster.star.take(number, "up")


def node_clock(made: Troublemaker, node: Node | None) -> Iterator[str]:
    """The clock of the first node jumps by an hour, and back."""
    ahead = made.chance.choice((-HOUR, HOUR))
    _set(made, ahead)
    yield f"is set by {ahead:g} s"
    _set(made, 0)


def _set(made: Troublemaker, seconds: float) -> None:
    new = made.cluster.ahead.with_suffix(".new")
    new.write_text(str(seconds))
    new.rename(made.cluster.ahead)


# -- to the server


def terminate(made: Troublemaker, node: Node | None) -> Iterator[str]:
    """Connections are terminated, as by an administrator: all, or those of one node."""
    which = made.chance.choice(["%", *(f"%{node.name}%" for node in made.cluster.nodes)])
    ended = made.cluster.server.terminate_connections(made.cluster.database, which)
    yield f"has ended {ended} connections"


def restart(made: Troublemaker, node: Node | None) -> Iterator[str]:
    """As when the power fails: recovery from its own log."""
    made.cluster.server.restart("immediate")
    yield "was restarted"


def freeze_server(made: Troublemaker, node: Node | None) -> Iterator[str]:
    """Connections stay, nothing is answered."""
    made.cluster.server.freeze()
    yield "is frozen"
    made.cluster.server.thaw()


def no_bells(made: Troublemaker, node: Node | None) -> Iterator[str]:
    """No NOTIFY of any node is heard: `pg_notify` does nothing, in every session."""
    server, database = made.cluster.server, made.cluster.database
    with server.connect(database) as connection:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {DEAF}")
        connection.execute(f"GRANT USAGE ON SCHEMA {DEAF} TO PUBLIC")
        connection.execute(
            f"CREATE OR REPLACE FUNCTION {DEAF}.pg_notify(text, text) RETURNS void"
            " LANGUAGE sql AS ''"
        )
        connection.execute(
            f"ALTER DATABASE {database} SET search_path = {DEAF}, pg_catalog, public"
        )
    server.terminate_connections(database)
    yield "rings no bells"
    server.execute(f"ALTER DATABASE {database} RESET search_path", database)
    server.terminate_connections(database)


def slow_disk(made: Troublemaker, node: Node | None) -> Iterator[str]:
    """Each sync takes longer."""
    late = made.chance.choice((0.005, 0.05, 0.2))
    made.cluster.shim.set(late=late)
    yield f"needs {late * 1000:g} ms more for a sync"
    made.cluster.shim.set(late=0)


def server_clock(made: Troublemaker, node: Node | None) -> Iterator[str]:
    """The clock of the database jumps by an hour, and back: times are by it."""
    ahead = made.chance.choice((-HOUR, HOUR))
    made.cluster.shim.set(ahead=ahead)
    yield f"is set by {ahead:g} s"
    made.cluster.shim.set(ahead=0)


def fail_over(made: Troublemaker, node: Node | None) -> Iterator[str]:
    """A synchronous standby takes over: nothing is lost, and nobody may notice."""
    old, standby = made.cluster.server, _standby(made)
    old.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
    old.execute("SELECT pg_reload_conf()")
    wait_until(
        lambda: old.query("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"),
        "the standby is synchronous",
    )
    wait(made.chance.uniform(0.2, 1))
    old.stop("immediate")
    standby.promote()
    _take_over(made, standby)
    yield "is the synchronous standby"


def fail_over_late(made: Troublemaker, node: Node | None) -> Iterator[str]:
    """An asynchronous standby takes over, which had not heard of the last records."""
    old, standby = made.cluster.server, _standby(made)
    wait_until(
        lambda: old.query("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"),
        "the standby follows",
    )
    standby.execute("ALTER SYSTEM SET primary_conninfo = ''")
    standby.execute("SELECT pg_reload_conf()")
    # It reads its settings anew in its own time, and hears on until then.
    wait_until(
        lambda: not old.query("SELECT 1 FROM pg_stat_replication"), "the standby hears no more"
    )
    wait(made.chance.uniform(0.2, 1.5))
    old.stop("immediate")
    _wait_until_it_stands_still(standby)
    # Before anybody can write to it.
    kept = last_id(standby, made.cluster.database)
    standby.promote()
    _take_over(made, standby)
    made.put_back("asynchronous failover", kept)
    yield f"is the asynchronous standby, up to {kept}"


def _standby(made: Troublemaker) -> PostgresServer:
    """A standby of the server, which listens where the server does not."""
    standby = made.cluster.server.base_backup(standby=True)
    (standby.port,) = set(made.cluster.ports) - {made.cluster.server.port}
    standby.start()
    return standby


def _wait_until_it_stands_still(standby: PostgresServer) -> None:
    """Until a standby has done all that it had heard of: the last record that it heard of may be
    half a one, which it never does."""
    done: list[object] = [None]

    def still() -> bool:
        time.sleep(0.1)
        [(now,)] = standby.query("SELECT pg_last_wal_replay_lsn()::text")
        done.append(now)
        return len(set(done[-4:])) == 1

    wait_until(still, "the standby stands still")


def _take_over(made: Troublemaker, new: PostgresServer) -> None:
    old, made.cluster.server = made.cluster.server, new
    old.remove()


def restore(made: Troublemaker, node: Node | None) -> Iterator[str]:
    """A backup is taken under load, and put in the place of the server a little later."""
    old = made.cluster.server
    backup = old.base_backup()
    wait(made.chance.uniform(0.2, 1.5))
    port = old.port
    old.stop("immediate")
    # It is looked at where no node finds it.
    backup.port = free_port()
    backup.start()
    kept = last_id(backup, made.cluster.database)
    backup.stop()
    backup.port = port
    backup.start()
    _take_over(made, backup)
    made.put_back("restored backup", kept)
    yield f"is a backup, up to {kept}"


def wait(seconds: float) -> None:
    """Let those who are at work go on meanwhile."""
    time.sleep(seconds)


def last_id(server: PostgresServer, database: str) -> int:
    """The id of the newest record."""
    ((found,),) = server.query("SELECT coalesce(max(id), 0) FROM records", database)
    assert isinstance(found, int)
    return found


FAULTS: Mapping[str, Fault] = {
    "kill -9": Fault(20, kill, target=NODE, shortest=0.05, longest=3),
    "restart": Fault(5, stop, target=NODE, shortest=0.05, longest=1),
    "SIGSTOP": Fault(20, freeze, target=NODE, shortest=0.5, longest=20),
    "cut network": Fault(10, cut, target=NODE, shortest=0.5, longest=10),
    "clock of a node": Fault(5, node_clock, target=HIS_CLOCK, shortest=0.5, longest=5),
    "terminated connections": Fault(20, terminate),
    "immediate restart": Fault(8, restart),
    "frozen server": Fault(8, freeze_server, shortest=0.2, longest=8),
    "no bells": Fault(6, no_bells, shortest=1, longest=8),
    "slow fsync": Fault(6, slow_disk, target=DISK, shortest=1, longest=6),
    "clock of the database": Fault(5, server_clock, target=CLOCK, shortest=0.5, longest=5),
    "synchronous failover": Fault(2, fail_over),
    "asynchronous failover": Fault(2, fail_over_late),
    "restored backup": Fault(2, restore),
}

#: Those that may take the end of the log.
TAKING = ("asynchronous failover", "restored backup")
