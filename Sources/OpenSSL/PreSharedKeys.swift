// Pre-shared keys (RFC 4279) and the file they stand in: a line `identity:hex-key` for each peer, `#` for
// comments, blank lines. One format serves both sides, so a client's file can be appended to its
// server's. Keys are decoded straight from the file's bytes into memory that is wiped, never by way of
// a String. Every mistake in a file is reported, with its line.

internal import COpenSSL

/// An identity and its key.
public struct PreSharedKey: Sendable {
    /// The identity: 1 to 128 bytes of UTF-8 without control characters (RFC 4279 §5.1, §5.3).
    public let identity: String
    /// The key: 16 to 64 bytes.
    public let key: SecretBytes

    /// The lengths of key that are accepted, in bytes; RFC 4279 §5.3 has everybody support 64.
    public static let keyLengths = 16...64
    /// The length of a key that is made here, in bytes.
    public static let recommendedLength = 32
    /// The longest identity, in bytes; RFC 4279 §5.3 has everybody support this many.
    public static let longestIdentity = 128

    /// A new random key of 256 bits.
    public static func generate(identity: String) throws(OpenSSLError) -> PreSharedKey {
        PreSharedKey(identity: identity, key: try SecretBytes.random(count: recommendedLength))
    }

    /// The line that stands for it in a file, with its line end.
    public var line: SecretBytes {
        let name = Array(identity.utf8)
        return unsafe SecretBytes(capacity: name.count + 2 + key.count * 2) { (target) in
            var used = 0
            func put(_ byte: UInt8) {
                unsafe target[used] = byte
                used += 1
            }
            for byte in name { put(byte) }
            put(UInt8(ascii: ":"))
            for index in key.bytes.indices {
                put(hexDigit(key.bytes[index] >> 4))
                put(hexDigit(key.bytes[index] & 15))
            }
            put(UInt8(ascii: "\n"))
            return used
        }
    }

    /// What is wrong with an identity; nil when nothing is.
    public static func fault(inIdentity identity: String) -> String? {
        if identity.isEmpty { return "the identity is empty" }
        if identity.utf8.count > longestIdentity { return "the identity is longer than \(longestIdentity) bytes" }
        if identity.first == "#" { return "the identity begins with #, which begins a comment" }
        if identity.first == " " || identity.last == " " { return "the identity begins or ends with a space" }
        let isClean = identity.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
        return isClean ? nil : "the identity has control characters"
    }

    /// Reads the key that this end uses as `identity`: the file's line for it, or a file that is nothing but a key.
    public static func load(identity: String, from path: String) -> Loaded<PreSharedKey> {
        let file = CredentialFiles.read(path, as: .secret)
        guard let contents = file.value else { return Loaded(nil, file.problems) }
        let parsed = PreSharedKeys.parse(contents, path: path, bareIdentity: identity)
        let problems = file.problems + parsed.problems
        guard let key = parsed.value?[identity] else {
            guard !parsed.hasErrors else { return Loaded(nil, problems) }
            return Loaded(
                nil,
                problems + [
                    .init(
                        .unknownIdentity, path: path, "has no key for the identity '\(identity)'",
                        advice: "add a line '\(identity):HEX-KEY', or correct psk_identity")
                ])
        }
        return Loaded(key, problems)
    }
}

/// The pre-shared keys of a server's peers, by identity.
public struct PreSharedKeys: Sendable {
    private let keys: [String: PreSharedKey]

    /// How many there are.
    public var count: Int { keys.count }
    /// The identities, sorted.
    public var identities: [String] { keys.keys.sorted() }
    /// The key of an identity; nil when it is unknown.
    public subscript(identity: String) -> PreSharedKey? { keys[identity] }

    /// Reads a file of `identity:hex-key` lines and finds everything that is wrong with it.
    ///
    /// A value is there only when the file has no syntax error.
    public static func load(_ path: String) -> Loaded<PreSharedKeys> {
        let file = CredentialFiles.read(path, as: .secret)
        guard let contents = file.value else { return Loaded(nil, file.problems) }
        let parsed = parse(contents, path: path)
        var problems = file.problems + parsed.problems
        if let keys = parsed.value, keys.count == 0 {
            problems.append(
                .init(
                    .malformed, .warning, path: path, "holds no pre-shared keys",
                    advice: "make one with: culvert keys psk --identity NAME --peers \(path)"))
        }
        return Loaded(parsed.value, problems)
    }

    /// Reads the text of such a file; with `bareIdentity`, a line without a colon is that identity's key.
    static func parse(_ text: SecretBytes, path: String, bareIdentity: String? = nil) -> Loaded<PreSharedKeys> {
        var keys: [String: PreSharedKey] = [:]
        var lines: [String: Int] = [:]
        var problems: [CredentialProblem] = []
        var number = 0
        var start = 0
        let bytes = text.bytes
        while start < bytes.count, problems.count < maximumProblems {
            number += 1
            var end = start
            while end < bytes.count, bytes[end] != UInt8(ascii: "\n") { end += 1 }
            let line = trimmed(bytes, start..<end)
            start = end + 1
            guard !line.isEmpty, bytes[line.lowerBound] != UInt8(ascii: "#") else { continue }
            do throws(LineFault) {
                let entry = try read(bytes, line, bareIdentity: bareIdentity)
                if let first = lines[entry.identity] {
                    throw LineFault(
                        .duplicate, "the identity '\(entry.identity)' stands in line \(first) already",
                        "remove one of them")
                }
                lines[entry.identity] = number
                keys[entry.identity] = entry
            } catch {
                problems.append(.init(error.kind, path: path, line: number, error.reason, advice: error.advice))
            }
        }
        return Loaded(problems.isEmpty ? PreSharedKeys(keys: keys) : nil, problems)
    }

    /// After this many mistakes it is some other file.
    private static let maximumProblems = 100

    private struct LineFault: Error {
        let kind: CredentialProblem.Kind
        let reason: String
        let advice: String

        init(_ kind: CredentialProblem.Kind, _ reason: String, _ advice: String) {
            self.kind = kind
            self.reason = reason
            self.advice = advice
        }
    }

    private static let lineAdvice = "write it as IDENTITY:HEX-KEY, or make it with: culvert keys psk"

    private static func read(
        _ bytes: Span<UInt8>, _ line: Range<Int>, bareIdentity: String?
    ) throws(LineFault) -> PreSharedKey {
        // The last colon: an identity may hold colons, a key cannot.
        let colon = line.last { bytes[$0] == UInt8(ascii: ":") }
        let identity: String
        if let colon {
            let name = trimmed(bytes, line.lowerBound..<colon)
            guard let text = String(validating: name.map { bytes[$0] }, as: UTF8.self) else {
                throw LineFault(.malformed, "the identity is not UTF-8", lineAdvice)
            }
            identity = text
        } else {
            guard let bareIdentity else { throw LineFault(.malformed, "there is no colon", lineAdvice) }
            identity = bareIdentity
        }
        if let fault = PreSharedKey.fault(inIdentity: identity) { throw LineFault(.malformed, fault, lineAdvice) }
        let digits = trimmed(bytes, (colon.map { $0 + 1 } ?? line.lowerBound)..<line.upperBound)
        return PreSharedKey(identity: identity, key: try decode(bytes, digits))
    }

    private static func decode(_ bytes: Span<UInt8>, _ digits: Range<Int>) throws(LineFault) -> SecretBytes {
        // The key itself is never quoted, not even a single character of it.
        guard let bad = digits.first(where: { hexValue(bytes[$0]) == nil }) else {
            guard digits.count % 2 == 0 else {
                throw LineFault(.malformed, "the key has an odd number of hexadecimal digits", lineAdvice)
            }
            let count = digits.count / 2
            guard count >= PreSharedKey.keyLengths.lowerBound else {
                throw LineFault(
                    .weak, "the key has \(count) bytes, fewer than \(PreSharedKey.keyLengths.lowerBound)",
                    "use \(PreSharedKey.recommendedLength) random bytes, as culvert keys psk makes them")
            }
            guard count <= PreSharedKey.keyLengths.upperBound else {
                throw LineFault(
                    .malformed, "the key has \(count) bytes, more than \(PreSharedKey.keyLengths.upperBound)",
                    "use \(PreSharedKey.recommendedLength) random bytes, as culvert keys psk makes them")
            }
            return unsafe SecretBytes(capacity: count) { (target) in
                for index in 0..<count {
                    let high = hexValue(bytes[digits.lowerBound + 2 * index]) ?? 0
                    let low = hexValue(bytes[digits.lowerBound + 2 * index + 1]) ?? 0
                    unsafe target[index] = high << 4 | low
                }
                return count
            }
        }
        throw LineFault(
            .malformed, "character \(bad - digits.lowerBound + 1) of the key is no hexadecimal digit", lineAdvice)
    }

    private static func trimmed(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Range<Int> {
        func isSpace(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 || byte == 13 }
        var lower = range.lowerBound
        var upper = range.upperBound
        while lower < upper, isSpace(bytes[lower]) { lower += 1 }
        while upper > lower, isSpace(bytes[upper - 1]) { upper -= 1 }
        return lower..<upper
    }
}

private func hexDigit(_ value: UInt8) -> UInt8 {
    value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
}

private func hexValue(_ character: UInt8) -> UInt8? {
    switch character {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): character - UInt8(ascii: "A") + 10
    default: nil
    }
}
