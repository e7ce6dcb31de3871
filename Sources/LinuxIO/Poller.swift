// Waits until descriptors can be read: epoll, level-triggered, with timeouts to the nanosecond where the kernel has
// them. Nothing waits until it can write: what a socket has no room for is dropped and counted.

internal import CLinux
internal import Glibc

/// A set of descriptors and a way to wait for any of them. Not Sendable: one per worker.
@safe public final class Poller {
    /// Within `wait`'s body: whether the descriptor has an error waiting, such as a socket's path errors.
    public private(set) var hasError = false

    private let epoll: OwnedDescriptor
    private let events: UnsafeMutablePointer<epoll_event>
    private let capacity: Int
    private var hasNanoseconds = true

    /// Makes an empty set; one wait reports at most `capacity` descriptors.
    public init(capacity: Int = 256) throws(SystemError) {
        precondition(capacity > 0)
        epoll = try OwnedDescriptor(epoll_create1(CInt(EPOLL_CLOEXEC)), "epoll_create1")
        self.capacity = capacity
        unsafe events = .allocate(capacity: capacity)
        unsafe events.initialize(repeating: epoll_event(), count: capacity)
    }

    deinit { unsafe events.deallocate() }

    /// Waits for `descriptor` too, and reports it as `token` while there is something to read or an error. A descriptor leaves
    /// the set when it is closed, which for a socket that a `SendBatch` still holds is at the batch's next flush.
    public func add(_ descriptor: CInt, token: UInt64) throws(SystemError) {
        try control(EPOLL_CTL_ADD, descriptor, token, EPOLLIN.rawValue)
    }

    /// Like ``add(_:token:)``, but reports only an error, or that the other end has gone, and not that there is
    /// something to read.
    public func addForErrors(_ descriptor: CInt, token: UInt64) throws(SystemError) {
        try control(EPOLL_CTL_ADD, descriptor, token, 0)
    }

    /// Takes a descriptor out of the set.
    public func remove(_ descriptor: CInt) throws(SystemError) {
        try control(EPOLL_CTL_DEL, descriptor, 0, 0)
    }

    /// Waits until a descriptor is ready or the time is over, and calls `body` with the token of each that is ready.
    ///
    /// `nanoseconds` nil waits for ever, 0 or less does not wait. It may return early with 0, on a signal.
    /// A timeout never ends too early. The tokens are those of the moment of the wait: `body` may see one whose
    /// descriptor it has itself removed.
    /// - Returns: how many descriptors were ready.
    @discardableResult
    public func wait(nanoseconds: Int64?, _ body: (UInt64) -> Void) throws(SystemError) -> Int {
        let result = poll(nanoseconds.map { max($0, 0) } ?? -1)
        if result == -EINTR { return 0 }
        guard result >= 0 else { throw SystemError(-result, "epoll_wait") }
        for index in 0..<Int(result) {
            hasError = unsafe events[index].events & EPOLLERR.rawValue != 0
            body(unsafe events[index].data.u64)
        }
        return Int(result)
    }

    private func poll(_ nanoseconds: Int64) -> CInt {
        if hasNanoseconds {
            let result = unsafe culvert_epoll_wait(epoll.rawValue, events, CInt(capacity), nanoseconds)
            // EPERM is what an older seccomp filter returns for a system call that it does not know.
            guard result == -ENOSYS || result == -EPERM else { return result }
            hasNanoseconds = false
        }
        let result = unsafe epoll_wait(
            epoll.rawValue, events, CInt(capacity), Self.milliseconds(nanoseconds))
        return result < 0 ? -errno : result
    }

    /// Rounded up, since a timeout that ends early makes its waiter spin.
    static func milliseconds(_ nanoseconds: Int64) -> CInt {
        guard nanoseconds > 0 else { return nanoseconds < 0 ? -1 : 0 }
        return CInt(clamping: (nanoseconds - 1) / 1_000_000 + 1)
    }

    private func control(
        _ operation: CInt, _ descriptor: CInt, _ token: UInt64, _ interest: UInt32
    ) throws(SystemError) {
        var event = unsafe epoll_event()
        unsafe event.events = interest
        unsafe event.data.u64 = token
        guard unsafe epoll_ctl(epoll.rawValue, operation, descriptor, &event) == 0 else { throw .last("epoll_ctl") }
    }
}
