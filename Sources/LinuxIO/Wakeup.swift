// Wakes a worker that waits in its Poller: an eventfd. The only thing here that other threads may call.

internal import CLinux
internal import Glibc

/// A bell that any thread may ring and one `Poller` waits for.
public final class Wakeup: Sendable {
    private let event: OwnedDescriptor

    /// Makes a bell that has not been rung.
    public init() throws(SystemError) {
        event = try OwnedDescriptor(
            eventfd(0, CInt(EFD_NONBLOCK | EFD_CLOEXEC)), "eventfd")
    }

    /// The file descriptor, for a `Poller`; readable once rung.
    public var descriptor: CInt { event.rawValue }

    /// Rings. Several rings before a `drain` count as one.
    public func signal() {
        var one: UInt64 = 1
        // It can only fail when the counter is full, and then the bell is ringing already.
        _ = unsafe write(event.rawValue, &one, MemoryLayout<UInt64>.size)
    }

    /// Waits for the ringing. It may return without it, on a signal.
    public func wait() {
        var events = pollfd(fd: event.rawValue, events: Int16(POLLIN), revents: 0)
        _ = unsafe poll(&events, 1, -1)
    }

    /// Stops the ringing; call it before looking at what the ring was for.
    public func drain() {
        var count: UInt64 = 0
        _ = unsafe read(event.rawValue, &count, MemoryLayout<UInt64>.size)
    }
}
