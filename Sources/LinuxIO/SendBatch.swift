// Collects outgoing datagrams and sends them with as few system calls as it can:
//   1. append   the caller writes a datagram straight into the arena;
//   2. merge    it joins the newest message to the same destination, when sizes allow UDP_SEGMENT (GSO);
//   3. flush    sendmmsg over each run of messages on the same socket.
// Interleaved flows are merged as well: a message gathers its datagrams from all over the arena by an iovec list.
// Datagrams of one (socket, destination, source) never overtake each other. Nothing is allocated and no
// reference is counted per datagram: a message holds its socket, and a datagram that joins it costs nothing more.

internal import CLinux
internal import Glibc
public import Wire

/// Datagrams on their way out, on any number of sockets.
///
/// A batch keeps a socket open until what was appended for it has left, so that a socket may be let go at any time. What
/// still waits when the batch itself goes is not sent. Not Sendable: one per worker.
@safe public final class SendBatch {
    /// What has been done so far.
    private(set) var statistics = SendStatistics()

    // Kernels before 6.9 take no more than 64 segments, and the loopback interface splits messages of more than 65000
    // bytes.
    private static let maximumSegments = 64
    private static let maximumMessageBytes = 65000
    private static let recentCount = 256
    /// RFC 8200 §5.
    private static let minimumIPv6MTU: CInt = 1280

    private let arenaBytes: Int
    private let messageCapacity: Int
    private let segmentation: Bool
    private var used = 0
    private var count = 0
    private var flushes: UInt64 = 0
    private var refusals = SegmentationRefusals()
    private var failures: [Failure] = []

    private let arena: UnsafeMutableRawPointer
    private let messages: UnsafeMutablePointer<culvert_message>
    /// The first `count` are initialized.
    private let entries: UnsafeMutablePointer<OutgoingMessage>
    private let names: UnsafeMutablePointer<sockaddr_in6>
    private let controls: UnsafeMutableRawPointer
    /// `maximumSegments` for each message.
    private let vectors: UnsafeMutablePointer<iovec>
    /// `maximumSegments` for each message: whose each of its datagrams is.
    private let tokens: UnsafeMutablePointer<UInt64>
    /// By hash of the key: the newest message with that key, or one with another key. See `merge`.
    private let recent: UnsafeMutablePointer<Int32>

    /// Makes a batch that flushes itself when `arenaBytes` of datagrams or `messageCapacity` messages are waiting.
    /// Without `segmentation` each datagram is a message of its own.
    public init(arenaBytes: Int = 1 << 20, messageCapacity: Int = 256, segmentation: Bool = true) {
        precondition(arenaBytes > 0 && (1...1024).contains(messageCapacity))
        self.arenaBytes = arenaBytes
        self.messageCapacity = messageCapacity
        self.segmentation = segmentation
        let segments = messageCapacity * Self.maximumSegments
        unsafe arena = .allocate(byteCount: arenaBytes, alignment: 64)
        unsafe messages = .allocate(capacity: messageCapacity)
        unsafe entries = .allocate(capacity: messageCapacity)
        unsafe names = .allocate(capacity: messageCapacity)
        unsafe controls = .allocate(byteCount: messageCapacity * Int(CULVERT_CONTROL_BYTES), alignment: 16)
        unsafe vectors = .allocate(capacity: segments)
        unsafe tokens = .allocate(capacity: segments)
        unsafe recent = .allocate(capacity: Self.recentCount)
        unsafe messages.initialize(repeating: culvert_message(), count: messageCapacity)
        unsafe names.initialize(repeating: sockaddr_in6(), count: messageCapacity)
        unsafe recent.initialize(repeating: 0, count: Self.recentCount)
        failures.reserveCapacity(64)
    }

    deinit {
        unsafe entries.deinitialize(count: count)
        unsafe arena.deallocate()
        unsafe messages.deallocate()
        unsafe entries.deallocate()
        unsafe names.deallocate()
        unsafe controls.deallocate()
        unsafe vectors.deallocate()
        unsafe tokens.deallocate()
        unsafe recent.deallocate()
    }

    /// Lets `write` make a datagram, and queues it.
    ///
    /// - Parameters:
    ///   - socket: the socket to send on; the batch keeps it until the datagram has left.
    ///   - destination: where to; nil for the peer of a connected socket.
    ///   - source: the local address to send from, as `ReceiveBatch` reported it; nil or `::` leaves it to the system.
    ///   - token: what a failure is reported under.
    ///   - mayFragment: whether IP may cut this datagram into pieces although the socket forbids it.
    ///   - maximum: how many bytes `write` gets. They are not zeroed.
    ///   - write: returns the length of the datagram, 0 being a legal one, or nil for none. It must not use the batch.
    /// - Returns: whether a datagram was queued. None is queued if `write` returns nil or more than it was given, or if
    ///   `maximum` is more than the arena has.
    @discardableResult
    public func append(
        on socket: UDPSocket, to destination: Endpoint? = nil, from source: IPAddress? = nil, token: UInt64,
        mayFragment: Bool = false, maximum: Int, write: (inout MutableRawSpan) -> Int?
    ) -> Bool {
        guard maximum >= 0, maximum <= arenaBytes else { return false }
        if arenaBytes - used < maximum { transmit() }
        let start = used
        var space = unsafe MutableRawSpan(_unsafeStart: arena + start, byteCount: maximum)
        guard let length = write(&space), length >= 0, length <= maximum else { return false }
        precondition(used == start, "a datagram's writer used the batch")
        enqueue(socket, .init(socket, destination, source, mayFragment: mayFragment), length: length, token: token)
        return true
    }

    /// Queues a copy of a datagram; otherwise like the other `append`.
    @discardableResult
    public func append(
        _ datagram: RawSpan, on socket: UDPSocket, to destination: Endpoint? = nil, from source: IPAddress? = nil,
        token: UInt64
    ) -> Bool {
        guard datagram.byteCount <= arenaBytes else { return false }
        if arenaBytes - used < datagram.byteCount { transmit() }
        unsafe datagram.withUnsafeBytes { bytes in
            unsafe UnsafeMutableRawBufferPointer(start: arena + used, count: bytes.count).copyMemory(from: bytes)
        }
        enqueue(
            socket, .init(socket, destination, source, mayFragment: false), length: datagram.byteCount, token: token)
        return true
    }

    /// Sends all that waits, without blocking, and reports what has failed since the last call, including in flushes
    /// that the batch made by itself.
    ///
    /// `onFailure` gets the token, how many datagrams in a row failed, and the errno: EAGAIN or ENOBUFS when buffers
    /// are full, EMSGSIZE when a datagram is longer than the path takes. Nothing that failed is tried again later.
    /// `onFailure` must not use the batch.
    public func flush(onFailure: (_ token: UInt64, _ datagrams: Int, _ errno: CInt) -> Void) {
        transmit()
        guard !failures.isEmpty else { return }
        for failure in failures { onFailure(failure.token, failure.datagrams, failure.code) }
        failures.removeAll(keepingCapacity: true)
    }

    // MARK: - Merging

    /// Datagrams in a row that failed alike.
    private struct Failure {
        var token: UInt64
        var datagrams: Int
        var code: CInt
    }

    /// Takes the `length` bytes at the end of the arena for a datagram.
    private func enqueue(_ socket: UDPSocket, _ key: OutgoingMessage.Key, length: Int, token: UInt64) {
        let slot = key.hash
        let start = unsafe arena + used
        let index = unsafe Int(recent[slot])
        if index < count, unsafe entries[index].key.equals(key), unsafe merge(index, start, length, token) {
            used += length
            return
        }
        if count == messageCapacity {
            // The datagram lies behind those that go now, and flushing does not touch it.
            transmit()
            unsafe arena.copyMemory(from: start, byteCount: length)
        }
        unsafe open(socket, key, start: arena + used, length: length, token: token)
        unsafe recent[slot] = Int32(truncatingIfNeeded: count)
        count += 1
        used += length
    }

    /// Adds a datagram to a message of the same key, if UDP_SEGMENT allows: all of one size, the last may be shorter.
    ///
    /// The message is the newest of its key: opening one overwrites the slot in `recent`, whatever was there. So a slot
    /// that was overwritten by another key or left from an earlier batch can hide a message, never bring up an older one.
    private func merge(_ index: Int, _ start: UnsafeMutableRawPointer, _ length: Int, _ token: UInt64) -> Bool {
        let entry = unsafe entries + index
        guard unsafe entry.pointee.isOpen else { return false }
        let size = unsafe entry.pointee.segmentSize
        let segments = unsafe entry.pointee.segments
        let bytes = unsafe entry.pointee.bytes + length
        guard length > 0, length <= size, bytes <= Self.maximumMessageBytes else { return false }
        if segments == 1,
            unsafe refusals.covers(
                entry.pointee.key.descriptor, entry.pointee.key.destination.address, size: size, flush: flushes)
        {
            unsafe entry.pointee.isOpen = false
            return false
        }
        unsafe tokens[index * Self.maximumSegments + segments] = token
        unsafe entry.pointee.segments = segments + 1
        unsafe entry.pointee.bytes = bytes
        unsafe entry.pointee.isOpen = length == size && segments + 1 < Self.maximumSegments
        let list = unsafe vectors + index * Self.maximumSegments
        let last = unsafe messages[index].header.msg_iovlen - 1
        if unsafe list[last].iov_base + list[last].iov_len == start {
            unsafe list[last].iov_len += length
        } else {
            unsafe list[last + 1] = iovec(iov_base: start, iov_len: length)
            unsafe messages[index].header.msg_iovlen = last + 2
        }
        return true
    }

    /// Starts message number `count` with one datagram.
    private func open(
        _ socket: UDPSocket, _ key: OutgoingMessage.Key, start: UnsafeMutableRawPointer, length: Int, token: UInt64
    ) {
        let index = count
        let list = unsafe vectors + index * Self.maximumSegments
        unsafe list[0] = iovec(iov_base: start, iov_len: length)
        unsafe tokens[index * Self.maximumSegments] = token
        let control = unsafe controls + index * Int(CULVERT_CONTROL_BYTES)
        var controlBytes = 0
        if !key.source.isUnspecified {
            controlBytes = unsafe culvert_write_source(control, key.source.high, key.source.low)
        }
        var nameLength: socklen_t = 0
        if key.isNamed {
            nameLength = unsafe culvert_encode_endpoint(names + index, socket.family, culvert_endpoint(key.destination))
        }
        unsafe messages[index].header = msghdr(
            msg_name: key.isNamed ? UnsafeMutableRawPointer(names + index) : nil, msg_namelen: nameLength,
            msg_iov: list, msg_iovlen: 1,
            msg_control: controlBytes > 0 ? control : nil, msg_controllen: controlBytes, msg_flags: 0)
        unsafe (entries + index).initialize(
            to: OutgoingMessage(
                socket, key, length: length, isOpen: segmentation && length > 0, controlBytes: controlBytes))
    }

    // MARK: - Sending

    /// Sends every message, and lets go of its socket.
    private func transmit() {
        for index in 0..<count where unsafe entries[index].segments > 1 {
            let control = unsafe controls + index * Int(CULVERT_CONTROL_BYTES)
            let used = unsafe entries[index].controlBytes
            let added = unsafe culvert_write_segment_size(control + used, UInt16(entries[index].segmentSize))
            unsafe messages[index].header.msg_control = control
            unsafe messages[index].header.msg_controllen = used + added
        }
        var next = 0
        var end = 0
        var retried = -1
        while next < count {
            let descriptor = unsafe entries[next].key.descriptor
            if next >= end {
                end = next + 1
                let restored = unsafe entries[next].key.restored
                while end < count, unsafe entries[end].key.descriptor == descriptor,
                    unsafe entries[end].key.restored == restored
                { end += 1 }
                if restored >= 0 { unsafe allowFragmentation(entries[next], true) }
            }
            let result = unsafe send(descriptor, messages: messages + next, count: end - next)
            if result > 0 {
                for index in next..<next + result { sent(index) }
                next += result
            } else if retried != next, Self.mayBeLeftOver(CInt(-result)) {
                retried = next
            } else {
                next = failed(next, CInt(-result), runEnd: end)
            }
            if next == end, unsafe entries[end - 1].key.restored >= 0 {
                unsafe allowFragmentation(entries[end - 1], false)
            }
        }
        unsafe entries.deinitialize(count: count)
        count = 0
        used = 0
        flushes &+= 1
    }

    /// Lets IP fragment what a socket sends next, or restores what the socket's owner wants.
    private func allowFragmentation(_ entry: OutgoingMessage, _ isAllowed: Bool) {
        let value = isAllowed ? UDPSocket.Fragmentation.allowed.value : entry.key.restored
        statistics.systemCalls &+= 1
        _ = culvert_set_path_mtu_discovery(entry.key.descriptor, entry.socket.family, value)
        // No router cuts IPv6 packets. The system does, by what it knows about the path, which is nothing if ICMP is
        // filtered, so the fragments are of a size that every path carries.
        guard entry.socket.family == AF_INET6 else { return }
        statistics.systemCalls &+= 1
        _ = culvert_set_fragment_size(entry.key.descriptor, isAllowed ? Self.minimumIPv6MTU : 0)
    }

    private func send(_ descriptor: CInt, messages: UnsafeMutablePointer<culvert_message>, count: Int) -> Int {
        statistics.systemCalls &+= 1
        let result = unsafe culvert_send(descriptor, messages, CUnsignedInt(count))
        // sendmmsg has no reason to take no message and report no error; but if it did, the loop must not go on for
        // ever.
        return result == 0 ? Int(-EIO) : Int(result)
    }

    private func sent(_ index: Int) {
        let entry = unsafe entries + index
        statistics.datagrams &+= unsafe UInt64(entry.pointee.segments)
        statistics.bytes &+= unsafe UInt64(entry.pointee.bytes)
        if unsafe entry.pointee.segments > 1 { statistics.segmentedMessages &+= 1 }
    }

    /// An error may be what ICMP has left behind for an earlier datagram, on a connected socket or on one that keeps path
    /// errors; the system call that reported it has cleared it and sent nothing, so the message deserves another try.
    private static func mayBeLeftOver(_ code: CInt) -> Bool {
        switch code {
        case EAGAIN, ENOBUFS, EIO, EINVAL, EBADF: false
        default: true
        }
    }

    /// Deals with a message that cannot be sent as it is, and returns which one is next.
    private func failed(_ index: Int, _ code: CInt, runEnd: Int) -> Int {
        switch code {
        case EIO, EINVAL, EMSGSIZE:
            guard unsafe entries[index].segments > 1 else { break }
            sendOneByOne(index, code)
            return index + 1
        case EAGAIN:
            // The send buffer is full, and the rest of the run would find it so too.
            for index in index..<runEnd { report(index, 0..<(unsafe entries[index].segments), code) }
            return runEnd
        default: break
        }
        report(index, 0..<(unsafe entries[index].segments), code)
        return index + 1
    }

    /// Sends the datagrams of a message that was refused as a whole, in order.
    private func sendOneByOne(_ index: Int, _ code: CInt) {
        statistics.refusedSegmentations &+= 1
        let entry = unsafe entries[index]
        let list = unsafe vectors + index * Self.maximumSegments
        var piece = unsafe iovec()
        var single = unsafe messages[index]
        unsafe single.header.msg_iovlen = 1
        unsafe single.header.msg_controllen = entry.controlBytes
        var segment = 0
        var anySent = false
        for vector in 0..<(unsafe messages[index].header.msg_iovlen) {
            // Datagrams join a message whole, so none lies across two vectors.
            var offset = 0
            while unsafe offset < list[vector].iov_len {
                unsafe piece = iovec(
                    iov_base: list[vector].iov_base + offset,
                    iov_len: min(entry.segmentSize, list[vector].iov_len - offset))
                let result = unsafe withUnsafeMutablePointer(to: &piece) { pointer in
                    unsafe single.header.msg_iov = pointer
                    return unsafe sendSingle(entry.key, &single)
                }
                if result > 0 {
                    statistics.datagrams &+= 1
                    statistics.bytes &+= unsafe UInt64(piece.iov_len)
                    anySent = true
                } else {
                    report(index, segment..<segment + 1, CInt(-result))
                }
                unsafe offset += piece.iov_len
                segment += 1
            }
        }
        // When not even one went by itself, the fault was not the segmentation's.
        guard anySent || code == EIO else { return }
        refusals.insert(
            entry.key.descriptor, entry.key.destination.address, size: entry.segmentSize, code: code, flush: flushes)
    }

    private func sendSingle(_ key: OutgoingMessage.Key, _ message: UnsafeMutablePointer<culvert_message>) -> Int {
        let result = unsafe send(key.descriptor, messages: message, count: 1)
        guard result < 0, Self.mayBeLeftOver(CInt(-result)) else { return result }
        return unsafe send(key.descriptor, messages: message, count: 1)
    }

    private func report(_ index: Int, _ segments: Range<Int>, _ code: CInt) {
        statistics.failures &+= UInt64(segments.count)
        for segment in segments {
            let token = unsafe tokens[index * Self.maximumSegments + segment]
            if let last = failures.last, last.token == token, last.code == code {
                failures[failures.count - 1].datagrams += 1
            } else {
                failures.append(Failure(token: token, datagrams: 1, code: code))
            }
        }
    }
}
