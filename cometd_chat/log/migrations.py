"""Bringing a database file up to the schema of this release.

What it is: Alembic, run inside this process, with a copy of the file made before.

What it may know: revisions and the file. Not what is in the tables.

Invariant: a file that is migrated was copied before, and either all steps were taken or none; a
file of a newer release is not touched.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from twisted.logger import Logger

from cometd_chat.errors import StorageUnavailable

#: Where the migrations are: a directory of this package.
SCHEMA = "cometd_chat.log:schema"

_log = Logger()


class SchemaTooNew(StorageUnavailable):
    """The database was written by a newer release than this one."""


def migrate(connection: Connection, path: Path, schema: str = SCHEMA) -> Path | None:
    """Take all steps that are missing, in the transaction that is open on the connection.

    :param path: the database file; its copy is made beside it and kept.
    :param schema: where the migrations are, as Alembic spells it.
    :returns: the copy, or None when none was needed.
    :raises SchemaTooNew: the schema is of a revision that this release does not know.
    """
    config = Config()
    config.set_main_option("script_location", schema.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    if current == scripts.get_current_head():
        return None
    if current not in {None, *(script.revision for script in scripts.walk_revisions())}:
        raise SchemaTooNew(
            f"{path} was written by a newer release (its schema is {current}): install that "
            "release again, or start from the copy that it left beside the file."
        )
    copy = None
    if inspect(connection).get_table_names():
        copy = _back_up(path, current or "unversioned")
        _log.info("database copied to {copy} before migrating it", copy=copy.name)
    command.upgrade(config, "head")
    return copy


def _back_up(path: Path, revision: str) -> Path:
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
