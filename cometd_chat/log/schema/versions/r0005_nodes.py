"""Many daemons with one database: who they are, and what each of them has."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _create_nodes()
    op.create_table(
        "secrets",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
    op.create_table("compatibility", sa.Column("oldest", sa.Text, primary_key=True))
    _keep_positions_by_node()
    op.add_column(
        "sessions",
        sa.Column("seen_at", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    )
    op.add_column("epochs", sa.Column("cluster", sa.Text, nullable=False, server_default=""))


def _create_nodes() -> None:
    op.create_table(
        "nodes",
        sa.Column("number", _Id, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("lease_until", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "claims",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("session", sa.Text, nullable=False),
        sa.Column("node", sa.BigInteger, nullable=False),
        sa.Column("browser", sa.LargeBinary),
        sa.ForeignKeyConstraint(
            ["node"], ["nodes.number"], name="claims_of_node", ondelete="CASCADE"
        ),
    )
    op.create_index("claims_by_node", "claims", ["node"])


def _keep_positions_by_node() -> None:
    # SQLite can't change the key of a table.
    op.create_table(
        "positions_by_node",
        sa.Column("session", sa.Text, nullable=False),
        sa.Column("room", sa.Text, nullable=False),
        sa.Column("node", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("session", "room", "node", name="positions_key"),
        sa.ForeignKeyConstraint(
            ["session"], ["sessions.id"], name="positions_of_session", ondelete="CASCADE"
        ),
    )
    op.execute(
        "INSERT INTO positions_by_node (session, room, node, position) "
        "SELECT session, room, 0, position FROM positions"
    )
    op.drop_table("positions")
    op.rename_table("positions_by_node", "positions")
