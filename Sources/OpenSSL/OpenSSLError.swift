// What libcrypto or libssl said when a call failed, as a Swift value.
// OpenSSL keeps its errors in a queue per thread, so the queue is emptied before a call and copied at
// once after it; nothing else may run in between. The text is for people: nothing decides by it.

internal import COpenSSL

/// A failed OpenSSL call: what was attempted, and the reasons from the thread's error queue.
public struct OpenSSLError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was attempted, as in "signing a certificate".
    public let operation: String
    /// The reasons, oldest first, as in "bad decrypt"; empty when OpenSSL gave none.
    public let reasons: [String]
    /// The newest entry's packed error code; 0 when there was none.
    let code: UInt

    /// One line: the operation and every reason.
    public var description: String {
        reasons.isEmpty ? "\(operation) failed" : "\(operation) failed: \(reasons.joined(separator: "; "))"
    }

    /// Empties the calling thread's error queue and keeps what it held.
    init(takenDuring operation: String) {
        var reasons: [String] = []
        var newest: UInt = 0
        // OpenSSL's queue holds 16 entries, so this ends.
        while true {
            var flags: Int32 = 0
            var data: UnsafePointer<CChar>?
            let code = unsafe ERR_get_error_all(nil, nil, nil, &data, &flags)
            guard code != 0 else { break }
            newest = code
            var reason = unsafe ERR_reason_error_string(code).map { unsafe String(cString: $0) } ?? "error \(code)"
            if flags & ERR_TXT_STRING != 0, let detail = unsafe data.map({ unsafe String(cString: $0) }),
                !detail.isEmpty
            {
                reason += " (\(detail))"
            }
            if reasons.last != reason { reasons.append(reason) }
        }
        self.operation = operation
        self.reasons = reasons
        self.code = newest
    }

    /// Whether the newest entry came from `library` (an `ERR_LIB_` number) with `reason`.
    func isFrom(library: Int32, reason: Int32) -> Bool {
        ERR_GET_LIB(code) == library && ERR_GET_REASON(code) == reason
    }

    /// Empties the calling thread's error queue, runs `call` and turns nil into an error.
    static func wrap<T>(_ operation: String, _ call: () -> T?) throws(OpenSSLError) -> T {
        ERR_clear_error()
        guard let result = call() else { throw OpenSSLError(takenDuring: operation) }
        return result
    }

    /// Empties the calling thread's error queue, runs `call` and turns a result below 1 into an error.
    static func check(_ operation: String, _ call: () -> Int32) throws(OpenSSLError) {
        ERR_clear_error()
        guard call() > 0 else { throw OpenSSLError(takenDuring: operation) }
    }
}
