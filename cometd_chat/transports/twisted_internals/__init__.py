"""All that reaches below Twisted's public interface.

What it is: a face for its modules: `names` is the table of what is relied on, `slotted` makes
connections small, `accepting` begins with them, `reading` takes what comes to them past the
reactor's log, `sending` writes past buffers, `looking` asks how a connection is, `channel` opens
Twisted's HTTP, `starting` is for ports, TLS and the log.

What it may know: private names of Twisted's, each of them in the table.

Invariant: a name that is missing is known at the start, and what needs it is switched off, or the
start refused. Where a thing can't be known the answer is the harmless one, never an exception.
"""

from __future__ import annotations

from cometd_chat.transports.twisted_internals.accepting import accept_directly
from cometd_chat.transports.twisted_internals.channel import (
    OpenChannel,
    OpenRequest,
    install,
    is_at_rest,
    is_of,
)
from cometd_chat.transports.twisted_internals.connection import PeerConnection
from cometd_chat.transports.twisted_internals.looking import (
    acknowledged_ago,
    behind,
    is_broken,
    notice_end,
    unacknowledged,
    unsent,
)
from cometd_chat.transports.twisted_internals.names import Feature, Name, missing, needed_by
from cometd_chat.transports.twisted_internals.reading import read_directly
from cometd_chat.transports.twisted_internals.sending import (
    close_after_peer,
    forget_unsent,
    is_sending,
    pause_until_sent,
    send,
    send_to_all,
    takes_bytes,
)
from cometd_chat.transports.twisted_internals.slotted import (
    SlottedServer,
    SlottedUnixServer,
    use_slotted_transports,
)
from cometd_chat.transports.twisted_internals.starting import (
    ACCEPTS,
    accept_few,
    adopt_unix,
    leave_open,
    observers,
    set_tls,
    socket_path,
    tls_options,
    writes_to,
)

__all__ = [
    "ACCEPTS",
    "Feature",
    "Name",
    "OpenChannel",
    "OpenRequest",
    "PeerConnection",
    "SlottedServer",
    "SlottedUnixServer",
    "accept_directly",
    "accept_few",
    "acknowledged_ago",
    "adopt_unix",
    "behind",
    "close_after_peer",
    "forget_unsent",
    "install",
    "is_at_rest",
    "is_broken",
    "is_of",
    "is_sending",
    "leave_open",
    "missing",
    "needed_by",
    "notice_end",
    "observers",
    "pause_until_sent",
    "read_directly",
    "send",
    "send_to_all",
    "set_tls",
    "socket_path",
    "takes_bytes",
    "tls_options",
    "unacknowledged",
    "unsent",
    "use_slotted_transports",
    "writes_to",
]
