// Bytes that are wiped before their memory is given back: pre-shared keys, private keys' PEM text and
// the files they came from. They are never copied into an Array or a String, never printed and never
// compared but in constant time.

internal import COpenSSL

/// A fixed run of bytes in memory of its own, overwritten when the last reference goes.
@safe
public final class SecretBytes: @unchecked Sendable {
    // Written only inside the initializers, so that sharing between threads is sound.
    private let storage: UnsafeMutableBufferPointer<UInt8>

    /// Makes `count` bytes; `fill` writes them and says how many, from the front, are meant.
    init<Failure: Error>(
        capacity: Int, fill: (UnsafeMutableBufferPointer<UInt8>) throws(Failure) -> Int
    ) throws(Failure) {
        let whole = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: capacity)
        unsafe whole.initialize(repeating: 0)
        do throws(Failure) {
            let used = try unsafe fill(whole)
            count = min(max(used, 0), capacity)
            unsafe storage = unsafe whole
        } catch {
            unsafe Self.release(whole)
            throw error
        }
    }

    /// Copies `bytes`; wiping the original is the caller's part.
    public convenience init(copying bytes: Span<UInt8>) {
        unsafe self.init(capacity: bytes.count) { (target) in
            for index in bytes.indices { unsafe target[index] = bytes[index] }
            return bytes.count
        }
    }

    /// `count` bytes from OpenSSL's random generator for private values.
    public static func random(count: Int) throws(OpenSSLError) -> SecretBytes {
        try unsafe SecretBytes(capacity: count) { (target) throws(OpenSSLError) in
            try OpenSSLError.check("making random bytes") {
                unsafe RAND_priv_bytes(target.baseAddress, Int32(clamping: count))
            }
            return count
        }
    }

    deinit {
        unsafe Self.release(storage)
    }

    /// How many bytes there are.
    public let count: Int

    /// The bytes, for as long as this object lives.
    public var bytes: Span<UInt8> {
        @_lifetime(borrow self)
        get {
            let used = unsafe UnsafeBufferPointer(rebasing: UnsafeBufferPointer(storage)[..<count])
            return unsafe _overrideLifetime(Span(_unsafeElements: used), borrowing: self)
        }
    }

    /// Whether both hold the same bytes; the time taken depends on the counts only.
    public func equals(_ other: SecretBytes) -> Bool {
        unsafe count == other.count && CRYPTO_memcmp(storage.baseAddress, other.storage.baseAddress, count) == 0
    }

    private static func release(_ memory: UnsafeMutableBufferPointer<UInt8>) {
        unsafe OPENSSL_cleanse(memory.baseAddress, memory.count)
        unsafe memory.deallocate()
    }
}
