// Bounded waits for what other programs do. A wait gives its thread back between looks, so that many tests can wait at
// once, and it never fails for having looked too rarely on a busy machine.

/// What did not happen in time, in a sentence; where a test stopped waiting for it.
public struct Timeout: Error, CustomStringConvertible {
    /// What was waited for, where and for how long.
    public let description: String

    /// Makes an error out of what was waited for.
    public init(_ what: String, within limit: Duration, file: StaticString, line: UInt) {
        description = "\(file):\(line): not within \(limit): \(what)"
    }
}

/// Looks again and again until `look` answers something, which is returned.
///
/// - Throws: ``Timeout`` after `limit` and at least a hundred looks; what `look` throws, at once.
@discardableResult
public func eventually<Value>(
    _ what: @autoclosure () -> String, within limit: Duration = .seconds(20),
    every interval: Duration = .milliseconds(5),
    file: StaticString = #fileID, line: UInt = #line, _ look: () throws -> Value?
) async throws -> Value {
    let end = ContinuousClock.now + limit
    var looks = 0
    while true {
        if let value = try look() { return value }
        looks += 1
        guard looks < 100 || ContinuousClock.now < end else {
            throw Timeout(what(), within: limit, file: file, line: line)
        }
        // What takes long is looked at less often, or many waits at once keep the processors from what they wait for.
        try await Task.sleep(for: max(interval, min(interval * looks / 20, .milliseconds(50))))
    }
}

/// Waits until `condition` holds.
public func eventually(
    _ what: @autoclosure () -> String, within limit: Duration = .seconds(20),
    every interval: Duration = .milliseconds(5),
    file: StaticString = #fileID, line: UInt = #line, _ condition: () throws -> Bool
) async throws {
    let _: Void = try await eventually(what(), within: limit, every: interval, file: file, line: line) {
        try condition() ? () : nil
    }
}
