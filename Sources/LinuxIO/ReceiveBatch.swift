// Reads many datagrams with one system call: recvmmsg with UDP_GRO, which may put up to 64 datagrams of one
// sender into one slot. All buffers and message tables are made once; receiving allocates nothing and counts
// no references. A slot must hold 64 KiB, or the kernel cuts what it has put together.

internal import CLinux
internal import Glibc
public import Wire

/// What one read has brought.
public enum ReceiveOutcome: Equatable, Sendable {
    /// This many slots are filled; each holds one datagram, or several of equal size from one sender.
    case received(slots: Int)
    /// Nothing is waiting.
    case empty
    /// The socket is unusable, or the system is out of memory: the errno. As long as the reason lasts, a `Poller` may
    /// report the socket again at once, so whoever reads takes it out of the poller before waiting again.
    case failed(CInt)
}

/// Buffers for one batch of received datagrams, used again and again.
///
/// A batch serves any number of sockets in turn. Not Sendable: one per worker.
@safe public final class ReceiveBatch {
    /// Whether the last read filled every slot, so that more may be waiting.
    public var wasFull: Bool { received == slots }
    /// How many errors, left on the socket by ICMP, the last read has cleared.
    public private(set) var pendingErrors = 0
    /// How many datagrams were dropped, in all, because the kernel had cut them or their ancillary data.
    public private(set) var truncated = 0

    private let slots: Int
    private let slotBytes: Int
    private var received = 0
    private var source: Endpoint?
    private var isNamed = true

    private let buffers: UnsafeMutableRawPointer
    private let messages: UnsafeMutablePointer<culvert_message>
    private let vectors: UnsafeMutablePointer<iovec>
    private let names: UnsafeMutablePointer<sockaddr_in6>
    private let controls: UnsafeMutableRawPointer

    /// Makes a batch of `slots` buffers of `slotBytes` each. Memory that is never written to is never used.
    public init(slots: Int = 32, slotBytes: Int = 65536) {
        precondition((1...1024).contains(slots) && (1...65536).contains(slotBytes))
        self.slots = slots
        self.slotBytes = slotBytes
        unsafe buffers = .allocate(byteCount: slots * slotBytes, alignment: 64)
        unsafe messages = .allocate(capacity: slots)
        unsafe vectors = .allocate(capacity: slots)
        unsafe names = .allocate(capacity: slots)
        unsafe controls = .allocate(byteCount: slots * Int(CULVERT_CONTROL_BYTES), alignment: 16)
        unsafe messages.initialize(repeating: culvert_message(), count: slots)
        unsafe names.initialize(repeating: sockaddr_in6(), count: slots)
        for slot in 0..<slots {
            unsafe (vectors + slot).initialize(to: iovec(iov_base: buffers + slot * slotBytes, iov_len: slotBytes))
            unsafe messages[slot].header.msg_iov = vectors + slot
            unsafe messages[slot].header.msg_iovlen = 1
            unsafe messages[slot].header.msg_control = controls + slot * Int(CULVERT_CONTROL_BYTES)
        }
        arm(slots)
    }

    deinit {
        unsafe buffers.deallocate()
        unsafe messages.deallocate()
        unsafe vectors.deallocate()
        unsafe names.deallocate()
        unsafe controls.deallocate()
    }

    /// Reads what waits on `socket`, at most one batch, without blocking.
    ///
    /// What the batch held before is gone. Errors that ICMP has left on a connected socket belong to datagrams
    /// sent before: they are cleared, counted in `pendingErrors`, and reading goes on.
    public func receive(from socket: UDPSocket) -> ReceiveOutcome {
        // The kernel has overwritten the lengths of the slots it used, and those only.
        let used = received
        received = 0
        source = socket.remoteEndpoint
        if isNamed == (source == nil) {
            arm(used)
        } else {
            isNamed = source == nil
            arm(slots)
        }
        pendingErrors = 0
        // A peer that answers with ICMP as quickly as we read must not keep us here.
        while pendingErrors < 16 {
            let result = unsafe culvert_receive(socket.descriptor, messages, CUnsignedInt(slots))
            if result >= 0 {
                received = Int(result)
                return .received(slots: received)
            }
            if result == -EAGAIN { return .empty }
            guard Self.comesFromICMP(-result) else { return .failed(-result) }
            pendingErrors += 1
        }
        return .empty
    }

    /// Hands out the datagrams of the last read, in order of arrival from each sender.
    ///
    /// `body` gets the datagram, which it may change in place but which is gone with the next read; the sender;
    /// and the local address to answer from, `::` when the socket was made without `packetInfo` or the
    /// datagram went to a group. A datagram may have no bytes.
    public func forEachDatagram(_ body: (inout MutableRawSpan, _ source: Endpoint, _ destination: IPAddress) -> Void) {
        for slot in 0..<received {
            let length = unsafe Int(messages[slot].length)
            let flags = unsafe messages[slot].header.msg_flags
            let isCut = flags & CInt(MSG_TRUNC) != 0
            // Without all of the ancillary data the boundaries between datagrams are unknown.
            guard flags & CInt(MSG_CTRUNC) == 0, let source = unsafe source ?? Endpoint(names + slot) else {
                truncated += 1
                continue
            }
            let control = unsafe culvert_read_control(messages + slot)
            let destination = IPAddress(high: control.destination_high, low: control.destination_low)
            let segment = control.segment_size > 0 ? Int(control.segment_size) : length
            let base = unsafe buffers + slot * slotBytes
            var offset = 0
            repeat {
                let count = min(segment, length - offset)
                if isCut, offset + count == length {
                    truncated += 1
                    break
                }
                var datagram = unsafe MutableRawSpan(_unsafeStart: base + offset, byteCount: count)
                body(&datagram, source, destination)
                offset += count
            } while offset < length
        }
    }

    // MARK: - Message table

    /// Prepares the first `count` slots for the kernel. A connected socket's sender is known, so the kernel need not
    /// write it.
    private func arm(_ count: Int) {
        for slot in 0..<count {
            unsafe messages[slot].header.msg_controllen = Int(CULVERT_CONTROL_BYTES)
            unsafe messages[slot].header.msg_name = isNamed ? UnsafeMutableRawPointer(names + slot) : nil
            unsafe messages[slot].header.msg_namelen =
                isNamed ? socklen_t(MemoryLayout<sockaddr_in6>.size) : 0
        }
    }

    /// The errno values that the kernel makes of ICMP and ICMPv6 messages, and of an interface that went down.
    private static func comesFromICMP(_ code: CInt) -> Bool {
        switch code {
        case ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, ENETDOWN, ENONET, ENOPROTOOPT, EPROTO,
            EOPNOTSUPP, EMSGSIZE, EACCES:
            true
        default: false
        }
    }
}
