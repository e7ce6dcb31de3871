// What a peer's proven identity is compared with.

public import Wire

/// One line of `allow_peers`.
public enum PeerRule: Hashable, Sendable {
    /// A DNS name of the certificate, in lower case; a leading `*.` stands for exactly one label (RFC 6125 §6.4.3).
    case dns(String)
    /// The common name of the certificate's subject.
    case commonName(String)
    /// An IP address of the certificate.
    case address(IPAddress)
    /// The SHA-256 of the certificate's public key (SubjectPublicKeyInfo), 32 bytes.
    case publicKey([UInt8])
    /// The identity of a pre-shared key.
    case psk(String)
}
