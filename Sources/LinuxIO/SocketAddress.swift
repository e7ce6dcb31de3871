// The crossing between `Endpoint` and the kernel's socket addresses. IPv4 is IPv4-mapped on our side; on
// the kernel's side its form follows from the socket's family.

internal import CLinux
internal import Glibc
internal import Wire

/// A socket address of either family, with room for the longer one.
@safe struct SocketAddress {
    private var storage = sockaddr_in6()
    private var length = socklen_t(MemoryLayout<sockaddr_in6>.size)

    /// An empty address for the kernel to fill in.
    init() {}

    init(_ endpoint: Endpoint, family: CInt) {
        length = unsafe culvert_encode_endpoint(&storage, family, culvert_endpoint(endpoint))
    }

    /// Copies an address of the resolver; nil for one of another family.
    init?(copying address: UnsafePointer<sockaddr>, length: socklen_t) {
        guard length <= MemoryLayout<sockaddr_in6>.size else { return nil }
        unsafe withUnsafeMutableBytes(of: &storage) { bytes in
            unsafe bytes.copyMemory(from: UnsafeRawBufferPointer(start: address, count: Int(length)))
        }
        self.length = length
    }

    /// The address in our own form; nil for a family other than IPv4 and IPv6.
    var endpoint: Endpoint? {
        var storage = storage
        return unsafe Endpoint(&storage)
    }

    /// Calls `body` with what the system calls that read an address want.
    func read(_ body: (UnsafePointer<sockaddr>, socklen_t) -> CInt) -> CInt {
        unsafe withUnsafePointer(to: storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, length) }
        }
    }

    /// Calls `body` with what the system calls that write an address want.
    mutating func fill(_ body: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> CInt) -> CInt {
        var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
        let result = unsafe withUnsafeMutablePointer(to: &storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, &length) }
        }
        self.length = length
        return result
    }
}

extension Endpoint {
    /// Reads a socket address; nil for a family other than IPv4 and IPv6.
    init?(_ storage: UnsafePointer<sockaddr_in6>) {
        var read = culvert_endpoint()
        guard unsafe culvert_decode_endpoint(storage, &read) else { return nil }
        self.init(address: IPAddress(high: read.high, low: read.low), port: read.port, scope: read.scope)
    }
}

extension culvert_endpoint {
    init(_ endpoint: Endpoint) {
        self.init(
            high: endpoint.address.high, low: endpoint.address.low, scope: endpoint.scope, port: endpoint.port)
    }
}
