// Fuzzes the reader of heartbeat messages, and the answer that is made of what it has read: never a byte that was not in
// the request's payload, never less padding than there has to be.

import Wire

/// Padding that can be told from anything.
private struct Ones: RandomNumberGenerator {
    mutating func next() -> UInt64 { .max }
}

/// One input; 0 says that it was looked at.
@c(LLVMFuzzerTestOneInput)
public func fuzzHeartbeat(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let content = UnsafeRawBufferPointer(start: start, count: count)
    guard let message = HeartbeatMessage(content.bytes) else { return 0 }
    precondition(count <= HeartbeatMessage.maximumSize)
    precondition(message.payload.lowerBound == HeartbeatMessage.headerSize)
    precondition(message.payload.upperBound + HeartbeatMessage.minimumPadding <= count)
    precondition(Int(content[1]) << 8 | Int(content[2]) == message.payload.count)
    var random = Ones()
    let payload = content.bytes.extracting(message.payload)
    guard let answer = HeartbeatMessage.bytes(.response, payload: payload, random: &random) else {
        preconditionFailure("what was read can be answered")
    }
    precondition(answer.count == HeartbeatMessage.size(payload: message.payload.count) && answer.count <= count)
    precondition(answer[0] == 2 && answer[message.payload].elementsEqual(content[message.payload]))
    precondition(answer[message.payload.upperBound...].allSatisfy { $0 == 0xff })
    precondition(HeartbeatMessage(answer.bytes)?.payload == message.payload)
    return 0
}
