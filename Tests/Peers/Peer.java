// A DTLS 1.2 peer on the JDK's JSSE, for the interop tests. The server sends back "echo " and what it got; the client sends
// every line of its input to each of its ports and says "PORT TEXT" of what comes back.
//
// usage: java Peer.java server|client CERTIFICATE KEY CA PORT...

import java.io.*;
import java.net.*;
import java.nio.*;
import java.nio.channels.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.*;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.*;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.BiConsumer;
import javax.net.ssl.*;

public final class Peer {
    static final int SIZE = 1 << 16;

    static void say(String text) {
        System.out.println(text);
        System.out.flush();
    }

    static Collection<? extends Certificate> certificates(String path) throws Exception {
        try (InputStream file = new FileInputStream(path)) {
            return CertificateFactory.getInstance("X.509").generateCertificates(file);
        }
    }

    static SSLContext context(String certificate, String key, String ca) throws Exception {
        String text = Files.readString(Path.of(key)).replaceAll("-----[A-Z ]+-----|\\s", "");
        PrivateKey secret = KeyFactory.getInstance("EC")
            .generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(text)));
        KeyStore own = KeyStore.getInstance("PKCS12"), trusted = KeyStore.getInstance("PKCS12");
        own.load(null, null);
        own.setKeyEntry("own", secret, new char[0], certificates(certificate).toArray(new Certificate[0]));
        trusted.load(null, null);
        for (Certificate each : certificates(ca)) trusted.setCertificateEntry("ca", each);
        KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
        keys.init(own, new char[0]);
        TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
        trust.init(trusted);
        SSLContext context = SSLContext.getInstance("DTLSv1.2");
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        return context;
    }

    /** One connection. The engine keeps no time: a flight is repeated by wrap while it wants to unwrap. */
    static final class Association {
        final SSLEngine engine;
        final DatagramChannel channel;
        final SocketAddress address;
        final BiConsumer<Association, String> received;
        final Deque<String> waiting = new ArrayDeque<>();
        final ByteBuffer plain = ByteBuffer.allocate(SIZE), record = ByteBuffer.allocate(SIZE);
        boolean isUp, isOver;
        long due;

        Association(
            SSLContext context, boolean isServer, DatagramChannel channel, SocketAddress address,
            BiConsumer<Association, String> received
        ) throws IOException {
            this.channel = channel;
            this.address = address;
            this.received = received;
            engine = context.createSSLEngine("localhost", 0);
            SSLParameters parameters = engine.getSSLParameters();
            parameters.setMaximumPacketSize(1200);
            if (isServer) parameters.setNeedClientAuth(true);
            else parameters.setEndpointIdentificationAlgorithm("HTTPS");
            engine.setUseClientMode(!isServer);
            engine.setSSLParameters(parameters);
            engine.beginHandshake();
            if (!isServer) settle(ByteBuffer.allocate(0));
            rest();
        }

        void take(ByteBuffer datagram) {
            settle(datagram);
            rest();
        }

        private void rest() { due = System.nanoTime() + 1_000_000_000L; }

        void write(String text) {
            if (waiting.size() == 10) waiting.remove();
            waiting.add(text);
            settle(ByteBuffer.allocate(0));
        }

        /** Goes on as far as can be without another datagram. */
        private void settle(ByteBuffer datagram) {
            if (isOver) return;
            try {
                for (int steps = 0; steps < 100 && step(datagram); steps++) {}
                if (isUp) while (!waiting.isEmpty()) wrap(ByteBuffer.wrap(bytes(waiting.remove())));
            } catch (IOException error) {
                isOver = true;
                say("over: " + error);
                try { while (wrap(ByteBuffer.allocate(0)) > 0) {} } catch (IOException ignored) {}
            }
        }

        private boolean step(ByteBuffer datagram) throws IOException {
            switch (engine.getHandshakeStatus()) {
            case NEED_TASK:
                for (Runnable task; (task = engine.getDelegatedTask()) != null;) task.run();
                return true;
            case NEED_WRAP:
                wrap(ByteBuffer.allocate(0));
                return true;
            case NEED_UNWRAP_AGAIN:
                unwrap(ByteBuffer.allocate(0));
                return true;
            default:
                if (!datagram.hasRemaining()) return false;
                unwrap(datagram);
                return !isOver;
            }
        }

        private void unwrap(ByteBuffer datagram) throws IOException {
            plain.clear();
            SSLEngineResult result = engine.unwrap(datagram, plain);
            note(result);
            if (result.getStatus() == SSLEngineResult.Status.CLOSED) {
                isOver = true;
                say("closed");
            }
            if (plain.flip().hasRemaining()) received.accept(this, StandardCharsets.UTF_8.decode(plain).toString());
        }

        private int wrap(ByteBuffer text) throws IOException {
            record.clear();
            note(engine.wrap(text, record));
            int count = record.flip().remaining();
            try {
                if (count > 0) channel.send(record, address);
            } catch (PortUnreachableException ignored) {}
            return count;
        }

        private void note(SSLEngineResult result) {
            if (result.getHandshakeStatus() == SSLEngineResult.HandshakeStatus.FINISHED && !isUp) {
                isUp = true;
                say("established");
            }
        }

        void remind() {
            if (isUp || isOver || System.nanoTime() < due) return;
            try {
                if (engine.getHandshakeStatus() == SSLEngineResult.HandshakeStatus.NEED_UNWRAP)
                    wrap(ByteBuffer.allocate(0));
            } catch (IOException error) {
                isOver = true;
                say("over: " + error);
            }
            settle(ByteBuffer.allocate(0));
            rest();
        }
    }

    static byte[] bytes(String text) { return text.getBytes(StandardCharsets.UTF_8); }

    static DatagramChannel channel(Selector selector, int port) throws IOException {
        DatagramChannel channel = DatagramChannel.open(StandardProtocolFamily.INET);
        channel.bind(new InetSocketAddress("127.0.0.1", port));
        channel.configureBlocking(false);
        channel.register(selector, SelectionKey.OP_READ);
        return channel;
    }

    public static void main(String[] arguments) throws Exception {
        boolean isServer = arguments[0].equals("server");
        SSLContext context = context(arguments[1], arguments[2], arguments[3]);
        Selector selector = Selector.open();
        Map<Object, Association> associations = new HashMap<>();
        ConcurrentLinkedQueue<String> lines = new ConcurrentLinkedQueue<>();
        if (isServer) {
            channel(selector, Integer.parseInt(arguments[4]));
            say("listening");
        }
        for (int index = 4; !isServer && index < arguments.length; index++) {
            int port = Integer.parseInt(arguments[index]);
            DatagramChannel channel = channel(selector, 0);
            associations.put(channel, new Association(
                context, false, channel, new InetSocketAddress("127.0.0.1", port),
                (association, text) -> say(port + " " + text.strip())));
        }
        if (!isServer) read(lines, selector);
        say("JSSE of Java " + Runtime.version());
        ByteBuffer datagram = ByteBuffer.allocate(SIZE);
        while (true) {
            selector.select(100);
            for (SelectionKey key : selector.selectedKeys()) {
                DatagramChannel channel = (DatagramChannel) key.channel();
                for (SocketAddress source; (source = channel.receive(datagram.clear())) != null;) {
                    Object who = isServer ? source : channel;
                    Association known = associations.get(who);
                    if (isServer && (known == null || known.isOver)) {
                        known = new Association(
                            context, true, channel, source, (association, text) -> association.waiting.add("echo " + text));
                        associations.put(who, known);
                    }
                    known.take(datagram.flip());
                }
            }
            selector.selectedKeys().clear();
            for (String line; (line = lines.poll()) != null;)
                for (Association association : associations.values()) association.write(line + "\n");
            for (Association association : associations.values()) association.remind();
        }
    }

    static void read(Queue<String> lines, Selector selector) {
        Thread reader = new Thread(() -> {
            try (BufferedReader input = new BufferedReader(new InputStreamReader(System.in))) {
                for (String line; (line = input.readLine()) != null; selector.wakeup()) lines.add(line);
            } catch (IOException ignored) {}
            System.exit(0);
        });
        reader.setDaemon(true);
        reader.start();
    }
}
