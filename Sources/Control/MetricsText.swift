// The daemon's figures in Prometheus' text exposition format, version 0.0.4. Names and units follow Prometheus' conventions:
// base units, counters that end in `_total`. docs/METRICS.md lists them; the dashboard and the alert rules depend on them, so
// none is renamed or given another meaning. The label sets are bounded by the config: a stranger must never be able to add
// a series. What peers choose (addresses, identities) appears in the figures of single associations only, which are
// written on request, and no more than `mostAssociations` of them.

internal import FoundationEssentials

/// Writes metrics.
public struct MetricsText: Sendable {
    /// The most associations whose figures are written; `culvert_associations_omitted` tells how many more there are.
    public static let mostAssociations = PageQuery.highestLimit

    /// Drop reasons that are written even while their count is zero, so that the first drop is seen as an increase.
    private let reasons: [String]

    /// A writer that knows the names of all `dropReasons`. Reasons beyond those are written once they have a count.
    public init(dropReasons: [String]) { reasons = dropReasons.sorted() }

    /// The media type of what `text` gives.
    public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// All metrics of the daemon and its tunnels, and of each of `associations` where that is not nil.
    public func text(
        status: DaemonStatus, tunnels: [TunnelStatus], associations: Page<AssociationStatus>? = nil
    ) -> String {
        var writer = MetricsWriter()
        writeDaemon(status, to: &writer)
        writeStates(of: tunnels, to: &writer)
        writeTraffic(of: tunnels, to: &writer)
        writeHandshakes(of: tunnels, to: &writer)
        if let associations { write(associations, to: &writer) }
        return writer.text
    }

    /// All metrics of a source, which is asked for them one after the other. `give` is called once, from any thread.
    public func text(
        from source: some ControlSource, associations: Bool, _ give: @escaping @Sendable (String) -> Void
    ) {
        source.status { status in
            source.tunnels { tunnels in
                guard associations else { return give(text(status: status, tunnels: tunnels)) }
                source.associations(PageQuery(limit: Self.mostAssociations)) { page in
                    give(text(status: status, tunnels: tunnels, associations: page))
                }
            }
        }
    }

    // MARK: The daemon

    private func writeDaemon(_ status: DaemonStatus, to writer: inout MetricsWriter) {
        writer.family("culvert_build_info", .gauge, "The versions of the program and of OpenSSL; always 1.")
        writer.sample([("version", status.version), ("openssl", status.openSSL)], 1)
        writer.gauge(
            "culvert_start_time_seconds", "When the daemon was ready first, in seconds since 1970.",
            status.startedAt.timeIntervalSince1970)
        writer.gauge("culvert_ready", "Whether every tunnel can do its work.", status.ready ? 1 : 0)
        writer.gauge("culvert_draining", "Whether the daemon takes on nothing new.", status.draining ? 1 : 0)
        writer.gauge("culvert_workers", "Threads that carry datagrams.", Double(status.workers))
        writer.gauge(
            "process_start_time_seconds", "When the process started, in seconds since 1970.",
            status.startedAt.timeIntervalSince1970)
        if let seconds = status.cpuSeconds {
            writer.family("process_cpu_seconds_total", .counter, "CPU time used, in seconds.")
            writer.sample([], seconds)
        }
        if let bytes = status.memoryBytes {
            writer.gauge("process_resident_memory_bytes", "Resident memory in bytes.", Double(bytes))
        }
        if let files = status.openFiles {
            writer.gauge("process_open_fds", "Open file descriptors.", Double(files))
        }
        if let files = status.maximumOpenFiles {
            writer.gauge("process_max_fds", "How many file descriptors may be open.", Double(files))
        }
    }

    // MARK: Tunnels

    private func writeStates(of tunnels: [TunnelStatus], to writer: inout MetricsWriter) {
        writer.family("culvert_tunnel_info", .gauge, "What the config says of the tunnel; always 1.")
        for tunnel in tunnels {
            writer.sample(
                [
                    ("tunnel", tunnel.name), ("role", tunnel.role.rawValue), ("listen", tunnel.listen),
                    ("forward", tunnel.forward), ("service", tunnel.service), ("sharing", tunnel.sharing.rawValue),
                ], 1)
        }
        writer.family("culvert_tunnel_up", .gauge, "Whether at least one association is established.")
        for tunnel in tunnels { writer.sample([("tunnel", tunnel.name)], tunnel.state == .up ? 1 : 0) }
        writer.family("culvert_tunnel_state", .gauge, "1 for the state that the tunnel is in, 0 for the others.")
        for tunnel in tunnels {
            for state in [TunnelStatus.State.up, .connecting, .idle, .down] {
                writer.sample([("tunnel", tunnel.name), ("state", state.rawValue)], tunnel.state == state ? 1 : 0)
            }
        }
        writer.family("culvert_tunnel_mode", .gauge, "1 for the mode that datagrams travel in, 0 for the other.")
        for tunnel in tunnels {
            for mode in [AssociationStatus.Mode.plain, .shared] {
                writer.sample([("tunnel", tunnel.name), ("mode", mode.rawValue)], tunnel.mode == mode ? 1 : 0)
            }
        }
        writer.family("culvert_tunnel_service_refused", .gauge, "Whether the peer refuses the tunnel's service.")
        for tunnel in tunnels { writer.sample([("tunnel", tunnel.name)], tunnel.serviceRefused == nil ? 0 : 1) }
        writer.family("culvert_associations", .gauge, "Associations by state.")
        for tunnel in tunnels {
            for state in AssociationStatus.State.allInOrder {
                writer.sample(
                    [("tunnel", tunnel.name), ("state", state)], Double(tunnel.associations[state] ?? 0))
            }
        }
        writer.perTunnel("culvert_flows", .gauge, "Flows.", tunnels) { Double($0.flows) }
        writer.perTunnel("culvert_flows_limit", .gauge, "The most flows that the tunnel takes on.", tunnels) {
            $0.limits.map { Double($0.flows) }
        }
        writer.perTunnel(
            "culvert_associations_limit", .gauge, "The most associations that the tunnel takes on.", tunnels
        ) { $0.limits.map { Double($0.associations) } }
        writer.perTunnel(
            "culvert_handshakes_limit", .gauge, "The most handshakes under way that the tunnel takes on.", tunnels
        ) { $0.limits.map { Double($0.handshakes) } }
        writer.perTunnel(
            "culvert_certificate_expiry_timestamp_seconds", .gauge,
            "The last moment at which this end's certificate is valid, in seconds since 1970.", tunnels
        ) { $0.certificate?.notAfter.timeIntervalSince1970 }
    }

    private func writeTraffic(of tunnels: [TunnelStatus], to writer: inout MetricsWriter) {
        writer.family("culvert_datagrams_total", .counter, "Application datagrams carried, out being to the peer.")
        for tunnel in tunnels { writer.counts([("tunnel", tunnel.name)], tunnel.datagrams) }
        writer.family("culvert_bytes_total", .counter, "Payload of the datagrams carried, in bytes.")
        for tunnel in tunnels { writer.counts([("tunnel", tunnel.name)], tunnel.bytes) }
        writer.family(
            "culvert_received_datagrams_total", .counter,
            "Datagrams that came, in from peers whatever they held, out from applications.")
        for tunnel in tunnels { writer.counts([("tunnel", tunnel.name)], tunnel.received) }
        writer.perTunnel("culvert_records_total", .counter, "Records in the datagrams from peers.", tunnels) {
            Double($0.records)
        }
        writer.perTunnel(
            "culvert_control_records_total", .counter, "Records that carried no datagram but the protocol itself.",
            tunnels
        ) { Double($0.controlRecords) }
        writer.family("culvert_drops_total", .counter, "Datagrams that went no further, by reason.")
        for tunnel in tunnels { writer.drops([("tunnel", tunnel.name)], tunnel.dropped, always: reasons) }
        writer.perTunnel(
            "culvert_evictions_total", .counter, "Flows and handshakes that gave way to others at a limit.", tunnels
        ) { Double($0.evictions) }
        writer.perTunnel(
            "culvert_heartbeats_lost_total", .counter, "Heartbeat requests to which no answer came.", tunnels
        ) { Double($0.heartbeatsLost) }
    }

    private func writeHandshakes(of tunnels: [TunnelStatus], to writer: inout MetricsWriter) {
        writer.family("culvert_handshakes_total", .counter, "Handshakes by how they ended.")
        for tunnel in tunnels {
            writer.sample([("tunnel", tunnel.name), ("result", "completed")], Double(tunnel.handshakes))
            writer.sample([("tunnel", tunnel.name), ("result", "failed")], Double(tunnel.failedHandshakes))
        }
        writer.family(
            "culvert_handshake_duration_seconds", .histogram, "How long handshakes took that were completed.")
        for tunnel in tunnels { writer.histogram([("tunnel", tunnel.name)], tunnel.handshakeSeconds) }
        writer.family("culvert_round_trip_seconds", .histogram, "Round-trip times that heartbeats measured.")
        for tunnel in tunnels { writer.histogram([("tunnel", tunnel.name)], tunnel.roundTripSeconds) }
    }

    // MARK: Associations

    private func write(_ page: Page<AssociationStatus>, to writer: inout MetricsWriter) {
        let list = page.items.prefix(Self.mostAssociations)
        writer.gauge(
            "culvert_associations_omitted", "Associations of which no figures follow, because there are too many.",
            Double(max(page.total - list.count, 0)))
        writer.family("culvert_association_info", .gauge, "What the association is; always 1.")
        for one in list {
            writer.sample(
                Self.labels(one) + [
                    ("role", one.role.rawValue), ("mode", one.mode.rawValue), ("state", one.state.rawValue),
                    ("peer", one.peerAddress), ("identity", one.peerIdentity ?? ""), ("cipher", one.cipher ?? ""),
                ], 1)
        }
        writer.family("culvert_association_datagrams_total", .counter, "Application datagrams carried.")
        for one in list { writer.counts(Self.labels(one), one.datagrams) }
        writer.family("culvert_association_bytes_total", .counter, "Payload of the datagrams carried, in bytes.")
        for one in list { writer.counts(Self.labels(one), one.bytes) }
        let account: [(String, String, @Sendable (AssociationStatus) -> Double?)] = [
            ("offered_datagrams_total", "Datagrams that were to be sent to the peer.", { Double($0.offered) }),
            ("records_total", "Records that came from the peer.", { Double($0.records) }),
            (
                "control_records_total", "Records that carried no data but the protocol itself.",
                { Double($0.controlRecords) }
            ),
        ]
        for (name, help, value) in account { writer.perAssociation(name, .counter, help, list, value) }
        writer.family("culvert_association_drops_total", .counter, "Datagrams that went no further, by reason.")
        for one in list { writer.drops(Self.labels(one), one.dropped, always: []) }
        let gauges: [(String, String, @Sendable (AssociationStatus) -> Double?)] = [
            (
                "established_timestamp_seconds", "When the handshake was done, in seconds since 1970.",
                { $0.establishedAt?.timeIntervalSince1970 }
            ),
            ("handshake_seconds", "How long the handshake took.", { $0.handshakeMilliseconds.map { $0 / 1000 } }),
            ("flows", "Flows that use it.", { Double($0.flows) }),
            ("round_trip_seconds", "The last round-trip time.", { $0.heartbeat?.roundTrip.map { $0.last / 1000 } }),
            ("path_mtu_bytes", "The largest IP packet that the path carries.", { $0.pathMTU.map { Double($0.out) } }),
            (
                "max_datagram_bytes", "The largest datagram that goes in one packet.",
                { $0.pathMTU.map { Double($0.maximumDatagram) } }
            ),
        ]
        for (name, help, value) in gauges { writer.perAssociation(name, .gauge, help, list, value) }
        writer.perAssociation("rekeys_total", .counter, "New handshakes that replaced the keys.", list) {
            Double($0.rekeys)
        }
        writer.perAssociation("heartbeats_sent_total", .counter, "Heartbeat requests sent.", list) {
            $0.heartbeat.map { Double($0.sent) }
        }
        writer.perAssociation("heartbeats_lost_total", .counter, "Heartbeat requests without answer.", list) {
            $0.heartbeat.map { Double($0.lost) }
        }
    }

    fileprivate static func labels(_ association: AssociationStatus) -> [(String, String)] {
        [("tunnel", association.tunnel), ("association", association.id)]
    }
}

extension AssociationStatus.State {
    fileprivate static let allInOrder = [Self.resolving, .handshaking, .established, .reconnecting, .idle].map(
        \.rawValue)
}

/// Puts the text together: families, and the samples of the one that was begun last.
private struct MetricsWriter {
    enum Kind: String { case counter, gauge, histogram }

    private(set) var text = ""
    private var name = ""

    /// Begins a family; its samples follow.
    mutating func family(_ name: String, _ kind: Kind, _ help: String) {
        self.name = name
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind.rawValue)\n"
    }

    mutating func gauge(_ name: String, _ help: String, _ value: Double) {
        family(name, .gauge, help)
        sample([], value)
    }

    mutating func sample(_ labels: [(String, String)], _ value: Double, suffix: String = "") {
        text += name
        text += suffix
        if !labels.isEmpty {
            var separator = "{"
            for (label, value) in labels {
                text += separator
                text += label
                text += "=\""
                append(escaped: value)
                text += "\""
                separator = ","
            }
            text += "}"
        }
        text += " "
        append(value)
        text += "\n"
    }

    mutating func counts(_ labels: [(String, String)], _ count: AssociationStatus.Count) {
        sample(labels + [("direction", "in")], Double(count.in))
        sample(labels + [("direction", "out")], Double(count.out))
    }

    mutating func drops(_ labels: [(String, String)], _ counts: [String: UInt64], always: [String]) {
        for reason in always { sample(labels + [("reason", reason)], Double(counts[reason] ?? 0)) }
        for (reason, count) in counts.sorted(by: { $0.key < $1.key }) where !always.contains(reason) {
            sample(labels + [("reason", reason)], Double(count))
        }
    }

    mutating func histogram(_ labels: [(String, String)], _ histogram: Histogram) {
        for bucket in histogram.buckets {
            sample(labels + [("le", Self.number(bucket.upperBound))], Double(bucket.count), suffix: "_bucket")
        }
        sample(labels + [("le", "+Inf")], Double(histogram.count), suffix: "_bucket")
        sample(labels, histogram.sum, suffix: "_sum")
        sample(labels, Double(histogram.count), suffix: "_count")
    }

    /// One sample for each tunnel that has a value.
    mutating func perTunnel(
        _ name: String, _ kind: Kind, _ help: String, _ tunnels: [TunnelStatus], _ value: (TunnelStatus) -> Double?
    ) {
        family(name, kind, help)
        for tunnel in tunnels { value(tunnel).map { sample([("tunnel", tunnel.name)], $0) } }
    }

    /// One sample for each association that has a value.
    mutating func perAssociation(
        _ name: String, _ kind: Kind, _ help: String, _ list: ArraySlice<AssociationStatus>,
        _ value: (AssociationStatus) -> Double?
    ) {
        family("culvert_association_\(name)", kind, help)
        for one in list { value(one).map { sample(MetricsText.labels(one), $0) } }
    }

    private mutating func append(_ value: Double) { text += Self.number(value) }

    /// A number as the format wants it; whole ones without a fraction.
    private static func number(_ value: Double) -> String {
        guard value.isFinite else { return value.isNaN ? "NaN" : value < 0 ? "-Inf" : "+Inf" }
        return Int64(exactly: value).map(String.init) ?? "\(value)"
    }

    /// A label's value: the format knows three escapes. Byte by byte, because a line feed or a quotation mark may be a part
    /// of what Swift takes for one character.
    private mutating func append(escaped value: String) {
        guard value.utf8.contains(where: { $0 == UInt8(ascii: "\\") || $0 == UInt8(ascii: "\"") || $0 == 0x0a })
        else { return text += value }
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\\": text += "\\\\"
            case "\"": text += "\\\""
            case "\n": text += "\\n"
            default: text.unicodeScalars.append(scalar)
            }
        }
    }
}
