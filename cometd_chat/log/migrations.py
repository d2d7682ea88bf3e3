"""Bringing a database up to the schema of this release.

What it is: Alembic, run inside this process. A file is copied before.

What it may know: revisions, and the file. Not what is in the tables, but for `compatibility`.

A release runs on its own schema, and on that of the next one: so many daemons with one database can
be replaced one after the other. The next one says so in the module of its newest revision, as
``runs_with = "0005"``: the revision of the release before, whose daemons still run while that is
migrated. It adds what they need not know, and takes away nothing that they use; what nobody needs
any more goes a release later. What is said there is kept in the database, where an older release
finds it: it knows no revisions but its own.

Invariant: either all steps were taken or none; a file that is migrated was copied before. What a
newer release made, and did not say that this one runs on it, is not touched.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from sqlalchemy import Connection, column, delete, insert, inspect, select, table
from twisted.logger import Logger

from cometd_chat.errors import StorageUnavailable
from cometd_chat.log.tables import compatibility

#: Where the migrations are: a directory of this package.
SCHEMA = "cometd_chat.log:schema"

#: Where Alembic keeps the revision of a database.
_VERSION = table("alembic_version", column("version_num"))

_log = Logger()


class SchemaTooNew(StorageUnavailable):
    """The database was written by a newer release than this one."""


def migrate(
    connection: Connection,
    where: str,
    schema: str = SCHEMA,
    *,
    back_up: Callable[[str], Path] | None = None,
) -> None:
    """Take all steps that are missing, in the transaction that is open on the connection.

    :param where: what the database is called, in sentences.
    :param schema: where the migrations are, as Alembic spells it.
    :param back_up: makes a copy, which is kept, of a database that is not new; it is told of which
        revision that is.
    :raises SchemaTooNew: a newer release wrote it, on whose schema this one does not run.
    """
    current = _current(connection)
    if current == newest_revision(schema):
        return
    _take_steps(connection, where, schema, current, back_up)


def newest_revision(schema: str = SCHEMA) -> str:
    """Of this release, as its file is named."""
    package, _, folder = schema.rpartition(":")
    where = files(package).joinpath(folder) if package else Path(folder)
    revisions = (each.name[1:5] for each in where.joinpath("versions").iterdir())
    return max(each for each in revisions if each.isdigit())


def _current(connection: Connection) -> str | None:
    """The revision of a database; None of a new one."""
    if not inspect(connection).has_table(_VERSION.name):
        return None
    return connection.execute(select(_VERSION.c.version_num)).scalar()


def _take_steps(
    connection: Connection,
    where: str,
    schema: str,
    current: str | None,
    back_up: Callable[[str], Path] | None,
) -> None:
    # It takes a tenth of what a start takes to import, and most starts need none of it.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", schema.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    if current is not None and current not in known:
        if _oldest(connection) in known:
            _log.info("the schema is that of the next release, {revision}", revision=current)
            return
        raise SchemaTooNew(
            f"{where} was written by a newer release (its schema is {current}): install that "
            "release again, or start from a copy that was made before."
        )
    if back_up is not None and inspect(connection).get_table_names():
        copy = back_up(current or "unversioned")
        _log.info("database copied to {copy} before migrating it", copy=copy.name)
    command.upgrade(config, "head")
    newest = scripts.get_revision("head")
    assert newest is not None
    oldest = getattr(newest.module, "runs_with", newest.revision)
    if inspect(connection).has_table(compatibility.name):
        # Later than a step asks for, where something is used already that only later ones know.
        oldest = max(oldest, _oldest(connection) or oldest)
        connection.execute(delete(compatibility))
        connection.execute(insert(compatibility), {"oldest": oldest})


def _oldest(connection: Connection) -> str | None:
    """The revision of the oldest release that runs on what is there."""
    if not inspect(connection).has_table(compatibility.name):
        return None
    return connection.execute(select(compatibility.c.oldest)).scalar()


def back_up(path: Path, revision: str) -> Path:
    """Copy a database with what is in its write-ahead log; the copy's name says the revision."""
    copy = path.with_name(f"{path.name}.backup-{revision}")
    number = 1
    while copy.exists():
        number += 1
        copy = path.with_name(f"{path.name}.backup-{revision}-{number}")
    # Under its own name only when it is whole.
    partial = copy.with_name(f"{copy.name}.partial")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    source, target = sqlite3.connect(path), sqlite3.connect(partial)
    try:
        source.backup(target)
    finally:
        target.close()
        source.close()
    partial.replace(copy)
    return copy
