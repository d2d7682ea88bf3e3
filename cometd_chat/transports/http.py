"""HTTP/1.1 with our limits, at the end of a request's head and in its body.

What it is: the one subclass of Twisted's channel. It refuses a body that is too large before it
arrives, cuts a chunked one, and answers what can't be parsed.

What it may know: Twisted's channel, by `twisted_internals.OpenChannel`. Not routes, not the chat.

Invariant: no more of a body than the limit is ever held, no request is read before the answer to
the one before it has left this process, and all that is held counts in the budget. Every refusal
has the one form that the web layer gives to errors.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from cometd_chat.errors import ChatError, HeadTooLarge, InvalidRequest, RequestTimeout
from cometd_chat.transports import refusals, twisted_internals
from cometd_chat.transports.body import IncomingBody
from cometd_chat.transports.budget import memory_short
from cometd_chat.transports.foreign_protocols import (
    ForeignProtocol,
    bare_lf_in,
    foreign_protocol_at,
)
from cometd_chat.transports.limited_request import (
    MAX_BODY,
    LimitedRequest,
    RequestChannel,
    body_too_large,
)
from cometd_chat.transports.request import InputReader
from cometd_chat.transports.targets import read_target
from cometd_chat.transports.timeouts import Phase, PhaseTimeouts

#: What a line of a head costs beside its bytes, about: an entry in a dict, a list, two strings. And
#: what a cookie does.
_FIELD, _COOKIE = 300, 170

#: What a request that a route works at costs beside its bytes until its answer begins, about: the
#: request, the channel, the calls that wait for each other. It was measured of a page of history
#: that waits for its records.
_IN_HAND = 12 * 1024

#: A version of HTTP that is later than ours by its minor number.
_LATER_MINOR = re.compile(rb" HTTP/1\.[2-9]\Z")

#: Digits of a Content-Length that are read: more than any body has.
_MOST_DIGITS = 18

#: Who has sent so many bytes of a body is told that it took too long. Who trickles is no client
#: that waits for an answer: that would be one more thing to be left unread.
_WORTH_AN_ANSWER = 1024


@implementer(IHalfCloseableProtocol)
class LimitedChannel(RequestChannel):
    """A channel that refuses in our own form. A holder of the budget, see `budget.Holder`."""

    requestFactory: Any = LimitedRequest
    _refused = False
    _early: LimitedRequest | None = None
    _input: InputReader | None = None
    _timeouts: PhaseTimeouts

    # What is held for the request that is being read or handled, and for what this channel counts:
    # what came, and what was written and has not left.
    _request_size = 0
    _counted_in = 0
    _counted_out = 0
    _counts = False

    # -- a connection begins and ends

    def connectionMade(self) -> None:
        self._timeouts = PhaseTimeouts(self, self.site.reaper, self.site.timeout)
        super().connectionMade()
        # The lane may have answered, and its peer not have taken all of that.
        self._await_leaving()
        self._timeouts.watch()
        self._count()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._leave_site()
        self._let_be()
        if self.receipt is not None:
            self.receipt.over(reason)
        super().connectionLost(reason)
        self.forget_body()
        twisted_internals.forget_unsent(self.transport)

    def _leave_site(self) -> None:
        self.site.connection_over(self.transport)

    def _let_be(self) -> None:
        """This connection is no longer this channel's."""
        self._timeouts.stop()
        if self._counts:
            self._counts = False
            memory, counted_in, counted_out = self.site.memory, self._counted_in, self._counted_out
            self._counted_in = self._counted_out = 0
            memory.account(-counted_out, "answers")
            memory.remove(self, counted_in, "requests")

    def close_when_idle(self) -> None:
        """End it, if nothing is under way."""
        if self._timeouts.phase is Phase.IDLE:
            self.loseConnection()

    def _go_back(self) -> None:
        """Give the connection back to the fast lane, when there is one and nothing is left here."""
        lane = None if self.site.is_parting else self.site.lane
        if lane is None or self._refused or self._input is not None:
            return
        if twisted_internals.is_at_rest(self):
            self._let_be()
            self.transport.unregisterProducer()
            lane.take(self.transport, self.receipt)

    def loseConnection(self) -> None:
        self._timeouts.enter(Phase.END)
        super().loseConnection()
        self._timeouts.watch()

    # -- reading

    def dataReceived(self, data: bytes) -> None:
        if self.receipt is not None and data:
            self.receipt.asked()
            self.receipt = None
        # What a refused peer still sends is dropped; its pace is what ends it.
        if self._refused:
            return
        if self._input is not None:
            self._input.data_received(data)
        else:
            if self._timeouts.phase is Phase.IDLE:
                self._timeouts.enter(Phase.HEAD)
            self._parse(data)
        self._settle()

    def _parse(self, data: bytes) -> None:
        """Parse it, unless it is no HTTP: a parser waits for the end of the line, and so does who
        has sent what never ends in one."""
        if self.awaits_request:
            foreign = foreign_protocol_at(self.unread + data)
            if foreign is not None:
                self._refuse_foreign(foreign)
                return
        super().dataReceived(data)
        # What waits while a line is at work, or behind an answer, may be a body as well.
        if self.line_mode and not self.is_parsing and not self.paused:
            foreign = bare_lf_in(self.unread)
            if foreign is not None:
                self._refuse_foreign(foreign)

    def _refuse_foreign(self, foreign: ForeignProtocol) -> None:
        self.site.foreign_protocols.note(foreign)
        self.refuse(InvalidRequest(foreign.remedy), Phase.FOREIGN)

    def _settle(self) -> None:
        """Nothing more comes in this turn: count what is held, and go back if that is nothing."""
        self._go_back()
        if twisted_internals.is_of(self.transport, self):
            self._timeouts.watch()
            self._count()

    def lineReceived(self, line: bytes) -> None:
        if self._refused:
            return
        if self.header_size + len(line) > self.totalHeadersSize:
            self._refuse_head(line)
            return
        if self.awaits_request:
            # Whoever speaks 1.1 is to answer what has a later minor number (RFC 9110, section 2.5).
            line = _LATER_MINOR.sub(b" HTTP/1.1", line)
        super().lineReceived(line)

    def headerReceived(self, line: bytes) -> bool:
        self._request_size += len(line) + _FIELD + _COOKIE * line.count(b";")
        received: bool = super().headerReceived(line)
        return received

    def checkPersistence(self, request: LimitedRequest, version: bytes) -> bool:
        # Twisted reads the first line only, and no commas.
        lines = request.requestHeaders.getRawHeaders(b"connection", [])
        tokens = {each.strip().lower() for each in b",".join(lines).split(b",")}
        if version == b"HTTP/1.1" and b"close" not in tokens and not self.site.is_parting:
            return True
        request.responseHeaders.setRawHeaders(b"connection", [b"close"])
        return False

    def allHeadersReceived(self) -> None:
        target = read_target(self.command, self.target)
        if target is None:
            self.refuse(InvalidRequest("The target of a request is a path, such as /rooms/lobby."))
            return
        self.target = target.path
        if target.authority is not None:
            self._take_host(self.requests[-1], target.authority)
        # `length` is None for a chunked body, which is counted as it comes.
        if self.site.reads_early(self.command, self.target):
            super().allHeadersReceived()
            self._begin_early(self.requests[-1])
        elif self.length is not None and self.length > MAX_BODY:
            self.refuse(body_too_large())
        else:
            self._timeouts.enter(Phase.BODY)
            super().allHeadersReceived()

    def _take_host(self, request: LimitedRequest, authority: bytes) -> None:
        """The host in a target counts, whatever Host says (RFC 9112, section 3.2.2); there has to
        be one all the same."""
        hosts = request.requestHeaders.getRawHeaders(b"host", [])
        if len(hosts) == 1 or (not hosts and self.version != b"HTTP/1.1"):
            request.requestHeaders.setRawHeaders(b"host", [authority])

    def takes_length(self, header: bytes, value: bytes) -> bool:
        # Twisted takes both: a number that Python won't read, and a coding that was taken out of
        # HTTP since servers and proxies differed about it (RFC 9112, section 6.1).
        endless = header == b"Content-Length" and len(value) > _MOST_DIGITS
        return not (endless or (header == b"Transfer-Encoding" and value.lower() == b"identity"))

    def _begin_early(self, request: LimitedRequest) -> None:
        """Let the route begin while the body arrives; the connection ends with the response."""
        self._early = request
        self.persistent = False
        request.responseHeaders.setRawHeaders(b"connection", [b"close"])
        self._timeouts.enter(Phase.ROUTE)
        request.body = IncomingBody(self.transport, partial(self.callLater, 0))
        request.requestReceived(self.command, self.target, self.version)

    def body_came(self, size: int) -> None:
        """Some of a body was kept."""
        self._request_size += size
        self._timeouts.came(size)

    def rawDataReceived(self, data: bytes) -> None:
        if self._input is not None:
            self._input.data_received(data)
        elif not self._refused:
            super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        if self._early is not None and self._early.body is not None:
            # The route is at work already.
            self.is_handling = True
            self._early.body.end()
        elif not self._refused:
            self._timeouts.enter(Phase.ROUTE)
            super().allContentReceived()

    def pass_input(self, reader: InputReader) -> None:
        """From here on whatever comes is for ``reader``; the connection ends with the response."""
        self.persistent = False
        self._input = reader
        for data in self.take_waiting():
            reader.data_received(data)

    def readConnectionLost(self) -> None:
        if self.receipt is not None:
            self.receipt.peer_closed()
        if self._early is not None and self._early.body is not None:
            # She has said all that she has to say and listens yet.
            self._early.body.break_off()
        else:
            # Any other peer that closes its half is gone for us.
            self.loseConnection()

    def writeConnectionLost(self) -> None:
        """Our half is closed, after a refusal."""

    # -- after an answer

    @property
    def passes_input(self) -> bool:
        """Whether what comes is for the request that is being answered; see `pass_input`."""
        return self._input is not None

    def requestDone(self, request: LimitedRequest) -> None:
        early, self._early = self._early, None
        self._request_size = 0
        half_read = early is not None and early.body is not None and not early.body.ended
        if half_read or self._input is not None:
            # It may be sending yet: let it finish, or it may lose the end of what we said.
            del self.requests[0]
            self._refused, self._input = True, None
            self._linger()
            return
        if self.site.is_leaving:
            self.persistent = False
        # What came behind it waits as bytes. Twisted would go on reading what is here already, and
        # answer all of that into memory though nobody takes it.
        self.paused = True
        super().requestDone(request)
        if self.persistent and not self._await_leaving():
            self._read_on()
        self._settle()

    def _await_leaving(self) -> bool:
        """Read nothing more before what was written has left; False when it has."""
        self.paused = twisted_internals.pause_until_sent(self.transport)
        if self.paused:
            self._timeouts.enter(Phase.ANSWER)
        return self.paused

    def resumeProducing(self) -> None:
        super().resumeProducing()
        if self.paused and self.persistent and not self.is_handling:
            self.paused = False
            self._read_on()
            self._settle()

    def _read_on(self) -> None:
        """What has come meanwhile is the next request, or the beginning of one."""
        self._timeouts.enter(Phase.HEAD if self.unread else Phase.IDLE)
        if self.unread:
            # This was sent before the answer was: whether that was read nobody will know.
            self.receipt = None
        self._parse(b"")

    # -- refusing

    def bad_request(self) -> None:
        if self.header_count > self.maxHeaders:
            error: ChatError = HeadTooLarge(
                f"A request can have {self.maxHeaders} headers at most."
            )
        else:
            error = InvalidRequest("This is not a request that HTTP/1.1 allows (RFC 9112).")
        self.refuse(error)

    def lineLengthExceeded(self, line: bytes) -> None:
        self._refuse_head(line)

    def _refuse_head(self, line: bytes) -> None:
        """Refuse a head that is too large with this line, which may have come in part."""
        cookies = [*self._received(b"cookie"), *refusals.values(b"cookie", line)]
        self.refuse(refusals.too_large(self.totalHeadersSize, cookies))

    def _received(self, name: bytes) -> Sequence[bytes]:
        """The values of a header that have come so far in the head that is being read."""
        if not self.requests:
            return ()
        headers = self.requests[-1].requestHeaders
        before = refusals.values(name, self.line_before)
        return (*headers.getRawHeaders(name, ()), *before)

    def refuse(self, error: ChatError, then: Phase = Phase.LINGER) -> None:
        """Answer before there is a route, and let the peer finish what it is sending.

        :param then: how long it has for that.
        """
        if self._refused:
            return
        self._refused = True
        if self._early is not None:
            # Its response has begun: there is no other way to say it any more.
            self.loseConnection()
            return
        wants_html = b"text/html" in b",".join(self._received(b"accept"))
        form = self.site.render_refusal(error, wants_html)
        self.transport.write(refusals.answer(error, form))
        self._forget_request()
        self._linger(then)

    def _forget_request(self) -> None:
        """Hold nothing of a request that nobody will answer."""
        self.clearLineBuffer()
        self.forget_body()
        self.take_waiting()
        self._request_size = 0
        for request in self.requests:
            if request.content is not None:
                request.content.close()

    def _linger(self, phase: Phase = Phase.LINGER) -> None:
        self._timeouts.enter(phase)
        # What the peer sends is read, to be dropped.
        self.only_read()
        if ITCPTransport.providedBy(self.transport) and not self.isSecure():
            self.transport.loseWriteConnection()
        else:
            self.loseConnection()
        self._timeouts.watch()

    # -- the pace; see `timeouts.Timed`

    # Twisted's own time-out begins anew with every byte.

    def setTimeout(self, period: float | None) -> None:
        """See `PhaseTimeouts`."""

    def resetTimeout(self) -> None:
        """See `PhaseTimeouts`."""

    @property
    def unsent(self) -> int:
        """See `Timed.unsent`."""
        return twisted_internals.unsent(self.transport)

    def too_slow(self, phase: Phase) -> None:
        """See `Timed.too_slow`."""
        if phase is Phase.BODY and self._timeouts.came_so_far >= _WORTH_AN_ANSWER:
            self.refuse(RequestTimeout("The request did not come in time: send it again."))
        elif phase in (Phase.ANSWER, Phase.END):
            self._cut()
        else:
            if self.receipt is not None:
                self.receipt.closed()
            self.loseConnection()

    def _cut(self) -> None:
        self.transport.abortConnection()

    # -- what is held

    def _count(self) -> None:
        """Tell the budget what is held at this moment."""
        counted_in = 0 if self._refused else self._held_of_requests()
        # While a route is at work what it writes is its own to count.
        phase = self._timeouts.phase
        counted_out = (
            twisted_internals.behind(self.transport) if phase in (Phase.ANSWER, Phase.END) else 0
        )
        change_in, change_out = counted_in - self._counted_in, counted_out - self._counted_out
        if not change_in and not change_out:
            return
        memory = self.site.memory
        if not self._counts:
            self._counts = True
            memory.add(self, "requests")
        # Each time any holder may be shed, this one included.
        self._counted_out = counted_out
        memory.account(change_out, "answers")
        if self._counts:
            self._counted_in = counted_in
            memory.account(change_in, "requests")

    def _held_of_requests(self) -> int:
        size = self._request_size + len(self.unread) + sum(map(len, self.waiting))
        size += self.undecoded
        if self._timeouts.phase is Phase.ROUTE and self.requests:
            size += 0 if self.requests[0].startedWriting else _IN_HAND
        if self._early is not None and self._early.body is not None:
            size += self._early.body.held
        if self._input is not None:
            size += self._input.held
        return size

    @property
    def over(self) -> bool:
        """See `budget.Holder`."""
        return not self._counts

    def measure(self) -> int:
        """See `budget.Holder`."""
        self._count()
        return self._counted_in + self._counted_out

    def shed(self, size: int) -> None:
        """See `budget.Holder`."""
        if self._timeouts.phase in (Phase.HEAD, Phase.BODY):
            self.refuse(memory_short())
            self._count()
        else:
            if self.receipt is not None:
                self.receipt.closed()
            self._let_be()
            self._cut()
            # At once: until the reactor's next turn there may be more of the kind.
            twisted_internals.forget_unsent(self.transport)
