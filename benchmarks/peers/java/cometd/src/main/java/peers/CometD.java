package peers;

import org.cometd.bayeux.server.BayeuxServer;
import org.cometd.server.BayeuxServerImpl;
import org.cometd.server.http.JSONHttpTransport;
import org.cometd.server.http.jakarta.CometDServlet;
import org.cometd.server.websocket.jetty.JettyWebSocketTransport;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.server.Context;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.util.component.LifeCycle;
import org.eclipse.jetty.websocket.server.WebSocketUpgradeHandler;

/**
 * CometD on Jetty: Bayeux at /cometd by long polling and by WebSocket, messages in memory only.
 * Whoever has shaken hands may publish and subscribe everywhere.
 */
public final class CometD {
    private CometD() {}

    /** Serve until killed. The argument is a port of 127.0.0.1. */
    public static void main(String[] arguments) throws Exception {
        Server server = new Server();
        ServerConnector connector = new ServerConnector(server);
        connector.setHost("127.0.0.1");
        connector.setPort(Integer.parseInt(arguments[0]));
        connector.setAcceptQueueSize(4096);
        server.addConnector(connector);

        ServletContextHandler context = new ServletContextHandler("/");
        context.insertHandler(WebSocketUpgradeHandler.from(server, context));
        BayeuxServerImpl bayeux = new BayeuxServerImpl();
        bayeux.setOption(Context.class.getName(), context.getContext());
        bayeux.setOption("ws.cometdURLMapping", "/cometd/*");
        bayeux.setTransports(new JettyWebSocketTransport(bayeux), new JSONHttpTransport(bayeux));
        // Clients that wait for their turn to be measured would be forgotten after ten seconds.
        bayeux.setOption("maxInterval", "3600000");
        context.setAttribute(BayeuxServer.ATTRIBUTE, bayeux);
        context.addServlet(CometDServlet.class, "/cometd/*").setAsyncSupported(true);
        server.setHandler(context);
        server.start();
        LifeCycle.start(bayeux);
        server.join();
    }
}
