"""What takes a while, and is gone on with by another process when the one at work on it is killed.

A member whose account is being deleted says what is left to do; a held text says who let it
through, until it is said; a purge says which node is at work on it.

A daemon of the release before people runs on it, as on 0007: it uses none of these tables.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
runs_with = "0006"


def upgrade() -> None:
    op.add_column("members", sa.Column("leaving", sa.Text))
    op.add_column("screened", sa.Column("let_by", sa.Text))
    node = sa.Column("node", sa.BigInteger, nullable=False, server_default="0")
    op.add_column("purges", node)
