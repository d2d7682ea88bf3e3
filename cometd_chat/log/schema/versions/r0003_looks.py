"""By what two names are one: how they look, too.

Of two who have what is one name from now, the one who came first keeps it. The other is asked for
another when they come again, as everybody whose name was taken while they were away; so is who has
a name that is reserved now.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cometd_chat.lookalikes.keys import is_reserved, name_keys

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_sessions = sa.table(
    "sessions",
    sa.column("id", sa.Text),
    sa.column("name", sa.Text),
    sa.column("name_key", sa.Text),
    sa.column("name_looks", sa.Text),
    sa.column("created_at", sa.BigInteger),
)


def upgrade() -> None:
    op.add_column("sessions", sa.Column("name_looks", sa.Text))
    _make_keys(op.get_bind())
    op.create_index(
        "sessions_by_looks",
        "sessions",
        ["name_looks"],
        unique=True,
        sqlite_where=sa.text("name_looks IS NOT NULL"),
        postgresql_where=sa.text("name_looks IS NOT NULL"),
    )


def _make_keys(connection: sa.Connection) -> None:
    named = sa.select(_sessions.c.id, _sessions.c.name).where(_sessions.c.name_key.is_not(None))
    rows = connection.execute(named.order_by(_sessions.c.created_at, _sessions.c.id)).all()
    # First of all: the new key of one may be the old key of another.
    connection.execute(sa.update(_sessions).values(name_key=None))
    taken: set[str] = set()
    for id, name in rows:
        keys = name_keys(name)
        if is_reserved(keys) or not taken.isdisjoint(keys):
            continue
        taken.update(keys)
        change = sa.update(_sessions).where(_sessions.c.id == id)
        connection.execute(change.values(name_key=keys.folded, name_looks=keys.looks))
