"""What became of the answers to a client's connects, as far as the next one tells.

What it is: whether the last reply has arrived, and what may go with one that is sent again.

What it may know: connects, what is known of their replies, the habits of clients.

Invariant: what may not have arrived is not taken for arrived because of a connect that may have
been sent before.
"""

from __future__ import annotations

from cometd_chat.bayeux.exchange import Arrival
from cometd_chat.bayeux.paths import MetaConnect
from cometd_chat.bayeux.states import ConnectState

#: What tells that a reply has not arrived, whatever the client does next.
_NOT_ARRIVED = (Arrival.WAITING, Arrival.UNDER_WAY, Arrival.LOST)


def has_arrived(last: MetaConnect, connect: MetaConnect) -> bool:
    """Whether a client has the reply to its last connect, now that it sends the next one.

    It sends that when it has the reply, or has given it up. What becomes of a connection tells
    mostly which; where a proxy has taken the reply, or a browser goes on by another connection, the
    client may tell: Faye sends the same connect again, CometD asks for an answer at once. An id
    that is the same for all connects tells nothing.
    """
    arrival = last.exchange.delivery.arrival()
    if arrival is not Arrival.UNKNOWN:
        return arrival not in _NOT_ARRIVED
    return not is_again(last, connect) and not connect.path.client.habits.failed


def is_again(earlier: MetaConnect, connect: MetaConnect) -> bool:
    """Whether a connect is an earlier one, sent again. Behind a proxy it is until its client has
    shown that all its connects have one id: what comes twice can be told by its id, and what is
    lost can't be had again. Where none stands between, connections tell, and it is not until the
    client has shown that each has an id of its own."""
    habits = connect.path.client.habits
    return habits.again and (habits.counts or earlier.exchange.peer.forwarded)


def most_again(earlier: MetaConnect) -> int | None:
    """Up to which number a connect may bring messages that is sent again, since an earlier one was
    answered and the client may have that answer. The two may have come in another order than they
    were sent in: where a node stood still, the client has given one up that comes after the one it
    waits for.

    :returns: None when it may bring all.
    """
    if earlier.path.client.acknowledged or earlier.state is ConnectState.LOST:
        return earlier.most
    arrival = earlier.exchange.delivery.arrival()
    if arrival in (Arrival.LOST, Arrival.READ, Arrival.CLOSED):
        return earlier.most if arrival is Arrival.LOST else None
    return earlier.sent
