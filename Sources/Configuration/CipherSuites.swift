// The cipher suites that `ciphers` may name, by their OpenSSL names. All are AEADs of DTLS 1.2; RFC 9325 §4.2 is why
// the default ones all have forward secrecy.

/// The known cipher suites.
public enum CipherSuites {
    /// What is used when `ciphers` is absent, the preferred first.
    public static let standard = [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-PSK-CHACHA20-POLY1305",
    ]

    /// What is used only when `ciphers` names it: whoever learns the pre-shared key can decrypt everything that was
    /// recorded.
    public static let onlyWhenNamed = [
        "PSK-AES128-GCM-SHA256",
        "PSK-AES256-GCM-SHA384",
        "PSK-CHACHA20-POLY1305",
    ]

    /// Every suite that `ciphers` may name.
    public static let supported = standard + onlyWhenNamed

    /// Whether a suite authenticates by a pre-shared key, and not by certificates.
    public static func usesPreSharedKey(_ name: String) -> Bool {
        name.hasPrefix("PSK-") || name.hasPrefix("ECDHE-PSK-")
    }
}
