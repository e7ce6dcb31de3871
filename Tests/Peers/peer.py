# A DTLS 1.2 peer on pyOpenSSL, for the interop tests. The server sends back "echo " and what it got; the client sends every
# line of its input to each of its ports and says "PORT TEXT" of what comes back.
#
# usage: peer.py server|client CERTIFICATE KEY CA PORT...
import os, select, socket, sys
from OpenSSL import SSL

role, certificate, key, ca, *ports = sys.argv[1:]


def say(text):
    print(text, flush=True)


context = SSL.Context(SSL.DTLS_METHOD)
context.set_options(SSL.OP_NO_QUERY_MTU)
context.use_certificate_chain_file(certificate)
context.use_privatekey_file(key)
context.load_verify_locations(ca)
context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *arguments: bool(arguments[-1]))


class Association:
    """One connection over memory, whose records leave in datagrams of their own."""

    def __init__(self, send, received):
        self.send, self.received, self.waiting = send, received, []
        self.isUp = self.isOver = False
        self.connection = SSL.Connection(context, None)
        self.connection.set_ciphertext_mtu(1200)
        if role == "server":
            self.connection.set_accept_state()
        else:
            self.connection.set_connect_state()
            self.connection.set_verify(SSL.VERIFY_PEER)
            self.connection.set_tlsext_host_name(b"localhost")

    def take(self, datagram):
        self.connection.bio_write(datagram)
        self.turn()

    def write(self, text):
        self.waiting = self.waiting[-9:] + [text]
        self.turn()

    def turn(self):
        try:
            if not self.isUp:
                self.connection.do_handshake()
                self.isUp = True
                say("established")
            for text in self.waiting:
                self.connection.send(text)
            self.waiting = []
            while True:
                self.received(self, self.connection.recv(65536))
                for text in self.waiting:
                    self.connection.send(text)
                self.waiting = []
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            say("closed")
            self.isOver = True
        except SSL.Error as error:
            say(f"over: {error!r}")
            self.isOver = True
        self.flush()

    def flush(self):
        try:
            out = self.connection.bio_read(1 << 20)
        except SSL.WantReadError:
            return
        while len(out) >= 13:
            size = 13 + int.from_bytes(out[11:13], "big")
            self.send(out[:size])
            out = out[size:]

    def remind(self):
        if self.isUp or self.isOver or self.connection.DTLSv1_get_timeout() not in (0, 0.0):
            return
        self.connection.DTLSv1_handle_timeout()
        self.flush()


def endpoint(port=0):
    end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    end.bind(("127.0.0.1", port))
    return end


def receive(end):
    """A datagram and its source; nothing where the system reports that an earlier one found nobody."""
    try:
        return end.recvfrom(65536)
    except ConnectionError:
        return None, None


def serve():
    end, associations = endpoint(int(ports[0])), {}
    say("listening")
    while True:
        if select.select([end], [], [], 0.1)[0]:
            datagram, source = receive(end)
            if datagram:
                if source not in associations or associations[source].isOver:
                    associations[source] = Association(
                        lambda record, source=source: end.sendto(record, source),
                        lambda association, text: association.waiting.append(b"echo " + text))
                associations[source].take(datagram)
        for association in associations.values():
            association.remind()


def connect():
    ends = {}
    for port in ports:
        end = endpoint()
        end.connect(("127.0.0.1", int(port)))

        def send(record, end=end):
            try:
                end.send(record)
            except ConnectionError:
                pass

        ends[end] = Association(
            send, lambda association, text, port=port: say(f"{port} {text.decode().strip()}"))
        ends[end].turn()
    while True:
        for ready in select.select([0, *ends], [], [], 0.1)[0]:
            if ready == 0:
                lines = os.read(0, 65536)
                if not lines:
                    return
                for line in lines.splitlines(keepends=True):
                    for association in ends.values():
                        association.write(line)
            else:
                datagram, _ = receive(ready)
                if datagram:
                    ends[ready].take(datagram)
        for association in ends.values():
            association.remind()


say(f"pyOpenSSL with {SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode()}")
serve() if role == "server" else connect()
