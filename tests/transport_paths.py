"""The transports there are, as tests know them.

Invariant: `tests.test_tables` compares the names with those that the daemon gives, so that no
battery that goes over all transports leaves a new one out.
"""

from __future__ import annotations

#: By GET, and they go on until somebody ends them.
STREAMS = ("frame", "stream", "sse", "multipart", "text")

#: Their answer is complete; the next request gets what comes next.
POLLS = ("poll", "jsonp")

#: What is said goes up by them, too.
BOTH_WAYS = ("ws", "duplex")

NAMES = (*STREAMS, *POLLS, *BOTH_WAYS)
