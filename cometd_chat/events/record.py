"""What is kept: a draft before it is in the log, a record once it is.

What it is: two values. `EventLog` makes the second of the first.

What it may know: nothing.

Invariant: a record never changes.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Draft:
    """Something that is to be said.

    :param context: the path it is said to, such as ``/chat/lobby``.
    :param type: the kind of event, such as ``message``.
    :param sender: permanent id of the session that says it; never a name.
    :param author: the name under which it is said.
    :param text: what is said.
    :param client_id: the sender's own key for it; with it an append can be repeated for ever.
    """

    context: str
    type: str
    sender: str
    author: str
    text: str
    client_id: str | None = None


@attrs.frozen
class Record:
    """Something that was said: a draft with its place in the log.

    :param id: position in the one log.
    :param epoch: the start of the log in which it was written, see `EventLog.cursor`.
    :param at: milliseconds since 1970-01-01T00:00Z, for show; order is by id alone.
    :param repeated: only on the result of an append: it had been appended before.
    """

    id: int
    epoch: str
    context: str
    type: str
    sender: str
    author: str
    text: str
    client_id: str | None
    at: int
    repeated: bool = False
