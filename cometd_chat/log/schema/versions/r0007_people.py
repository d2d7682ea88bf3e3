"""People: identities above sessions, accounts, roles, what rooms are, and how they are kept civil.

Whoever spoke is an identity by this: its id is that of the session, which says so by naming none.

A daemon of the release before runs on it, so that nodes can be replaced one after the other, and so
that a release that is no good can be taken back, as long as nobody used what it knows nothing of:
it would show a private room to everybody. The first change of such things says so in the database;
see `cometd_chat.log.changes`.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
runs_with = "0006"

_Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _extend_what_is_there()
    _create_people()
    _create_moderation()
    _create_redaction()


def _extend_what_is_there() -> None:
    op.add_column("sessions", _text("identity", server_default=""))
    op.add_column("sessions", _text("agent", server_default=""))
    op.create_index(
        "sessions_by_identity",
        "sessions",
        ["identity"],
        sqlite_where=sa.text("identity != ''"),
        postgresql_where=sa.text("identity != ''"),
    )
    op.add_column("rooms", _text("kind", server_default="public"))
    op.add_column("rooms", _number("slow", server_default=sa.text("0")))
    for name in ("locked", "archived"):
        no = sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false())
        op.add_column("rooms", no)


def _create_people() -> None:
    op.create_table(
        "members",
        _text("identity", primary_key=True),
        _text("name"),
        _text("name_key", nullable=True),
        _text("name_looks", nullable=True),
        _text("role"),
        _text("password", nullable=True),
        _number("created_at"),
        _number("seen_at"),
        _number("deleted_at", nullable=True),
        sa.UniqueConstraint("name_key", name="members_by_name"),
        sa.UniqueConstraint("name_looks", name="members_by_looks"),
    )
    op.create_table(
        "invites",
        _text("code", primary_key=True),
        _text("room", nullable=True),
        _text("role"),
        _number("uses", nullable=True),
        _number("left", nullable=True),
        _number("until", nullable=True),
        _text("by"),
        _text("by_name"),
        _number("created_at"),
        _number("revoked_at", nullable=True),
    )
    op.create_table(
        "codes",
        sa.Column("hash", sa.LargeBinary, primary_key=True),
        _text("kind"),
        _text("identity", nullable=True),
        _number("until"),
        _number("used_at", nullable=True),
    )
    op.create_table("policies", _text("name", primary_key=True), _text("value"))
    op.create_table(
        "room_members",
        _text("room"),
        _text("identity"),
        _text("role"),
        _text("by"),
        _number("at"),
        sa.PrimaryKeyConstraint("room", "identity", name="room_members_key"),
    )
    op.create_index("room_members_by_identity", "room_members", ["identity"])


def _create_moderation() -> None:
    op.create_table(
        "sanctions",
        _text("id", primary_key=True),
        _text("kind"),
        _text("identity", nullable=True),
        sa.Column("network", sa.LargeBinary),
        _text("who"),
        _text("room", nullable=True),
        _number("until", nullable=True),
        _text("by"),
        _text("by_name"),
        _text("reason"),
        _number("at"),
        _number("lifted_at", nullable=True),
        _text("lifted_by", nullable=True),
    )
    op.create_index("sanctions_by_identity", "sanctions", ["identity"])
    op.create_table(
        "ignored",
        _text("identity"),
        _text("whom"),
        _text("name", server_default=""),
        sa.PrimaryKeyConstraint("identity", "whom", name="ignored_key"),
    )
    op.create_table(
        "screened",
        _text("id", primary_key=True),
        _text("room"),
        _text("identity"),
        _text("name"),
        _text("text"),
        _text("client_id"),
        _number("at"),
    )
    op.create_index("screened_by_identity", "screened", ["identity"])
    op.create_table(
        "audit",
        sa.Column("id", _Id, primary_key=True),
        _number("at"),
        _text("who"),
        _text("who_name"),
        _text("what"),
        _text("whom"),
        _text("room", nullable=True),
        _text("reason"),
        _number("undone_at", nullable=True),
        _text("about", server_default=""),
    )
    op.create_index("audit_by_time", "audit", ["at"])
    op.create_table(
        "reports",
        _text("id", primary_key=True),
        _text("room"),
        _number("message"),
        _text("by"),
        _text("by_name"),
        _text("reason"),
        _number("at"),
        _number("settled_at", nullable=True),
    )


def _create_redaction() -> None:
    op.create_table(
        "purges",
        _text("id", primary_key=True),
        _text("room"),
        _text("identity"),
        _text("by"),
        _text("by_name"),
        _number("since"),
        _number("last"),
        _number("at"),
        _number("until"),
        _text("state"),
        _number("touched_at"),
    )
    op.create_table(
        "hidden",
        sa.Column("record", _Id, primary_key=True, autoincrement=False),
        _text("data"),
        _text("purge", nullable=True),
    )
    op.create_index("hidden_by_purge", "hidden", ["purge"])


def _text(
    name: str,
    *,
    nullable: bool = False,
    primary_key: bool = False,
    server_default: str | None = None,
) -> sa.Column[str]:
    return sa.Column(
        name, sa.Text, nullable=nullable, primary_key=primary_key, server_default=server_default
    )


def _number(
    name: str, *, nullable: bool = False, server_default: sa.TextClause | None = None
) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable, server_default=server_default)
