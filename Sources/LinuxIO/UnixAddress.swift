// Where a datagram on this machine goes: the address of another program's Unix socket.

internal import CLinux
internal import Glibc

/// The address of a Unix datagram socket.
struct UnixAddress: Sendable {
    private let name: [UInt8]

    /// Takes a path, or `@` and a name in the abstract namespace; nil for anything else and for what is too long.
    init?(_ path: String) {
        var name = Array(path.utf8)
        let capacity = MemoryLayout.size(ofValue: sockaddr_un().sun_path)
        guard name.count > 1, name.count < capacity, !name.contains(0) else { return nil }
        switch name[0] {
        case UInt8(ascii: "/"): break
        case UInt8(ascii: "@"): name[0] = 0
        default: return nil
        }
        self.name = name
    }

    /// A socket that sends to such addresses and never waits.
    static func makeSocket() throws(SystemError) -> OwnedDescriptor {
        try OwnedDescriptor(
            socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0), "socket")
    }

    /// Sends one datagram; returns 0 or an errno value.
    func send(_ bytes: [UInt8], from socket: borrowing OwnedDescriptor) -> CInt {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: name) }
        // An abstract name is as long as the address says, its zeros included.
        let length = socklen_t((MemoryLayout<sockaddr_un>.offset(of: \.sun_path) ?? 2) + name.count)
        let descriptor = socket.rawValue
        return unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                unsafe bytes.withUnsafeBytes { bytes in
                    while true {
                        let sent = unsafe sendto(
                            descriptor, bytes.baseAddress, bytes.count, CInt(MSG_NOSIGNAL), address, length)
                        if sent >= 0 { return 0 }
                        if errno != EINTR { return errno }
                    }
                }
            }
        }
    }
}
