// Records of one epoch under an AEAD of OpenSSL's (RFC 6347 §4.1.2, RFC 5246 §6.2.3.3):
//
//     AES-GCM, AES-CCM    | header 13 | explicit nonce 8 | ciphertext | tag |    nonce = fixed 4 ‖ explicit 8
//     ChaCha20-Poly1305   | header 13 | ciphertext | tag |                      nonce = fixed 12 xor record number
//
// The explicit nonce of what is sealed here is the record number, so a nonce repeats only if a number does; numbers
// must rise, and one that does not is refused. What is opened brings its own explicit nonce: OpenSSL's starts at
// random. All work is done in place, in one call for additional data, text and tag.

internal import COpenSSL
public import DTLS
public import Wire

/// The AEAD keys of both directions. Not to be shared between threads.
@safe
public final class OpenSSLRecordProtection: RecordProtection {
    private let sealing: OpaquePointer
    private let opening: OpaquePointer
    private let explicitNonceLength: Int
    private let tagLength: Int
    private let countsNonces: Bool
    /// The fixed part of the sealing nonce; what follows it is filled in when it is used.
    private var nonce: [12 of UInt8]
    private var lastSealed: UInt64 = 0

    /// The key block, in this object's own memory: thousands of associations have one each.
    private var block = [88 of UInt8](repeating: 0)
    private let algorithm: AEADAlgorithm
    private let isServer: Bool

    /// The keys, for another process to go on with.
    public var keys: RecordKeys {
        let length = 2 * (algorithm.keyLength + algorithm.fixedNonceLength)
        return RecordKeys(
            algorithm, block: SecretBytes(copying: block.span.extracting(first: length)), isServer: isServer)
    }

    /// Sets both directions up.
    init(_ keys: RecordKeys) throws(OpenSSLError) {
        let algorithm = keys.algorithm
        self.algorithm = algorithm
        isServer = keys.isServer
        let bytes = keys.block.bytes
        for index in bytes.indices where index < block.count { block[index] = bytes[index] }
        explicitNonceLength = algorithm.explicitNonceLength
        tagLength = algorithm.tagLength
        // CCM takes the explicit nonce from the additional data, GCM counts by itself from where it is told to.
        countsNonces = algorithm == .aes128GCM || algorithm == .aes256GCM
        let sealing = keys.sealing
        nonce = .init { $0 < sealing.nonce.count ? bytes[sealing.nonce.lowerBound + $0] : 0 }
        unsafe self.sealing = try unsafe Self.context(algorithm, bytes, sealing, seals: true)
        do throws(OpenSSLError) {
            unsafe self.opening = try unsafe Self.context(algorithm, bytes, keys.opening, seals: false)
        } catch {
            unsafe EVP_CIPHER_CTX_free(self.sealing)
            throw error
        }
    }

    /// Goes on with keys that another one has had; nil where OpenSSL does not take them.
    public convenience init?(importing keys: RecordKeys) {
        do throws(OpenSSLError) { try self.init(keys) } catch { return nil }
    }

    deinit {
        unsafe withUnsafeMutableBytes(of: &block) { unsafe OPENSSL_cleanse($0.baseAddress, $0.count) }
        unsafe withUnsafeMutableBytes(of: &nonce) { unsafe OPENSSL_cleanse($0.baseAddress, $0.count) }
        // Both wipe their keys.
        unsafe EVP_CIPHER_CTX_free(sealing)
        unsafe EVP_CIPHER_CTX_free(opening)
    }

    /// Bytes of explicit nonce and tag.
    public var expansion: Int { explicitNonceLength + tagLength }

    /// Seals one record at the start of `buffer`; nil, with nothing that may be sent, where `number` is not above all before,
    /// the record does not fit, or OpenSSL fails.
    public func seal(
        _ type: ContentType, number: RecordNumber, prefix: borrowing RawSpan, payload: borrowing RawSpan,
        into buffer: inout MutableRawSpan
    ) -> Int? {
        let byteCount = prefix.byteCount + payload.byteCount
        guard byteCount <= RecordHeader.maximumPlaintextLength else { return nil }
        let contentLength = byteCount + explicitNonceLength + tagLength
        guard contentLength <= buffer.byteCount - RecordHeader.size, prepare(number)
        else { return nil }
        RecordHeader(type: type, number: number, length: contentLength).write(into: &buffer)
        let start = RecordHeader.size + explicitNonceLength
        guard buffer.write(prefix, at: start), buffer.write(payload, at: start + prefix.byteCount) else { return nil }

        let announced = UInt16(truncatingIfNeeded: byteCount + explicitNonceLength)
        let isSealed = unsafe buffer.withUnsafeMutableBytes { bytes in
            unsafe culvert_protect(
                sealing, number.rawValue, type.rawValue, ProtocolVersion.dtls12.rawValue, announced,
                bytes.baseAddress?.advanced(by: RecordHeader.size), UInt32(truncatingIfNeeded: contentLength)) == 1
        }
        guard isSealed else { return nil }
        // OpenSSL has counted this nonce; a record with any other must never leave.
        if explicitNonceLength > 0, buffer.bytes.uint64(at: RecordHeader.size) != number.rawValue { return nil }
        return RecordHeader.size + contentLength
    }

    /// Opens one record in place; nil where it is not authentic.
    public func open(_ record: inout MutableRawSpan, header: RecordHeader) -> Range<Int>? {
        let textLength = header.length - expansion
        guard (0...RecordHeader.maximumPlaintextLength).contains(textLength),
            header.length == record.byteCount - RecordHeader.size
        else { return nil }
        let isAuthentic = unsafe record.withUnsafeMutableBytes { bytes in
            unsafe culvert_protect(
                opening, header.number.rawValue, header.type.rawValue, header.version.rawValue,
                UInt16(truncatingIfNeeded: header.length), bytes.baseAddress?.advanced(by: RecordHeader.size),
                UInt32(truncatingIfNeeded: header.length)) == 1
        }
        guard isAuthentic else { return nil }
        let start = RecordHeader.size + explicitNonceLength
        return start..<start + textLength
    }

    /// Makes sure that `number` is new and that its nonce comes next.
    private func prepare(_ number: RecordNumber) -> Bool {
        let previous = lastSealed
        guard number.rawValue > previous else { return false }
        lastSealed = number.rawValue
        // previous + 1 cannot overflow: there is a number above it.
        guard countsNonces, number.rawValue != previous + 1 || previous == 0 else { return true }
        for index in 0..<8 { nonce[4 + index] = UInt8(truncatingIfNeeded: number.rawValue >> (56 - 8 * index)) }
        return unsafe nonce.span.withUnsafeBufferPointer { unsafe culvert_set_gcm_nonce(sealing, $0.baseAddress) > 0 }
    }

    private static func context(
        _ algorithm: AEADAlgorithm, _ block: Span<UInt8>, _ keys: RecordKeys.Direction, seals: Bool
    ) throws(OpenSSLError) -> OpaquePointer {
        let context = try unsafe OpenSSLError.wrap("making a cipher context") { unsafe EVP_CIPHER_CTX_new() }
        do throws(OpenSSLError) {
            try OpenSSLError.check("setting up a cipher") {
                unsafe EVP_CipherInit_ex2(context, algorithm.implementation, nil, nil, seals ? 1 : 0, nil)
            }
            if algorithm.isCCM {
                try OpenSSLError.check("setting up CCM") {
                    let hasLength = unsafe EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_IVLEN, 12, nil)
                    guard hasLength > 0 else { return hasLength }
                    return unsafe EVP_CIPHER_CTX_ctrl(
                        context, EVP_CTRL_AEAD_SET_TAG, Int32(algorithm.tagLength), nil)
                }
            }
            try OpenSSLError.check("setting a record key") {
                unsafe block.extracting(keys.key).withUnsafeBufferPointer {
                    unsafe EVP_CipherInit_ex2(context, nil, $0.baseAddress, nil, seals ? 1 : 0, nil)
                }
            }
            try OpenSSLError.check("setting a record nonce") {
                unsafe block.extracting(keys.nonce).withUnsafeBufferPointer {
                    unsafe EVP_CIPHER_CTX_ctrl(
                        context, EVP_CTRL_AEAD_SET_IV_FIXED, Int32($0.count),
                        UnsafeMutableRawPointer(mutating: $0.baseAddress))
                }
            }
        } catch {
            unsafe EVP_CIPHER_CTX_free(context)
            throw error
        }
        return unsafe context
    }
}
