"""The tables of the database, in one place.

What it is: SQLAlchemy's description of what the newest migration in ``schema/`` leaves behind; a
test compares the two.

What it may know: columns and indexes; nobody's rules.

Invariant: what must be unique for ever is unique here, in the database, and not in code alone.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData()

#: In SQLite only a column of the very type INTEGER is the key of the table itself.
_Id = BigInteger().with_variant(Integer, "sqlite")

#: What is kept. A row is never deleted: its id would be given out again. `data` is a JSON object,
#: and `refers` the id of another row. The author is a column, since each row has one, and `data` is
#: then what was said and nothing else: that is what sizes count, and an author's name can be taken
#: out of what they said without a look into it.
records = Table(
    "records",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=False),
    Column("context", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("refers", BigInteger),
    Column("client_id", Text),
    Column("at", BigInteger, nullable=False),
)
# The type is in it, so that those of some types are counted and passed over without their rows.
Index("records_by_context", records.c.context, records.c.id, records.c.type)
Index(
    "records_by_client_id",
    records.c.sender,
    records.c.client_id,
    unique=True,
    sqlite_where=records.c.client_id.is_not(None),
    postgresql_where=records.c.client_id.is_not(None),
)

#: The epochs of the log, in their order: two of them can have the same first id. `cluster` is which
#: database it was that began it, where there can be several; see `cometd_chat.log.postgresql`.
epochs = Table(
    "epochs",
    metadata,
    Column("number", _Id, primary_key=True),
    Column("epoch", Text, nullable=False),
    Column("first_id", BigInteger, nullable=False),
    Column("cluster", Text, nullable=False, server_default=""),
    UniqueConstraint("epoch", name="epochs_by_name"),
)

#: Devices of who may speak. `name_key` and `name_looks` are what the name is compared by, or null
#: while the name is free, and for members, whose row has them. `seen_at` is when a node saw the
#: session last, where there are several. `identity` is whose it is; nothing for a guest, who is the
#: session itself. `agent` is what the device calls itself.
sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("token_hash", LargeBinary, nullable=False),
    Column("name", Text, nullable=False),
    Column("name_key", Text),
    Column("role", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("name_looks", Text),
    Column("seen_at", BigInteger, nullable=False, server_default=text("0")),
    Column("identity", Text, nullable=False, server_default=""),
    Column("agent", Text, nullable=False, server_default=""),
    UniqueConstraint("token_hash", name="sessions_by_token"),
)
Index(
    "sessions_by_name",
    sessions.c.name_key,
    unique=True,
    sqlite_where=sessions.c.name_key.is_not(None),
    postgresql_where=sessions.c.name_key.is_not(None),
)
Index(
    "sessions_by_looks",
    sessions.c.name_looks,
    unique=True,
    sqlite_where=sessions.c.name_looks.is_not(None),
    postgresql_where=sessions.c.name_looks.is_not(None),
)
Index("sessions_by_expiry", sessions.c.expires_at)
Index(
    "sessions_by_identity",
    sessions.c.identity,
    sqlite_where=sessions.c.identity != "",
    postgresql_where=sessions.c.identity != "",
)

#: `slow` is how many seconds somebody waits between two messages.
rooms = Table(
    "rooms",
    metadata,
    Column("name", Text, primary_key=True),
    Column("topic", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("kind", Text, nullable=False, server_default="public"),
    Column("slow", BigInteger, nullable=False, server_default=text("0")),
    Column("locked", Boolean, nullable=False, server_default=false()),
    Column("archived", Boolean, nullable=False, server_default=false()),
)

#: How far a session has come in a room, by what a node knows of its readers there; 0 is the node of
#: a process that is alone. It goes with the session, and stays when the node goes.
positions = Table(
    "positions",
    metadata,
    Column(
        "session",
        Text,
        ForeignKey("sessions.id", name="positions_of_session", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("room", Text, nullable=False),
    Column("node", BigInteger, nullable=False, server_default=text("0")),
    Column("position", BigInteger, nullable=False),
    PrimaryKeyConstraint("session", "room", "node", name="positions_key"),
)

#: The daemons that have this database, until `lease_until`, in milliseconds since
#: 1970-01-01T00:00Z by the database's clock. A number is never given out again.
nodes = Table(
    "nodes",
    metadata,
    Column("number", _Id, primary_key=True),
    Column("name", Text, nullable=False),
    Column("peer", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

#: The keys of names that no row of a session has: of who lives as long as one request, or holds
#: nothing but a connection. They go with the node. `browser` is what the browser hashes to whose
#: guest it is: by it, a page that is loaded again at another node is the same guest.
claims = Table(
    "claims",
    metadata,
    Column("key", Text, primary_key=True),
    Column("session", Text, nullable=False),
    Column(
        "node",
        BigInteger,
        ForeignKey("nodes.number", name="claims_of_node", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("browser", LargeBinary),
)
Index("claims_by_node", claims.c.node)

#: What all daemons that have this database must know, and nobody else.
secrets = Table(
    "secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

#: Who has an account. Their name's keys are here and in no session's row, and stay for a while when
#: the account was deleted: then there is no name and no password any more. `name` is what is shown.
members = Table(
    "members",
    metadata,
    Column("identity", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("name_key", Text),
    Column("name_looks", Text),
    Column("role", Text, nullable=False),
    Column("password", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Column("leaving", Text),
    UniqueConstraint("name_key", name="members_by_name"),
    UniqueConstraint("name_looks", name="members_by_looks"),
)

#: Links that lead in. `uses` and `left` are how many they are good for, or null for any number.
invites = Table(
    "invites",
    metadata,
    Column("code", Text, primary_key=True),
    Column("room", Text),
    Column("role", Text, nullable=False),
    Column("uses", BigInteger),
    Column("left", BigInteger),
    Column("until", BigInteger),
    Column("by", Text, nullable=False),
    Column("by_name", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
)

#: Codes that are good once, by their hash: `kind` is ``claim``, for who owns this, or ``link``, for
#: another device of `identity`.
codes = Table(
    "codes",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("identity", Text),
    Column("until", BigInteger, nullable=False),
    Column("used_at", BigInteger),
)

#: What was decided while it runs, as JSON; what has no row is as from the beginning.
policies = Table(
    "policies",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

#: Who belongs to a room, and as what.
room_members = Table(
    "room_members",
    metadata,
    Column("room", Text, nullable=False),
    Column("identity", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("room", "identity", name="room_members_key"),
)
Index("room_members_by_identity", room_members.c.identity)

#: What somebody may not do, everywhere or in a room, until then or until it is lifted. `network` is
#: a keyed hash; `who` is what is shown.
sanctions = Table(
    "sanctions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("identity", Text),
    Column("network", LargeBinary),
    Column("who", Text, nullable=False),
    Column("room", Text),
    Column("until", BigInteger),
    Column("by", Text, nullable=False),
    Column("by_name", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("lifted_at", BigInteger),
    Column("lifted_by", Text),
)
Index("sanctions_by_identity", sanctions.c.identity)

#: Whom somebody wants neither to hear nor to see, and what they were called then.
ignored = Table(
    "ignored",
    metadata,
    Column("identity", Text, nullable=False),
    Column("whom", Text, nullable=False),
    Column("name", Text, nullable=False, server_default=""),
    PrimaryKeyConstraint("identity", "whom", name="ignored_key"),
)

#: What waits for a moderator, for there is a word in it that is on a list.
screened = Table(
    "screened",
    metadata,
    Column("id", Text, primary_key=True),
    Column("room", Text, nullable=False),
    Column("identity", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("let_by", Text),
)
Index("screened_by_identity", screened.c.identity)

#: Who did what to whom; `about` is the id of what was made by it, such as a sanction.
audit = Table(
    "audit",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("who_name", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("whom", Text, nullable=False),
    Column("room", Text),
    Column("reason", Text, nullable=False),
    Column("undone_at", BigInteger),
    Column("about", Text, nullable=False, server_default=""),
)
Index("audit_by_time", audit.c.at)

#: Messages that somebody wants looked at.
reports = Table(
    "reports",
    metadata,
    Column("id", Text, primary_key=True),
    Column("room", Text, nullable=False),
    Column("message", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("by_name", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("settled_at", BigInteger),
)

#: What is hidden of some people in a room: `identity` is whose, of several with spaces in between,
#: or `guests` for all of those; what was said from `since` on, up to the id `last`;
#: and until when it can be brought back. `state` is what has become of it, and `touched_at` when
#: somebody worked at that.
purges = Table(
    "purges",
    metadata,
    Column("id", Text, primary_key=True),
    Column("room", Text, nullable=False),
    Column("identity", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("by_name", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("touched_at", BigInteger, nullable=False),
    Column("node", BigInteger, nullable=False, server_default="0"),
)

#: The `data` that a record had before it was hidden, until it is erased.
hidden = Table(
    "hidden",
    metadata,
    Column("record", _Id, primary_key=True, autoincrement=False),
    Column("data", Text, nullable=False),
    Column("purge", Text),
)
Index("hidden_by_purge", hidden.c.purge)

#: The revision of the oldest release that runs on these tables; see `cometd_chat.log.migrations`.
compatibility = Table("compatibility", metadata, Column("oldest", Text, primary_key=True))
