import DTLS
import Testing
import Wire

@testable import Daemon

/// What an administrator reads about a failed handshake, to the letter.
@Suite struct HandshakeAdviceTests {
    private static let pin = "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

    private static let causes: [(HandshakeFailure.Cause, String)] = [
        (
            .silence,
            "check that it runs, its address and port, the firewalls between, and a pre-shared key at both ends"
        ),
        (.repetitionsExhausted, "check that the peer runs, its address and port, and the firewalls between"),
        (.noCertificate, "give the peer a certificate, or set require_client_certificate = false"),
        (.unknownPreSharedKey, "add it to trust.psk_file, or correct the peer's psk_identity"),
        (.otherPreSharedKey, "give both ends the same key"),
        (.noCommonCipher, "compare ciphers at both ends, and whether both use certificates or both a pre-shared key"),
        (.noCommonVersion, "the peer has to speak DTLS 1.2"),
        (.noCommonGroup, "the peer has to support X25519, P-256 or P-384"),
        (.obsoletePeer, "the peer's TLS library is too old, or configured as if it were"),
        (
            .noExtendedMasterSecret,
            "update the peer, or set require_extended_master_secret = false for this tunnel"
        ),
        (
            .noApplicationProtocol,
            "only culvert offers it, unless it says sharing = \"never\"; sharing = \"auto\" for this tunnel lets other peers in"
        ),
    ]

    private static let faults: [(CertificateFault, String)] = [
        (
            .nothingTrusted(pin: pin),
            "set trust.ca, or trust.pins = [\"\(pin)\"] after comparing it with the peer's"
        ),
        (.notPinned(pin: pin), "if the peer has a new key, compare \(pin) with it and set trust.pins"),
        (
            .unknownIssuer(issuer: "CN=test CA"),
            "check that trust.ca has CN=test CA, and that the peer's certificate file has the whole chain"
        ),
        (
            .selfSigned(pin: pin),
            "it is self-signed: compare its key with the peer's and trust it by pins = [\"\(pin)\"] without ca"
        ),
        (.unknownRoot(subject: "CN=test CA"), "check that trust.ca has CN=test CA"),
        (
            .badSignature(issuer: "CN=test CA"),
            "check that trust.ca has the current CN=test CA and not an older one of the same name"
        ),
        (.expired(at: 1_706_745_600), "it expired at 2024-02-01T00:00:00Z: renew it"),
        (
            .notYetValid(until: 1_706_745_600),
            "it is valid from 2024-02-01T00:00:00Z: check the clocks of both machines"
        ),
        (.revoked, "it is on the list in trust.crl: give the peer a new certificate if it may still come in"),
        (.noRevocationList(issuer: "CN=test CA"), "trust.crl has no list of CN=test CA: add it"),
        (.badRevocationList(issuer: "CN=test CA"), "renew the list of CN=test CA in trust.crl"),
        (
            .otherName(
                dnsNames: ["server.example.net"],
                addresses: ["127.0.0.1", "::1"].compactMap { IPAddress($0) }),
            "the certificate is for DNS:server.example.net, IP:127.0.0.1, IP:::1: "
                + "set server_name to a name it is for, or issue it for the name that is used"
        ),
        (
            .otherName(dnsNames: (1...9).map { "n\($0)" }, addresses: []),
            "the certificate is for DNS:n1, DNS:n2, DNS:n3, DNS:n4, DNS:n5, DNS:n6, DNS:n7, DNS:n8: "
                + "set server_name to a name it is for, or issue it for the name that is used"
        ),
        (
            .otherName(dnsNames: [], addresses: []),
            "the certificate names no host: "
                + "set server_name to a name it is for, or issue it for the name that is used"
        ),
        (.wrongPurpose, "issue it for this use (extendedKeyUsage serverAuth at a server, clientAuth at a client)"),
        (.tooWeak, "issue it with a stronger key or hash"),
    ]

    private static let alerts: [(UInt8, String)] = [
        (0, "its log says why"),
        (
            40,
            "compare ciphers at both ends, and whether both use certificates or both a pre-shared key; "
                + "the peer may also want a certificate from this end (identity)"
        ),
        (42, "the peer does not accept this end's certificate: see its log"),
        (43, "the peer does not accept this end's kind of certificate: see its log"),
        (44, "this end's certificate has been revoked: obtain a new one"),
        (45, "this end's certificate has expired, or the peer's clock is wrong"),
        (46, "the peer does not accept this end's certificate: see its log"),
        (48, "add the authority of this end's certificate to the peer's trust"),
        (49, "the peer does not let this identity in: see its allow_peers"),
        (51, "with a pre-shared key: compare identity and key at both ends"),
        (70, "the peer does not speak DTLS 1.2"),
        (71, "the peer demands stronger ciphers or keys"),
        (80, "its log says why"),
        (90, "the peer was stopped"),
        (112, "the peer does not know the name that it was asked for: see server_name"),
        (115, "the peer does not know this end's psk_identity"),
        (116, "the peer wants a certificate from this end: set identity"),
        (120, "the peer insists on an application protocol that this end does not offer: compare sharing at both ends"),
    ]

    @Test(arguments: causes + faults.map { (.certificate($0), $1) })
    func `every cause has its advice`(cause: HandshakeFailure.Cause, advice: String) {
        // Whatever the reason: it is the cause that can be put right.
        let failure = HandshakeFailure(.mismatch, cause, detail: "what happened")
        #expect(failure.advice == advice)
        #expect(failure.explanation == "what happened; \(advice)")
    }

    @Test(arguments: alerts)
    func `every alert has its advice`(number: UInt8, advice: String) {
        let alert = Alert.Description(rawValue: number)
        let failure = HandshakeFailure(alert: alert)
        #expect(failure.advice == advice)
        #expect(failure.explanation == "the peer ended the handshake with alert \(alert); \(advice)")
    }

    @Test func `where nothing is known there is no advice`() {
        let failure = HandshakeFailure(.clockStep, detail: "the system clock was set during the handshake")
        #expect(failure.advice == nil)
        #expect(failure.explanation == "the system clock was set during the handshake")
    }
}
