package peers;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;

/** Server-sent events. */
public final class Frames {
    /** A comment, by which a client sees that it is held. */
    public static final byte[] FIRST = ":\n\n".getBytes(StandardCharsets.US_ASCII);

    private static final byte[] BEGIN = "data: ".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] END = "\n\n".getBytes(StandardCharsets.US_ASCII);

    private Frames() {}

    /** What is read, as an event. */
    public static byte[] of(InputStream message) throws IOException {
        ByteArrayOutputStream frame = new ByteArrayOutputStream();
        frame.write(BEGIN);
        message.transferTo(frame);
        frame.write(END);
        return frame.toByteArray();
    }
}
