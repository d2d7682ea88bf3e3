"""The log, its epochs, sessions, rooms, and the room where everybody lands."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _create_log()
    _create_directory()


def _create_log() -> None:
    op.create_table(
        "records",
        sa.Column("id", _Id, primary_key=True, autoincrement=False),
        sa.Column("context", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("sender", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("client_id", sa.Text),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("records_by_context", "records", ["context", "id"])
    op.create_index(
        "records_by_client_id",
        "records",
        ["sender", "client_id"],
        unique=True,
        sqlite_where=sa.text("client_id IS NOT NULL"),
        postgresql_where=sa.text("client_id IS NOT NULL"),
    )
    op.create_table(
        "epochs",
        sa.Column("number", _Id, primary_key=True),
        sa.Column("epoch", sa.Text, nullable=False),
        sa.Column("first_id", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("epoch", name="epochs_by_name"),
    )


def _create_directory() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("token_hash", sa.LargeBinary, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("name_key", sa.Text),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("token_hash", name="sessions_by_token"),
    )
    op.create_index(
        "sessions_by_name",
        "sessions",
        ["name_key"],
        unique=True,
        sqlite_where=sa.text("name_key IS NOT NULL"),
        postgresql_where=sa.text("name_key IS NOT NULL"),
    )
    op.create_index("sessions_by_expiry", "sessions", ["expires_at"])
    rooms = op.create_table(
        "rooms",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(
        rooms,
        [
            {
                "name": "lobby",
                "topic": "Everybody lands here. Be kind, say hello.",
                "created_by": "",
                "created_at": 0,
            }
        ],
    )
