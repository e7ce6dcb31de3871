// The command line of culvert-impair: reads the options and starts the proxy.

import ArgumentParser
import Impairment
import LinuxIO
import Wire

@main
struct ImpairCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "culvert-impair",
        abstract: "A UDP proxy that does to datagrams what bad networks do.",
        discussion: """
            Each option applies to both directions. --up (towards --forward) and --down (back to the senders) take a \
            list of the same names and settle one direction, for example --drop 5% --down drop=20%,mtu=576. \
            The same --seed makes the same random choices again. Ends on SIGINT or SIGTERM with its counters.
            """)

    @Option(help: ArgumentHelp("Where to receive; port 0 lets the system choose.", valueName: "address:port"))
    var listen: String

    @Option(help: ArgumentHelp("Where to send what was received.", valueName: "address:port"))
    var forward: String

    @Option(help: "The seed of all random choices.")
    var seed: UInt64 = 1

    @Option(help: ArgumentHelp("Share of datagrams that are lost.", valueName: "20%"))
    var drop: String?

    @Option(
        help: ArgumentHelp(
            "Losses in bursts: the probability that one begins with a datagram and that it ends before the next.",
            valueName: "2%:20%[:100%]"))
    var burst: String?

    @Option(help: ArgumentHelp("Time on the way.", valueName: "30ms"))
    var delay: String?

    @Option(help: ArgumentHelp("Variation of the delay, more or less; keeps the order.", valueName: "10ms"))
    var jitter: String?

    @Option(help: ArgumentHelp("Share of datagrams that arrive twice.", valueName: "5%"))
    var duplicate: String?

    @Option(help: ArgumentHelp("Share of datagrams that are held back, so that later ones overtake.", valueName: "5%"))
    var reorder: String?

    @Option(help: ArgumentHelp("How long they are held back (default: 10ms).", valueName: "10ms"))
    var reorderDelay: String?

    @Option(help: ArgumentHelp("Share of datagrams that have bits flipped.", valueName: "1%"))
    var corrupt: String?

    @Option(help: ArgumentHelp("Bits flipped at most (default: 3).", valueName: "3"))
    var corruptBits: String?

    @Option(help: ArgumentHelp("Rate of the link, over IP packets.", valueName: "10Mbit"))
    var rate: String?

    @Option(help: ArgumentHelp("Bytes that may wait for the link (default: 64KiB).", valueName: "64KiB"))
    var queue: String?

    @Option(help: ArgumentHelp("Largest IP packet that passes, in bytes.", valueName: "1280"))
    var mtu: String?

    @Option(help: ArgumentHelp("Settings of the way towards --forward only.", valueName: "name=value,…"))
    var up: [String] = []

    @Option(help: ArgumentHelp("Settings of the way back only.", valueName: "name=value,…"))
    var down: [String] = []

    @Option(help: ArgumentHelp("Prints the counters each time this has passed.", valueName: "1s"))
    var stats: String?

    @Option(help: ArgumentHelp("Forgets a sender after this time without datagrams.", valueName: "time"))
    var idle: String = "2m"

    @Option(help: "Senders served at a time; the one idle for longest gives way to another.")
    var maxClients: Int = 512

    func validate() throws {
        do { _ = try settings() } catch { throw ValidationError(error.description) }
    }

    func run() throws {
        let proxy = try Proxy(settings())
        print(
            "culvert-impair: listening on \(proxy.listenEndpoint), forwarding to \(forward), seed \(seed)")
        // What is read through a pipe has to be there when the proxy is.
        flushOutput()
        try proxy.run()
    }

    /// All that the options say.
    private func settings() throws(SettingError) -> Proxy.Settings {
        let forwardEndpoint = try endpoint(forward, of: "--forward")
        guard forwardEndpoint.port != 0 else { throw SettingError("--forward needs a port") }
        guard maxClients > 0 else { throw SettingError("--max-clients must be at least 1") }
        let common = try impairment(forwardEndpoint)
        var upwards = common
        var downwards = common
        for list in up { try upwards.set(list: list) }
        for list in down { try downwards.set(list: list) }
        let idle = try duration(idle, of: "--idle")
        let interval = try stats.map { text throws(SettingError) in try duration(text, of: "--stats") }
        guard idle > .zero, interval != .zero else { throw SettingError("--idle and --stats need a time above zero") }
        return Proxy.Settings(
            listen: try endpoint(listen, of: "--listen"), forward: forwardEndpoint, up: upwards, down: downwards,
            seed: seed, idle: idle, maximumClients: maxClients, statistics: interval)
    }

    private func impairment(_ forward: Endpoint) throws(SettingError) -> Impairment {
        // All sizes are those of IP packets: IP and UDP headers of 28 or 48 bytes.
        var impairment = Impairment(headerSize: forward.address.isIPv4 ? 28 : 48)
        let options = [
            ("drop", drop), ("burst", burst), ("delay", delay), ("jitter", jitter), ("duplicate", duplicate),
            ("reorder", reorder), ("reorder-delay", reorderDelay), ("corrupt", corrupt),
            ("corrupt-bits", corruptBits), ("rate", rate), ("queue", queue), ("mtu", mtu),
        ]
        for case (let name, let value?) in options { try impairment.set(name, to: value) }
        return impairment
    }

    private func endpoint(_ text: String, of option: String) throws(SettingError) -> Endpoint {
        guard let endpoint = Endpoint(text) else {
            throw SettingError("'\(text)' is no address for \(option); write for example 127.0.0.1:7000 or [::1]:7000")
        }
        return endpoint
    }
}
