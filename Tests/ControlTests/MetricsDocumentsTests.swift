// What docs/ says about metrics and builds upon them is true of the metrics that the daemon writes.

import DTLS
import Foundation
import TestSupport
import Testing

@testable import Control

@Suite struct MetricsDocumentsTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// Every name that a sample of the metrics has.
    private static let names = Set(
        busyMetrics(associations: true).split(separator: "\n").filter { !$0.hasPrefix("#") }
            .map { String($0.prefix { $0 != "{" && $0 != " " }) })
    /// Every name of a family.
    private static let families = Set(
        busyMetrics(associations: true).split(separator: "\n").filter { $0.hasPrefix("# TYPE ") }
            .compactMap { $0.split(separator: " ").dropFirst(2).first.map(String.init) })

    private static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
    }

    /// The names of metrics in a text.
    private static func metrics(in text: String) -> Set<String> {
        Set(text.matches(of: /\b(?:culvert|process)_[a-z_]+/).map { String($0.output) })
    }

    /// The reasons for drops that a query names.
    private static func reasons(in text: String) -> Set<String> {
        Set(
            text.matches(of: /reason[!=]~?\\?"([a-z_|]+)\\?"/).flatMap { $0.output.1.split(separator: "|") }
                .map(String.init))
    }

    private struct Dashboard: Decodable {
        struct Panel: Decodable {
            struct Target: Decodable { var expr: String }
            var title: String
            var type: String
            var targets: [Target]?
        }
        var panels: [Panel]
    }

    private static func dashboardQueries() throws -> [String] {
        let dashboard = try JSONDecoder().decode(Dashboard.self, from: Data(text("docs/grafana-dashboard.json").utf8))
        return dashboard.panels.flatMap { $0.targets ?? [] }.map(\.expr)
    }

    @Test func `the dashboard and the alert rules use metrics that there are`() throws {
        let queries = try Self.dashboardQueries()
        #expect(queries.count > 20)
        let alerts = try Self.text("docs/alerts.yml")
        for (place, text) in try [
            ("dashboard", Self.text("docs/grafana-dashboard.json")), ("alerts", alerts),
            ("tests of the alerts", Self.text("Tests/Metrics/alerts-test.yml")),
        ] {
            let used = Self.metrics(in: text)
            #expect(used.count > 5, "\(place)")
            #expect(used.subtracting(Self.names).isEmpty, "\(place)")
            let unknown = Self.reasons(in: text).subtracting(DropReason.allCases.map(\.name))
            #expect(unknown.isEmpty, "\(place)")
        }
        #expect(!Self.reasons(in: alerts).isEmpty)
    }

    @Test func `every metric is documented, and none that is documented is missing`() throws {
        let documented = try Self.metrics(in: Self.text("docs/METRICS.md"))
        #expect(documented.subtracting(Self.families).isEmpty)
        #expect(Self.families.subtracting(documented).isEmpty)
    }

    @Test(.enabled(if: promtoolIsInstalled, "promtool is missing"))
    func `the alert rules are valid and fire when they should`() async throws {
        for arguments in [
            ["check", "rules", Self.root.appendingPathComponent("docs/alerts.yml").path],
            ["test", "rules", Self.root.appendingPathComponent("Tests/Metrics/alerts-test.yml").path],
        ] {
            let promtool = try await Program.run(["promtool"] + arguments)
            #expect(promtool.status == 0, "\(promtool.said)")
        }
        let rules = Set(try Self.text("docs/alerts.yml").matches(of: /- alert: (\w+)/).map { String($0.output.1) })
        let tested = Set(
            try Self.text("Tests/Metrics/alerts-test.yml").matches(of: /alertname: (\w+)/).map { String($0.output.1) })
        #expect(rules == tested)
    }

    @Test(.enabled(if: promtoolIsInstalled, "promtool is missing"))
    func `the dashboard's queries are valid`() async throws {
        // As recording rules, because promtool checks those without a server.
        let rules = try Self.dashboardQueries().enumerated().map { index, query in
            [
                "record": "dashboard:query\(index)",
                "expr": query.replacing("$__rate_interval", with: "5m").replacing(/\$[a-z]+/, with: ".*"),
            ]
        }
        let directory = try TemporaryDirectory()
        let content: [String: Any] = ["groups": [["name": "dashboard", "rules": rules]]]
        let file = try directory.write(
            String(
                decoding: JSONSerialization.data(withJSONObject: content, options: .withoutEscapingSlashes),
                as: UTF8.self), "rules.json")
        let promtool = try await Program.run(["promtool", "check", "rules", file])
        #expect(promtool.status == 0, "\(promtool.said)")
    }
}
