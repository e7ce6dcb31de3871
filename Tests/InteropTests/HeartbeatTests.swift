// Heartbeats with programs of others: GnuTLS's own tools, a program written against its library, and openssl, which has none.

import Foundation
import TestSupport
import Testing

@Suite(.needs([.gnutls, .openssl]), .inTurns, .timeLimit(.minutes(2))) struct HeartbeatTests {
    private static let quick = """
        [tunnel.heartbeat]
        interval = "200ms"
        timeout = "2s"
        """

    @Test func `a GnuTLS server answers requests`() async throws {
        let keys = try await TestKeys.shared()
        let port = try FreePorts.next()
        let server = try await Tool.gnutls.server(.ecdsa, port: port, keys: keys, extra: ["--heartbeat"])
        let scene = try await ClientScene(.ecdsa, to: port, Self.quick)
        try await scene.converse(server, .gnutls)
        try await Self.expectAnswers(scene.daemon)
        try await scene.converse(server, .gnutls, rounds: 4...6)
    }

    @Test func `a GnuTLS client answers requests`() async throws {
        // Once asked, gnutls-cli reads no input until data comes: its line has to be quicker than the first request.
        let scene = try await ServerScene(
            .ecdsa, "[tunnel.mtu]\ndiscover = false\n[tunnel.heartbeat]\ninterval = \"1s\"\n")
        let client = try Tool.gnutls.client(.ecdsa, port: scene.port, keys: scene.keys, extra: ["--heartbeat"])
        client.write("to culvert\n")
        let (_, source) = try await scene.application.next()
        try await Self.expectAnswers(scene.daemon, path: "disabled")
        scene.application.send(Array("from culvert\n".utf8), to: source)
        try await client.expect("from culvert")
    }

    @Test(arguments: [Role.client, .server])
    func `a peer without the extension gets none, and the status says so`(_ role: Role) async throws {
        let keys = try await TestKeys.shared()
        let daemon: DaemonFixture
        var holding: [AnyObject] = []
        if role == .client {
            let port = try FreePorts.next()
            let server = try await Tool.openssl.server(.ecdsa, port: port, keys: keys)
            let scene = try await ClientScene(.ecdsa, to: port, Self.quick)
            try await scene.converse(server, .openssl)
            daemon = scene.daemon
            holding = [server, scene]
        } else {
            let scene = try await ServerScene(.ecdsa, Self.quick)
            let client = try Tool.openssl.client(.ecdsa, port: scene.port, keys: keys)
            try await scene.converse(client)
            daemon = scene.daemon
            holding = [client, scene]
        }
        let association = try #require(try daemon.associations().first)
        #expect(association.heartbeat?.negotiated == false && association.heartbeat?.peerMode == nil)
        #expect(association.heartbeat?.sent == 0)
        #expect(association.pathMtu?.state == "disabled" && association.pathMtu?.probes == 0)
        withExtendedLifetime(holding) {}
    }

    /// Waits for answers to requests and to probes.
    private static func expectAnswers(_ daemon: DaemonFixture, path state: String = "complete") async throws {
        let list = try await daemon.associations("answered requests") {
            $0.first?.heartbeat?.answered ?? 0 >= 3 && $0.first?.pathMtu?.state == state
        }
        let heartbeat = try #require(list.first?.heartbeat)
        #expect(heartbeat.negotiated && heartbeat.peerMode == "peer_allowed_to_send")
        #expect(heartbeat.localMode == "peer_allowed_to_send")
        #expect(heartbeat.lost == 0 && heartbeat.lastAnswer != nil)
        let roundTrip = try #require(heartbeat.rttMs)
        #expect(roundTrip.min > 0 && roundTrip.min <= roundTrip.mean)
        #expect(list.first?.dropped.isEmpty == true, "\(list)")
    }
}

@Suite(
    .enabled(
        if: Program.isInstalled("cc") && FileManager.default.fileExists(atPath: "/usr/include/gnutls/gnutls.h"),
        "cc or libgnutls28-dev is not installed"),
    .inTurns, .timeLimit(.minutes(2)))
struct HeartbeatProgramTests {
    /// Payload and padding together, as GnuTLS counts; without a byte of payload it trips over an assertion of its own.
    private static let sizes = [17, 32, 255, 1000, 1300]

    @Test(arguments: [Role.client, .server], [true, false])
    func `requests of all sizes are answered, unless this end does not want any`(
        _ role: Role, answers: Bool
    ) async throws {
        let pinger = try await Scene(role, allows: true, "answer = \(answers)")
        for size in Self.sizes {
            try await pinger.program.expect(answers ? "ping \(size): answered" : "ping \(size): not allowed")
        }
        try await pinger.daemon.associations("heartbeats the other way") {
            $0.first?.heartbeat?.answered ?? 0 >= 2
                && $0.first?.heartbeat?.localMode == (answers ? "peer_allowed_to_send" : "peer_not_allowed_to_send")
        }
        try await pinger.program.expect("was asked")
    }

    @Test(arguments: [Role.client, .server])
    func `a peer that wants no requests gets none`(_ role: Role) async throws {
        let pinger = try await Scene(role, allows: false, "")
        try await pinger.program.expect("waiting")
        let association = try #require(try pinger.daemon.associations().first)
        #expect(association.heartbeat?.peerMode == "peer_not_allowed_to_send")
        #expect(association.heartbeat?.negotiated == true && association.heartbeat?.sent == 0)
        #expect(association.pathMtu?.state == "disabled" && association.pathMtu?.probes == 0)
        // It lives on without: a third of a second is more than the interval.
        try await pinger.program.expect("waited")
        #expect(!pinger.program.said.contains("was asked"), "\(pinger.program)")
        #expect(try pinger.daemon.associations().first?.state == "established")
    }

    /// The daemon in one role and the program in the other.
    private final class Scene {
        let daemon: DaemonFixture
        let program: Program
        private let application: UDPEndpoint

        init(_ role: Role, allows: Bool, _ heartbeat: String) async throws {
            let keys = try await TestKeys.shared()
            let path = try await Pinger.shared()
            let port = try FreePorts.next()
            let settings = "[tunnel.heartbeat]\ninterval = \"200ms\"\n\(heartbeat)\n"
            func start(_ role: String, _ name: String) throws -> Program {
                try Program(
                    [
                        path, role, "\(port)", allows ? "allows" : "refuses", keys.path("\(name).crt"),
                        keys.path("\(name).key"), keys.path("ca.crt"),
                    ] + (allows ? HeartbeatProgramTests.sizes.map { "\($0)" } : []))
            }
            application = try UDPEndpoint()
            if role == .server {
                daemon = try await DaemonFixture(
                    credentials(.ecdsa, .server, keys)
                        + serverTunnel(.ecdsa, listen: port, forward: application.endpoint, settings))
                program = try start("client", "client")
            } else {
                program = try start("server", "server")
                try await program.expect("listening")
                let entrance = try FreePorts.next()
                daemon = try await DaemonFixture(
                    credentials(.ecdsa, .client, keys)
                        + clientTunnel(.ecdsa, listen: entrance, forward: port, settings))
                application.send("hello", to: entrance)
            }
        }
    }
}

/// A program that pings by GnuTLS, compiled once.
private final class Pinger: Sendable {
    static func shared() async throws -> String { try await making.value.path }
    private static let making = Task { try await Pinger() }

    private let directory: TemporaryDirectory
    private var path: String { directory("pinger") }

    private init() async throws {
        directory = try TemporaryDirectory()
        try directory.write(Self.source, "pinger.c")
        let (status, said) = try await Program.run(
            ["cc", "-Wall", "-o", directory("pinger"), directory("pinger.c"), "-lgnutls"])
        guard status == 0 else { throw Unusable(said) }
    }

    /// Arguments: client or server, port, allows or refuses, certificate, key, authority, sizes of payloads to ping with.
    private static let source = #"""
        #include <arpa/inet.h>
        #include <gnutls/dtls.h>
        #include <gnutls/gnutls.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/socket.h>
        #include <time.h>

        static int check(const char *what, int result) {
            if (result >= 0) return result;
            printf("%s: %s\n", what, gnutls_strerror(result));
            exit(1);
        }

        // Answers pings for so many milliseconds.
        static void serve(gnutls_session_t session, int milliseconds) {
            struct timespec begin, now;
            clock_gettime(CLOCK_MONOTONIC, &begin);
            char buffer[16384];
            do {
                gnutls_record_set_timeout(session, 50);
                int result = gnutls_record_recv(session, buffer, sizeof buffer);
                if (result == GNUTLS_E_HEARTBEAT_PING_RECEIVED) {
                    printf("was asked\n");
                    gnutls_heartbeat_pong(session, 0);
                } else if (result < 0 && result != GNUTLS_E_TIMEDOUT && gnutls_error_is_fatal(result)
                    // A flight that the other end has repeated because this one was slow to answer.
                    && result != GNUTLS_E_UNEXPECTED_PACKET) {
                    check("receive", result);
                }
                clock_gettime(CLOCK_MONOTONIC, &now);
            } while ((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 < milliseconds);
        }

        int main(int count, char **arguments) {
            setvbuf(stdout, NULL, _IONBF, 0);
            int is_client = strcmp(arguments[1], "client") == 0;
            int is_allowing = strcmp(arguments[3], "allows") == 0;
            int descriptor = socket(AF_INET, SOCK_DGRAM, 0);
            struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[2]))};
            address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            if (!is_client) {
                check("bind", bind(descriptor, (struct sockaddr *)&address, sizeof address));
                printf("listening\n");
                char byte;
                socklen_t length = sizeof address;
                recvfrom(descriptor, &byte, 1, MSG_PEEK, (struct sockaddr *)&address, &length);
            }
            check("connect", connect(descriptor, (struct sockaddr *)&address, sizeof address));

            gnutls_certificate_credentials_t credentials;
            gnutls_certificate_allocate_credentials(&credentials);
            check("key", gnutls_certificate_set_x509_key_file(
                credentials, arguments[4], arguments[5], GNUTLS_X509_FMT_PEM));
            check("trust", gnutls_certificate_set_x509_trust_file(credentials, arguments[6], GNUTLS_X509_FMT_PEM));
            gnutls_session_t session;
            gnutls_init(&session, (is_client ? GNUTLS_CLIENT : GNUTLS_SERVER) | GNUTLS_DATAGRAM);
            check("priority", gnutls_priority_set_direct(session, "NORMAL:-VERS-ALL:+VERS-DTLS1.2", NULL));
            gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
            if (!is_client) gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
            gnutls_transport_set_int(session, descriptor);
            gnutls_dtls_set_mtu(session, 1400);
            gnutls_heartbeat_enable(
                session, is_allowing ? GNUTLS_HB_PEER_ALLOWED_TO_SEND : GNUTLS_HB_PEER_NOT_ALLOWED_TO_SEND);
            int result;
            do result = gnutls_handshake(session); while (result < 0 && !gnutls_error_is_fatal(result));
            check("handshake", result);
            if (is_client) check("send", gnutls_record_send(session, "hello", 5));

            gnutls_heartbeat_set_timeouts(session, 200, 5000);
            for (int index = 7; index < count; index++) {
                do {
                    result = gnutls_heartbeat_ping(session, atoi(arguments[index]), 0, GNUTLS_HEARTBEAT_WAIT);
                    if (result == GNUTLS_E_HEARTBEAT_PING_RECEIVED) gnutls_heartbeat_pong(session, 0);
                } while (result == GNUTLS_E_AGAIN || result == GNUTLS_E_INTERRUPTED
                    || result == GNUTLS_E_HEARTBEAT_PING_RECEIVED);
                printf("ping %s: %s\n", arguments[index],
                    result == 0 ? "answered" : result == GNUTLS_E_INVALID_REQUEST ? "not allowed"
                    : gnutls_strerror(result));
                serve(session, 150);
            }
            printf("waiting\n");
            serve(session, 1000);
            printf("waited\n");
            serve(session, 60000);
            return 0;
        }
        """#
}
