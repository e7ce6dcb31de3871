// What the measuring datagrams hold: which run they belong to and their number in it, so that the sink counts each
// once and takes nothing from an earlier run that arrives late.

import Wire

/// The first bytes of a measuring datagram; the rest of it is zero.
struct Probe {
    /// Bytes at the start of each datagram.
    static let byteCount = 16

    /// The run; the highest bit asks for an echo.
    var run: UInt64
    /// Counts from 0 within the run.
    var sequence: UInt64

    static let echoFlag: UInt64 = 1 << 63
    var wantsEcho: Bool { run & Self.echoFlag != 0 }

    init(run: UInt64, sequence: UInt64) {
        self.run = run
        self.sequence = sequence
    }

    /// Reads a datagram; nil if it is too short to be a probe.
    init?(_ datagram: RawSpan) {
        guard let run = datagram.uint64(at: 0), let sequence = datagram.uint64(at: 8) else { return nil }
        self.init(run: run, sequence: sequence)
    }

    /// Writes the probe to the start of a datagram.
    func write(to datagram: inout MutableRawSpan) {
        datagram.write(run, at: 0)
        datagram.write(sequence, at: 8)
    }
}
