"""Long polls of Bayeux clients that come again and again by one connection.

What it is: `StandingPoll`, the exchange of a connect that stands: it takes the next request without
reading it as one, and writes the reply into an answer that is mostly there already.

What it may know: bytes of requests and answers, the core's templates. Not what a message means.

Invariant: a request that differs from the one before in more than the places of its template is
read by `Bayeux.open`, as if none of this were here.
"""

from __future__ import annotations

from collections.abc import Sequence

from cometd_chat.bayeux.exchange import Exchange, Peer
from cometd_chat.bayeux.messages import array
from cometd_chat.bayeux.paths import MetaConnect
from cometd_chat.bayeux.server import BayeuxServer
from cometd_chat.bayeux.templates import ConnectTemplate, ReplyTemplate
from cometd_chat.chat.limits import Limits
from cometd_chat.errors import TooMany
from cometd_chat.transports.request import HttpRequest
from cometd_chat.transports.standing import AnswerHead, Repeatable
from cometd_chat.transports.stats import TransportCounts
from cometd_chat.web.bayeux_delivery import ResponseDelivery


class SharedAnswers:
    """The last answer, for all who are told the same.

    Those who are level get the same messages in the same turn, and their replies differ in the id
    alone: what stands before that, the head included, and what stands after it is made once for all
    of them.
    """

    def __init__(self) -> None:
        self._of: tuple[object, ...] = ()
        self._messages: Sequence[bytes] = ()
        self._pieces = (b"", b"", b"", 0)

    def pieces(
        self,
        head: AnswerHead,
        messages: Sequence[bytes],
        template: ReplyTemplate,
        size: int,
        at: float,
    ) -> tuple[bytes, bytes, bytes, int]:
        """What stands before, between and after what is particular to each, and how many bytes of
        body that makes.

        :param size: bytes of that.
        :param at: the moment, as `Reaper.coarse_now` gives it, for the head's date.
        """
        # Parts of the same messages are the same objects, which are found equal by that.
        of = (head, template, size, at)
        if of == self._of and messages == self._messages:
            return self._pieces
        said = b"".join([each + b"," for each in messages])
        before = b"[" + said + template.before
        between = template.between or b""
        after = template.after + b"]"
        length = len(before) + len(between) + len(after) + size
        self._of, self._messages = of, messages
        self._pieces = (head.before(length) + before, between, after, length)
        return self._pieces


class StandingPoll:
    """The exchange of a connect that stands, and the request that its connection has under way; see
    `StandingExchange` and `StandingRequest`.

    :param polls: what all of them share.
    :param connect: of the core, which was answered last by this connection.
    :param size: bytes of its request's body.
    :param delivery: of the answer.
    """

    __slots__ = (
        "_after",
        "_before",
        "_between",
        "_connect",
        "_head",
        "_id_first",
        "_is_held",
        "_is_over",
        "_place",
        "_polls",
        "_size",
        "began",
        "delivery",
        "path",
        "peer",
        "sentLength",
    )

    method = b"POST"
    code = 200
    push = None

    def __init__(
        self,
        polls: StandingPolls,
        repeatable: Repeatable,
        template: ConnectTemplate,
        size: int,
        connect: MetaConnect,
        peer: Peer,
        delivery: ResponseDelivery,
    ) -> None:
        self._polls = polls
        self._place = repeatable.place
        self._head = repeatable.head
        self._connect = connect
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (
            repeatable.method,
            repeatable.target,
            repeatable.block,
        )
        self._before = head + template.before
        self._between = template.between
        self._after = template.after
        self._id_first = template.id_first
        self._size = len(head) + size
        self.path = repeatable.path
        self.peer = peer
        self.delivery = delivery
        # Between two requests it is over.
        self._is_over = True
        self._is_held = False
        self.began = 0.0
        self.sentLength = 0

    def stand(self) -> None:
        """Stand from here on."""
        self._polls.server.connects.stand(self._connect, self)
        self._place.stand(self)

    # -- the request; see `StandingRequest`

    def again(self, data: bytes) -> bool:
        """See `StandingRequest.again`."""
        # Its length is in its head: another one is another request.
        before, after = self._before, self._after
        if len(data) != self._size or not data.startswith(before) or not data.endswith(after):
            return False
        id = data[len(before) : len(data) - len(after)]
        number = None
        if self._between is not None:
            first, between, second = id.partition(self._between)
            if not between:
                return False
            id, digits = (first, second) if self._id_first else (second, first)
            # (JSON has no numbers that begin with a 0.)
            if not digits.isdigit() or (digits[0] == 0x30 and len(digits) > 1):
                return False
            number = int(digits)
        if not id.isalnum() or self._polls.server.stopping:
            return False
        address = self.peer.address
        try:
            self._polls.limits.hold(address)
        except TooMany:
            # As any other request it is refused, and told why.
            return False
        self.began = self._place.reaper.coarse_now()
        self._is_over = False
        if self._polls.server.connects.standing.repeat(self._connect, id.decode("ascii"), number):
            return True
        self._is_over = True
        self._polls.limits.let_go(address)
        return False

    def lost(self) -> None:
        """See `StandingRequest.lost`. What is answered is as its receipt says."""
        if not self._is_over:
            self._end()
            self.delivery.lost = True
            self._polls.server.lost(self)

    # -- the exchange; see `StandingExchange`

    def hold(self, seconds: float) -> None:
        """See `Exchange.hold`."""
        self._is_held = True
        self._polls.counts.held += 1
        # What became of the last reply was asked before.
        self.delivery.again()

    def reply(self, messages: Sequence[bytes]) -> None:
        """See `Exchange.reply`."""
        if not self._is_over:
            body = array(messages)
            at = self._place.reaper.coarse_now()
            self._write(self._head.before(len(body)) + body, len(body), at)

    def answer(
        self, messages: Sequence[bytes], template: ReplyTemplate, id: str, number: int | None
    ) -> None:
        """See `StandingExchange.answer`."""
        if self._is_over:
            return
        own = id.encode("ascii")
        digits = b"" if number is None else b"%d" % number
        at = self._place.reaper.coarse_now()
        before, between, after, size = self._polls.answers.pieces(
            self._head, messages, template, len(own) + len(digits), at
        )
        self._write(b"".join((before, own, between, digits, after)), size, at)

    def forget(self) -> None:
        """See `StandingExchange.forget`."""
        self._place.forget(self)

    def _write(self, data: bytes, size: int, at: float) -> None:
        self._end()
        self._polls.counts.bytes_sent += size
        self.sentLength = size
        place = self._place
        self.delivery.written(place.new_receipt(), at)
        place.answer(self, data, at)

    def _end(self) -> None:
        self._is_over = True
        if self._is_held:
            self._is_held = False
            self._polls.counts.held -= 1
        self._polls.limits.let_go(self.peer.address)


class StandingPolls:
    """What all of them share.

    :param counts: of their transport.
    """

    def __init__(self, server: BayeuxServer, limits: Limits, counts: TransportCounts) -> None:
        self.server = server
        self.limits = limits
        self.counts = counts
        self.answers = SharedAnswers()

    def poll(self, exchange: Exchange, request: HttpRequest) -> StandingPoll | None:
        """What takes the next request, when that may be the same connect again.

        :param exchange: by which the connect is being answered.
        :param request: the same, with all headers of its answer but for the length.
        """
        connect = self.server.connects.repeatable(exchange)
        repeatable = None if connect is None else request.repeatable()
        if connect is None or repeatable is None:
            return None
        body = request.content.read()
        template = ConnectTemplate.of(body)
        if template is None:
            return None
        delivery = exchange.delivery
        assert isinstance(delivery, ResponseDelivery)
        return StandingPoll(self, repeatable, template, len(body), connect, exchange.peer, delivery)
