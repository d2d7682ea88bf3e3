package peers;

import java.io.IOException;
import java.io.OutputStream;
import org.glassfish.grizzly.comet.CometAddOn;
import org.glassfish.grizzly.comet.CometContext;
import org.glassfish.grizzly.comet.CometEngine;
import org.glassfish.grizzly.comet.CometEvent;
import org.glassfish.grizzly.comet.DefaultCometHandler;
import org.glassfish.grizzly.http.server.HttpHandler;
import org.glassfish.grizzly.http.server.HttpServer;
import org.glassfish.grizzly.http.server.NetworkListener;
import org.glassfish.grizzly.http.server.Request;
import org.glassfish.grizzly.http.server.Response;

/**
 * Grizzly's Comet as its chat used it: each GET of /subscribe is a CometHandler that is never
 * resumed, each POST to /publish notifies all of them.
 */
public final class Grizzly {
    private static final String TOPIC = "/chat";

    private Grizzly() {}

    /** Serve until killed. The argument is a port of 127.0.0.1. */
    public static void main(String[] arguments) throws Exception {
        NetworkListener listener =
                new NetworkListener("peer", "127.0.0.1", Integer.parseInt(arguments[0]));
        listener.registerAddOn(new CometAddOn());
        listener.getTransport().setServerConnectionBackLog(4096);
        listener.getKeepAlive().setMaxRequestsCount(-1);

        CometContext<byte[]> chat = CometEngine.getEngine().register(TOPIC);
        chat.setExpirationDelay(-1);
        HttpServer server = new HttpServer();
        server.getServerConfiguration().addHttpHandler(new Subscribe(chat), "/subscribe");
        server.getServerConfiguration().addHttpHandler(new Publish(chat), "/publish");
        server.getServerConfiguration().addHttpHandler(new Publish(null), "/nobody");
        server.start();
        // Last of all: one that is there at the start answers 404 until the handlers are in place.
        server.addListener(listener);
        Thread.currentThread().join();
    }

    /** A request that is held. */
    private static final class Reader extends DefaultCometHandler<byte[]> {
        @Override
        public void onEvent(CometEvent event) throws IOException {
            if (event.getType() == CometEvent.Type.NOTIFY) {
                write((byte[]) event.attachment());
            }
        }

        @Override
        public void onInterrupt(CometEvent event) {
            getCometContext().removeCometHandler(this);
        }

        synchronized void write(byte[] message) throws IOException {
            OutputStream out = getResponse().getOutputStream();
            out.write(message);
            out.flush();
        }
    }

    /** Holds a request. */
    private static final class Subscribe extends HttpHandler {
        private final CometContext<byte[]> chat;

        Subscribe(CometContext<byte[]> chat) {
            this.chat = chat;
        }

        @Override
        public void service(Request request, Response response) throws IOException {
            response.setContentType("text/event-stream");
            Reader reader = new Reader();
            reader.setResponse(response);
            // Whoever reads this is there: what is published next is for them, too.
            chat.addCometHandler(reader);
            reader.write(Frames.FIRST);
        }
    }

    /** Sends the body to all, or where there is no chat to nobody. */
    private static final class Publish extends HttpHandler {
        private final CometContext<byte[]> chat;

        Publish(CometContext<byte[]> chat) {
            this.chat = chat;
        }

        @Override
        public void service(Request request, Response response) throws IOException {
            byte[] message = Frames.of(request.getInputStream());
            if (chat != null) {
                chat.notify(message);
            }
            response.setStatus(201);
            response.setContentLength(0);
        }
    }
}
