// What an administrator can do about a failed handshake. Only here meet what went wrong, which DTLS and OpenSSL say, and
// the names of the keys of the configuration.
//
// One sentence's end for each cause and for each alert (RFC 5246 §7.2.2, and the extensions' own).

import DTLS
import OpenSSL
import Wire

extension HandshakeFailure {
    /// What happened and what can be done about it, in one line.
    var explanation: String { advice.map { "\(detail); \($0)" } ?? detail }

    /// What an administrator can do about it; nil where there is nothing to say.
    var advice: String? {
        if case .alert(let alert) = reason { return Self.alerts[alert.rawValue] ?? "its log says why" }
        return cause?.advice
    }

    /// What can be done about an alert that the peer has sent; nil where there is nothing to say.
    static func advice(for alert: Alert.Description) -> String? { alerts[alert.rawValue] }

    /// What to look at where nobody answers.
    static let silenceAdvice =
        "check that it runs, its address and port, the firewalls between, and a pre-shared key at both ends"

    private static let alerts: [UInt8: String] = [
        40: "compare ciphers at both ends, and whether both use certificates or both a pre-shared key; "
            + "the peer may also want a certificate from this end (identity)",
        42: "the peer does not accept this end's certificate: see its log",
        43: "the peer does not accept this end's kind of certificate: see its log",
        44: "this end's certificate has been revoked: obtain a new one",
        45: "this end's certificate has expired, or the peer's clock is wrong",
        46: "the peer does not accept this end's certificate: see its log",
        48: "add the authority of this end's certificate to the peer's trust",
        49: "the peer does not let this identity in: see its allow_peers",
        51: "with a pre-shared key: compare identity and key at both ends",
        70: "the peer does not speak DTLS 1.2",
        71: "the peer demands stronger ciphers or keys",
        90: "the peer was stopped",
        112: "the peer does not know the name that it was asked for: see server_name",
        115: "the peer does not know this end's psk_identity",
        116: "the peer wants a certificate from this end: set identity",
        120: "the peer insists on an application protocol that this end does not offer: compare sharing at both ends",
    ]
}

extension HandshakeFailure.Cause {
    fileprivate var advice: String {
        switch self {
        case .silence: HandshakeFailure.silenceAdvice
        case .repetitionsExhausted: "check that the peer runs, its address and port, and the firewalls between"
        case .noCertificate: "give the peer a certificate, or set require_client_certificate = false"
        case .certificate(let fault): fault.advice
        case .unknownPreSharedKey: "add it to trust.psk_file, or correct the peer's psk_identity"
        case .otherPreSharedKey: "give both ends the same key"
        case .noCommonCipher:
            "compare ciphers at both ends, and whether both use certificates or both a pre-shared key"
        case .noCommonVersion: "the peer has to speak DTLS 1.2"
        case .noCommonGroup: "the peer has to support X25519, P-256 or P-384"
        case .obsoletePeer: "the peer's TLS library is too old, or configured as if it were"
        case .noExtendedMasterSecret:
            "update the peer, or set require_extended_master_secret = false for this tunnel"
        case .noApplicationProtocol:
            "only culvert offers it, unless it says sharing = \"never\"; "
                + "sharing = \"auto\" for this tunnel lets other peers in"
        }
    }
}

extension CertificateFault {
    fileprivate var advice: String {
        switch self {
        case .nothingTrusted(let pin):
            "set trust.ca, or trust.pins = [\"\(pin)\"] after comparing it with the peer's"
        case .notPinned(let pin): "if the peer has a new key, compare \(pin) with it and set trust.pins"
        case .unknownIssuer(let issuer):
            "check that trust.ca has \(issuer), and that the peer's certificate file has the whole chain"
        case .selfSigned(let pin):
            "it is self-signed: compare its key with the peer's and trust it by pins = [\"\(pin)\"] without ca"
        case .unknownRoot(let subject): "check that trust.ca has \(subject)"
        case .badSignature(let issuer):
            "check that trust.ca has the current \(issuer) and not an older one of the same name"
        case .expired(let end): "it expired at \(UTCTime.text(end)): renew it"
        case .notYetValid(let start):
            "it is valid from \(UTCTime.text(start)): check the clocks of both machines"
        case .revoked: "it is on the list in trust.crl: give the peer a new certificate if it may still come in"
        case .noRevocationList(let issuer): "trust.crl has no list of \(issuer): add it"
        case .badRevocationList(let issuer): "renew the list of \(issuer) in trust.crl"
        case .otherName(let dnsNames, let addresses):
            "\(Self.text(dnsNames.map { "DNS:\($0)" } + addresses.map { "IP:\($0)" })): "
                + "set server_name to a name it is for, or issue it for the name that is used"
        case .wrongPurpose:
            "issue it for this use (extendedKeyUsage serverAuth at a server, clientAuth at a client)"
        case .tooWeak: "issue it with a stronger key or hash"
        }
    }

    private static func text(_ names: [String]) -> String {
        names.isEmpty
            ? "the certificate names no host" : "the certificate is for \(names.prefix(8).joined(separator: ", "))"
    }
}
