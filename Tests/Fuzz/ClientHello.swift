// Fuzzes the reader of what a server looks at before it spends anything on a client.

import Wire

/// One input; 0 says that it was looked at.
@c(LLVMFuzzerTestOneInput)
public func fuzzClientHello(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let datagram = UnsafeRawBufferPointer(start: start, count: count)
    guard let hello = try? ClientHello(datagram.bytes) else { return 0 }
    precondition(ClientHello.begins(datagram.bytes))
    precondition((35...67).contains(hello.parameters.count))
    precondition(hello.cookie.lowerBound == hello.parameters.upperBound + 1)
    precondition(hello.cookie.upperBound <= count && hello.cookie.count <= 255)
    precondition(Int(datagram[hello.parameters.upperBound]) == hello.cookie.count)
    return 0
}
