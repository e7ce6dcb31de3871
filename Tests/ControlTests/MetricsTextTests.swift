// Metrics as Prometheus reads them: promtool finds nothing to say against them, and every figure is where it should be.

import DTLS
import Foundation
import TestSupport
import Testing

@testable import Control

/// The metrics of `BusyDaemon`.
func busyMetrics(associations: Bool = false, at now: Date = Date()) -> String {
    let list = BusyDaemon.associations(at: now)
    return MetricsText(dropReasons: DropReason.allCases.map(\.name)).text(
        status: BusyDaemon.status(at: now), tunnels: BusyDaemon.tunnels(at: now),
        associations: associations ? Page(items: list, total: list.count) : nil)
}

let promtoolIsInstalled = Program.isInstalled("promtool")

@Suite struct MetricsTextTests {
    @Test(.enabled(if: promtoolIsInstalled, "promtool is missing"), arguments: [false, true])
    func `promtool has nothing to say against the metrics`(associations: Bool) async throws {
        let promtool = try Program(["promtool", "check", "metrics"])
        promtool.write(busyMetrics(associations: associations))
        promtool.closeInput()
        let status = try await promtool.expectExit()
        #expect(status == 0 && promtool.said.isEmpty, "\(promtool.said)")
    }

    @Test(.enabled(if: promtoolIsInstalled, "promtool is missing"))
    func `a daemon that knows nothing has valid metrics, too`() async throws {
        let status = DaemonStatus(
            version: "", processID: 1, startedAt: Date(), uptimeSeconds: 0, workers: 1, openSSL: "", logLevel: "info")
        let promtool = try Program(["promtool", "check", "metrics"])
        promtool.write(MetricsText(dropReasons: []).text(status: status, tunnels: []))
        promtool.closeInput()
        let exit = try await promtool.expectExit()
        #expect(exit == 0 && promtool.said.isEmpty, "\(promtool.said)")
    }

    @Test func `figures are told in base units with their tunnel, direction and reason`() {
        let now = Date(timeIntervalSince1970: 1_700_000_000)
        let lines = Set(busyMetrics(at: now).split(separator: "\n").map(String.init))
        for line in [
            #"culvert_build_info{version="1.0.0",openssl="OpenSSL 3.0.22"} 1"#,
            "culvert_start_time_seconds 1699726100",
            "culvert_ready 0",
            "process_cpu_seconds_total 1234.5",
            "process_resident_memory_bytes 23400000",
            #"culvert_tunnel_up{tunnel="syslog"} 1"#,
            #"culvert_tunnel_up{tunnel="snmp"} 0"#,
            #"culvert_tunnel_state{tunnel="snmp",state="down"} 1"#,
            #"culvert_tunnel_state{tunnel="snmp",state="up"} 0"#,
            #"culvert_tunnel_mode{tunnel="syslog",mode="shared"} 1"#,
            #"culvert_tunnel_service_refused{tunnel="snmp"} 1"#,
            #"culvert_associations{tunnel="radius",state="established"} 3"#,
            #"culvert_associations{tunnel="radius",state="reconnecting"} 0"#,
            #"culvert_flows{tunnel="syslog"} 14"#,
            #"culvert_flows_limit{tunnel="syslog"} 4096"#,
            #"culvert_datagrams_total{tunnel="syslog",direction="in"} 120"#,
            #"culvert_bytes_total{tunnel="radius",direction="in"} 11200000"#,
            #"culvert_drops_total{tunnel="radius",reason="no_association"} 1830"#,
            #"culvert_drops_total{tunnel="radius",reason="oversize"} 0"#,
            #"culvert_handshakes_total{tunnel="radius",result="failed"} 19"#,
            #"culvert_heartbeats_lost_total{tunnel="syslog"} 2"#,
            #"culvert_certificate_expiry_timestamp_seconds{tunnel="radius"} 1700777600"#,
            #"culvert_handshake_duration_seconds_bucket{tunnel="syslog",le="0.005"} 4"#,
            #"culvert_handshake_duration_seconds_bucket{tunnel="syslog",le="+Inf"} 5"#,
            #"culvert_handshake_duration_seconds_count{tunnel="syslog"} 5"#,
            #"culvert_round_trip_seconds_bucket{tunnel="radius",le="0.05"} 2"#,
        ] { #expect(lines.contains(line), "\(line)") }
        #expect(
            !lines.contains { $0.hasPrefix(#"culvert_flows_limit{tunnel="snmp"}"#) }, "what is not known is left out")
    }

    @Test func `what would end a label is escaped, within what Swift takes for one character as well`() {
        var tunnel = TunnelStatus(name: "a\"b\\c\nd\r\ne\"\u{301}", role: .client, listen: "", forward: "")
        tunnel.dropped = ["new\"reason": 1]
        let text = MetricsText(dropReasons: ["early"]).text(status: BusyDaemon.status(), tunnels: [tunnel])
        #expect(text.contains("culvert_flows{tunnel=\"a\\\"b\\\\c\\nd\r\\ne\\\"\u{301}\"} 0\n"))
        #expect(text.contains(#"reason="new\"reason"} 1"#))
        for line in text.utf8.split(separator: UInt8(ascii: "\n")) {
            let line = String(decoding: line, as: UTF8.self)
            #expect(line.hasPrefix("# ") || line.hasPrefix("culvert_") || line.hasPrefix("process_"), "\(line)")
        }
    }

    @Test func `peers appear only when single associations are asked for`() {
        let usual = busyMetrics()
        #expect(!usual.contains("branch-7") && !usual.contains("192.0.2.7") && !usual.contains("association="))
        let all = busyMetrics(associations: true)
        #expect(
            all.contains(
                #"culvert_association_info{tunnel="radius",association="radius-1-0-4",role="server",mode="plain","#
                    + #"state="established",peer="198.51.100.23:40112",identity="CN=branch-7","#
                    + #"cipher="ECDHE-ECDSA-AES128-GCM-SHA256"} 1"#))
        #expect(all.contains(#"culvert_association_path_mtu_bytes{tunnel="radius",association="radius-1-0-4"} 1400"#))
        #expect(
            all.contains(#"culvert_association_round_trip_seconds{tunnel="radius",association="radius-1-0-4"} 0.0312"#))
        #expect(all.contains("culvert_associations_omitted 0\n"))
    }

    @Test func `of too many associations the first are told, and how many were left out`() {
        let one = BusyDaemon.associations()[4]
        let many = (1...MetricsText.mostAssociations + 3).map { number in
            var copy = one
            copy.id = "coap-2-0-\(number)"
            return copy
        }
        let text = MetricsText(dropReasons: []).text(
            status: BusyDaemon.status(), tunnels: [], associations: Page(items: many, total: many.count))
        #expect(text.contains("culvert_associations_omitted 3\n"))
        let told = text.split(separator: "\n").filter { $0.hasPrefix("culvert_association_info{") }
        #expect(told.count == MetricsText.mostAssociations)
    }

    @Test func `no series and no family is told twice`() {
        let lines = busyMetrics(associations: true).split(separator: "\n")
        let names = lines.filter { !$0.hasPrefix("#") }.map { line in
            line.range(of: " ", options: .backwards).map { line[..<$0.lowerBound] } ?? line
        }
        #expect(Set(names).count == names.count)
        let families = lines.filter { $0.hasPrefix("# TYPE") }
        #expect(Set(families).count == families.count)
    }
}
