// The file behind the control socket: what may be replaced and what has to be left alone.

import Foundation
import Testing

@testable import Control

@Suite(.timeLimit(.minutes(3)))
struct SocketFileTests {
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private func start() throws -> ControlServer {
        try ControlServer.start(path: scratch.socket, source: FakeSource())
    }

    /// Leaves a socket file behind as a crashed daemon does.
    private func leaveStaleSocket() throws {
        let server = try start()
        let copy = scratch.directory + "/kept"
        try FileManager.default.linkItem(atPath: scratch.socket, toPath: copy)
        server.stop()
        try FileManager.default.moveItem(atPath: copy, toPath: scratch.socket)
    }

    @Test func `owner and group may open the socket, others may not`() throws {
        let server = try start()
        defer { server.stop() }
        let attributes = try FileManager.default.attributesOfItem(atPath: scratch.socket)
        #expect(attributes[.posixPermissions] as? Int == 0o660)
    }

    @Test func `a socket that a crashed daemon left is replaced`() throws {
        try leaveStaleSocket()
        #expect(FileManager.default.fileExists(atPath: scratch.socket))
        #expect(throws: ControlClientError.self) { try ControlClient(path: scratch.socket).get("/healthz") }
        let server = try start()
        defer { server.stop() }
        #expect(try ControlClient(path: scratch.socket).get("/healthz").status == 200)
    }

    @Test func `a socket that another daemon answers on is respected`() throws {
        let server = try start()
        defer { server.stop() }
        #expect(throws: ControlServerError.inUse(path: scratch.socket)) { try start() }
        #expect(try ControlClient(path: scratch.socket).get("/healthz").status == 200)
    }

    @Test func `a file that is no socket is left alone`() throws {
        try Data("precious".utf8).write(to: URL(fileURLWithPath: scratch.socket))
        #expect(throws: ControlServerError.notASocket(path: scratch.socket)) { try start() }
        #expect(try String(contentsOfFile: scratch.socket, encoding: .utf8) == "precious")
    }

    @Test func `a link is not followed`() throws {
        let target = scratch.directory + "/target"
        try Data("precious".utf8).write(to: URL(fileURLWithPath: target))
        try FileManager.default.createSymbolicLink(atPath: scratch.socket, withDestinationPath: target)
        #expect(throws: ControlServerError.notASocket(path: scratch.socket)) { try start() }
        #expect(FileManager.default.fileExists(atPath: target))
    }

    @Test func `a missing directory is named`() throws {
        let path = scratch.directory + "/absent/control.sock"
        #expect(
            throws: ControlServerError.missingDirectory(path: path, directory: scratch.directory + "/absent")
        ) { try ControlServer.start(path: path, routes: []) }
    }

    @Test func `a path that no socket can have is refused`() throws {
        let path = scratch.directory + "/" + String(repeating: "x", count: 100)
        #expect(throws: ControlServerError.pathTooLong(path: path)) { try ControlServer.start(path: path, routes: []) }
        #expect(throws: ControlServerError.self) { try ControlServer.start(path: "", routes: []) }
    }

    @Test func `a stopping server leaves its successor's socket alone`() throws {
        let old = try start()
        try FileManager.default.removeItem(atPath: scratch.socket)
        let new = try start()
        defer { new.stop() }
        old.stop()
        #expect(try ControlClient(path: scratch.socket).get("/healthz").status == 200)
    }

    @Test func `every error names the path`() {
        let errors: [ControlServerError] = [
            .pathTooLong(path: "/p"), .missingDirectory(path: "/p", directory: "/d"), .notASocket(path: "/p"),
            .inUse(path: "/p"), .refused(path: "/p", reason: "r"),
        ]
        for error in errors { #expect(error.description.hasPrefix("control socket /p: ")) }
    }
}

@Suite(.timeLimit(.minutes(3)))
struct ControlClientTests {
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    @Test func `a daemon that is not there is said to be unreachable`() throws {
        let error = #expect(throws: ControlClientError.self) { try ControlClient(path: scratch.socket).get("/healthz") }
        guard case .unreachable(let path, let reason) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(path == scratch.socket && reason == "No such file or directory")
    }

    @Test func `a daemon that does not answer is not waited for long`() throws {
        let stuck = ControlRoute(.get, "/stuck") { _, _ in }
        let server = try ControlServer.start(path: scratch.socket, routes: [stuck])
        defer { server.stop() }
        #expect(throws: ControlClientError.timedOut(path: scratch.socket)) {
            try ControlClient(path: scratch.socket, timeout: .milliseconds(100)).get("/stuck")
        }
    }

    @Test func `an answer of the wrong form is an error, not a value`() throws {
        let wrong = ControlRoute(.get, "/v1/associations") { _, reply in reply { .text("[{\"id\": 7}]") } }
        let server = try ControlServer.start(path: scratch.socket, routes: [wrong])
        defer { server.stop() }
        #expect(throws: ControlClientError.self) { try ControlClient(path: scratch.socket).associations() }
        #expect(throws: ControlClientError.self) { try ControlClient(path: scratch.socket).whatIsMissing() }
    }

    @Test func `the JSON names are the documented ones`() throws {
        let response = ControlResponse.json(sampleAssociations)
        let text = String(decoding: response.body, as: UTF8.self)
        #expect(
            text == """
                [{"auth_failures":0,"bytes":{"in":120,"out":9000},"cipher":"ECDHE-ECDSA-AES128-GCM-SHA256",\
                "control_records":0,"datagrams":{"in":3,"out":100},"dropped":{"replayed":2},"established_at":"2023-11-14T22:13:20.250Z",\
                "flows":1,"handshake_ms":4.5,"id":"1-1","mode":"plain","offered":0,\
                "peer_address":"192.0.2.7:6514","peer_identity":"DNS:collector.example.net","protocol":"DTLS 1.2",\
                "records":0,"rekeys":0,"replayed":2,"resumed":false,\
                "role":"client","state":"established","tunnel":"syslog","tunnels":["syslog"]},\
                {"auth_failures":0,"bytes":{"in":0,"out":0},"control_records":0,"datagrams":{"in":0,"out":0},"dropped":{},"flows":1,\
                "id":"1-2","mode":"plain","offered":0,"peer_address":"[2001:db8::7]:40000","protocol":"DTLS 1.2",\
                "records":0,"rekeys":0,\
                "replayed":0,"resumed":false,"role":"server","state":"handshaking","tunnel":"radius",\
                "tunnels":["radius"]}]

                """)
    }
}
