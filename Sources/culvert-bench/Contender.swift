// The ways to carry a datagram that are compared, each as a running pair of processes on loopback. All of them are
// ended by their process ids when the contender goes. Nothing here is on a measured path.

import ArgumentParser
import FoundationEssentials
import LinuxIO
import Wire

/// One way from the sender to the sink.
enum ContenderKind: String, CaseIterable, Codable, ExpressibleByArgument {
    /// Straight to the sink: what the machine and the measurement themselves allow.
    case direct
    /// Two plaintext relays on culvert's I/O engine: the limit for a tunnel.
    case relay
    /// Two culvert daemons.
    case culvert
    /// Two daemons of another build, to compare with.
    case baseline
    /// Two socat processes with its DTLS addresses.
    case socat
}

/// What ended a measurement, in words for the user.
struct BenchError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// A contender, started and ready.
final class Contender {
    let kind: ContenderKind
    /// The one flow that all of its trials use.
    let sender: Sender
    /// Where its datagrams go in.
    let entry: Endpoint
    private let processes: [ChildProcess]

    /// Starts the processes of a contender and waits until they carry datagrams to the sink.
    init(_ kind: ContenderKind, sink: Sink, workspace: Workspace) throws {
        self.kind = kind
        // Now and then two socat 1.7.4 never establish an association: in 2 of 12 starts nothing arrived within 6 s.
        var attempts = kind == .socat ? 8 : 1
        while true {
            let (processes, entry) = try Self.start(kind, sink: sink, workspace: workspace)
            let sender = try Sender(to: entry)
            if try sender.reaches(sink, through: processes, seconds: kind == .socat ? 2 : 15) {
                self.sender = sender
                self.entry = entry
                self.processes = processes
                return
            }
            attempts -= 1
            guard attempts > 0 else { throw BenchError("no datagram came through") }
        }
    }

    /// CPU time in nanoseconds that its processes have used so far, all threads and children.
    var cpuTime: Int { culvert_bench.cpuTime(of: processes.map(\.pid)) }

    /// Whether all of its processes run.
    var isRunning: Bool { processes.allSatisfy(\.isRunning) }

    private static func start(
        _ kind: ContenderKind, sink: Sink, workspace: Workspace
    ) throws -> ([ChildProcess], Endpoint) {
        switch kind {
        case .direct: ([], sink.endpoint)
        case .relay: try workspace.startRelays(to: sink.endpoint)
        case .culvert, .baseline:
            try workspace.start(
                DaemonPair(name: kind.rawValue, program: workspace.program(of: kind)), to: sink.endpoint)
        case .socat: try workspace.startSocat(to: sink.endpoint)
        }
    }
}
