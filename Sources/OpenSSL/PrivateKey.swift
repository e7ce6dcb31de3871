// A private key and its making. The key lives inside OpenSSL, which wipes it when it is freed; its PEM
// text leaves only as SecretBytes. A key that wants a passphrase is an error, never a prompt: the daemon
// starts unattended.

internal import COpenSSL

/// The kinds of key that are made here; others made elsewhere can still be used.
public enum KeyKind: String, CaseIterable, Sendable {
    /// ECDSA on P-256: small, quick, understood by everything that speaks DTLS 1.2.
    case ecdsaP256 = "ecdsa-p256"
    /// ECDSA on P-384.
    case ecdsaP384 = "ecdsa-p384"
    /// RSA with 2048 bits, the least that is still accepted.
    case rsa2048 = "rsa-2048"
    /// RSA with 3072 bits.
    case rsa3072 = "rsa-3072"
    /// RSA with 4096 bits.
    case rsa4096 = "rsa-4096"
}

/// A private key.
@safe
public final class PrivateKey: @unchecked Sendable {
    /// The EVP_PKEY; shared for reading only.
    let pointer: OpaquePointer
    /// The pin of the public half.
    public let pin: PublicKeyPin
    /// The kind and size, as in "ECDSA P-256".
    public let keyType: String

    /// Takes over `pointer`, also when it throws.
    init(adopting pointer: OpaquePointer) throws(OpenSSLError) {
        unsafe self.pointer = unsafe pointer
        do throws(OpenSSLError) {
            pin = try unsafe PublicKey.pin(pointer)
        } catch {
            unsafe EVP_PKEY_free(pointer)
            throw error
        }
        keyType = unsafe PublicKey.describe(pointer)
    }

    deinit {
        unsafe EVP_PKEY_free(pointer)
    }

    /// Makes a new key.
    public static func generate(_ kind: KeyKind) throws(OpenSSLError) -> PrivateKey {
        let pointer = try unsafe OpenSSLError.wrap("making a private key") {
            switch kind {
            case .ecdsaP256: unsafe culvert_make_ec_key("P-256")
            case .ecdsaP384: unsafe culvert_make_ec_key("P-384")
            case .rsa2048: unsafe culvert_make_rsa_key(2048)
            case .rsa3072: unsafe culvert_make_rsa_key(3072)
            case .rsa4096: unsafe culvert_make_rsa_key(4096)
            }
        }
        return try unsafe PrivateKey(adopting: pointer)
    }

    /// Reads a PEM file, its permissions included.
    public static func load(_ path: String) -> Loaded<PrivateKey> {
        let file = CredentialFiles.read(path, as: .secret)
        guard let contents = file.value else { return Loaded(nil, file.problems) }
        do throws(CredentialProblem) {
            let key = try PrivateKey(pem: contents, path: path)
            return Loaded(key, file.problems + key.weaknesses(path: path))
        } catch {
            return Loaded(nil, file.problems + [error])
        }
    }

    /// Reads the first private key of a PEM text; `path` is for the error.
    public convenience init(pem: SecretBytes, path: String) throws(CredentialProblem) {
        var encrypted: Int32 = 0
        ERR_clear_error()
        let found = unsafe PEM.withReader(pem) { (bio) in unsafe culvert_read_private_key(bio, &encrypted) }
        guard let pointer = unsafe found ?? nil else {
            let error = OpenSSLError(takenDuring: "reading a private key")
            throw Self.unreadable(pem, path, encrypted: encrypted != 0, error)
        }
        do throws(OpenSSLError) {
            try unsafe self.init(adopting: pointer)
        } catch {
            throw CredentialProblem(.malformed, path: path, error.description, advice: "use another kind of key")
        }
    }

    /// The unencrypted PKCS #8 PEM text.
    public func pem() throws(OpenSSLError) -> SecretBytes {
        try unsafe PEM.text("writing a private key") { (bio) in unsafe culvert_write_private_key(bio, pointer) }
    }

    /// Whether `certificate` is for this key.
    public func matches(_ certificate: Certificate) -> Bool {
        pin == certificate.pin
    }

    /// The digest for signing with this key; nil for the kinds that bring their own (Ed25519, Ed448).
    var signatureDigest: OpaquePointer? {
        if unsafe EVP_PKEY_is_a(pointer, "ED25519") == 1 || EVP_PKEY_is_a(pointer, "ED448") == 1 { return nil }
        let strongCurve = unsafe EVP_PKEY_is_a(pointer, "EC") == 1 && EVP_PKEY_get_security_bits(pointer) >= 192
        return unsafe strongCurve ? EVP_sha384() : EVP_sha256()
    }

    private func weaknesses(path: String) -> [CredentialProblem] {
        guard unsafe PublicKey.isWeak(pointer) else { return [] }
        return [
            .init(
                .weak, path: path, "holds a key of less than 112 bits of security (\(keyType))",
                advice: "make a new one with: culvert keys issue")
        ]
    }

    private static func unreadable(
        _ pem: SecretBytes, _ path: String, encrypted: Bool, _ error: OpenSSLError
    ) -> CredentialProblem {
        if encrypted {
            return .init(
                .encrypted, path: path, "holds a private key that wants a passphrase",
                advice: "the daemon starts unattended; decrypt it with: openssl pkey -in \(path) -out PLAIN.key")
        }
        guard PEM.hasBlock("PRIVATE KEY", in: pem) else {
            let holdsCertificate = PEM.hasBlock("CERTIFICATE", in: pem)
            return .init(
                .malformed, path: path,
                "holds no private key in PEM form" + (holdsCertificate ? ", but a certificate" : ""),
                advice: holdsCertificate
                    ? "name the .key file instead" : "convert it with: openssl pkey -in \(path) -out NEW.key")
        }
        return .init(
            .malformed, path: path, "holds a private key that cannot be read: \(error.reasons.joined(separator: "; "))",
            advice: "restore it from where it came from, or make a new one")
    }
}

/// What keys of both halves have in common; `key` is an EVP_PKEY.
enum PublicKey {
    /// The pin.
    static func pin(_ key: OpaquePointer) throws(OpenSSLError) -> PublicKeyPin {
        var der: UnsafeMutablePointer<UInt8>?
        ERR_clear_error()
        let length = unsafe i2d_PUBKEY(key, &der)
        guard length > 0, let start = unsafe der else { throw OpenSSLError(takenDuring: "encoding a public key") }
        defer { unsafe culvert_free_bytes(start) }
        return try unsafe PublicKeyPin(subjectPublicKeyInfo: UnsafeBufferPointer(start: start, count: Int(length)))
    }

    /// The kind and size, as in "ECDSA P-256" or "RSA 3072".
    static func describe(_ key: OpaquePointer) -> String {
        if unsafe EVP_PKEY_is_a(key, "RSA") == 1 { return unsafe "RSA \(EVP_PKEY_get_bits(key))" }
        let name = unsafe EVP_PKEY_get0_type_name(key).map { unsafe String(cString: $0) } ?? "unknown"
        guard name == "EC" else { return name }
        var group = [UInt8](repeating: 0, count: 64)
        var length = 0
        let known = unsafe group.withUnsafeMutableBytes { (buffer) in
            unsafe EVP_PKEY_get_group_name(
                key, buffer.baseAddress?.assumingMemoryBound(to: CChar.self), buffer.count, &length)
        }
        guard known == 1 else { return "ECDSA" }
        let curve = String(decoding: group.prefix(length), as: UTF8.self)
        return "ECDSA \(curves[curve] ?? curve)"
    }

    /// Whether the key has less than the 112 bits of security that OpenSSL's level 2, Debian's default, asks for.
    static func isWeak(_ key: OpaquePointer) -> Bool {
        unsafe EVP_PKEY_get_security_bits(key) < 112
    }

    private static let curves = ["prime256v1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"]
}
