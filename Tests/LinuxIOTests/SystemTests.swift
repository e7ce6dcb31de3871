import Glibc
import LinuxIO
import Synchronization
import Testing
import Wire

@Suite struct `Waiting and waking` {
    @Test(arguments: [0, 1, 300_000, 2_000_001])
    func `a timeout never ends early`(_ nanoseconds: Int64) throws {
        let poller = try Poller()
        let start = MonotonicClock.now
        #expect(try poller.wait(nanoseconds: nanoseconds) { _ in Issue.record("nothing to report") } == 0)
        #expect(MonotonicClock.now - start >= nanoseconds)
    }

    @Test func `a time in the past does not wait`() throws {
        let poller = try Poller()
        #expect(try poller.wait(nanoseconds: .min) { _ in } == 0)
    }

    @Test func `each ready descriptor is reported by its token until it is read`() throws {
        let poller = try Poller()
        let bells = try [Wakeup(), Wakeup(), Wakeup()]
        for (index, bell) in bells.enumerated() { try poller.add(bell.descriptor, token: UInt64.max - UInt64(index)) }
        bells[0].signal()
        bells[2].signal()
        bells[2].signal()
        for _ in 0..<2 {
            var tokens: Set<UInt64> = []
            #expect(try poller.wait(nanoseconds: nil) { tokens.insert($0) } == 2)
            #expect(tokens == [UInt64.max, UInt64.max - 2])
        }
        bells[0].drain()
        bells[2].drain()
        #expect(try poller.wait(nanoseconds: 0) { _ in } == 0)
    }

    @Test func `who waits for errors only hears nothing of what can be read, but when the other end goes`() throws {
        var ends: [CInt] = [-1, -1]
        #expect(unsafe socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &ends) == 0)
        defer { close(ends[0]) }
        let poller = try Poller()
        try poller.addForErrors(ends[0], token: 3)
        #expect(unsafe write(ends[1], "x", 1) == 1)
        #expect(try poller.wait(nanoseconds: 0) { _ in } == 0)
        close(ends[1])
        var token: UInt64 = 0
        #expect(try poller.wait(nanoseconds: 5_000_000_000) { token = $0 } == 1)
        #expect(token == 3)
    }

    @Test func `a descriptor can be removed, and a wrong one is an error`() throws {
        let poller = try Poller()
        let socket = try UDPSocket.bound(to: loopback4)
        try poller.add(socket.descriptor, token: 1)
        #expect(throws: SystemError(EEXIST, "epoll_ctl")) { try poller.add(socket.descriptor, token: 1) }
        #expect(try poller.wait(nanoseconds: 0) { _ in } == 0)
        let sending = SendBatch()
        sending.append([1], on: socket, to: socket.localEndpoint)
        #expect(sending.flush().isEmpty)
        var token: UInt64 = 0
        #expect(try poller.wait(nanoseconds: 0) { token = $0 } == 1)
        #expect(token == 1)
        try poller.remove(socket.descriptor)
        #expect(try poller.wait(nanoseconds: 0) { _ in } == 0)
        #expect(throws: SystemError(EBADF, "epoll_ctl")) { try poller.add(-1, token: 1) }
    }

    @Test func `a thread is woken, runs with its name and can be joined`() throws {
        let bell = try Wakeup()
        let woken = Mutex(false)
        let name = Mutex("")
        try NativeThread.start(name: "a name that is too long") {
            var buffer = [CChar](repeating: 0, count: 16)
            let file = unsafe open("/proc/thread-self/comm", O_RDONLY)
            let count = unsafe read(file, &buffer, 16)
            close(file)
            name.withLock { $0 = String(decoding: buffer.prefix(count - 1).map { UInt8($0) }, as: UTF8.self) }
            guard let poller = try? Poller(), (try? poller.add(bell.descriptor, token: 9)) != nil else { return }
            bell.signal()
            _ = try? poller.wait(nanoseconds: 5_000_000_000) { token in woken.withLock { $0 = token == 9 } }
        }.join()
        #expect(woken.withLock { $0 })
        #expect(name.withLock { $0 } == "a name that is ")
    }

    @Test func `a stack that is too small is refused`() {
        #expect(throws: SystemError(EINVAL, "pthread_attr_setstacksize", "1")) {
            try NativeThread.start(name: "small", stackBytes: 1) {}.join()
        }
    }

    @Test func `signals are delivered to the source of a thread that blocks them`() throws {
        // On a thread of its own, since what is blocked stays blocked; SIGHUP is sent to that thread only.
        let received = Mutex<[Signal]>([])
        try NativeThread.start(name: "signals") {
            guard let source = try? SignalSource([.hangUp, .terminate]) else { return }
            pthread_kill(pthread_self(), SIGHUP)
            pthread_kill(pthread_self(), SIGTERM)
            while let signal = source.next() { received.withLock { $0.append(signal) } }
        }.join()
        #expect(received.withLock { Set($0) } == [.hangUp, .terminate])
    }

    @Test func `the clocks run`() {
        let now = MonotonicClock.now
        let used = CPUTime.process
        var sum = 0
        for number in 0..<100_000 { sum ^= number &* 31 }
        #expect(sum != 1)
        #expect(MonotonicClock.now > now)
        #expect(CPUTime.process > used)
    }
}

@Suite struct `The service manager` {
    /// A manager's socket at `name`, abstract so that nothing has to be cleaned up, or in the file system.
    private func manager(at name: [UInt8]) throws -> CInt {
        let manager = socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: name) }
        let result = unsafe withUnsafePointer(to: address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(manager, $0, socklen_t(2 + name.count))
            }
        }
        guard result == 0 else { throw SystemError(errno, "bind") }
        return manager
    }

    private func next(_ manager: CInt) -> String? {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = unsafe recv(manager, &buffer, buffer.count, CInt(MSG_DONTWAIT))
        return count < 0 ? nil : String(decoding: buffer.prefix(count), as: UTF8.self)
    }

    private func exchange(_ notifier: ServiceNotifier, _ manager: CInt) {
        notifier.ready(status: "2 tunnels")
        #expect(next(manager) == "READY=1\nSTATUS=2 tunnels")
        notifier.ready(status: "one\nSTOPPING=1")
        #expect(next(manager) == "READY=1\nSTATUS=one STOPPING=1")
        notifier.stopping()
        #expect(next(manager) == "STOPPING=1")
        #expect(next(manager) == nil)
    }

    @Test func `it is told by an abstract socket`() throws {
        let name = "culvert-test-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        let manager = try manager(at: [0] + Array(name.utf8))
        defer { close(manager) }
        exchange(ServiceNotifier(path: "@" + name), manager)
    }

    @Test func `it is told by a socket in the file system`() throws {
        let path = "/tmp/culvert-test-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        let manager = try manager(at: Array(path.utf8))
        defer {
            close(manager)
            unsafe unlink(path)
        }
        exchange(ServiceNotifier(path: path), manager)
    }

    @Test(arguments: [
        nil, "", "@", "relative", "vsock:2:1", "/nowhere/at/all", "/" + String(repeating: "x", count: 200),
    ])
    func `without it nothing happens`(_ path: String?) {
        ServiceNotifier(path: path).ready(status: "up")
    }
}

@Suite struct `What the system gives` {
    @Test func `the limit of open files is raised to the hard one`() throws {
        try ResourceLimits.raiseOpenFiles()
        var limit = rlimit()
        #expect(unsafe getrlimit(CInt(RLIMIT_NOFILE.rawValue), &limit) == 0)
        #expect(limit.rlim_cur == limit.rlim_max)
        #expect(ResourceLimits.openFiles == Int(exactly: limit.rlim_cur))
    }

    @Test func `there is a CPU`() {
        #expect(CPUCount.available >= 1)
    }

    @Test func `localhost has addresses, each once`() throws {
        let endpoints = try NameResolver.addresses(of: "localhost", port: 514)
        #expect(endpoints.allSatisfy { $0.address.isLoopback && $0.port == 514 })
        #expect(Set(endpoints).count == endpoints.count)
    }

    @Test(arguments: [
        ("127.0.0.2", "127.0.0.2:53"), ("::1", "[::1]:53"), ("::ffff:192.0.2.1", "192.0.2.1:53"),
        ("fe80::1%lo", "[fe80::1%1]:53"),
    ])
    func `numeric addresses are taken as they are`(_ host: String, _ expected: String) throws {
        #expect(try NameResolver.addresses(of: host, port: 53).map(\.description) == [expected])
    }

    @Test(arguments: ["", "no.such.name.invalid", "bad name", "local\0host", "-", String(repeating: "a", count: 5000)])
    func `a bad name is an error that names it`(_ host: String) throws {
        let error = try #require(throws: ResolutionError.self) { try NameResolver.addresses(of: host, port: 53) }
        #expect(error.host == host)
        #expect(!error.reason.isEmpty)
        #expect(error.description == "\(host): \(error.reason)")
    }

    @Test func `errors read well`() {
        #expect(SystemError(EACCES, "bind", "[::1]:514").description == "bind [::1]:514: Permission denied")
        #expect(SystemError(EMFILE, "socket").description == "socket: Too many open files")
        #expect(SystemError(9999, "x").description == "x: Unknown error 9999")
    }
}
