"""A PostgreSQL server of the tests' own.

What it is: `PostgresServer`, a real server in a folder below the system's one for temporary files;
also the benchmarks' own. Its fixtures are in `tests/databases.py`.

What it may know: PostgreSQL's own commands, psycopg, and how our tables are made.

Invariant: nobody else's server is touched, and none outlives the process that started it. A server
that runs as root refuses to start, so that of a test that runs as root is the user `postgres`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import TracebackType

import attrs
import psycopg
from psycopg import sql

from tests.support import ROOT, free_port

#: The database from which those that have our tables are copied: to make the tables takes as long
#: as ten copies, and a daemon that finds none loads what makes them.
PREPARED = "prepared"

#: Seconds that a server may take to start or to stop, on a busy machine.
PATIENCE = 60.0

#: The owner of all databases: no superuser, as at those who rent theirs.
USER, PASSWORD = "comet", "a-password-to-be-kept"

#: What stops a server, by the names that ``pg_ctl`` has for it: `fast` ends all connections,
#: `immediate` is as when the power fails.
MODES = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

#: What the last line of its ``postmaster.pid`` is once it answers.
READY = {"ready", "standby"}

#: Linux's file system in memory, and how many bytes must be free there for all servers of a run.
MEMORY = Path("/dev/shm")
ROOM = 2 * 2**30

#: Small, and without waiting for the disk: what was written outlives the server, if not the
#: machine. Who tests that it is asked says ``fsync="on"``, and who wants its time, ``on_disk``.
SETTINGS = {
    "fsync": "off",
    # In its folder, and gone with that: what a server has elsewhere is left by one that is killed.
    "dynamic_shared_memory_type": "mmap",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "80",
    "wal_level": "replica",
    "max_wal_size": "128MB",
    # For each database it starts a process every few seconds, and none lives for long enough.
    "autovacuum": "off",
    "max_logical_replication_workers": "0",
    "timezone": "UTC",
}


@cache
def programs() -> Path:
    """Where PostgreSQL's programs are; Debian has them in a folder that no PATH names."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3])
    )
    if not versions:
        raise FileNotFoundError("there is no PostgreSQL here: run .ci/install test")
    return versions[-1].parent


def _as_its_user(*command: str | Path) -> list[str]:
    """A command as a user who may run a server; it ends when the one who started it does."""
    user = ["--reuid=postgres", "--regid=postgres", "--init-groups"] if os.getuid() == 0 else []
    # setpriv becomes the command, unlike runuser, which would stand in the way of signals.
    return ["setpriv", *user, "--pdeathsig=INT", *map(str, command)]


def _run(*command: str | Path) -> None:
    done = subprocess.run(
        _as_its_user(*command), cwd="/", capture_output=True, text=True, timeout=PATIENCE
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


@attrs.define(eq=False)
class PostgresServer:
    """One server: ``with PostgresServer.new() as server: ... server.fresh_database() ...``.

    :param directory: a folder that is its user's, with the cluster in ``data``; see `new`.
    :param settings: as in ``postgresql.conf``, over `SETTINGS`. They may be changed before a start.
    :param environ: more variables of the server's, such as LD_PRELOAD.
    :param prefix: what to put in front of its command, such as ``ip netns exec NAME``.
    :param host: where it listens, beside the socket in its folder.
    """

    directory: Path
    settings: dict[str, str] = attrs.field(factory=dict)
    environ: Mapping[str, str] = attrs.field(factory=dict)
    prefix: Sequence[str] = ()
    host: str = "127.0.0.1"
    port: int = attrs.field(factory=free_port)
    _process: subprocess.Popen[bytes] | None = None
    _frozen: list[int] = attrs.field(factory=list)

    @classmethod
    def new(
        cls,
        *,
        settings: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        host: str = "127.0.0.1",
        on_disk: bool = False,
    ) -> PostgresServer:
        """A new cluster in a new folder, with the user `USER`. It is not started yet.

        :param on_disk: it waits for a disk, where ``fsync`` is on.
        """
        folder = _new_folder(on_disk=on_disk)
        server = cls(folder, dict(settings or {}), environ or {}, prefix, host)
        _copy_files(_kept_cluster(), server.data)
        return server

    @property
    def data(self) -> Path:
        """The cluster's files."""
        return self.directory / "data"

    @property
    def log(self) -> str:
        """What it has said so far."""
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def url(self, database: str, *, host: str | None = None, port: int | None = None) -> str:
        """What ``--database`` takes.

        :param host: where else it can be reached, and at which port: through a proxy, say.
        """
        where = f"{host or self.host}:{port or self.port}"
        return f"postgresql://{USER}:{PASSWORD}@{where}/{database}"

    # -- its life

    def make_cluster(self) -> None:
        """Make the files, with `USER` and `PREPARED`. It does not run after this."""
        _run(
            programs() / "initdb",
            "--no-sync",
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C",
            "--pgdata",
            self.data,
        )
        # All may come from everywhere: it listens where the test says, and only there.
        with (self.data / "pg_hba.conf").open("w") as access:
            for kind in ("local all all", "local replication all"):
                access.write(f"{kind} trust\n")
            for kind in ("host all all", "host replication all"):
                access.write(f"{kind} 0.0.0.0/0 trust\n{kind} ::/0 trust\n")
        with self:
            self.execute(f"CREATE ROLE {USER} LOGIN CREATEDB PASSWORD '{PASSWORD}'")
            self._create_database(PREPARED, "template0")
            prepare(self.url(PREPARED))

    def __enter__(self) -> PostgresServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        assert self._process is None, "it runs already"
        settings = {
            **SETTINGS,
            "listen_addresses": self.host,
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
            **self.settings,
        }
        command: list[str | Path] = [programs() / "postgres", "-D", self.data]
        arguments = [text for item in settings.items() for text in ("-c", "=".join(item))]
        with (self.directory / "log").open("ab") as output:
            self._process = subprocess.Popen(
                [*self.prefix, *_as_its_user(*command, *arguments)],
                cwd="/",
                env={**os.environ, **self.environ},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._wait_until_it_answers()

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        end = time.monotonic() + PATIENCE
        while not self._says_that_it_answers(self._process.pid):
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL does not start\n{self.log}")
            time.sleep(0.01)

    def _says_that_it_answers(self, pid: int) -> bool:
        """As ``pg_ctl --wait`` finds it out: each attempt to connect would be a process more."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        # One that was killed has left its own.
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() in READY

    def stop(self, mode: str = "fast") -> None:
        """Stop it, and wait until it is gone; nothing happens when it does not run.

        :param mode: one of `MODES`.
        """
        process, self._process = self._process, None
        if process is None:
            return
        self.thaw()
        process.send_signal(MODES[mode])
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise RuntimeError(f"PostgreSQL did not stop\n{self.log}") from None

    def restart(self, mode: str = "fast") -> None:
        """Stop it and start it again."""
        self.stop(mode)
        self.start()

    def remove(self) -> None:
        """Stop it at once, and leave nothing of it."""
        self.stop("immediate")
        shutil.rmtree(self.directory, ignore_errors=True)

    def freeze(self) -> None:
        """Stop the time of all its processes: connections stay, nothing is answered."""
        assert self._process is not None
        # The parent first, so that there are no more of them meanwhile.
        os.kill(self._process.pid, signal.SIGSTOP)
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        self._frozen = [self._process.pid, *map(int, children.read_text().split())]
        self._signal_frozen(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on; nothing happens when it is not frozen."""
        self._signal_frozen(signal.SIGCONT)
        self._frozen = []

    def _signal_frozen(self, number: signal.Signals) -> None:
        for pid in self._frozen:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It is frozen meanwhile."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    # -- what is in it

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A connection of the superuser's, through the socket; each statement is a transaction."""
        return psycopg.connect(
            host=str(self.directory),
            port=self.port,
            dbname=database,
            user="postgres",
            autocommit=True,
            connect_timeout=int(PATIENCE),
        )

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run one statement as superuser."""
        with self.connect(database) as connection:
            connection.execute(statement)

    def query(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """The rows of a query, as superuser."""
        with self.connect(database) as connection:
            return connection.execute(statement).fetchall()

    def fresh_database(self) -> str:
        """A new database of `USER`'s, with our tables and nothing in them; what it is called."""
        return self._create_database(_new_name(), PREPARED)

    def empty_database(self) -> str:
        """One without tables, as an operator makes it; what it is called."""
        return self._create_database(_new_name(), "template0")

    def _create_database(self, name: str, template: str) -> str:
        # What is copied as files is not written to the log of the server as well.
        statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY file_copy")
        with self.connect() as connection:
            connection.execute(statement.format(*map(sql.Identifier, (name, USER, template))))
        return name

    def drop_database(self, name: str) -> None:
        """Leave nothing of a database, whoever is connected to it."""
        with self.connect() as connection:
            statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(statement.format(sql.Identifier(name)))

    def terminate_connections(self, database: str | None = None, named: str = "%") -> int:
        """End connections of `USER`'s, as an administrator does; how many.

        :param database: only those to this one.
        :param named: only those whose ``application_name`` is like this.
        """
        with self.connect() as connection:
            rows = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s"
                " AND datname = coalesce(%s, datname) AND application_name LIKE %s",
                (USER, database, named),
            ).fetchall()
        return len(rows)

    # -- other clusters that come from it

    def base_backup(self, *, standby: bool = False) -> PostgresServer:
        """A copy of the cluster as it is now, while it runs; not started.

        :param standby: it follows this server once it is started. It says who it is by the
            ``application_name`` "standby", which ``synchronous_standby_names`` may name.
        """
        directory = _new_folder(on_disk=self.directory.parent != MEMORY)
        _run(
            programs() / "pg_basebackup",
            "--no-sync",
            "--checkpoint=fast",
            "--wal-method=stream",
            *(["--write-recovery-conf"] if standby else []),
            f"--dbname=host={self.directory} port={self.port} user=postgres"
            " application_name=standby",
            "--pgdata",
            directory / "data",
        )
        return PostgresServer(directory, dict(self.settings), self.environ, self.prefix, self.host)

    def promote(self) -> None:
        """Make a standby a server that is written to."""
        self.execute("SELECT pg_promote(true, 60)")


def prepare(url: str) -> None:
    """Make our tables in a database."""
    from sqlalchemy import create_engine

    from cometd_chat.log.migrations import migrate

    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        migrate(connection, "unused")
    engine.dispose()


def _new_name() -> str:
    return f"test_{secrets.token_hex(6)}"


def _kept_cluster() -> Path:
    """A cluster that was made once for this version of PostgreSQL and of our tables, by whoever
    came first: to make one takes as long as ten copies."""
    folder = ROOT / ".pytest_cache" / "postgresql"
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / _what_makes_it()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            # One that was left half done, and those that nobody needs any more.
            for old in filter(Path.is_dir, folder.iterdir()):
                shutil.rmtree(old, ignore_errors=True)
            partial = folder / "partial"
            server = PostgresServer(_new_folder())
            try:
                server.make_cluster()
                _copy_files(server.data, partial)
            finally:
                server.remove()
            # Under its own name only when it is whole.
            partial.rename(kept)
    return kept


@cache
def _what_makes_it() -> str:
    """By which the files of a cluster are known."""
    from cometd_chat import log

    version = subprocess.run([programs() / "initdb", "--version"], capture_output=True, check=True)
    ours = Path(str(log.__file__)).parent
    sources = [*sorted(ours.glob("schema/**/*.py")), ours / "migrations.py", ours / "tables.py"]
    digest = hashlib.sha256(version.stdout)
    for source in [Path(__file__), *sources]:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _copy_files(source: Path, target: Path) -> None:
    """With their owners."""
    subprocess.run(
        ["cp", "--archive", "--sparse=always", source, target], check=True, timeout=PATIENCE
    )


def _new_folder(*, on_disk: bool = False) -> Path:
    """Where nothing waits for a disk, unless that is what is wanted: a cluster has a thousand
    files, and each takes a journaling file system up to a millisecond of the processor's time."""
    above = None if on_disk or not _is_roomy(MEMORY) else MEMORY
    # pytest's folders are closed to all other users.
    folder = Path(tempfile.mkdtemp(prefix="comet-chat-postgresql-", dir=above))
    if os.getuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    return folder


def _is_roomy(folder: Path) -> bool:
    return os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > ROOM
