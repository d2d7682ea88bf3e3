"""A stock ticker on the engine: `twistd -ny quotes.tac`, `curl -N http://127.0.0.1:8081/quotes`."""

from random import choice, uniform
from types import SimpleNamespace

from klein import Klein
from twisted.application import internet, service, strports
from twisted.internet import defer, reactor
from twisted.web.server import Site

from cometd_chat.comet import CometEngine

engine, web, prices = CometEngine(reactor), Klein(), {"ACME": 100.0, "GLOBEX": 42.0}
quotes = engine.register("/quotes", expiration_delay=300)


@web.route("/quotes")
def hold(request):
    done = defer.Deferred(lambda _: engine.interrupt(handler))  # Klein cancels: the peer is gone
    handler = SimpleNamespace(
        on_initialize=lambda event: request.setHeader("Content-Type", "text/event-stream"),
        on_event=lambda event: request.write(f"data: {event.attachment}\n\n".encode()),
        on_interrupt=lambda event: done.callback(b""),  # expired: an EventSource comes back
        on_terminate=lambda event: done.callback(b""),
    )
    quotes.add_handler(handler)
    return done


def tick():
    symbol = choice(list(prices))
    prices[symbol] *= uniform(0.98, 1.02)
    quotes.notify(f"{symbol} {prices[symbol]:.2f}")


application = service.Application("quotes")
strports.service("tcp:8081:interface=127.0.0.1", Site(web.resource())).setServiceParent(application)
internet.TimerService(1, tick).setServiceParent(application)
reactor.addSystemEventTrigger("before", "shutdown", engine.shutdown)
