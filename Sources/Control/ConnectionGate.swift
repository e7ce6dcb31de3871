// Bounds how many clients are connected at a time: while the house is full, nothing is accepted and newcomers wait in the
// socket's backlog. When the listening channel closes, it closes every connection. Runs on the event loop only.

internal import NIOCore

/// A handler for the listening channel.
final class ConnectionGate: ChannelDuplexHandler {
    typealias InboundIn = any Channel
    typealias InboundOut = any Channel
    typealias OutboundIn = Never
    typealias OutboundOut = Never

    private let limit: Int
    private var connections: [ObjectIdentifier: any Channel] = [:]
    private var readIsWaiting = false

    init(limit: Int) {
        self.limit = max(1, limit)
    }

    func read(context: ChannelHandlerContext) {
        guard connections.count < limit else {
            readIsWaiting = true
            return
        }
        context.read()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let connection = unwrapInboundIn(data)
        let key = ObjectIdentifier(connection)
        connections[key] = connection
        // Every connection is on the listening channel's loop, because the group has only that one.
        connection.closeFuture.assumeIsolated().whenComplete { _ in
            self.connections[key] = nil
            guard self.readIsWaiting else { return }
            self.readIsWaiting = false
            context.read()
        }
        context.fireChannelRead(data)
    }

    func channelInactive(context: ChannelHandlerContext) {
        readIsWaiting = false
        for connection in connections.values { connection.close(promise: nil) }
        context.fireChannelInactive()
    }
}
