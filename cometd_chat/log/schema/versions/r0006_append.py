"""Many daemons append to one log: what keeps its order is in the database."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

#: What is in these files is never changed: daemons of the release before run on it, too.
FUNCTIONS = ("comet_append_1", "comet_append_known_1")


def upgrade() -> None:
    # In SQLite there is one process, and one thread in it that writes.
    if op.get_bind().dialect.name != "postgresql":
        return
    folder = Path(__file__).parent.parent / "functions"
    for name in FUNCTIONS:
        # Not op.execute: a colon in the text is no parameter.
        op.get_bind().exec_driver_sql((folder / f"{name}.sql").read_text(encoding="utf-8"))
