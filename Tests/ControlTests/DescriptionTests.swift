// docs/openapi.json against the server: the routes are the described ones, every field is described, and schemathesis finds no
// request whose answer is another than described.

import Foundation
import TestSupport
import Testing

@testable import Control

@Suite(.timeLimit(.minutes(3)))
struct DescriptionTests {
    private let description: [String: Any]

    init() throws {
        let data = try Data(contentsOf: URL(fileURLWithPath: Schemathesis.description))
        description = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    }

    @Test func `the routes are the described ones`() throws {
        let paths = try #require(description["paths"] as? [String: [String: Any]])
        let described = paths.flatMap { path, methods in methods.keys.map { "\($0.uppercased()) \(path)" } }
        let served = ControlAPI(FakeSource()).routes.map { "\($0.method.rawValue) \($0.path)" }
        #expect(served.sorted() == described.sorted())
    }

    @Test func `the query parameters and limits are the described ones`() throws {
        let paths = try #require(description["paths"] as? [String: [String: [String: Any]]])
        for route in ControlAPI(FakeSource()).routes where route.query != nil {
            let operation = try #require(paths[route.path]?[route.method.rawValue.lowercased()])
            let parameters = (operation["parameters"] as? [[String: Any]] ?? []).map(resolved)
            let names = parameters.filter { $0["in"] as? String == "query" }.compactMap { $0["name"] as? String }
            #expect(Set(names) == route.query, "\(route.path)")
            #expect((operation["requestBody"] != nil) == route.takesJSON, "\(route.path)")
        }
        let limit = resolved(["$ref": "#/components/parameters/limit"])["schema"] as? [String: Any]
        #expect(limit?["maximum"] as? Int == PageQuery.highestLimit)
    }

    @Test func `every field that the daemon can tell is described, and told when it is required`() throws {
        let date = Date(timeIntervalSince1970: 1_700_000_000)
        let refusal = TunnelStatus.Refusal(reason: "unknown_service", message: "no such service", since: date)
        var association = sampleAssociations[0]
        association.sender = "127.0.0.1:5000"
        association.applicationProtocol = "culvert/1"
        association.serverName = "collector.example.net"
        association.connectionID = .init(in: "00", out: "")
        association.pathMTU = .init(out: 1500, state: "complete", probes: 1, maximumDatagram: 1431)
        var heartbeat = AssociationStatus.Heartbeat(negotiated: true, localMode: "peer_allowed_to_send")
        heartbeat.peerMode = "peer_allowed_to_send"
        heartbeat.roundTrip = .init(last: 1, min: 1, mean: 1)
        heartbeat.lastAnswer = date
        association.heartbeat = heartbeat
        var tunnel = sampleTunnel
        tunnel.mode = .shared
        tunnel.serviceRefused = refusal
        tunnel.limits = .init(flows: 1, associations: 1, handshakes: 1)
        tunnel.certificate = .init(subject: "CN=edge-7", notAfter: date)
        var flow = FlowStatus(
            id: "f-1", tunnel: "syslog", service: "syslog", role: .client, mode: .shared, state: .open, since: date)
        flow.association = "1-1"
        flow.sender = "127.0.0.1:5000"
        flow.peerAddress = "192.0.2.7:6514"
        flow.flowID = 4
        var event = ControlEvent(id: 1, time: date, type: .ended, level: "info", message: "over")
        event.tunnel = "syslog"
        event.association = "1-1"
        event.peerAddress = "192.0.2.7:6514"
        event.peerIdentity = "CN=x"
        event.reason = "closed"
        event.fields = ["reason": "closed"]
        var status = DaemonStatus(
            version: "1", processID: 1, startedAt: date, uptimeSeconds: 1, workers: 1, openSSL: "3", logLevel: "info")
        status.configuration = "/etc/culvert/culvert.toml"
        status.memoryBytes = 1
        status.cpuSeconds = 1
        status.openFiles = 1
        status.maximumOpenFiles = 1
        var summary = DaemonStatus.Summary(name: "a", role: .server, listen: "b", forward: "c", state: .down)
        summary.mode = .plain
        summary.problem = "nobody answers"
        summary.lastFailure = "nobody knows it"
        status.tunnels = [summary]
        var reload = ReloadResult()
        reload.errors = [.init(severity: "error", message: "m", location: "f:1:1")]
        let problem = Problem(status: 422, title: "t", detail: "d", instance: "/i", errors: reload.errors)

        try check("Association", .json(association))
        try check("AssociationPage", .json(Page(items: [association], next: "1-1", total: 1)))
        try check("Tunnel", .json(tunnel))
        try check("Flow", .json(flow))
        try check("Event", .json(event))
        try check("Status", .json(status))
        try check("ReloadResult", .json(reload))
        try check("Problem", .problem(problem))
        try check("DrainResult", .json(DrainResult(draining: true, flows: 1)))
        try check("LogLevel", .json(LogLevelSetting(level: "info", tunnel: "a")))
        try check("AssociationAction", .json(AssociationAction(id: "1")))
        try check(
            "PingResult",
            .json(
                PingResult(
                    id: "1", peerAddress: "a", roundTripMilliseconds: 1, pathMTU: association.pathMTU)))
        // What is not known is left out, never null.
        try check("Association", .json(sampleAssociations[1]), whole: false)
        try check("Tunnel", .json(sampleTunnel), whole: false)
    }

    /// A value that was told has the described fields, all of them if it is `whole`.
    private func check(_ schema: String, _ response: ControlResponse, whole: Bool = true) throws {
        let value = try JSONSerialization.jsonObject(with: Data(response.body))
        try check(resolved(["$ref": "#/components/schemas/\(schema)"]), value, schema, whole)
    }

    private func check(_ schema: [String: Any], _ value: Any, _ place: String, _ whole: Bool) throws {
        let schema = resolved(schema)
        if let list = value as? [Any], let items = schema["items"] as? [String: Any] {
            for element in list { try check(items, element, place + "[]", whole) }
        }
        guard let object = value as? [String: Any] else {
            #expect(!(value is NSNull), "\(place)")
            return
        }
        guard let properties = schema["properties"] as? [String: [String: Any]] else {
            #expect(schema["additionalProperties"] != nil, "\(place) is not described")
            return
        }
        #expect(Set(object.keys).isSubset(of: properties.keys), "\(place)")
        #expect(Set(schema["required"] as? [String] ?? []).isSubset(of: object.keys), "\(place)")
        if whole { #expect(Set(object.keys) == Set(properties.keys), "\(place)") }
        for (name, value) in object {
            #expect(properties[name]?["description"] != nil || properties[name]?["$ref"] != nil, "\(place).\(name)")
            try check(properties[name] ?? [:], value, "\(place).\(name)", whole)
        }
    }

    /// What a reference refers to.
    private func resolved(_ part: [String: Any]) -> [String: Any] {
        guard let reference = part["$ref"] as? String else { return part }
        return reference.split(separator: "/").dropFirst().reduce(description as Any) { place, name in
            (place as? [String: Any])?[String(name)] ?? [:]
        } as? [String: Any] ?? [:]
    }

    @Test(.enabled(if: Schemathesis.isInstalled, "needs schemathesis and socat, see scripts/dependencies"))
    func `schemathesis finds nothing that is not as described`() async throws {
        let scratch = try Scratch()
        let server = try ControlServer.start(path: scratch.socket, source: FakeSource())
        defer { server.stop() }
        let report = try await Schemathesis.check(server.address)
        #expect(report.status == 0, "\(report.said)")
    }
}
