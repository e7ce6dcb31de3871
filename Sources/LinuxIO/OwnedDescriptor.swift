// A file descriptor with one owner: closed when the owner goes, never twice.

internal import Glibc

struct OwnedDescriptor: ~Copyable {
    let rawValue: CInt

    /// Takes over what a system call has returned: a descriptor, or -1 with the reason in errno.
    init(_ result: CInt, _ operation: StaticString, _ subject: String? = nil) throws(SystemError) {
        guard result >= 0 else { throw .last(operation, subject) }
        rawValue = result
    }

    deinit {
        // Linux has released the number even when close reports EINTR, so there is nothing to repeat.
        _ = close(rawValue)
    }
}
