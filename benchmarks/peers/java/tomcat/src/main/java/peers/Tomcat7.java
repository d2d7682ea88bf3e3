package peers;

import java.io.File;
import java.io.IOException;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import javax.servlet.http.HttpServlet;
import javax.servlet.http.HttpServletRequest;
import javax.servlet.http.HttpServletResponse;
import org.apache.catalina.Context;
import org.apache.catalina.comet.CometEvent;
import org.apache.catalina.comet.CometProcessor;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;

/**
 * Tomcat 7's CometProcessor on its NIO connector, as the chat of its examples: each GET of
 * /subscribe is an event that begins and never ends, each POST to /publish is written to all.
 */
public final class Tomcat7 {
    private static final int HOUR = 3_600_000;

    private Tomcat7() {}

    /** Serve until killed. The argument is a port of 127.0.0.1. */
    public static void main(String[] arguments) throws Exception {
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(new File("tomcat").getAbsolutePath());
        Connector connector = new Connector("org.apache.coyote.http11.Http11NioProtocol");
        connector.setPort(Integer.parseInt(arguments[0]));
        connector.setProperty("address", "127.0.0.1");
        connector.setProperty("acceptCount", "4096");
        connector.setProperty("maxConnections", "20000");
        connector.setProperty("maxKeepAliveRequests", "-1");
        tomcat.getService().addConnector(connector);
        tomcat.setConnector(connector);

        Context context = tomcat.addContext("", new File(".").getAbsolutePath());
        Subscribe subscribe = new Subscribe();
        add(context, "/subscribe", subscribe);
        add(context, "/publish", new Publish(subscribe));
        add(context, "/nobody", new Publish(null));
        tomcat.start();
        tomcat.getServer().await();
    }

    private static void add(Context context, String path, HttpServlet servlet) {
        Tomcat.addServlet(context, path, servlet);
        context.addServletMapping(path, path);
    }

    /** Holds requests. */
    private static final class Subscribe extends HttpServlet implements CometProcessor {
        private final Set<HttpServletResponse> readers = ConcurrentHashMap.newKeySet();

        @Override
        public void event(CometEvent event) throws IOException {
            HttpServletResponse response = event.getHttpServletResponse();
            switch (event.getEventType()) {
                case BEGIN:
                    begin(event, response);
                    break;
                case END:
                case ERROR:
                    readers.remove(response);
                    event.close();
                    break;
                default:
                    break; // A GET has no body to read.
            }
        }

        private void begin(CometEvent event, HttpServletResponse response) throws IOException {
            try {
                event.setTimeout(HOUR);
            } catch (javax.servlet.ServletException | UnsupportedOperationException refused) {
                throw new IOException(refused);
            }
            response.setContentType("text/event-stream");
            write(response, Frames.FIRST);
            readers.add(response);
        }

        void send(byte[] message) {
            for (HttpServletResponse reader : readers) {
                try {
                    write(reader, message);
                } catch (IOException gone) {
                    readers.remove(reader);
                }
            }
        }

        private static void write(HttpServletResponse reader, byte[] message) throws IOException {
            synchronized (reader) {
                reader.getOutputStream().write(message);
                reader.flushBuffer();
            }
        }
    }

    /** Sends the body to all, or where there are no subscribers to nobody. */
    private static final class Publish extends HttpServlet {
        private final Subscribe all;

        Publish(Subscribe all) {
            this.all = all;
        }

        @Override
        protected void doPost(HttpServletRequest request, HttpServletResponse response)
                throws IOException {
            byte[] message = Frames.of(request.getInputStream());
            if (all != null) {
                all.send(message);
            }
            response.setStatus(201);
            response.setContentLength(0);
        }
    }
}
