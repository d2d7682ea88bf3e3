"""Bayeux over HTTP: long-polling, callback-polling, and the requests that open push connections.

What it is: from a request on ``/cometd`` to messages for the core, and from its replies to a
response.

What it may know: requests, the core. Not what a message means, nor who anybody is.

Invariant: each request is checked wholly before it is held; a request is answered once, and the
core hears of each whose peer has gone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import attrs
from twisted.internet.defer import Deferred, gatherResults

from cometd_chat.bayeux.exchange import Peer
from cometd_chat.bayeux.messages import Message, weight
from cometd_chat.bayeux.server import BayeuxServer
from cometd_chat.bayeux.stopping import END_EVERY
from cometd_chat.chat.limits import Limits
from cometd_chat.comet import CometContext, Reaper
from cometd_chat.errors import CrossSite, InvalidRequest, NotFound
from cometd_chat.gateways.bayeux_policy import ProvenBy
from cometd_chat.transports.framings import Jsonp
from cometd_chat.transports.held import HoldPolicy
from cometd_chat.transports.request import HoldableRequest, HttpRequest, remembered
from cometd_chat.transports.stats import TransportStats
from cometd_chat.transports.table import BAYEUX
from cometd_chat.transports.websocket import WebSocket, require_upgrade
from cometd_chat.web import parameters
from cometd_chat.web.auth import Auth, bearer, is_foreign
from cometd_chat.web.bayeux_event_source import EVENT_SOURCE, SESSION_UNKNOWN, EventSourcePush
from cometd_chat.web.bayeux_exchange import LONG_POLLING, HttpExchange
from cometd_chat.web.bayeux_forwarding import Forwarding
from cometd_chat.web.bayeux_payload import MESSAGE, HeaderFacts, header_facts, payload
from cometd_chat.web.bayeux_push import HeldPush, PushServer
from cometd_chat.web.bayeux_socket import SocketPush
from cometd_chat.web.bayeux_standing import StandingPolls
from cometd_chat.web.hosts import names_loopback
from cometd_chat.web.origins import Origins
from cometd_chat.web.parameters import refused
from cometd_chat.web.peers import Peers, is_forwarded

PATH = "/cometd"

#: Messages of so many bytes are not counted while they are handled or held, as most are not.
FEW = 512

CROSS_ORIGIN = "cross-origin-long-polling"
CALLBACK_POLLING = "callback-polling"
WEBSOCKET, EVENTSOURCE = "websocket", "eventsource"

BROWSER_COOKIE = b"BAYEUX_BROWSER"

#: The same from a socket, where there is none of that name: Faye handshakes by a POST while it asks
#: for its socket, and of two cookies with one name the later would take the other's place, whose
#: session is bound to that.
SOCKET_COOKIE = b"BAYEUX_SOCKET"

#: Where clients of Salesforce look for a server: its own version in the path.
_SALESFORCE = re.compile(rb"/cometd/\d{1,3}\.\d(/|$)")

_BROWSER = re.compile(rb"[A-Za-z0-9_-]{8,64}")


class Bayeux:
    """All requests on ``/cometd`` and below.

    :param hold_policy: how push connections are held, by any transport.
    :param context: where they are, which says after how long they expire.
    :param forwarding: to the nodes whose clients come here; None for a single process.
    """

    def __init__(
        self,
        server: BayeuxServer,
        auth: Auth,
        peers: Peers,
        origins: Origins,
        limits: Limits,
        stats: TransportStats,
        reaper: Reaper,
        hold_policy: HoldPolicy,
        context: CometContext,
        forwarding: Forwarding | None = None,
    ) -> None:
        self.server = server
        self._forwarding = forwarding
        self._push_server: PushServer = server if forwarding is None else forwarding
        self.limits = limits
        self.stats = stats
        self._auth = auth
        self._peers = peers
        self._origins = origins
        self._reaper = reaper
        self._hold_policies = {
            kind: attrs.evolve(hold_policy, transport=row.name) for kind, row in BAYEUX.items()
        }
        self._context = context
        self._push_connections: dict[HeldPush, str] = {}
        self.standing = StandingPolls(server, limits, stats.transport(BAYEUX[LONG_POLLING].name))

    def open(self, request: HttpRequest, path: str) -> bytes | None:
        """Answer a request, or hold it.

        :param path: below ``/cometd``; clients append what kind of message it is.
        :returns: the body of what is not held.
        """
        if request.method == b"OPTIONS":
            request.setResponseCode(204)
            request.setHeader("allow", "GET, POST, OPTIONS")
            return b""
        if request.method == b"POST":
            self._open_poll(request)
            return None
        is_socket = "websocket" in (request.getHeader("upgrade") or "").lower()
        if not is_socket and EVENT_SOURCE.content_type not in (request.getHeader("accept") or ""):
            return self._open_script(request)
        if self.server.stopping:
            _cut_off(request)
        elif is_socket:
            self._open_socket(request)
        else:
            return self._open_event_source(request, path.rpartition("/")[2])
        return None

    def stop(self) -> Deferred[None]:
        """Answer what is held, and close all push connections; see `BayeuxServer.stop`."""
        stopped = self.server.stop()
        self.server.slices.walk(self._end_pushes(list(self._push_connections)), every=END_EVERY)
        if self._forwarding is None:
            return stopped
        return gatherResults([stopped, self._forwarding.stop()]).addCallback(lambda _: None)

    def _end_pushes(self, pushes: Sequence[HeldPush]) -> Iterator[None]:
        """Close the push connections that are of no client of this server's, which closes those of
        its own when nothing more goes by them."""
        for push in pushes:
            if self.server.connects.client_of(push) is None:
                push.end()
            yield

    # -- requests with messages

    def _open_poll(self, request: HttpRequest) -> None:
        facts = remembered(request, HeaderFacts, lambda: header_facts(request))
        bodies, is_form = payload(request, facts)
        transport = CROSS_ORIGIN if is_form and facts.foreign else LONG_POLLING
        size = self._room_for(bodies)
        messages = self.server.decode(*bodies)
        peer = remembered(
            request,
            (Peer, transport),
            lambda: self._peer(request, transport, cookies=facts.cookies),
        )
        self._process(request, messages, peer, cookies=facts.cookies, size=size, bodies=bodies)

    def _open_script(self, request: HttpRequest) -> bytes | None:
        fields = parameters.query(request, strict=False)
        texts = fields.all(MESSAGE)
        if not texts:
            raise InvalidRequest(
                f"This is a Bayeux server: POST an array of messages to {PATH}, or GET with "
                "message= and jsonp=."
            )
        callback = fields.text("jsonp", "jsonpcallback")
        if Jsonp.CALLBACK.fullmatch(callback) is None:
            raise refused("jsonp", "the name of a function is needed, 64 characters at most")
        self._check_script(request)
        if request.method == b"HEAD":
            return b""
        # Any page can load a script, with its reader's cookies: they must not count here.
        peer = self._peer(request, CALLBACK_POLLING, cookies=False)
        size = self._room_for(texts)
        messages = self.server.decode(*texts)
        self._process(
            request, messages, peer, cookies=False, size=size, bodies=texts, callback=callback
        )
        return None

    def _check_script(self, request: HttpRequest) -> None:
        """Refuse a script that a page of another site loads.

        Over plain HTTP to another host than this machine browsers say nothing of the page, if that
        wants it so: then it counts as another site's. Elsewhere who says nothing is no browser.

        :raises CrossSite: it does, as far as its browser says.
        """
        page = urlsplit(request.getHeader("referer") or "")
        if f"{page.scheme}://{page.netloc}" in self._origins.allowed:
            return
        host = request.getHeader("host")
        says_where = page.netloc or request.getHeader("sec-fetch-site")
        may_hide = not (says_where or names_loopback(request) or self._peers.is_secure(request))
        if is_foreign(request) or may_hide or (page.netloc and page.netloc != host):
            raise CrossSite("Only pages of this server, and of --allow-origin, can do that.")

    def _room_for(self, bodies: Sequence[bytes | str]) -> int:
        """Bytes of some messages, as Python will hold them.

        :raises MemoryShort: there is no room for them.
        """
        if sum(map(len, bodies)) <= FEW:
            return 0
        size = sum(map(weight, bodies))
        self.stats.memory.require(size)
        return size

    def _process(
        self,
        request: HttpRequest,
        messages: list[Message],
        peer: Peer,
        *,
        cookies: bool,
        size: int,
        bodies: Sequence[bytes | str],
        callback: str | None = None,
    ) -> None:
        if self.server.stopping:
            exchange = HttpExchange(self, request, peer, callback, limited=False, size=0)
            self.server.part(messages, exchange)
            _cut_off(request)
            return
        channels = [message.get("channel") for message in messages]
        if "/meta/handshake" in channels:
            peer = self._offered(peer) if cookies else peer
            peer = attrs.evolve(peer, replays=_replays(request))
        if peer.offered_browser is not None:
            request.setHeader("set-cookie", self._browser_cookie(BROWSER_COOKIE, request, peer))
        limited = "/meta/connect" in channels
        node = None if self._forwarding is None else self._forwarding.node_of(messages)
        exchange = HttpExchange(self, request, peer, callback, limited, size, node)
        exchange.begin()
        if node is None:
            handling = self.server.process(messages, exchange)
        else:
            handling = node.process(bodies, exchange, counts=size > 0)
        if size:
            handling.addCallback(exchange.handled)

    # -- push connections

    def _open_socket(self, request: HttpRequest) -> None:
        require_upgrade(request)
        if not self._origins.includes(request):
            self._auth.check_origin(request)
        cookies = not is_foreign(request)
        peer = self._peer(request, WEBSOCKET, cookies=cookies)
        peer = attrs.evolve(peer, replays=_replays(request))
        if cookies:
            peer = self._offered(peer)
        self.limits.hold(peer.address)
        headers = b""
        if peer.offered_browser is not None:
            cookie = self._browser_cookie(SOCKET_COOKIE, request, peer)
            headers += b"Set-Cookie: %b\r\n" % cookie.encode()
        size = self.server.bounds.max_bytes
        socket = WebSocket.accept(request, headers=headers, max_message=size)
        push = SocketPush(
            self._push_server,
            request,
            self._hold_policies[WEBSOCKET],
            self._context,
            self._push_over,
            peer=peer,
            reaper=self._reaper,
            forwarding=self._forwarding,
        )
        self._push_connections[push] = peer.address
        push.begin()
        push.listen(socket)

    def _open_event_source(self, request: HttpRequest, client_id: str) -> bytes | None:
        foreign = is_foreign(request)
        if not self._origins.includes(request):
            self._auth.check_origin(request)
        if request.method == b"HEAD":
            return b""
        peer = self._peer(request, EVENTSOURCE, cookies=not foreign)
        last = parameters.last_event_id(request, parameters.query(request, strict=False)) or ""
        number = int(last) if last.isascii() and last.isdigit() and len(last) < 20 else None
        policy = self._hold_policies[EVENTSOURCE]
        push = EventSourcePush(
            self._push_server, request, policy, self._context, self._push_over, peer=peer
        )
        self.limits.hold(peer.address)
        self._push_connections[push] = peer.address
        request.setHeader("content-type", EVENT_SOURCE.content_type)
        request.setHeader("cache-control", "no-store, no-transform")
        request.setHeader("x-accel-buffering", "no")
        node = None if self._forwarding is None else self._forwarding.node_of_client(client_id)
        if node is not None:
            push.begin()
            node.open_stream(client_id, push, number)
            return None
        try:
            self.server.open_stream(client_id, peer, push, number)
        except NotFound:
            self._push_over(push)
            return SESSION_UNKNOWN
        push.begin()
        return None

    def _push_over(self, push: HeldPush) -> None:
        address = self._push_connections.pop(push, None)
        if address is not None:
            self.limits.let_go(address)

    # -- who

    def _peer(self, request: HttpRequest, transport: str, *, cookies: bool) -> Peer:
        """Who sent a request.

        :param cookies: whether its cookies count.
        """
        said = cookies and (request.getCookie(BROWSER_COOKIE) or request.getCookie(SOCKET_COOKIE))
        browser = _BROWSER.fullmatch(said or b"")
        by_cookie = cookies and self._auth.came_by_cookie(request)
        token = self._auth.request_token(request) if cookies else bearer(request)
        return Peer(
            transport=transport,
            browser=None if browser is None else browser[0].decode("ascii"),
            token=token or None,
            forwarded=is_forwarded(request),
            address=self._peers.address(request),
            context=ProvenBy(by_cookie),
        )

    def _offered(self, peer: Peer) -> Peer:
        """The same peer, with the cookie of a new browser if it has none."""
        if peer.browser is not None:
            return peer
        return attrs.evolve(peer, offered_browser=self.server.new_browser_id())

    def _browser_cookie(self, name: bytes, request: HttpRequest, peer: Peer) -> str:
        cookie = f"{name.decode()}={peer.offered_browser}; Path={PATH}; HttpOnly"
        if _may_be_browser(request):
            cookie += "; SameSite=Lax"
        return f"{cookie}; Secure" if self._peers.is_secure(request) else cookie


def _replays(request: HttpRequest) -> bool:
    """Whether who sent it is a client of Salesforce's, which replay though not all of them say so
    before they have something to go on from."""
    return _SALESFORCE.match(request.path) is not None


def _may_be_browser(request: HttpRequest) -> bool:
    """Whether a browser may have sent a request: then its cookie says which sites it goes to.

    Programs have one site, and the cookie library of Faye's Ruby client refuses an attribute that
    it does not know (which RFC 6265, section 5.2, says to ignore). Every browser calls itself
    Mozilla, says its page's origin with a POST and with a WebSocket, or what it fetches for; a page
    can't leave all of that out.
    """
    says = any(request.getHeader(each) for each in ("origin", "sec-fetch-site", "sec-fetch-mode"))
    return says or (request.getHeader("user-agent") or "").startswith("Mozilla/")


class _Forgotten:
    """Whoever is cut off, and nothing follows from it; see `PeerListener`."""

    def lost(self) -> None:
        """It went as it was to go."""


def _cut_off(request: HoldableRequest) -> None:
    """Close a connection without an answer, while the daemon stops: every client tries again then.

    Told to shake hands, a CometD page of another site gives up when that finds nobody, and
    aiocometd takes an interval's milliseconds for seconds; Faye takes any JSON for a message.
    """
    request.hold(_Forgotten())
    request.cut()
