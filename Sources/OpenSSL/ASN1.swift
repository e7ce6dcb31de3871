// Names, times and numbers out of OpenSSL's ASN.1 objects, as Swift values. The objects may come from a
// stranger's certificate, so lengths are taken from the objects, never from a terminating zero.

internal import COpenSSL

/// Readers for ASN.1 values owned by somebody else.
enum ASN1 {
    /// Seconds since 1970.
    static func seconds(_ time: UnsafePointer<ASN1_TIME>?) throws(OpenSSLError) -> Int64 {
        let epoch = try unsafe OpenSSLError.wrap("reading a time") { unsafe ASN1_TIME_set(nil, 0) }
        defer { unsafe ASN1_TIME_free(epoch) }
        var days: Int32 = 0
        var seconds: Int32 = 0
        // Without a time, ASN1_TIME_diff would count to now.
        guard let time = unsafe time else { throw OpenSSLError(takenDuring: "reading a missing time") }
        try OpenSSLError.check("reading a time") { unsafe ASN1_TIME_diff(&days, &seconds, epoch, time) }
        return Int64(days) * UTCTime.day + Int64(seconds)
    }

    /// Lends a time made from seconds since 1970.
    static func withTime(
        _ seconds: Int64, _ body: (UnsafePointer<ASN1_TIME>) throws(OpenSSLError) -> Void
    ) throws(OpenSSLError) {
        let time = try unsafe OpenSSLError.wrap("making a time") { unsafe ASN1_TIME_set(nil, Int(seconds)) }
        defer { unsafe ASN1_TIME_free(time) }
        try unsafe body(time)
    }

    /// A name as RFC 4514 text, control characters escaped, UTF-8 left as it is.
    static func text(ofName name: OpaquePointer?) -> String {
        unsafe PEM.description { (bio) in
            unsafe X509_NAME_print_ex(bio, name, 0, culvert_name_flags())
        }
    }

    /// The common name when there is exactly one and it has no control characters.
    static func commonName(_ name: OpaquePointer?) -> String? {
        let index = unsafe X509_NAME_get_index_by_NID(name, NID_commonName, -1)
        guard index >= 0, unsafe X509_NAME_get_index_by_NID(name, NID_commonName, index) < 0,
            let value = unsafe X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, index))
        else { return nil }
        var converted: UnsafeMutablePointer<UInt8>?
        let length = unsafe ASN1_STRING_to_UTF8(&converted, value)
        guard length > 0, let start = unsafe converted else {
            ERR_clear_error()
            return nil
        }
        defer { unsafe culvert_free_bytes(start) }
        let bytes = unsafe Array(UnsafeBufferPointer(start: start, count: Int(length)))
        guard let text = String(validating: bytes, as: UTF8.self),
            text.unicodeScalars.allSatisfy({ $0.properties.generalCategory != .control })
        else { return nil }
        return text
    }

    /// A serial number in upper-case hexadecimal.
    static func text(ofSerial serial: UnsafePointer<ASN1_INTEGER>?) -> String {
        guard let digits = unsafe culvert_serial_text(serial) else { return "" }
        defer { unsafe culvert_free_text(digits) }
        return unsafe String(cString: digits)
    }

    /// The content of a string.
    static func bytes(_ string: UnsafePointer<ASN1_STRING>) -> [UInt8] {
        unsafe Array(UnsafeBufferPointer(start: ASN1_STRING_get0_data(string), count: Int(ASN1_STRING_length(string))))
    }
}
