"""The transports there are, as tests know them.

What it is: the rows of `cometd_chat.transports.table`, by how a client has to read them.

Invariant: every row is in one of these, so that no battery that goes over all transports leaves a
new one out; and it fails there until it has a decoder.
"""

from __future__ import annotations

from cometd_chat.transports.table import TABLE

#: What is said goes up by them, too.
BOTH_WAYS = tuple(row.name for row in TABLE if row.upgrade or row.reads_early)

#: Their answer is complete; the next request gets what comes next.
POLLS = tuple(row.name for row in TABLE if row.one_shot)

NAMES = tuple(row.name for row in TABLE)

#: By GET, and they go on until somebody ends them.
STREAMS = tuple(name for name in NAMES if name not in {*POLLS, *BOTH_WAYS})
