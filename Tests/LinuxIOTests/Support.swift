// What the tests share: bounded waits, datagrams as arrays, and a network of their own with a small MTU.

import Glibc
import LinuxIO
import Synchronization
import Wire

struct Arrival: Equatable {
    var bytes: [UInt8]
    var source: Endpoint
    var destination: IPAddress
}

struct Failure: Equatable {
    var token: UInt64
    var datagrams: Int
    var code: CInt
}

struct TimedOut: Error {
    var arrived: Int
}

/// `count` bytes that tell datagrams apart.
func pattern(_ count: Int, seed: Int = 0) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ seed &* 7 &+ 1) }
}

func bytes(of span: borrowing MutableRawSpan) -> [UInt8] {
    unsafe span.withUnsafeBytes { unsafe Array($0) }
}

/// Waits, for five seconds at most, until `count` datagrams have come.
func collect(
    _ count: Int, from socket: UDPSocket, by batch: ReceiveBatch = ReceiveBatch(), sentBy sender: Endpoint? = nil
) throws -> [Arrival] {
    let poller = try Poller()
    try poller.add(socket.descriptor, token: 0)
    var arrivals: [Arrival] = []
    let deadline = MonotonicClock.now + 5_000_000_000
    while arrivals.count < count {
        if case .received = batch.receive(from: socket) {
            batch.forEachDatagram { datagram, source, destination in
                // Another test may still be sending to who had this port before.
                guard sender == nil || source == sender else { return }
                arrivals.append(Arrival(bytes: bytes(of: datagram), source: source, destination: destination))
            }
            continue
        }
        let left = deadline - MonotonicClock.now
        guard left > 0 else { throw TimedOut(arrived: arrivals.count) }
        try poller.wait(nanoseconds: left) { _ in }
    }
    return arrivals
}

extension SendBatch {
    @discardableResult
    func append(
        _ bytes: [UInt8], on socket: UDPSocket, to destination: Endpoint? = nil, from source: IPAddress? = nil,
        token: UInt64 = 0
    ) -> Bool {
        unsafe append(bytes.span.bytes, on: socket, to: destination, from: source, token: token)
    }

    func flush() -> [Failure] {
        var failures: [Failure] = []
        flush { token, datagrams, code in failures.append(Failure(token: token, datagrams: datagrams, code: code)) }
        return failures
    }
}

let loopback4 = Endpoint(address: .loopbackIPv4, port: 0)
let loopback6 = Endpoint(address: .loopbackIPv6, port: 0)

/// A loopback address that no other test uses, with no port.
func loopbackOfItsOwn() -> Endpoint {
    Endpoint(address: IPAddress(ipv4: 0x7f00_0000 | .random(in: 0x0001_0000...0x00ff_fffe)), port: 0)
}

/// A loopback endpoint that nobody listens on: it was bound a moment ago.
func deserted() throws -> Endpoint {
    try UDPSocket.bound(to: loopbackOfItsOwn()).localEndpoint
}

// MARK: - A network of its own

/// Whether this process may make network namespaces.
let mayUnshare: Bool = (try? inNamespace(mtu: 1500) { true }) ?? false

/// Whether `ip` can be run.
let hasIproute: Bool = (try? run("ip", "-Version")) != nil

/// Runs a program in the calling thread's namespaces, and waits for it for five seconds at most.
func run(_ arguments: String...) throws {
    let program = try ChildProcess(arguments, output: "/dev/null")
    let deadline = MonotonicClock.now + 5_000_000_000
    while program.isRunning {
        guard MonotonicClock.now < deadline else { throw TimedOut(arrived: 0) }
        usleep(1000)
    }
    program.end()
}

/// Runs `body` on a thread whose only interface is a loopback of the given MTU.
func inNamespace<Result: Sendable>(
    mtu: CInt, _ body: @escaping @Sendable () throws -> Result
) throws -> Result {
    let outcome = Outcome<Result>()
    try NativeThread.start(name: "namespace") {
        outcome.set(
            Swift.Result {
                try enterNamespace(mtu: mtu)
                return try body()
            })
    }.join()
    return try outcome.get()
}

private final class Outcome<Value: Sendable>: Sendable {
    private let result = Mutex<Result<Value, any Error>?>(nil)

    func set(_ value: sending Result<Value, any Error>) {
        result.withLock { $0 = value }
    }

    func get() throws -> Value {
        guard let result = result.withLock({ $0 }) else { throw SystemError(ESRCH, "thread") }
        return try result.get()
    }
}

private func enterNamespace(mtu: CInt) throws {
    // unshare(2) is declared under _GNU_SOURCE only.
    typealias Unshare = @convention(c) (CInt) -> CInt
    guard let symbol = unsafe dlsym(nil, "unshare") else { throw SystemError(ENOSYS, "dlsym") }
    let cloneNetwork: CInt = 0x4000_0000
    guard unsafe unsafeBitCast(symbol, to: Unshare.self)(cloneNetwork) == 0 else { throw SystemError(errno, "unshare") }
    let control = socket(AF_INET, CInt(SOCK_DGRAM.rawValue), 0)
    defer { close(control) }
    // struct ifreq: 16 bytes of name, then the value.
    func request(_ number: UInt, _ value: CInt) throws {
        var ifreq = [UInt8](repeating: 0, count: 40)
        ifreq.replaceSubrange(0..<2, with: "lo".utf8)
        unsafe withUnsafeBytes(of: value) { unsafe ifreq.replaceSubrange(16..<20, with: $0) }
        let result = unsafe ioctl(control, number, &ifreq)
        guard result == 0 else { throw SystemError(errno, "ioctl") }
    }
    let setMTU: UInt = 0x8922
    let setFlags: UInt = 0x8914
    try request(setMTU, mtu)
    try request(setFlags, CInt(1))
}
