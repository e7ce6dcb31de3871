// A UDP relay for one client at a time, in which a test says of every datagram whether it passes.

import Foundation
import Glibc
import Wire

/// Carries datagrams between a client and a server until it is let go.
public final class UDPRelay: Sendable {
    /// Which way a datagram goes.
    public enum Direction: Sendable {
        /// From the client.
        case toServer
        /// To the client.
        case toClient
    }

    /// Where the client has to send.
    public var endpoint: Endpoint { inside.endpoint }
    /// Its port.
    public var port: UInt16 { inside.port }

    private let inside: UDPEndpoint

    /// Relays to `server`; `passes` is asked on the relay's own thread, datagram by datagram in the order of their arrival.
    public init(
        to server: Endpoint, passes: @escaping @Sendable (Direction, [UInt8]) -> Bool
    ) throws {
        let inside = try UDPEndpoint(port: 0)
        let outside = try UDPEndpoint(port: 0)
        self.inside = inside
        Thread { [weak self] in
            var client: Endpoint?
            // As long as somebody holds the relay.
            while self != nil {
                UDPEndpoint.wait(for: [inside, outside], milliseconds: 50)
                while let (datagram, source) = inside.receive() {
                    client = source
                    if passes(.toServer, datagram) { outside.send(datagram, to: server) }
                }
                while let (datagram, _) = outside.receive() {
                    if let client, passes(.toClient, datagram) { inside.send(datagram, to: client) }
                }
            }
        }.start()
    }
}
