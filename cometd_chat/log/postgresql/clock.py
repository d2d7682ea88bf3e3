"""The clock of the database that nodes share, in its SQL."""

from __future__ import annotations

from sqlalchemy import BigInteger, ColumnElement, cast, extract, func

#: Milliseconds since 1970-01-01T00:00Z by the clock of the database: the one that all nodes have.
NOW: ColumnElement[int] = cast(extract("epoch", func.clock_timestamp()) * 1000, BigInteger)
