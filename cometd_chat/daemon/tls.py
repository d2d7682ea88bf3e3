"""How TLS is spoken on our own ports: as Mozilla recommends it for "intermediate" compatibility.

What it is: what an endpoint's description doesn't say. (https://wiki.mozilla.org/Security/Server_Side_TLS)

What it may know: Twisted's endpoints and their options of TLS.

Invariant: nothing is spoken that has no forward secrecy or no authenticated encryption, and who was
here a moment ago need not shake hands from the beginning.
"""

from __future__ import annotations

from functools import cache

from OpenSSL import SSL

from cometd_chat.transports import twisted_internals

#: Of TLS 1.2; the client chooses, for it knows whether it has AES in hardware. Those of TLS 1.3 are
#: all good and stand in no list. DHE is spoken where the description has `dhParameters`.
CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "DHE-RSA-AES128-GCM-SHA256",
    "DHE-RSA-AES256-GCM-SHA384",
    "DHE-RSA-CHACHA20-POLY1305",
)

#: A connection that is closed without TLS's own goodbye, as most are, would take its session along.
#: What is cut short is found by HTTP, which says how long everything is.
_IGNORE_EOF: int = getattr(SSL, "OP_IGNORE_UNEXPECTED_EOF", 0)


def as_intermediate(endpoint: object) -> None:
    """Let an endpoint speak TLS so; nothing happens to one that speaks none.

    Sessions are kept by the daemon (OpenSSL's own cache, 20,480 at most, five minutes each) and not
    by clients: the key of tickets would be one for as long as the daemon runs.
    """
    options = twisted_internals.tls_options(endpoint)
    if options is None:
        return
    options.enableSessions = True
    twisted_internals.set_tls(
        options,
        CIPHERS,
        add=_IGNORE_EOF,
        remove=SSL.OP_CIPHER_SERVER_PREFERENCE,
        context=None if openssl_calls_back() else _AgreesOnNothing,
    )


@cache
def openssl_calls_back() -> bool:
    """Whether OpenSSL can ask Python what to agree upon. That takes memory that is both written and
    executed, which systemd's MemoryDenyWriteExecute refuses."""
    try:
        SSL.Context(SSL.TLS_METHOD).set_alpn_select_callback(lambda connection, offered: offered[0])
    except MemoryError:
        return False
    return True


class _AgreesOnNothing(SSL.Context):
    """Without ALPN clients speak HTTP/1.1, as they do with it: it is all that we offer."""

    def set_alpn_select_callback(self, callback: object) -> None:
        """Not asked."""
