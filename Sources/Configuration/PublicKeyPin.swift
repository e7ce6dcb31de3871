// A pin: the SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 7469 §2.4), as text. Parser and printer side by side.

/// The text forms of a pin.
enum PublicKeyPin {
    /// How a pin is written, for messages.
    static let form = "it is sha256: with the base64 or the 64 hexadecimal digits of 32 bytes"

    /// Reads `sha256:` with base64 (padded or not) or 64 hexadecimal digits behind it; nil when it is not 32 bytes so.
    static func bytes(_ text: some StringProtocol) -> [UInt8]? {
        let prefix = "sha256:"
        guard text.prefix(prefix.count).lowercased() == prefix else { return nil }
        let digits = Array(text.dropFirst(prefix.count).utf8)
        return digits.count == 64 ? hexadecimal(digits) : base64(digits)
    }

    /// The same, where a text that is no pin is reported.
    static func parse(_ text: Located<String>, _ log: DiagnosticLog) -> [UInt8]? {
        let pin = bytes(text.value)
        if pin == nil { log.error("\(quoted(text.value)) is not a pin: \(form)", at: text.location) }
        return pin
    }

    /// `sha256:` and padded base64.
    static func text(_ bytes: [UInt8]) -> String {
        var result: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            let bits = group.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - group.count))
            for index in 0..<4 {
                result.append(index <= group.count ? alphabet[bits >> (18 - 6 * index) & 63] : UInt8(ascii: "="))
            }
        }
        return "sha256:" + String(decoding: result, as: UTF8.self)
    }

    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    private static func hexadecimal(_ digits: [UInt8]) -> [UInt8]? {
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count - 1, by: 2) {
            guard let high = Character(Unicode.Scalar(digits[index])).hexDigitValue,
                let low = Character(Unicode.Scalar(digits[index + 1])).hexDigitValue
            else { return nil }
            bytes.append(UInt8(high << 4 | low))
        }
        return bytes
    }

    /// 43 digits carry 258 bits; the last two must be zero, or two texts would be one pin.
    private static func base64(_ digits: [UInt8]) -> [UInt8]? {
        guard digits.count == 43 || digits.count == 44 && digits[43] == UInt8(ascii: "=") else { return nil }
        var bytes: [UInt8] = []
        var bits = 0
        var count = 0
        for digit in digits.prefix(43) {
            guard let value = alphabet.firstIndex(of: digit) else { return nil }
            bits = (bits << 6 | value) & 0xffff
            count += 6
            if count >= 8 {
                count -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> count))
            }
        }
        return bits & 3 == 0 ? bytes : nil
    }
}
