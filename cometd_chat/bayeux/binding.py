"""Whose client it is: what a peer has to show to go on with one.

What it is: what was shown at a client's handshake, and whether somebody else's request may use
the client's id.

What it may know: peers. Not where cookies come from.

Invariant: once a client has returned its cookie or token, only requests that show it are the
client's, and push connections that may have been asked for before it had it. Until then the id is
enough, for it can't be guessed, and some clients keep no cookies.
"""

from __future__ import annotations

from hmac import compare_digest
from math import inf

import attrs

from cometd_chat.bayeux.exchange import Peer

#: For so many seconds after a handshake push connections may still come that were asked for before
#: the client had its reply, and the cookie with it.
UNDER_WAY = 10.0


@attrs.define
class _BindingToken:
    """One thing to show.

    :param expected: None when nothing was shown or offered at the handshake.
    :param returned: whether the client is known to keep it: then who does not show it is refused.
    """

    expected: str | None
    returned: bool

    def admits(self, shown: str | None, *, may_lack: bool) -> bool:
        if self.expected is None or (shown is None and (may_lack or not self.returned)):
            return True
        if shown is None:
            return False
        if compare_digest(_bytes(shown), _bytes(self.expected)):
            self.returned = True
            return True
        # An offered cookie may have lost against that of another window which came first.
        return not self.returned


class Binding:
    """What is known of a client's peer.

    :param peer: of the handshake.
    :param made_at: when that was, in the reaper's seconds.
    """

    def __init__(self, peer: Peer, made_at: float) -> None:
        self.browser = peer.browser or peer.offered_browser
        self._made_at = made_at
        # Who showed a cookie has one to show; to others it goes with the reply.
        self._offered_at = made_at if peer.browser is not None else made_at + UNDER_WAY
        self._cookie = _BindingToken(self.browser, peer.browser is not None)
        self._token = _BindingToken(peer.token, peer.token is not None)
        #: Grows when a request that was admitted may no longer be.
        self.changes = 0

    def admits(self, peer: Peer, push_opened_at: float | None) -> bool:
        """Whether a request may use the client.

        :param push_opened_at: for a push connection, when it was opened, in the reaper's seconds.
            One that was asked for before the client was made shows only what there was then: Faye
            asks for its WebSocket before it handshakes by a POST, and is then without the cookie
            that the POST sets; of the two requests the POST may well be here first.
        """
        opened_at = inf if push_opened_at is None else push_opened_at
        admitted = self._cookie.admits(
            peer.browser, may_lack=opened_at <= self._offered_at
        ) and self._token.admits(peer.token, may_lack=opened_at <= self._made_at)
        self.changes = self._cookie.returned + self._token.returned
        return admitted


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
