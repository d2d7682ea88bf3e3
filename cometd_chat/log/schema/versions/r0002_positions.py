"""How far somebody has come in each room, for clients that keep no cursor themselves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "positions",
        sa.Column("session", sa.Text, nullable=False),
        sa.Column("room", sa.Text, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("session", "room"),
        sa.ForeignKeyConstraint(
            ["session"], ["sessions.id"], name="positions_of_session", ondelete="CASCADE"
        ),
    )
