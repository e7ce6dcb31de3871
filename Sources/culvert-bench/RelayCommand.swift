// `culvert-bench relay`: one relay of the plaintext pair, usable by itself.

import ArgumentParser
import Wire

struct RelayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "relay",
        abstract: "Carries UDP datagrams in plaintext, on culvert's I/O engine.",
        discussion: "Prints the address it listens on. Ends on SIGINT or SIGTERM.")

    @Option(help: ArgumentHelp("Where to receive; port 0 lets the system choose.", valueName: "address:port"))
    var listen: String

    @Option(help: ArgumentHelp("Where to send what was received.", valueName: "address:port"))
    var forward: String

    func run() throws {
        guard let listen = Endpoint(listen), let forward = Endpoint(forward) else {
            throw ValidationError("an address looks like 127.0.0.1:7000 or [::1]:7000")
        }
        let relay = try Relay(listen: listen, forward: forward)
        say(relay.listenEndpoint.description)
        try relay.run()
    }
}
