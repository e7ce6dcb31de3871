// What can only be seen by looking at all tunnels together: names given twice, clashing ports, loops.

public import Wire

/// Checks between tunnels.
enum TunnelChecks {
    static func run(_ tunnels: [TunnelOutline], log: DiagnosticLog) {
        checkNames(tunnels, log: log)
        checkPorts(tunnels, log: log)
        checkLoops(tunnels, log: log)
    }

    private static func checkNames(_ tunnels: [TunnelOutline], log: DiagnosticLog) {
        var first: [String: SourceLocation] = [:]
        for name in tunnels.compactMap(\.name) {
            if let place = first[name.value] {
                log.error("a tunnel named '\(name.value)' exists already, at \(place)", at: name.location)
            } else {
                first[name.value] = name.location
            }
        }
    }

    private static func checkPorts(_ tunnels: [TunnelOutline], log: DiagnosticLog) {
        var seen: [UInt16: [(owner: String, listen: Located<Endpoint>, role: TunnelSettings.Role?)]] = [:]
        for tunnel in tunnels {
            guard let listen = tunnel.listen else { continue }
            let port = listen.value.port
            let other = seen[port]?.first { other in
                // Tunnels on one dtls:// address are its services.
                let areServices = other.role == .server && tunnel.role == .server
                return other.listen.value.overlaps(listen.value) && !(areServices && other.listen.value == listen.value)
            }
            if let other {
                let owner = "by \(other.owner) at \(other.listen.location)"
                let message =
                    other.listen.value == listen.value
                    ? "\(listen.value) is already taken \(owner)"
                    : "\(listen.value) overlaps with \(other.listen.value), taken \(owner)"
                log.error(message, at: listen.location)
            }
            let owner = tunnel.name.map { "tunnel '\($0.value)'" } ?? "a tunnel"
            seen[port, default: []].append((owner, listen, tunnel.role))
        }
    }

    /// Follows each tunnel's `forward` to the tunnel that listens there. Datagrams must leave culvert in the end.
    private static func checkLoops(_ tunnels: [TunnelOutline], log: DiagnosticLog) {
        let byPort = Dictionary(
            grouping: tunnels.indices.filter { tunnels[$0].listen != nil }, by: { tunnels[$0].listen?.value.port })
        let next = tunnels.map { tunnel in
            tunnel.forward.flatMap { forward in
                byPort[forward.value.port]?.first {
                    tunnels[$0].listen.map { reaches(forward.value, $0.value) } ?? false
                }
            }
        }
        var isDone = [Bool](repeating: false, count: tunnels.count)
        for start in tunnels.indices where !isDone[start] {
            var path: [Int] = []
            var current: Int? = start
            while let tunnel = current, !isDone[tunnel] {
                isDone[tunnel] = true
                path.append(tunnel)
                current = next[tunnel]
            }
            guard let end = current, let begin = path.firstIndex(of: end), let forward = tunnels[end].forward else {
                continue
            }
            let loop = path[begin...]
            if loop.count == 1 {
                log.error("'forward' leads back to the tunnel's own 'listen' address", at: forward.location)
            } else {
                let names = loop.map { tunnels[$0].name.map { "'\($0.value)'" } ?? "unnamed" }.joined(separator: ", ")
                log.error("these tunnels forward to each other in a circle: \(names)", at: forward.location)
            }
        }
    }

    /// Whether a datagram sent to `address` arrives at a socket bound to `listen`, as far as one can tell without
    /// resolving names.
    private static func reaches(_ address: TransportAddress, _ listen: Endpoint) -> Bool {
        guard address.port == listen.port else { return false }
        let targets: [IPAddress] =
            switch address.host {
            case .name("localhost"): [.loopbackIPv4, .loopbackIPv6]
            case .name: []
            case .address(.anyIPv4): [.loopbackIPv4]
            case .address(.anyIPv6): [.loopbackIPv6]
            case .address(let numeric): [numeric]
            }
        return targets.contains { target in
            if target == listen.address { return true }
            guard listen.address.isUnspecified, target.isLoopback else { return false }
            return listen.address == .anyIPv6 || target.isIPv4
        }
    }
}

extension Endpoint {
    /// Whether sockets cannot be bound to both at a time. `[::]` takes IPv4 as well.
    public func overlaps(_ other: Endpoint) -> Bool {
        func covers(_ wide: IPAddress, _ other: IPAddress) -> Bool {
            wide == other || wide == .anyIPv6 || wide == .anyIPv4 && other.isIPv4
        }
        return port == other.port && (covers(address, other.address) || covers(other.address, address))
    }
}
