"""A record is data: what was said in one JSON object, whatever kind of event it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_records = sa.table("records", sa.column("data", sa.Text))


def upgrade() -> None:
    # In its place: the rows keep their order and their pages, and nothing is written twice.
    op.alter_column("records", "text", new_column_name="data")
    op.add_column("records", sa.Column("refers", sa.BigInteger))
    if op.get_bind().dialect.name == "sqlite":
        # Any other database begins with this revision: nothing is in it.
        op.execute(sa.update(_records).values(data=sa.func.json_object("text", _records.c.data)))
    op.drop_index("records_by_context", "records")
    op.create_index("records_by_context", "records", ["context", "id", "type"])
