// PEM texts (RFC 7468) in and out of OpenSSL, through memory BIOs that are freed here and, being
// OpenSSL's, wiped when freed. Nothing read here may ever cause a prompt for a passphrase.

internal import COpenSSL

/// Reading and writing of PEM texts.
enum PEM {
    /// Lends a BIO that reads `text`.
    static func withReader<T, Failure: Error>(
        _ text: borrowing SecretBytes, _ body: (OpaquePointer) throws(Failure) -> T
    ) throws(Failure) -> T? {
        let bytes = text.bytes
        return try unsafe bytes.withUnsafeBufferPointer { (buffer) throws(Failure) -> T? in
            guard let bio = unsafe BIO_new_mem_buf(buffer.baseAddress, Int32(clamping: buffer.count)) else {
                return nil
            }
            defer { unsafe BIO_free(bio) }
            return try unsafe body(bio)
        }
    }

    /// Every object that `next` reads from `text`, until none is left or one is malformed.
    static func readAll<T>(
        _ text: borrowing SecretBytes, _ next: (OpaquePointer) throws(OpenSSLError) -> T?
    ) throws(OpenSSLError) -> [T] {
        let found = try unsafe withReader(text) { (bio) throws(OpenSSLError) in
            var found: [T] = []
            while true {
                ERR_clear_error()
                if let object = try unsafe next(bio) {
                    found.append(object)
                    continue
                }
                let error = OpenSSLError(takenDuring: "reading PEM")
                guard error.isFrom(library: ERR_LIB_PEM, reason: PEM_R_NO_START_LINE) else { throw error }
                return found
            }
        }
        return found ?? []
    }

    /// What `write` puts into a BIO; the copy inside the BIO is wiped.
    static func text(
        _ operation: String, _ write: (OpaquePointer) -> Int32
    ) throws(OpenSSLError) -> SecretBytes {
        let bio = try unsafe OpenSSLError.wrap(operation) { unsafe BIO_new(BIO_s_mem()) }
        defer { unsafe BIO_free(bio) }
        try OpenSSLError.check(operation) { unsafe write(bio) }
        var length = 0
        guard let start = unsafe culvert_bio_content(bio, &length) else { throw OpenSSLError(takenDuring: operation) }
        return unsafe SecretBytes(copying: Span(_unsafeStart: start, count: length))
    }

    /// What stands in the memory BIO that `write` fills, as text.
    static func description(_ write: (OpaquePointer) -> Void) -> String {
        guard let bio = unsafe BIO_new(BIO_s_mem()) else { return "" }
        defer { unsafe BIO_free(bio) }
        unsafe write(bio)
        var length = 0
        guard let start = unsafe culvert_bio_content(bio, &length) else { return "" }
        return unsafe String(decoding: UnsafeBufferPointer(start: start, count: length), as: UTF8.self)
    }

    /// Whether `text` holds a block whose label ends in `label`, as in "PRIVATE KEY".
    static func hasBlock(_ label: String, in text: borrowing SecretBytes) -> Bool {
        let bytes = text.bytes
        let wanted = Array("\(label)-----".utf8)
        let begin = Array("-----BEGIN ".utf8)
        var start = 0
        while start < bytes.count {
            var end = start
            while end < bytes.count, bytes[end] != 10 { end += 1 }
            var last = end
            while last > start, bytes[last - 1] == 13 || bytes[last - 1] == 32 { last -= 1 }
            if last - start >= begin.count + wanted.count,
                begin.indices.allSatisfy({ bytes[start + $0] == begin[$0] }),
                wanted.indices.allSatisfy({ bytes[last - wanted.count + $0] == wanted[$0] })
            {
                return true
            }
            start = end + 1
        }
        return false
    }
}
