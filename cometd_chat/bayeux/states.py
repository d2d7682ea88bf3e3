"""The states of the protocol's two machines, as tables.

What it is: what can become of one /meta/connect, and by which way a client's messages reach it.

What it may know: nothing. Not clients, not exchanges: who sees something happen says so.

Invariant: nothing happens in a state for which the table has no row: that is a fault of ours.

Theory of operation
===================

**A connect** is admitted when its request comes. Once the rest of the request is handled it is
answered at once, or held until there is something to say, its time is over, or another takes its
place. What goes with an answer stays in the queue until it is known what became of the reply: by
the client's next connect, by its connection, or by the end of the client. A client that polls sends
the same again and again, but for its id: then it is the same connect that comes again, see
`standing.py`.

::

        +<------------repeat----------------+
        |                                   |
    ADMITTED --hold--> HELD --answer--> ANSWERED --settle--> DONE
        |                |                  |
        +---answer-------|----------------->+
        +---dismiss------+------------------------------->  DONE
        +---lose---------+------lose-------+------------->  LOST

**A client** is reached in one of two ways: its messages go with the replies to its connects, or
they are pushed on a connection of their own (a WebSocket, an EventSource) as soon as they are
there. Two things have to come together for the second, in either order: that connection is open,
and the client's last connect came by it or named it. Faye opens an EventSource and polls on until
it has heard that it is open: so a push connection may stand by. An EventSource breaks and opens
again by itself: so one may be awaited.

::

                      opened
        POLLED  ------------------>  STANDBY
          |  ^  <------------------   |  ^
    named |  | polled  closed   named |  | polled
          v  |        opened          v  |
        AWAITED ------------------>  PUSHED
                <------------------
                      closed
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class _Fast(Enum):
    """Told apart by identity, as members are: hashing their names would be most of a look-up."""

    __hash__ = object.__hash__


class ConnectState(_Fast):
    """How far a connect has come."""

    #: Its request is being handled.
    ADMITTED = "admitted"
    #: It waits for something to say.
    HELD = "held"
    #: Its reply has gone out, and what went with it may not have arrived.
    ANSWERED = "answered"
    #: Nothing follows from it any more.
    DONE = "done"
    #: Its peer was gone before it was known to have the reply.
    LOST = "lost"


class ConnectEvent(_Fast):
    """What can happen to a connect."""

    #: There is nothing to say yet.
    HOLD = "hold"
    #: It is replied to, with what waits for its client.
    ANSWER = "answer"
    #: It is replied to, and nothing follows: another took its place, or its client has ended.
    DISMISS = "dismiss"
    #: What became of its reply is known, or matters no more.
    SETTLE = "settle"
    #: It has come again: its client has the last reply.
    REPEAT = "repeat"
    #: Its peer is gone.
    LOSE = "lose"


class PathState(_Fast):
    """How messages get to a client."""

    #: With the replies to its connects.
    POLLED = "polled"
    #: The same; a push connection is open, which its connects do not speak of yet.
    STANDBY = "standby"
    #: By a push connection that is not open yet, or has broken.
    AWAITED = "awaited"
    #: By its push connection.
    PUSHED = "pushed"


class PathEvent(_Fast):
    """What can happen to a client's way."""

    #: A push connection is open for it.
    OPENED = "opened"
    #: Its push connection is gone.
    CLOSED = "closed"
    #: A connect came by a push connection, or named one.
    NAMED = "named"
    #: A connect came that did neither.
    POLLED = "polled"


_C, _CE = ConnectState, ConnectEvent
_P, _PE = PathState, PathEvent

CONNECT: Mapping[tuple[ConnectState, ConnectEvent], ConnectState] = {
    (_C.ADMITTED, _CE.HOLD): _C.HELD,
    (_C.ADMITTED, _CE.ANSWER): _C.ANSWERED,
    (_C.ADMITTED, _CE.DISMISS): _C.DONE,
    (_C.ADMITTED, _CE.LOSE): _C.LOST,
    (_C.HELD, _CE.ANSWER): _C.ANSWERED,
    (_C.HELD, _CE.DISMISS): _C.DONE,
    (_C.HELD, _CE.SETTLE): _C.DONE,
    (_C.HELD, _CE.LOSE): _C.LOST,
    (_C.ANSWERED, _CE.SETTLE): _C.DONE,
    (_C.ANSWERED, _CE.REPEAT): _C.ADMITTED,
    (_C.ANSWERED, _CE.LOSE): _C.LOST,
    # A write that failed, or whose failure is heard of twice.
    (_C.DONE, _CE.LOSE): _C.LOST,
    (_C.LOST, _CE.LOSE): _C.LOST,
}

PATH: Mapping[tuple[PathState, PathEvent], PathState] = {
    (_P.POLLED, _PE.OPENED): _P.STANDBY,
    (_P.POLLED, _PE.NAMED): _P.AWAITED,
    (_P.POLLED, _PE.POLLED): _P.POLLED,
    (_P.STANDBY, _PE.CLOSED): _P.POLLED,
    (_P.STANDBY, _PE.NAMED): _P.PUSHED,
    (_P.STANDBY, _PE.POLLED): _P.STANDBY,
    (_P.AWAITED, _PE.OPENED): _P.PUSHED,
    (_P.AWAITED, _PE.NAMED): _P.AWAITED,
    (_P.AWAITED, _PE.POLLED): _P.POLLED,
    (_P.PUSHED, _PE.CLOSED): _P.AWAITED,
    (_P.PUSHED, _PE.NAMED): _P.PUSHED,
    (_P.PUSHED, _PE.POLLED): _P.STANDBY,
}


class ImpossibleTransition(Exception):
    """Something happened that can't happen in a state: the fault is ours."""

    def __init__(self, state: Enum, event: Enum) -> None:
        super().__init__(f"{event.value} while {state.value}")
