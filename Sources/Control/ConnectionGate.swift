// Bounds how many clients are connected at a time: while there are as many as there may be, nothing is accepted and
// newcomers wait in the socket's backlog. They also wait while the system has no file descriptor for them: trying again
// at once would fail again, and never end. When the listening channel closes, it closes every connection. Runs on the
// event loop only.

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
    private var isPausing = false

    init(limit: Int) {
        self.limit = max(1, limit)
    }

    func read(context: ChannelHandlerContext) {
        guard connections.count < limit, !isPausing else {
            readIsWaiting = true
            return
        }
        context.read()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.fireErrorCaught(error)
        guard !isPausing else { return }
        isPausing = true
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.pause) {
            self.isPausing = false
            self.resume(context)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let connection = unwrapInboundIn(data)
        let key = ObjectIdentifier(connection)
        connections[key] = connection
        // Every connection is on the listening channel's loop, because the group has only that one.
        connection.closeFuture.assumeIsolated().whenComplete { _ in
            self.connections[key] = nil
            self.resume(context)
        }
        context.fireChannelRead(data)
    }

    private func resume(_ context: ChannelHandlerContext) {
        guard readIsWaiting else { return }
        readIsWaiting = false
        read(context: context)
    }

    /// How long to wait after the system has refused to accept.
    private static let pause = TimeAmount.milliseconds(500)

    func channelInactive(context: ChannelHandlerContext) {
        readIsWaiting = false
        for connection in connections.values {
            connection.pipeline.fireUserInboundEventTriggered(ServerStopping())
            connection.close(promise: nil)
        }
        context.fireChannelInactive()
    }
}
