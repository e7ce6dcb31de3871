// A system call that failed: which one, on what, and why. It is made at the edges only (set-up and
// tear-down); the data path reports bare errno values instead.

internal import CLinux
internal import Glibc

/// A failed system call.
public struct SystemError: Error, Equatable, Sendable {
    /// The errno value.
    public let code: CInt
    /// What was tried, for example `bind`.
    public let operation: String
    /// What it was tried on, for example `[::1]:514`.
    public let subject: String?

    /// Makes an error from an errno value.
    public init(_ code: CInt, _ operation: StaticString, _ subject: String? = nil) {
        self.code = code
        self.operation = operation.description
        self.subject = subject
    }

    /// The error that the calling thread's last failed system call left in errno.
    static func last(_ operation: StaticString, _ subject: String? = nil) -> SystemError {
        SystemError(errno, operation, subject)
    }
}

extension SystemError: CustomStringConvertible {
    /// `bind [::1]:514: Permission denied`.
    public var description: String {
        "\(operation)\(subject.map { " " + $0 } ?? ""): \(Self.text(code))"
    }

    /// The system's text for an errno value, for example `Permission denied`.
    public static func text(_ code: CInt) -> String {
        var bytes = [CChar](repeating: 0, count: 128)
        unsafe bytes.withUnsafeMutableBufferPointer { buffer in
            unsafe culvert_error_text(code, buffer.baseAddress, buffer.count)
        }
        return String(decoding: bytes.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
