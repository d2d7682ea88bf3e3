"""Who sends a request, and whether it was meant.

What it is: from cookie, bearer token or query to a session; and the checks against requests that
another site makes in a visitor's name.

What it may know: requests, sessions. Not what is asked for.

Invariant: a request that changes anything comes from our own pages or carries a token that no other
site has (interface, section 2).
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from typing import Protocol
from urllib.parse import urlsplit

from cometd_chat.chat.moderation import Moderation
from cometd_chat.chat.names import are_one
from cometd_chat.chat.refusals import HOW_TO_LOG_IN
from cometd_chat.chat.rights import Act, AnyRoom, Rights
from cometd_chat.chat.sessions import TOKEN_LIFETIME, Session, Sessions, require_active
from cometd_chat.errors import CrossSite, InvalidToken, NoSession
from cometd_chat.transports.request import HttpRequest, remembered
from cometd_chat.web import parameters
from cometd_chat.web.agents import agent_of
from cometd_chat.web.origins import Origins
from cometd_chat.web.peers import Peers

#: What the cookie's name begins with; an id of the installation follows, for cookies know no ports
#: (RFC 6265, section 8.5): two daemons on one host would log each other's people out.
COOKIE = "comet_session_"

#: Before that over TLS: no plain page, and none of another host name, can set such a cookie
#: (RFC 6265bis, section 4.1.3.2).
SECURE_PREFIX = "__Host-"

#: Of so many whom a proxy names, and who keep no cookie, the sessions are remembered.
MOST_PROXIED = 1000

#: Of a form's token, bytes.
_TOKEN_SIZE = 16

_DEFAULT_PORTS = {"http": 80, "https": 443}


class LogInByProxy(Protocol):
    """Begins a session of the member of a name; see `Accounts.by_proxy`."""

    def __call__(self, name: str, *, address: str, agent: str) -> Awaitable[tuple[Session, str]]:
        """The session, and its token."""


class Auth:
    """Who sends a request.

    :param secret: gives the key of the forms' hidden tokens, 32 bytes.
    :param installation: gives an id of this installation, letters and digits.
    :param origins: foreign pages that may use the transports with a token.
    :param peers: whether a request came over TLS.
    :param random_bytes: so many, which nobody can foresee.
    :param by_proxy: begins a session of whoever a trusted proxy names, see `Peers.user`.
    """

    def __init__(
        self,
        sessions: Sessions,
        rights: Rights,
        moderation: Moderation,
        *,
        secret: Callable[[], bytes],
        installation: Callable[[], str],
        origins: Origins,
        peers: Peers,
        random_bytes: Callable[[int], bytes],
        by_proxy: LogInByProxy,
    ) -> None:
        self._random_bytes = random_bytes
        self._origins = origins
        self._peers = peers
        self._sessions = sessions
        self._rights = rights
        self._moderation = moderation
        self._secret = secret
        self._installation = installation
        self._by_proxy = by_proxy
        #: Tokens of the sessions of those whom a proxy names, and who keep no cookie; who came last
        #: stands last.
        self._proxied: OrderedDict[str, str] = OrderedDict()

    # -- who

    async def session(
        self, request: HttpRequest, *, query_token: str | None = None, cookie: bool = True
    ) -> Session | None:
        """The session of a request, None when it names none.

        :param query_token: the ``token=`` of a held request.
        :param cookie: whether a cookie counts.
        :raises InvalidToken: it names one that isn't there.
        """
        token = bearer(request)
        if token is None:
            token = query_token
        by_cookie = token is None and cookie
        if by_cookie:
            user = self._peers.user(request)
            if user is not None:
                session = await self._session_of(request, user)
                self._admit(session, request)
                return session
            token = self._cookie(request)
        if token is None:
            self._admit(None, request)
            return None
        session = await self._sessions.by_token(token)
        self._admit(session, request)
        if self._sessions.extend(session) and by_cookie:
            # The browser has to keep it for as long as it is good.
            self.set_cookie(request, token)
        return session

    def _admit(self, session: Session | None, request: HttpRequest) -> None:
        """Refuse whoever comes from where nobody is let in."""
        # On the hot path: mostly none is.
        if self._moderation.index.networks:
            self._moderation.require_admitted(session, self._peers.address(request))

    async def _session_of(self, request: HttpRequest, user: str) -> Session:
        """The session of somebody whom a trusted proxy names: that of the cookie, if it is theirs.

        Who has none, as a program, has one session for all that it asks; a browser is given one of
        its own with the first page (`visitor`).
        """
        session = await self._session_by_cookie(request)
        if session is not None and self._is_of(session, user):
            return session
        known = self._proxied.get(user)
        if known is not None:
            with suppress(InvalidToken):
                session = await self._sessions.by_token(known)
                if self._is_of(session, user):
                    return session
        session, self._proxied[user] = await self._begin_by_proxy(request, user)
        self._proxied.move_to_end(user)
        if len(self._proxied) > MOST_PROXIED:
            self._proxied.popitem(last=False)
        return session

    async def _session_by_cookie(self, request: HttpRequest) -> Session | None:
        token = self._cookie(request)
        if token is None:
            return None
        try:
            session = await self._sessions.by_token(token)
        except InvalidToken:
            return None
        if self._sessions.extend(session):
            self.set_cookie(request, token)
        return session

    def _begin_by_proxy(self, request: HttpRequest, user: str) -> Awaitable[tuple[Session, str]]:
        address = self._peers.address(request)
        return self._by_proxy(user, address=address, agent=agent_of(request))

    def _is_of(self, session: Session, user: str) -> bool:
        """Whether a session is of the member whom a proxy names."""
        return session.member is not None and are_one(session.name, user)

    async def speaker(self, request: HttpRequest, *, query_token: str | None = None) -> Session:
        """The session of a request that does something under a name.

        :raises NoSession: it has none.
        :raises NameTaken: somebody else has its name by now.
        """
        session = await self.required(request, query_token=query_token)
        require_active(session)
        return session

    async def required(self, request: HttpRequest, *, query_token: str | None = None) -> Session:
        """The session of a request that needs one, whether it has its name or not.

        :raises NoSession: it has none.
        """
        session = await self.session(request, query_token=query_token)
        if session is None:
            raise NoSession("Log in first.", hint=HOW_TO_LOG_IN)
        return session

    async def reader(
        self, request: HttpRequest, *, query_token: str | None = None, cookie: bool = True
    ) -> Session | None:
        """The session of a request that only reads; None where reading is public.

        :raises NoSession: it has none, and reading is not public.
        :raises NameTaken: somebody else has its name by now.
        :raises Banned, Kicked: they may read nothing, whichever room it is.
        """
        session = await self.session(request, query_token=query_token, cookie=cookie)
        if session is not None:
            require_active(session)
        self._rights.require(session, Act.SEE, address=self._peers.address(request))
        return session

    async def allowed(
        self,
        request: HttpRequest,
        act: Act,
        *rooms: AnyRoom,
        changes: bool = False,
    ) -> Session:
        """The session of a request for what takes a right.

        :param rooms: where; nowhere for what is in no room.
        :param changes: whether it changes anything, so that it has to have been meant.
        :raises NoSession, NameTaken: see `speaker`.
        :raises ChatError: they may not; see `Rights.may`.
        """
        session = await self.speaker(request)
        if changes:
            self.check_csrf(request, session)
        self._rights.require(session, act, rooms, self._peers.address(request))
        return session

    def may_read(self, session: Session | None) -> bool:
        """Whether somebody may read rooms, and so may know which there are."""
        return self._rights.may(session, Act.SEE) is None

    async def visitor(
        self, request: HttpRequest, *, query_token: str | None = None
    ) -> Session | None:
        """The session of somebody who asks for a page; a cookie that is no good is cleared, and who
        comes by a proxy that says who it is gets one.
        """
        user = self._peers.user(request)
        if user is not None and bearer(request) is None and query_token is None:
            session = await self._session_by_cookie(request)
            if session is None or not self._is_of(session, user):
                session, token = await self._begin_by_proxy(request, user)
                self.set_cookie(request, token)
            self._admit(session, request)
            return session
        try:
            return await self.session(request, query_token=query_token)
        except InvalidToken:
            if bearer(request) is not None or query_token is not None:
                raise
            self.clear_cookie(request)
            # From here on it is as if it had not come: there is nobody in whose name it could act.
            name = self._cookie_name(request).encode("ascii")
            request.received_cookies.pop(name, None)
            return None

    # -- the cookie

    def set_cookie(self, request: HttpRequest, token: str) -> None:
        """Give the browser its session."""
        self._put_cookie(request, token, int(TOKEN_LIFETIME))

    def clear_cookie(self, request: HttpRequest) -> None:
        """Take it away."""
        self._put_cookie(request, "", 0)

    def _put_cookie(self, request: HttpRequest, value: str, max_age: int) -> None:
        secure = "; Secure" if self._peers.is_secure(request) else ""
        # One at most: a log-in with a cookie that is no good sets the new one only.
        request.setHeader(
            "set-cookie",
            f"{self._cookie_name(request)}={value}; Path=/; Max-Age={max_age}; HttpOnly; "
            f"SameSite=Lax{secure}",
        )

    def renew(self, request: HttpRequest, token: str | None) -> str:
        """Let a browser have the token that took the place of the one in its cookie.

        :param token: the new one; None when there is none.
        :returns: the token that is good from now.
        """
        if token is None:
            return self.request_token(request)
        if self.came_by_cookie(request):
            self.set_cookie(request, token)
        return token

    def known_session(
        self, request: HttpRequest, *, cookie: bool
    ) -> tuple[Session | None, bool] | None:
        """The session of a request that names none in its query, and whether the cookie shows it,
        where that can be told at once and nothing is to be done for it; else None.

        :param cookie: whether the cookie counts.
        """
        token, by_cookie = bearer(request), False
        if token is None and cookie:
            if self._peers.user(request) is not None:
                return None
            token = self._cookie(request)
            by_cookie = token is not None
        if token is None:
            return None, False
        session = self._sessions.known(token)
        return None if session is None else (session, by_cookie)

    def came_by_cookie(self, request: HttpRequest) -> bool:
        """Whether a request brought its session in the cookie."""
        return bearer(request) is None and self._cookie(request) is not None

    def request_token(self, request: HttpRequest) -> str:
        """The token that a request came with, in its header or its cookie; empty without one."""
        return bearer(request) or self._cookie(request) or ""

    def _cookie(self, request: HttpRequest) -> str | None:
        name = self._cookie_name(request).encode("ascii")
        value = request.getCookie(name)
        return value.decode("utf-8", "replace") if value else None

    def _cookie_name(self, request: HttpRequest) -> str:
        prefix = SECURE_PREFIX if self._peers.is_secure(request) else ""
        return f"{prefix}{COOKIE}{self._installation()}"

    # -- meant

    def check_csrf(
        self, request: HttpRequest, session: Session | None = None, form_token: str | None = None
    ) -> None:
        """Refuse what another site may have sent in a visitor's name.

        :param form_token: the hidden token of the form, if it was one.
        :raises CrossSite: it comes from elsewhere, or can't be told from that.
        """
        if remembered(request, _is_surely_meant, partial(_is_surely_meant, request)):
            return
        self.check_origin(request)
        if self._cookie(request) is None and self._peers.user(request) is None:
            return
        if parameters.content_type(request) == "application/json":
            return
        if session is None or form_token is None:
            raise CrossSite(
                "This form is too old: load the page again and send it from there.",
                hint="A program that has a cookie and sends no Origin header has to send JSON.",
            )
        if not self._is_token_of(session, form_token):
            raise CrossSite("This form is too old: load the page again and send it from there.")

    def check_origin(self, request: HttpRequest, query_token: str | None = None) -> None:
        """Refuse what a page of another site sends.

        :param query_token: the ``token=`` of a held request: with it, pages of `--allow-origin`
            may.
        :raises CrossSite: it does.
        """
        if bearer(request) is not None:
            return
        if query_token is not None and self._origins.includes(request):
            return
        if is_foreign(request):
            raise CrossSite(
                "Only pages of this server can do that.", hint="Programs send a Bearer token."
            )

    def check_script(self, request: HttpRequest, query_token: str | None = None) -> None:
        """Refuse a script that a page of another site loads: it would read what its visitor can.

        Scripts are loaded by a GET without an Origin. Where the browser sends neither Referer nor
        Sec-Fetch-Site, as for a page that asks for that over plain HTTP, nothing tells ours from
        others, so that it counts as one of theirs.

        :param query_token: the ``token=`` of a held request: with it, any page may.
        :raises CrossSite: it does, or can't be told from that.
        """
        if bearer(request) is not None or query_token is not None:
            return
        page = _origin_of(request.getHeader("referer"))
        if page in self._origins.allowed:
            return
        site = request.getHeader("sec-fetch-site")
        ours = _is_ours(page, request) if page else site in ("same-origin", "none")
        if not ours or is_foreign(request):
            raise CrossSite(
                "Only pages of this server, and of --allow-origin, can do that without token=."
            )

    def form_token(self, session: Session) -> str:
        """The hidden token that a session's forms carry, written in another way each time.

        Pages are compressed, and hold what others say: were it always the same, its bytes could be
        guessed one by one by the length of the page (BREACH).
        """
        mask = self._random_bytes(_TOKEN_SIZE)
        return (mask + _xor(mask, self._token_of(session))).hex()

    def _is_token_of(self, session: Session, written: str) -> bool:
        try:
            both = bytes.fromhex(written)
        except ValueError:
            return False
        mask, masked = both[:_TOKEN_SIZE], both[_TOKEN_SIZE:]
        return len(masked) == _TOKEN_SIZE and hmac.compare_digest(
            _xor(mask, masked), self._token_of(session)
        )

    def _token_of(self, session: Session) -> bytes:
        # Of her token, not of her: who had the token that she had before her name knew this, too.
        return blake2b(session.known_by, key=self._secret(), digest_size=_TOKEN_SIZE).digest()


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def bearer(request: HttpRequest) -> str | None:
    """The bearer token (RFC 6750, section 2.1)."""
    scheme, _, token = (request.getHeader("authorization") or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _is_surely_meant(request: HttpRequest) -> bool:
    """Whether a request's header lines alone say that no page of another site has sent it."""
    if bearer(request) is not None:
        return True
    says = request.getHeader("sec-fetch-site") or request.getHeader("origin")
    return bool(says) and not is_foreign(request)


def is_foreign(request: HttpRequest) -> bool:
    """Whether a page of another site sends a request, as far as its browser says."""
    site = request.getHeader("sec-fetch-site")
    if site in ("cross-site", "same-site"):
        return True
    origin = request.getHeader("origin")
    return origin is not None and not _is_ours(origin, request)


def _is_ours(page: str, request: HttpRequest) -> bool:
    """Whether an origin is this very host and port."""
    try:
        origin = urlsplit(page)
    except ValueError:
        return False
    port = _DEFAULT_PORTS.get(origin.scheme)
    host = (request.getHeader("host") or "").lower()
    return port is not None and origin.netloc.lower().removesuffix(f":{port}") == (
        host.removesuffix(f":{port}")
    )


def _origin_of(referer: str | None) -> str:
    """The origin in a Referer; empty without one."""
    try:
        page = urlsplit(referer or "")
    except ValueError:
        return "null"
    return f"{page.scheme}://{page.netloc}" if page.netloc else referer or ""
